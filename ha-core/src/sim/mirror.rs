//! A modelled mirror: one log a node, one stream between them, and the clients' knowledge of what was
//! acknowledged.
//!
//! It keeps the contract that an engine needs of a mirror:
//!
//! 1. an append and an acknowledgement need a token valid at that instant, of the epoch of the promotion;
//! 2. under [`AckRule::Both`] a transaction is acknowledged when it is durable in both copies;
//! 3. under [`AckRule::Alone`] when it is durable here, **except** that from the moment *caught up* may be
//!    reported until *no longer caught up* was taken by the engine, both must hold it;
//! 4. a standby refuses streams and records of an epoch below the highest it knows, its node's own grant
//!    included: the grant is durable before the promotion is asked for;
//! 5. a returning copy gives up its unacknowledged tail into quarantine; a tail that was acknowledged alone is
//!    given up only after the node's record no longer says *alone* (an operator chose).

use super::invariant::Acknowledged;
use crate::Epoch;
use crate::engine::AckRule;
use std::collections::VecDeque;

/// One transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rec {
    /// The grant in which it was appended.
    pub epoch: Epoch,
    /// Its number.
    pub message: u64,
    /// It was acknowledged by this copy alone.
    pub alone: bool,
}

/// One node's copy. Survives the process; what is not durable may be lost with the power.
#[derive(Clone, Debug, Default)]
pub struct Copy {
    /// The transactions.
    pub log: Vec<Rec>,
    /// How many of them are durable.
    pub durable: usize,
    /// The highest epoch it was told.
    pub known: Epoch,
    /// Messages of tails that were given up.
    pub quarantine: Vec<u64>,
    /// An operator gave its own tail up; it goes when the stream connects.
    pub surrendered: bool,
}

impl Copy {
    /// Forgets what is not durable, but for the first `lucky` transactions of it.
    pub fn lose_power(&mut self, lucky: usize) {
        let kept = (self.durable + lucky).min(self.log.len());
        self.log.truncate(kept);
        self.durable = kept;
    }

    /// How many transactions from the start are the same in `other`.
    #[must_use]
    pub fn common(&self, other: &Self) -> usize {
        let same = |(a, b): &(&Rec, &Rec)| (a.epoch, a.message) == (b.epoch, b.message);
        self.log.iter().zip(&other.log).take_while(same).count()
    }

    /// Gives the tail from `from` on up into quarantine and returns it.
    pub fn give_up(&mut self, from: usize) -> Vec<Rec> {
        let tail = self.log.split_off(from.min(self.log.len()));
        self.durable = self.durable.min(self.log.len());
        self.quarantine.extend(tail.iter().map(|r| r.message));
        tail
    }
}

/// A promoted copy's state; ends with its process.
#[derive(Clone, Debug)]
pub struct Primary {
    /// The grant.
    pub epoch: Epoch,
    /// Who must hold a transaction.
    pub rule: AckRule,
    /// The log's length at the promotion: any of it may have been acknowledged before.
    pub promoted: usize,
    /// Everything before this index was acknowledged, or is from before.
    pub acked: usize,
    /// How many transactions the following standby said are durable with it.
    pub peer: usize,
    /// Append times of what is not acknowledged yet (true time).
    pub waiting: VecDeque<u64>,
    /// When it was promoted (true time).
    pub since: u64,
}

impl Primary {
    /// The last transaction that both copies hold; `None` if it acknowledges alone.
    #[must_use]
    pub fn held_by_both(&self, durable: usize) -> Option<usize> {
        match self.rule {
            AckRule::Alone(_) => None,
            AckRule::Both(_) => Some(self.promoted.max(self.peer.min(durable))),
        }
    }
}

/// A live stream from an owner to a standby.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its number.
    pub id: u32,
    /// The sending node.
    pub owner: usize,
    /// The owner's grant.
    pub epoch: Epoch,
    /// The two lives it is bound to.
    pub lives: [u32; 2],
    /// The standby has what was there at the start; appends flow.
    pub streaming: bool,
    /// Equal at the equal transaction was seen in this session.
    pub caught_up: bool,
}

/// The mirror of one group.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    /// The copies.
    pub copies: [Copy; 2],
    /// What clients know to be acknowledged.
    pub acknowledged: Vec<Acknowledged>,
    /// The next message's number.
    pub next_message: u64,
    /// The stream, if one is up.
    pub session: Option<Session>,
    /// How many streams there were.
    pub sessions: u32,
    /// Since when the two cannot talk (true time).
    pub broken_since: Option<u64>,
    /// Both copies went on alone.
    pub diverged: bool,
    /// The epoch that the standby's copy knows, if it refused a stream of a lower one.
    pub overtaken: Option<Epoch>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Generation;

    fn rec(epoch: u64, message: u64) -> Rec {
        Rec { epoch: Epoch(epoch), message, alone: false }
    }

    #[test]
    fn power_loss_keeps_what_is_durable_and_perhaps_more() {
        let mut copy = Copy { log: vec![rec(1, 0), rec(1, 1), rec(1, 2)], durable: 1, ..Copy::default() };
        copy.lose_power(1);
        assert_eq!((copy.log.len(), copy.durable), (2, 2));
        copy.lose_power(9);
        assert_eq!(copy.log.len(), 2);
    }

    #[test]
    fn a_fork_is_found_and_its_tail_goes_to_quarantine() {
        let a = Copy { log: vec![rec(1, 0), rec(2, 1)], durable: 2, ..Copy::default() };
        let mut b = Copy { log: vec![rec(1, 0), rec(1, 1), rec(1, 2)], durable: 3, ..Copy::default() };
        assert_eq!(b.common(&a), 1);
        assert_eq!(b.give_up(1).len(), 2);
        assert_eq!((b.durable, b.quarantine.as_slice()), (1, [1, 2].as_slice()));
    }

    #[test]
    fn a_primary_alone_names_no_common_transaction() {
        let mut p = Primary {
            epoch: Epoch(1),
            rule: AckRule::Both(Generation(1)),
            promoted: 3,
            acked: 3,
            peer: 5,
            waiting: VecDeque::new(),
            since: 0,
        };
        assert_eq!(p.held_by_both(4), Some(4));
        assert_eq!(p.held_by_both(2), Some(3));
        p.rule = AckRule::Alone(Generation(2));
        assert_eq!(p.held_by_both(4), None);
    }
}
