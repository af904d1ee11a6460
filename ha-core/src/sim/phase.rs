//! The two halves of a run: faults strike and only safety is asserted; then everything is mended, and within a
//! bound all must be well again.

use super::cluster::{Cluster, nanos};
use crate::config::Config;
use std::time::Duration;

/// Longest from the healing to the last process running again: machines that a device had just switched off are
/// switched on after at most 6 s and boot in half a second.
const MACHINES_BACK: Duration = Duration::from_millis(6500);
/// When whoever mended a service says so.
pub(super) const SERVICES_CLEARED: Duration = Duration::from_secs(6);
/// The modelled stream: noticed, connected, caught up, admitted.
const STREAM_BACK: Duration = Duration::from_millis(1500);
/// Records that are written one after the other from the boot to full protection.
const WRITES: u32 = 6;
/// Longest write of a record on a healthy disk of the model.
const WRITE: Duration = Duration::from_millis(4);

/// Which half of a run it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Faults strike. Safety is asserted: I1 to I4, I6 to I9, I11, I12.
    Faults,
    /// Nothing is broken any more. Safety is asserted on, and after [`recovery_bound`] liveness: I5, I10.
    Healing,
}

impl Cluster {
    /// Which half of the run it is.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        if self.healed { Phase::Healing } else { Phase::Faults }
    }

    /// How long after the healing every group was first served and protected, or a question stood.
    #[must_use]
    pub fn recovered_after(&self) -> Option<Duration> {
        let heal = self.scenario.heal_at?;
        self.answers.first_well.map(|at| Duration::from_nanos(at.saturating_sub(nanos(heal))))
    }
}

/// The longest that a pair of `config` may take from the end of all faults until every group is served and fully
/// protected, or a question stands: machines and services are back, what was under way ends at its budget, a new
/// owner is found by the slowest rule, and the mirror catches up.
#[must_use]
pub fn recovery_bound(config: &Config) -> Duration {
    let t = &config.timing;
    let budgets = |group: &crate::config::GroupConfig| {
        let resources = group.resources.iter().map(|r| r.start_timeout + r.stop_timeout).sum::<Duration>();
        resources + group.promote_timeout + group.demote_timeout
    };
    let longest = config.groups.iter().map(budgets).max().unwrap_or_default();
    let slowest = config.links.iter().map(|l| l.interval).max().unwrap_or_default();
    let found = t.boot_wait + config.latest_dead() + slowest * 4 + t.takeover_deadline + t.confirm_deadline;
    MACHINES_BACK.max(SERVICES_CLEARED) + found + longest + t.ask_deadline * 2 + WRITE * WRITES + STREAM_BACK
}
