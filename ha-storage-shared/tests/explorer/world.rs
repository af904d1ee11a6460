//! Disk, nodes, and what may happen next.

use ha_core::api::OwnerRecord;
use ha_core::{Epoch, Incarnation, InitId, NodeId};
use ha_storage_shared::protocol::{
    Answer, Block, COPIES, Operation, Own, Proposal, ProposalId, Request, Step, newest, order, settled,
};

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Calls of each node; one that dies with its node counts.
    pub calls: [u8; 2],
    /// Deaths of nodes, and calls given up.
    pub crashes: u8,
    /// Whether node 1 only reads.
    pub observer: bool,
    /// Ballots of one call.
    pub attempts: u32,
    /// From one of how many states it is tried whether a node alone comes to an end.
    pub progress: u8,
}

/// What is left out, to see that it is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    None,
    NoSecondReading,
    NoFirstWrite,
    ForgetsItsSlot,
    CopiesTogether,
    FixedOrder,
    OneReading,
    ReadsLeaveThingsOpen,
}

/// Where a node is between two steps.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[allow(clippy::large_enum_variant, reason = "states are copied, not kept")]
enum Doing {
    Down,
    Idle,
    /// Writing the copy whose turn it is; `torn` while its sector is neither old nor new.
    Write {
        block: Block,
        turn: usize,
        torn: bool,
    },
    /// Reading; with the reading before, if it had a torn copy.
    Read {
        before: Option<[Option<Block>; COPIES]>,
    },
    /// One copy of the other's slot was read.
    ReadHalf {
        before: Option<[Option<Block>; COPIES]>,
        copy: usize,
        found: Option<Block>,
    },
    Pause,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Node {
    id: NodeId,
    doing: Doing,
    own: Own,
    order: [usize; COPIES],
    call: Option<(Request, Operation)>,
    calls: u8,
    proposals: u64,
    attempts: u32,
    observer: bool,
    /// The newest revision that anybody was told of when the call began.
    floor: u64,
    /// How many calls had been given up by then.
    open: usize,
    /// What was read last: what a sabotaged node takes for a new reading.
    stale: Block,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct World {
    disk: [[Option<Block>; COPIES]; 2],
    nodes: [Node; 2],
    crashes: u8,
    attempts: u32,
    /// What was chosen, by revision: grows only.
    chosen: Vec<Proposal>,
    /// The newest revision that anybody was told of.
    told: u64,
    /// Calls that were told that they lost.
    lost: Vec<ProposalId>,
    /// Proposals of calls that died or were given up: unknown until somebody reads.
    open: Vec<ProposalId>,
}

pub type Outcome = Result<World, String>;

const INIT: InitId = InitId(1);

fn record(node: NodeId, epoch: u64) -> OwnerRecord {
    let mut record = OwnerRecord::new(INIT, Incarnation(u128::from(node.0) + 1));
    record.epoch = Epoch(epoch);
    record.owner = Some(node);
    record
}

impl World {
    pub fn new(bounds: Bounds) -> Self {
        let node = |id: u8| Node {
            id: NodeId(id),
            doing: Doing::Idle,
            own: Own::recovered(NodeId(id), Block::default()),
            order: [0, 1],
            call: None,
            calls: bounds.calls[usize::from(id)],
            proposals: 0,
            attempts: 0,
            observer: bounds.observer && id == 1,
            floor: 0,
            open: 0,
            stale: Block::default(),
        };
        Self {
            disk: [[Some(Block::default()); COPIES]; 2],
            nodes: [node(0), node(1)],
            crashes: bounds.crashes,
            attempts: bounds.attempts,
            chosen: Vec::new(),
            told: 0,
            lost: Vec::new(),
            open: Vec::new(),
        }
    }

    /// Everything that may happen next.
    pub fn successors(&self, sabotage: Sabotage) -> Vec<Outcome> {
        let mut out = Vec::new();
        for at in 0..2 {
            out.extend(self.deaths(at));
            out.extend(self.steps(at, sabotage));
        }
        out
    }

    fn deaths(&self, at: usize) -> Vec<Outcome> {
        if self.crashes == 0 || matches!(self.nodes[at].doing, Doing::Down) {
            return Vec::new();
        }
        let mut dead = self.given_up(at);
        dead.nodes[at].doing = Doing::Down;
        let mut out = vec![Ok(dead)];
        if self.nodes[at].call.is_some() && matches!(self.nodes[at].doing, Doing::Read { .. } | Doing::Pause)
        {
            out.push(Ok(self.given_up(at)));
        }
        out
    }

    fn given_up(&self, at: usize) -> Self {
        let mut next = self.clone();
        next.crashes -= 1;
        let node = &mut next.nodes[at];
        node.doing = Doing::Idle;
        node.attempts = 0;
        if let Some((Request::Swap { proposal, .. }, _)) = node.call.take() {
            next.open.push(proposal.id);
        }
        next
    }

    fn steps(&self, at: usize, sabotage: Sabotage) -> Vec<Outcome> {
        match self.nodes[at].doing.clone() {
            Doing::Down => vec![Ok(self.restarted(at, sabotage))],
            Doing::Idle => self.begin(at),
            Doing::Write { block, turn, torn } => vec![self.writing(at, block, turn, torn, sabotage)],
            Doing::Read { before } => (0..COPIES).map(|copy| Ok(self.half_read(at, before, copy))).collect(),
            Doing::ReadHalf { before, copy, found } => {
                vec![self.whole_read(at, before, (copy, found), sabotage)]
            }
            Doing::Pause => vec![self.retried(at, sabotage)],
        }
    }

    fn restarted(&self, at: usize, sabotage: Sabotage) -> Self {
        let mut next = self.clone();
        let node = &mut next.nodes[at];
        let Some(mut block) = newest(&self.disk[at]) else { return next };
        if sabotage == Sabotage::ForgetsItsSlot {
            block = Block { sequence: block.sequence, ..Block::default() };
        }
        node.own = Own::recovered(node.id, block);
        node.order = if sabotage == Sabotage::FixedOrder { [0, 1] } else { order(&self.disk[at]) };
        node.doing = Doing::Idle;
        next
    }

    fn begin(&self, at: usize) -> Vec<Outcome> {
        if self.nodes[at].calls == 0 {
            return Vec::new();
        }
        let swaps = if self.nodes[at].observer { &[false][..] } else { &[false, true] };
        swaps.iter().map(|swap| Ok(self.called(at, *swap))).collect()
    }

    fn called(&self, at: usize, swap: bool) -> Self {
        let mut next = self.clone();
        let node = &mut next.nodes[at];
        node.calls -= 1;
        node.floor = self.told;
        node.open = self.open.len();
        node.proposals += 1;
        let known = &node.own.block;
        let epoch = known.record.map_or(0, |record| record.epoch.0) + 1;
        let id = ProposalId { life: u64::from(node.id.0) + 1, number: node.proposals };
        let request = match swap {
            false => Request::Read,
            true => Request::Swap {
                revision: known.revision,
                proposal: Proposal { id, record: record(node.id, epoch) },
            },
        };
        node.call = Some((request, Operation::begin(request).0));
        node.doing = Doing::Read { before: None };
        next
    }

    fn writing(&self, at: usize, block: Block, turn: usize, torn: bool, sabotage: Sabotage) -> Outcome {
        let mut next = self.clone();
        let half = if torn { Some(block) } else { None };
        if sabotage == Sabotage::CopiesTogether {
            next.disk[at] = [half; COPIES];
        } else {
            next.disk[at][self.nodes[at].order[turn]] = half;
        }
        if !torn {
            next.nodes[at].doing = Doing::Write { block, turn, torn: true };
            return Ok(next);
        }
        if turn + 1 < COPIES && sabotage != Sabotage::CopiesTogether {
            next.nodes[at].doing = Doing::Write { block, turn: turn + 1, torn: false };
            return Ok(next);
        }
        next.nodes[at].order = [0, 1];
        next.written(at, sabotage)
    }

    fn written(mut self, at: usize, sabotage: Sabotage) -> Outcome {
        let node = &mut self.nodes[at];
        let Some((_, operation)) = &mut node.call else { return Err("a write without a call".into()) };
        let step = operation.written(&mut node.own);
        self.follow(at, step, sabotage)
    }

    fn half_read(&self, at: usize, before: Option<[Option<Block>; COPIES]>, copy: usize) -> Self {
        let mut next = self.clone();
        next.nodes[at].doing = Doing::ReadHalf { before, copy, found: self.disk[1 - at][copy] };
        next
    }

    fn whole_read(
        &self,
        at: usize,
        before: Option<[Option<Block>; COPIES]>,
        (copy, found): (usize, Option<Block>),
        sabotage: Sabotage,
    ) -> Outcome {
        let mut next = self.clone();
        let mut copies = self.disk[1 - at];
        copies[copy] = found;
        let read = if sabotage == Sabotage::OneReading {
            newest(&copies)
        } else {
            settled(before.as_ref(), &copies)
        };
        let Some(other) = read else {
            next.nodes[at].doing = Doing::Read { before: Some(copies) };
            return Ok(next);
        };
        next.was_read(at, &other, sabotage)
    }

    fn was_read(mut self, at: usize, other: &Block, sabotage: Sabotage) -> Outcome {
        let node = &mut self.nodes[at];
        if sabotage == Sabotage::NoSecondReading {
            node.stale = *other;
        }
        let Some((request, operation)) = &mut node.call else {
            return Err("a reading without a call".into());
        };
        if sabotage == Sabotage::ReadsLeaveThingsOpen && *request == Request::Read {
            let newest = if other.revision > node.own.block.revision { other } else { &node.own.block };
            let answer = Answer::Stands { revision: newest.revision, record: newest.record };
            return self.answered(at, answer).map(|()| self);
        }
        let step = operation.read(&mut node.own, other);
        self.follow(at, step, sabotage)
    }

    fn retried(&self, at: usize, sabotage: Sabotage) -> Outcome {
        let mut next = self.clone();
        let node = &mut next.nodes[at];
        let Some((_, operation)) = &mut node.call else { return Err("a pause without a call".into()) };
        let step = operation.retry(&mut node.own);
        next.follow(at, step, sabotage)
    }

    fn follow(mut self, at: usize, step: Step, sabotage: Sabotage) -> Outcome {
        self.check_knowledge(at)?;
        let node = &mut self.nodes[at];
        match step {
            Step::Write(block) => {
                let first = block.ballot > block.accepted;
                node.doing = Doing::Write { block, turn: 0, torn: false };
                if first && sabotage == Sabotage::NoFirstWrite {
                    return self.written(at, sabotage);
                }
            }
            Step::Read => {
                let second = node.own.written.accepted == node.own.written.ballot;
                if second && node.own.written.input.is_some() && sabotage == Sabotage::NoSecondReading {
                    let stale = node.stale;
                    return self.was_read(at, &stale, sabotage);
                }
                node.doing = Doing::Read { before: None };
            }
            Step::Pause(attempts) => {
                node.attempts = attempts;
                node.doing = Doing::Pause;
            }
            Step::Answer(answer) => self.answered(at, answer)?,
        }
        Ok(self)
    }

    /// What a node knows to be chosen was chosen, in order, once.
    fn check_knowledge(&mut self, at: usize) -> Result<(), String> {
        let block = &self.nodes[at].own.block;
        let (Some(record), Some(id)) = (block.record, block.chosen_at(block.revision)) else {
            return if block.revision == 0 {
                Ok(())
            } else {
                Err(format!("no record at {}", block.revision))
            };
        };
        let known = Proposal { id, record };
        let index = block.revision as usize - 1;
        match self.chosen.get(index) {
            Some(chosen) if *chosen == known => Ok(()),
            Some(chosen) => {
                Err(format!("two values at revision {}: {chosen:?} and {known:?}", block.revision))
            }
            None if index > self.chosen.len() => Err(format!("revision {} without one before", index + 1)),
            None => self.choose(known),
        }
    }

    fn choose(&mut self, proposal: Proposal) -> Result<(), String> {
        if self.lost.contains(&proposal.id) {
            return Err(format!("chosen after it was told to have lost: {proposal:?}"));
        }
        if self.chosen.last().is_some_and(|last| last.record.epoch > proposal.record.epoch) {
            return Err(format!("the epoch falls to {}", proposal.record.epoch));
        }
        self.chosen.push(proposal);
        Ok(())
    }

    fn answered(&mut self, at: usize, answer: Answer) -> Result<(), String> {
        let Some((request, _)) = self.nodes[at].call.take() else {
            return Err("an answer to nothing".into());
        };
        let told = match answer {
            Answer::Done { revision } => self.check_done(&request, revision)?,
            Answer::Stands { revision, record } => {
                let expected = revision.checked_sub(1).and_then(|index| self.chosen.get(index as usize));
                if expected.map(|proposal| proposal.record) != record {
                    return Err(format!("two values: revision {revision} read as {record:?}"));
                }
                self.check_lost(&request)?;
                self.close_open(at);
                revision
            }
            Answer::Faulty(fault) => return Err(format!("answered {fault:?}")),
        };
        let node = &mut self.nodes[at];
        if told < node.floor {
            return Err(format!("not linear: revision {told} after {} was known", node.floor));
        }
        node.doing = Doing::Idle;
        node.attempts = 0;
        self.told = self.told.max(told);
        Ok(())
    }

    fn check_done(&self, request: &Request, revision: u64) -> Result<u64, String> {
        let Request::Swap { revision: before, proposal } = request else {
            return Err("a read was done".into());
        };
        let chosen = self.chosen.get(*before as usize);
        if revision != before + 1 || chosen != Some(proposal) {
            return Err(format!("two values: told done {proposal:?} at {revision}, chosen {chosen:?}"));
        }
        Ok(revision)
    }

    fn check_lost(&mut self, request: &Request) -> Result<(), String> {
        let Request::Swap { proposal, .. } = request else { return Ok(()) };
        if self.chosen.contains(proposal) {
            return Err(format!("told to have lost, but chosen: {proposal:?}"));
        }
        self.lost.push(proposal.id);
        self.lost.sort();
        Ok(())
    }

    /// A reading settles every call that was given up before it began: what was not chosen by now never will be.
    fn close_open(&mut self, at: usize) {
        let settled = self.open.iter().take(self.nodes[at].open);
        let never = settled.filter(|id| !self.chosen.iter().any(|chosen| chosen.id == **id));
        let new: Vec<_> = never.filter(|id| !self.lost.contains(id)).copied().collect();
        self.lost.extend(new);
        self.lost.sort();
    }

    /// Whether two nodes got into each other's way, and whether one of them died.
    pub fn signs(&self, bounds: &Bounds) -> (bool, bool) {
        (self.nodes.iter().any(|node| node.attempts > 0), self.crashes < bounds.crashes)
    }

    /// Whether a state lies beyond what is looked at.
    pub fn beyond(&self) -> bool {
        self.nodes.iter().any(|node| node.attempts >= self.attempts)
    }

    /// From here one node alone, the other frozen as it is, comes to an answer in few steps.
    pub fn check_progress(&self, at: usize, sabotage: Sabotage) -> Result<(), String> {
        let mut world = self.clone();
        world.crashes = 0;
        let wants = world.nodes[at].call.is_none();
        if wants {
            world.nodes[at].calls = 1;
        }
        for _ in 0..60 {
            let node = &world.nodes[at];
            if node.call.is_none() && node.doing == Doing::Idle && (!wants || node.calls == 0) {
                return Ok(());
            }
            world = world.steps(at, sabotage).pop().ok_or("a node with nothing to do")??;
        }
        Err(format!("no progress of node {at} alone: {:?}", world.nodes[at].doing))
    }
}
