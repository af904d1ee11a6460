//! What is said: statements by urgency, packed into what each link can carry.

use super::beat::{Beat, ClaimState, Statement};
use super::machine::Engine;
use super::state::Role;
use super::telling::FEW_GROUPS;
use super::{Action, EventKind};
use crate::{GroupId, Instant, LinkId, SetRecord};
use std::time::Duration;

/// Least time between two beats that are sent early because they say something new.
const EARLY_BEAT_SPACING: Duration = Duration::from_millis(1);

/// Statements that every node has to say, besides its claims.
pub(super) const NODE_STATEMENTS: usize = 6;

/// So many lists of statements are kept for the next beats.
const SPARE_MAX: usize = 16;

/// A beat with this much room carries everything there is to say.
pub(super) const ROOM_FOR_ALL: usize = 200;

/// A beat that is being filled.
pub(super) struct Packing<'a> {
    said: &'a mut Vec<Statement>,
    pub(super) left: usize,
}

impl Packing<'_> {
    pub(super) fn take(&mut self, s: Statement) -> bool {
        let len = crate::wire::statement_len(&s);
        if len > self.left {
            return false;
        }
        self.left -= len;
        self.said.push(s);
        true
    }
}

impl Engine {
    /// Keeps the storage of a beat that was heard, for one to be sent.
    pub(super) fn keep_storage(&mut self, mut statements: Vec<Statement>) {
        if statements.capacity() > 0 && self.spare.len() < SPARE_MAX {
            statements.clear();
            self.spare.push(statements);
        }
    }

    /// Who wakes late says nothing before it has heard everything: a beat sent in between would echo an old beat,
    /// and the two nodes would count the slots of rule 11 from different instants.
    pub(super) fn send_beats(&mut self) {
        if self.st.drains.is_some() {
            return;
        }
        let mut urgent = self.urgent_said();
        let of_groups = urgent.len();
        if self.is_departing() {
            urgent.push(Statement::Departing);
        }
        if !urgent.is_empty() && urgent != self.st.last_urgent {
            self.hasten_beats();
            self.st.last_urgent.clone_from(&urgent);
        }
        for i in 0..self.st.links.len() {
            if self.st.now >= self.st.links[i].next_send {
                self.send_beat(i, &urgent);
            }
        }
        urgent.truncate(of_groups);
        self.urgent_unsaid(urgent);
    }

    /// Brings the next beat of every link forward, as far as the line allows.
    pub(super) fn hasten_beats(&mut self) {
        let now = self.st.now;
        for (link, config) in self.st.links.iter_mut().zip(&self.cfg.links) {
            let spacing =
                if config.bits_per_second.is_some() { config.interval / 2 } else { EARLY_BEAT_SPACING };
            let earliest = link.last_sent.map_or(now, |at| at + spacing).max(now);
            link.next_send = link.next_send.min(earliest);
        }
    }

    fn send_beat(&mut self, i: usize, urgent: &[Statement]) {
        let now = self.st.now;
        let (interval, room) = (self.cfg.links[i].interval, self.cfg.links[i].payload_bytes);
        let to = self.st.links[i].heard.map(|(inc, _)| inc);
        // What is asked of, answered or admitted to one life of the peer is never said to another.
        let urgent = if to == self.st.peer.incarnation() { urgent } else { &[] };
        let mut statements = self.spare.pop().unwrap_or_default();
        self.pack(i, urgent, room, &mut statements);
        let link = &mut self.st.links[i];
        link.seq = link.seq.wrapping_add(1);
        let seq = link.seq;
        // Keep the rhythm: an early or late beat must not shift all the following ones.
        let due = link.next_send + interval;
        link.next_send = if due > now { due } else { now + interval };
        let (to, echo) = link.heard.map_or((None, None), |(inc, seq)| (Some(inc), Some(seq)));
        self.remember_sent(i, seq);
        let beat = Beat { incarnation: self.st.incarnation, to, seq, echo, statements };
        self.outbox.push_back(Action::SendBeat { link: LinkId(i as u8), beat });
    }

    /// Urgent statements first, then as many status statements as fit, in rotation.
    fn pack(&mut self, i: usize, urgent: &[Statement], room: usize, said: &mut Vec<Statement>) {
        let mut packing = Packing { said, left: room };
        // On a narrow link every fourth beat is left to the status, so that no flood of questions starves it.
        let starve = self.st.links[i].seq % 4 == 3;
        if !starve || room >= ROOM_FOR_ALL {
            self.pack_urgent(i, urgent, &mut packing);
        }
        let mut node = std::mem::take(&mut self.agenda.node_said);
        self.node_statements(&mut node);
        // While only narrow links are left an owner that lost the outside waits for what we see of it (rule 10).
        if !self.has_many_groups()
            && self.outside_matters_on(room)
            && let Some(at) = node.iter().position(|s| matches!(s, Statement::Health { .. }))
            && packing.take(node[at])
        {
            node.remove(at);
        }
        if self.has_many_groups() {
            self.tell_node(i, &node, room, &mut packing);
            self.tell_groups(i, &mut packing);
        } else {
            self.rotate(i, &node, &mut packing);
        }
        self.agenda.node_said = node;
    }

    /// Urgent ones rotate too, so that several take turns on a narrow link, and very many on a wide one.
    fn pack_urgent(&mut self, i: usize, urgent: &[Statement], packing: &mut Packing<'_>) {
        let link = &mut self.st.links[i];
        if urgent.len() <= FEW_GROUPS {
            link.urgent_at = 0;
            let start = if urgent.is_empty() { 0 } else { link.seq as usize % urgent.len() };
            for s in urgent.iter().cycle().skip(start).take(urgent.len()) {
                packing.take(*s);
            }
            return;
        }
        let start = link.urgent_at % urgent.len();
        // Half of the beat is left to the claims, which many of these wait for.
        let rest = packing.left / 2;
        let all = urgent.iter().cycle().skip(start).take(urgent.len());
        let said = all.take_while(|s| packing.left > rest && packing.take(**s));
        link.urgent_at = start + said.count();
    }

    /// The claims and `more`, from where the last beat ended.
    fn rotate(&mut self, i: usize, more: &[Statement], packing: &mut Packing<'_>) {
        let claims = self.st.groups.len();
        let all = claims + more.len();
        let mut cursor = self.st.links[i].cursor;
        for _ in 0..all {
            let at = cursor % all;
            let s = if at < claims { self.said_claim(GroupId(at as u16)) } else { more[at - claims] };
            if !packing.take(s) {
                break;
            }
            cursor += 1;
        }
        self.st.links[i].cursor = if all == 0 { 0 } else { cursor % all };
    }

    /// What was found to be claimed when the group was last looked at, which is whenever a fact of it changes.
    pub(super) fn said_claim(&self, g: GroupId) -> Statement {
        let kept = self.agenda.claimed.get(usize::from(g.0)).copied().flatten();
        kept.unwrap_or_else(|| self.claim(g))
    }

    fn outside_matters_on(&self, room: usize) -> bool {
        let mut wide = self
            .st
            .links
            .iter()
            .zip(&self.cfg.links)
            .filter(|(_, c)| !c.evidence_only && c.payload_bytes >= ROOM_FOR_ALL);
        room < ROOM_FOR_ALL
            && self.st.outside > 0
            && wide.clone().next().is_some()
            && wide.all(|(link, _)| link.state != super::LinkState::Up)
    }

    /// What the peer waits for, or what we wait for.
    pub(super) fn group_urgent(&self, group: GroupId, said: &mut Vec<Statement>) {
        let gr = self.group(group);
        let durable = self.st.durable.group(group);
        if let Some(r) = gr.released
            && (!r.excluded || matches!(durable.set, SetRecord::Out { .. }))
        {
            let super::state::Released { epoch, final_lsn, excluded, leaving, .. } = r;
            said.push(Statement::Released { group, epoch, final_lsn, excluded, leaving });
        }
        if let Some(p) = gr.promised
            && durable.floor >= p.epoch
            && gr.is_idle()
        {
            said.push(Statement::Yielded { group, epoch: p.epoch, nonce: p.nonce });
        }
        if let (Some(w), true) = (gr.want, gr.is_idle()) {
            said.push(Statement::Want { group, epoch: w.epoch, nonce: w.nonce });
        }
        if let Some(q) = gr.asked
            && self.has_consented(group, q)
        {
            said.push(Statement::Consent { group, epoch: q.epoch, generation: q.generation, nonce: q.nonce });
        }
        if let Some(a) = gr.ask {
            said.push(Statement::Ask { group, epoch: gr.epoch, generation: a.generation, nonce: a.nonce });
        }
        if let Some(a) = gr.admitting
            && self.st.peer.incarnation() == Some(a.incarnation)
            && !gr.full
            && gr.admit_open
        {
            said.push(Statement::Admit { group, epoch: gr.epoch, generation: a.generation });
        }
        if let (Some(s), true) = (gr.suspended, gr.is_owner()) {
            said.push(Statement::Confirm { group, epoch: gr.epoch, nonce: s.nonce });
        }
        if let (Some((epoch, nonce)), true) = (gr.confirm, self.may_confirm(group)) {
            said.push(Statement::Confirmed { group, epoch, nonce });
        }
        if gr.switching.is_some() && gr.role == Role::Active {
            said.push(Statement::Prepare { group, epoch: gr.epoch });
        }
        if let (Some(epoch), true) = (gr.prepare, self.is_ready(group)) {
            said.push(Statement::Ready { group, epoch });
        }
        self.promise_statements(group, said);
        self.detach_statements(group, said);
    }

    /// What there is to say besides claims; the first [`NODE_STATEMENTS`] are always there.
    fn node_statements(&self, said: &mut Vec<Statement>) {
        said.clear();
        let st = &self.st;
        let ms = |d: Duration| u16::try_from(d.as_millis()).unwrap_or(u16::MAX);
        let stall =
            if st.now.since(st.stall_at) <= Duration::from_secs(1) { st.stall } else { Duration::ZERO };
        let knows_yours = st.peer.store.map(|s| st.record.peer_store.is_none_or(|known| known == s));
        said.extend([
            Statement::Identity { boot: st.boot, predecessor: st.predecessor },
            Statement::Stores { mine: st.record.store, knows_yours },
            Statement::Init { init: st.record.init },
            Statement::Weights { mine: self.weight(), yours: Some(st.peer.weight) },
            Statement::Health { outside: st.outside, stall_ms: ms(stall) },
        ]);
        let (dead_ms, slot_ms, feed_ms) = self.safety_values();
        said.push(Statement::Safety { dead_ms, slot_ms, feed_ms });
        said.extend(crate::timing::LeaseValues::of(&self.cfg).map(Statement::from));
        said.extend(st.record.policy.said().map(|(scope, flags)| Statement::Policy { scope, flags }));
        if !self.has_many_groups() {
            said.extend(self.agenda.serving.iter().map(|g| self.said_serves(g)));
        }
    }

    /// What this node is in the group, for the peer.
    pub(super) fn claim(&self, group: GroupId) -> Statement {
        let (gr, rec) = (self.group(group), self.st.durable.group(group));
        // Until the third party granted it, a claim is nothing that the peer must heed.
        let swapped = !self.has_arbiter() || gr.third.claim.is_some_and(|c| c.swapped);
        let state = match gr.role {
            Role::Claiming { .. } if swapped => ClaimState::Claiming,
            _ if gr.is_owner() => ClaimState::Owner,
            // Until the release is heard it stays the word: a claim that came first would open an arbitration.
            _ if gr.released.is_some_and(|r| !r.overdue) => ClaimState::Owner,
            _ if gr.question.is_some() => ClaimState::Blocked,
            Role::Waiting => ClaimState::Waiting,
            _ => ClaimState::Standby { viable: self.is_able(group) },
        };
        let epoch = match gr.role {
            Role::Claiming { epoch, .. } if swapped => epoch,
            _ => rec.granted,
        };
        let highest = self.st.record.group(group).highest().max(epoch);
        Statement::Claim { group, epoch, state, set: rec.set, lsn: gr.data.durable, highest }
    }

    pub(super) fn safety_values(&self) -> (u16, u16, u16) {
        self.agenda.safety
    }

    pub(super) fn beat_deadline(&self) -> Instant {
        self.st.links.iter().map(|l| l.next_send).min().unwrap_or(Instant::FAR)
    }

    pub(super) fn role_changed(&mut self, g: GroupId) {
        let gr = self.group(g);
        let (role, epoch) = (super::status::role_name(gr), gr.epoch);
        self.emit(EventKind::Role { group: g, role, epoch });
        self.hasten_beats();
        self.again = true;
    }
}
