//! Which epoch wrote which part of the journal, and where two journals part.

use ha_core::{Epoch, Lsn};

/// Entries kept; older ones are forgotten.
pub(crate) const HISTORY_ENTRIES: usize = 4096;

/// `first` is the LSN of the record that began `epoch`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EpochEntry {
    pub(crate) epoch: Epoch,
    pub(crate) first: Lsn,
}

/// Strictly increasing in epoch and in LSN. One epoch has one writer, so (epoch, LSN) names a record for ever.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct History(Vec<EpochEntry>);

/// Where two journals part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fork {
    /// The last LSN that both hold; zero if one of them is blank.
    At(Lsn),
    /// Both hold records, and no entry is common.
    Nothing,
}

impl History {
    /// From entries oldest first; `None` unless they are strictly increasing in both.
    pub(crate) fn from_entries(entries: Vec<EpochEntry>) -> Option<Self> {
        let rising = entries.is_sorted_by(|a, b| a.epoch < b.epoch && a.first < b.first);
        rising.then_some(Self(entries))
    }

    /// Oldest first.
    pub(crate) fn entries(&self) -> &[EpochEntry] {
        &self.0
    }

    /// The epoch that wrote `lsn`; `None` before the first entry. Says nothing of where the journal ends.
    pub(crate) fn epoch_at(&self, lsn: Lsn) -> Option<Epoch> {
        let after = self.0.partition_point(|entry| entry.first <= lsn);
        Some(self.0.get(after.checked_sub(1)?)?.epoch)
    }

    /// The newest epoch; `None` of a blank journal.
    pub(crate) fn newest(&self) -> Option<EpochEntry> {
        self.0.last().copied()
    }

    /// Adds the epoch that begins at `first`. Not above the newest: nothing happens, and the answer is false.
    pub(crate) fn push(&mut self, epoch: Epoch, first: Lsn) -> bool {
        if self.0.last().is_some_and(|last| last.epoch >= epoch || last.first >= first) {
            return false;
        }
        if self.0.len() == HISTORY_ENTRIES {
            self.0.remove(0);
        }
        self.0.push(EpochEntry { epoch, first });
        true
    }

    /// Forgets what began after `after`.
    pub(crate) fn cut(&mut self, after: Lsn) {
        self.0.retain(|entry| entry.first <= after);
    }

    /// Where this journal, durable up to `my_durable`, and the other one part.
    pub(crate) fn fork(&self, my_durable: Lsn, other: &Self, other_durable: Lsn) -> Fork {
        if my_durable == Lsn(0) || other_durable == Lsn(0) || self.0.is_empty() || other.0.is_empty() {
            return Fork::At(Lsn(0));
        }
        let common = |(mine, entry): (usize, &EpochEntry)| {
            Some((mine, other.0.binary_search_by_key(&entry.epoch, |e| e.epoch).ok()?))
                .filter(|&(_, theirs)| other.0.get(theirs) == Some(entry))
        };
        let Some((mine, theirs)) = self.0.iter().enumerate().rev().find_map(common) else {
            return Fork::Nothing;
        };
        let end = |list: &Self, at: usize, durable: Lsn| {
            list.0.get(at + 1).map_or(durable, |next| Lsn(next.first.0 - 1)).min(durable)
        };
        Fork::At(end(self, mine, my_durable).min(end(other, theirs, other_durable)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(entries: &[(u64, u64)]) -> History {
        let mut history = History::default();
        entries.iter().for_each(|&(epoch, first)| assert!(history.push(Epoch(epoch), Lsn(first))));
        history
    }

    #[test]
    fn the_epoch_of_an_lsn_is_the_one_that_wrote_it() {
        let h = history(&[(1, 1), (3, 5), (4, 6)]);
        let epochs: Vec<_> = (0..8).map(|l| h.epoch_at(Lsn(l)).map_or(0, |e| e.0)).collect();
        assert_eq!(epochs, [0, 1, 1, 1, 1, 3, 4, 4]);
    }

    #[test]
    fn only_a_higher_epoch_at_a_higher_lsn_is_taken() {
        let mut h = history(&[(2, 1)]);
        assert!(!h.push(Epoch(2), Lsn(9)) && !h.push(Epoch(3), Lsn(1)));
        assert!(h.push(Epoch(3), Lsn(2)));
        h.cut(Lsn(1));
        assert_eq!(h.entries().len(), 1);
        assert!(History::from_entries(vec![h.entries()[0]; 2]).is_none());
    }

    #[test]
    fn two_journals_part_at_the_end_of_the_shorter_common_epoch() {
        let a = history(&[(1, 1), (2, 5)]);
        let b = history(&[(1, 1), (3, 4)]);
        assert_eq!(a.fork(Lsn(9), &b, Lsn(7)), Fork::At(Lsn(3)));
        assert_eq!(b.fork(Lsn(7), &a, Lsn(9)), Fork::At(Lsn(3)));
        assert_eq!(a.fork(Lsn(9), &a, Lsn(6)), Fork::At(Lsn(6)));
        assert_eq!(a.fork(Lsn(9), &History::default(), Lsn(0)), Fork::At(Lsn(0)));
        assert_eq!(a.fork(Lsn(9), &history(&[(4, 1)]), Lsn(3)), Fork::Nothing);
        assert_eq!(a.fork(Lsn(9), &history(&[(2, 4)]), Lsn(6)), Fork::Nothing);
    }
}
