//! The two copies of a group's data and the stream between them: the contract that an engine needs of a mirror
//! (`docs/SIMULATOR.md`), in units of time.

use super::world::{World, at};
use crate::engine::{AckRule, CaughtUp, DataReport, Input};
use crate::sim::invariant::Acknowledged;
use crate::sim::mirror::{Copy, Rec};
use crate::{Epoch, Lsn};

/// Units without a way between the copies after which the stream is given up.
const GIVE_UP: u32 = 3;
/// Units without an acknowledgement after which the owner's copy reports *stalled*.
const STALL: u32 = 3;
/// A client sends a message so many units after the one before.
const PACE: u32 = 4;

/// A promoted copy; ends with its process.
#[derive(Clone)]
pub(super) struct Primary {
    pub epoch: Epoch,
    pub rule: AckRule,
    /// The length at the promotion: any of it may have been acknowledged before.
    pub promoted: usize,
    pub acked: usize,
    /// How much the other copy said it holds.
    pub peer: usize,
    /// Since when a message waits to be acknowledged.
    pub waiting: Option<u32>,
    pub since: u32,
    pub next_message: u32,
}

#[derive(Clone)]
pub(super) struct Session {
    pub owner: usize,
    pub epoch: Epoch,
    pub lives: [u32; 2],
    pub caught_up: bool,
    pub opened: u32,
}

#[derive(Clone, Default)]
pub(super) struct Mirror {
    pub copies: [Copy; 2],
    pub acknowledged: Vec<Acknowledged>,
    pub next_message: u64,
    pub session: Option<Session>,
    /// Records under way to the standby, from this place on; and its answer under way to the owner.
    pub append: Option<(usize, Vec<Rec>)>,
    pub ack: Option<usize>,
    pub broken_since: Option<u32>,
    pub diverged: bool,
    pub last_ack: u32,
}

impl World {
    pub(super) fn promote(&mut self, n: usize, g: usize, epoch: Epoch, rule: AckRule) -> bool {
        let t = self.t;
        let Some(mirror) = self.mirrors[g].as_mut() else { return false };
        let copy = &mut mirror.copies[n];
        if epoch < copy.known {
            return false;
        }
        copy.known = epoch;
        if self.nodes[n].primary[g].as_ref().is_some_and(|p| p.epoch == epoch) {
            return true;
        }
        let promoted = copy.log.len();
        if mirror.session.as_ref().is_some_and(|s| s.owner != n) {
            end_session(mirror);
        }
        self.nodes[n].primary[g] = Some(Primary {
            epoch,
            rule,
            promoted,
            acked: promoted,
            peer: 0,
            waiting: None,
            since: t,
            next_message: t,
        });
        self.check_data(n, g);
        true
    }

    pub(super) fn demote(&mut self, n: usize, g: usize) -> Option<usize> {
        let mirror = self.mirrors[g].as_mut()?;
        let held = mirror.copies[n].log.len();
        let primary = self.nodes[n].primary[g].take()?;
        if mirror.session.as_ref().is_some_and(|s| s.owner == n) {
            end_session(mirror);
        }
        match primary.rule {
            AckRule::Alone(_) => None,
            AckRule::Both(_) => Some(primary.promoted.max(primary.peer.min(held))),
        }
    }

    pub(super) fn set_rule(&mut self, n: usize, g: usize, epoch: Epoch, rule: AckRule) {
        if let Some(primary) = self.nodes[n].primary[g].as_mut().filter(|p| p.epoch == epoch) {
            primary.rule = rule;
        }
        self.acknowledge(n, g);
    }

    /// A connection to a machine that lost its power is given up later, by silence; what was sent still arrives.
    pub(super) fn stream_ends_with(&mut self, n: usize) {
        for mirror in self.mirrors.iter_mut().flatten() {
            match &mut mirror.session {
                Some(s) if s.owner == n => (s.caught_up, mirror.ack) = (false, None),
                _ => mirror.append = None,
            }
        }
    }

    /// One unit passes for the copies of a group.
    pub(super) fn move_mirror(&mut self, g: usize) {
        if self.mirrors[g].is_none() {
            return;
        }
        // The answer that the standby gives in this unit arrives in the next.
        self.deliver_answer(g);
        self.deliver_records(g);
        self.look(g);
        for n in 0..2 {
            self.client(n, g);
            self.acknowledge(n, g);
        }
        self.stream(g);
    }

    fn deliver_records(&mut self, g: usize) {
        let Some(mirror) = self.mirrors[g].as_mut() else { return };
        let Some(s) = mirror.session.clone() else { return };
        let standby = 1 - s.owner;
        if self.nodes[standby].frozen {
            return;
        }
        let Some((from, records)) = mirror.append.take() else { return };
        let granted = self.nodes[standby].record.group(Self::group_id(g)).granted;
        let copy = &mut mirror.copies[standby];
        let listens = self.nodes[standby].engine.is_some() && self.nodes[standby].life == s.lives[standby];
        if self.mirror_cut[s.owner] || !listens || copy.log.len() < from || s.epoch < copy.known.max(granted)
        {
            return;
        }
        let known = copy.log.len() - from;
        copy.log.extend(records.into_iter().skip(known));
        mirror.ack = Some(copy.log.len());
        self.check_write(standby, g, s.epoch);
    }

    fn deliver_answer(&mut self, g: usize) {
        let t = self.t;
        let Some(mirror) = self.mirrors[g].as_mut() else { return };
        let Some(s) = mirror.session.as_mut() else { return };
        let owner = s.owner;
        if self.nodes[owner].frozen {
            return;
        }
        let Some(upto) = mirror.ack.take() else { return };
        let node = &mut self.nodes[owner];
        if self.mirror_cut[1 - owner] || node.engine.is_none() || node.life != s.lives[owner] {
            return;
        }
        let Some(p) = node.primary[g].as_mut().filter(|p| p.epoch == s.epoch) else { return };
        p.peer = p.peer.max(upto);
        let late = p.waiting.is_some_and(|since| t - since > STALL);
        s.caught_up |= !late && p.peer >= mirror.copies[owner].log.len();
    }

    /// Gives a stream up, or connects one.
    fn look(&mut self, g: usize) {
        let t = self.t;
        let carries = self.mirror_cut == [false; 2];
        let up = carries && self.runs(0) && self.runs(1);
        let lives = [self.nodes[0].life, self.nodes[1].life];
        let here = [0, 1].map(|n: usize| self.nodes[n].engine.is_some());
        let late = [0, 1].map(|n: usize| {
            self.nodes[n].primary[g].as_ref().and_then(|p| p.waiting).is_some_and(|since| t - since > STALL)
        });
        let reset = [0, 1].map(|n: usize| self.nodes[n].power && !here[n]);
        let Some(mirror) = self.mirrors[g].as_mut() else { return };
        mirror.broken_since = if up { None } else { mirror.broken_since.or(Some(t)) };
        let silent = mirror.broken_since.is_some_and(|since| t - since > GIVE_UP);
        if let Some(s) = &mut mirror.session {
            s.caught_up &= !late[s.owner];
            let ended = s.lives != lives || reset.contains(&true);
            if silent || (ended && carries) {
                end_session(mirror);
            }
        }
        if up && mirror.session.is_none() {
            self.connect(g);
        }
    }

    fn connect(&mut self, g: usize) {
        let epoch = |n: usize| self.nodes[n].primary[g].as_ref().map(|p| p.epoch);
        let (owner, epoch) = match (epoch(0), epoch(1)) {
            (Some(e), None) => (0, e),
            (None, Some(e)) => (1, e),
            (Some(_), Some(_)) => return,
            (None, None) => return self.compare(g),
        };
        let (t, standby) = (self.t, 1 - owner);
        let lives = [self.nodes[0].life, self.nodes[1].life];
        let granted = self.nodes[standby].record.group(Self::group_id(g)).granted;
        let Some(mirror) = self.mirrors[g].as_mut() else { return };
        if mirror.copies[standby].known.max(granted) > epoch {
            return;
        }
        let fork = mirror.copies[standby].common(&mirror.copies[owner]);
        mirror.diverged = mirror.copies[standby].log[fork..].iter().any(|r| r.alone);
        if mirror.diverged {
            return;
        }
        let tail = mirror.copies[standby].give_up(fork);
        mirror.copies[standby].known = epoch;
        mirror.session = Some(Session { owner, epoch, lives, caught_up: false, opened: t });
        (mirror.append, mirror.ack) = (None, None);
        if let Some(p) = self.nodes[owner].primary[g].as_mut() {
            p.peer = 0;
        }
        self.check_tail(standby, g, &tail);
        self.say(Some(owner), || format!("streams group {g} in epoch {epoch} from {fork} on"));
    }

    /// Nobody owns the group: only whether both went on alone is of interest.
    fn compare(&mut self, g: usize) {
        let Some(mirror) = self.mirrors[g].as_mut() else { return };
        let [a, b] = &mirror.copies;
        let fork = a.common(b);
        let alone = |c: &Copy| c.log[fork..].iter().any(|r| r.alone);
        mirror.diverged = alone(a) && alone(b);
    }

    /// A client's message reaches whoever acts.
    fn client(&mut self, n: usize, g: usize) {
        let t = self.t;
        let Some(epoch) = self.acting(n, g) else { return };
        let Some(p) = self.nodes[n].primary[g].as_mut().filter(|p| p.epoch == epoch) else { return };
        let Some(mirror) = self.mirrors[g].as_mut() else { return };
        if p.next_message > t || p.waiting.is_some() {
            return;
        }
        p.next_message = t + PACE;
        p.waiting = Some(t);
        let message = mirror.next_message;
        mirror.next_message += 1;
        mirror.copies[n].log.push(Rec { epoch, message, alone: false });
        self.check_write(n, g, epoch);
    }

    /// Sends what the standby lacks; if it lacks nothing, asks for a sign.
    fn stream(&mut self, g: usize) {
        let t = self.t;
        let Some(mirror) = self.mirrors[g].as_mut() else { return };
        let Some(s) = &mirror.session else { return };
        let (owner, standby) = (s.owner, 1 - s.owner);
        if t <= s.opened || mirror.append.is_some() || mirror.ack.is_some() {
            return;
        }
        let current = self.nodes[owner].primary[g].as_ref().is_some_and(|p| p.epoch == s.epoch);
        let have = mirror.copies[standby].log.len();
        let lacks = have < mirror.copies[owner].log.len();
        if current && !self.nodes[owner].frozen && (lacks || !s.caught_up) {
            let records = mirror.copies[owner].log.get(have..).map(<[Rec]>::to_vec).unwrap_or_default();
            mirror.append = Some((have, records));
        }
    }

    /// Acknowledges to clients what may be acknowledged now.
    pub(super) fn acknowledge(&mut self, n: usize, g: usize) {
        let t = self.t;
        let Some(epoch) = self.acting(n, g) else { return };
        let Some(mirror) = self.mirrors[g].as_mut() else { return };
        let node = &mut self.nodes[n];
        let told = node.told[g].caught_up.is_some();
        let Some(p) = node.primary[g].as_mut().filter(|p| p.epoch == epoch) else { return };
        let following = mirror.session.as_ref().is_some_and(|s| s.owner == n && s.caught_up);
        let alone = matches!(p.rule, AckRule::Alone(_)) && !following && !told;
        let held = mirror.copies[n].log.len();
        let upto = if alone { held } else { held.min(p.peer) };
        if upto <= p.acked {
            return;
        }
        for index in p.acked..upto {
            let record = &mut mirror.copies[n].log[index];
            record.alone = alone;
            let message = record.message;
            mirror.acknowledged.push(Acknowledged { index, epoch, message, forgiven: false });
        }
        p.acked = upto;
        p.waiting = p.waiting.filter(|_| upto < held);
        mirror.last_ack = t;
        self.check_write(n, g, epoch);
    }

    /// Tells the engine of a changed state.
    pub(super) fn report(&mut self, n: usize, g: usize) {
        let Some(report) = self.state_of(n, g) else { return };
        if self.nodes[n].told[g] == report || self.nodes[n].engine.is_none() {
            return;
        }
        self.nodes[n].told[g] = report;
        self.feed(n, Input::Data { group: Self::group_id(g), report });
        self.acknowledge(n, g);
    }

    fn state_of(&self, n: usize, g: usize) -> Option<DataReport> {
        let mirror = self.mirrors[g].as_ref()?;
        let node = &self.nodes[n];
        let session = mirror.session.as_ref().filter(|s| s.lives[n] == node.life);
        let primary = node.primary[g].as_ref();
        let idle = mirror.broken_since.is_none() && !mirror.diverged;
        let peer = &self.nodes[1 - n];
        let caught_up = session
            .filter(|s| s.owner == n && s.caught_up && s.lives[1 - n] == peer.life)
            .map(|s| CaughtUp { epoch: s.epoch, incarnation: peer.incarnation });
        let stalled = primary.is_some_and(|p| {
            let late = p.waiting.is_some_and(|since| self.t - since > STALL);
            let silent = session.is_none() && self.t - p.since > STALL;
            matches!(p.rule, AckRule::Both(_)) && (late || silent)
        });
        Some(DataReport {
            durable: Lsn(mirror.copies[n].log.len() as u64),
            connected: session.is_some() || (primary.is_none() && idle),
            stalled,
            caught_up,
            rule: primary.map(|p| p.rule),
            diverged: mirror.diverged,
            overtaken: primary.filter(|_| session.is_none() && mirror.broken_since.is_none()).and_then(|p| {
                let granted = peer.record.group(Self::group_id(g)).granted;
                Some(mirror.copies[1 - n].known.max(granted)).filter(|known| *known > p.epoch)
            }),
        })
    }

    /// The place up to which both copies are equal and every message of it is acknowledged.
    pub(super) fn base(&self, g: usize) -> usize {
        let Some(mirror) = &self.mirrors[g] else { return 0 };
        let equal = mirror.copies[0].common(&mirror.copies[1]);
        // A stale word of the peer may lag behind by what was under way.
        equal.saturating_sub(3)
    }

    pub(super) fn valid_until(&self, n: usize, g: usize) -> u64 {
        let until = self.nodes[n].permits.valid(g).map(|(_, until)| until);
        until.map_or(0, |until| until.since(at(self.t)).as_millis() as u64)
    }
}

fn end_session(mirror: &mut Mirror) {
    mirror.session = None;
    (mirror.append, mirror.ack) = (None, None);
}
