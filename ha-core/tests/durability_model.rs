//! The model file system really does to unsynced data what it promises: a test on a gentle model is blind.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use ha_core::store::medium::{Medium, MetadataOrder, Open, RecordingMedium, SyncPick};
use std::collections::BTreeSet;
use std::path::Path;

/// Every content of `path` that a power cut now may leave; `None` if the name is lost.
fn after_a_crash(medium: &RecordingMedium, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    let images = medium.crash_now().images(1 << 12, 1);
    images.map(|image| RecordingMedium::from_image(&image).read(Path::new(path)).ok()).collect()
}

fn durable_file(
    medium: &RecordingMedium,
    path: &str,
    bytes: &[u8],
) -> Box<dyn ha_core::store::medium::MediumFile> {
    let file = medium.open(Path::new(path), Open::CreateNew).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync_data("test.file").unwrap();
    medium.sync_dir(Path::new(""), "test.root").unwrap();
    file
}

#[test]
fn a_new_unsynced_file_may_be_missing_empty_zeros_or_whole() {
    let medium = RecordingMedium::new();
    let file = medium.open(Path::new("a"), Open::CreateNew).unwrap();
    file.write_at(b"xy", 0).unwrap();
    let expected = [None, Some(vec![]), Some(vec![0, 0]), Some(b"xy".to_vec())];
    assert_eq!(after_a_crash(&medium, "a"), expected.into());
    file.sync_data("test.file").unwrap();
    assert_eq!(after_a_crash(&medium, "a"), [None, Some(b"xy".to_vec())].into());
    medium.sync_dir(Path::new(""), "test.root").unwrap();
    assert_eq!(after_a_crash(&medium, "a"), [Some(b"xy".to_vec())].into());
}

#[test]
fn a_write_over_two_sectors_is_torn_between_them_only() {
    let medium = RecordingMedium::new();
    let file = durable_file(&medium, "a", &[1; 1024]);
    file.write_at(&[2; 1024], 0).unwrap();
    let mixed = |a: u8, b: u8| Some([[a; 512], [b; 512]].concat());
    assert_eq!(after_a_crash(&medium, "a"), [mixed(1, 1), mixed(1, 2), mixed(2, 1), mixed(2, 2)].into());
}

#[test]
fn writes_of_two_files_and_of_one_reach_the_disk_in_any_order() {
    let medium = RecordingMedium::new();
    let (a, b) = (durable_file(&medium, "a", b"1"), durable_file(&medium, "b", b"1"));
    a.write_at(b"2", 0).unwrap();
    b.write_at(b"2", 0).unwrap();
    let images = medium.crash_now().images(1 << 12, 1);
    let read = |image| {
        let medium = RecordingMedium::from_image(&image);
        (medium.read(Path::new("a")).unwrap()[0], medium.read(Path::new("b")).unwrap()[0])
    };
    let seen: BTreeSet<_> = images.map(read).collect();
    assert_eq!(seen, [(b'1', b'1'), (b'1', b'2'), (b'2', b'1'), (b'2', b'2')].into());
}

#[test]
fn a_rename_is_atomic_and_undone_by_a_crash_until_the_directory_is_synced() {
    let medium = RecordingMedium::new();
    drop(durable_file(&medium, "a", b"old"));
    drop(durable_file(&medium, "b", b"new"));
    medium.rename(Path::new("b"), Path::new("a")).unwrap();
    let names = |medium: &RecordingMedium| -> BTreeSet<_> {
        let both = |image| {
            let medium = RecordingMedium::from_image(&image);
            (medium.read(Path::new("a")).ok(), medium.read(Path::new("b")).ok())
        };
        medium.crash_now().images(1 << 12, 1).map(both).collect()
    };
    let (before, after) = ((Some(b"old".to_vec()), Some(b"new".to_vec())), (Some(b"new".to_vec()), None));
    assert_eq!(names(&medium), [before, after.clone()].into());
    medium.sync_dir(Path::new(""), "test.root").unwrap();
    assert_eq!(names(&medium), [after].into());
}

#[test]
fn names_keep_their_order_within_a_directory_only_if_asked_to() {
    let later_without_earlier = |order| {
        let medium = RecordingMedium::new();
        medium.set_order(order);
        for name in ["a", "b"] {
            medium.open(Path::new(name), Open::CreateNew).unwrap();
        }
        medium.crash_now().images(1 << 12, 1).any(|image| {
            let medium = RecordingMedium::from_image(&image);
            medium.read(Path::new("a")).is_err() && medium.read(Path::new("b")).is_ok()
        })
    };
    assert!(later_without_earlier(MetadataOrder::None));
    assert!(!later_without_earlier(MetadataOrder::WithinDirectory));
}

#[test]
fn what_a_failed_sync_dropped_no_later_sync_brings_back_but_a_rewrite_does() {
    let medium = RecordingMedium::new();
    let file = durable_file(&medium, "a", b"1");
    file.write_at(b"2", 0).unwrap();
    medium.fail_sync(SyncPick::Label("test.file"));
    file.sync_data("test.file").unwrap_err();
    assert_eq!(medium.read(Path::new("a")).unwrap(), b"2");
    file.sync_data("test.file").unwrap();
    assert_eq!(after_a_crash(&medium, "a"), [Some(b"1".to_vec()), Some(b"2".to_vec())].into());
    file.write_at(b"2", 0).unwrap();
    file.sync_data("test.file").unwrap();
    assert_eq!(after_a_crash(&medium, "a"), [Some(b"2".to_vec())].into());
}

#[test]
fn a_file_in_a_directory_that_was_never_synced_is_gone_with_it() {
    let medium = RecordingMedium::new();
    medium.create_dir(Path::new("d")).unwrap();
    let file = medium.open(Path::new("d/a"), Open::CreateNew).unwrap();
    file.sync_data("test.file").unwrap();
    medium.sync_dir(Path::new("d"), "test.dir").unwrap();
    assert_eq!(after_a_crash(&medium, "d/a"), [None, Some(vec![])].into());
    medium.sync_dir(Path::new(""), "test.root").unwrap();
    assert_eq!(after_a_crash(&medium, "d/a"), [Some(vec![])].into());
}

#[test]
fn a_full_disk_takes_part_of_a_write_and_still_lets_allocated_bytes_be_overwritten() {
    let medium = RecordingMedium::new();
    let file = medium.open(Path::new("a"), Open::CreateNew).unwrap();
    file.allocate(10).unwrap();
    medium.fill_after(Some(3));
    file.write_at(&[1; 10], 0).unwrap();
    let error = file.write_at(&[2; 10], 10).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 13);
    assert!(medium.open(Path::new("b"), Open::CreateNew).is_err());
}

#[test]
fn with_many_unsynced_writes_the_sample_is_bounded_repeatable_and_holds_the_extremes() {
    let medium = RecordingMedium::new();
    let file = durable_file(&medium, "a", &[0; 8192]);
    file.write_at(&[1; 8192], 0).unwrap();
    file.write_at(&[2; 8192], 0).unwrap();
    let sample = |seed| -> Vec<Vec<u8>> {
        let images = medium.crash_now().images(200, seed);
        assert_eq!(images.len(), 200);
        images.map(|image| RecordingMedium::from_image(&image).read(Path::new("a")).unwrap()).collect()
    };
    let (one, again, other) = (sample(1), sample(1), sample(2));
    assert!(one == again && one != other);
    assert!(one.contains(&vec![0; 8192]) && one.contains(&vec![1; 8192]) && one.contains(&vec![2; 8192]));
}
