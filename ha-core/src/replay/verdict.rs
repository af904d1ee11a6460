//! A whole log replayed: which lives it holds, and whether each decided as it says.

use super::entry::Entry;
use super::error::{Damage, ReplayError};
use super::player::{Player, Step};
use super::reader::{Found, LogReader};
use crate::config::Config;
use crate::{Incarnation, Instant, NodeId};
use std::sync::Arc;

/// One life, or the part of it that the log still holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LifeVerdict {
    /// Which node.
    pub node: NodeId,
    /// Which life.
    pub incarnation: Incarnation,
    /// Its configuration.
    pub config: Arc<Config>,
    /// When it began, or from when on the log has it.
    pub from: Instant,
    /// The last step.
    pub to: Instant,
    /// When it began on the wall clock, in milliseconds since 1970; `None` if the log lacks its beginning.
    pub wall_ms: Option<u64>,
    /// How many steps were replayed.
    pub steps: u64,
    /// How many actions were decided in them.
    pub actions: u64,
    /// How many steps the recorder could not keep.
    pub lost: u64,
    /// Where it decided otherwise than recorded.
    pub divergence: Option<Divergence>,
}

/// The first step that decided otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Divergence {
    /// Its number in this life, from 1.
    pub step: u64,
    /// Its instant.
    pub at: Instant,
    /// What was fed, and what was found.
    pub what: String,
}

/// What a replay found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReplayVerdict {
    /// The lives, oldest first.
    pub lives: Vec<LifeVerdict>,
    /// What could not be read.
    pub damage: Vec<Damage>,
}

impl ReplayVerdict {
    /// Whether every step decided as recorded, and nothing but a torn end is missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.lives.iter().all(|l| l.divergence.is_none()) && self.damage.iter().all(|d| d.torn_tail)
    }

    /// Compares the log's configurations with the one that is expected.
    ///
    /// # Errors
    /// [`ReplayError::OtherConfig`] naming the first difference.
    pub fn check_config(&self, expected: &Config) -> Result<(), ReplayError> {
        match self.lives.iter().find_map(|l| difference(&l.config, expected)) {
            None => Ok(()),
            Some(found) => Err(ReplayError::OtherConfig(found)),
        }
    }
}

/// Replays a log. `observer` is called after each step.
///
/// # Errors
/// [`ReplayError::Empty`] if there is nothing to begin with, [`ReplayError::Program`] if another version wrote it.
/// Damage within the log is no error: see [`ReplayVerdict::damage`].
pub fn replay(
    log: &LogReader,
    mut observer: impl FnMut(&Player, &Step),
) -> Result<ReplayVerdict, ReplayError> {
    let mut verdict = ReplayVerdict::default();
    let mut player: Option<Player> = None;
    for found in log.read() {
        let entry = match found {
            Found::Entry(entry) => entry,
            Found::Damage(mut damage) => {
                damage.last = player.as_ref().map(Player::at);
                verdict.damage.push(damage);
                player = None;
                continue;
            }
        };
        match &entry {
            Entry::Life(_) | Entry::Resume(_) => {
                let next = begin(&entry, log.place(), &mut verdict)?;
                player = join(player, next, &entry, &mut verdict);
            }
            Entry::Step { .. } | Entry::Again { .. } => {
                let Some(playing) = &mut player else { continue };
                match playing.step(&entry) {
                    Ok(step) => {
                        judge(playing, &step, &entry, &mut verdict);
                        observer(playing, &step);
                    }
                    Err(e) => {
                        verdict.damage.push(senseless(log.place(), &e, player.as_ref()));
                        player = None;
                    }
                }
            }
        }
    }
    if verdict.lives.is_empty() {
        let found = verdict.damage.first().map_or_else(|| "the log is empty".to_owned(), Damage::to_string);
        return Err(ReplayError::Empty { place: log.place().into(), found });
    }
    Ok(verdict)
}

fn begin(entry: &Entry, place: &str, verdict: &mut ReplayVerdict) -> Result<Option<Player>, ReplayError> {
    match Player::begin(entry) {
        Ok(player) => Ok(Some(player)),
        Err(e @ ReplayError::Program { .. }) => Err(e),
        Err(e) => {
            verdict.damage.push(senseless(place, &e, None));
            Ok(None)
        }
    }
}

/// A record that goes on in a new file is the same life; anything else is another one.
fn join(
    before: Option<Player>,
    next: Option<Player>,
    entry: &Entry,
    verdict: &mut ReplayVerdict,
) -> Option<Player> {
    let next = next?;
    let (node, incarnation) = (next.engine().me(), next.engine().incarnation());
    let Entry::Resume(r) = entry else {
        let wall_ms = if let Entry::Life(life) = entry { Some(life.wall_ms) } else { None };
        verdict.lives.push(fresh(&next, wall_ms));
        return Some(next);
    };
    let known = verdict.lives.last_mut().filter(|l| l.node == node && l.incarnation == incarnation);
    let Some(life) = known else {
        verdict.lives.push(LifeVerdict { lost: r.lost, ..fresh(&next, None) });
        return Some(next);
    };
    life.lost += r.lost;
    if let (0, Some(before), None) = (r.lost, before, &life.divergence)
        && before.engine().snapshot() != r.engine
    {
        let what = "the engine's state, replayed, is another one than recorded".to_owned();
        life.divergence = Some(Divergence { step: life.steps, at: next.at(), what });
    }
    Some(next)
}

fn fresh(player: &Player, wall_ms: Option<u64>) -> LifeVerdict {
    LifeVerdict {
        node: player.engine().me(),
        incarnation: player.engine().incarnation(),
        config: player.config().clone(),
        from: player.at(),
        to: player.at(),
        wall_ms,
        steps: 0,
        actions: 0,
        lost: 0,
        divergence: None,
    }
}

fn judge(player: &mut Player, step: &Step, entry: &Entry, verdict: &mut ReplayVerdict) {
    let Some(life) = verdict.lives.last_mut() else { return };
    life.steps += 1;
    life.actions += step.actions.len() as u64;
    life.to = step.at;
    if !step.same {
        let what = format!("fed {:?}, it decided {:?}", step.input, step.actions);
        life.divergence.get_or_insert(Divergence { step: life.steps, at: step.at, what });
        player.agree(entry);
    }
}

fn senseless(place: &str, e: &ReplayError, player: Option<&Player>) -> Damage {
    let last = player.map(Player::at);
    Damage { place: place.into(), offset: 0, found: e.to_string(), torn_tail: false, last }
}

/// The first difference between two configurations, in words.
fn difference(found: &Config, expected: &Config) -> Option<String> {
    fn one<T: PartialEq + std::fmt::Debug>(field: &str, found: &T, expected: &T) -> Option<String> {
        (found != expected).then(|| format!("{field}: found {found:?}, expected {expected:?}"))
    }
    fn list<T: PartialEq + std::fmt::Debug>(field: &str, found: &[T], expected: &[T]) -> Option<String> {
        let differs = found.iter().zip(expected).enumerate();
        let element = differs.into_iter().find_map(|(n, (f, e))| one(&format!("{field}[{n}]"), f, e));
        element.or_else(|| one(&format!("number of {field}"), &found.len(), &expected.len()))
    }
    one("cluster", &found.cluster, &expected.cluster)
        .or_else(|| list("nodes", &found.nodes, &expected.nodes))
        .or_else(|| list("links", &found.links, &expected.links))
        .or_else(|| list("groups", &found.groups, &expected.groups))
        .or_else(|| one("fence", &found.fence, &expected.fence))
        .or_else(|| one("timing", &found.timing, &expected.timing))
        .or_else(|| one("the whole", found, expected))
}
