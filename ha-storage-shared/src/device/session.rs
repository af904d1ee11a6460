//! One node's use of one group: runs the protocol's steps on the device.

use super::Disk;
use super::region::{Region, damaged, read_region};
use crate::error::DiskError;
use crate::layout::{Place, Stamp, encode_block, encode_liveness, group_place, seal};
use crate::protocol::{
    Answer, Base, Block, COPIES, Fault, Liveness, Operation, Own, Proposal, ProposalId, Request, Step,
    lease_of, newest, order, settled,
};
use ha_core::api::{ArbiterView, Clock, Lease, OwnerRecord, Swap};
use ha_core::{Epoch, Incarnation, NodeId};
use std::sync::Arc;
use std::time::Duration;

/// Readings of a slot that changes under the reader, before it counts as damaged.
const READINGS_MAX: u32 = 64;
/// The longest pause after contention is this, doubled with each attempt up to six times.
const PAUSE: Duration = Duration::from_millis(1);

/// What is asked of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    Read,
    Swap(u64, OwnerRecord),
    Renew(Incarnation, Epoch),
    Release(Incarnation),
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    View(ArbiterView),
    Swap(Swap),
    Renewed(bool),
    Released,
}

/// What is the same for all groups of a device.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) stamp: Stamp,
    pub(crate) node: NodeId,
    pub(crate) life: u64,
    pub(crate) lease: Duration,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A group in use.
pub(crate) struct Session {
    settings: Settings,
    group: u16,
    /// Nothing before the slot was read, and after a step that failed.
    own: Option<Own>,
    order: [usize; COPIES],
    /// What both copies of the own slot must hold.
    copies: [Option<Block>; COPIES],
    /// The newest write of this life that was confirmed.
    confirmed: u64,
    liveness: Liveness,
    /// Whether this life has written its own record.
    claimed: bool,
    /// The liveness records as read last.
    seen: [Result<Liveness, u32>; 2],
    base: Base,
    proposals: u64,
    /// Found once, true for ever.
    refused: Option<Refusal>,
}

#[derive(Clone, Copy)]
enum Refusal {
    Twice { found: u64 },
    Forgot { written: u64, found: u64 },
}

impl Session {
    pub(crate) fn new(settings: Settings, group: u16) -> Self {
        let liveness = Liveness::blank(settings.life);
        Self {
            settings,
            group,
            own: None,
            order: [0, 1],
            copies: [None; COPIES],
            confirmed: 0,
            liveness,
            claimed: false,
            seen: [Err(0); 2],
            base: Base::default(),
            proposals: 0,
            refused: None,
        }
    }

    /// One call. `wanted` tells whether anybody still waits for it; it is asked between any two steps.
    pub(crate) fn call(
        &mut self,
        disk: &mut Disk,
        call: Call,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Reply, DiskError> {
        if let Some(refusal) = self.refused {
            return Err(self.refusal(disk, refusal));
        }
        let result = self.perform(disk, call, wanted);
        if result.is_err() {
            // What is on the disk is not known any more: read it again before anything is built on it.
            self.own = None;
        }
        result
    }

    fn perform(
        &mut self,
        disk: &mut Disk,
        call: Call,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Reply, DiskError> {
        match call {
            Call::Read => self.look(disk, wanted).map(Reply::View),
            Call::Swap(revision, record) => self.swap(disk, revision, record, wanted).map(Reply::Swap),
            Call::Renew(incarnation, epoch) => {
                self.renew(disk, incarnation, epoch, wanted).map(Reply::Renewed)
            }
            Call::Release(incarnation) => self.release(disk, incarnation, wanted).map(|()| Reply::Released),
        }
    }

    fn look(&mut self, disk: &mut Disk, wanted: &dyn Fn() -> bool) -> Result<ArbiterView, DiskError> {
        let asked = self.settings.clock.now();
        let answer = self.run(disk, Request::Read, wanted)?;
        self.stands(asked, answer)
    }

    fn stands(&mut self, asked: ha_core::Instant, answer: Answer) -> Result<ArbiterView, DiskError> {
        let (revision, record) = match answer {
            Answer::Stands { revision, record } => (revision, record),
            Answer::Done { revision } => (revision, None),
            Answer::Faulty(Fault::Overtaken) => return Err(DiskError::Overtaken),
            Answer::Faulty(Fault::EpochFalls) => {
                let what = "its epoch is below that of the record it would replace; epochs never fall";
                return Err(DiskError::BadRecord(what.into()));
            }
        };
        self.base.looked(asked, revision, record.as_ref());
        let lease = lease_of(revision, record.as_ref(), &self.seen);
        Ok(ArbiterView::new(record, lease, revision))
    }

    fn swap(
        &mut self,
        disk: &mut Disk,
        revision: u64,
        record: OwnerRecord,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Swap, DiskError> {
        let init = self.settings.stamp.init;
        if record.init != init {
            let what = format!("it is of installation {}, the device belongs to {init}", record.init);
            return Err(DiskError::BadRecord(what));
        }
        let asked = self.settings.clock.now();
        self.proposals += 1;
        let id = ProposalId { life: self.settings.life, number: self.proposals };
        let request = Request::Swap { revision, proposal: Proposal { id, record } };
        match self.run(disk, request, wanted)? {
            Answer::Done { revision } => {
                self.base.swapped(asked, revision, &record);
                Ok(Swap::Done { revision })
            }
            other => self.stands(asked, other).map(Swap::Lost),
        }
    }

    /// Writes first and reads then: what is answered was still true when the renewal was durable.
    fn renew(
        &mut self,
        disk: &mut Disk,
        incarnation: Incarnation,
        epoch: Epoch,
        wanted: &dyn Fn() -> bool,
    ) -> Result<bool, DiskError> {
        let lease = self.settings.lease;
        let mut asked = self.settings.clock.now();
        if !self.base.lives(asked, lease, incarnation, epoch) {
            // Somebody else may have made this life the owner: then the look finds since when.
            self.look(disk, wanted)?;
            asked = self.settings.clock.now();
            if !self.base.lives(asked, lease, incarnation, epoch) {
                return Ok(false);
            }
        }
        self.enter(disk)?;
        // Before the write covers the claim of another program with this node's number.
        let region = read_region(disk, &self.settings.stamp, self.group)?;
        self.check_own(disk, &region)?;
        self.write_liveness(disk, self.liveness.renewed(incarnation, epoch))?;
        let view = self.look(disk, wanted)?;
        let names = view.record.is_some_and(|record| {
            record.owner.is_some() && record.incarnation == incarnation && record.epoch == epoch
        });
        let held = matches!(view.lease, Lease::Held { .. });
        Ok(names && held && self.base.renewed(asked, self.settings.clock.now(), lease))
    }

    fn release(
        &mut self,
        disk: &mut Disk,
        incarnation: Incarnation,
        wanted: &dyn Fn() -> bool,
    ) -> Result<(), DiskError> {
        let view = self.look(disk, wanted)?;
        let held = view.record.filter(|record| record.owner.is_some() && record.incarnation == incarnation);
        if let Some(record) = held {
            self.base.released();
            self.write_liveness(disk, self.liveness.released(&record, view.revision))?;
        }
        Ok(())
    }

    fn run(
        &mut self,
        disk: &mut Disk,
        request: Request,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Answer, DiskError> {
        let mut own = self.enter(disk)?;
        let (mut operation, mut step) = Operation::begin(request);
        loop {
            if !matches!(step, Step::Answer(_)) && !wanted() {
                return Err(DiskError::Late);
            }
            step = match step {
                Step::Read => {
                    let other = self.read_other(disk)?;
                    operation.read(&mut own, &other)
                }
                Step::Write(block) => {
                    self.write_block(disk, &block)?;
                    operation.written(&mut own)
                }
                Step::Pause(attempt) => {
                    pause(attempt);
                    operation.retry(&mut own)
                }
                Step::Answer(answer) => {
                    self.own = Some(own);
                    return Ok(answer);
                }
            };
        }
    }

    /// Reads the own slot if it is not known, and claims it for this life.
    fn enter(&mut self, disk: &mut Disk) -> Result<Own, DiskError> {
        if let Some(own) = self.own {
            return Ok(own);
        }
        let region = read_region(disk, &self.settings.stamp, self.group)?;
        let node = self.settings.node;
        let copies = *own_of(&region.blocks, node);
        let Some(block) = newest(&copies) else { return Err(damaged(disk, self.group, node.0)) };
        if block.sequence < self.confirmed {
            let refusal = Refusal::Forgot { written: self.confirmed, found: block.sequence };
            return Err(self.refuse(disk, refusal));
        }
        self.copies = copies;
        self.order = order(&copies);
        let found = own_of(&region.liveness, node);
        let claim = self.claim(disk, *found)?;
        self.write_liveness(disk, claim)?;
        let own = Own::recovered(node, block);
        self.own = Some(own);
        Ok(own)
    }

    /// The lease of the life before is left as it is: only who writes here is said anew.
    fn claim(&mut self, disk: &Disk, found: Result<Liveness, u32>) -> Result<Liveness, DiskError> {
        let life = self.settings.life;
        match found {
            Ok(found) if self.claimed && found.life != life => {
                Err(self.refuse(disk, Refusal::Twice { found: found.life }))
            }
            Ok(found) => Ok(Liveness { life, ..found }),
            Err(_) => Ok(self.liveness),
        }
    }

    fn read_other(&mut self, disk: &mut Disk) -> Result<Block, DiskError> {
        let other = NodeId(1 - (self.settings.node.0 & 1));
        let mut before = None;
        for _ in 0..READINGS_MAX {
            let region = read_region(disk, &self.settings.stamp, self.group)?;
            self.check_own(disk, &region)?;
            self.seen = region.liveness;
            let copies = own_of(&region.blocks, other);
            match settled(before.as_ref(), copies) {
                Some(block) => return Ok(block),
                None => before = Some(*copies),
            }
        }
        Err(damaged(disk, self.group, other.0))
    }

    /// Nobody else writes the own slot, and the disk forgets nothing.
    fn check_own(&mut self, disk: &Disk, region: &Region) -> Result<(), DiskError> {
        let node = self.settings.node;
        if let Ok(found) = own_of(&region.liveness, node)
            && found.life != self.settings.life
        {
            return Err(self.refuse(disk, Refusal::Twice { found: found.life }));
        }
        let pairs = own_of(&region.blocks, node).iter().zip(self.copies);
        let differs = pairs.into_iter().find_map(|(found, expected)| match (found, expected) {
            (Some(found), Some(expected)) if *found != expected => Some((*found, expected)),
            _ => None,
        });
        match differs {
            Some((found, expected)) if found.sequence < expected.sequence => {
                Err(self.refuse(disk, Refusal::Forgot { written: expected.sequence, found: found.sequence }))
            }
            Some(_) => Err(self.refuse(disk, Refusal::Twice { found: 0 })),
            None => Ok(()),
        }
    }

    fn write_block(&mut self, disk: &mut Disk, block: &Block) -> Result<(), DiskError> {
        let body = encode_block(block);
        for copy in self.order {
            let place = Place::Block { group: self.group, node: self.settings.node.0, copy: copy as u8 };
            disk.write(group_place(place), &seal(&self.settings.stamp, place, &body))?;
            if let Some(slot) = self.copies.get_mut(copy) {
                *slot = Some(*block);
            }
        }
        self.order = [0, 1];
        self.confirmed = block.sequence;
        Ok(())
    }

    fn write_liveness(&mut self, disk: &mut Disk, liveness: Liveness) -> Result<(), DiskError> {
        let place = Place::Liveness { group: self.group, node: self.settings.node.0 };
        disk.write(group_place(place), &seal(&self.settings.stamp, place, &encode_liveness(&liveness)))?;
        self.liveness = liveness;
        self.claimed = true;
        Ok(())
    }

    fn refuse(&mut self, disk: &Disk, refusal: Refusal) -> DiskError {
        self.refused = Some(refusal);
        self.refusal(disk, refusal)
    }

    fn refusal(&self, disk: &Disk, refusal: Refusal) -> DiskError {
        let path = disk.path().to_owned();
        let node = self.settings.node.0;
        match refusal {
            Refusal::Twice { found } => DiskError::NodeTwice { path, node, found, own: self.settings.life },
            Refusal::Forgot { written, found } => DiskError::Forgot { path, node, written, found },
        }
    }
}

/// What belongs to `node` of what there is for each.
fn own_of<T>(both: &[T; 2], node: NodeId) -> &T {
    let [zero, one] = both;
    if node.0 == 0 { zero } else { one }
}

/// Waits a random while, so that two nodes do not start again together.
fn pause(attempt: u32) {
    let share = getrandom::u32().unwrap_or(u32::MAX / 2);
    let longest = PAUSE * (1 << attempt.min(6));
    std::thread::sleep(longest.mul_f64(f64::from(share) / f64::from(u32::MAX)));
}
