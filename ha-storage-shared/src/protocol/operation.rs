//! One call (a linear read, or a compare-and-swap) as a state machine.
//!
//! The caller's contract:
//! 1. Begin with [`Operation::begin`], perform the [`Step`] it gives, and report each with [`Operation::written`] or
//!    [`Operation::read`], until there is a [`Step::Answer`].
//! 2. A write is reported when both copies are durable; what is read is read after that.
//! 3. An operation may be abandoned between two steps. After a step that failed, [`Own`] must be made anew from the disk.

use super::{Block, Proposal, ProposalId};
use ha_core::NodeId;
use ha_core::api::OwnerRecord;

/// A node's own side of a group: what its slot holds, and what it knows by now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Own {
    /// Which node this is.
    pub node: NodeId,
    /// What its slot holds.
    pub written: Block,
    /// What it knows: `written`, or newer by what it read.
    pub block: Block,
}

impl Own {
    /// From what the node's own slot held when it was opened.
    #[must_use]
    pub const fn recovered(node: NodeId, block: Block) -> Self {
        Self { node, written: block, block }
    }
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Request {
    /// The newest record.
    Read,
    /// To replace the record of `revision`.
    Swap {
        /// What must still be the newest one.
        revision: u64,
        /// By what, and whose call this is.
        proposal: Proposal,
    },
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Answer {
    /// The read, or a swap that was lost: this revision stands.
    Stands {
        /// Its number.
        revision: u64,
        /// Its record.
        record: Option<OwnerRecord>,
    },
    /// The proposal became this revision.
    Done {
        /// Its number.
        revision: u64,
    },
    /// It cannot be said, or not be done.
    Faulty(Fault),
}

/// Why there is no other answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fault {
    /// Others went on so far that nothing tells any more whether the proposal was chosen.
    Overtaken,
    /// The proposal's epoch is below that of the record it would replace.
    EpochFalls,
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Step {
    /// Write this block to the own slot.
    Write(Block),
    /// Read the other's slot.
    Read,
    /// Contention: wait a random while that grows with the number, then call [`Operation::retry`].
    Pause(u32),
    /// It ended.
    Answer(Answer),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Phase {
    Look,
    Prepare,
    Accept,
    Commit,
}

/// One call under way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Operation {
    request: Request,
    phase: Phase,
    other: Block,
    attempts: u32,
    /// Whether the own proposal was ever written as accepted: only then may it have been chosen.
    exposed: bool,
}

impl Operation {
    /// Begins; the first step is always to read.
    #[must_use]
    pub fn begin(request: Request) -> (Self, Step) {
        let other = Block::default();
        (Self { request, phase: Phase::Look, other, attempts: 0, exposed: false }, Step::Read)
    }

    /// The block that was asked for is durable.
    pub fn written(&mut self, own: &mut Own) -> Step {
        match self.phase {
            Phase::Look | Phase::Prepare | Phase::Accept => Step::Read,
            Phase::Commit => self.conclude(own),
        }
    }

    /// The other node's block was read.
    pub fn read(&mut self, own: &mut Own, other: &Block) -> Step {
        self.other = *other;
        if other.revision > own.block.revision {
            own.block = own.block.learned(other);
            return self.look(own);
        }
        match self.phase {
            Phase::Look => self.look(own),
            Phase::Prepare | Phase::Accept if self.rival(own).ballot > own.block.ballot => {
                self.attempts += 1;
                Step::Pause(self.attempts)
            }
            Phase::Prepare => self.accept(own),
            Phase::Accept => self.commit(own),
            Phase::Commit => self.conclude(own),
        }
    }

    /// The pause is over.
    pub fn retry(&mut self, own: &mut Own) -> Step {
        self.prepare(own)
    }

    /// The other's side of the instance at hand; nothing if it is not that far.
    fn rival(&self, own: &Own) -> Block {
        if self.other.revision == own.block.revision { self.other } else { Block::default() }
    }

    /// The proposal of the highest ballot that either accepted: it may have been chosen already.
    fn pending(&self, own: &Own) -> Option<Proposal> {
        let rival = self.rival(own);
        if rival.accepted > own.block.accepted { rival.input } else { own.block.input }
    }

    /// Decides on what is known, with the other's block just read: every answer but that after a commit is given here,
    /// and only while nothing is accepted for the next revision.
    fn look(&mut self, own: &mut Own) -> Step {
        self.phase = Phase::Look;
        if self.pending(own).is_some() {
            return self.prepare(own);
        }
        match self.request {
            Request::Swap { revision, proposal } if revision == own.block.revision => {
                if own.block.record.is_some_and(|record| record.epoch > proposal.record.epoch) {
                    return Step::Answer(Answer::Faulty(Fault::EpochFalls));
                }
                self.prepare(own)
            }
            Request::Read | Request::Swap { .. } => self.conclude(own),
        }
    }

    /// Phase 1: a ballot above all that were seen.
    fn prepare(&mut self, own: &mut Own) -> Step {
        self.phase = Phase::Prepare;
        own.block.ballot = own.block.ballot.max(self.rival(own).ballot).above(own.node);
        write(own)
    }

    /// Phase 2: what may have been chosen, else the own proposal.
    fn accept(&mut self, own: &mut Own) -> Step {
        let proposal = match (self.pending(own), self.request) {
            (Some(pending), _) => pending,
            (None, Request::Swap { revision, proposal }) if revision == own.block.revision => proposal,
            (None, _) => return self.look(own),
        };
        self.exposed |= self.own_id() == Some(proposal.id);
        self.phase = Phase::Accept;
        own.block.accepted = own.block.ballot;
        own.block.input = Some(proposal);
        write(own)
    }

    /// Nobody began a higher ballot before the block was written: it is chosen.
    fn commit(&mut self, own: &mut Own) -> Step {
        let Some(proposal) = own.block.input else { return self.look(own) };
        self.phase = Phase::Commit;
        own.block = own.block.committed(&proposal);
        write(own)
    }

    fn conclude(&self, own: &Own) -> Step {
        let block = &own.block;
        if let Request::Swap { revision, proposal } = self.request
            && block.revision > revision
            && self.exposed
        {
            match block.chosen_at(revision + 1) {
                Some(id) if id == proposal.id => {
                    return Step::Answer(Answer::Done { revision: revision + 1 });
                }
                Some(_) => {}
                None => return Step::Answer(Answer::Faulty(Fault::Overtaken)),
            }
        }
        Step::Answer(Answer::Stands { revision: block.revision, record: block.record })
    }

    const fn own_id(&self) -> Option<ProposalId> {
        match self.request {
            Request::Swap { proposal, .. } => Some(proposal.id),
            Request::Read => None,
        }
    }
}

/// Gives the block out to be written, under the next number of the slot.
fn write(own: &mut Own) -> Step {
    own.block.sequence = own.written.sequence.saturating_add(1);
    own.written = own.block;
    Step::Write(own.block)
}
