//! Services that run on without an engine: what the world knows of them, and runs in which that happens.

use super::cluster::{Cluster, nanos};
use super::fault::{DeviceFault, Fault};
use super::invariant::left_alone;
use super::node::{Guardian, Process, Running};
use super::rng::Rng;
use super::scenario::Scenario;
use crate::{Epoch, FenceScope, GroupId};
use std::sync::Arc;
use std::time::Duration;

impl Cluster {
    /// How long the next life of `node` waits after a detachment; without this word a fraction of a second.
    pub fn stay_away(&mut self, node: usize, span: Duration) {
        self.nodes[node].absence = Some(nanos(span));
    }

    /// How often resources of the group were started and stopped on `node` so far.
    #[must_use]
    pub fn touched(&self, node: usize, group: GroupId) -> (u32, u32) {
        let of = self.nodes.get(node).and_then(|n| n.running.get(usize::from(group.0)));
        of.into_iter().flatten().fold((0, 0), |(a, b), r| (a + r.starts, b + r.stops))
    }

    /// Whether everything of the group runs on `node`, with an engine or without.
    #[must_use]
    pub fn runs(&self, node: usize, group: GroupId) -> bool {
        self.nodes[node].running[usize::from(group.0)].iter().all(|r| r.there && r.serves)
    }

    /// The engine left; what it names runs on.
    pub(super) fn detached(&mut self, node: usize, groups: &[(GroupId, Epoch)]) {
        self.probes.hit("end", "Detached");
        self.say(Some(node), "the engine leaves and its services run on");
        for (group, epoch) in groups {
            self.nodes[node].kept[usize::from(group.0)] = Some(*epoch);
        }
        let Some(of) = self.process_ends(node) else { return };
        #[cfg(feature = "sabotage")]
        if self.options.sabotage == Some(crate::engine::Sabotage::UndoDetached)
            && self.nodes[node].guardian == Guardian::Running
        {
            return self.undo(node, of);
        }
        drop(of);
        if self.nodes[node].guardian == Guardian::Paused {
            self.nodes[node].guardian = Guardian::Running;
        }
        let soon = self.rng.range(20, 300) * super::cluster::MS;
        let away = self.nodes[node].absence.take().unwrap_or(soon);
        self.restart_after(node, away);
    }

    /// What a guardian finds to undo; what was left running on purpose is none of it.
    pub(super) fn clear_unkept(&mut self, node: usize) {
        let n = &mut self.nodes[node];
        for (running, _) in n.running.iter_mut().zip(&n.kept).filter(|(_, kept)| kept.is_none()) {
            running.iter_mut().for_each(|r| (r.there, r.serves) = (false, false));
        }
    }

    pub(super) fn outlives(&self, node: usize, group: usize, place: usize) -> bool {
        let config = self.scenario.configs[node].groups.get(group);
        config.and_then(|g| g.resources.get(place)).is_some_and(|r| r.outlives_engine)
    }

    /// Services that no engine answers for act all the same (I1).
    pub(super) fn runs_unattended(&self, node: usize, group: usize) -> Option<Epoch> {
        let n = &self.nodes[node];
        let revoked = |p: &Process| p.permits.is_revoked(group);
        let (nobody, revoked) = (n.process.is_none(), n.process.as_ref().is_none_or(revoked));
        let serves = |(place, r): (usize, &Running)| {
            r.there && r.serves && (nobody || r.found) && self.outlives(node, group, place)
        };
        let some = n.running.get(group)?.iter().enumerate().any(serves);
        (n.power && revoked && some).then(|| n.kept[group].unwrap_or_default())
    }

    /// R2: nobody but a loss of power ends them.
    pub(super) fn check_left_alone(&mut self, node: usize) {
        for group in 0..self.nodes[node].kept.len() {
            if let Some(epoch) = self.nodes[node].kept[group] {
                let id = GroupId(u16::try_from(group).unwrap_or(0));
                self.check(left_alone(id, node, epoch));
            }
        }
    }
}

impl Scenario {
    /// The run of `seed` with services that outlive their engine, no mirror, and operators who exchange engines
    /// among the other faults.
    #[must_use]
    pub fn detaching(seed: u64) -> Self {
        let mut scenario = Self::from_seed(seed);
        let mut rng = Rng::new(seed ^ 0x0de7_ac4e_d000);
        for config in &mut scenario.configs {
            let config = Arc::make_mut(config);
            config.links.retain(|l| !l.evidence_only);
            if let Some(fence) = &mut config.fence {
                fence.scope = FenceScope::Incarnation;
            }
            for group in &mut config.groups {
                group.mirrored = false;
                group.address_lifetime = Duration::ZERO;
                group.resources.iter_mut().for_each(|r| r.outlives_engine = true);
            }
        }
        let at_most = scenario.configs[0].links.len();
        scenario.faults.retain(|(_, f)| match f {
            Fault::CutLink(l, ..) | Fault::Clog(l, ..) | Fault::Lossy(l, ..) | Fault::Slow(l, ..) => {
                usize::from(*l) < at_most
            }
            // What rests on a lie is another batch's business.
            Fault::Device(_, DeviceFault::Lies, _) => false,
            _ => true,
        });
        scenario.traps.retain(|t| !matches!(t.fault, Fault::Device(_, DeviceFault::Lies, _)));
        scenario.lying = false;
        for _ in 0..rng.range(3, 8) {
            let at = Duration::from_millis(rng.range(3000, 33_000));
            let away = Duration::from_millis(rng.range(20, 2500));
            let node = rng.node();
            scenario.faults.push((at, Fault::Detach(node, away)));
            if rng.chance(600) {
                let later = at + Duration::from_millis(400 + rng.range(0, 1500));
                let span = Duration::from_millis(rng.range(800, 4000));
                let fault = match rng.range(0, 6) {
                    0 => Fault::PowerLoss(node, span),
                    1 => Fault::KillTree(node, span),
                    2 => Fault::KillEngine(1 - node),
                    3 => Fault::PowerLoss(1 - node, span),
                    4 => Fault::KillGuardian(node),
                    _ => Fault::Isolate(span),
                };
                scenario.faults.push((later, fault));
            }
        }
        scenario
    }
}
