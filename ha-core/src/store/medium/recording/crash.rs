//! The states in which a disk may be found after the power was cut.

use super::disk::{Disk, DiskFile, Ino};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Whether names within one directory reach the disk in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MetadataOrder {
    /// Each change is kept or lost by itself: nastier than any journaling file system.
    #[default]
    None,
    /// Within one directory a change is kept only if all before it were, as on ext4 and XFS.
    WithinDirectory,
}

/// A moment at which the power may be cut: after one call of the recorded run.
#[derive(Clone)]
pub struct CrashPoint {
    pub(super) disk: Arc<Disk>,
    pub(super) order: MetadataOrder,
    pub(super) mark: u64,
    pub(super) after: String,
}

impl CrashPoint {
    /// The number of the last [`RecordingMedium::mark`](super::RecordingMedium::mark) before this moment.
    #[must_use]
    pub const fn mark(&self) -> u64 {
        self.mark
    }

    /// The call after which the power is cut.
    #[must_use]
    pub fn after(&self) -> &str {
        &self.after
    }

    /// The legal states of the disk if the power is cut here: all of them if there are at most `limit`,
    /// otherwise `limit` of them: nothing kept, everything kept, every prefix, each change alone lost, each alone kept, and
    /// the rest drawn with `seed`.
    #[must_use]
    pub fn images(&self, limit: usize, seed: u64) -> CrashImages {
        let choices = choices(&self.disk);
        let masks = masks(choices.len(), limit, seed, |mask| self.legal(&choices, mask));
        CrashImages { disk: self.disk.clone(), choices: choices.into(), masks: masks.into_iter() }
    }

    /// Loses what cannot be kept in this order.
    fn legal(&self, choices: &[Choice], mask: &mut [bool]) {
        if self.order == MetadataOrder::None {
            return;
        }
        let mut cut: BTreeSet<Ino> = BTreeSet::new();
        for (choice, keep) in choices.iter().zip(mask) {
            let What::Names(index) = choice.what else { continue };
            let Some(change) = self.disk.names.get(index) else { continue };
            *keep = *keep && !change.edits.iter().any(|edit| cut.contains(&edit.dir));
            if !*keep {
                cut.extend(change.edits.iter().map(|edit| edit.dir));
            }
        }
    }
}

impl fmt::Debug for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "power cut after {} (mark {})", self.after, self.mark)
    }
}

#[derive(Clone, Copy)]
struct Choice {
    order: u64,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Unit(Ino, usize),
    Names(usize),
}

/// Everything on its way to the disk, oldest first.
fn choices(disk: &Disk) -> Vec<Choice> {
    let unit = |ino: Ino, file: &DiskFile| {
        let list = file.pending.iter().enumerate();
        list.map(|(i, u)| Choice { order: u.order, what: What::Unit(ino, i) }).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = disk.files.iter().flat_map(|(ino, file)| unit(*ino, file)).collect();
    let names = disk.names.iter().enumerate();
    all.extend(names.map(|(i, change)| Choice { order: change.order, what: What::Names(i) }));
    all.sort_by_key(|choice| choice.order);
    all
}

/// Which of `n` changes are kept: every combination, or `limit` telling ones.
fn masks(n: usize, limit: usize, seed: u64, legal: impl Fn(&mut [bool])) -> Vec<Vec<bool>> {
    let mut seen = BTreeSet::new();
    let mut masks = Vec::new();
    let mut add = |mut mask: Vec<bool>| {
        legal(&mut mask);
        if seen.insert(mask.clone()) {
            masks.push(mask);
        }
        masks.len()
    };
    let all = u32::try_from(n).ok().and_then(|n| 1usize.checked_shl(n)).filter(|&all| all <= limit);
    if let Some(all) = all {
        (0..all).for_each(|bits| {
            add((0..n).map(|i| bits >> i & 1 == 1).collect());
        });
        return masks;
    }
    let one = |i: usize, value: bool| (0..n).map(move |k| (k == i) == value).collect::<Vec<_>>();
    let telling = std::iter::once(vec![true; n])
        .chain(std::iter::once(vec![false; n]))
        .chain((0..n).rev().map(|i| one(i, false)))
        .chain((0..n).rev().map(|i| one(i, true)))
        .chain((0..n).rev().map(|kept| (0..n).map(|k| k < kept).collect()));
    for mask in telling {
        if add(mask) >= limit {
            return masks;
        }
    }
    let mut random = Random(seed);
    for round in 0..limit * 4 {
        let of_eight = [1, 4, 7].get(round % 3).copied().unwrap_or(4);
        if add((0..n).map(|_| random.next() % 8 < of_eight).collect()) >= limit {
            break;
        }
    }
    masks
}

/// SplitMix64: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) >> 8
    }
}

/// The states of one [`CrashPoint`], made one by one.
pub struct CrashImages {
    disk: Arc<Disk>,
    choices: Arc<[Choice]>,
    masks: std::vec::IntoIter<Vec<bool>>,
}

impl Iterator for CrashImages {
    type Item = CrashImage;

    fn next(&mut self) -> Option<CrashImage> {
        let kept = self.masks.next()?;
        Some(CrashImage { disk: self.disk.clone(), choices: self.choices.clone(), kept })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.masks.size_hint()
    }
}

impl ExactSizeIterator for CrashImages {}

impl fmt::Debug for CrashImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CrashImages({} left, {} changes on their way)", self.masks.len(), self.choices.len())
    }
}

/// One state in which the disk may be found. Boot it with
/// [`RecordingMedium::from_image`](super::RecordingMedium::from_image); its `Debug` lists what was lost.
#[derive(Clone)]
pub struct CrashImage {
    disk: Arc<Disk>,
    choices: Arc<[Choice]>,
    kept: Vec<bool>,
}

impl CrashImage {
    pub(super) fn resolve(&self) -> Disk {
        let mut disk = (*self.disk).clone();
        for (choice, _) in self.choices.iter().zip(&self.kept).filter(|(_, kept)| **kept) {
            match choice.what {
                What::Unit(ino, index) => {
                    let Some(file) = disk.files.get_mut(&ino) else { continue };
                    let Some(unit) = file.pending.get(index) else { continue };
                    unit.change.apply(Arc::make_mut(&mut file.durable));
                }
                What::Names(index) => {
                    if let Some(change) = disk.names.get(index) {
                        change.apply(&mut disk.dirs);
                    }
                }
            }
        }
        disk.names.clear();
        for file in disk.files.values_mut() {
            file.pending.clear();
            let len = file.durable.len();
            Arc::make_mut(&mut file.durable).cut(len);
        }
        disk
    }

    fn describe(&self, choice: &Choice) -> String {
        use super::disk::Change;
        match choice.what {
            What::Unit(ino, index) => {
                let unit = self.disk.files.get(&ino).and_then(|file| file.pending.get(index));
                match unit.map(|unit| &unit.change) {
                    Some(Change::Bytes { offset, bytes }) => format!("file {ino}: {}@{offset}", bytes.len()),
                    Some(Change::Grow(len)) => format!("file {ino}: grow to {len}"),
                    Some(Change::Cut(len)) => format!("file {ino}: cut to {len}"),
                    None => String::new(),
                }
            }
            What::Names(index) => {
                let edits = self.disk.names.get(index).map_or(&[][..], |change| &change.edits);
                let one = |e: &super::disk::Edit| match e.to {
                    Some(ino) => format!("{}/{}={ino}", e.dir, e.name.display()),
                    None => format!("{}/{} removed", e.dir, e.name.display()),
                };
                edits.iter().map(one).collect::<Vec<_>>().join(" and ")
            }
        }
    }
}

impl fmt::Debug for CrashImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = self.choices.iter().zip(&self.kept).filter(|(_, kept)| !**kept);
        f.write_str("lost: ")?;
        f.debug_list().entries(lost.map(|(choice, _)| self.describe(choice))).finish()
    }
}
