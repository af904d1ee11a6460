//! The same on real block devices, with small and with large sectors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use ha_core::Epoch;
use ha_core::api::Arbiter;
use ha_storage_shared::{AcceptStaleReads, DiskArbiter, DiskError, Initialisation};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::*;
use tempfile::TempDir;

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
        let dir = directory();
        let backing = dir.path().join("backing");
        std::fs::File::create(&backing).unwrap().set_len(4 << 20).unwrap();
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
    assert!(after.is_err(), "a device that was only half initialised is none");
}
