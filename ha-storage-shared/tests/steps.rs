//! Single calls of the protocol core, step by step, where the order of the two nodes' steps is what matters.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use ha_core::api::OwnerRecord;
use ha_core::{Epoch, Incarnation, InitId, NodeId};
use ha_storage_shared::protocol::{
    Answer, Ballot, Block, Fault, HISTORY, Operation, Own, Proposal, ProposalId, Request, Step,
};

/// Far more than a call takes that nobody disturbs: a reading, and two for each of the three writes.
const STEPS_MAX: u32 = 10;

/// The two slots, and what each node knows.
struct Pair {
    slots: [Block; 2],
    own: [Own; 2],
}

struct Call {
    node: usize,
    operation: Operation,
    step: Step,
}

impl Pair {
    fn new(slots: [Block; 2]) -> Self {
        let own = [(NodeId(0), slots[0]), (NodeId(1), slots[1])];
        Self { slots, own: own.map(|(node, block)| Own::recovered(node, block)) }
    }

    /// Does what the call asks for, whole.
    fn step(&mut self, call: &mut Call) {
        let own = &mut self.own[call.node];
        call.step = match call.step {
            Step::Read => call.operation.read(own, &self.slots[1 - call.node]),
            Step::Write(block) => {
                self.slots[call.node] = block;
                call.operation.written(own)
            }
            Step::Pause(_) => call.operation.retry(own),
            Step::Answer(answer) => Step::Answer(answer),
        };
    }

    fn end(&mut self, mut call: Call) -> Answer {
        for _ in 0..STEPS_MAX {
            if let Step::Answer(answer) = call.step {
                return answer;
            }
            self.step(&mut call);
        }
        panic!("no answer, at last {:?}", call.step);
    }

    /// Steps until the slot of the call's node holds a proposal.
    fn propose(&mut self, call: &mut Call) {
        while self.slots[call.node].input.is_none() {
            assert!(!matches!(call.step, Step::Answer(_)), "{:?}", call.step);
            self.step(call);
        }
    }

    /// `count` readings of `node`, each with a swap after it.
    fn swaps(&mut self, node: usize, count: u64) {
        for number in 1..=count {
            let (operation, step) = Operation::begin(Request::Read);
            let reading = self.end(Call { node, operation, step });
            let Answer::Stands { revision, .. } = reading else { panic!("{reading:?}") };
            let done = Answer::Done { revision: revision + 1 };
            assert_eq!(self.end(swap(node, 9, number, revision)), done);
        }
    }
}

fn swap(node: usize, life: u64, number: u64, revision: u64) -> Call {
    let node_id = NodeId(node as u8);
    let mut record = OwnerRecord::new(InitId(1), Incarnation(u128::from(life)));
    (record.epoch, record.owner) = (Epoch(revision + 1), Some(node_id));
    let proposal = Proposal { id: ProposalId { life, number }, record };
    let (operation, step) = Operation::begin(Request::Swap { revision, proposal });
    Call { node, operation, step }
}

#[test]
fn a_ballot_is_above_every_one_that_was_read() {
    for (own, other) in [(0, 1001), (1000, 1), (0, 0), (2, 1)] {
        let slots = [own, other].map(|ballot| Block { ballot: Ballot(ballot), ..Block::default() });
        let mut pair = Pair::new(slots);
        let mut call = swap(0, 7, 1, 0);
        pair.step(&mut call);
        let Step::Write(block) = call.step else { panic!("{:?}", call.step) };
        assert!(block.ballot > Ballot(own) && block.ballot > Ballot(other), "{block:?}");
        assert_eq!(pair.end(call), Answer::Done { revision: 1 });
    }
}

/// The other node completed the proposal and went on: nothing on the disk tells any more whose the revision was.
#[test]
fn a_swap_that_was_proposed_and_long_overtaken_is_unknown_and_not_lost() {
    for further in 0..=HISTORY as u64 {
        let mut pair = Pair::new([Block::default(); 2]);
        let mut call = swap(0, 7, 1, 0);
        pair.propose(&mut call);
        pair.swaps(1, further);
        let remembered = further < HISTORY as u64;
        let expected =
            if remembered { Answer::Done { revision: 1 } } else { Answer::Faulty(Fault::Overtaken) };
        assert_eq!(pair.end(call), expected, "after {further} more revisions");
    }
}

/// It helped the other's proposal to its end, and never wrote its own: it cannot have been chosen.
#[test]
fn a_swap_that_was_never_proposed_is_lost_however_far_it_is_overtaken() {
    let mut pair = Pair::new([Block::default(); 2]);
    let mut first = swap(0, 7, 1, 0);
    pair.propose(&mut first);
    let mut helping = swap(1, 8, 1, 0);
    pair.propose(&mut helping);
    assert_eq!(pair.end(first), Answer::Done { revision: 1 });
    pair.swaps(0, 2 * HISTORY as u64);
    assert!(matches!(pair.end(helping), Answer::Stands { revision: 9, .. }));
}
