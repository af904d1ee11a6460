//! I6: the same inputs give the same decisions. I7: decisions are bounded.

use super::{Broken, Invariant, Verdict};
use crate::config::Config;
use crate::engine::{Action, Boot, Engine, Input};
use crate::replay::{LifeStart, Player, StepEncoder, entries};
use crate::{Incarnation, Instant};

/// The record of one life, in the bytes in which a running node keeps it.
#[derive(Clone, Debug)]
pub struct Recording {
    incarnation: Incarnation,
    encoder: StepEncoder,
    frames: Vec<u8>,
    #[cfg(feature = "sabotage")]
    sabotage: Option<crate::engine::Sabotage>,
}

impl Recording {
    /// A life that begins.
    #[must_use]
    pub fn new(config: &Config, boot: Boot, booted: Instant) -> Self {
        let incarnation = boot.incarnation;
        let program = env!("CARGO_PKG_VERSION").into();
        let life = LifeStart { config: config.clone(), boot, at: booted, wall_ms: 0, program };
        let mut frames = Vec::new();
        let encoder = StepEncoder::life(&life, &mut frames);
        Self {
            incarnation,
            encoder,
            frames,
            #[cfg(feature = "sabotage")]
            sabotage: None,
        }
    }

    /// The same with a rule broken.
    #[cfg(feature = "sabotage")]
    #[must_use]
    pub fn sabotaged(mut self, switch: Option<crate::engine::Sabotage>) -> Self {
        self.sabotage = switch;
        self
    }

    /// The engine is about to be fed.
    pub fn input(&mut self, now: Instant, input: &Input) {
        self.encoder.input(now, input, &mut self.frames);
    }

    /// One more decision.
    pub fn action(&mut self, action: &Action) {
        self.encoder.action(action);
    }

    /// The engine is drained.
    pub fn finish(&mut self) {
        self.encoder.finish(&mut self.frames);
    }

    /// The record so far.
    #[must_use]
    pub fn frames(&self) -> &[u8] {
        &self.frames
    }

    /// Feeds the record to a fresh engine.
    ///
    /// # Errors
    /// I6 if it decides otherwise.
    pub fn replay(&self, node: usize) -> Verdict {
        let mut player: Option<Player> = None;
        for (n, entry) in entries(&self.frames).enumerate() {
            let entry = entry.map_err(|e| self.broken(node, n, &e))?;
            let Some(playing) = &mut player else {
                let begun = Player::begin_with(&entry, |engine| self.prepare(engine));
                player = Some(begun.map_err(|e| self.broken(node, n, &e.to_string()))?);
                continue;
            };
            let step = playing.step(&entry).map_err(|e| self.broken(node, n, &e.to_string()))?;
            if !step.same {
                return Err(self.broken(node, n, &format!("{:?} gave {:?}", step.input, step.actions)));
            }
        }
        Ok(())
    }

    fn prepare(&self, _engine: &mut Engine) {
        #[cfg(feature = "sabotage")]
        if let Some(switch) = self.sabotage {
            _engine.sabotage(switch);
        }
    }

    fn broken(&self, node: usize, entry: usize, what: &str) -> Broken {
        let incarnation = self.incarnation;
        let detail = format!(
            "the record of incarnation {incarnation} of node {node}, fed to a fresh engine, gave another decision at entry {entry}: {what}"
        );
        Broken::new(Invariant::I6, detail)
    }
}

/// Counts actions by virtual second.
#[derive(Clone, Debug)]
pub struct Rate {
    second: u64,
    actions: u32,
    limit: u32,
}

impl Rate {
    /// Actions a second that no pair of a few groups needs.
    const LIMIT: u32 = 3000;

    /// The same for each of many: with a third party every one has a permission of its own that each beat renews.
    const PER_GROUP: u32 = 200;

    /// For an engine of so many groups.
    #[must_use]
    pub fn of(groups: usize) -> Self {
        let many = u32::try_from(groups).unwrap_or(u32::MAX).saturating_mul(Self::PER_GROUP);
        Self { second: 0, actions: 0, limit: many.max(Self::LIMIT) }
    }

    /// Takes note of `actions` decided at true time `now`.
    ///
    /// # Errors
    /// I7 beyond the limit in one second.
    pub fn add(&mut self, node: usize, now: u64, actions: usize) -> Verdict {
        if now / 1_000_000_000 != self.second {
            (self.second, self.actions) = (now / 1_000_000_000, 0);
        }
        self.actions += u32::try_from(actions).unwrap_or(u32::MAX);
        if self.actions > self.limit {
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
    use crate::config::{GroupConfig, LinkConfig};
    use crate::engine::Predecessor;
    use crate::{BootId, NodeId, NodeRecord, OpId, StoreId};
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn a_storm_of_actions_fires() {
        let mut rate = Rate::of(15);
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
        let link = LinkConfig::datagram("lan", Duration::from_millis(20), Duration::from_millis(200));
        let config = Config::pair("c", "a", "b").link(link).group(GroupConfig::new("g"));
        let now = Instant::from_nanos(5);
        let mut recording = Recording::new(&config, boot.clone(), now);
        let mut engine = Engine::boot(Arc::new(config), boot, now);
        for extra in [false, true] {
            recording.input(now, &Input::Tick);
            engine.handle(now, Input::Tick);
            while let Some(action) = engine.next_action() {
                recording.action(&action);
            }
            if extra {
                recording.action(&Action::Cancel { op: OpId(999) });
            }
            recording.finish();
            assert_eq!(recording.replay(0).err().map(|b| b.invariant), extra.then_some(Invariant::I6));
        }
    }
}
