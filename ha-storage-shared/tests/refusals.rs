//! Wrong, foreign, damaged and deceitful devices, on real files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use ha_core::api::{Arbiter, ArbiterError, Lease};
use ha_core::{Epoch, InitId, NodeId};
use ha_storage_shared::layout::{Flaw, GROUPS_MAX, PITCH, REGION_PLACES};
use ha_storage_shared::{AcceptStaleReads, DiskArbiter, DiskError, Initialisation};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use support::*;

/// Where place `index` of group 0 begins: 1 and 2 are node 0's block, 3 and 4 node 1's, 5 and 6 the liveness records.
const fn place(index: usize) -> u64 {
    ((REGION_PLACES + index) * PITCH) as u64
}

fn edit(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

fn sector(path: &Path, at: u64) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    edit(path).read_exact_at(&mut bytes, at).unwrap();
    bytes
}

fn put(path: &Path, at: u64, bytes: &[u8]) {
    let file = edit(path);
    file.write_all_at(bytes, at).unwrap();
    file.sync_all().unwrap();
}

fn flip(path: &Path, at: u64) {
    let byte = sector(path, at)[100];
    put(path, at + 100, &[byte ^ 0x40]);
}

fn opening(path: &Path) -> DiskError {
    builder(path, 0).open().unwrap_err()
}

fn wanted() -> Initialisation {
    Initialisation::new(INIT, [GROUP])
}

#[test]
fn a_tmpfs_has_no_direct_io_and_is_refused_unless_the_risk_is_named() {
    let dir = tempfile::TempDir::new_in("/dev/shm").unwrap();
    let path = dir.path().join("arbiter");
    let error = DiskArbiter::initialise(&path, &wanted()).unwrap_err();
    assert!(matches!(error, DiskError::NoDirectIo { .. }), "{error}");
    assert!(error.to_string().contains("use a block device"), "{error}");
    DiskArbiter::initialise(&path, &wanted().overwrite().buffered(AcceptStaleReads)).unwrap();
    assert!(matches!(opening(&path), DiskError::NoDirectIo { .. }));
    let zero = builder(&path, 0).buffered(AcceptStaleReads).open().unwrap();
    assert_eq!(done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap()), 1);
    assert_eq!(DiskArbiter::inspect(&path, Some(AcceptStaleReads)).unwrap().groups[0].revision, 1);
}

#[test]
fn what_is_no_disk_is_refused_by_what_it_is() {
    let dir = directory();
    let message = |error: DiskError| error.to_string();
    assert!(message(opening(dir.path())).contains("a directory"));
    assert!(matches!(
        opening(Path::new("/dev/null")),
        DiskError::NotADisk { .. } | DiskError::NoDirectIo { .. }
    ));
    let buffered = builder(Path::new("/dev/null"), 0).buffered(AcceptStaleReads).open().unwrap_err();
    assert!(matches!(buffered, DiskError::NotADisk { .. }), "{buffered}");
    assert!(message(opening(&dir.path().join("missing"))).contains("opening failed"));
    let short = dir.path().join("short");
    fs::write(&short, b"").unwrap();
    assert!(matches!(opening(&short), DiskError::TooSmall { bytes: 0, .. }));
    let path = device(&dir);
    edit(&path).set_len(place(2)).unwrap();
    assert!(matches!(opening(&path), DiskError::TooSmall { .. }));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let dir = directory();
    let path = device(&dir);
    let third = DiskArbiter::builder(&path, NodeId(2), INIT).open().unwrap_err();
    assert!(third.to_string().contains("nodes 0 and 1"), "{third}");
    let slow = builder(&path, 0).deadline(std::time::Duration::from_secs(8)).open().unwrap_err();
    assert!(slow.to_string().contains("before the lease ends"), "{slow}");
    let none = builder(&path, 0).deadline(std::time::Duration::ZERO).open().unwrap_err();
    assert!(none.to_string().contains("before the lease ends"), "{none}");
    let numbers: Vec<String> = (0..=GROUPS_MAX).map(|number| number.to_string()).collect();
    let many: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let long = "x".repeat(201);
    for groups in [vec![], vec!["a", "a"], vec![""], vec![&long], many] {
        let error = DiskArbiter::initialise(dir.path().join("x"), &Initialisation::new(INIT, groups));
        assert!(matches!(error, Err(DiskError::BadSetting(_))));
    }
    let odd = DiskArbiter::initialise(dir.path().join("x"), &wanted().sector(1024)).unwrap_err();
    assert!(odd.to_string().contains("512 or 4096"), "{odd}");
}

#[test]
fn blank_foreign_and_newer_devices_are_told_apart() {
    let dir = directory();
    let blank = dir.path().join("blank");
    fs::write(&blank, vec![0; 1 << 20]).unwrap();
    assert!(matches!(opening(&blank), DiskError::Foreign { flaw: Flaw::Blank, .. }));
    let other = dir.path().join("other");
    fs::write(&other, [b"LABELONE".repeat(512), vec![0; 1 << 20]].concat()).unwrap();
    let error = opening(&other).to_string();
    assert!(error.contains("\"LABELONE\"") && error.contains("initialise it first"), "{error}");
    let path = device(&dir);
    let foreign = DiskArbiter::builder(&path, NodeId(0), InitId(9)).open().unwrap_err();
    assert!(matches!(foreign, DiskError::Foreign { flaw: Flaw::Installation { .. }, .. }), "{foreign}");
    for copy in 0..2 {
        let mut newer = sector(&path, copy * PITCH as u64);
        newer[8] = 2;
        let sum = crc32c::crc32c_append(crc32c::crc32c(&newer[..60]), &newer[64..66]);
        newer[60..64].copy_from_slice(&sum.to_le_bytes());
        put(&path, copy * PITCH as u64, &newer);
    }
    let error = opening(&path).to_string();
    assert!(error.contains("version is 2"), "{error}");
}

#[test]
fn one_damaged_superblock_is_survived() {
    let dir = directory();
    let path = device(&dir);
    flip(&path, 0);
    put(&path, 20, &[0xff]);
    assert!(builder(&path, 0).open().is_ok());
}

#[test]
fn initialisation_refuses_a_device_that_holds_anything() {
    let dir = directory();
    let path = device(&dir);
    let error = DiskArbiter::initialise(&path, &wanted()).unwrap_err().to_string();
    assert!(error.contains("an arbiter of installation"), "{error}");
    let late = dir.path().join("late");
    let mut bytes = vec![0; 300 << 10];
    bytes[200_000] = b'!';
    fs::write(&late, bytes).unwrap();
    let error = DiskArbiter::initialise(&late, &wanted()).unwrap_err().to_string();
    assert!(error.contains("at 200000"), "{error}");
    let own_area = dir.path().join("own_area");
    let mut bytes = vec![0; 1 << 20];
    bytes[400_000] = b'!';
    fs::write(&own_area, bytes).unwrap();
    let groups = Initialisation::new(INIT, ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]);
    let error = DiskArbiter::initialise(&own_area, &groups).unwrap_err().to_string();
    assert!(error.contains("at 400000"), "{error}");
    for (length, at) in [(100, 50), (5000, 4500), (1 << 20, 100)] {
        let mut bytes = vec![0; length];
        bytes[at] = b'!';
        fs::write(&late, &bytes).unwrap();
        let error = DiskArbiter::initialise(&late, &wanted()).unwrap_err();
        assert!(matches!(error, DiskError::Occupied { .. }), "{length} {error}");
        assert_eq!(fs::read(&late).unwrap(), bytes, "nothing was touched");
    }
    for node in 0..2 {
        let _user = open(&path, node);
        let error = DiskArbiter::initialise(&path, &wanted().overwrite());
        assert!(matches!(error, Err(DiskError::Busy { .. })), "node {node}");
    }
    let zero = open(&path, 0);
    done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
    drop(zero);
    DiskArbiter::initialise(&path, &wanted().overwrite()).unwrap();
    assert_eq!(wait(open(&path, 0).read(GROUP)).unwrap().revision, 0);
}

#[test]
fn one_copy_that_goes_bad_takes_nothing_back() {
    let dir = directory();
    let path = device(&dir);
    for bad in 1..=2 {
        let (zero, one) = (open(&path, 0), open(&path, 1));
        let before = wait(zero.read(GROUP)).unwrap().revision;
        let revision = done(wait(zero.swap(GROUP, before, record(0, 1))).unwrap());
        flip(&path, place(bad));
        assert_eq!(wait(one.read(GROUP)).unwrap().revision, revision);
        assert_eq!(wait(zero.read(GROUP)).unwrap().revision, revision);
        drop(zero);
        assert_eq!(DiskArbiter::inspect(&path, None).unwrap().groups[0].nodes[0].damaged_copies, 1);
        let zero = open(&path, 0);
        done(wait(zero.swap(GROUP, revision, record(0, 1))).unwrap());
        assert_eq!(DiskArbiter::inspect(&path, None).unwrap().groups[0].nodes[0].damaged_copies, 0);
    }
}

#[test]
fn a_slot_without_a_whole_copy_stops_both_nodes_with_what_to_do() {
    let dir = directory();
    let path = device(&dir);
    let (zero, one) = (open(&path, 0), open(&path, 1));
    done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
    drop(zero);
    flip(&path, place(1));
    put(&path, place(2), &[0; 512]);
    for arbiter in [one, open(&path, 0)] {
        let error = wait(arbiter.read(GROUP)).unwrap_err();
        assert!(
            matches!(&error, ArbiterError::Foreign { found, .. } if found.contains("block of node 0")),
            "{error}"
        );
        assert!(error.to_string().contains("initialise it again"), "{error}");
    }
}

#[test]
fn a_torn_liveness_record_is_a_lease_that_does_not_change() {
    let dir = directory();
    let path = device(&dir);
    let (zero, one) = (open(&path, 0), open(&path, 1));
    done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
    assert!(wait(zero.renew(GROUP, life(0, 1), Epoch(1))).unwrap());
    let before = wait(one.read(GROUP)).unwrap().lease;
    drop(zero);
    flip(&path, place(5));
    let torn = wait(one.read(GROUP)).unwrap().lease;
    assert!(matches!(torn, Lease::Held { .. }) && torn != before);
    assert_eq!(wait(one.read(GROUP)).unwrap().lease, torn);
}

#[test]
fn two_processes_of_one_machine_cannot_be_one_node() {
    let dir = directory();
    let path = device(&dir);
    let zero = open(&path, 0);
    let error = opening(&path);
    assert!(matches!(error, DiskError::Busy { .. }) && error.to_string().contains("node 0"), "{error}");
    let _one = open(&path, 1);
    drop(zero);
    assert!(builder(&path, 0).open().is_ok());
}

/// A child has a copy of every open file until it becomes another program, and with it of the lock.
#[test]
fn a_place_that_was_closed_is_free_at_once_while_children_are_started() {
    let dir = directory();
    let path = device(&dir);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                Command::new("true").status().unwrap();
            }
        });
        let failed = (0..300).find_map(|_| builder(&path, 0).open().err());
        over.store(true, Ordering::SeqCst);
        assert!(failed.is_none(), "{failed:?}");
    });
}

/// Two machines do not see each other's locks: the second one works on a copy of the file, and what it wrote is put where
/// a common device would have it.
#[test]
fn two_machines_with_one_node_number_are_found_out_by_the_life_that_writes() {
    let dir = directory();
    let path = device(&dir);
    let zero = open(&path, 0);
    done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
    let copy = dir.path().join("copy");
    fs::copy(&path, &copy).unwrap();
    wait(open(&copy, 0).read(GROUP)).unwrap();
    put(&path, place(5), &sector(&copy, place(5)));
    for _ in 0..2 {
        let error = wait(zero.renew(GROUP, life(0, 1), Epoch(1))).unwrap_err();
        assert!(matches!(error, ArbiterError::Unusable { .. }), "{error}");
        assert!(error.to_string().contains("somebody else writes as node 0 too"), "{error}");
    }
}

#[test]
fn a_device_that_forgets_a_confirmed_write_is_never_trusted_again() {
    let dir = directory();
    let path = device(&dir);
    let zero = open(&path, 0);
    done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
    let old = [sector(&path, place(1)), sector(&path, place(2))];
    done(wait(zero.swap(GROUP, 1, record(0, 2))).unwrap());
    let new = [sector(&path, place(1)), sector(&path, place(2))];
    for (at, bytes) in (1..).zip(&old) {
        put(&path, place(at), bytes);
    }
    let error = wait(zero.read(GROUP)).unwrap_err().to_string();
    assert!(error.contains("lost a write of node 0"), "{error}");
    for (at, bytes) in (1..).zip(&new) {
        put(&path, place(at), bytes);
    }
    assert!(wait(zero.read(GROUP)).is_err(), "not even if it comes back");
}

#[test]
fn a_device_initialised_again_under_a_running_node_is_noticed() {
    let dir = directory();
    let path = device(&dir);
    let zero = open(&path, 0);
    done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
    let other = directory();
    let again = device(&other);
    put(&path, 0, &fs::read(&again).unwrap());
    let error = wait(zero.read(GROUP)).unwrap_err().to_string();
    assert!(error.contains("initialised again while it was in use"), "{error}");
}

/// A whole sector of something else is never taken for a torn one, though the other copy is good.
#[test]
fn a_whole_sector_in_a_wrong_place_is_an_error_and_not_a_torn_one() {
    let dir = directory();
    let path = device(&dir);
    let (zero, one) = (open(&path, 0), open(&path, 1));
    done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
    done(wait(one.swap(GROUP, 1, record(1, 2))).unwrap());
    for (from, to) in [(3, 1), (2, 1), (4, 2), (6, 5), (0, 2)] {
        let good = sector(&path, place(to));
        put(&path, place(to), &sector(&path, place(from)));
        for node in [&zero, &one] {
            let error = wait(node.read(GROUP)).unwrap_err().to_string();
            assert!(error.contains("it belongs in another place"), "{from} in {to}: {error}");
        }
        put(&path, place(to), &good);
        assert_eq!(wait(one.read(GROUP)).unwrap().revision, 2);
    }
}

/// A short reading must not be filled up with what was read before.
#[test]
fn a_file_that_is_cut_short_under_a_running_node_is_noticed() {
    let dir = directory();
    let path = device(&dir);
    let zero = open(&path, 0);
    done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
    for places in [6, 2, 1] {
        edit(&path).set_len(place(places)).unwrap();
        let error = wait(zero.read(GROUP)).unwrap_err();
        assert!(matches!(error, ArbiterError::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains("reading failed"), "{error}");
    }
}

/// No test can cut the power: this is what the kernel was told.
#[test]
fn the_device_is_open_past_every_cache() {
    let dir = directory();
    let path = device(&dir).canonicalize().unwrap();
    let _zero = open(&path, 0);
    let open_as = fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|entry| {
        let is_it = fs::read_link(entry.path()).is_ok_and(|target| target == path);
        let number = entry.file_name().into_string().unwrap();
        is_it.then(|| fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap())
    });
    let flags = |info: String| {
        let line = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim().to_owned();
        i32::from_str_radix(&line, 8).unwrap()
    };
    let flags: Vec<i32> = open_as.map(flags).collect();
    assert_eq!(flags.len(), 1);
    let wanted = libc::O_DIRECT | libc::O_DSYNC;
    assert_eq!(flags[0] & wanted, wanted, "{:o}", flags[0]);
}

#[test]
fn a_device_for_large_sectors_serves_on_one_with_small_ones() {
    let dir = directory();
    let path = dir.path().join("large");
    DiskArbiter::initialise(&path, &wanted().sector(4096)).unwrap();
    let zero = open(&path, 0);
    done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
    assert_eq!(wait(open(&path, 1).read(GROUP)).unwrap().revision, 1);
    assert_eq!(DiskArbiter::inspect(&path, None).unwrap().sector, 4096);
}
