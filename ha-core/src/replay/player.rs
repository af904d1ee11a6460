//! Feeds a record to an engine.

use super::checkpoint::Checkpoint;
use super::digest::Digest;
use super::entry::Entry;
use super::error::ReplayError;
use crate::Instant;
use crate::config::{Config, MAX_GROUPS, MAX_LINKS};
use crate::engine::{Action, Beat, Engine, Input};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// One step of a life, decided again.
#[derive(Clone, Debug)]
pub struct Step {
    /// When.
    pub at: Instant,
    /// What the engine was fed.
    pub input: Input,
    /// What it decides.
    pub actions: Vec<Action>,
    /// Whether it had decided the same when this was recorded.
    pub same: bool,
}

/// An engine that relives a record.
#[derive(Clone, Debug)]
pub struct Player {
    config: Arc<Config>,
    engine: Engine,
    begun: Box<Engine>,
    at: Instant,
    digest: Digest,
    beats: Vec<Option<Beat>>,
    /// What the engine decided by being made, and no step has told yet.
    first: Vec<Action>,
    steps: u64,
}

impl Player {
    /// An engine at the start of a record: its first entry is the beginning of a life, or a resumption.
    ///
    /// # Errors
    /// [`ReplayError::Senseless`] for any other entry, or a state that does not fit its configuration;
    /// [`ReplayError::Program`] if another version of the library wrote it.
    pub fn begin(first: &Entry) -> Result<Self, ReplayError> {
        Self::begin_with(first, |_| {})
    }

    /// The same with a change to the engine before its first step, as a sabotaged simulation needs it.
    ///
    /// # Errors
    /// As [`Player::begin`].
    pub fn begin_with(first: &Entry, prepare: impl FnOnce(&mut Engine)) -> Result<Self, ReplayError> {
        let senseless = |found: String| ReplayError::Senseless { entry: 0, found };
        match first {
            Entry::Life(life) => {
                let expected = env!("CARGO_PKG_VERSION");
                if life.program != expected {
                    let found = life.program.clone();
                    return Err(ReplayError::Program { found, expected: expected.into() });
                }
                let config = checked(&life.config).map_err(senseless)?;
                if usize::from(life.boot.me.0) >= config.nodes.len() {
                    return Err(senseless(format!("node {}, expected 0 or 1", life.boot.me)));
                }
                let mut engine = Engine::boot(config.clone(), life.boot.clone(), life.at);
                prepare(&mut engine);
                let beats = vec![None; config.links.len()];
                let (at, digest, first) = (life.at, Digest::default(), Vec::new());
                let begun = Box::new(engine.clone());
                let mut player = Self { config, engine, begun, at, digest, beats, first, steps: 0 };
                player.first = player.drain();
                Ok(player)
            }
            Entry::Resume(r) => {
                let config = checked(&r.config).map_err(senseless)?;
                let mut engine = Engine::from_snapshot(config.clone(), r.engine.clone())
                    .map_err(|e| senseless(e.to_string()))?;
                prepare(&mut engine);
                let mut beats = r.beats.clone();
                beats.resize(config.links.len(), None);
                let digest = Digest::from_value(u64::from_le_bytes(r.digest));
                let begun = Box::new(engine.clone());
                Ok(Self { config, engine, begun, at: r.at, digest, beats, first: Vec::new(), steps: 0 })
            }
            Entry::Step { .. } | Entry::Again { .. } => {
                Err(senseless("a step, expected the beginning of a life or a resumption".into()))
            }
        }
    }

    /// An engine that goes on from a checkpoint.
    ///
    /// # Errors
    /// [`ReplayError::Senseless`] if its state does not fit its configuration.
    pub fn go_on(from: &Checkpoint) -> Result<Self, ReplayError> {
        let Checkpoint { config, engine, at, digest, beats, .. } = from.clone();
        let engine = Engine::from_snapshot(config.clone(), engine)
            .map_err(|e| ReplayError::Senseless { entry: 0, found: e.to_string() })?;
        let begun = Box::new(engine.clone());
        let digest = Digest::from_value(u64::from_le_bytes(digest));
        Ok(Self { config, engine, begun, at, digest, beats, first: Vec::new(), steps: 0 })
    }

    /// Feeds the next step and compares.
    ///
    /// # Errors
    /// [`ReplayError::Senseless`] for anything but a step: a life or a resumption begins a new player.
    pub fn step(&mut self, entry: &Entry) -> Result<Step, ReplayError> {
        let (after_ns, input, digest) = match entry {
            Entry::Step { after_ns, input, digest } => (*after_ns, input.clone(), *digest),
            Entry::Again { after_ns, link, seq, echo, digest } => {
                let known = self.beats.get(usize::from(link.0)).and_then(Option::as_ref);
                let Some(before) = known else {
                    return Err(
                        self.senseless(format!("a repeated beat on link {link}, which had none before"))
                    );
                };
                let mut beat = before.clone();
                beat.seq = beat.seq.wrapping_add(*seq);
                beat.echo = beat.echo.map(|e| e.wrapping_add(*echo));
                (*after_ns, Input::Beat { link: *link, beat }, *digest)
            }
            Entry::Life(_) | Entry::Resume(_) => {
                return Err(self.senseless("the beginning of another record, expected a step".into()));
            }
        };
        self.at += Duration::from_nanos(after_ns);
        if let Input::Beat { link, beat } = &input
            && let Some(kept) = self.beats.get_mut(usize::from(link.0))
        {
            *kept = Some(beat.clone());
        }
        self.engine.handle(self.at, input.clone());
        self.steps += 1;
        let mut actions = std::mem::take(&mut self.first);
        actions.extend(self.drain());
        let same = self.digest.finish().to_le_bytes() == digest;
        Ok(Step { at: self.at, input, actions, same })
    }

    fn drain(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some(action) = self.engine.next_action() {
            action.hash(&mut self.digest);
            actions.push(action);
        }
        actions
    }

    fn senseless(&self, found: String) -> ReplayError {
        ReplayError::Senseless { entry: self.steps + 1, found }
    }

    /// Takes the recorded digest for its own, so that one difference is told once.
    pub fn agree(&mut self, entry: &Entry) {
        if let Entry::Step { digest, .. } | Entry::Again { digest, .. } = entry {
            self.digest = Digest::from_value(u64::from_le_bytes(*digest));
        }
    }

    /// The configuration of the record.
    #[must_use]
    pub const fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The engine as it is now.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The engine before the first step of this record.
    #[must_use]
    pub const fn begun(&self) -> &Engine {
        &self.begun
    }

    /// How many steps were fed.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The instant of the last step.
    #[must_use]
    pub const fn at(&self) -> Instant {
        self.at
    }
}

/// The longest duration of a configuration: beyond it sums overflow.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// The configuration, if an engine can count on it: sizes that its numbers can name, durations that can be added.
/// Whether it is a wise one is not asked: the record of an unwise one is replayed too.
fn checked(config: &Config) -> Result<Arc<Config>, String> {
    let sizes = [
        ("nodes", config.nodes.len(), 2..=2),
        ("links", config.links.len(), 0..=MAX_LINKS),
        ("groups", config.groups.len(), 0..=MAX_GROUPS),
    ];
    let resources = config.groups.iter().map(|g| ("resources", g.resources.len(), 0..=200));
    for (what, found, expected) in sizes.into_iter().chain(resources) {
        if !expected.contains(&found) {
            return Err(format!("a configuration with {found} {what}, expected {expected:?}"));
        }
    }
    let links = config.links.iter().flat_map(|l| [l.interval, l.suspect, l.dead]);
    let groups = config.groups.iter().flat_map(|g| [g.promote_timeout, g.demote_timeout, g.address_lifetime]);
    let resources = config.groups.iter().flat_map(|g| &g.resources);
    let resources =
        resources.flat_map(|r| [r.start_timeout, r.stop_timeout, r.monitor_interval, r.monitor_timeout]);
    let fence = config.fence.iter().flat_map(|f| [f.timeout, f.effect]);
    let t = &config.timing;
    let timing = [
        t.token_validity,
        t.boot_wait,
        t.ask_deadline,
        t.confirm_deadline,
        t.prepare_deadline,
        t.persist_deadline,
        t.takeover_deadline,
        t.query_interval,
        t.question_interval,
        t.detached_limit,
        t.feed_limit,
        t.kill_grace,
        t.mirror_stall,
        t.application_stall,
    ];
    let longest = links.chain(groups).chain(resources).chain(fence).chain(timing).max().unwrap_or_default();
    if longest > LONGEST {
        return Err(format!("a configuration with a duration of {longest:?}, expected at most {LONGEST:?}"));
    }
    Ok(Arc::new(config.clone()))
}
