//! What was sent, what was answered, and what is in the stores.

use std::collections::{BTreeMap, BTreeSet};

/// How one attempt to deliver a message ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// `250` after the final dot.
    Acknowledged,
    /// It ended before the final dot was sent, or with an answer that says that it is not stored.
    Refused,
    /// The final dot was sent and no `250` came: the connection was lost, or `451`.
    Unknown,
}

/// The attempts so far, by message.
#[derive(Clone, Default, Debug)]
pub(crate) struct Ledger {
    messages: BTreeMap<u64, Attempts>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Attempts {
    acknowledged: u64,
    unknown: u64,
}

/// How many copies of each message a store holds, and how many of its files are none of the driver's messages.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Copies {
    /// Copies that are equal byte for byte.
    pub(crate) whole: BTreeMap<u64, u64>,
    /// Files that name a message and differ from it.
    pub(crate) damaged: BTreeSet<u64>,
}

impl Copies {
    fn of(&self, message: u64) -> u64 {
        self.whole.get(&message).copied().unwrap_or(0)
    }
}

/// The balance.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Balance {
    /// Messages that were answered `250`.
    pub(crate) acknowledged: u64,
    /// Of these, present byte for byte in both stores.
    pub(crate) present: u64,
    /// Of these, missing in at least one.
    pub(crate) lost: Vec<u64>,
    /// Of these, missing in both.
    pub(crate) lost_everywhere: Vec<u64>,
    /// Copies beyond the acknowledged ones of messages of which an attempt ended unknown: allowed.
    pub(crate) duplicates: u64,
    /// Copies beyond that: not allowed.
    pub(crate) forbidden_duplicates: Vec<u64>,
    /// Messages that were stored and differ.
    pub(crate) damaged: Vec<u64>,
}

impl Ledger {
    /// Notes the end of an attempt.
    pub(crate) fn note(&mut self, message: u64, outcome: Outcome) {
        let attempts = self.messages.entry(message).or_default();
        match outcome {
            Outcome::Acknowledged => attempts.acknowledged += 1,
            Outcome::Unknown => attempts.unknown += 1,
            Outcome::Refused => {}
        }
    }

    /// Compares with what both stores hold.
    pub(crate) fn balance(&self, stores: [&Copies; 2]) -> Balance {
        let mut balance = Balance::default();
        for (message, attempts) in &self.messages {
            let copies = stores.map(|store| store.of(*message));
            if attempts.acknowledged > 0 {
                balance.acknowledged += 1;
                match copies {
                    [0, 0] => balance.lost_everywhere.push(*message),
                    [0, _] | [_, 0] => {}
                    _ => balance.present += 1,
                }
                if copies.contains(&0) {
                    balance.lost.push(*message);
                }
            }
            let most = copies.into_iter().max().unwrap_or(0);
            let surplus = most.saturating_sub(attempts.acknowledged);
            if surplus > attempts.unknown {
                balance.forbidden_duplicates.push(*message);
            }
            // The first copy of a message that was never acknowledged is no duplicate.
            balance.duplicates += most.saturating_sub(1).min(surplus);
        }
        let damaged: BTreeSet<u64> = stores.iter().flat_map(|s| s.damaged.iter().copied()).collect();
        balance.damaged = damaged.into_iter().collect();
        balance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(whole: &[(u64, u64)]) -> Copies {
        Copies { whole: whole.iter().copied().collect(), damaged: BTreeSet::new() }
    }

    fn ledger(attempts: &[(u64, Outcome)]) -> Ledger {
        let mut ledger = Ledger::default();
        attempts.iter().for_each(|(message, outcome)| ledger.note(*message, *outcome));
        ledger
    }

    use Outcome::{Acknowledged, Refused, Unknown};

    #[test]
    fn what_was_answered_must_be_on_both() {
        let ledger = ledger(&[(1, Acknowledged), (2, Acknowledged), (3, Refused), (4, Acknowledged)]);
        let balance = ledger.balance([&copies(&[(1, 1), (2, 1)]), &copies(&[(1, 1)])]);
        assert_eq!((balance.acknowledged, balance.present), (3, 1));
        assert_eq!(balance.lost, [2, 4]);
        assert_eq!(balance.lost_everywhere, [4]);
    }

    #[test]
    fn a_copy_of_an_unknown_attempt_is_an_allowed_duplicate() {
        let ledger = ledger(&[(1, Unknown), (1, Acknowledged), (2, Unknown), (3, Acknowledged)]);
        let both = copies(&[(1, 2), (2, 1), (3, 2)]);
        let balance = ledger.balance([&both, &both]);
        assert_eq!(balance.duplicates, 2, "of 1 (allowed) and of 3");
        assert_eq!(balance.forbidden_duplicates, [3]);
        assert!(balance.lost.is_empty());
    }

    #[test]
    fn a_refused_message_that_is_stored_is_forbidden() {
        let ledger = ledger(&[(1, Refused)]);
        let both = copies(&[(1, 1)]);
        assert_eq!(ledger.balance([&both, &both]).forbidden_duplicates, [1]);
    }

    #[test]
    fn a_damaged_file_is_named_and_does_not_count_as_present() {
        let ledger = ledger(&[(1, Acknowledged)]);
        let damaged = Copies { whole: BTreeMap::new(), damaged: BTreeSet::from([1]) };
        let balance = ledger.balance([&copies(&[(1, 1)]), &damaged]);
        assert_eq!((balance.damaged, balance.lost), (vec![1], vec![1]));
    }
}
