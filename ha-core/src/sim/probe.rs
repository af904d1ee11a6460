//! Code probes: how often something was reached, so that a batch that proves nothing fails.

use crate::engine::EventKind;
use std::collections::BTreeMap;
use std::fmt;

/// Counts by kind and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probes(BTreeMap<(&'static str, String), u64>);

impl Probes {
    /// Counts one.
    pub fn hit(&mut self, kind: &'static str, name: impl Into<String>) {
        *self.0.entry((kind, name.into())).or_default() += 1;
    }

    /// How often `name` of `kind` was hit.
    #[must_use]
    pub fn count(&self, kind: &'static str, name: &str) -> u64 {
        self.0.get(&(kind, name.to_owned())).copied().unwrap_or(0)
    }

    /// Adds another run's counts.
    pub fn absorb(&mut self, other: &Self) {
        for (key, n) in &other.0 {
            *self.0.entry(key.clone()).or_default() += n;
        }
    }

    /// Counts what an engine reported.
    pub fn event(&mut self, kind: &EventKind) {
        match kind {
            EventKind::Link { state, .. } => self.hit("link", format!("{state:?}")),
            EventKind::Peer { state, .. } => self.hit("peer", format!("{state:?}")),
            EventKind::Role { role, .. } => self.hit("role", format!("{role:?}")),
            EventKind::Granted { proof, .. } => self.hit("proof", proof.name()),
            EventKind::Alone { proof, .. } => self.hit("exclusion", proof.name()),
            EventKind::Asked { question, .. } => self.hit("question", format!("{question:?}")),
            EventKind::Refused { why } => self.hit("refusal", format!("{why:?}")),
            EventKind::Resource { health, .. } => self.hit("health", format!("{health:?}")),
            EventKind::Timeout { edge } => self.hit("timeout", format!("{edge:?}")),
            EventKind::Full { .. } => self.hit("event", "Full"),
            EventKind::Shoot => self.hit("event", "Shoot"),
            EventKind::FenceLied { .. } => self.hit("event", "FenceLied"),
            EventKind::OpOverrun { .. } => self.hit("event", "OpOverrun"),
            EventKind::Arbiter { state, .. } => self.hit("arbiter", format!("{state:?}")),
            EventKind::Late { .. } => self.hit("event", "Late"),
            EventKind::Proof { .. } => self.hit("event", "Proof"),
            EventKind::Unasked { .. } => self.hit("event", "Unasked"),
            EventKind::Found { cause, .. } => self.hit("cause", format!("{cause:?}")),
            EventKind::Moving { reason, .. } => self.hit("move", format!("{reason:?}")),
            EventKind::Quarantined { .. } => self.hit("event", "Quarantined"),
            EventKind::FailuresFaded { .. } => self.hit("event", "FailuresFaded"),
            EventKind::Detach { step, .. } => self.hit("detach", format!("{step:?}")),
            EventKind::Policy { .. } => self.hit("event", "Policy"),
        }
    }
}

impl fmt::Display for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|((kind, name), n)| writeln!(f, "{kind:>10} {name:<24} {n:>9}"))
    }
}
