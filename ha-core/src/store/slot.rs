//! One slot of the state file: the same record twice, each copy in blocks of 4 KiB of its own.
//!
//! Two slots alternate so that a torn write never harms the newest acknowledged record; two copies in a slot
//! so that one bad block does not either. A copy is one block (format version 1), or says in its header how many
//! (version 2).

use super::layout;
use crate::NodeRecord;
use std::fmt;

pub(super) const SLOTS: u8 = 2;
pub(super) const COPIES: u8 = 2;
pub(super) const BLOCK_BYTES: usize = 4096;

const MAGIC: [u8; 8] = *b"HA-STATE";
const ONE_BLOCK: u16 = 1;
const MORE_BLOCKS: u16 = 2;
const HEADER_BYTES: usize = 32;
const SECTOR_BYTES: usize = 512;

/// What one block holds with the greatest epochs and generations that there are, and a few services without an engine.
const GROUPS_IN_ONE_BLOCK: usize = 63;
/// The most that a group takes: its numbers, two records of services without an engine, a policy.
const GROUP_BYTES: usize = 3 + 4 * 10 + 1 + 2 * 10 + 2 * 42 + 12;
/// The most that the rest of a body takes.
const COMMON_BYTES: usize = 128;

/// How large each copy is, in blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Size(u32);

impl Size {
    pub(super) const ONE_BLOCK: Self = Self(1);

    /// Room for so many groups.
    pub(super) fn for_groups(groups: usize) -> Self {
        if groups <= GROUPS_IN_ONE_BLOCK {
            return Self::ONE_BLOCK;
        }
        let bytes = HEADER_BYTES + COMMON_BYTES + groups * GROUP_BYTES;
        Self(u32::try_from(bytes.div_ceil(BLOCK_BYTES)).unwrap_or(u32::MAX))
    }

    pub(super) const fn groups(self) -> usize {
        if self.0 <= 1 { GROUPS_IN_ONE_BLOCK } else { (self.body_bytes() - COMMON_BYTES) / GROUP_BYTES }
    }

    pub(super) const fn copy_bytes(self) -> usize {
        self.0 as usize * BLOCK_BYTES
    }

    /// What fits into a copy.
    pub(super) const fn body_bytes(self) -> usize {
        self.copy_bytes() - HEADER_BYTES
    }

    pub(super) const fn file_bytes(self) -> usize {
        self.copy_bytes() * COPIES as usize * SLOTS as usize
    }

    /// Where a copy begins.
    pub(super) const fn offset(self, slot: u8, copy: u8) -> usize {
        (slot as usize * COPIES as usize + copy as usize) * self.copy_bytes()
    }

    /// A single block is not mentioned, as ever.
    const fn stated(self) -> u32 {
        if self.0 <= 1 { 0 } else { self.0 }
    }

    const fn version(self) -> u16 {
        if self.0 <= 1 { ONE_BLOCK } else { MORE_BLOCKS }
    }

    /// The size of the copies in a file, by any whole copy at the place where it belongs; one block if there is none.
    pub(super) fn found_in(bytes: &[u8]) -> Self {
        let mut blocks = bytes.chunks(BLOCK_BYTES).enumerate().filter_map(|(n, block)| {
            let fields = block.get(..HEADER_BYTES)?;
            if !fields.starts_with(&MAGIC) {
                return None;
            }
            let size = Self(u32::from_le_bytes(fields.get(24..28)?.try_into().ok()?));
            let (slot, copy) = (*fields.get(10)?, *fields.get(11)?);
            let in_place = size.0 > 1
                && size.0 as usize <= bytes.len() / BLOCK_BYTES
                && slot < SLOTS
                && copy < COPIES
                && size.offset(slot, copy) == n * BLOCK_BYTES;
            let copy = in_place.then(|| decode(bytes.get(n * BLOCK_BYTES..)?, slot, copy, size).ok());
            copy.flatten().map(|_| size)
        });
        blocks.next_back().unwrap_or(Self::ONE_BLOCK)
    }
}

/// What one copy of one slot holds.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SlotState {
    /// Zeros: never written.
    Empty,
    /// A whole record: the `sequence`-th save of this store.
    Whole {
        /// The number of the save.
        sequence: u64,
    },
    /// A whole record of another format version: a newer program wrote it.
    Foreign {
        /// Its format version.
        version: u16,
    },
    /// Something else.
    Damaged {
        /// What is wrong.
        found: String,
    },
}

impl fmt::Display for SlotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("never written"),
            Self::Whole { sequence } => write!(f, "record {sequence}"),
            Self::Foreign { version } => write!(f, "a record of format version {version}"),
            Self::Damaged { found } => f.write_str(found),
        }
    }
}

/// What was found in one copy of one slot when the store was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotFinding {
    /// The slot, 0 or 1.
    pub slot: u8,
    /// The copy within the slot, 0 or 1.
    pub copy: u8,
    /// What it holds.
    pub state: SlotState,
}

/// One copy as bytes: whole sectors, no more than needed. `None` if the record does not fit.
pub(super) fn encode(body: &[u8], sequence: u64, slot: u8, copy: u8, size: Size) -> Option<Vec<u8>> {
    if body.len() > size.body_bytes() {
        return None;
    }
    let mut out = Vec::with_capacity(body.len() + BLOCK_BYTES);
    out.extend(MAGIC);
    out.extend(size.version().to_le_bytes());
    out.extend([slot, copy]);
    out.extend((body.len() as u32).to_le_bytes());
    out.extend(sequence.to_le_bytes());
    out.extend(size.stated().to_le_bytes());
    out.extend(checksum(&out, body).to_le_bytes());
    out.extend(body);
    out.resize(out.len().next_multiple_of(SECTOR_BYTES), 0);
    Some(out)
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), body)
}

/// What one copy was decoded to.
pub(super) enum Copy {
    Empty,
    Foreign { version: u16 },
    Whole(Whole),
}

/// A whole record with its number.
pub(super) struct Whole {
    pub(super) sequence: u64,
    pub(super) record: NodeRecord,
}

/// Reads one copy; the error says what is wrong with it. The header is the same in all format versions.
pub(super) fn decode(bytes: &[u8], slot: u8, copy: u8, size: Size) -> Result<Copy, String> {
    let bytes = bytes.get(..size.copy_bytes()).unwrap_or(bytes);
    let (header, rest) =
        bytes.split_first_chunk::<HEADER_BYTES>().ok_or_else(|| format!("cut to {} bytes", bytes.len()))?;
    if bytes.iter().all(|&byte| byte == 0) {
        return Ok(Copy::Empty);
    }
    let mut fields = Fields(header);
    let magic: [u8; 8] = fields.take();
    if magic != MAGIC {
        return Err(format!("starts with \"{}\"", magic.escape_ascii()));
    }
    let version = u16::from_le_bytes(fields.take());
    let place: [u8; 2] = fields.take();
    if place != [slot, copy] {
        return Err(format!("a block of slot {} copy {}", place[0], place[1]));
    }
    let length = u32::from_le_bytes(fields.take()) as usize;
    let sequence = u64::from_le_bytes(fields.take());
    let stated = u32::from_le_bytes(fields.take());
    let stored = u32::from_le_bytes(fields.take());
    let body = rest.get(..length).ok_or_else(|| format!("a length of {length} bytes"))?;
    let computed = checksum(header.get(..HEADER_BYTES - 4).unwrap_or(header), body);
    if stored != computed {
        return Err(format!("checksum {stored:08x}, computed {computed:08x}"));
    }
    if version != ONE_BLOCK && version != MORE_BLOCKS {
        return Ok(Copy::Foreign { version });
    }
    if (version, stated) != (size.version(), size.stated()) {
        return Err(format!("a copy of {} blocks, where it has {}", stated.max(1), size.0));
    }
    let record = layout::decode(body).map_err(|what| format!("a record that is wrong inside: {what}"))?;
    Ok(Copy::Whole(Whole { sequence, record }))
}

/// Cuts fixed fields off a header whose length is known to be enough; zeros beyond its end.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => [0; N],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreId;
    use proptest::prelude::*;

    const ONE: Size = Size::ONE_BLOCK;

    fn copy_of(size: Size) -> Vec<u8> {
        let body = layout::encode(&NodeRecord::blank(StoreId(0x55), None));
        let mut bytes = encode(&body, 7, 1, 0, size).unwrap();
        bytes.resize(size.copy_bytes(), 0);
        bytes
    }

    fn copy_bytes() -> Vec<u8> {
        copy_of(ONE)
    }

    #[test]
    fn a_copy_of_version_1_has_these_bytes_for_ever() {
        let expected = concat!(
            "48412d5354415445",                 // magic
            "0100",                             // version
            "0100",                             // slot 1, copy 0
            "12000000",                         // 18 bytes
            "0700000000000000",                 // sequence
            "00000000",                         // reserved
            "3bff14bf",                         // CRC-32C, computed by another program
            "00",                               // flags
            "55000000000000000000000000000000", // store
            "00",                               // groups
        );
        let hex: String = copy_bytes()[..50].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        assert!(copy_bytes()[50..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_copy_of_version_2_has_these_bytes_for_ever_and_says_its_size() {
        let size = Size(3);
        let bytes = copy_of(size);
        let expected = concat!(
            "48412d5354415445",                 // magic
            "0200",                             // version
            "0100",                             // slot 1, copy 0
            "12000000",                         // 18 bytes
            "0700000000000000",                 // sequence
            "03000000",                         // blocks
            "872cba9f",                         // CRC-32C, computed by another program
            "00",                               // flags
            "55000000000000000000000000000000", // store
            "00",                               // groups
        );
        let hex: String = bytes[..50].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        let mut file = vec![0; size.file_bytes()];
        file[size.offset(1, 0)..][..bytes.len()].copy_from_slice(&bytes);
        assert_eq!(Size::found_in(&file), size);
        // Anywhere else it says nothing.
        file.rotate_right(BLOCK_BYTES);
        assert_eq!(Size::found_in(&file), ONE);
        assert!(decode(&bytes, 1, 0, ONE).is_err());
    }

    #[test]
    fn a_size_has_room_for_the_groups_it_was_made_for() {
        for groups in [1, 63, 64, 100, 1_000, 10_000] {
            let size = Size::for_groups(groups);
            assert!(size.groups() >= groups, "{groups}: {size:?}");
            assert_eq!(size == ONE, groups <= 63);
        }
    }

    #[test]
    fn every_flipped_bit_of_a_copy_is_noticed() {
        let bytes = copy_bytes();
        for bit in 0..50 * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged, 1, 0, ONE).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_copy_in_the_wrong_place_is_refused_by_name() {
        let found = decode(&copy_bytes(), 0, 1, ONE).err().unwrap();
        assert_eq!(found, "a block of slot 1 copy 0");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), with_magic: bool) {
            let bytes = if with_magic { [&copy_bytes()[..12], &bytes[..]].concat() } else { bytes };
            let _ = decode(&bytes, 1, 0, ONE);
            let _ = Size::found_in(&bytes);
        }
    }
}
