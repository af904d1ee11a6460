//! The newest explanations, for whoever asks.

use crate::explain::Explanation;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// How many explanations are kept in memory.
pub const EXPLANATIONS_KEPT: usize = 256;

/// Where explanations are kept; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Explanations {
    kept: Arc<Mutex<VecDeque<Arc<Explanation>>>>,
}

impl Explanations {
    pub(super) fn add(&self, explanation: Explanation) {
        self.remember(std::iter::once(explanation));
    }

    pub(super) fn remember(&self, explanations: impl Iterator<Item = Explanation>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for explanation in explanations {
            if kept.len() == EXPLANATIONS_KEPT {
                kept.pop_front();
            }
            kept.push_back(Arc::new(explanation));
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Explanation>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
