//! The header of every sector: what it is, of which device, whether it is whole. The same in all format versions.

use super::body::Fields;
use super::geometry::Place;
use ha_core::InitId;

/// The format version written here.
pub const VERSION: u16 = 1;
const MAGIC: [u8; 8] = *b"HA-ARBIT";
const HEADER_BYTES: usize = 64;
const CHECKSUM_AT: usize = HEADER_BYTES - 4;

/// What every sector of one device bears.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stamp {
    /// Bytes of a sector.
    pub sector: u32,
    /// The installation that the device belongs to.
    pub init: InitId,
    /// One life of the device: random at each initialisation.
    pub device: u128,
}

/// Why a sector is not what was expected in its place.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// All zeros.
    #[error("it is blank: nothing was ever written there")]
    Blank,
    /// Not a sector of an arbiter.
    #[error("it starts with \"{0}\" instead of \"HA-ARBIT\"")]
    Magic(String),
    /// Torn, or damaged later.
    #[error("its checksum is {stored:08x}, computed {computed:08x}: torn or damaged")]
    Checksum {
        /// As written.
        stored: u32,
        /// As it would have to be.
        computed: u32,
    },
    /// Written by another version of the program.
    #[error("its format version is {0}, this program knows {VERSION}")]
    Version(u16),
    /// Of another installation.
    #[error("it belongs to installation {found}, not to {expected}")]
    Installation {
        /// Found.
        found: InitId,
        /// Configured.
        expected: InitId,
    },
    /// The device was initialised anew.
    #[error("the device was initialised again while it was in use")]
    Reinitialised,
    /// Of another sector size.
    #[error("it was written for sectors of {found} bytes, not of {expected}")]
    SectorSize {
        /// Found.
        found: u32,
        /// Of this device.
        expected: u32,
    },
    /// A sector that belongs elsewhere: the device mixed up its addresses, or was copied.
    #[error("it belongs in another place: found {found}, expected {expected}")]
    Misplaced {
        /// Found.
        found: String,
        /// Expected.
        expected: String,
    },
    /// Whole, but senseless.
    #[error("it is wrong inside: {0}")]
    Senseless(String),
}

impl Flaw {
    /// Whether a write that was cut short may look like this. Everything else is a whole sector of something else.
    #[must_use]
    pub const fn may_be_torn(&self) -> bool {
        matches!(self, Self::Blank | Self::Magic(_) | Self::Checksum { .. })
    }
}

/// One sector: header, body, zeros.
pub(crate) fn seal(stamp: &Stamp, place: Place, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(stamp.sector as usize);
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend(address(place));
    out.extend(stamp.sector.to_le_bytes());
    out.extend(stamp.init.0.to_le_bytes());
    out.extend(stamp.device.to_le_bytes());
    out.extend((body.len() as u32).to_le_bytes());
    out.resize(CHECKSUM_AT, 0);
    out.extend(checksum(&out, body).to_le_bytes());
    out.extend(body);
    debug_assert!(out.len() <= 512, "a body must fit into the smallest sector");
    out.resize(stamp.sector as usize, 0);
    out
}

/// Kind, node, copy, group: six bytes.
fn address(place: Place) -> [u8; 6] {
    let (kind, node, copy, group) = match place {
        Place::Super { copy } => (1, 0, copy, 0),
        Place::Name { group } => (2, 0, 0, group),
        Place::Block { group, node, copy } => (3, node, copy, group),
        Place::Liveness { group, node } => (4, node, 0, group),
    };
    let [low, high] = u16::to_le_bytes(group);
    [kind, node, copy, 0, low, high]
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), body)
}

/// Checks a sector; without a stamp (the superblock, by which the stamp is learned) whatever it bears is accepted.
pub(crate) fn open(bytes: &[u8], place: Place, expected: Option<&Stamp>) -> Result<(Stamp, Vec<u8>), Flaw> {
    if bytes.iter().all(|&byte| byte == 0) {
        return Err(Flaw::Blank);
    }
    let found = parse(bytes, place);
    let (stamp, body) = match found {
        Ok(found) => found,
        Err(Parse::Short(what)) => return Err(Flaw::Senseless(what)),
        Err(Parse::Flaw(flaw)) => return Err(flaw),
    };
    if let Some(expected) = expected {
        check(&stamp, expected)?;
    }
    Ok((stamp, body))
}

enum Parse {
    Short(String),
    Flaw(Flaw),
}

impl From<String> for Parse {
    fn from(what: String) -> Self {
        Self::Short(what)
    }
}

fn parse(bytes: &[u8], place: Place) -> Result<(Stamp, Vec<u8>), Parse> {
    let mut fields = Fields(bytes);
    let magic: [u8; 8] = fields.take()?;
    if magic != MAGIC {
        return Err(Parse::Flaw(Flaw::Magic(magic.escape_ascii().to_string())));
    }
    let version = fields.u16()?;
    let at: [u8; 6] = fields.take()?;
    let stamp = Stamp { sector: fields.u32()?, init: InitId(fields.u128()?), device: fields.u128()? };
    let length = fields.u32()? as usize;
    let (header, rest) = bytes.split_at_checked(CHECKSUM_AT).ok_or_else(|| "too short".to_owned())?;
    let mut rest = Fields(rest);
    let stored = rest.u32()?;
    let body = rest.0.get(..length).unwrap_or(rest.0);
    let computed = checksum(header, body);
    if stored != computed {
        return Err(Parse::Flaw(Flaw::Checksum { stored, computed }));
    }
    if version != VERSION {
        return Err(Parse::Flaw(Flaw::Version(version)));
    }
    if at != address(place) {
        let [found, expected] = [at, address(place)].map(describe);
        return Err(Parse::Flaw(Flaw::Misplaced { found, expected }));
    }
    Ok((stamp, body.to_vec()))
}

fn check(found: &Stamp, expected: &Stamp) -> Result<(), Flaw> {
    if found.init != expected.init {
        return Err(Flaw::Installation { found: found.init, expected: expected.init });
    }
    if found.device != expected.device {
        return Err(Flaw::Reinitialised);
    }
    if found.sector != expected.sector {
        return Err(Flaw::SectorSize { found: found.sector, expected: expected.sector });
    }
    Ok(())
}

fn describe([kind, node, copy, _, low, high]: [u8; 6]) -> String {
    let group = u16::from_le_bytes([low, high]);
    match kind {
        1 => format!("superblock copy {copy}"),
        2 => format!("the name of group {group}"),
        3 => format!("the block of node {node} copy {copy} of group {group}"),
        4 => format!("the liveness of node {node} of group {group}"),
        other => format!("something of kind {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLACE: Place = Place::Block { group: 2, node: 1, copy: 0 };

    fn stamp() -> Stamp {
        Stamp { sector: 512, init: InitId(0x11), device: 0x22 }
    }

    #[test]
    fn a_sealed_sector_opens_in_its_place_only() {
        let bytes = seal(&stamp(), PLACE, b"body");
        assert_eq!(bytes.len(), 512);
        assert_eq!(open(&bytes, PLACE, Some(&stamp())).unwrap(), (stamp(), b"body".to_vec()));
        let elsewhere = Place::Block { group: 2, node: 0, copy: 0 };
        let flaw = open(&bytes, elsewhere, Some(&stamp())).unwrap_err();
        assert!(flaw.to_string().contains("found the block of node 1 copy 0 of group 2"), "{flaw}");
        assert!(!flaw.may_be_torn());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = seal(&stamp(), PLACE, b"body");
        for bit in 0..68 * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&damaged, PLACE, Some(&stamp())).unwrap_err().may_be_torn(), "bit {bit}");
        }
    }

    #[test]
    fn foreign_sectors_are_refused_by_name() {
        let bytes = seal(&stamp(), PLACE, b"body");
        let flaw = |expected| open(&bytes, PLACE, Some(&expected)).unwrap_err();
        assert!(matches!(flaw(Stamp { init: InitId(9), ..stamp() }), Flaw::Installation { .. }));
        assert!(matches!(flaw(Stamp { device: 9, ..stamp() }), Flaw::Reinitialised));
        assert!(matches!(flaw(Stamp { sector: 4096, ..stamp() }), Flaw::SectorSize { found: 512, .. }));
        assert_eq!(open(&[0; 512], PLACE, None).unwrap_err(), Flaw::Blank);
        assert!(matches!(open(b"\x7fELF....", PLACE, None).unwrap_err(), Flaw::Magic(_)));
    }

    #[test]
    fn another_version_is_refused_only_if_it_is_whole() {
        let mut bytes = seal(&stamp(), PLACE, b"body");
        bytes[8] = 7;
        assert!(matches!(open(&bytes, PLACE, None).unwrap_err(), Flaw::Checksum { .. }));
        let sum = checksum(&bytes[..CHECKSUM_AT], b"body");
        bytes[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(open(&bytes, PLACE, None).unwrap_err(), Flaw::Version(7));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), with_magic: bool) {
            let bytes = if with_magic { [&MAGIC[..], &bytes[..]].concat() } else { bytes };
            let _ = open(&bytes, PLACE, Some(&stamp()));
        }
    }
}
