//! The state store keeps what it acknowledged, whenever the power is cut; each of its syncs is needed for that.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use ha_core::api::{StateError, StateStore};
use ha_core::store::medium::{CrashPoint, Medium, MetadataOrder, Open, RecordingMedium, SyncPick};
use ha_core::store::{FileStateStore, STATE_FILE, SlotState};
use ha_core::{
    BootId, Detachment, Epoch, Generation, GroupId, GroupRecord, Incarnation, InitId, NodeRecord,
    PolicyFlags, PolicyScope, SetRecord, StoreId,
};
use std::path::Path;
use std::sync::Arc;

const INIT: InitId = InitId(7);
const STORE: StoreId = StoreId(8);
const EVERYTHING: usize = 1 << 12;

/// The record of the `n`-th save; with `groups` = 20 it fills several sectors.
fn record(n: u64, groups: u16) -> NodeRecord {
    let mut record = NodeRecord::blank(STORE, Some(INIT));
    for id in 0..groups {
        let set = SetRecord::Alone { epoch: Epoch(u64::MAX - 1), generation: Generation(u64::MAX - 2) };
        let group = GroupRecord {
            granted: Epoch(n),
            intent: Epoch(n + 1),
            floor: Epoch(u64::MAX),
            witnessed: Epoch(u64::MAX),
            set,
            promised: true,
            awaits_address: true,
            detached: None,
            spares: None,
        };
        record.groups.insert(GroupId(id), group);
    }
    record
}

/// Which save a record is of.
fn number(record: &NodeRecord) -> u64 {
    record.group(GroupId(0)).granted.0
}

/// Initialises, saves, is killed within a save (its sync fails), is started again and saves on. Marks carry
/// the number of the save that the node may already rely on, +1.
fn run(medium: &RecordingMedium, groups: u16) {
    medium.record();
    let shared = || Arc::new(medium.clone());
    let mut store = FileStateStore::initialise(shared(), INIT, STORE).unwrap();
    medium.mark(1);
    for n in 1..=4 {
        store.save(&record(n, groups)).unwrap();
        medium.mark(n + 1);
    }
    medium.fail_sync(SyncPick::Label("state.save"));
    store.save(&record(5, groups)).unwrap_err();
    store.save(&record(6, groups)).unwrap_err();
    drop(store);
    let mut store = FileStateStore::open(shared()).unwrap();
    let loaded = number(&store.load().unwrap());
    assert_eq!(loaded, 5, "the process sees what the page cache holds");
    medium.mark(loaded + 1);
    for n in 6..=7 {
        store.save(&record(n, groups)).unwrap();
        medium.mark(n + 1);
    }
}

/// What the first crash that loses an acknowledged record looks like.
fn first_loss(points: &[CrashPoint], limit: usize) -> Option<String> {
    for point in points {
        for image in point.images(limit, 1) {
            let medium = Arc::new(RecordingMedium::from_image(&image));
            let recovered = FileStateStore::open(medium).and_then(|mut store| store.load());
            let fine = match (&recovered, point.mark()) {
                (Err(StateError::Missing { .. }), mark) => mark == 0,
                (Err(_), _) => false,
                (Ok(record), mark) => number(record) + 1 >= mark,
            };
            if !fine {
                return Some(format!("{point:?}, {image:?}: {recovered:?}"));
            }
        }
    }
    None
}

#[test]
fn every_crash_of_every_prefix_keeps_the_last_acknowledged_record() {
    for order in [MetadataOrder::None, MetadataOrder::WithinDirectory] {
        let medium = RecordingMedium::new();
        medium.set_order(order);
        run(&medium, 1);
        let points = medium.crash_points();
        assert!(points.len() > 30, "only {} crash points", points.len());
        assert!(points.iter().all(|point| point.images(EVERYTHING, 1).len() < EVERYTHING), "not exhaustive");
        assert_eq!(first_loss(&points, EVERYTHING), None);
    }
}

#[test]
fn a_record_of_many_sectors_survives_torn_writes() {
    let medium = RecordingMedium::new();
    run(&medium, 20);
    assert_eq!(first_loss(&medium.crash_points(), 300), None);
}

#[test]
fn without_any_one_of_its_syncs_a_crash_loses_an_acknowledged_record() {
    let medium = RecordingMedium::new();
    run(&medium, 1);
    let labels: Vec<_> = medium.labels_seen().into_keys().collect();
    assert_eq!(
        labels,
        ["state.create", "state.open.name", "state.open.record", "state.publish", "state.save"]
    );
    // The next test shows what state.open.name is for.
    for label in labels.into_iter().filter(|label| *label != "state.open.name") {
        let medium = RecordingMedium::new();
        medium.skip_sync(Some(SyncPick::Label(label)));
        run(&medium, 1);
        assert!(first_loss(&medium.crash_points(), EVERYTHING).is_some(), "{label} is not needed");
    }
}

#[test]
fn a_store_that_was_opened_keeps_its_name_although_its_maker_died_before_syncing_it() {
    let losses = |skip: Option<SyncPick>| {
        let medium = RecordingMedium::new();
        // The maker dies at its last sync: it never happens.
        medium.skip_sync(Some(SyncPick::Label("state.publish")));
        drop(FileStateStore::initialise(Arc::new(medium.clone()), INIT, STORE).unwrap());
        medium.skip_sync(skip);
        medium.record();
        FileStateStore::open(Arc::new(medium.clone())).unwrap();
        medium.mark(1);
        first_loss(&medium.crash_points(), EVERYTHING)
    };
    assert_eq!(losses(None), None);
    assert!(losses(Some(SyncPick::Label("state.open.name"))).is_some());
}

#[test]
fn a_full_disk_does_not_block_a_save() {
    let medium = RecordingMedium::new();
    let mut store = FileStateStore::initialise(Arc::new(medium.clone()), INIT, STORE).unwrap();
    medium.fill_after(Some(0));
    for n in 1..9 {
        store.save(&record(n, 20)).unwrap();
    }
    drop(store);
    let mut store = FileStateStore::open(Arc::new(medium)).unwrap();
    assert_eq!(store.load().unwrap(), record(8, 20));
}

#[test]
fn on_a_full_or_read_only_disk_no_store_is_made_and_the_error_says_so() {
    for full in [Some(0), Some(1000), None] {
        let medium = RecordingMedium::new();
        medium.fill_after(full);
        medium.set_read_only(full.is_none());
        let error = FileStateStore::initialise(Arc::new(medium.clone()), INIT, STORE).unwrap_err();
        let text = error.to_string();
        let expected = if full.is_some() { "no storage space" } else { "read-only" };
        assert!(text.starts_with("state store at memory: ") && text.contains(expected), "{text}");
        medium.fill_after(None);
        medium.set_read_only(false);
        FileStateStore::initialise(Arc::new(medium), INIT, STORE).unwrap();
    }
}

#[test]
fn after_a_failed_save_the_store_refuses_until_it_is_opened_anew() {
    let medium = RecordingMedium::new();
    let mut store = FileStateStore::initialise(Arc::new(medium.clone()), INIT, STORE).unwrap();
    medium.fail_sync(SyncPick::Label("state.save"));
    assert!(store.save(&record(1, 1)).unwrap_err().to_string().contains("input/output error"));
    assert!(store.save(&record(2, 1)).unwrap_err().to_string().contains("an earlier save failed"));
    drop(store);
    FileStateStore::open(Arc::new(medium)).unwrap().save(&record(3, 1)).unwrap();
}

fn damage(medium: &RecordingMedium, offset: u64) {
    let file = medium.open(Path::new(STATE_FILE), Open::Existing).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, offset).unwrap();
    file.write_at(&[byte[0] ^ 1], offset).unwrap();
}

fn saved(n: u64) -> RecordingMedium {
    let medium = RecordingMedium::new();
    let mut store = FileStateStore::initialise(Arc::new(medium.clone()), INIT, STORE).unwrap();
    (1..=n).for_each(|n| store.save(&record(n, 1)).unwrap());
    medium
}

#[test]
fn one_damaged_block_of_the_newest_record_costs_nothing_is_reported_and_mended() {
    let medium = saved(1); // the newest is in slot 1, which begins at 8192
    damage(&medium, 8192 + 40);
    let mut store = FileStateStore::open(Arc::new(medium.clone())).unwrap();
    assert_eq!(store.load().unwrap(), record(1, 1));
    let damaged: Vec<_> =
        store.findings().iter().filter(|f| matches!(f.state, SlotState::Damaged { .. })).collect();
    assert!(matches!(damaged[..], [one] if one.slot == 1 && one.copy == 0), "{damaged:?}");
    drop(store);
    let store = FileStateStore::open(Arc::new(medium)).unwrap();
    assert!(store.findings().iter().all(|f| matches!(f.state, SlotState::Whole { .. })));
}

#[test]
fn with_one_slot_damaged_the_other_is_used_and_with_both_the_error_says_what_was_found() {
    let medium = saved(2);
    damage(&medium, 20);
    damage(&medium, 4096 + 20);
    let mut store = FileStateStore::open(Arc::new(medium.clone())).unwrap();
    assert_eq!(store.load().unwrap(), record(1, 1));
    assert!(matches!(store.findings()[0].state, SlotState::Damaged { .. }));
    drop(store);
    damage(&medium, 8192);
    damage(&medium, 8192 + 4096);
    let text = FileStateStore::open(Arc::new(medium.clone())).unwrap_err().to_string();
    assert!(
        text.contains("slot 0 copy 0: checksum") && text.contains("slot 1 copy 1: starts with \"IA-STATE\""),
        "{text}"
    );
    assert!(text.contains("expected 16384 bytes"), "{text}");
    // It is not mistaken for a missing one either.
    let error = FileStateStore::open_or_blank(Arc::new(medium.clone()), StoreId(1)).unwrap_err();
    assert!(matches!(error, StateError::Corrupt { .. }), "{error}");
    let error = FileStateStore::initialise(Arc::new(medium), INIT, STORE).unwrap_err();
    assert!(matches!(error, StateError::Exists { .. }), "{error}");
}

#[test]
fn a_truncated_file_is_read_as_far_as_it_goes() {
    for len in 0..=16384_u64 {
        if len % 512 > 1 {
            continue;
        }
        let medium = saved(2); // the newest in slot 0, the one before in slot 1
        medium.open(Path::new(STATE_FILE), Open::Existing).unwrap().set_len(len).unwrap();
        match FileStateStore::open(Arc::new(medium)) {
            Ok(mut store) => {
                assert_eq!(store.load().unwrap(), record(2, 1), "cut to {len}");
                store.save(&record(3, 1)).unwrap();
                store.save(&record(4, 1)).unwrap();
            }
            Err(error) => {
                assert!(len < 4096, "cut to {len}: {error}");
                assert!(error.to_string().contains(&format!("{len} bytes")), "{error}");
            }
        }
    }
}

#[test]
fn a_store_of_a_newer_program_is_refused_even_beside_an_old_record() {
    let medium = saved(2);
    let file = medium.open(Path::new(STATE_FILE), Open::Existing).unwrap();
    let mut copy = [0; 512];
    file.read_at(&mut copy, 0).unwrap();
    copy[8] = 3;
    let length = u32::from_le_bytes(copy[12..16].try_into().unwrap()) as usize;
    let sum = crc32c::crc32c_append(crc32c::crc32c(&copy[..28]), &copy[32..32 + length]);
    copy[28..32].copy_from_slice(&sum.to_le_bytes());
    file.write_at(&copy, 0).unwrap();
    let text = FileStateStore::open(Arc::new(medium)).unwrap_err().to_string();
    assert!(text.contains("slot 0 copy 0: a record of format version 3"), "{text}");
}

#[test]
fn a_missing_store_is_missing_or_blank_and_never_initialised_by_itself() {
    let medium = RecordingMedium::new();
    let error = FileStateStore::open(Arc::new(medium.clone())).unwrap_err();
    assert!(matches!(error, StateError::Missing { .. }), "{error}");
    let mut store = FileStateStore::open_or_blank(Arc::new(medium.clone()), STORE).unwrap();
    assert_eq!(store.load().unwrap(), NodeRecord::blank(STORE, None));
    drop(store);
    let mut again = FileStateStore::open_or_blank(Arc::new(medium), StoreId(99)).unwrap();
    assert_eq!(again.load().unwrap().store, STORE, "an existing store keeps its own id");
}

#[test]
fn a_record_that_does_not_fit_is_an_error_not_a_cut_record() {
    let medium = saved(1);
    let mut store = FileStateStore::open(Arc::new(medium)).unwrap();
    let error = store.save(&record(2, 255)).unwrap_err().to_string();
    assert!(error.contains("a record of 255 groups does not fit"), "{error}");
}

/// Saves, is made larger, saves records that the smaller one had no room for, and is opened anew.
fn run_growing(medium: &RecordingMedium) {
    medium.record();
    let mut store = FileStateStore::initialise(Arc::new(medium.clone()), INIT, STORE).unwrap();
    store.save(&record(1, 1)).unwrap();
    store.save(&record(2, 1)).unwrap();
    medium.mark(3);
    store.make_room(100).unwrap();
    for n in 3..=5 {
        store.save(&record(n, 100)).unwrap();
        medium.mark(n + 1);
    }
    drop(store);
    let mut store = FileStateStore::open(Arc::new(medium.clone())).unwrap();
    assert_eq!(store.load().unwrap(), record(5, 100));
    assert!(store.room_for_groups() >= 100);
    store.save(&record(6, 100)).unwrap();
    medium.mark(7);
}

#[test]
fn a_store_that_is_made_larger_keeps_the_last_acknowledged_record_at_every_crash() {
    for order in [MetadataOrder::None, MetadataOrder::WithinDirectory] {
        let medium = RecordingMedium::new();
        medium.set_order(order);
        run_growing(&medium);
        assert_eq!(first_loss(&medium.crash_points(), 200), None);
    }
    for label in ["state.grow", "state.grow.name", "state.save"] {
        let medium = RecordingMedium::new();
        medium.skip_sync(Some(SyncPick::Label(label)));
        run_growing(&medium);
        assert!(first_loss(&medium.crash_points(), 200).is_some(), "{label} is not needed");
    }
}

#[test]
fn a_store_holds_as_many_groups_as_it_was_made_for_with_the_greatest_numbers() {
    let medium = RecordingMedium::new();
    let mut store = FileStateStore::initialise(Arc::new(medium.clone()), INIT, STORE).unwrap();
    assert_eq!(store.room_for_groups(), 63);
    store.save(&record(u64::MAX - 1, 63)).unwrap();
    store.make_room(10_000).unwrap();
    assert!(store.room_for_groups() >= 10_000);
    let mut largest = record(u64::MAX - 1, 10_000);
    let policy = PolicyFlags { stamp: u32::MAX, standby: true, maintenance: true };
    for (id, group) in &mut largest.groups {
        let of = Detachment { epoch: Epoch(u64::MAX), incarnation: Incarnation(1), boot: BootId(2) };
        (group.detached, group.spares) = (Some(of), Some(of));
        largest.policy.set(PolicyScope::Group(*id), policy);
    }
    store.save(&largest).unwrap();
    medium.fill_after(Some(0));
    store.save(&largest).unwrap();
    // Room that is there already is not made again, on a full disk either.
    store.make_room(9_000).unwrap();
    drop(store);
    assert_eq!(FileStateStore::open(Arc::new(medium)).unwrap().load().unwrap(), largest);
}

#[test]
fn a_large_store_that_is_cut_short_is_read_as_far_as_it_goes() {
    let medium = RecordingMedium::new();
    let mut store = FileStateStore::initialise(Arc::new(medium.clone()), INIT, STORE).unwrap();
    store.make_room(100).unwrap();
    store.save(&record(1, 100)).unwrap(); // in slot 1
    store.save(&record(2, 100)).unwrap(); // in slot 0
    drop(store);
    let file = medium.open(Path::new(STATE_FILE), Open::Existing).unwrap();
    let copy = file.len().unwrap() / 4;
    file.set_len(3 * copy + 100).unwrap();
    damage(&medium, 20);
    assert_eq!(FileStateStore::open(Arc::new(medium.clone())).unwrap().load().unwrap(), record(2, 100));
    damage(&medium, 20);
    damage(&medium, copy + 20);
    let error = FileStateStore::open(Arc::new(medium)).map(|mut s| s.load().unwrap());
    assert_eq!(error.unwrap(), record(1, 100), "the slot before it");
}

#[test]
fn a_full_disk_leaves_the_smaller_store_as_it_was() {
    let medium = saved(1);
    let mut store = FileStateStore::open(Arc::new(medium.clone())).unwrap();
    medium.fill_after(Some(1000));
    let text = store.make_room(100).unwrap_err().to_string();
    assert!(text.contains("no storage space"), "{text}");
    drop(store);
    assert_eq!(FileStateStore::open(Arc::new(medium)).unwrap().load().unwrap(), record(1, 1));
}

#[test]
fn a_stalled_disk_delays_the_save_and_nothing_else() {
    let medium = RecordingMedium::new();
    let mut store = FileStateStore::initialise(Arc::new(medium.clone()), INIT, STORE).unwrap();
    let (stalled, is_stalled) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let may_go = std::sync::Mutex::new(may_go);
    medium.set_hook(move |call| {
        if call.label == Some("state.save") {
            stalled.send(()).unwrap();
            may_go.lock().unwrap().recv().unwrap();
        }
    });
    let saving = std::thread::spawn(move || store.save(&record(1, 1)));
    is_stalled.recv().unwrap();
    assert!(medium.metadata(Path::new(STATE_FILE)).unwrap().is_some());
    go.send(()).unwrap();
    saving.join().unwrap().unwrap();
}
