//! How each fault is done to the world, and undone.

use super::arbiter::Trouble;
use super::cluster::{Cluster, Event, MS, Mending, nanos};
use super::fault::{Cut, Fault, ResourceFault};
use super::network::Reach;
use super::timeline::What;
use crate::engine::{Command, Input};
use crate::{GroupId, NodeId, PolicyScope};
use std::time::Duration;

impl Cluster {
    pub(super) fn fault(&mut self, fault: Fault) {
        self.note_time_to_find_out();
        self.injected += 1;
        self.probes.hit("fault", fault.name());
        self.timeline.add(self.now, None, What::Fault(fault));
        match fault {
            Fault::PowerLoss(n, away) => self.power_off(n, nanos(away)),
            Fault::TotalPowerLoss(a, b) => {
                self.total_loss = true;
                self.power_off(0, nanos(a));
                self.power_off(1, nanos(b));
            }
            Fault::ReplaceDisk(n, away) => {
                self.power_off(n, nanos(away));
                self.replace_disk(n);
            }
            Fault::KillEngine(n) => self.child_dies(n),
            Fault::KillGuardian(n) => self.kill_guardian(n),
            Fault::KillTree(n, away) => self.kill_tree(n, nanos(away)),
            Fault::PauseTree(n, span) => self.pause(n, true, nanos(span)),
            Fault::PauseChild(n, span) => self.pause(n, false, nanos(span)),
            Fault::Drift(n, ppm) => self.drift(n, ppm),
            Fault::CutLink(link, cut, span) => self.cut(Reach::Link(link), cut, span),
            Fault::CutBeats(cut, span) => self.cut(Reach::Beats, cut, span),
            Fault::CutMirror(cut, span) => self.cut(Reach::Mirror, cut, span),
            Fault::CutNetwork(span) => self.cut(Reach::AllButLast, Cut::Both, span),
            Fault::Isolate(span) => self.cut(Reach::Everything, Cut::Both, span),
            Fault::Lossy(link, per_mille, span) => self.lossy(link, per_mille, span),
            Fault::Slow(link, by, span) => self.slow(link, by, span),
            Fault::Device(n, what, span) => self.nodes[n].device = Some((what, self.now + nanos(span))),
            Fault::Resource(n, group, place, what) => self.resource_fault(n, group, place, what),
            Fault::SlowDisk(n, by, span) => {
                self.nodes[n].slow_disk = Some((nanos(by), self.now + nanos(span)));
            }
            Fault::DiskError(n) => self.nodes[n].disk_error = true,
            Fault::DiskFull(n, span) => {
                self.nodes[n].disk.fill(true);
                self.mend_later(span, Mending::Disk(n));
            }
            Fault::DiskStalls(n, span) => self.nodes[n].stalled_until = self.now + nanos(span),
            Fault::LostCache(n, span) => {
                self.nodes[n].disk.lie(true);
                self.mend_later(span, Mending::Disk(n));
            }
            Fault::DamagedRecord(n, away) => {
                self.power_off(n, nanos(away));
                self.nodes[n].disk.damage();
            }
            Fault::Clog(link, cut, span) => self.network.clog(Reach::Link(link), cut, self.now + nanos(span)),
            Fault::ClogMirror(cut, span) => self.network.clog(Reach::Mirror, cut, self.now + nanos(span)),
            Fault::UndoFails(n) => self.nodes[n].undo_fails = true,
            Fault::NoOutside(n, span) => self.outside(n, 0, span),
            Fault::StallApplication(n, span) => self.stall(n, span),
            Fault::CutArbiter(n, span) => self.trouble_arbiter(Trouble::Cut(n), span),
            Fault::ArbiterReadOnly(n, span) => self.trouble_arbiter(Trouble::ReadOnly(n), span),
            Fault::ArbiterDown(span) => self.trouble_arbiter(Trouble::Down, span),
            Fault::ArbiterSlow(by, span) => self.trouble_arbiter(Trouble::Slow(nanos(by)), span),
            Fault::ArbiterMute(span) => self.trouble_arbiter(Trouble::Mute, span),
            Fault::ArbiterForgets(swaps) => self.arbiter_forgets(swaps, 12),
            Fault::Switchover(group) => self.switchover(GroupId(group.into())),
            Fault::Standby(n, span) => {
                let node = NodeId(u8::try_from(n).unwrap_or(0));
                self.order(Command::Standby { node, on: true });
                self.mend_later(span, Mending::Policy(Command::Standby { node, on: false }));
            }
            Fault::Maintenance(scope, span) => {
                self.order(Command::Maintenance { scope, on: true });
                self.mend_later(span, Mending::Policy(Command::Maintenance { scope, on: false }));
            }
            Fault::Detach(n, away) => self.order_detach(n, away),
            Fault::Shutdown(n, _) => self.command(n, Command::Shutdown),
        }
    }

    pub(super) fn mend_later(&mut self, span: Duration, what: Mending) {
        let healing = self.network.healings;
        self.after(nanos(span), Event::Mend { healing, what });
    }

    pub(super) fn mend(&mut self, healing: u32, what: Mending) {
        if healing != self.network.healings {
            return;
        }
        match what {
            Mending::Cut(reach, cut) => self.network.cut(self.now, reach, cut, true),
            Mending::Loss(link) => {
                if let Some(l) = self.network.links.get_mut(usize::from(link)) {
                    l.iter_mut().for_each(|p| (p.loss_per_mille, p.clear_since) = (0, self.now));
                }
            }
            Mending::Slow(link) => {
                if let Some(l) = self.network.links.get_mut(usize::from(link)) {
                    l.iter_mut().for_each(|p| (p.slow, p.clear_since) = (0, self.now));
                }
            }
            Mending::Disk(n) => self.mend_disk(n),
            Mending::Outside(n) => self.outside_is(n, 2),
            Mending::Policy(command) => self.order(command),
            Mending::Detach(n) => self.command(n, Command::Detach),
            Mending::Arbiter(trouble) => self.mend_arbiter(trouble),
            Mending::Application(n) => {
                self.nodes[n].stalled = false;
                if let Some(life) = self.life(n) {
                    self.feed(n, life, Input::Application { alive: true });
                }
            }
        }
    }

    fn order_detach(&mut self, node: usize, away: Duration) {
        let scope = PolicyScope::Node(NodeId(u8::try_from(node).unwrap_or(0)));
        self.order(Command::Maintenance { scope, on: true });
        self.stay_away(node, away);
        let ready = Duration::from_millis(400);
        self.mend_later(ready, Mending::Detach(node));
        let over = ready + away + Duration::from_secs(2);
        self.mend_later(over, Mending::Policy(Command::Maintenance { scope, on: false }));
    }

    /// A command to whichever node runs.
    fn order(&mut self, command: Command) {
        let node = usize::from(self.life(0).is_none());
        self.command(node, command);
    }

    fn cut(&mut self, reach: Reach, cut: Cut, span: Duration) {
        self.network.cut(self.now, reach, cut, false);
        self.mend_later(span, Mending::Cut(reach, cut));
    }

    fn lossy(&mut self, link: u8, per_mille: u32, span: Duration) {
        if let Some(l) = self.network.links.get_mut(usize::from(link)) {
            l.iter_mut().for_each(|p| p.loss_per_mille = per_mille);
        }
        self.mend_later(span, Mending::Loss(link));
    }

    fn slow(&mut self, link: u8, by: Duration, span: Duration) {
        if let Some(l) = self.network.links.get_mut(usize::from(link)) {
            l.iter_mut().for_each(|p| p.slow = nanos(by));
        }
        self.mend_later(span, Mending::Slow(link));
    }

    fn drift(&mut self, node: usize, ppm: i64) {
        self.nodes[node].clock.drift(self.now, ppm);
        // A queued wake-up was computed with the old drift; ask again.
        if let Some(p) = self.nodes[node].process.as_mut() {
            p.wake_at = self.now;
            let life = p.life;
            self.after(0, Event::Wake { node, life });
        }
    }

    fn resource_fault(&mut self, node: usize, group: u8, place: u8, what: ResourceFault) {
        let n = &mut self.nodes[node];
        let data = matches!(
            what,
            ResourceFault::PromoteFails | ResourceFault::PromoteHangs | ResourceFault::DemoteHangs
        );
        let target = if data {
            n.data_quirks.get_mut(usize::from(group))
        } else {
            n.running.get_mut(usize::from(group)).and_then(|g| g.get_mut(usize::from(place)))
        };
        let Some(target) = target else { return };
        if what == ResourceFault::Dies {
            target.serves = false;
        } else {
            target.quirks.push(what);
        }
    }

    fn outside(&mut self, node: usize, reachable: u8, span: Duration) {
        self.outside_is(node, reachable);
        self.mend_later(span, Mending::Outside(node));
    }

    fn outside_is(&mut self, node: usize, reachable: u8) {
        self.nodes[node].outside = reachable;
        if let Some(life) = self.life(node) {
            self.feed(node, life, Input::Outside { reachable });
        }
    }

    fn stall(&mut self, node: usize, span: Duration) {
        self.nodes[node].stalled = true;
        if let Some(life) = self.life(node) {
            self.feed(node, life, Input::Application { alive: false });
            self.mend_later(span.max(Duration::from_nanos(MS)), Mending::Application(node));
        }
    }

    fn switchover(&mut self, group: GroupId) {
        let owner = (0..2).find(|n| {
            self.nodes[*n].process.as_ref().is_some_and(|p| p.owned[usize::from(group.0)].is_some())
        });
        self.command(owner.unwrap_or(0), Command::Switchover(group));
    }
}
