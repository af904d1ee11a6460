//! A way to a broken invariant: as few choices and as little time as show it, in words, and how to replay it.

use super::choice::Path;
use super::family::Family;
use super::search::{RECOVERY, start};
use super::world::World;
use crate::sim::invariant::Broken;
use crate::sim::timeline::{Entry, Timeline};
use std::fmt;
use std::sync::Arc;

/// How many timeline entries are shown.
const SHOWN: usize = 400;

/// A broken invariant and the way to it.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The family's name.
    pub family: String,
    /// The rule that was switched off, if one was.
    pub sabotage: Option<String>,
    /// What broke.
    pub broken: Broken,
    /// The way there.
    pub path: Path,
    /// What happened, from the first choice on.
    pub timeline: Vec<Entry>,
}

impl Counterexample {
    /// The shortest variant of `path` that breaks the same invariant.
    pub(super) fn shortest(family: &Arc<Family>, path: Path, broken: Broken) -> Self {
        let breaks = |p: &Path| {
            run(family, p, false).oracle.broken.as_ref().map(|b| b.invariant) == Some(broken.invariant)
        };
        let path = if breaks(&path) { shrink(path, breaks) } else { path };
        let world = run(family, &path, true);
        let broken = world.oracle.broken.clone().unwrap_or(broken);
        Self::exactly(family, &path, broken, &world)
    }

    fn exactly(family: &Family, path: &Path, broken: Broken, world: &World) -> Self {
        #[cfg(feature = "sabotage")]
        let sabotage = family.sabotage.map(|s| format!("{s:?}"));
        #[cfg(not(feature = "sabotage"))]
        let sabotage = None;
        let timeline = world.timeline.iter().flat_map(|t| t.last(SHOWN).cloned()).collect();
        Self { family: family.name.into(), sabotage, broken, path: path.clone(), timeline }
    }

    /// The command that replays it.
    #[must_use]
    pub fn command(&self) -> String {
        let sabotage = self.sabotage.as_ref().map_or(String::new(), |s| format!("HA_MODEL_SABOTAGE={s} "));
        format!(
            "{sabotage}HA_MODEL_FAMILY={} HA_MODEL_PATH='{}' cargo test -p ha-core --test model_replay -- --ignored --nocapture",
            self.family, self.path
        )
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "family {}: {}", self.family, self.broken)?;
        writeln!(f, "choices: {}", self.path)?;
        writeln!(f, "replay: {}", self.command())?;
        self.timeline.iter().try_for_each(|e| writeln!(f, "  {e}"))
    }
}

/// Fewer choices, then less time before, between and after them.
fn shrink(mut path: Path, breaks: impl Fn(&Path) -> bool) -> Path {
    let keep = |candidate: Path, path: &mut Path| {
        let better = breaks(&candidate);
        if better {
            *path = candidate;
        }
        better
    };
    let mut i = 0;
    while i < path.steps.len() {
        let mut shorter = path.clone();
        let (wait, _) = shorter.steps.remove(i);
        match shorter.steps.get_mut(i) {
            Some((next, _)) => *next += wait,
            None => shorter.rest += wait,
        }
        if !keep(shorter, &mut path) {
            i += 1;
        }
    }
    for i in 0..=path.steps.len() {
        let wait = |p: &Path| p.steps.get(i).map_or(p.rest, |(wait, _)| *wait);
        let mut cut = wait(&path);
        while cut > 0 {
            let mut shorter = path.clone();
            match shorter.steps.get_mut(i) {
                Some((wait, _)) => *wait -= cut,
                None => shorter.rest -= cut,
            }
            if !keep(shorter, &mut path) {
                cut /= 2;
            }
            cut = cut.min(wait(&path));
        }
    }
    path
}

/// Follows a path, until something breaks.
pub(super) fn run(family: &Arc<Family>, path: &Path, tell: bool) -> World {
    let mut world = start(family);
    world.timeline = tell.then(Timeline::default);
    for (wait, choice) in &path.steps {
        pass(&mut world, *wait);
        if world.oracle.broken.is_some() {
            return world;
        }
        if world.can(*choice) {
            world.choose(*choice);
        }
    }
    pass(&mut world, path.rest);
    if world.oracle.broken.is_none() && path.rest > family.window {
        world.check_settled();
    }
    if world.oracle.broken.is_none() && path.mended {
        world.mend();
        for _ in 0..RECOVERY {
            if world.is_recovered() || world.oracle.broken.is_some() {
                return world;
            }
            world.advance_mended();
        }
        world.check_recovered();
    }
    world
}

fn pass(world: &mut World, units: u32) {
    for _ in 0..units {
        if world.oracle.broken.is_some() {
            return;
        }
        world.advance();
    }
}

/// Follows a path of a family again.
///
/// # Errors
/// The invariant that breaks, with its timeline.
pub fn replay(family: &Family, path: &Path) -> Result<Vec<Entry>, Box<Counterexample>> {
    let family = Arc::new(family.clone());
    let world = run(&family, path, true);
    match &world.oracle.broken {
        Some(broken) => Err(Box::new(Counterexample::exactly(&family, path, broken.clone(), &world))),
        None => Ok(world.timeline.iter().flat_map(|t| t.last(SHOWN).cloned()).collect()),
    }
}
