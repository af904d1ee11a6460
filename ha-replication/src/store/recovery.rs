//! Opens the files: what is durable, what is committed, and a tree that shows exactly that.

use super::journal::{BATCH_BYTES, Journal};
use super::keeper::Keeper;
use super::layout::{LOCK_FILE, Places, QUARANTINE_DIR, Shared, generation_of, locked, remove_tree};
use super::reader::Reader;
use super::scan::{self, From, Scan};
use super::segment::{self, BLOCK_BYTES, Segment, Segments};
use super::superblock::{SUPER_FILE, SuperFile, Superblock};
use super::tree::Applier;
use super::{
    Facts, OpenStoreError, Opened, Recovered, RecoveryNote, Rotation, StoreConfig, StoreError, pins,
};
use crate::history::History;
use crate::record::{Body, Chain, HARD_PAYLOAD_BYTES, RecordType, RuleSeen};
use ha_core::engine::AckRule;
use ha_core::store::medium::{LockError, Medium, MediumLock, Open, read_full};
use ha_core::{Epoch, Lsn};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

/// Opens the mirror in `medium`, or makes an empty one; restores and redoes. Takes the lock.
pub(crate) fn open(medium: Arc<dyn Medium>, config: StoreConfig) -> Result<Opened, OpenStoreError> {
    let lock: Arc<dyn MediumLock> = match medium.lock(Path::new(LOCK_FILE)) {
        Ok(lock) => Arc::from(lock),
        Err(LockError::Held { pid }) => return Err(OpenStoreError::Locked { pid }),
        Err(LockError::Io(source)) => return Err(StoreError::io("cannot lock the mirror")(source).into()),
        Err(other) => return Err(StoreError::io("cannot lock the mirror")(io::Error::other(other)).into()),
    };
    let missing = medium
        .metadata(Path::new(SUPER_FILE))
        .map_err(StoreError::io("cannot look at the superblock"))?
        .is_none_or(|found| found.len == 0);
    if missing {
        refuse_if_used(&*medium)?;
        let file = create(&*medium, config)?;
        return open_generation(medium, config, lock, file, vec![RecoveryNote::Made]);
    }
    let (file, bad) = match SuperFile::open(&*medium, config) {
        // A crash while it was made: nothing was ever acknowledged.
        Err(OpenStoreError::Superblock { .. }) if never_used(&*medium)? => {
            refuse_if_used(&*medium)?;
            (create(&*medium, config)?, Some(RecoveryNote::Made))
        }
        opened => {
            let (file, bad) = opened?;
            (file, bad.map(|slot| RecoveryNote::SuperblockSlot { slot }))
        }
    };
    // What a process that died wrote may be visible and not durable, and its failed sync may have been the
    // last: what counts is written again, then everything is made durable.
    file.write_again()?;
    medium.sync_everything("open.everything").map_err(StoreError::io("cannot sync the mirror"))?;
    open_generation(medium, config, lock, file, bad.into_iter().collect())
}

/// Without a superblock only empty directories may be here: the superblock is durable before any file is made.
fn refuse_if_used(medium: &dyn Medium) -> Result<(), OpenStoreError> {
    match used_generation(medium).map_err(StoreError::io("cannot look for an earlier mirror"))? {
        Some(name) => Err(OpenStoreError::Superblock {
            found: format!("missing or empty beside {name}, which holds files"),
        }),
        None => Ok(()),
    }
}

/// A generation that holds any file.
fn used_generation(medium: &dyn Medium) -> io::Result<Option<String>> {
    for entry in medium.list(Path::new(""))? {
        let Some(name) = entry.name.to_str().filter(|name| generation_of(name).is_some()) else { continue };
        if super::layout::holds_files(medium, Path::new(name))? {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

/// Whether the superblock was never written: all zeros.
fn never_used(medium: &dyn Medium) -> Result<bool, StoreError> {
    let read =
        || -> io::Result<bool> { Ok(medium.read(Path::new(SUPER_FILE))?.iter().all(|&byte| byte == 0)) };
    read().map_err(StoreError::io("cannot read the superblock"))
}

fn create(medium: &dyn Medium, config: StoreConfig) -> Result<SuperFile, StoreError> {
    let places = Places::of(1);
    let made = || -> io::Result<()> {
        remove_generations(medium, None)?;
        super::layout::make_if_missing(medium, Path::new(QUARANTINE_DIR))?;
        places.make(medium)?;
        medium.sync_dir(&places.root, "create.dirs")?;
        medium.sync_dir(Path::new(""), "create.dirs")
    };
    made().map_err(StoreError::io("cannot make the mirror's directories"))?;
    let now = Superblock {
        generation: 1,
        checkpoint: Rotation { lsn: Lsn(0), chain: Chain::start(config.mirror) },
        facts: Facts::blank(),
    };
    let file = SuperFile::create(medium, config, now)?;
    let named = medium.sync_dir(Path::new(""), "create.super");
    named.map_err(StoreError::io("cannot make the superblock"))?;
    Ok(file)
}

impl Facts {
    pub(super) fn blank() -> Self {
        Self {
            commit: Lsn(0),
            acked: Lsn(0),
            floor: Lsn(0),
            rule: None,
            history: History::default(),
            aborted: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// Without what came after `lsn`.
    fn up_to(mut self, lsn: Lsn) -> Self {
        self.history.cut(lsn);
        self.rule = self.rule.filter(|rule| rule.at <= lsn);
        self.aborted.retain(|(_, by)| *by <= lsn);
        self.keys.retain(|(_, at)| *at <= lsn);
        self
    }
}

fn remove_generations(medium: &dyn Medium, except: Option<u64>) -> io::Result<()> {
    for entry in medium.list(Path::new(""))? {
        let number = entry.name.to_str().and_then(generation_of);
        if number.is_some() && number != except {
            remove_tree(medium, Path::new(&entry.name))?;
        }
    }
    Ok(())
}

/// Opens the generation that the superblock names, and removes all others.
pub(super) fn open_generation(
    medium: Arc<dyn Medium>,
    config: StoreConfig,
    lock: Arc<dyn MediumLock>,
    file: SuperFile,
    mut notes: Vec<RecoveryNote>,
) -> Result<Opened, OpenStoreError> {
    let now = file.now.clone();
    remove_generations(&*medium, Some(now.generation))
        .map_err(StoreError::io("cannot remove an unfinished copy"))?;
    let shared = Arc::new(Shared {
        medium,
        config,
        places: Places::of(now.generation),
        generation: now.generation,
        superblock: Mutex::new(file),
        segments: Mutex::default(),
        preparing: Mutex::default(),
        checkpoint: Mutex::new((now.checkpoint.lsn, now.checkpoint.chain)),
        holds: Mutex::default(),
        failed: AtomicBool::new(false),
        lock,
    });
    let facts = now.facts.up_to(now.checkpoint.lsn);
    let epoch = facts.history.newest().map_or(Epoch(0), |entry| entry.epoch);
    let from = From { lsn: now.checkpoint.lsn, epoch, chain: now.checkpoint.chain };
    let found = scan::scan(&shared, from, segments(&shared)?)?;
    let mut recovered = interpret(&shared, from, facts, &found);
    mend(&shared, &found, &mut recovered, &mut notes)?;
    let applier = redo(&shared, from, &found, &recovered)?;
    recovered.pending = found.records.into_iter().filter(|r| r.head.lsn > recovered.commit).collect();
    let journal = Journal {
        shared: shared.clone(),
        lsn: recovered.durable,
        epoch: recovered.epoch,
        chain: recovered.chain,
        buffer: Vec::new(),
    };
    let reader = Reader::new(shared.clone());
    recovered.oldest = reader.oldest();
    recovered.notes = notes;
    Ok(Opened { journal, applier, keeper: Keeper { shared }, reader, recovered })
}

/// All segments, by number, each as long as it must be.
fn segments(shared: &Shared) -> Result<Vec<Segment>, StoreError> {
    let read = || -> io::Result<Vec<Segment>> {
        let mut all = Vec::new();
        for entry in shared.medium.list(&shared.places.journal)? {
            let Some(number) = entry.name.to_str().and_then(segment::number_of) else { continue };
            let path = segment::name(&shared.places.journal, number);
            let file = Arc::from(shared.medium.open(&path, Open::Existing)?);
            all.push(Segment { number, file, first: Lsn(0), last: Lsn(0), end: 0 });
        }
        all.sort_by_key(|segment| segment.number);
        Ok(all)
    };
    read().map_err(StoreError::io("cannot open the journal"))
}

/// What the records after the checkpoint add to what the superblock knows.
fn interpret(shared: &Shared, from: From, facts: Facts, found: &Scan) -> Recovered {
    let (mut acked, mut rule, mut commit) = (facts.acked, facts.rule, facts.commit.max(facts.acked));
    let (mut history, mut keys, mut aborted) = (facts.history, facts.keys, facts.aborted);
    for record in &found.records {
        let lsn = record.head.lsn;
        commit = commit.max(record.head.commit);
        match record.body() {
            Ok(Body::EpochStart(start)) => {
                history.push(record.head.epoch, lsn);
                rule = Some(RuleSeen { node: start.node, rule: start.rule, at: lsn });
            }
            Ok(Body::Rule(seen)) => rule = Some(seen),
            Ok(Body::Abort { target }) => {
                aborted.push((target, lsn));
                keys.retain(|(_, at)| *at != target);
            }
            _ => {}
        }
        if let Some(key) = record.head.key.filter(|_| record.head.kind == RecordType::Tx) {
            keys.push((key, lsn));
        }
        // While this node was alone, whatever was durable may have been answered.
        if rule.is_some_and(|r| r.node == shared.config.me && matches!(r.rule, AckRule::Alone(_))) {
            acked = lsn;
        }
    }
    let known = commit.max(acked).max(found.commit_seen);
    let floor = if known > found.lsn { known.max(facts.floor) } else { facts.floor };
    Recovered {
        durable: found.lsn,
        epoch: found.epoch,
        chain: found.chain,
        // What was applied before the checkpoint was committed.
        commit: known.min(found.lsn).max(from.lsn),
        acked: acked.max(commit),
        floor,
        oldest: Lsn(0),
        history,
        rule,
        pending: Vec::new(),
        keys,
        aborted,
        generation_dir: shared.places.root.clone(),
        notes: Vec::new(),
    }
}

/// Makes the end of the journal clean, and at least one segment ready.
fn mend(
    shared: &Shared,
    found: &Scan,
    recovered: &mut Recovered,
    notes: &mut Vec<RecoveryNote>,
) -> Result<(), StoreError> {
    if recovered.floor > recovered.durable {
        let why = found.invalid.as_ref().map_or_else(|| "records are missing".into(), ToString::to_string);
        notes.push(RecoveryNote::Corruption { after: found.lsn, known: recovered.floor, why });
        // Before the evidence is cleared away.
        let mut file = locked(&shared.superblock);
        let mut next = file.now.clone();
        next.facts.floor = recovered.floor;
        file.write(next, "super.floor")?;
    } else if found.stale {
        notes.push(RecoveryNote::TornTail { after: found.lsn });
    }
    let doing = "cannot clear the end of the journal";
    if let Some(last) = found.used.back() {
        let newest = found.records.last().map_or(HARD_PAYLOAD_BYTES, |record| record.bytes.len());
        rewrite(last, newest as u64).map_err(StoreError::io(doing))?;
    }
    if found.stale {
        let tail = found.used.back().map(|last| (last, last.end));
        for (segment, from) in tail.into_iter().chain(found.rest.iter().map(|segment| (segment, 0))) {
            scan::clear_behind(shared, segment, from).map_err(StoreError::io(doing))?;
        }
    }
    let limit = shared.config.limits.segment_bytes;
    for segment in found.used.iter().chain(&found.rest) {
        segment.file.allocate(limit).map_err(StoreError::io("cannot complete a segment of the journal"))?;
    }
    let number = |segment: &Segment| segment.number + 1;
    let next = found.rest.back().or(found.used.back()).map_or(1, number);
    let spare = found.rest.iter().map(|s| Segment { first: Lsn(0), last: Lsn(0), end: 0, ..s.clone() });
    *locked(&shared.segments) = Segments { used: found.used.clone(), spare: spare.collect(), next };
    match segment::prepare_up_to(shared, 1) {
        // A full disk is told at the next append; what is here can be read and served.
        Err(full) if full.is_full() => Ok(()),
        prepared => prepared,
    }
}

/// Writes the newest batch again, which ends with a record of `newest` bytes and is no longer than that record or
/// a batch: if its sync failed, it may be visible and yet never reach the disk.
fn rewrite(last: &Segment, newest: u64) -> io::Result<()> {
    let span = BATCH_BYTES.max(newest + BLOCK_BYTES) + BLOCK_BYTES;
    let end = last.end.next_multiple_of(BLOCK_BYTES);
    let start = end.saturating_sub(span) / BLOCK_BYTES * BLOCK_BYTES;
    let mut bytes = vec![0; (last.end - start) as usize];
    read_full(&*last.file, &mut bytes, start)?;
    last.file.write_at(&bytes, start)?;
    last.file.sync_data("open.journal")
}

/// Restores the checkpoint's state of all that was touched since, and applies what is known committed.
fn redo(
    shared: &Arc<Shared>,
    from: From,
    found: &Scan,
    recovered: &Recovered,
) -> Result<Applier, StoreError> {
    let mut applier = Applier {
        shared: shared.clone(),
        lsn: from.lsn,
        chain: from.chain,
        pinning: from.lsn,
        pins_named: false,
        seen: HashSet::new(),
        directories: HashSet::new(),
        staged: BTreeMap::new(),
    };
    let places = shared.places.clone();
    let restored = || -> io::Result<HashSet<_>> {
        for entry in shared.medium.list(&places.tmp)? {
            shared.medium.remove(&places.tmp.join(&entry.name))?;
        }
        let parents = |path: &_| applier.ensure_parent(path);
        pins::restore(&*shared.medium, &places, from.lsn, &found.records, parents)
    };
    let mut restored = restored;
    applier.seen = restored().map_err(StoreError::io("cannot restore the tree"))?;
    let aborted: HashSet<_> = recovered.aborted.iter().map(|(target, _)| *target).collect();
    let upto = found.records.partition_point(|record| record.head.lsn <= recovered.commit);
    applier.apply(
        found.records.get(..upto).unwrap_or_default(),
        &|lsn| aborted.contains(&lsn),
        &mut |_| (),
    )?;
    Ok(applier)
}
