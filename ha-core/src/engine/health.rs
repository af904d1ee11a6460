//! What monitors find, and what follows from it. Unknown is not failed: each finding has a policy of its own.

use super::machine::Engine;
use super::policy_state::{Cause, Finding};
use super::state::Role;
use super::{EventKind, Health, OpKind, OpResult, OpTarget};
use crate::config::{HealthPolicy, Reaction};
use crate::{GroupId, OpId};

/// Monitors of one resource that were given up and did not come back: with so many no further one is begun.
const HUNG_MONITORS_MAX: usize = 4;

impl Engine {
    pub(super) fn monitor(&mut self, g: GroupId) {
        for r in 0..self.group(g).monitors.len() {
            let m = &self.group(g).monitors[r];
            if m.op.is_some() || self.st.now < m.next {
                continue;
            }
            let place = r as u8;
            if self.hung_monitors(g, place) < HUNG_MONITORS_MAX {
                let op = self.start_op(g, OpTarget::Resource(place), OpKind::Monitor);
                self.gr(g).monitors[r].op = Some(op);
            } else {
                self.found(g, place, Health::Unknown, Cause::TimedOut);
            }
        }
    }

    fn hung_monitors(&self, g: GroupId, place: u8) -> usize {
        let target = OpTarget::Resource(place);
        let hung = |o: &&super::state::Op| {
            o.abandoned && o.kind == OpKind::Monitor && o.group == g && o.target == target
        };
        self.st.ops.values().filter(hung).count()
    }

    /// A monitor completed, or overran.
    pub(super) fn monitored(&mut self, g: GroupId, r: u8, id: OpId, result: OpResult, overran: bool) {
        let Some(m) = self.gr(g).monitors.get_mut(usize::from(r)) else { return };
        if m.op != Some(id) {
            return;
        }
        m.op = None;
        let (health, cause) = match result {
            _ if overran => (Health::Unknown, Cause::TimedOut),
            OpResult::Health(health) => (health, Cause::Reported),
            OpResult::Done { .. } => (Health::Running, Cause::Reported),
            OpResult::Failed => (Health::Unknown, Cause::CallFailed),
        };
        self.found(g, r, health, cause);
    }

    fn found(&mut self, g: GroupId, r: u8, health: Health, cause: Cause) {
        let now = self.st.now;
        let config = &self.group_config(g).resources[usize::from(r)];
        let (next, policy) = (now + config.monitor_interval, config.health);
        let m = &mut self.gr(g).monitors[usize::from(r)];
        m.next = next;
        let before = m.finding;
        let finding = follow(before, health, cause, now);
        m.finding = Some(finding);
        if health != Health::Running {
            m.trouble = Some(finding);
        }
        let (reaction, due) = reaction(&policy, &finding);
        if before.is_none_or(|b| (b.health, b.cause) != (health, cause))
            && (before, health) != (None, Health::Running)
        {
            self.emit(EventKind::Found { group: g, resource: r, health, cause });
        }
        if health != Health::Running && reaction != Reaction::Ignore {
            self.emit(EventKind::Resource { group: g, resource: r, health });
        }
        if due && self.group(g).role == Role::Active && !self.in_maintenance(g) {
            self.react(g, r, reaction, health);
        }
    }

    fn react(&mut self, g: GroupId, r: u8, reaction: Reaction, health: Health) {
        let step = r + u8::from(self.group_config(g).mirrored);
        let serves = matches!(health, Health::Degraded | Health::Unknown);
        match reaction {
            Reaction::Report | Reaction::Ignore => {}
            Reaction::Restart => self.failed_at(g, step),
            Reaction::Move if self.may_move(g) => self.move_failed(g),
            // Rule 12: what still serves, however badly, is kept while nobody can take it.
            Reaction::Move if serves => {}
            Reaction::Move => self.failed_at(g, step),
        }
    }

    /// The row of findings begins anew with each start.
    pub(super) fn forget_findings(&mut self, g: GroupId) {
        for m in &mut self.gr(g).monitors {
            m.finding = None;
        }
    }
}

fn follow(before: Option<Finding>, health: Health, cause: Cause, now: crate::Instant) -> Finding {
    let same = before.filter(|b| b.health == health);
    let timeouts = before.map_or(0, |b| b.timeouts);
    Finding {
        health,
        cause,
        in_a_row: same.map_or(1, |b| b.in_a_row.saturating_add(1)),
        timeouts: if cause == Cause::TimedOut { timeouts.saturating_add(1) } else { 0 },
        since: same.map_or(now, |b| b.since),
    }
}

/// What the policy says to a finding, and whether there were enough of them in a row.
fn reaction(policy: &HealthPolicy, finding: &Finding) -> (Reaction, bool) {
    let (reaction, limit) = match finding.health {
        Health::Running => return (Reaction::Ignore, false),
        Health::Failed => (policy.on_failed, 1),
        Health::Stopped => (policy.on_stopped, 1),
        Health::Degraded => (policy.on_degraded, policy.degraded_limit),
        Health::Unknown => (policy.on_unknown, policy.unknown_limit),
    };
    (reaction, finding.in_a_row >= u16::from(limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instant;

    #[test]
    fn a_row_counts_equal_findings_and_timeouts_on_their_own() {
        let at = Instant::from_nanos;
        let first = follow(None, Health::Unknown, Cause::TimedOut, at(1));
        let second = follow(Some(first), Health::Unknown, Cause::TimedOut, at(2));
        assert_eq!((second.in_a_row, second.timeouts, second.since), (2, 2, at(1)));
        let third = follow(Some(second), Health::Unknown, Cause::CallFailed, at(3));
        assert_eq!((third.in_a_row, third.timeouts), (3, 0));
        let well = follow(Some(third), Health::Running, Cause::Reported, at(4));
        assert_eq!((well.in_a_row, well.timeouts, well.since), (1, 0, at(4)));
    }

    #[test]
    fn by_default_only_failed_and_stopped_lead_to_anything() {
        let policy = HealthPolicy::default();
        for health in [Health::Running, Health::Degraded, Health::Unknown, Health::Failed, Health::Stopped] {
            let mut finding = follow(None, health, Cause::Reported, Instant::ZERO);
            finding.in_a_row = u16::MAX;
            let (reaction, due) = reaction(&policy, &finding);
            let broken = matches!(health, Health::Failed | Health::Stopped);
            assert_eq!(due && reaction == Reaction::Restart, broken, "{health:?}");
        }
    }
}
