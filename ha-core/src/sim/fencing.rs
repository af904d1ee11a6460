//! Fence devices: each ends one node, answers late, fails, hangs or lies.

use super::cluster::{Cluster, Event, MS, nanos};
use super::fault::DeviceFault;
use super::invariant::{not_heard, not_reachable, shooting_disabled};
use crate::engine::{FenceAnswer, Input};
use crate::{FenceScope, OpId};

/// Within this time a process that woke after a lie about it has found out, be it by a narrow line alone.
const FIND_OUT: u64 = 1500 * MS;
/// The latencies of a beat and its answer on a link that says everything in each, with what wakes late.
const ROUND_TRIP: u64 = 50 * MS;

impl Cluster {
    pub(super) fn fence_order(&mut self, by: usize, life: u32, op: OpId, shoot: bool) {
        let ordered = self.now;
        if shoot {
            self.check_shot(by);
            self.say(Some(by), "orders to fence its peer");
        }
        let timeout = self.scenario.configs[0].fence.as_ref().map_or(50 * MS, |f| nanos(f.timeout));
        let delay = self.rng.range(MS, (timeout / 2).max(2 * MS));
        self.after(delay, Event::FenceAct { by, life, op, shoot, ordered });
    }

    /// I12 against the truth.
    pub(super) fn check_shot(&mut self, by: usize) {
        let now = self.now;
        let config = &self.scenario.configs[by];
        let window = config.links.iter().map(|l| nanos(l.dead)).min().unwrap_or(0) / 2;
        let ask = nanos(config.timing.ask_deadline);
        let peer = &self.nodes[1 - by];
        let disk_slow = peer.slow_disk.is_some_and(|(_, until)| until + 3 * ask > now);
        let healthy = peer.process.as_ref().is_some_and(|p| {
            !p.paused
                && !p.leftovers
                && now - p.healthy_since > window
                && (p.write.is_none() || now - p.write_began < ask)
                && !disk_slow
        });
        let heard = self.nodes[by].process.as_ref().and_then(|p| p.echoed.iter().max().copied());
        let ago = heard.filter(|at| healthy && *at > 0).map(|at| now - at);
        self.check(not_heard(by, ago, window));
        let reachable = healthy && self.met(by) && self.some_path_was_clear(by);
        self.check(not_reachable(by, reachable));
        let knows = self.nodes[by].process.as_ref().is_some_and(|p| p.knows_timing);
        self.check(shooting_disabled(self.scenario.mismatched && knows, by));
    }

    /// The shooter heard its peer's present life at some time.
    fn met(&self, by: usize) -> bool {
        self.nodes[by].process.as_ref().is_some_and(|p| p.echoed.iter().any(|at| *at > 0))
    }

    /// Some link carried everything, both ways, for so long that its owner must have known.
    fn some_path_was_clear(&self, by: usize) -> bool {
        let config = &self.scenario.configs[by];
        config.links.iter().enumerate().any(|(i, link)| {
            let then = self.now.saturating_sub(2 * nanos(link.dead));
            let lived = self.nodes[1 - by].process.as_ref().is_some_and(|p| p.healthy_since <= then);
            let clear = |from| self.network.path(i, from).is_some_and(|p| p.is_clear_since(then));
            lived && !link.evidence_only && clear(0) && clear(1)
        })
    }

    fn quirk(&self, target: usize) -> Option<DeviceFault> {
        self.nodes[target].device.filter(|(_, until)| *until > self.now).map(|(what, _)| what)
    }

    /// Whether the device of `target` would truly say *off* now.
    fn truly_off(&self, target: usize) -> bool {
        let n = &self.nodes[target];
        let gone =
            n.process.is_none() && n.guardian == crate::sim::node::Guardian::Absent && n.mourning.is_none();
        !n.power || (self.scope() == FenceScope::Processes && gone)
    }

    pub(super) fn fence_acts(&mut self, by: usize, life: u32, op: OpId, shoot: bool, ordered: u64) {
        let target = 1 - by;
        let quirk = self.quirk(target);
        let given_up =
            self.nodes[by].process.as_ref().is_some_and(|p| p.life == life && p.given_up.contains(&op));
        let effective = match quirk {
            Some(DeviceFault::Lies) => false,
            Some(DeviceFault::Fails | DeviceFault::Hangs) => self.rng.chance(500),
            Some(DeviceFault::Late) | None => !(given_up && self.rng.chance(500)),
        };
        if shoot && effective {
            self.shot_hits(target, ordered, quirk);
        }
        let off = FenceAnswer::Off { scope: self.scope() };
        let honest = if self.truly_off(target) { off } else { FenceAnswer::On };
        let timeout = self.scenario.configs[0].fence.as_ref().map_or(50 * MS, |f| nanos(f.timeout));
        let prompt = self.rng.range(MS, (timeout * 2 / 5).max(2 * MS));
        let (answer, delay) = match quirk {
            None => (honest, prompt),
            Some(DeviceFault::Fails) => (FenceAnswer::Failed, prompt),
            Some(DeviceFault::Hangs) => (FenceAnswer::Failed, timeout + self.rng.range(3000, 12_000) * MS),
            Some(DeviceFault::Late) => (honest, timeout + self.rng.range(0, 3000) * MS),
            Some(DeviceFault::Lies) => {
                if honest != off {
                    self.lie_about(target);
                    self.probes.hit("device", "lied");
                    self.say(Some(target), "its fence device lies: it says off");
                }
                (off, prompt)
            }
        };
        self.after(delay, Event::FenceAnswer { by, life, op, answer });
    }

    /// A process frozen at the time of the lie must find out by itself when it wakes (I1 still holds); of one
    /// that runs nothing can be asserted any more.
    fn lie_about(&mut self, target: usize) {
        if self.nodes[target].process.as_ref().is_some_and(|p| p.paused) {
            self.nodes[target].lied_about = true;
            self.deceived = true;
        } else {
            self.tainted.fill(true);
        }
    }

    /// The frozen one wakes: it can find out over a link that carries both ways, from a peer that runs.
    pub(super) fn wakes_after_lie(&mut self, node: usize) {
        if !std::mem::take(&mut self.nodes[node].lied_about) {
            return;
        }
        let answers = self.nodes[1 - node].process.as_ref().is_some_and(|p| !p.paused);
        if answers && self.some_link_carries_since(self.now) {
            (self.woke_after_lie, self.had_time_to_find_out) = (Some(self.now), false);
            // Once it has found out, the two histories are a matter of data, and of the operator.
            self.excused_from = self.excused_from.min(self.now + FIND_OUT);
        } else {
            self.tainted.fill(true);
        }
    }

    /// A link that beats has carried both ways since then.
    fn some_link_carries_since(&self, then: u64) -> bool {
        (0..self.scenario.configs[0].links.len()).any(|link| self.carries_since(link, then))
    }

    fn carries_since(&self, link: usize, then: u64) -> bool {
        let clear = |from| self.network.path(link, from).is_some_and(|p| p.is_clear_since(then));
        !self.scenario.configs[0].links[link].evidence_only && clear(0) && clear(1)
    }

    /// Before links are disturbed: whether one of them carried for as long as finding out takes.
    pub(super) fn note_time_to_find_out(&mut self) {
        let Some(woke) = self.woke_after_lie else { return };
        let links = &self.scenario.configs[0].links;
        self.had_time_to_find_out |= (0..links.len()).any(|i| {
            let narrow = links[i].bits_per_second.is_some();
            let takes = if narrow { FIND_OUT } else { 2 * nanos(links[i].interval) + ROUND_TRIP };
            self.now >= woke + takes && self.carries_since(i, woke)
        });
    }

    /// Who woke after a lie was cut off again before it can have found out.
    pub(super) fn was_kept_from_finding_out(&self) -> bool {
        let cut_off = self.woke_after_lie.is_some_and(|woke| !self.some_link_carries_since(woke));
        cut_off && !self.had_time_to_find_out
    }

    pub(super) fn shot_hits(&mut self, target: usize, ordered: u64, quirk: Option<DeviceFault>) {
        let alive = self.nodes[target].process.is_some();
        if alive {
            self.probes.hit("device", "shot hit");
            self.say(Some(target), "is fenced");
            if quirk.is_none() {
                let verdict = self.shots.effective(target, ordered, self.now);
                self.check(verdict);
            }
        }
        let back = self.rng.range(1000, 6000) * MS;
        if self.scope() == FenceScope::Processes {
            self.kill_tree(target, back);
        } else {
            self.power_off(target, back);
        }
    }

    pub(super) fn fence_answers(&mut self, by: usize, life: u32, op: OpId, answer: FenceAnswer) {
        self.feed(by, life, Input::Fence { op, answer });
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, GroupConfig, LinkConfig};
    use crate::sim::{Cluster, Cut, DeviceFault, Fault, Options, Scenario};
    use std::time::Duration;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Node 1 is frozen, a device says falsely that it is off, it wakes, and after `time` what `fault` says happens.
    fn woken(time: Duration, faults: &[Fault]) -> Cluster {
        let config = Config::pair("woken", "a", "b")
            .link(LinkConfig::datagram("net", ms(50), ms(250)))
            .link(LinkConfig::serial("tty", ms(100), ms(500), 115_200))
            .group(GroupConfig::new("mail"));
        let mut cluster = Cluster::new(Scenario::quiet(1, config), Options::default());
        cluster.run_for(Duration::from_secs(3));
        cluster.inject(Fault::Device(1, DeviceFault::Lies, ms(400)));
        cluster.inject(Fault::PauseTree(1, ms(300)));
        cluster.run_for(ms(100));
        cluster.lie_about(1);
        cluster.run_for(ms(200) + time);
        faults.iter().for_each(|f| cluster.inject(*f));
        cluster
    }

    #[test]
    fn only_who_was_cut_off_before_it_can_have_found_out_is_excused() {
        let everything = Fault::Isolate(ms(5000));
        let (network, line) =
            (Fault::CutLink(0, Cut::Both, ms(5000)), Fault::CutLink(1, Cut::Both, ms(5000)));
        let excused = |time, faults: &[Fault]| woken(time, faults).is_excused(0);
        assert!(excused(ms(1), &[everything]), "at once");
        assert!(excused(ms(140), &[everything]), "a beat and its answer take longer");
        assert!(!excused(ms(160), &[everything]), "the network carried long enough");
        assert!(!excused(ms(160), &[network, line]));
        assert!(!excused(ms(1), &[network]), "the line still carries");
        assert!(!excused(ms(1), &[]));
        let clogs = [0, 1].map(|link| Fault::Clog(link, Cut::From(0), ms(5000)));
        assert!(excused(ms(1), &clogs) && !excused(ms(160), &clogs));
        let mut cluster = woken(ms(160), &[everything]);
        cluster.run_for(ms(super::FIND_OUT / super::MS));
        assert!(cluster.is_excused(0), "the rest is a matter of data, and of the operator");
    }
}
