//! Failures: restarts counted over an interval, then a move, then quarantine; and a memory that fades.

use super::EventKind;
use super::machine::Engine;
use super::state::Why;
use crate::{GroupId, Instant};

/// Restarts that are remembered at most: every limit fits.
const RESTARTS_KEPT: usize = 300;

impl Engine {
    /// Counts one more restart, and those within the window with it.
    pub(super) fn count_restart(&mut self, g: GroupId) -> u32 {
        let now = self.st.now;
        let window = self.group_config(g).policy.restart_window;
        let restarted = &mut self.gr(g).policy.restarted;
        restarted.push_back(now);
        while restarted.len() > RESTARTS_KEPT || restarted.front().is_some_and(|at| now.since(*at) > window) {
            restarted.pop_front();
        }
        let count = u32::try_from(restarted.len()).unwrap_or(u32::MAX);
        self.gr(g).restarts = count;
        count
    }

    /// The group is not started here again until that is forgotten.
    pub(super) fn quarantine(&mut self, g: GroupId) {
        let now = self.st.now;
        let gr = self.gr(g);
        gr.failed_here = true;
        gr.policy.failed_at = Some(now);
        self.emit(EventKind::Quarantined { group: g });
    }

    /// The group goes to the other node, with everything that must be with it.
    pub(super) fn move_failed(&mut self, g: GroupId) {
        self.quarantine(g);
        self.begin_stop(g, Why::Failed);
        self.bring_cohort(g);
    }

    pub(super) fn forget_failures(&mut self, g: GroupId) {
        let now = self.st.now;
        let gr = self.gr(g);
        gr.failed_here = false;
        gr.restarts = 0;
        gr.policy.restarted.clear();
        gr.policy.failed_at = None;
        gr.policy.refusals = 0;
        gr.policy.retry_at = None;
        if gr.hold_until.is_some() {
            gr.hold_until = Some(now);
        }
    }

    /// When this node forgets that the group failed here.
    pub(super) fn forgotten_at(&self, g: GroupId) -> Option<Instant> {
        let memory = self.group_config(g).policy.failure_memory;
        let at = self.group(g).policy.failed_at.filter(|_| self.group(g).failed_here)?;
        (!memory.is_zero()).then(|| at + memory)
    }

    /// The memory of a failure fades: the node is a target again.
    pub(super) fn fade_failures(&mut self, g: GroupId) {
        if self.forgotten_at(g).is_some_and(|at| self.st.now >= at) {
            self.gr(g).failed_here = false;
            self.gr(g).policy.failed_at = None;
            self.emit(EventKind::FailuresFaded { group: g });
            self.again = true;
        }
    }
}
