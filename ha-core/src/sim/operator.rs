//! An operator who answers questions after a while, truthfully; and the look at the end whether all is served.

use super::cluster::{Cluster, Event, MS, SECOND, nanos};
use super::invariant::{Found, served_or_asked};
use crate::engine::{Command, GroupStatus, Input, Protection, Question, RoleName};
use crate::{GroupId, Incarnation, PolicyScope};
use std::collections::BTreeMap;

/// What the operator remembers.
#[derive(Debug, Default)]
pub struct Answers {
    /// Since when a question stands (true time), by node and group.
    standing: BTreeMap<(usize, GroupId), (Question, u64, u64)>,
    /// The power cycle in which a node is kept off, as an answer will rest on it.
    kept_off: [Option<u32>; 2],
    /// When an operator last gave an answer (true time).
    pub latest: u64,
    /// All was well at some time after the recovery.
    pub well: bool,
    /// When all was well for the first time after the healing (true time).
    pub first_well: Option<u64>,
    /// What was wrong at the last look.
    pub last: Vec<(GroupId, Found)>,
}

impl Cluster {
    pub(super) fn operator(&mut self) {
        self.after(500 * MS, Event::Operator);
        if self.scenario.operator {
            for node in 0..2 {
                self.read_questions(node);
            }
        }
        self.look_at_service();
    }

    fn read_questions(&mut self, node: usize) {
        let Some(status) = self.status(node) else {
            self.answers.standing.retain(|(n, _), _| *n != node);
            return;
        };
        if self.nodes[node].process.as_ref().is_some_and(|p| p.paused) {
            return;
        }
        let peer = status.peer.incarnation;
        for group in &status.groups {
            let key = (node, group.group);
            let Some(question) = group.question else {
                self.answers.standing.remove(&key);
                continue;
            };
            let patience = self.rng.range(1500, 7000) * MS;
            let now = self.now;
            let entry = self.answers.standing.entry(key).or_insert((question, now, patience));
            if entry.0 != question {
                *entry = (question, now, patience);
            }
            if now - entry.1 > entry.2 {
                self.answers.standing.remove(&key);
                self.answer(node, group, question, peer);
            }
        }
    }

    fn answer(&mut self, node: usize, status: &GroupStatus, question: Question, peer: Option<Incarnation>) {
        let group = status.group;
        let at = usize::from(group.0);
        self.answers.latest = self.now;
        self.probes.hit("answered", format!("{question:?}"));
        self.say(Some(node), format!("the operator answers {question:?} of group {group}"));
        match question {
            Question::NoStopProof | Question::NoExclusionProof | Question::Unconfirmed => {
                let away = self.rng.range(4000, 8000) * MS;
                let cycle = self.keep_off(1 - node, away);
                let command = Command::ConfirmPeerOff { group, incarnation: peer };
                self.after(2500 * MS, Event::Answer { node, command, cycle });
            }
            Question::PeerAbsent => self.bring_back(1 - node),
            Question::NotCurrent => {
                let other = &self.nodes[1 - node];
                // "Bring the peer back, or force this copy": forced only if the other has nothing to bring.
                if other.record.group(group).set.is_alone() || (other.process.is_none() && !other.blank) {
                    self.bring_back(1 - node);
                } else {
                    self.force(node, group, peer);
                }
            }
            // The owner goes on, if there is one; the other gives its own tail up.
            Question::Diverged
                if self.nodes[node].process.as_ref().is_some_and(|p| p.owned[at].is_some()) => {}
            Question::Diverged => self.command(node, Command::Surrender { group }),
            Question::FailedEverywhere => {
                for n in 0..2 {
                    self.command(n, Command::ClearFailures(group));
                }
            }
            Question::HeldByPolicy => self.end_policies(node),
            Question::ArbiterForgot => self.command(node, Command::TrustArbiter(group)),
            Question::NotInitialised | Question::TimingMismatch | Question::ArbiterSilent => {}
        }
    }

    /// Ends every standby and maintenance that the node knows of.
    pub(super) fn end_policies(&mut self, node: usize) {
        let Some(status) = self.status(node) else { return };
        for (scope, flags) in status.policy.said() {
            if flags.maintenance {
                self.command(node, Command::Maintenance { scope, on: false });
            }
            if let (PolicyScope::Node(of), true) = (scope, flags.standby) {
                self.command(node, Command::Standby { node: of, on: false });
            }
        }
    }

    /// Powers a node off on which an answer will rest; the power cycle in which it is off.
    fn keep_off(&mut self, node: usize, away: u64) -> u32 {
        self.power_off(node, away);
        let cycle = self.nodes[node].cycle;
        self.answers.kept_off[node] = Some(cycle);
        cycle
    }

    /// The answer is about to be given: whether the node is still off, and was so all the time.
    fn was_off_since(&mut self, node: usize, cycle: u32) -> bool {
        self.answers.kept_off[node] = None;
        !self.nodes[node].power && self.nodes[node].cycle == cycle
    }

    fn bring_back(&mut self, node: usize) {
        let n = &self.nodes[node];
        let cycle = n.cycle;
        if self.answers.kept_off[node] == Some(cycle) {
            // Another group's answer rests on it.
            return;
        }
        if n.power {
            self.restart_after(node, 100 * MS);
        } else {
            self.after(100 * MS, Event::PowerOn { node, cycle });
        }
    }

    /// "Use this copy": the other one is powered off meanwhile, as the question says.
    fn force(&mut self, node: usize, group: GroupId, incarnation: Option<Incarnation>) {
        let away = self.rng.range(5000, 8000) * MS;
        let cycle = self.keep_off(1 - node, away);
        let command = Command::ForceCurrent { group, incarnation };
        self.after(3 * SECOND, Event::Answer { node, command, cycle });
    }

    /// Gives a command to the engine of `node` (0 or 1), if one runs.
    pub fn command(&mut self, node: usize, command: Command) {
        if let Some(life) = self.life(node) {
            self.feed(node, life, Input::Command(command));
        }
    }

    /// An answer that rests on the other node's being off, in that power cycle.
    pub(super) fn give_answer(&mut self, node: usize, command: Command, cycle: u32) {
        if self.was_off_since(1 - node, cycle) {
            self.command(node, command);
        }
    }

    pub(super) fn trust_fence(&mut self, node: usize) {
        self.nodes[1 - node].device = None;
        self.command(node, Command::TrustFence);
    }

    /// I5 and I10: from the recovery time on, all must have been well at least once.
    fn look_at_service(&mut self) {
        let Some(heal) = self.scenario.heal_at else { return };
        if self.answers.well || !self.healed {
            return;
        }
        let found: Vec<_> = (0u16..).take(self.mirrors.len()).map(|g| (GroupId(g), self.find(g))).collect();
        let well = found.iter().all(|(g, f)| served_or_asked(*g, f, self.total_loss).is_ok());
        if well {
            self.answers.first_well.get_or_insert(self.now);
        }
        if self.now >= nanos(heal + self.scenario.recovery) {
            self.answers.well = well;
            self.answers.last = found;
        }
    }

    /// Whether the run needs more time: an operator is at work, one answer after the other.
    pub(super) const fn is_being_answered(&self) -> bool {
        !self.answers.well && self.answers.latest + 15 * SECOND > self.now
    }

    fn find(&self, group: u16) -> Found {
        let mut found = Found::default();
        let mut full = false;
        for node in 0..2 {
            let Some(status) = self.status(node) else { continue };
            let Some(g) = status.groups.iter().find(|g| g.group == GroupId(group)) else { continue };
            found.roles[node] = Some(g.role);
            found.questions[node] = g.question;
            // A follower asks because its lead does: that one's question must be a good one.
            let lead = self.scenario.configs[0].groups[usize::from(group)].policy.with;
            let lead = lead.and_then(|lead| status.groups[usize::from(lead.0)].question);
            if let (Some(Question::HeldByPolicy), Some(asks)) = (g.question, lead) {
                found.questions[node] = Some(asks);
            }
            full |= g.role == RoleName::Active && g.protection == Protection::Full;
        }
        found.proof_obtainable = self.nodes.iter().all(|n| n.process.is_some());
        // What rests on a lie may end in a copy that the mirror refuses for good.
        found.unprotected =
            self.mirrors[usize::from(group)].is_some() && !full && !self.is_excused(usize::from(group));
        found
    }

    /// The end of a run: the last checks.
    pub(super) fn finish(&mut self) {
        if self.broken.is_some() {
            return;
        }
        if self.scenario.heal_at.is_some() && !self.answers.well {
            let last = std::mem::take(&mut self.answers.last);
            for (group, found) in last {
                self.check(served_or_asked(group, &found, self.total_loss));
            }
        }
        for node in 0..2 {
            let recording = self.nodes[node].process.as_ref().and_then(|p| p.recording.clone());
            if let Some(recording) = recording {
                self.check(recording.replay(node));
            }
        }
        self.check_union();
    }

    /// Whatever lied: no acknowledged message is missing from both stores and their quarantines.
    fn check_union(&mut self) {
        if self.disk_replaced {
            return;
        }
        for (group, mirror) in self.mirrors.iter().enumerate() {
            let Some(mirror) = mirror else { continue };
            let mut held: Vec<u64> = Vec::new();
            for copy in &mirror.copies {
                held.extend(copy.log.iter().map(|r| r.message));
                held.extend(&copy.quarantine);
            }
            held.sort_unstable();
            let lost = mirror.acknowledged.iter().find(|a| held.binary_search(&a.message).is_err());
            if let Some(a) = lost {
                let detail =
                    format!("acknowledged message {} of group {group} is in neither store", a.message);
                self.check(Err(super::invariant::Broken {
                    invariant: super::invariant::Invariant::I3,
                    detail,
                }));
                return;
            }
        }
    }

    /// Mends everything at once, as after the last fault.
    pub(super) fn heal(&mut self) {
        self.say(None, "everything is mended");
        self.healed = true;
        self.note_time_to_find_out();
        self.network.heal(self.now);
        self.heal_arbiter();
        for node in 0..2 {
            let pause = self.nodes[node].pauses;
            let n = &mut self.nodes[node];
            n.device = None;
            n.slow_disk = None;
            n.disk_error = false;
            n.stalled_until = 0;
            n.disk.fill(false);
            n.disk.lie(false);
            n.undo_fails = false;
            n.outside = 2;
            n.stalled = false;
            for r in n.running.iter_mut().flatten().chain(&mut n.data_quirks) {
                r.quirks.clear();
            }
            self.resume(node, pause);
            if let Some(life) = self.life(node) {
                self.feed(node, life, Input::Outside { reachable: 2 });
                self.feed(node, life, Input::Application { alive: true });
            }
            for group in (0u16..).take(self.mirrors.len()) {
                // Whoever mended a service says so; a node in failure memory is no standby.
                self.after(
                    nanos(super::phase::SERVICES_CLEARED),
                    Event::Mended { node, group: GroupId(group) },
                );
            }
            let delay = self.rng.range(0, 2 * SECOND);
            let cycle = self.nodes[node].cycle;
            if !self.nodes[node].power {
                self.after(delay, Event::PowerOn { node, cycle });
            } else if self.nodes[node].process.is_none() {
                self.restart_after(node, delay.max(500 * MS));
            }
        }
    }
}
