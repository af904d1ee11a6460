//! What operations do to resources and data, how long they take, and how they fail.

use super::cluster::{Cluster, Event, MS, nanos};
use super::fault::ResourceFault;
use super::node::{Op, Process};
use crate::engine::{Health, Input, OpKind, OpResult, OpTarget};
use crate::{GroupId, Instant, Lsn, OpId};

impl Cluster {
    /// Begins an operation and says when it completes; `None`: when a user's agent says so.
    pub(super) fn begin_op(&mut self, node: usize, id: OpId, op: &mut Op, deadline: Instant) -> Option<u64> {
        let group = usize::from(op.group.0);
        let budget = nanos(deadline.since(self.local(node)));
        let overrun = budget + self.rng.range(50, 2500) * MS;
        let quick = self.rng.range(MS, (budget / 3).clamp(2 * MS, 150 * MS));
        let OpTarget::Resource(place) = op.target else {
            return self.begin_data(node, op, quick, overrun);
        };
        if self.agents.owns(group, place) {
            self.start_agent(node, id, *op, deadline);
            return None;
        }
        let running = self.nodes[node].running.get_mut(group)?.get_mut(usize::from(place))?;
        match op.kind {
            OpKind::Start => {
                running.there = true;
                running.starts += 1;
                op.fails = running.take(ResourceFault::StartFails);
                Some(if running.take(ResourceFault::StartHangs) { overrun } else { quick })
            }
            OpKind::Stop => {
                running.serves = false;
                running.stops += 1;
                if running.take(ResourceFault::StopHangs) {
                    return Some(u64::MAX / 4);
                }
                op.fails = running.take(ResourceFault::StopFails);
                Some(quick)
            }
            OpKind::Drain => Some(if running.take(ResourceFault::DrainHangs) { overrun } else { quick }),
            OpKind::Resume => {
                op.fails = running.take(ResourceFault::ResumeFails);
                Some(quick)
            }
            _ => Some(if running.take(ResourceFault::MonitorHangs) { overrun } else { quick.min(20 * MS) }),
        }
    }

    fn begin_data(&mut self, node: usize, op: &mut Op, quick: u64, overrun: u64) -> Option<u64> {
        self.supersede_promotions(node, op.group);
        let quirks = &mut self.nodes[node].data_quirks[usize::from(op.group.0)];
        match op.kind {
            OpKind::Promote(_) => {
                op.fails = quirks.take(ResourceFault::PromoteFails);
                Some(if quirks.take(ResourceFault::PromoteHangs) { overrun } else { quick })
            }
            OpKind::Demote if quirks.take(ResourceFault::DemoteHangs) => Some(u64::MAX / 4),
            _ => Some(quick),
        }
    }

    /// Whatever is asked of the data next takes the place of a promotion that is under way.
    fn supersede_promotions(&mut self, node: usize, group: GroupId) {
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let promotions =
            process.ops.values_mut().filter(|o| o.group == group && matches!(o.kind, OpKind::Promote(_)));
        promotions.for_each(|o| o.fails = true);
    }

    /// An operation completes, once.
    pub(super) fn op_done(&mut self, node: usize, life: u32, id: OpId) {
        let Some(process) = self.nodes[node].process.as_mut().filter(|p| p.life == life) else { return };
        if process.paused {
            // The process that works is stopped: it goes on when it wakes.
            self.after(20 * MS, Event::OpDone { node, life, op: id });
            return;
        }
        let Some(op) = process.ops.remove(&id) else { return };
        let result = match op.target {
            OpTarget::Data => self.data_done(node, op),
            OpTarget::Resource(place) => self.resource_done(node, op, usize::from(place)),
        };
        self.feed(node, life, Input::OpDone { op: id, result });
    }

    fn resource_done(&mut self, node: usize, op: Op, place: usize) -> OpResult {
        let group = usize::from(op.group.0);
        let Some(running) = self.nodes[node].running.get_mut(group).and_then(|g| g.get_mut(place)) else {
            return OpResult::Failed;
        };
        match op.kind {
            OpKind::Start => {
                running.serves = !op.fails;
                running.found &= op.fails;
                running.there = true;
                self.check_actors(group);
                done(op.fails)
            }
            OpKind::Stop => {
                running.there &= op.fails;
                done(op.fails)
            }
            OpKind::Drain | OpKind::Resume => done(op.fails || op.cancelled),
            _ => OpResult::Health(match (op.cancelled, running.there, running.serves) {
                (true, ..) => Health::Unknown,
                (_, true, true) => Health::Running,
                (_, true, false) => Health::Failed,
                (_, false, _) => Health::Stopped,
            }),
        }
    }

    fn data_done(&mut self, node: usize, op: Op) -> OpResult {
        let group = usize::from(op.group.0);
        match op.kind {
            OpKind::Promote(rule) if !op.fails => done(!self.promote(node, group, op.epoch, rule)),
            OpKind::Demote => {
                let held = self.demote(node, group);
                OpResult::Done { final_lsn: held.map(|n| Lsn(n as u64)) }
            }
            _ => OpResult::Failed,
        }
    }

    /// Whether the group's address answers from this machine: held by a running owner, or left by a dead one.
    pub(super) fn answering(&self, node: usize, group: usize) -> bool {
        let n = &self.nodes[node];
        let Some(address) = n.running[group].first().filter(|r| n.power && r.there && r.serves) else {
            return false;
        };
        match &n.process {
            None => true,
            Some(p) if p.paused => false,
            // What an earlier life left answers until this one puts its own up: that one ends with the permission.
            Some(p) => {
                let left = address.found && p.permits.is_revoked(group);
                left || valid(p, group, n.clock.local(self.now))
            }
        }
    }
}

fn valid(process: &Process, group: usize, now: Instant) -> bool {
    process.permits.at(group, now).is_some()
}

const fn done(failed: bool) -> OpResult {
    if failed { OpResult::Failed } else { OpResult::Done { final_lsn: None } }
}

#[cfg(test)]
mod tests {
    use super::{Op, ResourceFault};
    use crate::config::{Config, FenceConfig, GroupConfig, LinkConfig, ResourceConfig};
    use crate::engine::{AckRule, OpKind, OpTarget};
    use crate::sim::invariant::{Invariant, one_address};
    use crate::sim::{Cluster, Fault, Options, Scenario};
    use crate::{Epoch, Generation, GroupId, OpId};
    use std::time::Duration;

    const GROUP: GroupId = GroupId(0);

    fn served() -> Cluster {
        served_with(|mail| mail)
    }

    fn mirrored() -> Cluster {
        served_with(GroupConfig::mirrored)
    }

    fn served_with(edit: fn(GroupConfig) -> GroupConfig) -> Cluster {
        let config = Config::pair("left", "a", "b")
            .link(LinkConfig::datagram("net", Duration::from_millis(50), Duration::from_millis(250)))
            .fence(FenceConfig::new(Duration::from_millis(200)))
            .group(edit(GroupConfig::new("mail").then(ResourceConfig::new("address"))));
        let mut cluster = Cluster::new(Scenario::quiet(1, config), Options::default());
        cluster.run_for(Duration::from_secs(4));
        assert_eq!(cluster.actor(GROUP), Some(0));
        cluster
    }

    #[test]
    fn what_an_earlier_life_left_answers_until_the_present_one_puts_its_own_up() {
        let mut cluster = served();
        // Nobody else is there to end it, or to be told that nobody owns it.
        cluster.inject(Fault::PowerLoss(1, Duration::from_secs(60)));
        cluster.inject(Fault::UndoFails(0));
        cluster.inject(Fault::KillEngine(0));
        let began = cluster.elapsed();
        while cluster.status(0).is_none() && cluster.elapsed() < began + Duration::from_secs(9) {
            cluster.run_for(Duration::from_millis(5));
        }
        assert_eq!(cluster.actor(GROUP), None);
        assert!(cluster.answering(0, 0), "{}", cluster.timeline());
        // Were the other one to serve now, that would be seen.
        let both = one_address(GROUP, [cluster.answering(0, 0), true]);
        assert_eq!(both.unwrap_err().invariant, Invariant::I8);
        cluster.run_for(Duration::from_secs(9));
        assert_eq!(cluster.actor(GROUP), Some(0), "{}", cluster.timeline());
        cluster.set_token(0, 0, crate::engine::Permission::Revoked);
        assert!(!cluster.answering(0, 0), "its own ends with its permission");
    }

    /// A promotion hung, was given up, and the copy was demoted: it must not come back as an owner's, with the old rule.
    #[test]
    fn a_promotion_that_was_given_up_does_not_take_effect_after_the_demotion_that_followed_it() {
        let mut cluster = mirrored();
        let life = cluster.nodes[1].process.as_ref().unwrap().life;
        let rule = AckRule::Both(Generation(2));
        let deadline = cluster.local(1) + Duration::from_millis(300);
        cluster.nodes[1].data_quirks[0].quirks.push(ResourceFault::PromoteHangs);
        for (id, kind) in [(9001, OpKind::Promote(rule)), (9002, OpKind::Demote)] {
            let (target, epoch) = (OpTarget::Data, Epoch(2));
            let op = Op { group: GROUP, target, kind, epoch, fails: false, cancelled: false };
            cluster.op_starts(1, life, OpId(id), op, deadline);
        }
        cluster.run_for(Duration::from_secs(5));
        let process = cluster.nodes[1].process.as_ref().unwrap();
        assert!(process.ops.is_empty());
        assert!(process.data[0].primary.is_none(), "{}", cluster.timeline());
    }
}
