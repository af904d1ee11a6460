//! Depth first through all states, each once; the shortest way it found to a violation.

use crate::world::{Bounds, Sabotage, World};
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};

const STATES_MAX: usize = 60_000_000;

/// What was seen.
pub struct Report {
    pub states: usize,
    pub transitions: usize,
    pub depth: usize,
    /// States after contention, and after a restart.
    pub contended: usize,
    pub recovered: usize,
    pub cut_short: bool,
    pub violation: Option<Violation>,
}

pub struct Violation {
    pub what: String,
    pub depth: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, transitions, depth, contended, recovered, .. } = self;
        write!(
            f,
            "{states} states, {transitions} transitions, depth {depth}, {contended} after contention, \
             {recovered} after a restart"
        )?;
        match &self.violation {
            Some(violation) => write!(f, "; violation after {} steps: {}", violation.depth, violation.what),
            None => Ok(()),
        }
    }
}

/// Two lanes of folded multiplication: 128 bits, of which two different states share all with a chance far below 10^-20.
/// The standard hasher takes most of the run.
struct Lanes(u64, u64);

impl Lanes {
    fn fold(state: u64, value: u64, by: u64) -> u64 {
        let wide = u128::from(state ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15)) * u128::from(by);
        (wide as u64 ^ (wide >> 64) as u64).rotate_left(23).wrapping_add(value)
    }
}

impl Hasher for Lanes {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word) ^ chunk.len() as u64);
        }
    }
    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }
    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = Self::fold(self.0, value, 0xa076_1d64_78bd_642f);
        self.1 = Self::fold(self.1, value, 0xe703_7ed1_a0b4_28db);
    }
    fn write_u128(&mut self, value: u128) {
        self.write_u64(value as u64 ^ (value >> 64) as u64);
    }
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

fn mark(world: &World) -> u128 {
    let mut lanes = Lanes(0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3);
    world.hash(&mut lanes);
    u128::from(lanes.0) << 64 | u128::from(lanes.1)
}

/// Whether progress is tried from this state: from all of them it would take most of the time.
fn tries_progress(mark: u128, share: u8) -> bool {
    mark.is_multiple_of(u128::from(share))
}

pub fn explore(bounds: Bounds, sabotage: Sabotage) -> Report {
    let mut report = Report {
        states: 0,
        transitions: 0,
        depth: 0,
        contended: 0,
        recovered: 0,
        cut_short: false,
        violation: None,
    };
    let start = World::new(bounds);
    let mut seen = HashSet::from([mark(&start)]);
    let mut open = vec![(start, 0)];
    while let Some((world, depth)) = open.pop() {
        report.states += 1;
        report.depth = report.depth.max(depth);
        let (contended, recovered) = world.signs(&bounds);
        report.contended += usize::from(contended);
        report.recovered += usize::from(recovered);
        if let Err(what) = visit(&world, depth, (bounds, sabotage), &mut seen, &mut open, &mut report) {
            report.violation = Some(Violation { what, depth });
            return report;
        }
        if report.states > STATES_MAX {
            report.cut_short = true;
            return report;
        }
    }
    report
}

fn visit(
    world: &World,
    depth: usize,
    (bounds, sabotage): (Bounds, Sabotage),
    seen: &mut HashSet<u128>,
    open: &mut Vec<(World, usize)>,
    report: &mut Report,
) -> Result<(), String> {
    if tries_progress(mark(world), bounds.progress) {
        (0..2).try_for_each(|at| world.check_progress(at, sabotage))?;
    }
    if world.beyond() {
        return Ok(());
    }
    for next in world.successors(sabotage) {
        let next = next?;
        report.transitions += 1;
        if seen.insert(mark(&next)) {
            open.push((next, depth + 1));
        }
    }
    Ok(())
}
