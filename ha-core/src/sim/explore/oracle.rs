//! What must hold, judged from outside the engines by the simulator's own checkers.

use super::world::{EFFECT, World};
use crate::config::LinkConfig;
use crate::engine::{Beat, EventKind, LinkState, Protection, Question, RoleName, Statement};
use crate::sim::invariant::{
    Broken, Epochs, Found, Invariant, Shots, Verdict, all_present, not_heard, not_reachable, nothing_left,
    one_actor, served_or_asked,
};
use crate::sim::mirror::Rec;
use crate::sim::timeline::What;
use crate::{Epoch, GroupId};

/// Units within which an owner that may acknowledge does so.
const PATIENCE: u32 = 44;

/// Units after which an owner knows that its peer is gone: longer than any deadline of a link.
const LONG_GONE: u32 = 16;

/// What the world knows besides the engines.
#[derive(Clone, Debug)]
pub(super) struct Oracle {
    pub epochs: Vec<Epochs>,
    shots: Shots,
    /// A store was lost: what only it held may be missing, and nobody can tell.
    pub disk_replaced: bool,
    /// The arbiter lost its memory, and a life that knew better ended: nothing can be asserted any more.
    pub excused: bool,
    pub broken: Option<Broken>,
}

impl Oracle {
    pub(super) fn new(groups: usize) -> Self {
        Self {
            epochs: vec![Epochs::default(); groups],
            shots: Shots::default(),
            disk_replaced: false,
            excused: false,
            broken: None,
        }
    }

    fn check(&mut self, verdict: Verdict) {
        if let (Err(broken), false) = (verdict, self.excused) {
            self.broken.get_or_insert(broken);
        }
    }
}

impl World {
    pub(super) fn check(&mut self, verdict: Verdict) {
        if let Err(broken) = &verdict {
            self.say(None, || broken.to_string());
        }
        self.oracle.check(verdict);
    }

    /// I1, at the end of every unit.
    pub(super) fn check_actors(&mut self, g: usize) {
        let acting = [self.acting(0, g), self.acting(1, g)];
        self.check(one_actor(Self::group_id(g), acting));
    }

    pub(super) fn check_write(&mut self, n: usize, g: usize, epoch: Epoch) {
        let verdict = self.oracle.epochs[g].write(Self::group_id(g), n, epoch);
        self.check(verdict);
    }

    /// I3: whoever serves has everything that was acknowledged.
    pub(super) fn check_data(&mut self, n: usize, g: usize) {
        let Some(mirror) = &self.mirrors[g] else { return };
        let log = &mirror.copies[n].log;
        let holds = |i: usize| log.get(i).map(|r| r.message);
        let verdict = all_present(Self::group_id(g), n, &mirror.acknowledged, holds);
        self.check(verdict);
    }

    /// I3: a tail that was given up holds nothing acknowledged.
    pub(super) fn check_tail(&mut self, standby: usize, g: usize, tail: &[Rec]) {
        let Some(mirror) = &self.mirrors[g] else { return };
        let lost = mirror.acknowledged.iter().find(|a| tail.iter().any(|r| r.message == a.message));
        if let Some(a) = lost {
            let detail = format!(
                "node {standby} gave up acknowledged message {} of epoch {} of group {g} to follow its peer",
                a.message, a.epoch
            );
            self.check(Err(Broken { invariant: Invariant::I3, detail }));
        }
    }

    pub(super) fn engine_says(&mut self, n: usize, kind: EventKind) {
        match &kind {
            EventKind::Role { group, role, epoch } => self.role_changes(n, *group, *role, *epoch),
            EventKind::Granted { group, epoch, .. } => {
                let g = usize::from(group.0);
                let mirrored = self.mirrors[g].is_some();
                let verdict = self.oracle.epochs[g].granted(*group, n, *epoch, mirrored);
                self.check(verdict);
            }
            EventKind::Link { link, state: LinkState::Up } => {
                let l = usize::from(link.0);
                if !self.nodes[n].ever_echoed[l] {
                    let detail = format!("node {n} takes link {l} for up, but its peer never heard it there");
                    self.check(Err(Broken { invariant: Invariant::I12, detail }));
                }
            }
            _ => {}
        }
        let at = u64::from(self.t) * 1_000_000;
        if let Some(timeline) = &mut self.timeline {
            timeline.add(at, Some(n), What::Engine(kind));
        }
    }

    fn role_changes(&mut self, n: usize, group: GroupId, role: RoleName, _epoch: Epoch) {
        let g = usize::from(group.0);
        let owner =
            matches!(role, RoleName::Starting | RoleName::Active | RoleName::Suspended | RoleName::Stopping);
        self.nodes[n].roles[g] = role;
        self.nodes[n].said_released[g] &= !owner;
        match role {
            RoleName::Active => self.check_data(n, g),
            RoleName::Waiting | RoleName::Standby | RoleName::Blocked => {
                self.check_nothing_left(n, g, "no longer owns");
            }
            _ => {}
        }
    }

    /// I4: a group that was given up leaves nothing.
    fn check_nothing_left(&mut self, n: usize, g: usize, said: &str) {
        let node = &self.nodes[n];
        let running = [node.running[g], node.primary[g].is_some()];
        self.check(nothing_left(Self::group_id(g), n, said, running));
    }

    pub(super) fn check_statements(&mut self, n: usize, beat: &Beat) {
        for statement in &beat.statements {
            if let Statement::Released { group, .. } = statement {
                self.check_nothing_left(n, usize::from(group.0), "says that it released");
                self.check_successor(n, *group);
            }
        }
    }

    /// I5: a group is given up of free will only while there is somebody to take it.
    fn check_successor(&mut self, n: usize, group: GroupId) {
        let g = usize::from(group.0);
        let first = !std::mem::replace(&mut self.nodes[n].said_released[g], true);
        let known = self.nodes[1 - n].down_since.is_some_and(|since| self.t - since > LONG_GONE);
        if first && known && !self.nodes[n].leaving {
            let detail =
                format!("node {n} released group {group}, which it could serve, to a peer that is gone");
            self.check(Err(Broken { invariant: Invariant::I5, detail }));
        }
    }

    /// I12 against the truth, at every fencing order.
    pub(super) fn check_shot(&mut self, by: usize) {
        let t = self.t;
        let units = |link: &LinkConfig| link.dead.as_millis() as u32;
        let window = self.config.links.iter().map(units).min().unwrap_or(0) / 2;
        let ask = self.config.timing.ask_deadline.as_millis() as u32;
        let peer = &self.nodes[1 - by];
        let healthy = self.runs(1 - by)
            && t - peer.healthy_since > window
            && peer.disk_slow_until <= t
            && peer.write.as_ref().is_none_or(|w| t - w.began < ask);
        let newest = self.nodes[by].echoed.iter().max().copied().unwrap_or(0);
        let ago = (healthy && newest > 0).then(|| u64::from(t - newest) * 1_000_000);
        self.check(not_heard(by, ago, u64::from(window) * 1_000_000));
        let clear = |l: usize| {
            let long = 2 * units(&self.config.links[l]);
            let lived = t - self.nodes[1 - by].healthy_since >= long;
            lived && !self.cut[l].contains(&true) && t - self.clear_since[l] >= long
        };
        let reachable = healthy && newest > 0 && (0..self.cut.len()).any(clear);
        self.check(not_reachable(by, reachable));
    }

    /// I11: two shots that cross both had effect.
    pub(super) fn note_hit(&mut self, victim: usize, ordered: u32) {
        debug_assert!(self.t - ordered <= EFFECT);
        let nanos = |t: u32| u64::from(t) * 1_000_000;
        let verdict = self.oracle.shots.effective(victim, nanos(ordered), nanos(self.t));
        self.check(verdict);
    }

    /// I5: whatever stays broken, every group ends up served, or somebody is asked.
    pub(super) fn check_settled(&mut self) {
        let anybody = self.runs(0) || self.runs(1);
        for g in 0..self.mirrors.len() {
            let found = self.find(g);
            let waits = self.mirrors[g].as_ref().is_some_and(|m| self.t - m.last_ack.min(self.t) > PATIENCE);
            if !anybody {
                continue;
            }
            self.check(served_or_asked(Self::group_id(g), &found, false));
            let asked = found.questions.iter().any(Option::is_some);
            if waits && !asked && (0..2).any(|n| self.acting(n, g).is_some()) {
                let detail = format!(
                    "group {g} is served, nothing was acknowledged for {PATIENCE} units, and nobody is asked"
                );
                self.check(Err(Broken { invariant: Invariant::I5, detail }));
            }
        }
    }

    /// I5 and I10: with everything mended, every group is served and fully protected. A question excuses only
    /// after a store was lost.
    pub(super) fn check_recovered(&mut self) {
        for g in 0..self.mirrors.len() {
            let mut found = self.find(g);
            found.proof_obtainable = true;
            let full = |n: usize| {
                self.nodes[n].engine.as_ref().is_some_and(|e| {
                    let s = e.status();
                    s.groups[g].role == RoleName::Active && s.groups[g].protection == Protection::Full
                })
            };
            found.unprotected = self.mirrors[g].is_some() && !(full(0) || full(1));
            if !self.oracle.disk_replaced {
                found.questions = [None; 2];
            }
            self.check(served_or_asked(Self::group_id(g), &found, true));
        }
    }

    /// All is well: nothing more is to be waited for.
    pub(super) fn is_recovered(&self) -> bool {
        let mut probe = Self { timeline: None, ..self.clone() };
        probe.oracle.disk_replaced = false;
        probe.check_recovered();
        probe.oracle.broken.is_none()
    }

    fn find(&self, g: usize) -> Found {
        let mut found = Found::default();
        for n in 0..2 {
            let Some(engine) = self.nodes[n].engine.as_ref().filter(|_| !self.nodes[n].frozen) else {
                continue;
            };
            let status = engine.status();
            found.roles[n] = Some(status.groups[g].role);
            found.questions[n] = status.groups[g].question;
        }
        found
    }

    pub(super) fn asks(&self, n: usize, wanted: &[Question]) -> bool {
        let status = self.nodes[n].engine.as_ref().filter(|_| !self.nodes[n].frozen).map(|e| e.status());
        status.is_some_and(|s| s.groups.iter().any(|g| g.question.is_some_and(|q| wanted.contains(&q))))
    }
}
