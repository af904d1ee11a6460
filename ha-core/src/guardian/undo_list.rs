//! The undo steps that are outstanding: in memory, and in a file that survives the guardian.
//!
//! One file a kernel boot, `undo-<boot id>.list`; lists of other boots are removed, because a reboot took
//! their effects back. Records are appended with one `write` each and never flushed: the page cache survives
//! this process, and nothing else has to.

use super::message::{Reader, put_groups, put_undo};
use super::process::ProcessId;
use crate::{BootId, GroupId, Incarnation, Undo};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"HAUNDO01";
/// More outstanding steps than this are refused.
pub(super) const MAX_OUTSTANDING: usize = 4096;
/// The file is rewritten without its settled records when it has grown to this.
const REWRITE_AT_BYTES: u64 = 1 << 20;
const LIFE: u8 = 1;
const UNDO: u8 = 2;
const DONE: u8 = 3;
const DETACHED: u8 = 4;

/// A child that was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Life {
    pub(super) incarnation: Incarnation,
    pub(super) process: ProcessId,
}

/// A step that was stored and not settled yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Outstanding {
    pub(super) incarnation: Incarnation,
    pub(super) id: u64,
    pub(super) undo: Undo,
    pub(super) group: Option<GroupId>,
}

/// The list of this kernel boot.
pub(super) struct UndoList {
    path: PathBuf,
    file: File,
    written_bytes: u64,
    lives: Vec<Life>,
    outstanding: Vec<Outstanding>,
    /// What the last life left running on purpose; nothing once another one began.
    detached: Vec<GroupId>,
}

/// What a list says.
#[derive(Default)]
struct Said {
    lives: Vec<Life>,
    outstanding: Vec<Outstanding>,
    detached: Vec<GroupId>,
    damaged: bool,
}

impl UndoList {
    /// Opens the list of this boot in `dir`. The second value tells whether a list of this boot could not be
    /// read to its end, now or earlier: it lies aside as `*.damaged`, and nobody knows what it said.
    pub(super) fn open(dir: &Path, boot: BootId) -> io::Result<(Self, bool)> {
        let name = format!("undo-{:032x}.list", boot.0);
        remove_other_boots(dir, &name)?;
        let path = dir.join(&name);
        let found = match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let Said { lives, outstanding, detached, damaged } =
            found.as_deref().map_or_else(Said::default, parse);
        let aside = dir.join(format!("{name}.damaged"));
        if damaged {
            fs::copy(&path, &aside)?;
        }
        let damaged = damaged || aside.exists();
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let mut list = Self { path, file, written_bytes: 0, lives, outstanding, detached };
        list.rewrite()?;
        Ok((list, damaged))
    }

    pub(super) fn lives(&self) -> &[Life] {
        &self.lives
    }

    pub(super) fn outstanding(&self) -> &[Outstanding] {
        &self.outstanding
    }

    /// Notes a child before it is told to go on.
    pub(super) fn begin_life(&mut self, life: Life) -> io::Result<()> {
        self.append(&life_record(&life))?;
        self.lives.push(life);
        self.detached.clear();
        Ok(())
    }

    /// Nothing of these lives runs any more.
    pub(super) fn lives_ended(&mut self) -> io::Result<()> {
        self.lives.clear();
        self.rewrite()
    }

    pub(super) fn detached(&self) -> &[GroupId] {
        &self.detached
    }

    /// The life that runs is about to leave these groups running. Returns only when it is in the file.
    pub(super) fn detach(&mut self, groups: Vec<GroupId>) -> io::Result<()> {
        self.append(&detached_record(&groups))?;
        self.detached = groups;
        Ok(())
    }

    /// Stores a step. Returns only when it is in the file.
    pub(super) fn store(&mut self, step: Outstanding) -> io::Result<()> {
        if self.outstanding.len() >= MAX_OUTSTANDING {
            return Err(io::Error::other(format!("{MAX_OUTSTANDING} undo steps are outstanding already")));
        }
        self.append(&undo_record(&step))?;
        self.outstanding.push(step);
        Ok(())
    }

    /// Settles a step: its effect was taken back.
    pub(super) fn settle(&mut self, incarnation: Incarnation, id: u64) -> io::Result<()> {
        self.outstanding.retain(|step| (step.incarnation, step.id) != (incarnation, id));
        let mut record = vec![DONE];
        record.extend_from_slice(&incarnation.0.to_le_bytes());
        record.extend_from_slice(&id.to_le_bytes());
        self.append(&record)?;
        if self.written_bytes >= REWRITE_AT_BYTES { self.rewrite() } else { Ok(()) }
    }

    fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let framed = frame(record);
        if let Err(error) = self.file.write_all(&framed) {
            // Half a record must not stand before whole ones.
            self.rewrite()?;
            return Err(error);
        }
        self.written_bytes += framed.len() as u64;
        Ok(())
    }

    /// Replaces the file by one that holds only what is not settled.
    fn rewrite(&mut self) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        self.lives.iter().for_each(|life| bytes.extend(frame(&life_record(life))));
        self.outstanding.iter().for_each(|step| bytes.extend(frame(&undo_record(step))));
        if !self.detached.is_empty() {
            // After every life: the next one ends it.
            bytes.extend(frame(&detached_record(&self.detached)));
        }
        let fresh = self.path.with_extension("fresh");
        fs::write(&fresh, &bytes)?;
        self.file = OpenOptions::new().append(true).open(&fresh)?;
        fs::rename(&fresh, &self.path)?;
        self.written_bytes = bytes.len() as u64;
        Ok(())
    }
}

fn remove_other_boots(dir: &Path, keep: &str) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("undo-") && !name.starts_with(keep) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn frame(record: &[u8]) -> Vec<u8> {
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), &crc32c::crc32c(record).to_le_bytes(), record].concat()
}

fn life_record(life: &Life) -> Vec<u8> {
    let mut record = vec![LIFE];
    record.extend_from_slice(&life.incarnation.0.to_le_bytes());
    record.extend_from_slice(&life.process.pid.to_le_bytes());
    record.extend_from_slice(&life.process.start.to_le_bytes());
    record
}

fn detached_record(groups: &[GroupId]) -> Vec<u8> {
    let mut record = vec![DETACHED];
    // Every record names a life; this one is about whatever ran last.
    record.extend_from_slice(&Incarnation(0).0.to_le_bytes());
    put_groups(&mut record, groups);
    record
}

fn undo_record(step: &Outstanding) -> Vec<u8> {
    let mut record = vec![UNDO];
    record.extend_from_slice(&step.incarnation.0.to_le_bytes());
    record.extend_from_slice(&step.id.to_le_bytes());
    put_undo(&mut record, &step.undo, step.group);
    record
}

/// Reads a list. A last record that is cut off is no damage: its writer died before it acknowledged the step, so the
/// effect never began.
fn parse(bytes: &[u8]) -> Said {
    let mut said = Said::default();
    let Some(records) = bytes.strip_prefix(MAGIC) else { return Said { damaged: true, ..said } };
    let mut from = Reader(records);
    while !from.0.is_empty() {
        let (Some(length), Some(sum)) = (from.u32(), from.u32()) else { break };
        let Some((record, rest)) = from.0.split_at_checked(length as usize) else { break };
        from.0 = rest;
        if crc32c::crc32c(record) != sum || take_record(record, &mut said).is_none() {
            return Said { damaged: true, ..said };
        }
    }
    said
}

fn take_record(record: &[u8], said: &mut Said) -> Option<()> {
    let mut from = Reader(record);
    let what = from.byte()?;
    let incarnation = Incarnation(from.u128()?);
    match what {
        LIFE => {
            let process = ProcessId { pid: from.u32()?, start: from.u64()? };
            said.lives.push(Life { incarnation, process });
            said.detached.clear();
        }
        UNDO => {
            let id = from.u64()?;
            let (undo, group) = from.undo()?;
            said.outstanding.push(Outstanding { incarnation, id, undo, group });
        }
        DONE => {
            let id = from.u64()?;
            said.outstanding.retain(|step| (step.incarnation, step.id) != (incarnation, id));
        }
        DETACHED => said.detached = from.groups()?,
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: BootId = BootId(7);

    fn step(id: u64) -> Outstanding {
        Outstanding {
            incarnation: Incarnation(1),
            id,
            undo: Undo { kind: "address".into(), version: 1, bytes: vec![id as u8; 10] },
            group: id.is_multiple_of(2).then_some(GroupId(0)),
        }
    }

    fn life() -> Life {
        Life { incarnation: Incarnation(1), process: ProcessId { pid: 77, start: 88 } }
    }

    fn file_of(dir: &Path) -> PathBuf {
        dir.join(format!("undo-{:032x}.list", BOOT.0))
    }

    #[test]
    fn what_was_left_running_is_known_until_the_next_life_begins() {
        let dir = tempfile::tempdir().unwrap();
        let (mut list, _) = UndoList::open(dir.path(), BOOT).unwrap();
        list.begin_life(life()).unwrap();
        list.store(step(2)).unwrap();
        list.detach(vec![GroupId(0)]).unwrap();
        // However often it is rewritten.
        list.lives_ended().unwrap();
        drop(list);
        for _ in 0..2 {
            let (list, damaged) = UndoList::open(dir.path(), BOOT).unwrap();
            assert_eq!(
                (list.detached(), list.outstanding(), damaged),
                (&[GroupId(0)][..], &[step(2)][..], false)
            );
        }
        let (mut list, _) = UndoList::open(dir.path(), BOOT).unwrap();
        list.begin_life(life()).unwrap();
        assert!(list.detached().is_empty());
        drop(list);
        let (list, _) = UndoList::open(dir.path(), BOOT).unwrap();
        assert_eq!((list.detached(), list.outstanding()), (&[][..], &[step(2)][..]));
    }

    #[test]
    fn what_was_stored_and_not_settled_is_found_by_the_next_guardian() {
        let dir = tempfile::tempdir().unwrap();
        let (mut list, damaged) = UndoList::open(dir.path(), BOOT).unwrap();
        assert!(!damaged);
        list.begin_life(life()).unwrap();
        (1..=3).for_each(|id| list.store(step(id)).unwrap());
        list.settle(Incarnation(1), 2).unwrap();
        drop(list);

        let (mut list, damaged) = UndoList::open(dir.path(), BOOT).unwrap();
        assert!(!damaged);
        assert_eq!(list.lives(), [life()]);
        assert_eq!(list.outstanding(), [step(1), step(3)]);
        list.lives_ended().unwrap();
        assert_eq!(UndoList::open(dir.path(), BOOT).unwrap().0.lives(), []);
    }

    #[test]
    fn a_list_of_another_kernel_boot_says_nothing_and_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut list, _) = UndoList::open(dir.path(), BootId(1)).unwrap();
        list.store(step(1)).unwrap();
        let (list, damaged) = UndoList::open(dir.path(), BOOT).unwrap();
        assert!(!damaged && list.outstanding().is_empty());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_record_cut_off_anywhere_at_the_end_was_never_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let (mut list, _) = UndoList::open(dir.path(), BOOT).unwrap();
        list.store(step(1)).unwrap();
        let whole = fs::read(file_of(dir.path())).unwrap().len();
        list.store(step(2)).unwrap();
        let bytes = fs::read(file_of(dir.path())).unwrap();
        for cut in whole..bytes.len() {
            fs::write(file_of(dir.path()), &bytes[..cut]).unwrap();
            let (list, damaged) = UndoList::open(dir.path(), BOOT).unwrap();
            assert!(!damaged);
            assert_eq!(list.outstanding(), [step(1)]);
        }
    }

    #[test]
    fn a_damaged_list_is_named_and_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let (mut list, _) = UndoList::open(dir.path(), BOOT).unwrap();
        list.store(step(1)).unwrap();
        let mut bytes = fs::read(file_of(dir.path())).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(file_of(dir.path()), &bytes).unwrap();
        assert!(UndoList::open(dir.path(), BOOT).unwrap().1);
        let aside = file_of(dir.path()).with_extension("list.damaged");
        assert_eq!(fs::read(aside).unwrap(), bytes);
    }

    #[test]
    fn a_long_list_is_rewritten_without_what_is_settled() {
        let dir = tempfile::tempdir().unwrap();
        let (mut list, _) = UndoList::open(dir.path(), BOOT).unwrap();
        list.store(step(0)).unwrap();
        let big = Undo { bytes: vec![1; 8000], ..step(1).undo };
        for id in 1..200 {
            list.store(Outstanding { undo: big.clone(), ..step(id) }).unwrap();
            list.settle(Incarnation(1), id).unwrap();
        }
        assert!(fs::metadata(file_of(dir.path())).unwrap().len() < REWRITE_AT_BYTES);
        assert_eq!(UndoList::open(dir.path(), BOOT).unwrap().0.outstanding(), [step(0)]);
    }
}
