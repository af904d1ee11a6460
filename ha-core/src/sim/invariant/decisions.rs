//! I6: the same inputs give the same decisions. I7: decisions are bounded.

use super::{Broken, Invariant, Verdict};
use crate::Instant;
use crate::config::Config;
use crate::engine::{Action, Boot, Engine, Input};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// The inputs of one life and the digest of its decisions.
#[derive(Clone, Debug)]
pub struct Recording {
    config: Arc<Config>,
    boot: Boot,
    booted: Instant,
    inputs: Vec<(Instant, Input)>,
    digest: DefaultHasher,
    #[cfg(feature = "sabotage")]
    sabotage: Option<crate::engine::Sabotage>,
}

impl Recording {
    /// A life that begins.
    #[must_use]
    pub fn new(config: Arc<Config>, boot: Boot, booted: Instant) -> Self {
        Self {
            config,
            boot,
            booted,
            inputs: Vec::new(),
            digest: DefaultHasher::new(),
            #[cfg(feature = "sabotage")]
            sabotage: None,
        }
    }

    /// The same with a rule broken.
    #[cfg(feature = "sabotage")]
    #[must_use]
    pub const fn sabotaged(mut self, switch: Option<crate::engine::Sabotage>) -> Self {
        self.sabotage = switch;
        self
    }

    /// One more input.
    pub fn input(&mut self, now: Instant, input: &Input) {
        self.inputs.push((now, input.clone()));
    }

    /// One more decision.
    pub fn action(&mut self, action: &Action) {
        action.hash(&mut self.digest);
    }

    /// Feeds the same inputs to a fresh engine.
    ///
    /// # Errors
    /// I6 if it decides otherwise.
    pub fn replay(&self, node: usize) -> Verdict {
        let mut engine = Engine::boot(self.config.clone(), self.boot.clone(), self.booted);
        #[cfg(feature = "sabotage")]
        if let Some(switch) = self.sabotage {
            engine.sabotage(switch);
        }
        let mut digest = DefaultHasher::new();
        let mut drain = |engine: &mut Engine| {
            while let Some(action) = engine.next_action() {
                action.hash(&mut digest);
            }
        };
        drain(&mut engine);
        for (now, input) in &self.inputs {
            engine.handle(*now, input.clone());
            drain(&mut engine);
        }
        if digest.finish() == self.digest.finish() {
            return Ok(());
        }
        Err(Broken::new(
            Invariant::I6,
            format!(
                "{} inputs of incarnation {} of node {node}, fed to a fresh engine, gave other decisions",
                self.inputs.len(),
                self.boot.incarnation
            ),
        ))
    }
}

/// Counts actions by virtual second.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    second: u64,
    actions: u32,
}

impl Rate {
    /// Actions a second that no configuration of the simulator needs.
    pub const LIMIT: u32 = 3000;

    /// Takes note of `actions` decided at true time `now`.
    ///
    /// # Errors
    /// I7 beyond [`Rate::LIMIT`] in one second.
    pub fn add(&mut self, node: usize, now: u64, actions: usize) -> Verdict {
        if now / 1_000_000_000 != self.second {
            (self.second, self.actions) = (now / 1_000_000_000, 0);
        }
        self.actions += u32::try_from(actions).unwrap_or(u32::MAX);
        if self.actions > Self::LIMIT {
            return Err(Broken::new(
                Invariant::I7,
                format!("node {node} decided {} actions in one second", self.actions),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Predecessor;
    use crate::{BootId, Incarnation, NodeId, NodeRecord, OpId, StoreId};

    #[test]
    fn a_storm_of_actions_fires() {
        let mut rate = Rate::default();
        assert!(rate.add(0, 5, 2000).is_ok());
        assert!(rate.add(0, 1_000_000_005, 2000).is_ok());
        assert_eq!(rate.add(0, 1_000_000_006, 2000).unwrap_err().invariant, Invariant::I7);
    }

    #[test]
    fn another_decision_fires() {
        let boot = Boot {
            me: NodeId(0),
            incarnation: Incarnation(1),
            boot: BootId(1),
            record: NodeRecord::blank(StoreId(1), None),
            predecessor: Predecessor::Gone,
            guarded: true,
            outside: 1,
        };
        let config = Arc::new(Config::pair("c", "a", "b"));
        let now = Instant::from_nanos(5);
        let mut recording = Recording::new(config.clone(), boot.clone(), now);
        let mut engine = Engine::boot(config, boot, now);
        while let Some(action) = engine.next_action() {
            recording.action(&action);
        }
        assert!(recording.replay(0).is_ok());
        recording.action(&Action::Cancel { op: OpId(999) });
        assert_eq!(recording.replay(0).unwrap_err().invariant, Invariant::I6);
    }
}
