//! What the store makes of damage, full disks, failed syncs and interrupted work.

use super::model::{Do, MIRROR, Node, Tree, boot, config, read_tree};
use super::*;
use ha_core::Generation;
use ha_core::engine::AckRule;
use ha_core::store::medium::{Medium, MetadataOrder, Open, RecordingMedium, SyncPick};
use proptest::prelude::*;
use std::path::Path;

fn node() -> Node {
    let mut node = Node::new(RecordingMedium::new());
    let start = node.start(1);
    node.commit(&[start]);
    node
}

fn tx(node: &mut Node, work: &[Do]) -> Record {
    let record = node.tx(work);
    node.commit(std::slice::from_ref(&record));
    record
}

/// Changes one byte of a segment.
fn damage(medium: &RecordingMedium, segment: u64, offset: u64) {
    let path = segment::name(Path::new("gen-1/journal"), segment);
    let file = medium.open(&path, Open::Existing).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, offset).unwrap();
    file.write_at(&[byte[0] ^ 1], offset).unwrap();
}

#[test]
fn a_new_mirror_is_blank_and_is_the_same_when_opened_again() {
    let medium = RecordingMedium::new();
    let parts = boot(&medium).unwrap();
    assert_eq!((parts.recovered.durable, parts.recovered.oldest), (Lsn(0), Lsn(1)));
    assert_eq!(parts.recovered.notes, [RecoveryNote::Made]);
    assert!(matches!(boot(&medium), Err(OpenStoreError::Locked { .. })));
    drop(parts);
    let parts = boot(&medium).unwrap();
    assert_eq!((parts.recovered.durable, parts.recovered.notes), (Lsn(0), vec![]));
}

#[test]
fn a_torn_tail_is_cut() {
    let mut node = node();
    tx(&mut node, &[Do::Put("a", 10)]);
    let torn = node.tx(&[Do::Put("b", 700)]);
    node.parts.journal.append(&[torn]).unwrap();
    let Node { medium, parts, .. } = node;
    drop(parts);
    damage(&medium, 1, 2 * 4096 + 500);
    let parts = boot(&medium).unwrap();
    assert_eq!((parts.recovered.durable, parts.recovered.commit), (Lsn(2), Lsn(2)));
    assert_eq!(parts.recovered.notes, [RecoveryNote::TornTail { after: Lsn(2) }]);
    drop(parts);
    assert_eq!(boot(&medium).unwrap().recovered.notes, [], "it was cleared");
}

#[test]
fn damage_below_the_known_commit_is_corruption_not_a_torn_tail() {
    let mut node = node();
    tx(&mut node, &[Do::Put("a", 10)]);
    tx(&mut node, &[Do::Put("b", 700)]);
    tx(&mut node, &[Do::Put("c", 700)]);
    let Node { medium, parts, .. } = node;
    drop(parts);
    damage(&medium, 1, 4096 + 100);
    for _ in 0..2 {
        let parts = boot(&medium).unwrap();
        assert_eq!((parts.recovered.durable, parts.recovered.floor), (Lsn(1), Lsn(3)));
        assert!(matches!(
            parts.recovered.notes[..],
            [RecoveryNote::Corruption { after: Lsn(1), known: Lsn(3), .. }]
        ));
    }
}

#[test]
fn known_damage_stays_known_when_the_power_is_cut_while_it_is_cleared_away() {
    let mut node = node();
    for name in ["a", "b", "c"] {
        tx(&mut node, &[Do::Put(name, 700)]);
    }
    let Node { medium, parts, .. } = node;
    drop(parts);
    damage(&medium, 1, 4096 + 100);
    medium.sync_everything("test").unwrap();
    let lost = |skip| {
        let medium = RecordingMedium::from_image(&medium.crash_now().images(1, 1).next().unwrap());
        medium.skip_sync(skip);
        medium.record();
        drop(boot(&medium).unwrap());
        let points = medium.crash_points();
        let mut images = points.iter().flat_map(|point| point.images(200, 1));
        images.any(|image| boot(&RecordingMedium::from_image(&image)).unwrap().recovered.floor < Lsn(3))
    };
    assert!(!lost(None));
    assert!(lost(Some(SyncPick::Label("super.floor"))));
}

#[test]
fn the_journal_is_read_back_over_segments_and_what_was_trimmed_is_not_retained() {
    let mut node = node();
    let mut records = Vec::new();
    for _ in 0..12 {
        records.push(tx(&mut node, &[Do::Put("x", 3000)]));
    }
    let reader = node.parts.reader.clone();
    let mut read = Vec::new();
    while read.len() < records.len() {
        read.extend(reader.read(Lsn(read.len() as u64 + 2), Lsn(13), 7000).unwrap());
    }
    assert_eq!(read, records);
    assert_eq!(reader.chain_at(Lsn(5)).unwrap(), Some(records[3].head.chain));
    node.checkpoint();
    assert!(reader.oldest() > Lsn(2) && reader.oldest() <= Lsn(13));
    assert!(reader.read(Lsn(2), Lsn(13), 7000).unwrap().is_empty());
    let oldest = reader.oldest();
    assert_eq!(reader.read(oldest, oldest, 0).unwrap()[0].head.lsn, oldest);
}

#[test]
fn a_copy_that_goes_out_holds_the_journal() {
    let mut node = node();
    tx(&mut node, &[Do::Put("x", 3000)]);
    let at = node.parts.applier.rotate().unwrap();
    let source = node.parts.reader.copy_source(at);
    for _ in 0..12 {
        tx(&mut node, &[Do::Put("x", 3000)]);
    }
    node.checkpoint();
    assert!(node.parts.reader.oldest() <= Lsn(3));
    drop(source);
    tx(&mut node, &[Do::Put("x", 30)]);
    node.checkpoint();
    assert!(node.parts.reader.oldest() > Lsn(3));
}

#[test]
fn alone_every_durable_record_counts_as_acknowledged_and_is_applied() {
    let mut node = Node::new(RecordingMedium::new());
    let start = node.start_by(3, AckRule::Alone(Generation(2)));
    let record = node.tx(&[Do::Put("a", 10)]);
    node.parts.journal.append(&[start, record]).unwrap();
    let Node { medium, parts, tree, .. } = node;
    drop(parts);
    let parts = boot(&medium).unwrap();
    assert_eq!((parts.recovered.acked, parts.recovered.commit), (Lsn(2), Lsn(2)));
    assert_eq!(read_tree(&parts), tree);
    assert_eq!(parts.recovered.keys.len(), 1);
}

#[test]
fn a_full_disk_loses_nothing() {
    let mut node = node();
    node.medium.fill_after(Some(0));
    let mut appended = Vec::new();
    let full = loop {
        let record = node.tx(&[Do::Put("x", 3000)]);
        match node.parts.journal.append(std::slice::from_ref(&record)) {
            Ok(_) => appended.push(record),
            Err(error) => break (error, record),
        }
    };
    assert!(full.0.is_full(), "{}", full.0);
    assert!(appended.len() > 1);
    node.medium.fill_after(None);
    node.commit(&[full.1]);
    assert_eq!(node.parts.reader.read(Lsn(2), node.lsn, usize::MAX).unwrap().len(), appended.len() + 1);
}

#[test]
fn a_failed_sync_is_terminal() {
    let mut node = node();
    node.medium.fail_sync(SyncPick::Label("journal.batch"));
    let record = node.tx(&[Do::Put("x", 10)]);
    node.parts.journal.append(std::slice::from_ref(&record)).unwrap_err();
    assert!(matches!(node.parts.journal.append(&[record]), Err(StoreError::Failed)));
    assert!(matches!(node.parts.applier.rotate(), Err(StoreError::Failed)));
}

#[test]
fn a_received_record_of_another_history_is_refused_and_nothing_is_written() {
    let mut node = node();
    let mut other = Node::new(RecordingMedium::new());
    let start = other.start_by(1, AckRule::Alone(Generation(9)));
    other.commit(&[start]);
    tx(&mut other, &[Do::Put("x", 10)]);
    let received = other.parts.reader.read(Lsn(2), Lsn(2), 1 << 20).unwrap();
    let refused = node.parts.journal.append(&received).unwrap_err();
    assert!(matches!(refused, StoreError::Record(crate::record::RecordError::Chain { .. })), "{refused}");
    tx(&mut node, &[Do::Put("x", 10)]);
}

#[test]
fn nothing_below_the_checkpoint_is_cut() {
    let mut node = node();
    tx(&mut node, &[Do::Put("x", 10)]);
    node.checkpoint();
    assert!(matches!(node.parts.journal.cut(Lsn(1)), Err(StoreError::CutTooDeep { .. })));
    assert_eq!(node.parts.journal.cut(Lsn(2)).unwrap(), None);
}

#[test]
fn what_was_written_ahead_and_cut_off_never_shows() {
    let mut node = node();
    let (lsn, chain, tree) = (node.lsn, node.chain, node.tree.clone());
    let cut_off = node.tx(&[Do::Put("x", 900)]);
    node.parts.applier.stage(&cut_off);
    node.parts.journal.append(&[cut_off]).unwrap();
    node.parts.journal.cut(lsn).unwrap();
    (node.lsn, node.chain, node.tree) = (lsn, chain, tree);
    tx(&mut node, &[Do::Put("x", 10)]);
    assert_eq!(read_tree(&node.parts), node.tree, "shorter, and under the same number");
    let (aborted, without) = (node.tx(&[Do::Put("y", 20)]), node.tree.clone());
    node.parts.applier.stage(&aborted);
    let without: Tree = without.into_iter().filter(|(path, _)| path != "y").collect();
    let abort = node.abort(Lsn(lsn.0 + 2), without);
    node.commit(&[aborted, abort]);
    assert_eq!(read_tree(&node.parts), node.tree);
    let left = node.medium.list(&node.parts.keeper.shared.places.tmp).unwrap();
    assert_eq!(left.len(), 1, "{left:?}: what was cut off, until the next opening");
    let node = node.restart();
    assert!(node.medium.list(&node.parts.keeper.shared.places.tmp).unwrap().is_empty());
}

#[test]
fn superblock_slots_alternate_and_one_of_them_may_be_damaged() {
    let mut node = node();
    for _ in 0..3 {
        tx(&mut node, &[Do::Append("x", 10)]);
        node.checkpoint();
    }
    let Node { medium, parts, tree, .. } = node;
    drop(parts);
    let file = medium.open(Path::new("super"), Open::Existing).unwrap();
    file.write_at(&[255], 13).unwrap();
    let mut parts = boot(&medium).unwrap();
    assert_eq!(parts.recovered.notes, [RecoveryNote::SuperblockSlot { slot: 0 }]);
    // That the newest record was committed stood only in the slot that is lost.
    let pending = parts.recovered.pending.clone();
    assert_eq!(parts.applier.apply(&pending, &|_| false, &mut |_| ()).unwrap(), Lsn(4));
    assert_eq!(read_tree(&parts), tree);
    drop(parts);
    file.write_at(&[255], (1 << 20) + 13).unwrap();
    file.write_at(&[255], 13).unwrap();
    let text = boot(&medium).err().unwrap().to_string();
    assert!(text.contains("slot 0: no valid head, slot 1: no valid head"), "{text}");
}

#[test]
fn the_directory_of_another_mirror_or_node_is_refused() {
    let medium = RecordingMedium::new();
    drop(boot(&medium).unwrap());
    let refusal = |config| open(std::sync::Arc::new(medium.clone()), config).err().unwrap();
    let other = StoreConfig { mirror: MirrorId(1), ..config() };
    assert!(matches!(refusal(other), OpenStoreError::OtherMirror { found: MIRROR, .. }));
    let other = StoreConfig { me: NodeId(1), ..config() };
    assert!(matches!(refusal(other), OpenStoreError::OtherNode { found: NodeId(0), .. }));
}

#[test]
fn a_damaged_piece_of_a_copy_is_refused() {
    let mut node = node();
    tx(&mut node, &[Do::Put("x", 1000)]);
    let at = node.parts.applier.rotate().unwrap();
    let mut source = node.parts.reader.copy_source(at);
    let mut other = Node::new(RecordingMedium::new());
    let begin = CopyBegin { at, epoch: node.epoch, facts: node.facts() };
    let mut target = other.parts.keeper.copy_target(begin).unwrap();
    target.chunk(source.next(600).unwrap().unwrap()).unwrap();
    let mut last = source.next(600).unwrap().unwrap();
    last.data = vec![0; last.data.len()].into();
    assert!(matches!(target.chunk(last), Err(CopyError::Damaged { .. })));
    assert_eq!(read_tree(&other.parts), Tree::new());
}

#[test]
fn equal_trees_have_equal_digests_and_one_byte_changes_them() {
    let mut one = node();
    tx(&mut one, &[Do::Put("a/b", 10), Do::Put("c", 7)]);
    let digest = |node: &Node| node.parts.keeper.digest(Lsn(2)).unwrap();
    let mut two = node();
    tx(&mut two, &[Do::Put("a/b", 10), Do::Put("c", 7)]);
    assert_eq!(digest(&one), digest(&two));
    assert_eq!((digest(&one).files, digest(&one).bytes), (2, 17));
    one.medium.open(Path::new("gen-1/tree/c"), Open::Existing).unwrap().write_at(b"!", 0).unwrap();
    assert_ne!(digest(&one).hash, digest(&two).hash);
}

const NAMES: [&str; 5] = ["a", "b", "d/a", "d/b", "e/f/g"];

/// One random step that the model allows.
fn step(node: &mut Node, (what, from, to, len): (u8, usize, usize, usize)) {
    let (from, to) = (NAMES[from], NAMES[to]);
    let there = node.tree.contains_key(from);
    match what {
        0 => drop(tx(node, &[Do::Put(from, len)])),
        1 | 2 => drop(tx(node, &[Do::Append(from, len)])),
        3 | 4 if there && from != to => drop(tx(node, &[Do::Rename(from, to)])),
        5 if there => drop(tx(node, &[Do::Remove(from)])),
        6 => node.checkpoint(),
        7 => {
            let without = node.tree.clone();
            let target = node.tx(&[Do::Put(from, len), Do::Put(to, len)]);
            let abort = node.abort(target.head.lsn, without);
            node.commit(&[target, abort]);
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn redo_from_any_partial_tree_state_gives_the_same_tree(
        steps in proptest::collection::vec((0..8_u8, 0..5_usize, 0..5_usize, 1..900_usize), 4..24),
        seed in any::<u64>(),
    ) {
        let medium = RecordingMedium::new();
        medium.set_order(MetadataOrder::None);
        let mut node = Node::new(medium.clone());
        let start = node.start(1);
        node.commit(&[start]);
        medium.record();
        for one in steps {
            step(&mut node, one);
        }
        let points = medium.crash_points();
        for point in points.iter().skip(seed as usize % 3).step_by(3) {
            for image in point.images(6, seed) {
                let mut parts = boot(&RecordingMedium::from_image(&image)).unwrap();
                let committed = parts.applier.chain;
                prop_assert_eq!(&read_tree(&parts), &node.states[&committed.0], "{:?} {:?}", point, image);
                let aborted: Vec<_> = parts.recovered.aborted.iter().map(|(target, _)| *target).collect();
                let pending = parts.recovered.pending.clone();
                parts.applier.apply(&pending, &|lsn| aborted.contains(&lsn), &mut |_| ()).unwrap();
                prop_assert_eq!(&read_tree(&parts), &node.states[&parts.recovered.chain.0], "{:?} {:?}", point, image);
            }
        }
    }
}
