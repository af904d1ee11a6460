//! What a running program sees: the page cache.

use super::content::Content;
use super::disk::{Disk, Ino, Names, ROOT};
use crate::store::medium::{Kind, path};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

#[derive(Clone, Default)]
pub(super) struct LiveFile {
    pub(super) content: Content,
    /// Up to here overwriting needs no new space.
    pub(super) allocated: u64,
}

pub(super) struct Live {
    pub(super) files: BTreeMap<Ino, LiveFile>,
    pub(super) dirs: BTreeMap<Ino, Names>,
    next: Ino,
}

/// A name and the directory it is in.
pub(super) struct Spot {
    pub(super) dir: Ino,
    pub(super) name: OsString,
    pub(super) ino: Option<Ino>,
}

impl Live {
    /// What a machine sees that just booted on `disk`.
    pub(super) fn boot(disk: &Disk) -> Self {
        let file =
            |durable: &Arc<Content>| LiveFile { content: (**durable).clone(), allocated: durable.len() };
        let files: BTreeMap<_, _> = disk.files.iter().map(|(ino, f)| (*ino, file(&f.durable))).collect();
        let mut dirs: BTreeMap<_, _> = disk.dirs.iter().map(|(ino, d)| (*ino, (**d).clone())).collect();
        dirs.entry(ROOT).or_default();
        let next = files.keys().chain(dirs.keys()).max().map_or(1, |last| last + 1);
        Self { files, dirs, next }
    }

    fn walk(&self, names: &[&OsStr]) -> io::Result<Ino> {
        names.iter().try_fold(ROOT, |at, name| {
            let dir = self.dirs.get(&at).ok_or(ErrorKind::NotADirectory)?;
            Ok(*dir.get(*name).ok_or(ErrorKind::NotFound)?)
        })
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Ino> {
        self.walk(&path::names(path)?)
    }

    pub(super) fn directory(&self, path: &Path) -> io::Result<Ino> {
        let ino = self.find(path)?;
        if self.dirs.contains_key(&ino) { Ok(ino) } else { Err(ErrorKind::NotADirectory.into()) }
    }

    pub(super) fn spot(&self, path: &Path) -> io::Result<Spot> {
        let (dir, name) = path::split(path)?;
        let dir = self.walk(&dir)?;
        let names = self.dirs.get(&dir).ok_or(ErrorKind::NotADirectory)?;
        Ok(Spot { dir, name: name.into(), ino: names.get(name).copied() })
    }

    pub(super) fn kind(&self, ino: Ino) -> Kind {
        if self.dirs.contains_key(&ino) { Kind::Directory } else { Kind::File }
    }

    pub(super) fn new_file(&mut self) -> Ino {
        self.next += 1;
        self.files.insert(self.next, LiveFile::default());
        self.next
    }

    pub(super) fn new_dir(&mut self) -> Ino {
        self.next += 1;
        self.dirs.insert(self.next, Names::new());
        self.next
    }

    pub(super) fn set(&mut self, dir: Ino, name: &OsStr, to: Option<Ino>) {
        let names = self.dirs.entry(dir).or_default();
        match to {
            Some(ino) => names.insert(name.into(), ino),
            None => names.remove(name),
        };
    }

    /// Whether `dir` is `below`, or a directory above it.
    pub(super) fn holds(&self, dir: Ino, below: Ino) -> bool {
        dir == below
            || self.dirs.get(&dir).is_some_and(|names| {
                names.values().any(|&child| self.dirs.contains_key(&child) && self.holds(child, below))
            })
    }
}
