//! What a run says: counts if it went well, a readable failure if not.

use super::invariant::Broken;
use super::probe::Probes;
use super::timeline::{Entry, Timeline};
use std::fmt;

/// How many timeline entries a failure prints.
const SHOWN: usize = 150;

/// A run that broke an invariant.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that shows it again.
    pub seed: u64,
    /// Whether it had a third party ([`Scenario::arbitrated`](super::Scenario::arbitrated)).
    pub arbitrated: bool,
    /// The rule that was switched off, if one was.
    pub sabotage: Option<String>,
    /// What broke.
    pub broken: Broken,
    /// The last entries of the timeline.
    pub entries: Vec<Entry>,
}

impl Failure {
    pub(super) fn new(
        (seed, arbitrated): (u64, bool),
        sabotage: Option<String>,
        broken: Broken,
        timeline: &Timeline,
    ) -> Self {
        Self { seed, arbitrated, sabotage, broken, entries: timeline.last(SHOWN).cloned().collect() }
    }

    /// The command that replays it.
    #[must_use]
    pub fn command(&self) -> String {
        let arbiter = if self.arbitrated { "HA_SIM_ARBITER=1 " } else { "" };
        let sabotage = self.sabotage.as_ref().map_or(String::new(), |s| format!("HA_SIM_SABOTAGE={s} "));
        format!(
            "{arbiter}{sabotage}HA_SIM_SEED={} cargo test -p ha-core --test sim_replay -- --ignored --nocapture",
            self.seed
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.broken)?;
        writeln!(f, "replay: {}", self.command())?;
        self.entries.iter().try_for_each(|e| writeln!(f, "  {e}"))
    }
}

/// The result of one run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// How many faults were injected.
    pub faults: u64,
    /// How many events were handled.
    pub events: u64,
    /// How many messages were acknowledged.
    pub acknowledged: usize,
    /// What was reached.
    pub probes: Probes,
    /// What broke, if anything did.
    pub failure: Option<Box<Failure>>,
}
