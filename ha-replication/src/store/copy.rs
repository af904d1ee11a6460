//! A whole copy of a tree: sent while it is in use, received beside the one in use.
//!
//! The walk sees files of different moments. That it is exact all the same has the reason that recovery has:
//! the pins bring every touched path back to the start of the copy, and the journal leads from there on.

use super::layout::{Places, Shared, locked, remove_tree};
use super::segment::Segments;
use super::superblock::Superblock;
use super::{
    CopyBegin, CopyChunk, CopyError, CopyFile, OpenStoreError, Opened, Rotation, StoreError, digest, pins,
    recovery,
};
use crate::ops::RelPath;
use crate::record::{Chain, Record, RecordError};
use bytes::Bytes;
use ha_core::Lsn;
use ha_core::store::medium::{MediumFile, Open, read_full};
use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

/// Sends the tree. Holds pins and journal until dropped.
pub(crate) struct CopySource {
    shared: Arc<Shared>,
    start: Lsn,
    left: Option<VecDeque<(CopyFile, PathBuf)>>,
    pins_listed: bool,
    open: Option<Sending>,
}

struct Sending {
    what: CopyFile,
    file: Box<dyn MediumFile>,
    len: u64,
    at: u64,
    hasher: blake3::Hasher,
}

impl CopySource {
    pub(super) fn new(shared: Arc<Shared>, rotation: Rotation) -> Self {
        *locked(&shared.holds).entry(rotation.lsn).or_default() += 1;
        Self { shared, start: rotation.lsn, left: None, pins_listed: false, open: None }
    }

    /// The next piece of at most `max` bytes: the tree's files, then the pins. `None`: all was sent, and with
    /// the records up to what is applied now (or later) the copy is whole.
    pub(crate) fn next(&mut self, max: usize) -> Result<Option<CopyChunk>, StoreError> {
        self.next_io(max.max(1)).map_err(StoreError::io("cannot read the tree for a copy"))
    }

    fn next_io(&mut self, max: usize) -> io::Result<Option<CopyChunk>> {
        loop {
            if let Some(sending) = &mut self.open {
                let chunk = sending.piece(max)?;
                if chunk.hash.is_some() {
                    self.open = None;
                }
                return Ok(Some(chunk));
            }
            let left = match &mut self.left {
                Some(left) => left,
                none => none.insert(tree_files(&self.shared)?),
            };
            if let Some((what, path)) = left.pop_front() {
                self.open = match self.shared.medium.open(&path, Open::Read) {
                    // Taken away since it was listed: its pin comes later.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                    opened => {
                        let file = opened?;
                        let len = file.len()?;
                        Some(Sending { what, file, len, at: 0, hasher: blake3::Hasher::new() })
                    }
                };
            } else if self.pins_listed {
                return Ok(None);
            } else {
                // Only now: whatever the walk missed has a pin by now.
                self.pins_listed = true;
                self.left = Some(pin_files(&self.shared, self.start)?);
            }
        }
    }
}

impl Sending {
    fn piece(&mut self, max: usize) -> io::Result<CopyChunk> {
        let wanted = usize::try_from(self.len - self.at).unwrap_or(max).min(max);
        let mut bytes = vec![0; wanted];
        let got = read_full(&*self.file, &mut bytes, self.at)?;
        bytes.truncate(got);
        self.hasher.update(&bytes);
        let offset = self.at;
        self.at += got as u64;
        let last = self.at >= self.len || got < wanted;
        let hash = last.then(|| self.hasher.finalize().into());
        Ok(CopyChunk { file: self.what.clone(), offset, data: Bytes::from(bytes), hash })
    }
}

impl Drop for CopySource {
    fn drop(&mut self) {
        let mut holds = locked(&self.shared.holds);
        if let Some(count) = holds.get_mut(&self.start) {
            *count -= 1;
            if *count == 0 {
                holds.remove(&self.start);
            }
        }
    }
}

fn tree_files(shared: &Shared) -> io::Result<VecDeque<(CopyFile, PathBuf)>> {
    let tree = &shared.places.tree;
    let named = |path: PathBuf| {
        let rel = path.to_str().and_then(|text| RelPath::new(text).ok())?;
        Some((CopyFile::Tree(rel), tree.join(path)))
    };
    Ok(digest::files(&*shared.medium, tree)?.into_iter().filter_map(named).collect())
}

fn pin_files(shared: &Shared, start: Lsn) -> io::Result<VecDeque<(CopyFile, PathBuf)>> {
    let (mut all, mut taken) = (VecDeque::new(), HashSet::new());
    for (_, dir) in pins::directories(&*shared.medium, &shared.places)?.into_iter().filter(|d| d.0 >= start) {
        for entry in shared.medium.list(&dir)? {
            let hash = entry.name.to_str().and_then(pins::hash_of);
            if let Some(hash) = hash.filter(|hash| taken.insert(*hash)) {
                all.push_back((CopyFile::Pin(hash), dir.join(&entry.name)));
            }
        }
    }
    Ok(all)
}

/// Receives a tree into the next generation.
pub(crate) struct CopyTarget {
    /// Of the generation in use.
    present: Arc<Shared>,
    /// Of the one that is being made.
    shared: Arc<Shared>,
    journal: super::journal::Journal,
    begin: CopyBegin,
    open: Option<Receiving>,
    directories: HashSet<PathBuf>,
}

struct Receiving {
    what: CopyFile,
    file: Box<dyn MediumFile>,
    at: u64,
    hasher: blake3::Hasher,
}

impl CopyTarget {
    pub(super) fn begin(present: &Arc<Shared>, begin: CopyBegin) -> Result<Self, CopyError> {
        present.usable()?;
        let generation = present.generation + 1;
        let places = Places::of(generation);
        let made = || -> io::Result<()> {
            remove_tree(&*present.medium, &places.root)?;
            places.make(&*present.medium)?;
            present.medium.create_dir(&places.pins_of(begin.at.lsn))
        };
        made().map_err(StoreError::io("cannot make room for a copy"))?;
        let file = locked(&present.superblock).second();
        let shared = Arc::new(Shared {
            medium: present.medium.clone(),
            config: present.config,
            places,
            generation,
            superblock: Mutex::new(file),
            segments: Mutex::new(Segments { next: 1, ..Segments::default() }),
            preparing: Mutex::default(),
            checkpoint: Mutex::new((begin.at.lsn, begin.at.chain)),
            holds: Mutex::default(),
            failed: AtomicBool::new(false),
            lock: present.lock.clone(),
        });
        let journal = super::journal::Journal {
            shared: shared.clone(),
            lsn: begin.at.lsn,
            epoch: begin.epoch,
            chain: begin.at.chain,
            buffer: Vec::new(),
        };
        let (open, directories) = (None, HashSet::new());
        Ok(Self { present: present.clone(), shared, journal, begin, open, directories })
    }

    /// The next piece, in the order in which they were sent.
    pub(crate) fn chunk(&mut self, chunk: CopyChunk) -> Result<(), CopyError> {
        let doing = "cannot write a copied file";
        if chunk.offset == 0 {
            self.open = Some(self.create(&chunk.file).map_err(StoreError::io(doing))?);
        }
        let damaged = |what: &str| CopyError::Damaged { what: format!("{:?}: {what}", chunk.file) };
        let receiving = self.open.as_mut().ok_or_else(|| damaged("a piece without a beginning"))?;
        if receiving.what != chunk.file || receiving.at != chunk.offset {
            return Err(damaged("pieces out of order"));
        }
        receiving.file.write_at(&chunk.data, chunk.offset).map_err(StoreError::io(doing))?;
        receiving.hasher.update(&chunk.data);
        receiving.at += chunk.data.len() as u64;
        if let Some(hash) = chunk.hash {
            let found: [u8; 32] = receiving.hasher.finalize().into();
            if found != hash {
                return Err(damaged("its hash differs"));
            }
            self.open = None;
        }
        Ok(())
    }

    fn create(&mut self, what: &CopyFile) -> io::Result<Receiving> {
        let (medium, places) = (&self.shared.medium, &self.shared.places);
        let path = match what {
            CopyFile::Tree(path) => {
                let mut dir = PathBuf::new();
                for name in path.parent().map(std::path::Path::new).into_iter().flat_map(|p| p.components()) {
                    dir.push(name);
                    if self.directories.insert(dir.clone()) {
                        super::layout::make_if_missing(&**medium, &places.tree.join(&dir))?;
                    }
                }
                places.file(path)
            }
            CopyFile::Pin(hash) => {
                let name: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
                places.pins_of(self.begin.at.lsn).join(name)
            }
        };
        let file = medium.open(&path, Open::CreateNew)?;
        Ok(Receiving { what: what.clone(), file, at: 0, hasher: blake3::Hasher::new() })
    }

    /// Records after the start of the copy, in order. They are checked against the chain here.
    pub(crate) fn append(&mut self, batch: &[Record]) -> Result<(Lsn, Chain), StoreError> {
        self.journal.append(batch)
    }

    /// When all pieces are there and the journal holds `s1`: the copy becomes the mirror, and the old one is
    /// removed. The parts that were opened before must have been given up (their threads ended).
    pub(crate) fn finish(self, s1: Lsn) -> Result<Opened, OpenStoreError> {
        if self.journal.lsn < s1 {
            let (found, expected) = (self.journal.lsn, s1);
            return Err(StoreError::Record(RecordError::Gap { found, expected }).into());
        }
        let medium = self.shared.medium.clone();
        medium.sync_everything("copy.tree").map_err(StoreError::io("cannot sync the copy"))?;
        let mut facts = self.begin.facts;
        // The other node may know more by now; this one knows what its journal holds.
        facts.commit = s1;
        facts.acked = facts.acked.min(s1);
        facts.floor = Lsn(0);
        let next = Superblock { generation: self.shared.generation, checkpoint: self.begin.at, facts };
        let mut file = locked(&self.present.superblock).second();
        file.write(next, "copy.flip")?;
        let (config, lock) = (self.shared.config, self.shared.lock.clone());
        recovery::open_generation(medium, config, lock, file, Vec::new())
    }
}
