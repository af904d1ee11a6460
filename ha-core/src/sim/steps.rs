//! The world one event at a time, and faults at each place where a user's agent waits.

use super::cluster::Cluster;
use super::fault::Fault;
use std::time::Duration;

impl Cluster {
    /// Lets the next thing happen, whenever that is: a beat arrives, a write completes, a call of an agent goes on.
    /// False if an invariant broke: time stands still then.
    ///
    /// With it a fault can be put between any two events of a takeover or a switchover.
    pub fn step(&mut self) -> bool {
        if self.broken.is_some() {
            return false;
        }
        let Some((at, event)) = self.queue.pop_until(u64::MAX) else { return false };
        self.now = at;
        self.handled += 1;
        self.happen(event);
        self.broken.is_none()
    }

    /// Lets time pass until `wanted` holds, at most `longest`. Whether it held.
    pub fn run_until(&mut self, longest: Duration, wanted: impl Fn(&Self) -> bool) -> bool {
        let end = self.elapsed() + longest;
        while !wanted(self) {
            if self.elapsed() >= end || !self.step() {
                return false;
            }
        }
        true
    }

    /// How many faults were injected so far.
    #[must_use]
    pub const fn faults(&self) -> u64 {
        self.injected
    }

    /// How often operations of users' agents waited so far: each await that was not ready at once counts.
    #[must_use]
    pub const fn awaits(&self) -> u64 {
        self.agents.awaits
    }

    /// `fault` strikes when an operation of a user's agent waits for the `nth` time, counted from the start of the
    /// run: the call stands at that await while it happens.
    pub const fn strike_at_await(&mut self, nth: u64, fault: Fault) {
        self.agents.armed = Some((nth, fault));
    }

    pub(super) fn an_operation_waits(&mut self) {
        self.agents.awaits += 1;
        let awaits = self.agents.awaits;
        if let Some((_, fault)) = self.agents.armed.take_if(|(nth, _)| *nth == awaits) {
            self.fault(fault);
        }
    }
}
