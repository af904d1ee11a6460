//! Which choices there are in a state, and what each does to it.

use super::choice::Choice;
use super::world::{LATE, SLOW, World};
use crate::GroupId;
use crate::engine::{Command, Input, Question, RoleName};

/// A question to which "the peer is off" is an answer.
const ABOUT_THE_PEER: [Question; 5] = [
    Question::NoStopProof,
    Question::NoExclusionProof,
    Question::PeerAbsent,
    Question::Unconfirmed,
    Question::TimingMismatch,
];

/// Units between two looks of those who mend services.
const MENDING: u32 = 20;

impl World {
    /// Whether the choice would change anything.
    pub(super) fn can(&self, choice: Choice) -> bool {
        let node = |n: usize| &self.nodes[n];
        match choice {
            Choice::PowerLoss { node: n, durable } => node(n).power && (!durable || node(n).write.is_some()),
            Choice::ProcessDies { node: n, durable } => self.runs(n) && (!durable || node(n).write.is_some()),
            // The other copy would have to be the only one for a second loss; that is an operator's affair.
            Choice::DiskReplaced(_) => !self.oracle.disk_replaced,
            Choice::Freeze(n) => self.runs(n),
            Choice::Cut { from, link } => !self.cut[link][from],
            Choice::CutLinks => self.cut.iter().any(|c| c.contains(&false)),
            Choice::CutMirror(n) => !self.mirror_cut[n],
            Choice::CutStream => self.mirror_cut.contains(&false),
            Choice::Isolate => self.can(Choice::CutLinks) || self.can(Choice::CutStream),
            Choice::Lose(n) | Choice::Delay(n) => self.runs(n) && !self.flight[n].is_empty(),
            Choice::Device { node: n, does } => node(n).device != does,
            Choice::SlowDisk(n) => self.runs(n) && !node(n).slow_disk,
            Choice::WriteFails { node: n, .. } => self.runs(n) && node(n).write.is_some(),
            Choice::OpFails(n) | Choice::OpHangs(n) => self.runs(n) && !node(n).ops.is_empty(),
            Choice::OutsideLost(n) => node(n).outside > 0,
            Choice::Switchover { node: n, group } => node(n).roles[group] == RoleName::Active && self.runs(n),
            Choice::Shutdown(n) => self.runs(n),
            Choice::Boot(n) => node(n).engine.is_none() && node(n).restart_at.is_none(),
            Choice::Thaw(n) => node(n).frozen,
            Choice::Heal => self.cut.iter().any(|c| c.contains(&true)) || self.mirror_cut.contains(&true),
            Choice::HealStream => self.mirror_cut.contains(&true),
            Choice::ArbiterCut(n) => self.third.as_ref().is_some_and(|t| !t.cut[n]),
            Choice::ArbiterMute(n) => self.third.as_ref().is_some_and(|t| !t.mute[n]),
            Choice::ArbiterForgets => self.pair_knows_better(),
            Choice::Repair => {
                let away =
                    self.third.as_ref().is_some_and(|t| t.cut.contains(&true) || t.mute.contains(&true));
                away || self.nodes.iter().any(|n| n.device != super::choice::Device::Works || n.outside == 0)
            }
            Choice::ConfirmOff(n) => !node(1 - n).power && self.asks(n, &ABOUT_THE_PEER),
        }
    }

    /// Does what was chosen, at once.
    pub(super) fn choose(&mut self, choice: Choice) {
        self.say(None, || format!("CHOICE {choice}"));
        let t = self.t;
        match choice {
            Choice::PowerLoss { node, durable } => self.power_off(node, durable),
            Choice::ProcessDies { node, durable } => self.process_dies(node, durable),
            Choice::DiskReplaced(n) => self.replace_disk(n),
            Choice::Freeze(n) => self.nodes[n].frozen = true,
            Choice::Cut { from, link } => self.cut_link(link, from),
            Choice::CutLinks => self.cut_links(),
            Choice::CutMirror(n) => self.mirror_cut[n] = true,
            Choice::CutStream => self.mirror_cut = [true; 2],
            Choice::Isolate => {
                self.cut_links();
                self.mirror_cut = [true; 2];
            }
            Choice::Lose(n) => self.flight[n].clear(),
            Choice::Delay(n) => self.delayed[n] = std::mem::take(&mut self.flight[n]),
            Choice::Device { node, does } => self.nodes[node].device = does,
            Choice::SlowDisk(n) => self.slow_disk(n),
            Choice::WriteFails { node, durable } => {
                if let Some(w) = &mut self.nodes[node].write {
                    w.fails = Some(durable);
                }
            }
            Choice::OpFails(n) => self.nodes[n].ops.iter_mut().for_each(|o| o.fails = true),
            Choice::OpHangs(n) => self.nodes[n].ops.iter_mut().for_each(|o| o.due = t + LATE),
            Choice::OutsideLost(n) => self.outside(n, 0),
            Choice::Switchover { node, group } => {
                self.feed(node, Input::Command(Command::Switchover(Self::group_id(group))));
            }
            Choice::Shutdown(n) => {
                self.nodes[n].leaving = true;
                self.feed(n, Input::Command(Command::Shutdown));
            }
            Choice::Boot(n) => self.boot(n),
            Choice::Thaw(n) => self.thaw(n),
            Choice::Heal => self.heal(),
            Choice::HealStream => self.mirror_cut = [false; 2],
            Choice::ArbiterCut(n) => self.third.iter_mut().for_each(|t| t.cut[n] = true),
            Choice::ArbiterMute(n) => self.third.iter_mut().for_each(|t| t.mute[n] = true),
            Choice::ArbiterForgets => self.third_forgets(),
            Choice::Repair => self.repair(),
            Choice::ConfirmOff(n) => self.confirm_off(n),
        }
    }

    /// Only what both nodes know can tell them that the arbiter forgot: both are well, and its epochs fall.
    fn pair_knows_better(&self) -> bool {
        let Some(third) = self.third.as_ref().filter(|t| !t.forgot) else { return false };
        let well = |g: usize| {
            let roles = [0, 1].map(|n: usize| self.nodes[n].roles[g]);
            roles.contains(&RoleName::Active) && roles.contains(&RoleName::Standby)
        };
        let epoch = |r: &super::third::Row| r.record.map(|r| r.epoch);
        let falls = third.older.iter().zip(&third.rows).all(|(old, new)| epoch(old) < epoch(new));
        self.runs(0) && self.runs(1) && (0..self.mirrors.len()).all(well) && falls
    }

    fn cut_link(&mut self, link: usize, from: usize) {
        self.cut[link][from] = true;
        self.flight[1 - from].retain(|(l, _)| usize::from(l.0) != link);
    }

    fn cut_links(&mut self) {
        for link in 0..self.cut.len() {
            self.cut_link(link, 0);
            self.cut_link(link, 1);
        }
    }

    fn slow_disk(&mut self, n: usize) {
        let t = self.t;
        let node = &mut self.nodes[n];
        node.disk_slow_until = t + 4 * SLOW;
        match &mut node.write {
            Some(w) => w.due = w.began + SLOW,
            None => node.slow_disk = true,
        }
    }

    fn outside(&mut self, n: usize, reachable: u8) {
        self.nodes[n].outside = reachable;
        if self.runs(n) {
            self.feed(n, Input::Outside { reachable });
        }
    }

    fn heal(&mut self) {
        for link in 0..self.cut.len() {
            if self.cut[link].contains(&true) {
                self.cut[link] = [false; 2];
                self.clear_since[link] = self.t;
            }
        }
        self.mirror_cut = [false; 2];
    }

    fn repair(&mut self) {
        if let Some(third) = &mut self.third {
            (third.cut, third.mute) = ([false; 2], [false; 2]);
        }
        for n in 0..2 {
            self.nodes[n].device = super::choice::Device::Works;
            self.outside(n, 1);
        }
    }

    fn confirm_off(&mut self, n: usize) {
        let Some(status) = self.nodes[n].engine.as_ref().map(crate::engine::Engine::status) else { return };
        let incarnation = status.peer.incarnation;
        for group in status.groups {
            if group.question.is_some_and(|q| ABOUT_THE_PEER.contains(&q)) {
                let group = group.group;
                self.feed(n, Input::Command(Command::ConfirmPeerOff { group, incarnation }));
            }
        }
    }

    /// Everything is mended at once, as after the last fault.
    pub(super) fn mend(&mut self) {
        self.say(None, || "everything is mended".into());
        self.heal();
        self.repair();
        for n in 0..2 {
            self.nodes[n].slow_disk = false;
            if self.nodes[n].frozen {
                self.thaw(n);
            }
            if self.nodes[n].engine.is_none() && self.nodes[n].restart_at.is_none() {
                self.boot(n);
            }
            self.nodes[n].cut_off = false;
        }
        self.services_mended();
    }

    /// Whoever mended a service says so; a node in failure memory is no standby.
    fn services_mended(&mut self) {
        for n in 0..2 {
            for g in 0..self.mirrors.len() {
                let group = GroupId(g as u16);
                self.feed(n, Input::Command(Command::ClearFailures(group)));
                if !self.third_knows_what_lives_knew() {
                    self.feed(n, Input::Command(Command::TrustArbiter(group)));
                }
            }
        }
    }

    /// One unit while everything is mended: nodes that leave or are fenced come back.
    pub(super) fn advance_mended(&mut self) {
        self.advance();
        for n in 0..2 {
            let node = &self.nodes[n];
            if node.engine.is_none() && node.restart_at.is_none() {
                self.boot(n);
            }
        }
        if self.t.is_multiple_of(MENDING) {
            self.services_mended();
        }
    }
}
