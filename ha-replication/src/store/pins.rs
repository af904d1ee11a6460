//! Second names that preserve the tree's state at a checkpoint, and what recovery makes of them.
//!
//! State at checkpoint C = for every path that an operation after C touches: absent, if the first operation
//! that touches it says so; otherwise its oldest pin; otherwise the file is still in its place. Appends change
//! a file in its place: its length at C is the offset of the first append.

use super::layout::{Places, make_if_missing, remove_if_there, remove_tree};
use crate::ops::{Op, RelPath};
use crate::record::{Body, Record};
use ha_core::Lsn;
use ha_core::store::medium::{Medium, Open};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::PathBuf;

/// The name of a path's pin.
pub(super) fn name(path: &RelPath) -> String {
    hash(path).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The same as bytes.
pub(super) fn hash(path: &RelPath) -> [u8; 16] {
    let mut out = [0; 16];
    blake3::Hasher::new().update(path.as_str().as_bytes()).finalize_xof().fill(&mut out);
    out
}

/// The inverse of what [`name`] prints.
pub(super) fn hash_of(name: &str) -> Option<[u8; 16]> {
    Some(u128::from_str_radix(name, 16).ok()?.to_be_bytes()).filter(|_| name.len() == 32)
}

/// The paths whose present content an operation takes away from its name, and whether each is known to have none.
pub(super) fn taken(op: &Op) -> [Option<(&RelPath, bool)>; 2] {
    match op {
        Op::Put { path, target, .. } | Op::Append { path, target, offset: 0, .. } => {
            [Some((path, target.was_absent)), None]
        }
        Op::Remove { path } => [Some((path, false)), None],
        Op::Append { .. } => [None, None],
        Op::Rename { from, to, target } => [Some((from, false)), Some((to, target.was_absent))],
    }
}

/// The pin directories from `checkpoint` on, oldest first.
pub(super) fn directories(medium: &dyn Medium, places: &Places) -> io::Result<Vec<(Lsn, PathBuf)>> {
    let number = |name: &str| u64::from_str_radix(name, 16).ok();
    let entries = medium.list(&places.pins)?;
    let mut all: Vec<_> = entries
        .iter()
        .filter_map(|entry| Some((Lsn(number(entry.name.to_str()?)?), places.pins.join(&entry.name))))
        .collect();
    all.sort();
    Ok(all)
}

/// Removes the pins of checkpoints before `needed`.
pub(super) fn trim(medium: &dyn Medium, places: &Places, needed: Lsn) -> io::Result<()> {
    let old = directories(medium, places)?.into_iter().filter(|(lsn, _)| *lsn < needed);
    old.map(|(_, dir)| dir).try_for_each(|dir| remove_tree(medium, &dir))
}

/// What the records after the checkpoint say of the state at the checkpoint.
#[derive(Default)]
struct Touched {
    /// Whether it was absent.
    paths: BTreeMap<RelPath, bool>,
    /// Lengths of files that were appended to.
    lengths: HashMap<RelPath, u64>,
}

/// Which file of the checkpoint a path stands for at some point of the history; `None`: a newer one.
type Origin = HashMap<RelPath, Option<RelPath>>;

fn origin_of(origin: &Origin, path: &RelPath) -> Option<RelPath> {
    origin.get(path).cloned().unwrap_or_else(|| Some(path.clone()))
}

fn follow(origin: &mut Origin, op: &Op) {
    match op {
        Op::Put { path, .. } | Op::Remove { path } | Op::Append { path, offset: 0, .. } => {
            origin.insert(path.clone(), None);
        }
        Op::Append { .. } => {}
        Op::Rename { from, to, .. } => {
            let file = origin_of(origin, from);
            origin.insert(from.clone(), None);
            origin.insert(to.clone(), file);
        }
    }
}

fn touched(records: &[Record]) -> Touched {
    let mut all = Touched::default();
    let mut origin = Origin::new();
    let mut aborted = HashSet::new();
    let mut before: Vec<(Lsn, Vec<Op>)> = Vec::new();
    for record in records {
        match record.body() {
            Ok(Body::Tx(ops)) => {
                ops.iter().for_each(|op| touch(&mut all, &mut origin, op));
                before.push((record.head.lsn, ops));
            }
            Ok(Body::Abort { target }) => {
                // From here on the sequencer saw the tree without it.
                aborted.insert(target);
                origin.clear();
                let counting = before.iter().filter(|(lsn, _)| !aborted.contains(lsn));
                counting.flat_map(|(_, ops)| ops).for_each(|op| follow(&mut origin, op));
            }
            _ => {}
        }
    }
    all
}

fn touch(all: &mut Touched, origin: &mut Origin, op: &Op) {
    let absent = match op {
        Op::Put { target, .. } | Op::Append { target, .. } | Op::Rename { target, .. } => target.was_absent,
        Op::Remove { .. } => false,
    };
    if let Op::Rename { from, .. } = op {
        all.paths.entry(from.clone()).or_insert(false);
    }
    all.paths.entry(op.path().clone()).or_insert(absent);
    if let Op::Append { path, offset: offset @ 1.., .. } = op
        && let Some(file) = origin_of(origin, path)
    {
        all.lengths.entry(file).or_insert(*offset);
    }
    follow(origin, op);
}

/// Brings every path that `records` (all after `checkpoint`) touch back to its state at the checkpoint, and
/// leaves only that checkpoint's pins. Returns the paths that have one, or were absent.
pub(super) fn restore(
    medium: &dyn Medium,
    places: &Places,
    checkpoint: Lsn,
    records: &[Record],
    mut ensure_parent: impl FnMut(&RelPath) -> io::Result<()>,
) -> io::Result<HashSet<RelPath>> {
    let own = places.pins_of(checkpoint);
    make_if_missing(medium, &own)?;
    let later: Vec<_> =
        directories(medium, places)?.into_iter().filter(|(lsn, _)| *lsn >= checkpoint).collect();
    let touched = touched(records);
    let mut seen = HashSet::new();
    for (path, absent) in &touched.paths {
        let file = places.file(path);
        if *absent {
            match medium.remove(&file) {
                Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    return Err(e);
                }
                _ => {}
            }
            seen.insert(path.clone());
            continue;
        }
        let name = name(path);
        for (lsn, dir) in &later {
            let pin = dir.join(&name);
            if medium.metadata(&pin)?.is_none() {
                continue;
            }
            if *lsn > checkpoint {
                medium.link(&pin, &own.join(&name))?;
            }
            ensure_parent(path)?;
            let tmp = places.tmp.join("restored");
            remove_if_there(medium, &tmp)?;
            medium.link(&pin, &tmp)?;
            medium.rename(&tmp, &file)?;
            // A rename between two names of one file does nothing.
            remove_if_there(medium, &tmp)?;
            seen.insert(path.clone());
            break;
        }
    }
    for (path, len) in &touched.lengths {
        if touched.paths.get(path).is_some_and(|absent| !absent) {
            match medium.open(&places.file(path), Open::Existing) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                opened => {
                    let file = opened?;
                    if file.len()? > *len {
                        file.set_len(*len)?;
                    }
                }
            }
        }
    }
    // The pins that came from later directories must be durable before those go.
    medium.sync_dir(&own, "tree.pins")?;
    medium.sync_dir(&places.pins, "tree.pins")?;
    for (_, dir) in directories(medium, places)?.into_iter().filter(|(lsn, _)| *lsn != checkpoint) {
        remove_tree(medium, &dir)?;
    }
    Ok(seen)
}
