//! Which new names no sync has made durable yet. Kept in a file that outlives the process, for whoever opens the disk next.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// The names, and the log that tells them to the next life.
pub(super) struct NewNames {
    unsynced: BTreeSet<PathBuf>,
    log: File,
}

impl NewNames {
    /// Reads what the life before left behind, and hands over the names that its end took.
    pub(super) fn open(path: &Path) -> io::Result<(Self, BTreeSet<PathBuf>)> {
        let mut log = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut text = String::new();
        log.read_to_string(&mut text)?;
        let mut names = Self { unsynced: BTreeSet::new(), log };
        for line in text.lines() {
            let mut words = line.split('\t');
            match (words.next(), words.next(), words.next()) {
                (Some("new"), Some(name), None) => names.note_new(Path::new(name)),
                (Some("moved"), Some(from), Some(to)) => names.note_moved(Path::new(from), Path::new(to)),
                (Some("old"), Some(name), None) => names.note_old(Path::new(name)),
                (Some("synced"), Some(dir), None) => names.note_synced(Path::new(dir)),
                // The last line may be torn: what it says did not happen.
                _ => {}
            }
        }
        let lost = std::mem::take(&mut names.unsynced);
        names.start_again()?;
        Ok((names, lost))
    }

    fn note_new(&mut self, name: &Path) {
        self.unsynced.insert(name.into());
    }

    fn note_old(&mut self, name: &Path) {
        self.unsynced.remove(name);
    }

    fn note_moved(&mut self, from: &Path, to: &Path) {
        if self.unsynced.remove(from) {
            self.unsynced.insert(to.into());
        }
    }

    fn note_synced(&mut self, dir: &Path) {
        self.unsynced.retain(|name| name.parent() != Some(dir));
    }

    fn tell(&mut self, line: &str) -> io::Result<()> {
        self.log.write_all(line.as_bytes())
    }

    fn start_again(&mut self) -> io::Result<()> {
        self.log.set_len(0)?;
        self.log.rewind()
    }

    /// A name that did not exist.
    pub(super) fn made(&mut self, name: &Path) -> io::Result<()> {
        self.note_new(name);
        self.tell(&format!("new\t{}\n", name.display()))
    }

    /// A file got a free name.
    pub(super) fn moved(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.note_moved(from, to);
        self.tell(&format!("moved\t{}\t{}\n", from.display(), to.display()))
    }

    /// The name stands for something durable, or for nothing.
    pub(super) fn settled(&mut self, name: &Path) -> io::Result<()> {
        self.note_old(name);
        self.tell(&format!("old\t{}\n", name.display()))
    }

    /// The names in `dir` are durable.
    pub(super) fn synced(&mut self, dir: &Path) -> io::Result<()> {
        self.note_synced(dir);
        self.tell(&format!("synced\t{}\n", dir.display()))
    }

    /// All names are durable.
    pub(super) fn all_synced(&mut self) -> io::Result<()> {
        self.unsynced.clear();
        self.start_again()
    }
}
