//! The mirror in motion: connecting, catching up, appending, acknowledging, reporting.

use super::cluster::{Cluster, Event, MS};
use super::invariant::{Acknowledged, Broken, Invariant, all_present};
use super::mirror::{Mirror, Primary, Rec, Session};
use super::timeline::What;
use crate::engine::{AckRule, CaughtUp, DataReport, Input};
use crate::{Epoch, GroupId, Lsn};
use std::collections::VecDeque;

/// Silence after which a stream is given up.
const GIVE_UP: u64 = 250 * MS;
/// Waiting after which acknowledgements have stopped.
const STALL: u64 = 150 * MS;
/// Time between two looks at the stream.
const LOOK: u64 = 40 * MS;

impl Cluster {
    /// Promotes a copy; false if it refuses.
    pub(super) fn promote(&mut self, node: usize, group: usize, epoch: Epoch, rule: AckRule) -> bool {
        let now = self.now;
        let Some(mirror) = self.mirrors[group].as_mut() else { return false };
        let copy = &mut mirror.copies[node];
        if epoch < copy.known {
            return false;
        }
        copy.known = epoch;
        let again = self.nodes[node].process.as_ref().and_then(|p| p.data[group].primary.as_ref());
        if again.is_some_and(|p| p.epoch == epoch) {
            // A promotion that was given up and completes late must not bring its old rule back.
            return true;
        }
        let promoted = copy.log.len();
        if mirror.session.as_ref().is_some_and(|s| s.owner != node) {
            mirror.session = None;
        }
        let primary =
            Primary { epoch, rule, promoted, acked: promoted, peer: 0, waiting: VecDeque::new(), since: now };
        if let Some(process) = self.nodes[node].process.as_mut() {
            process.data[group].primary = Some(primary);
        }
        self.check_data(node, group);
        self.report_later(node, group);
        true
    }

    /// Ends the primary role; the last transaction that both hold.
    pub(super) fn demote(&mut self, node: usize, group: usize) -> Option<usize> {
        let mirror = self.mirrors[group].as_mut()?;
        let durable = mirror.copies[node].durable;
        let primary = self.nodes[node].process.as_mut()?.data[group].primary.take()?;
        if mirror.session.as_ref().is_some_and(|s| s.owner == node) {
            mirror.session = None;
        }
        self.report_later(node, group);
        primary.held_by_both(durable)
    }

    pub(super) fn acknowledge(&mut self, node: usize, group: GroupId, epoch: Epoch, rule: AckRule) {
        let at = usize::from(group.0);
        if let Some(process) = self.nodes[node].process.as_mut()
            && let Some(primary) = process.data[at].primary.as_mut().filter(|p| p.epoch == epoch)
        {
            primary.rule = rule;
        }
        self.try_acknowledge(node, at);
        self.report_later(node, at);
    }

    /// "Use this copy": what only the other holds is lost, and the operator was told so.
    pub(super) fn force_data(&mut self, node: usize, group: GroupId) {
        self.epochs[usize::from(group.0)].choose();
        let other = &self.nodes[1 - node];
        if other.record.group(group).set.is_alone() {
            // Its owner may come back, cut off, and go on: the risk that the question named.
            self.forced[usize::from(group.0)] = true;
        }
        let Some(mirror) = self.mirrors[usize::from(group.0)].as_mut() else { return };
        let log = &mirror.copies[node].log;
        for a in &mut mirror.acknowledged {
            a.forgiven |= log.get(a.index).map(|r| r.message) != Some(a.message);
        }
    }

    /// "Give this copy's own tail up": done when the stream connects.
    pub(super) fn surrender_data(&mut self, node: usize, group: GroupId) {
        if let Some(mirror) = self.mirrors[usize::from(group.0)].as_mut() {
            mirror.copies[node].surrendered = true;
            mirror.diverged = false;
            // What only this copy holds is given up by that word, whoever serves before the stream connects.
            let fork = mirror.copies[node].common(&mirror.copies[1 - node]);
            let tail = &mirror.copies[node].log[fork..];
            let lost = |a: &&mut Acknowledged| tail.iter().any(|r| r.message == a.message);
            mirror.acknowledged.iter_mut().filter(lost).for_each(|a| a.forgiven = true);
        }
        self.report_later(node, usize::from(group.0));
    }

    /// Both copies are members again: what an operator's choice cost is settled.
    pub(super) fn settle_force(&mut self, group: usize) {
        if !self.forced[group] {
            return;
        }
        self.forced[group] = false;
        let Some(mirror) = self.mirrors[group].as_mut() else { return };
        let Mirror { acknowledged, copies, .. } = mirror;
        for a in acknowledged {
            a.forgiven |= copies.iter().any(|c| c.log.get(a.index).map(|r| r.message) != Some(a.message));
        }
    }

    /// I3: whoever serves has everything that was acknowledged.
    pub(super) fn check_data(&mut self, node: usize, group: usize) {
        let Some(mirror) = self.mirrors[group].as_ref() else { return };
        let id = GroupId(u16::try_from(group).unwrap_or(0));
        let log = &mirror.copies[node].log;
        let verdict = all_present(id, node, &mirror.acknowledged, |i| log.get(i).map(|r| r.message));
        self.check_unless_tainted(group, verdict);
    }

    /// A client's message reaches whoever acts.
    pub(super) fn client(&mut self, group: usize) {
        let again = self.rng.range(50, 150) * MS;
        self.after(again, Event::Client { group });
        for node in 0..2 {
            let Some(epoch) = self.acting(node, group) else { continue };
            let now = self.now;
            let Some(process) = self.nodes[node].process.as_mut() else { continue };
            let life = process.life;
            let Some(primary) = process.data[group].primary.as_mut().filter(|p| p.epoch == epoch) else {
                continue;
            };
            let Some(mirror) = self.mirrors[group].as_mut() else { continue };
            primary.waiting.push_back(now);
            let message = mirror.next_message;
            mirror.next_message += 1;
            let log = &mut mirror.copies[node].log;
            log.push(Rec { epoch, message, alone: false });
            let upto = log.len();
            let streaming = mirror.session.as_ref().filter(|s| s.streaming && s.owner == node).map(|s| s.id);
            self.check_write(group, node, epoch);
            let flush = self.rng.range(500_000, 4 * MS);
            self.after(flush, Event::OwnerDurable { group, node, life, upto });
            if let Some(session) = streaming {
                self.send_records(group, session, upto - 1);
            }
        }
    }

    pub(super) fn check_write(&mut self, group: usize, node: usize, epoch: Epoch) {
        let id = GroupId(u16::try_from(group).unwrap_or(0));
        let verdict = self.epochs[group].write(id, node, epoch);
        self.check_unless_tainted(group, verdict);
    }

    fn send_records(&mut self, group: usize, session: u32, from: usize) {
        let Some(mirror) = self.mirrors[group].as_ref() else { return };
        let Some(s) = mirror.session.as_ref().filter(|s| s.id == session) else { return };
        let path = &self.network.mirror[s.owner];
        if path.is_cut() {
            return;
        }
        let delay = path.delay(self.now, &mut self.rng);
        let log = &mirror.copies[s.owner].log;
        let records = log.get(from..).map(<[Rec]>::to_vec).unwrap_or_default();
        self.after(delay, Event::Append { group, session, from, records });
    }

    pub(super) fn append_arrives(&mut self, group: usize, session: u32, from: usize, records: Vec<Rec>) {
        let Some(mirror) = self.mirrors[group].as_mut() else { return };
        let Some(s) = mirror.session.as_ref().filter(|s| s.id == session) else { return };
        let standby = 1 - s.owner;
        let epoch = s.epoch;
        let listens =
            self.nodes[standby].process.as_ref().is_some_and(|p| p.life == s.lives[standby] && !p.paused);
        let id = GroupId(u16::try_from(group).unwrap_or(0));
        let granted = self.nodes[standby].record.group(id).granted;
        let copy = &mut mirror.copies[standby];
        if !listens || copy.log.len() < from || epoch < copy.known.max(granted) {
            return;
        }
        let known = copy.log.len() - from;
        copy.log.extend(records.into_iter().skip(known));
        self.check_write(group, standby, epoch);
        let flush = self.rng.range(500_000, 4 * MS);
        self.after(flush, Event::StandbyDurable { group, session });
    }

    pub(super) fn standby_durable(&mut self, group: usize, session: u32) {
        let Some(mirror) = self.mirrors[group].as_mut() else { return };
        let Some(s) = mirror.session.as_ref().filter(|s| s.id == session) else { return };
        let standby = 1 - s.owner;
        let Some(p) = self.nodes[standby].process.as_ref() else { return };
        if p.life != s.lives[standby] || p.paused {
            return;
        }
        let copy = &mut mirror.copies[standby];
        copy.durable = copy.log.len();
        self.send_ack(group, session);
        self.report_later(standby, group);
    }

    fn send_ack(&mut self, group: usize, session: u32) {
        let Some(mirror) = self.mirrors[group].as_ref() else { return };
        let Some(s) = mirror.session.as_ref() else { return };
        let path = &self.network.mirror[1 - s.owner];
        if !path.is_cut() {
            let delay = path.delay(self.now, &mut self.rng);
            let upto = mirror.copies[1 - s.owner].durable;
            self.after(delay, Event::PeerAck { group, session, upto });
        }
    }

    pub(super) fn peer_ack(&mut self, group: usize, session: u32, upto: usize) {
        let Some(mirror) = self.mirrors[group].as_mut() else { return };
        let Some(s) = mirror.session.as_mut().filter(|s| s.id == session) else { return };
        let owner = s.owner;
        let Some(process) = self.nodes[owner].process.as_mut() else { return };
        if process.life != s.lives[owner] || process.paused {
            return;
        }
        let Some(primary) = process.data[group].primary.as_mut().filter(|p| p.epoch == s.epoch) else {
            return;
        };
        primary.peer = primary.peer.max(upto);
        let late = primary.waiting.front().is_some_and(|at| self.now - at > STALL);
        if s.streaming && !late && primary.peer >= mirror.copies[owner].log.len() && !s.caught_up {
            s.caught_up = true;
            self.report_later(owner, group);
        }
        self.try_acknowledge(owner, group);
    }

    pub(super) fn owner_durable(&mut self, group: usize, node: usize, life: u32, upto: usize) {
        if self.life(node) != Some(life) {
            return;
        }
        let Some(mirror) = self.mirrors[group].as_mut() else { return };
        let copy = &mut mirror.copies[node];
        copy.durable = copy.durable.max(upto.min(copy.log.len()));
        self.try_acknowledge(node, group);
        self.report_later(node, group);
    }

    /// Acknowledges to clients what may be acknowledged now.
    pub(super) fn try_acknowledge(&mut self, node: usize, group: usize) {
        if self.mirrors[group].is_none() {
            return;
        }
        let Some(epoch) = self.acting(node, group) else { return };
        let Some(mirror) = self.mirrors[group].as_mut() else { return };
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let view = &mut process.data[group];
        let told = view.told.caught_up.is_some();
        let Some(primary) = view.primary.as_mut().filter(|p| p.epoch == epoch) else { return };
        let following = mirror.session.as_ref().is_some_and(|s| s.owner == node && s.caught_up);
        let alone = matches!(primary.rule, AckRule::Alone(_)) && !following && !told;
        let durable = mirror.copies[node].durable;
        let upto = if alone { durable } else { durable.min(primary.peer) };
        if upto <= primary.acked {
            return;
        }
        for index in primary.acked..upto {
            primary.waiting.pop_front();
            let record = &mut mirror.copies[node].log[index];
            record.alone = alone;
            mirror.acknowledged.push(Acknowledged { index, epoch, message: record.message, forgiven: false });
        }
        primary.acked = upto;
        self.check_write(group, node, epoch);
    }

    /// Looks at the stream from time to time: gives it up, connects it, repeats what was lost.
    pub(super) fn mirror_check(&mut self, group: usize) {
        self.after(LOOK, Event::MirrorCheck { group });
        let now = self.now;
        let runs = [0, 1].map(|n: usize| self.nodes[n].process.as_ref().is_some_and(|p| !p.paused));
        let carries = self.network.mirror_carries();
        let up = carries && runs == [true, true];
        let lives = [0, 1].map(|n| self.life(n).unwrap_or(0));
        let late = [0, 1].map(|n: usize| {
            let primary = self.nodes[n].process.as_ref().and_then(|p| p.data[group].primary.as_ref());
            primary.and_then(|p| p.waiting.front()).is_some_and(|at| now - at > STALL)
        });
        let Some(mirror) = self.mirrors[group].as_mut() else { return };
        // A stream whose acknowledgements stopped is no longer live, whatever it had reached.
        if let Some(s) = mirror.session.as_mut().filter(|s| late[s.owner]) {
            s.caught_up = false;
        }
        mirror.broken_since = if up { None } else { mirror.broken_since.or(Some(now)) };
        let silent = mirror.broken_since.is_some_and(|since| now - since > GIVE_UP);
        if let Some(s) = &mirror.session {
            let ended = s.lives != lives;
            if silent || (ended && carries) {
                mirror.session = None;
            }
        }
        match mirror.session.as_ref().map(|s| (s.id, s.owner, s.streaming)) {
            Some((session, owner, true)) if up => self.repeat(group, session, owner),
            None if up => self.connect(group),
            _ => {}
        }
        for node in 0..2 {
            self.try_acknowledge(node, group);
            self.report_later(node, group);
        }
    }

    fn repeat(&mut self, group: usize, session: u32, owner: usize) {
        let Some(mirror) = self.mirrors[group].as_ref() else { return };
        let have = mirror.copies[1 - owner].log.len();
        if have < mirror.copies[owner].log.len() {
            self.send_records(group, session, have);
        }
        let flush = self.rng.range(500_000, 2 * MS);
        self.after(flush, Event::StandbyDurable { group, session });
    }

    fn primary_epoch(&self, node: usize, group: usize) -> Option<Epoch> {
        let process = self.nodes[node].process.as_ref()?;
        process.data[group].primary.as_ref().map(|p| p.epoch)
    }

    /// The handshake of a stream: who sends, where the logs part, and what becomes of the tail.
    fn connect(&mut self, group: usize) {
        let owner = match (self.primary_epoch(0, group), self.primary_epoch(1, group)) {
            (Some(_), None) => 0,
            (None, Some(_)) => 1,
            (Some(_), Some(_)) => return,
            (None, None) => return self.compare(group),
        };
        let standby = 1 - owner;
        let Some(epoch) = self.primary_epoch(owner, group) else { return };
        let blank = self.mirrors[group].as_ref().is_some_and(|m| m.copies[standby].log.is_empty());
        if blank && self.acting(owner, group).is_none() {
            self.probes.hit("mirror", "nothing to a blank copy without a permission");
            return;
        }
        let lives = [0, 1].map(|n| self.life(n).unwrap_or(0));
        let id = GroupId(u16::try_from(group).unwrap_or(0));
        let granted = self.nodes[standby].record.group(id).granted;
        let Some(mirror) = self.mirrors[group].as_mut() else { return };
        let known = mirror.copies[standby].known.max(granted);
        mirror.overtaken = (known > epoch).then_some(known);
        if mirror.overtaken.is_some() {
            self.probes.hit("mirror", "older epoch refused");
            return;
        }
        let fork = mirror.copies[standby].common(&mirror.copies[owner]);
        let tail = &mirror.copies[standby].log[fork..];
        mirror.diverged = !mirror.copies[standby].surrendered && tail.iter().any(|r| r.alone);
        if mirror.diverged {
            self.probes.hit("mirror", "diverged");
            return;
        }
        let surrendered = std::mem::take(&mut mirror.copies[standby].surrendered);
        let tail = mirror.copies[standby].give_up(fork);
        if surrendered {
            let lost = |a: &&mut Acknowledged| tail.iter().any(|r| r.message == a.message);
            mirror.acknowledged.iter_mut().filter(lost).for_each(|a| a.forgiven = true);
        }
        mirror.copies[standby].known = epoch;
        mirror.sessions += 1;
        let session = mirror.sessions;
        self.timeline.add(
            self.now,
            Some(owner),
            What::World(format!("streams group {group} in epoch {epoch} from {fork} on, session {session}")),
        );
        mirror.session =
            Some(Session { id: session, owner, epoch, lives, streaming: false, caught_up: false });
        if let Some(process) = self.nodes[owner].process.as_mut()
            && let Some(primary) = process.data[group].primary.as_mut()
        {
            primary.peer = 0;
        }
        self.check_tail(group, standby, &tail);
        let lag = self.mirrors[group].as_ref().map_or(0, |m| m.copies[owner].log.len() - fork) as u64;
        let delay = self.rng.range(2, 30) * MS + lag * 100_000;
        self.after(delay, Event::CatchUp { group, session });
    }

    /// Nobody owns the group: only whether both copies went on alone is of interest.
    fn compare(&mut self, group: usize) {
        let Some(mirror) = self.mirrors[group].as_mut() else { return };
        let [a, b] = &mirror.copies;
        let fork = a.common(b);
        let alone = |c: &super::mirror::Copy| !c.surrendered && c.log[fork..].iter().any(|r| r.alone);
        mirror.diverged = alone(a) && alone(b);
    }

    /// A tail that was given up holds nothing acknowledged, unless an operator chose so.
    pub(super) fn check_tail(&mut self, group: usize, standby: usize, tail: &[Rec]) {
        if tail.is_empty() {
            return;
        }
        self.probes.hit("mirror", "quarantined");
        if self.is_excused(group) || self.deceived {
            return;
        }
        let Some(mirror) = self.mirrors[group].as_ref() else { return };
        let lost = |a: &&Acknowledged| !a.forgiven && tail.iter().any(|r| r.message == a.message);
        if let Some(a) = mirror.acknowledged.iter().find(lost) {
            let detail = format!(
                "node {standby} gave up acknowledged message {} of epoch {} of group {group} to follow its peer",
                a.message, a.epoch
            );
            self.check(Err(Broken { invariant: Invariant::I3, detail }));
        }
    }

    pub(super) fn catch_up(&mut self, group: usize, session: u32) {
        let Some(mirror) = self.mirrors[group].as_mut() else { return };
        let Some(s) = mirror.session.as_mut().filter(|s| s.id == session) else { return };
        s.streaming = true;
        let have = mirror.copies[1 - s.owner].log.len();
        self.send_records(group, session, have);
    }

    fn state_of(&self, node: usize, group: usize) -> Option<DataReport> {
        let mirror = self.mirrors.get(group)?.as_ref()?;
        let process = self.nodes[node].process.as_ref()?;
        let session = mirror.session.as_ref().filter(|s| s.lives[node] == process.life);
        let primary = process.data[group].primary.as_ref();
        let idle = mirror.broken_since.is_none() && !mirror.diverged;
        let owns = session.filter(|s| s.owner == node && s.caught_up);
        let peer = self.nodes[1 - node].process.as_ref();
        let caught_up = owns
            .zip(peer)
            .filter(|(s, p)| s.lives[1 - node] == p.life)
            .map(|(s, p)| CaughtUp { epoch: s.epoch, incarnation: p.incarnation });
        let stalled = primary.is_some_and(|p| {
            let late = p.waiting.front().is_some_and(|at| self.now - at > STALL);
            let silent = session.is_none() && self.now - p.since > STALL;
            matches!(p.rule, AckRule::Both(_)) && (late || silent)
        });
        Some(DataReport {
            durable: Lsn(mirror.copies[node].durable as u64),
            connected: session.is_some() || (primary.is_none() && idle),
            stalled,
            caught_up,
            rule: primary.map(|p| p.rule),
            diverged: mirror.diverged,
            overtaken: mirror.overtaken.filter(|known| primary.is_some_and(|p| p.epoch <= *known)),
        })
    }

    /// Lets the engine know of a changed state, soon and once.
    pub(super) fn report_later(&mut self, node: usize, group: usize) {
        let Some(state) = self.state_of(node, group) else { return };
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let view = &mut process.data[group];
        let only_grown = DataReport { durable: view.told.durable, ..state } == view.told;
        if view.report_due || state == view.told {
            return;
        }
        view.report_due = true;
        let life = process.life;
        // Growth alone is told at leisure, as a real mirror would coalesce it.
        let delay = if only_grown { 100 * MS } else { self.rng.range(50_000, MS) };
        self.after(delay, Event::Report { node, life, group });
    }

    pub(super) fn report(&mut self, node: usize, life: u32, group: usize) {
        let state = self.state_of(node, group);
        let Some(process) = self.nodes[node].process.as_mut().filter(|p| p.life == life) else { return };
        if process.paused {
            self.after(20 * MS, Event::Report { node, life, group });
            return;
        }
        process.data[group].report_due = false;
        let Some(report) = state else { return };
        process.data[group].told = report;
        let id = GroupId(u16::try_from(group).unwrap_or(0));
        self.feed(node, life, Input::Data { group: id, report });
        self.try_acknowledge(node, group);
    }
}
