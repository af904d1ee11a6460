//! What happened, in words, for the reader of a failure.

use super::Fault;
use crate::engine::EventKind;
use std::collections::VecDeque;
use std::fmt;

/// How many entries are kept; older ones are dropped.
const KEPT: usize = 2000;

/// What an entry tells.
#[derive(Clone, Debug)]
pub enum What {
    /// An engine's own report.
    Engine(EventKind),
    /// An injected fault.
    Fault(Fault),
    /// Something that the world did.
    World(String),
}

/// One entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// True time in nanoseconds.
    pub at: u64,
    /// The node it is about.
    pub node: Option<usize>,
    /// What happened.
    pub what: What,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:4}.{:06} ", self.at / 1_000_000_000, self.at / 1000 % 1_000_000)?;
        match self.node {
            Some(node) => write!(f, "node {node}  ")?,
            None => write!(f, "world   ")?,
        }
        match &self.what {
            What::Engine(kind) => write!(f, "{kind:?}"),
            What::Fault(fault) => write!(f, "FAULT {fault}"),
            What::World(text) => f.write_str(text),
        }
    }
}

/// The newest entries of a run.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    entries: VecDeque<Entry>,
}

impl Timeline {
    /// Adds one.
    pub fn add(&mut self, at: u64, node: Option<usize>, what: What) {
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { at, node, what });
    }

    /// The newest `count` entries, oldest first.
    pub fn last(&self, count: usize) -> impl Iterator<Item = &Entry> {
        self.entries.iter().skip(self.entries.len().saturating_sub(count))
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.iter().try_for_each(|e| writeln!(f, "{e}"))
    }
}
