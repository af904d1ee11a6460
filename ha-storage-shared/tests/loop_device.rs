//! The same on real block devices, with small and with large sectors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use ha_core::Epoch;
use ha_core::api::Arbiter;
use ha_storage_shared::layout::Flaw;
use ha_storage_shared::{AcceptStaleReads, DiskArbiter, DiskError, Initialisation};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};
use support::*;
use tempfile::TempDir;

/// Calls that may wait for a device.
const QUEUE: usize = 64;

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A loop device that goes with its value.
struct Loop {
    path: PathBuf,
    _dir: TempDir,
}

impl Loop {
    fn new(sector: u32, more: &[&str]) -> Self {
        Self::of(4 << 20, sector, more)
    }

    fn of(bytes: u64, sector: u32, more: &[&str]) -> Self {
        let dir = directory();
        let backing = dir.path().join("backing");
        std::fs::File::create(&backing).unwrap().set_len(bytes).unwrap();
        let size = sector.to_string();
        let mut arguments = vec!["--find", "--show", "--sector-size", &size];
        arguments.extend(more);
        arguments.push(backing.to_str().unwrap());
        Self { path: run("losetup", &arguments).into(), _dir: dir }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        run("losetup", &["--detach", self.path.to_str().unwrap()]);
    }
}

/// A file system on a loop device, mounted; it goes with its value.
struct Mounted {
    dir: TempDir,
    device: Loop,
}

impl Mounted {
    fn new(options: &str) -> Self {
        let device = Loop::of(32 << 20, 512, &[]);
        let dir = directory();
        run("mkfs.ext4", &["-q", device.path.to_str().unwrap()]);
        run("mount", &["-o", options, device.path.to_str().unwrap(), dir.path().to_str().unwrap()]);
        Self { dir, device }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("arbiter")
    }

    /// From now on every write waits in the kernel, until it is told otherwise, or a test that fails has hung long enough.
    fn freeze(&self) -> Frozen {
        let place = self.dir.path().to_str().unwrap().to_owned();
        run("fsfreeze", &["--freeze", &place]);
        let (over, waiting) = channel();
        let thawing = thread::spawn(move || {
            let _over = waiting.recv_timeout(Duration::from_secs(20));
            run("fsfreeze", &["--unfreeze", &place]);
        });
        Frozen { over, thawing }
    }
}

struct Frozen {
    over: Sender<()>,
    thawing: thread::JoinHandle<()>,
}

impl Frozen {
    fn thaw(self) {
        drop(self.over);
        self.thawing.join().unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let place = self.dir.path().to_str().unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while !Command::new("umount").arg(place).output().unwrap().status.success() {
            assert!(Instant::now() < until, "{place} stays in use");
            thread::yield_now();
        }
    }
}

fn initialise(path: &Path) {
    DiskArbiter::initialise(path, &Initialisation::new(INIT, [GROUP])).unwrap();
}

fn serves(sector: u32) {
    let device = Loop::new(sector, &[]);
    initialise(&device.path);
    let found = DiskArbiter::inspect(&device.path, None).unwrap();
    assert_eq!((found.sector, found.alignment), (sector, sector));
    let last = contend(&device.path, 20);
    let one = open(&device.path, 1);
    let next = last + 1;
    done(wait(one.swap(GROUP, last, record(1, next))).unwrap());
    assert!(wait(one.renew(GROUP, life(1, next), Epoch(next))).unwrap());
    assert!(matches!(
        DiskArbiter::initialise(&device.path, &Initialisation::new(INIT, [GROUP])),
        Err(DiskError::Busy { .. } | DiskError::Occupied { .. })
    ));
}

#[test]
#[ignore = "needs root and a loop device"]
fn a_block_device_with_sectors_of_512_bytes_serves() {
    serves(512);
}

#[test]
#[ignore = "needs root and a loop device"]
fn a_block_device_with_sectors_of_4096_bytes_serves() {
    serves(4096);
}

#[test]
#[ignore = "needs root and a loop device"]
fn a_device_with_larger_sectors_than_it_was_initialised_for_is_refused() {
    let small = Loop::new(512, &[]);
    initialise(&small.path);
    let large = Loop::new(4096, &[]);
    let bytes = std::fs::read(&small.path).unwrap();
    std::fs::write(&large.path, bytes).unwrap();
    let error = builder(&large.path, 0).open().unwrap_err().to_string();
    assert!(error.contains("written for sectors of 512 bytes, not of 4096"), "{error}");
}

#[test]
#[ignore = "needs root and a loop device"]
fn a_device_that_cannot_be_written_is_refused() {
    let device = Loop::new(512, &["--read-only"]);
    let error = DiskArbiter::initialise(&device.path, &Initialisation::new(INIT, [GROUP])).unwrap_err();
    assert!(matches!(error, DiskError::Io { .. }), "{error}");
}

/// Another name of the same device has locks of its own, like another machine.
#[test]
#[ignore = "needs root and a loop device"]
fn two_programs_with_one_node_number_find_each_other_out_on_the_disk() {
    let device = Loop::new(512, &[]);
    initialise(&device.path);
    let dir = directory();
    let alias = dir.path().join("alias");
    let number = run("stat", &["--format=%Hr %Lr", device.path.to_str().unwrap()]);
    let (major, minor) = number.split_once(' ').unwrap();
    run("mknod", &[alias.to_str().unwrap(), "b", major, minor]);
    let (first, second) = (open(&device.path, 0), open(&alias, 0));
    done(wait(first.swap(GROUP, 0, record(0, 1))).unwrap());
    assert_eq!(wait(second.read(GROUP)).unwrap().revision, 1);
    let error = wait(first.renew(GROUP, life(0, 1), Epoch(1))).unwrap_err().to_string();
    assert!(error.contains("somebody else writes as node 0 too"), "{error}");
    done(wait(second.swap(GROUP, 1, record(0, 2))).unwrap());
}

#[test]
#[ignore = "needs root and a loop device"]
fn a_full_file_system_fails_the_initialisation_and_not_later() {
    let dir = directory();
    let place = dir.path().to_str().unwrap().to_owned();
    run("mount", &["-t", "tmpfs", "-o", "size=32k", "none", &place]);
    let wanted = Initialisation::new(INIT, [GROUP]).buffered(AcceptStaleReads);
    let error = DiskArbiter::initialise(dir.path().join("x"), &wanted);
    let after = builder(&dir.path().join("x"), 0).buffered(AcceptStaleReads).open();
    run("umount", &[&place]);
    assert!(matches!(error, Err(DiskError::Io { what: "writing", .. })), "{error:?}");
    // Of all that was written first nothing is looked at: the superblock comes last.
    let place = match after.unwrap_err() {
        DiskError::Foreign { place, flaw: Flaw::Blank, .. } => place,
        other => panic!("{other}"),
    };
    assert_eq!(place, "superblock", "a device that was only half initialised is none");
}

#[test]
#[ignore = "needs root and a loop device"]
fn an_initialisation_that_fails_leaves_nothing_of_the_one_before() {
    let dir = directory();
    let place = dir.path().to_str().unwrap().to_owned();
    run("mount", &["-t", "tmpfs", "-o", "size=100k", "none", &place]);
    let path = dir.path().join("x");
    let first =
        DiskArbiter::initialise(&path, &Initialisation::new(INIT, [GROUP]).buffered(AcceptStaleReads));
    let wanted = Initialisation::new(INIT, ["a", "b", "c", "d"]).overwrite().buffered(AcceptStaleReads);
    let second = DiskArbiter::initialise(&path, &wanted);
    let after = builder(&path, 0).buffered(AcceptStaleReads).open();
    run("umount", &[&place]);
    assert!(
        first.is_ok() && matches!(second, Err(DiskError::Io { what: "writing", .. })),
        "{first:?} {second:?}"
    );
    let after = after.unwrap_err();
    assert!(
        matches!(&after, DiskError::Foreign { place, flaw: Flaw::Blank, .. } if place == "superblock"),
        "{after}"
    );
}

/// A device that hangs in the kernel: every caller is answered, and nobody else becomes this node meanwhile.
#[test]
#[ignore = "needs root and a loop device"]
fn a_device_that_hangs_stops_no_caller() {
    let mounted = Mounted::new("defaults");
    let path = mounted.file();
    initialise(&path);
    let zero = builder(&path, 0).deadline(Duration::from_millis(300)).open().unwrap();
    done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
    let frozen = mounted.freeze();
    let late = |error: String| assert!(error.contains("did not answer within the deadline"), "{error}");
    late(wait(zero.swap(GROUP, 1, record(0, 2))).unwrap_err().to_string());
    let mut waiting = Vec::new();
    for _ in 0..QUEUE + 10 {
        let mut call = zero.read(GROUP);
        match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => waiting.push(call),
            Poll::Ready(answer) => {
                let error = answer.unwrap_err().to_string();
                assert!(error.contains("64 calls wait for the device already"), "{error}");
            }
        }
    }
    assert_eq!(waiting.len(), QUEUE);
    for call in waiting {
        late(wait(call).unwrap_err().to_string());
    }
    drop(zero);
    let busy = builder(&path, 0).open().unwrap_err();
    assert!(matches!(busy, DiskError::Busy { .. }), "its write may still arrive: {busy}");
    frozen.thaw();
    let until = Instant::now() + Duration::from_secs(10);
    let zero = loop {
        match builder(&path, 0).open() {
            Ok(zero) => break zero,
            Err(error) => {
                assert!(matches!(error, DiskError::Busy { .. }) && Instant::now() < until, "{error}")
            }
        }
    };
    let revision = wait(zero.read(GROUP)).unwrap().revision;
    assert_eq!(done(wait(zero.swap(GROUP, revision, record(0, 3))).unwrap()), revision + 1);
}

#[test]
#[ignore = "needs root and a loop device"]
fn a_mounted_device_is_never_initialised() {
    let mounted = Mounted::new("defaults");
    let wanted = Initialisation::new(INIT, [GROUP]).overwrite();
    let error = DiskArbiter::initialise(&mounted.device.path, &wanted).unwrap_err();
    assert!(matches!(error, DiskError::Busy { .. }), "{error}");
}

/// Such a file system takes `O_DIRECT` and writes through its cache all the same.
#[test]
#[ignore = "needs root and a loop device"]
fn a_file_system_whose_direct_io_is_none_is_refused() {
    let mounted = Mounted::new("data=journal");
    let error =
        DiskArbiter::initialise(mounted.file(), &Initialisation::new(INIT, [GROUP])).unwrap_err().to_string();
    assert!(error.contains("reads and writes go through the page cache"), "{error}");
}

#[test]
#[ignore = "needs root and a loop device"]
fn sectors_that_do_not_fit_the_places_are_refused() {
    let large = Loop::new(8192, &[]);
    let wanted = Initialisation::new(INIT, [GROUP]);
    let error = DiskArbiter::initialise(&large.path, &wanted).unwrap_err().to_string();
    assert!(error.contains("more than 4096"), "{error}");
    let usual = Loop::new(4096, &[]);
    let error = DiskArbiter::initialise(&usual.path, &wanted.sector(512)).unwrap_err().to_string();
    assert!(error.contains("at least the device's own 4096"), "{error}");
}

#[test]
#[ignore = "needs root and a loop device"]
fn a_device_that_is_too_small_is_refused_before_anything_is_written() {
    let device = Loop::new(512, &[]);
    let wanted = Initialisation::new(INIT, (0..200).map(|group| group.to_string()));
    let error = DiskArbiter::initialise(&device.path, &wanted).unwrap_err();
    assert!(matches!(error, DiskError::TooSmall { .. }), "{error}");
    assert!(std::fs::read(&device.path).unwrap().iter().all(|byte| *byte == 0));
}

#[test]
#[ignore = "needs root and a loop device"]
fn what_is_mounted_read_only_can_be_inspected() {
    let mounted = Mounted::new("defaults");
    initialise(&mounted.file());
    run("mount", &["-o", "remount,ro", mounted.dir.path().to_str().unwrap()]);
    assert_eq!(DiskArbiter::inspect(mounted.file(), None).unwrap().groups[0].name, GROUP);
    let error = builder(&mounted.file(), 0).open().unwrap_err();
    assert!(matches!(error, DiskError::Io { what: "opening", .. }), "{error}");
}
