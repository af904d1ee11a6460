//! The search: every path of so many choices, fewest first, each state once.

#![expect(
    clippy::disallowed_types,
    reason = "a search is bounded by real time; its sets hold fingerprints, and nothing depends on their order"
)]

use super::choice::{Choice, Draws, Path};
use super::counterexample::Counterexample;
use super::family::{Budget, Family, Start};
use super::world::World;
use crate::sim::invariant::Broken;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Units within which everything must be well again once everything is mended.
pub(super) const RECOVERY: u32 = 160;
/// Units of a first settlement.
const SETTLEMENT: u32 = 100;

/// When an exploration stops before it is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// After so many distinct states.
    pub states: u64,
    /// After this time.
    pub time: Duration,
    /// Of so many states one is mended, to see whether service comes back; 0: of the last of each path only.
    pub mend: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { states: u64::MAX, time: Duration::MAX, mend: 0 }
    }
}

/// What an exploration found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// Distinct states.
    pub states: u64,
    /// Units of time and choices carried out.
    pub transitions: u64,
    /// Paths followed to their end.
    pub paths: u64,
    /// States that were mended and recovered.
    pub mended: u64,
    /// How many choices the longest explored paths have.
    pub choices: u8,
    /// Whether everything within the bounds was seen.
    pub complete: bool,
    /// The shortest way to a broken invariant.
    pub counterexample: Option<Box<Counterexample>>,
}

/// Keys are fingerprints: hashing them again adds nothing.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

type Keys<V> = HashMap<u64, V, BuildHasherDefault<Identity>>;
type KeySet = HashSet<u64, BuildHasherDefault<Identity>>;

struct Search {
    family: Arc<Family>,
    limits: Limits,
    began: Instant,
    /// States with the units that were left when they were explored.
    seen: Keys<u32>,
    /// States, everything mended, from which service came back.
    sound: KeySet,
    path: Path,
    out: Outcome,
    found: Option<(Path, Broken)>,
}

/// Explores a family within its budget.
#[must_use]
pub fn explore(family: &Family, limits: Limits) -> Outcome {
    let family = Arc::new(family.clone());
    let mut search = Search {
        family: family.clone(),
        limits,
        began: Instant::now(),
        seen: Keys::default(),
        sound: KeySet::default(),
        path: Path::default(),
        out: Outcome::default(),
        found: None,
    };
    for choices in 0..=family.budget.sum() {
        search.seen.clear();
        search.out = Outcome { choices, ..Outcome::default() };
        search.follow(start(&family), family.budget, choices);
        if search.is_over() {
            break;
        }
    }
    search.out.complete = !search.is_over();
    let found = search.found.take();
    search.out.counterexample =
        found.map(|(path, broken)| Box::new(Counterexample::shortest(&family, path, broken)));
    search.out
}

/// The state in which a family begins.
pub(super) fn start(family: &Arc<Family>) -> World {
    let mut world = World::new(family);
    if family.start == Start::Cold {
        return world;
    }
    world.boot(0);
    world.boot(1);
    for _ in 0..SETTLEMENT {
        world.advance();
    }
    if family.start == Start::PowerLoss {
        world.power_off(0, false);
        world.power_off(1, false);
        for _ in 0..4 {
            world.advance();
        }
    }
    world
}

impl Search {
    fn is_over(&self) -> bool {
        self.found.is_some()
            || self.out.states >= self.limits.states
            || self.began.elapsed() >= self.limits.time
    }

    /// Follows the path in which nothing more is chosen, and branches at every boundary.
    fn follow(&mut self, mut world: World, budget: Budget, choices: u8) {
        let family = self.family.clone();
        let steps = self.path.steps.len();
        self.path.rest = 0;
        for left in (0..=family.window).rev() {
            if self.is_broken(&world) || self.is_known(&world, budget, choices, left) || self.is_over() {
                return;
            }
            let waited = self.path.rest;
            if choices > 0 {
                for choice in &family.choices {
                    let Some(rest) = spend(budget, *choice) else { continue };
                    if !world.can(*choice) {
                        continue;
                    }
                    let mut next = world.clone();
                    next.choose(*choice);
                    self.out.transitions += 1;
                    self.path.steps.push((waited, *choice));
                    self.follow(next, rest, choices - 1);
                    self.path.steps.truncate(steps);
                    self.path.rest = waited;
                }
            }
            if self.limits.mend > 0 && self.out.states.is_multiple_of(self.limits.mend) {
                self.mend(&world);
            }
            world.advance();
            self.out.transitions += 1;
            self.path.rest += 1;
        }
        self.out.paths += 1;
        world.check_settled();
        if !self.is_broken(&world) {
            self.mend(&world);
        }
    }

    fn is_broken(&mut self, world: &World) -> bool {
        if let (Some(broken), None) = (&world.oracle.broken, &self.found) {
            self.found = Some((self.path.clone(), broken.clone()));
        }
        world.oracle.broken.is_some()
    }

    /// Whether this state was explored with as much time and as many choices left.
    fn is_known(&mut self, world: &World, budget: Budget, choices: u8, left: u32) -> bool {
        let mut h = super::key::Digest::default();
        h.write_u64(world.key());
        h.write_u32(u32::from_le_bytes([budget.faults, budget.repairs, budget.commands, choices]));
        match self.seen.entry(h.finish()) {
            std::collections::hash_map::Entry::Occupied(mut known) => {
                if *known.get() >= left {
                    return true;
                }
                known.insert(left);
            }
            std::collections::hash_map::Entry::Vacant(new) => {
                new.insert(left);
                self.out.states += 1;
            }
        }
        false
    }

    /// Mends everything and looks whether service comes back.
    fn mend(&mut self, world: &World) {
        self.out.mended += 1;
        self.path.mended = true;
        let mut world = world.clone();
        world.mend();
        let mut passed = Vec::new();
        let mut sound = false;
        for _ in 0..RECOVERY {
            let key = world.key();
            sound = world.oracle.broken.is_none() && (self.sound.contains(&key) || world.is_recovered());
            if sound || world.oracle.broken.is_some() {
                break;
            }
            passed.push(key);
            world.advance_mended();
        }
        if !sound {
            world.check_recovered();
        }
        if !self.is_broken(&world) {
            self.sound.extend(passed);
        }
        self.path.mended = false;
    }
}

/// The budget after a choice, if it allows it.
fn spend(mut budget: Budget, choice: Choice) -> Option<Budget> {
    let purse = match choice.draws() {
        Draws::Fault => &mut budget.faults,
        Draws::Repair => &mut budget.repairs,
        Draws::Command => &mut budget.commands,
    };
    *purse = purse.checked_sub(1)?;
    Some(budget)
}
