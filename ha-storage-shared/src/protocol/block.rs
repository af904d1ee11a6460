//! What a node says of one group: the block of the paper, and the committed record below it.

use ha_core::{NodeId, api::OwnerRecord};

/// Of how many revisions, counted back from the committed one, a block remembers whose proposal was chosen.
pub const HISTORY: usize = 4;

/// The number of an attempt. Zero is none; two nodes never use the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ballot(pub u64);

impl Ballot {
    /// The lowest ballot of `node` above this one.
    #[must_use]
    pub const fn above(self, node: NodeId) -> Self {
        Self((self.0 / 2).saturating_add(1).saturating_mul(2).saturating_add((node.0 & 1) as u64))
    }
}

/// Names one call of swap, by whichever node it is completed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ProposalId {
    /// The life that asked; random.
    pub life: u64,
    /// Its how many-th proposal, from one; zero is none.
    pub number: u64,
}

/// A record that somebody wants to be the next one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Proposal {
    /// Whose call it is.
    pub id: ProposalId,
    /// The record.
    pub record: OwnerRecord,
}

/// A node's block. `ballot`, `accepted` and `input` are the paper's *mbal*, *bal* and *inp* of the instance that chooses
/// the revision after [`revision`](Self::revision).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Block {
    /// Counts the writes of this slot.
    pub sequence: u64,
    /// The newest revision that this node knew to be chosen; zero: none yet.
    pub revision: u64,
    /// The record of that revision.
    pub record: Option<OwnerRecord>,
    /// Whose proposals were chosen: the newest first.
    pub chosen: [ProposalId; HISTORY],
    /// The highest ballot begun (*mbal*).
    pub ballot: Ballot,
    /// The ballot in which `input` was accepted (*bal*).
    pub accepted: Ballot,
    /// What was accepted (*inp*).
    pub input: Option<Proposal>,
}

impl Block {
    /// Whose proposal became `revision`, if the block still remembers it.
    #[must_use]
    pub fn chosen_at(&self, revision: u64) -> Option<ProposalId> {
        let back = usize::try_from(self.revision.checked_sub(revision)?).ok()?;
        self.chosen.get(back).copied().filter(|id| id.number > 0)
    }

    /// The block after `proposal` was chosen for the next revision.
    pub(super) fn committed(&self, proposal: &Proposal) -> Self {
        let mut chosen = [proposal.id; HISTORY];
        for (to, from) in chosen.iter_mut().skip(1).zip(self.chosen) {
            *to = from;
        }
        Self {
            sequence: self.sequence,
            revision: self.revision.saturating_add(1),
            record: Some(proposal.record),
            chosen,
            ..Self::default()
        }
    }

    /// The block after `other` was found to know more.
    pub(super) fn learned(&self, other: &Self) -> Self {
        Self {
            sequence: self.sequence,
            revision: other.revision,
            record: other.record,
            chosen: other.chosen,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballots_grow_and_are_never_shared() {
        let mut seen = Vec::new();
        for from in 0..20 {
            for node in [NodeId(0), NodeId(1)] {
                let next = Ballot(from).above(node);
                assert!(next > Ballot(from));
                assert_eq!(next.0 % 2, u64::from(node.0));
                seen.push(next);
            }
        }
        assert!(Ballot(5).above(NodeId(0)) != Ballot(5).above(NodeId(1)));
    }

    #[test]
    fn a_block_remembers_whose_proposals_were_chosen() {
        let record = OwnerRecord::new(ha_core::InitId(1), ha_core::Incarnation(1));
        let mut block = Block::default();
        for number in 1..=6 {
            block = block.committed(&Proposal { id: ProposalId { life: 9, number }, record });
        }
        assert_eq!(block.chosen_at(6).unwrap().number, 6);
        assert_eq!(block.chosen_at(3).unwrap().number, 3);
        assert_eq!(block.chosen_at(2), None, "forgotten");
        assert_eq!(block.chosen_at(7), None, "not yet");
        assert_eq!(Block::default().chosen_at(0), None);
    }
}
