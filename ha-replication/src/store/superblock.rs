//! Two slots that say which generation is valid and up to where its tree is durable.

use super::{Facts, OpenStoreError, Rotation, StoreConfig, StoreError};
use crate::history::{EpochEntry, HISTORY_ENTRIES, History};
use crate::record::{Chain, KeyHash, MirrorId, RuleSeen, rule_of, rule_parts};
use bytes::{Buf, BufMut};
use ha_core::store::medium::{Medium, MediumFile, Open, read_full};
use ha_core::{Epoch, Generation, Lsn, NodeId};
use std::io;
use std::path::Path;
use std::sync::Arc;

pub(super) const SUPER_FILE: &str = "super";
const SLOT_BYTES: usize = 1 << 20;
const HEAD_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"HMSUPER1";
const VERSION: u16 = 1;
/// Aborts remembered.
pub(super) const ABORTED: usize = 1024;
const NO_RULE: u8 = 255;

/// What a slot holds.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub(super) generation: u64,
    pub(super) checkpoint: Rotation,
    pub(super) facts: Facts,
}

/// The file, and the newest valid content.
pub(super) struct SuperFile {
    file: Arc<dyn MediumFile>,
    seq: u64,
    config: StoreConfig,
    pub(super) now: Superblock,
}

impl Superblock {
    fn encode(&self, config: &StoreConfig) -> Vec<u8> {
        let facts = &self.facts;
        let mut out = Vec::with_capacity(4096);
        out.put_u128_le(config.mirror.0);
        out.put_u64_le(config.me.0.into());
        out.put_u64_le(self.generation);
        out.put_u64_le(self.checkpoint.lsn.0);
        out.put_slice(&self.checkpoint.chain.0);
        out.put_u64_le(facts.commit.0);
        out.put_u64_le(facts.acked.0);
        out.put_u64_le(facts.floor.0);
        let (tag, generation) = facts.rule.map_or((NO_RULE, Generation(0)), |rule| rule_parts(rule.rule));
        out.put_u8(tag);
        out.put_u8(facts.rule.map_or(0, |rule| rule.node.0));
        out.put_u64_le(generation.0);
        out.put_u64_le(facts.rule.map_or(0, |rule| rule.at.0));
        let (epochs, aborts) = (facts.history.entries(), &facts.aborted);
        let newest = |len: usize, max: usize| len.saturating_sub(max);
        let epochs = epochs.get(newest(epochs.len(), HISTORY_ENTRIES)..).unwrap_or_default();
        let aborts = aborts.get(newest(aborts.len(), ABORTED)..).unwrap_or_default();
        let upto = self.checkpoint.lsn;
        let known: Vec<_> = facts.keys.iter().filter(|(_, lsn)| *lsn <= upto).collect();
        let keys = known.get(newest(known.len(), config.limits.max_keys)..).unwrap_or_default();
        out.put_u32_le(epochs.len() as u32);
        for entry in epochs {
            out.put_u64_le(entry.epoch.0);
            out.put_u64_le(entry.first.0);
        }
        out.put_u32_le(aborts.len() as u32);
        for (target, by) in aborts {
            out.put_u64_le(target.0);
            out.put_u64_le(by.0);
        }
        // Never more than a slot takes, whatever the limit says.
        let room = (SLOT_BYTES - HEAD_BYTES - out.len() - 4) / 24;
        let keys = keys.get(newest(keys.len(), room)..).unwrap_or_default();
        out.put_u32_le(keys.len() as u32);
        for (hash, lsn) in keys {
            out.put_slice(&hash.0);
            out.put_u64_le(lsn.0);
        }
        out
    }

    fn decode(body: &[u8]) -> Option<(MirrorId, NodeId, Self)> {
        let mut from = body;
        let mirror = MirrorId(from.try_get_u128_le().ok()?);
        let node = NodeId(u8::try_from(from.try_get_u64_le().ok()?).ok()?);
        let generation = from.try_get_u64_le().ok()?;
        let lsn = Lsn(from.try_get_u64_le().ok()?);
        let checkpoint = Rotation { lsn, chain: Chain(sixteen(&mut from)?) };
        let commit = Lsn(from.try_get_u64_le().ok()?);
        let acked = Lsn(from.try_get_u64_le().ok()?);
        let floor = Lsn(from.try_get_u64_le().ok()?);
        let tag = from.try_get_u8().ok()?;
        let rule_node = NodeId(from.try_get_u8().ok()?);
        let rule_generation = Generation(from.try_get_u64_le().ok()?);
        let at = Lsn(from.try_get_u64_le().ok()?);
        let rule = match tag {
            NO_RULE => None,
            tag => Some(RuleSeen { node: rule_node, rule: rule_of(tag, rule_generation)?, at }),
        };
        let epochs = list(&mut from, 16, |from| {
            Some(EpochEntry {
                epoch: Epoch(from.try_get_u64_le().ok()?),
                first: Lsn(from.try_get_u64_le().ok()?),
            })
        })?;
        let history = History::from_entries(epochs)?;
        let aborted = list(&mut from, 16, |from| {
            Some((Lsn(from.try_get_u64_le().ok()?), Lsn(from.try_get_u64_le().ok()?)))
        })?;
        let keys =
            list(&mut from, 24, |from| Some((KeyHash(sixteen(from)?), Lsn(from.try_get_u64_le().ok()?))))?;
        let facts = Facts { commit, acked, floor, rule, history, aborted, keys };
        from.is_empty().then_some((mirror, node, Self { generation, checkpoint, facts }))
    }
}

fn sixteen(from: &mut &[u8]) -> Option<[u8; 16]> {
    let (value, rest) = from.split_first_chunk::<16>()?;
    *from = rest;
    Some(*value)
}

fn list<T>(from: &mut &[u8], each: usize, one: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let count = from.try_get_u32_le().ok()? as usize;
    // Checked before anything is allocated.
    if count.checked_mul(each)? > from.len() {
        return None;
    }
    (0..count).map(|_| one(from)).collect()
}

/// What was found in a slot.
enum Slot {
    Whole { seq: u64, body: Vec<u8> },
    Newer { version: u16 },
    Bad(&'static str),
}

fn read_slot(file: &dyn MediumFile, at: u64) -> io::Result<Slot> {
    let mut head = [0; HEAD_BYTES];
    if read_full(file, &mut head, at)? < HEAD_BYTES {
        return Ok(Slot::Bad("the file is too short"));
    }
    let u32_at =
        |at: usize| head.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
    if crc32c::crc32c(head.get(..28).unwrap_or_default()) != u32_at(28) || !head.starts_with(&MAGIC) {
        return Ok(Slot::Bad("no valid head"));
    }
    let version = u16::from_le_bytes([head[8], head[9]]);
    if version != VERSION {
        return Ok(Slot::Newer { version });
    }
    let seq = u64::from(u32_at(12)) | u64::from(u32_at(16)) << 32;
    let len = u32_at(20) as usize;
    if len > SLOT_BYTES - HEAD_BYTES {
        return Ok(Slot::Bad("a length that does not fit"));
    }
    let mut body = vec![0; len];
    if read_full(file, &mut body, at + HEAD_BYTES as u64)? < len || crc32c::crc32c(&body) != u32_at(24) {
        return Ok(Slot::Bad("a wrong checksum"));
    }
    Ok(Slot::Whole { seq, body })
}

impl SuperFile {
    /// Makes the file; its name is not durable yet.
    pub(super) fn create(
        medium: &dyn Medium,
        config: StoreConfig,
        now: Superblock,
    ) -> Result<Self, StoreError> {
        let doing = "cannot make the superblock";
        let file: Arc<dyn MediumFile> =
            Arc::from(medium.open(Path::new(SUPER_FILE), Open::Create).map_err(StoreError::io(doing))?);
        file.allocate(2 * SLOT_BYTES as u64).map_err(StoreError::io(doing))?;
        let mut made = Self { file, seq: 0, config, now: now.clone() };
        made.write(now, "create.record")?;
        Ok(made)
    }

    /// Reads the newest valid slot; also the number of a slot that is unreadable, if one is.
    pub(super) fn open(
        medium: &dyn Medium,
        config: StoreConfig,
    ) -> Result<(Self, Option<u8>), OpenStoreError> {
        let doing = "cannot read the superblock";
        let file: Arc<dyn MediumFile> =
            Arc::from(medium.open(Path::new(SUPER_FILE), Open::Existing).map_err(StoreError::io(doing))?);
        let (mut best, mut bad, mut found) = (None, None, Vec::new());
        for slot in 0..2_u8 {
            let at = u64::from(slot) * SLOT_BYTES as u64;
            let why = match read_slot(&*file, at).map_err(StoreError::io(doing))? {
                Slot::Newer { version } => return Err(OpenStoreError::Version { found: version }),
                Slot::Whole { seq, body } => match Superblock::decode(&body) {
                    Some(read) if best.as_ref().is_none_or(|(newest, _)| *newest < seq) => {
                        best = Some((seq, read));
                        continue;
                    }
                    Some(_) => continue,
                    None => "fields that contradict each other",
                },
                Slot::Bad(why) => why,
            };
            bad = Some(slot);
            found.push(format!("slot {slot}: {why}"));
        }
        let Some((seq, (mirror, node, now))) = best else {
            return Err(OpenStoreError::Superblock { found: found.join(", ") });
        };
        if mirror != config.mirror {
            return Err(OpenStoreError::OtherMirror { found: mirror, expected: config.mirror });
        }
        if node != config.me {
            return Err(OpenStoreError::OtherNode { found: node, expected: config.me });
        }
        // The second slot of a new mirror has never been written.
        Ok((Self { file, seq, config, now }, bad.filter(|_| seq > 1)))
    }

    /// A second handle, for the generation that replaces this one. Only one of the two writes.
    pub(super) fn second(&self) -> Self {
        Self { file: self.file.clone(), seq: self.seq, config: self.config, now: self.now.clone() }
    }

    /// Replaces the older slot; durable on return.
    pub(super) fn write(&mut self, next: Superblock, label: &'static str) -> Result<(), StoreError> {
        self.put(self.seq + 1, &next)?;
        self.file.sync_data(label).map_err(StoreError::io("cannot write the superblock"))?;
        self.seq += 1;
        self.now = next;
        Ok(())
    }

    /// Writes the newest slot again in its place: a process that died may have left it only in memory. The
    /// caller syncs.
    pub(super) fn write_again(&self) -> Result<(), StoreError> {
        self.put(self.seq, &self.now)
    }

    fn put(&self, seq: u64, what: &Superblock) -> Result<(), StoreError> {
        let body = what.encode(&self.config);
        let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
        bytes.put_slice(&MAGIC);
        bytes.put_u16_le(VERSION);
        bytes.put_u16_le(0);
        bytes.put_u64_le(seq);
        bytes.put_u32_le(body.len() as u32);
        bytes.put_u32_le(crc32c::crc32c(&body));
        bytes.put_u32_le(crc32c::crc32c(&bytes));
        bytes.put_slice(&body);
        let done = self.file.write_at(&bytes, seq % 2 * SLOT_BYTES as u64);
        done.map_err(StoreError::io("cannot write the superblock"))
    }
}
