//! Sessions on a real file, with something done between two steps of a call: `wanted` is asked there.

use super::region::{Region, read_region};
use super::{
    AcceptStaleReads, Access, Call, Disk, Initialisation, Reply, Session, Settings, read_superblock,
};
use crate::error::DiskError;
use crate::layout::{PITCH, Place, Stamp, encode_block, encode_liveness, group_place, seal};
use crate::protocol::{Block, Liveness};
use ha_core::api::{Clock, OwnerRecord, Swap};
use ha_core::{Epoch, Incarnation, InitId, Instant, NodeId};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const INIT: InitId = InitId(7);
const LIFE: Incarnation = Incarnation(70);
/// Far more than a call has steps.
const STEPS: u32 = 20;

struct Still;

impl Clock for Still {
    fn now(&self) -> Instant {
        Instant::from_nanos(1_000_000_000)
    }
}

fn record(epoch: u64, node: u8) -> OwnerRecord {
    let mut record = OwnerRecord::new(INIT, LIFE);
    (record.epoch, record.owner) = (Epoch(epoch), Some(NodeId(node)));
    record
}

/// A device in a file. Direct I/O is not the point here, and not everywhere where unit tests run.
struct Device(TempDir);

impl Device {
    fn new() -> Self {
        let device = Self(TempDir::new().unwrap());
        Initialisation::new(INIT, ["g"]).buffered(AcceptStaleReads).run(&device.path()).unwrap();
        device
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("arbiter")
    }

    fn open(&self) -> Disk {
        Disk::open(&self.path(), Access::Write, Some(AcceptStaleReads)).unwrap()
    }

    fn stamp(&self) -> Stamp {
        read_superblock(&mut self.open()).unwrap().stamp
    }

    /// The program `life` as `node`.
    fn user(&self, node: u8, life: u64) -> User {
        let settings = Settings {
            stamp: self.stamp(),
            node: NodeId(node),
            life,
            lease: Duration::from_secs(8),
            clock: Arc::new(Still),
        };
        User { session: Session::new(settings, 0), disk: self.open() }
    }

    fn region(&self) -> Region {
        read_region(&mut self.open(), &self.stamp(), 0).unwrap()
    }

    fn block(&self, node: usize) -> Block {
        self.region().blocks[node][0].unwrap()
    }

    /// Puts both copies of node 0's block as they would be written.
    fn put_block(&self, block: &Block) {
        for copy in 0..2 {
            self.put(Place::Block { group: 0, node: 0, copy }, &encode_block(block));
        }
    }

    fn put_liveness(&self, liveness: &Liveness) {
        self.put(Place::Liveness { group: 0, node: 0 }, &encode_liveness(liveness));
    }

    fn put(&self, place: Place, body: &[u8]) {
        self.open().write(group_place(place), &seal(&self.stamp(), place, body)).unwrap();
    }
}

struct User {
    session: Session,
    disk: Disk,
}

impl User {
    fn ask(&mut self, call: Call) -> Result<Reply, DiskError> {
        self.session.call(&mut self.disk, call, &|| true)
    }

    fn swap(&mut self, revision: u64, record: OwnerRecord) -> Result<Reply, DiskError> {
        self.ask(Call::Swap(revision, record))
    }

    fn revision(&mut self) -> u64 {
        match self.ask(Call::Read) {
            Ok(Reply::View(view)) => view.revision,
            other => panic!("{other:?}"),
        }
    }

    /// A call that is given up after so many steps.
    fn given_up(&mut self, call: Call, steps: u32) -> Result<Reply, DiskError> {
        let left = Cell::new(steps);
        let wanted = || left.replace(left.get().saturating_sub(1)) > 0;
        self.session.call(&mut self.disk, call, &wanted)
    }
}

fn is_done(reply: &Result<Reply, DiskError>) -> bool {
    matches!(reply, Ok(Reply::Swap(Swap::Done { .. })))
}

/// Without reading its slot anew it would use a ballot twice, or propose something else under one it accepted.
#[test]
fn after_a_call_that_was_given_up_the_slot_is_continued_as_it_is_on_the_disk() {
    let mut ends = 0;
    for steps in 0..STEPS {
        let device = Device::new();
        let mut zero = device.user(0, 1);
        let first = zero.given_up(Call::Swap(0, record(1, 0)), steps);
        let left = device.block(0);
        if is_done(&first) {
            ends += 1;
            continue;
        }
        assert!(matches!(first, Err(DiskError::Late)), "after {steps} steps: {first:?}");
        // The next call writes once: read, write, read are its steps.
        let _ended = zero.given_up(Call::Swap(0, record(2, 0)), 2);
        let next = device.block(0);
        assert!(next.sequence > left.sequence && next.ballot > left.ballot, "{left:?} {next:?}");
        assert_eq!(next.input, left.input, "what was accepted stays accepted");
        let _ended = zero.swap(0, record(2, 0));
        let expected = left.input.map_or(record(2, 0), |input| input.record);
        assert_eq!(device.block(0).record, Some(expected), "after {steps} steps");
    }
    assert!(ends > 0 && ends < STEPS, "some were given up, and some were not: {ends}");
}

#[test]
fn a_device_that_forgot_is_found_out_also_after_a_call_that_was_given_up() {
    let device = Device::new();
    let mut zero = device.user(0, 1);
    assert!(is_done(&zero.swap(0, record(1, 0))));
    let old = device.block(0);
    assert!(is_done(&zero.swap(1, record(2, 0))));
    assert!(zero.given_up(Call::Read, 0).is_err());
    device.put_block(&old);
    let error = zero.ask(Call::Read).unwrap_err();
    assert!(matches!(error, DiskError::Forgot { .. }), "{error}");
}

#[test]
fn a_device_that_forgot_is_found_out_by_a_life_that_has_written_nothing_yet() {
    let device = Device::new();
    let mut before = device.user(0, 1);
    assert!(is_done(&before.swap(0, record(1, 0))));
    let old = device.block(0);
    assert!(is_done(&before.swap(1, record(2, 0))));
    let mut zero = device.user(0, 2);
    assert_eq!(zero.revision(), 2);
    device.put_block(&old);
    let error = zero.ask(Call::Read).unwrap_err();
    assert!(matches!(error, DiskError::Forgot { .. }), "{error}");
}

#[test]
fn another_program_with_the_node_s_number_is_found_out_also_after_a_call_that_was_given_up() {
    let device = Device::new();
    let (mut first, mut second) = (device.user(0, 1), device.user(0, 2));
    assert!(is_done(&first.swap(0, record(1, 0))));
    assert!(first.given_up(Call::Read, 0).is_err());
    assert_eq!(second.revision(), 1);
    let error = first.ask(Call::Read).unwrap_err();
    assert!(matches!(error, DiskError::NodeTwice { found: 2, .. }), "{error}");
}

/// The first one's renewal covered the other's claim, before it could see it.
#[test]
fn another_program_with_the_node_s_number_is_found_out_by_what_it_wrote() {
    let device = Device::new();
    let (mut first, mut second) = (device.user(0, 1), device.user(0, 2));
    assert!(is_done(&first.swap(0, record(1, 0))));
    let claim = device.region().liveness[0].unwrap();
    assert!(is_done(&second.swap(1, record(2, 0))));
    device.put_liveness(&claim);
    let error = first.ask(Call::Read).unwrap_err();
    assert!(matches!(error, DiskError::NodeTwice { .. }), "{error}");
}

/// What is answered must still be true when the renewal is on the disk: nobody may take the group between the two.
#[test]
fn a_renewal_is_on_the_disk_before_it_is_asked_who_owns_the_group() {
    let device = Device::new();
    let (mut zero, other) = (device.user(0, 1), RefCell::new(device.user(1, 9)));
    assert!(is_done(&zero.swap(0, record(1, 0))));
    assert!(matches!(zero.ask(Call::Renew(LIFE, Epoch(1))), Ok(Reply::Renewed(true))));
    let before = device.region().liveness[0].unwrap().renewals;
    let looks = Cell::new(0);
    let wanted = || {
        looks.set(looks.get() + 1);
        assert_eq!(device.region().liveness[0].unwrap().renewals, before + 1);
        if looks.get() == 1 {
            assert!(is_done(&other.borrow_mut().swap(1, record(2, 1))));
        }
        true
    };
    let renewed = zero.session.call(&mut zero.disk, Call::Renew(LIFE, Epoch(1)), &wanted);
    assert!(matches!(renewed, Ok(Reply::Renewed(false))), "{renewed:?}");
    assert!(looks.get() > 0);
}

/// The only whole copy is never the one that is written first: somebody who watches both would see it.
#[test]
fn a_torn_copy_is_mended_before_the_whole_one_is_touched() {
    let device = Device::new();
    assert!(is_done(&device.user(0, 1).swap(0, record(1, 0))));
    for round in 0..30 {
        let torn = round % 2;
        let place = Place::Block { group: 0, node: 0, copy: torn as u8 };
        device.open().write(group_place(place), &[1; PITCH]).unwrap();
        let (mut disk, stamp) = (device.open(), device.stamp());
        let mut look = move || {
            let copies = read_region(&mut disk, &stamp, 0).unwrap().blocks[0];
            (copies[torn], copies[1 - torn])
        };
        let (nothing, whole) = look();
        assert!(nothing.is_none() && whole.is_some());
        let (started, watching) = channel();
        let watch = thread::spawn(move || {
            loop {
                started.send(()).unwrap_or_default();
                match look() {
                    (Some(_), _) => return true,
                    // It may have been mended before the whole one was written, and after it was itself read.
                    (None, now) if now != whole => return look().0.is_some(),
                    (None, _) => {}
                }
            }
        });
        watching.recv().unwrap();
        let mut zero = device.user(0, 2 + round as u64);
        let revision = zero.revision();
        assert!(is_done(&zero.swap(revision, record(revision + 1, 0))));
        assert!(watch.join().unwrap(), "the whole copy was written while the other one was torn");
    }
}
