//! One slot of the state file: the same record twice, in two blocks of 4 KiB.
//!
//! Two slots alternate so that a torn write never harms the newest acknowledged record; two copies in a slot
//! so that one bad block does not either.

use super::layout;
use crate::NodeRecord;
use std::fmt;

pub(super) const SLOTS: u8 = 2;
pub(super) const COPIES: u8 = 2;
pub(super) const COPY_BYTES: usize = 4096;
pub(super) const SLOT_BYTES: usize = COPY_BYTES * COPIES as usize;
pub(super) const FILE_BYTES: usize = SLOT_BYTES * SLOTS as usize;

const MAGIC: [u8; 8] = *b"HA-STATE";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 32;
const SECTOR_BYTES: usize = 512;
/// What fits into a copy.
pub(super) const BODY_BYTES: usize = COPY_BYTES - HEADER_BYTES;

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
pub(super) fn encode(record: &NodeRecord, sequence: u64, slot: u8, copy: u8) -> Option<Vec<u8>> {
    let body = layout::encode(record);
    if body.len() > BODY_BYTES {
        return None;
    }
    let mut out = Vec::with_capacity(COPY_BYTES);
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend([slot, copy]);
    out.extend((body.len() as u32).to_le_bytes());
    out.extend(sequence.to_le_bytes());
    out.extend([0; 4]);
    out.extend(checksum(&out, &body).to_le_bytes());
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
pub(super) fn decode(bytes: &[u8], slot: u8, copy: u8) -> Result<Copy, String> {
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
    let _reserved: [u8; 4] = fields.take();
    let stored = u32::from_le_bytes(fields.take());
    let body = rest.get(..length).ok_or_else(|| format!("a length of {length} bytes"))?;
    let computed = checksum(header.get(..HEADER_BYTES - 4).unwrap_or(header), body);
    if stored != computed {
        return Err(format!("checksum {stored:08x}, computed {computed:08x}"));
    }
    if version != VERSION {
        return Ok(Copy::Foreign { version });
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

    fn copy_bytes() -> Vec<u8> {
        let mut bytes = encode(&NodeRecord::blank(StoreId(0x55), None), 7, 1, 0).unwrap();
        bytes.resize(COPY_BYTES, 0);
        bytes
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
    fn every_flipped_bit_of_a_copy_is_noticed() {
        let bytes = copy_bytes();
        for bit in 0..50 * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged, 1, 0).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_copy_in_the_wrong_place_is_refused_by_name() {
        let found = decode(&copy_bytes(), 0, 1).err().unwrap();
        assert_eq!(found, "a block of slot 1 copy 0");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), with_magic: bool) {
            let bytes = if with_magic { [&copy_bytes()[..12], &bytes[..]].concat() } else { bytes };
            let _ = decode(&bytes, 1, 0);
        }
    }
}
