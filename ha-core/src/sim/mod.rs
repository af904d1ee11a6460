//! Whole clusters in virtual time, with faults, from one seed.
//!
//! The engine, its rules and its timings are the real ones; everything around it is modelled: true time and
//! two drifting clocks, heartbeat paths that lose, repeat, reorder and are cut one way, power, disks, processes
//! and their guardians, fence devices that fail, hang and lie, resources that do the same, a mirror, clients
//! and an operator. The [invariants](invariant) are checked at every step against the truth.
//!
//! ```
//! use ha_core::sim::{Options, run};
//! let report = run(1, &Options::default());
//! assert!(report.failure.is_none(), "{}", report.failure.unwrap());
//! ```
//!
//! It does not model: the bytes of frames and their authentication (a recorded frame comes as a greeting, as
//! the wire would let it through), disks that lie about what is durable, more than two nodes.

mod agents;
mod arbiter;
mod campaign;
mod clock;
mod cluster;
mod combination;
mod detaching;
mod disk;
pub mod explore;
mod fault;
mod fencing;
mod guardian;
mod inject;
pub mod invariant;
mod mirror;
mod network;
mod node;
mod operator;
mod permits;
mod phase;
mod policies;
mod probe;
mod process;
mod queue;
mod records;
mod report;
mod rng;
mod scenario;
mod services;
mod steps;
mod stream;
mod swizzle;
mod timeline;
#[cfg(test)]
mod wiring_tests;

pub use campaign::{Campaign, CampaignError, Summary};
pub use cluster::{Cluster, LifeLog};
pub use fault::{Cut, DeviceFault, Fault, ResourceFault};
pub use phase::{Phase, recovery_bound};
pub use probe::Probes;
pub use report::{Failure, Report};
pub use rng::Rng;
pub use scenario::{Moment, Scenario, Trap};
pub use timeline::{Entry, Timeline, What};

use std::time::Duration;

/// How runs are made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Record every life's inputs and check that a fresh engine decides the same (I6). Costs memory.
    pub replay: bool,
    /// A rule to break.
    #[cfg(feature = "sabotage")]
    pub sabotage: Option<crate::engine::Sabotage>,
    /// Every engine has a witness ([`check_marks`](crate::engine::Engine::check_marks)).
    pub witness: bool,
    /// A way in which the engines forget groups, for their witnesses to notice.
    #[cfg(feature = "sabotage")]
    pub forgets: Option<crate::engine::Forgotten>,
}

/// Runs the scenario of `seed` to its end or to the first broken invariant.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Report {
    run_scenario(Scenario::from_seed(seed), options)
}

/// Runs one scenario to its end or to the first broken invariant.
#[must_use]
pub fn run_scenario(scenario: Scenario, options: &Options) -> Report {
    let mut cluster = Cluster::new(scenario, options.clone());
    cluster.run_to_end();
    cluster.into_report()
}

impl Cluster {
    /// Runs the scenario to its end, and makes the last checks.
    pub fn run_to_end(&mut self) {
        let longest = self.scenario.length * 2;
        self.run_for(self.scenario.length.saturating_sub(self.elapsed()));
        while self.scenario.heal_at.is_some()
            && self.broken.is_none()
            && self.is_being_answered()
            && self.elapsed() < longest
        {
            self.run_for(Duration::from_secs(1));
        }
        self.finish();
    }

    /// The result so far.
    #[must_use]
    pub fn into_report(self) -> Report {
        let seed = self.scenario.seed;
        let arbitrated = self.third.is_some();
        #[cfg(feature = "sabotage")]
        let sabotage = self.options.sabotage.map(|s| format!("{s:?}"));
        #[cfg(not(feature = "sabotage"))]
        let sabotage = None;
        let acknowledged = self.mirrors.iter().flatten().map(|m| m.acknowledged.len()).sum();
        let own = self.own;
        let origin = report::Origin { seed, own, arbitrated };
        let failure = self.broken.map(|b| Box::new(Failure::new(origin, sabotage, b, &self.timeline)));
        Report {
            seed,
            faults: self.injected,
            events: self.handled,
            acknowledged,
            probes: self.probes,
            failure,
        }
    }
}
