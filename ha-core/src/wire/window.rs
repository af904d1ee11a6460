//! Each number is accepted at most once.

/// Remembers the newest number and the 63 before it; older ones count as heard.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct ReplayWindow {
    newest: Option<u32>,
    /// Bit n: `newest - n` was heard.
    heard: u64,
}

impl ReplayWindow {
    /// Whether `seq` is new; if so it is remembered.
    pub(super) fn accept(&mut self, seq: u32) -> bool {
        let Some(newest) = self.newest else {
            (self.newest, self.heard) = (Some(seq), 1);
            return true;
        };
        if seq > newest {
            self.heard = self.heard.checked_shl(seq - newest).unwrap_or(0) | 1;
            self.newest = Some(seq);
            return true;
        }
        let bit = 1u64.checked_shl(newest - seq).unwrap_or(0);
        let new = bit != 0 && self.heard & bit == 0;
        self.heard |= bit;
        new
    }

    pub(super) fn newest(&self) -> Option<u32> {
        self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn accepts_a_number_once_and_only_within_64(seqs in prop::collection::vec(0u32..200, 1..300)) {
            let mut window = ReplayWindow::default();
            let mut heard = BTreeSet::new();
            for seq in seqs {
                let newest = heard.last().copied().unwrap_or(0);
                let expected = !heard.contains(&seq) && seq + 63 >= newest;
                prop_assert_eq!(window.accept(seq), expected, "{} after {:?}", seq, heard);
                if expected { heard.insert(seq); }
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_are_no_special_case() {
        let mut window = ReplayWindow::default();
        assert!(window.accept(0) && window.accept(u32::MAX));
        assert!(!window.accept(u32::MAX) && !window.accept(0));
        assert!(window.accept(u32::MAX - 63) && !window.accept(u32::MAX - 64));
    }
}
