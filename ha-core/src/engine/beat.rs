//! What two engines tell each other.

use crate::{
    BootId, Epoch, Generation, GroupId, Incarnation, InitId, Instant, Lsn, Nonce, PolicyFlags, PolicyScope,
    SetRecord, StoreId,
};
use serde::{Deserialize, Serialize};

/// One beat on one link. Authenticity and freshness are the wire's business; the engine sees only fresh ones.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Beat {
    /// The sender's life.
    pub incarnation: Incarnation,
    /// The receiver's life as the sender knows it on this link. A beat for nobody or for an older life is a
    /// greeting: it shows who asks, and counts as no evidence.
    pub to: Option<Incarnation>,
    /// The sender's number of this beat on this link.
    pub seq: u32,
    /// The newest of the receiver's numbers that the sender heard on this link.
    pub echo: Option<u32>,
    /// What is said. A narrow link carries a few statements at a time.
    pub statements: Vec<Statement>,
}

/// One thing said in a beat. Every statement is repeated until it has no more use, so each may be lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Statement {
    /// Who the sender is beyond its incarnation.
    Identity {
        /// The kernel's boot.
        boot: BootId,
        /// Whether nothing of an earlier life is left.
        predecessor: Predecessor,
    },
    /// The sender's store, and the store of the receiver that it remembers.
    Stores {
        /// The sender's own store.
        mine: StoreId,
        /// Whether the sender remembers the receiver's store as it last heard it (`None`: not heard yet).
        knows_yours: Option<bool>,
    },
    /// The explicit initialisation of the sender's store.
    Init {
        /// The common value.
        init: Option<InitId>,
    },
    /// The fencing order's inputs (rule 11).
    Weights {
        /// The sum of weights of the sender's active groups.
        mine: u16,
        /// What the sender last heard of the receiver's.
        yours: Option<u16>,
    },
    /// What the sender sees and suffers.
    Health {
        /// How many outside targets it reaches.
        outside: u8,
        /// The longest gap of its control thread in the last second, in milliseconds.
        stall_ms: u16,
    },
    /// The sender's safety values; takeover is blocked only where the joint inequality fails.
    Safety {
        /// The latest link deadline, in milliseconds.
        dead_ms: u16,
        /// The fencing slot, in milliseconds.
        slot_ms: u16,
        /// The guardian's feed limit, in milliseconds.
        feed_ms: u16,
    },
    /// The sender's lease, with an arbiter: what a taker must wait for, and what the sender waits for as one.
    Lease {
        /// The shortest wait that outlasts the sender as an owner, in milliseconds.
        outlasted_ms: u32,
        /// How long the sender waits as a taker, in milliseconds.
        waits_ms: u32,
        /// Whether its permission ends with its lease.
        is_bound: bool,
        /// Whether a watchdog stands behind it.
        has_watchdog: bool,
    },
    /// What the sender is in a group.
    Claim {
        /// The group.
        group: GroupId,
        /// The newest grant of the sender itself.
        epoch: Epoch,
        /// What it is.
        state: ClaimState,
        /// Its durable in-sync set.
        set: SetRecord,
        /// The last transaction that is durable in its copy.
        lsn: Lsn,
        /// The highest epoch its record knows of; never below `epoch`.
        highest: Epoch,
    },
    /// Consent to leave the in-sync set? (rule 2)
    Ask {
        /// The mirrored group.
        group: GroupId,
        /// The asker's grant.
        epoch: Epoch,
        /// The generation to leave.
        generation: Generation,
        /// Ties the answer to this question.
        nonce: Nonce,
    },
    /// The consent: durably out of the in-sync set.
    Consent {
        /// The mirrored group.
        group: GroupId,
        /// The asker's grant.
        epoch: Epoch,
        /// The generation left.
        generation: Generation,
        /// The question's.
        nonce: Nonce,
    },
    /// The owner durably counts on the receiver again, and waits for its acknowledgements.
    Admit {
        /// The mirrored group.
        group: GroupId,
        /// The owner's grant.
        epoch: Epoch,
        /// The generation entered.
        generation: Generation,
    },
    /// Am I still the owner of this epoch? (rule 5)
    Confirm {
        /// The group.
        group: GroupId,
        /// The asker's grant.
        epoch: Epoch,
        /// Ties the answer to this question.
        nonce: Nonce,
    },
    /// Unchanged: the sender took over nothing and will not by any proof from before this answer.
    Confirmed {
        /// The group.
        group: GroupId,
        /// The asker's grant.
        epoch: Epoch,
        /// The question's.
        nonce: Nonce,
    },
    /// A switchover is coming: write your intent.
    Prepare {
        /// The group.
        group: GroupId,
        /// The owner's grant that will be released.
        epoch: Epoch,
    },
    /// The intent is durable; release.
    Ready {
        /// The group.
        group: GroupId,
        /// The owner's grant that will be released.
        epoch: Epoch,
    },
    /// The sender gave the group up, completely.
    Released {
        /// The group.
        group: GroupId,
        /// The epoch given up.
        epoch: Epoch,
        /// The last transaction acknowledged by both; absent for a group without data.
        final_lsn: Option<Lsn>,
        /// Whether the sender durably consented to its exclusion with it (a handover, rule 10).
        excluded: bool,
        /// Whether the sender leaves in good order: it could have run the group on.
        leaving: bool,
    },
    /// May I be granted this epoch? (boot table, rule 7)
    Want {
        /// The group.
        group: GroupId,
        /// The epoch that would be granted.
        epoch: Epoch,
        /// Ties the answer to this question.
        nonce: Nonce,
    },
    /// The sender durably promised not to act on any earlier proof.
    Yielded {
        /// The group.
        group: GroupId,
        /// The epoch made way for.
        epoch: Epoch,
        /// The question's.
        nonce: Nonce,
    },
    /// The newest operator's word about standby and maintenance that the sender knows. Said once one was given.
    Policy {
        /// About what.
        scope: PolicyScope,
        /// The word.
        flags: PolicyFlags,
    },
    /// The sender's group is active: others may start after it. Said where the configuration has such an order.
    Serves {
        /// The group.
        group: GroupId,
        /// The sender's grant.
        epoch: Epoch,
    },
    /// The arbiter does not renew my lease: will you not judge it for a while? (rule 13)
    Extend {
        /// The group.
        group: GroupId,
        /// The owner's grant.
        epoch: Epoch,
        /// Ties the answer to this question.
        nonce: Nonce,
    },
    /// The sender durably promised not to judge the lease before a whole takeover wait after the question, not even
    /// after a reboot of its own.
    Promised {
        /// The group.
        group: GroupId,
        /// The owner's grant.
        epoch: Epoch,
        /// The question's.
        nonce: Nonce,
    },
    /// My services of this grant run on without my engine, or did until now: will you take nothing that my restart
    /// produces for their end?
    Spare {
        /// The group.
        group: GroupId,
        /// The grant.
        epoch: Epoch,
        /// Ties the answer to this question.
        nonce: Nonce,
    },
    /// The sender durably promised that, and took nothing over.
    Spares {
        /// The group.
        group: GroupId,
        /// The grant.
        epoch: Epoch,
        /// The question's; zero if the receiver's present life asked none.
        nonce: Nonce,
    },
    /// Nothing of that grant runs without an engine any more.
    Unspare {
        /// The group.
        group: GroupId,
        /// The grant.
        epoch: Epoch,
    },
    /// The sender's incarnation leaves in good order: it owns nothing and will never promote a copy.
    Departing,
}

/// Whether anything of a node's earlier life can still act.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Predecessor {
    /// Verified that nothing is left: the kernel rebooted, or every undo was verified.
    Gone,
    /// Something may be left. Proves nothing.
    Leftovers,
}

/// What a node is in a group, as it tells the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ClaimState {
    /// Booted and undecided.
    Waiting,
    /// Standing by; `viable` if it is current, willing and not in failure memory.
    Standby {
        /// Whether it can take over at once.
        viable: bool,
    },
    /// Using a proof: granted or about to be.
    Claiming,
    /// Owner: starting, active, suspended or stopping.
    Owner,
    /// Blocked on a question to the operator.
    Blocked,
}

/// A guardian's authenticated last word for its dead or orphaned child.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ReleasedNotice {
    /// The life that ended.
    pub incarnation: Incarnation,
    /// The groups it owned whose every undo was verified, with their epochs.
    pub groups: Vec<(GroupId, Epoch)>,
    /// Whether every undo of the whole incarnation was verified. If not, nothing is proven for other groups.
    pub complete: bool,
}

/// When a beat that was echoed had been sent: the sender's memory of its own numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SentBeat {
    /// The number.
    pub seq: u32,
    /// The instant of sending.
    pub at: Instant,
}
