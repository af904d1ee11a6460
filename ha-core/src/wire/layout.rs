//! The fixed parts of a frame. All integers are big-endian.
//!
//! | kind | layout |
//! |---|---|
//! | greeting | magic, 1 ‖ kind, sender, link, cluster tag (4), incarnation (16), nonce (8), echoed nonce (8), [terms (5)], MAC (16) |
//! | beat | magic, version ‖ kind, sender, seq (4), echo + 1 (4), statements, MAC (16) |
//! | released | magic, 1 ‖ kind, sender, seq (4), flags, (group, epoch)…, MAC (16) |

use super::key::MAC_BYTES;
use super::octets::{Reader, Sink};
use super::terms::WireTerms;
use super::{FrameError, MAX_FRAME_BYTES, RESERVED_SEQ};
use crate::engine::ReleasedNotice;
use crate::{Epoch, GroupId, Incarnation, LinkId, NodeId};

pub(super) const MAGIC: u8 = 0xA7;
const HEADER_BYTES: usize = 3;

/// Greetings and last words keep this format for ever: nodes without a common version still understand who refuses.
pub(super) const BASE_VERSION: u8 = 1;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FrameKind {
    /// Says who asks; authenticated, but could be a recording.
    Greeting,
    /// A beat bound to both present lives.
    Beat,
    /// A guardian's last word, bound like a beat.
    Released,
}

impl FrameKind {
    const fn number(self) -> u8 {
        match self {
            Self::Greeting => 0,
            Self::Beat => 1,
            Self::Released => 2,
        }
    }

    /// The shortest frame of the kind, in bytes.
    const fn least(self) -> usize {
        HEADER_BYTES
            + MAC_BYTES
            + match self {
                Self::Greeting => 37,
                Self::Beat => 8,
                Self::Released => 5,
            }
    }
}

/// A frame cut into its parts, nothing verified.
pub(super) struct Parts<'a> {
    pub(super) kind: FrameKind,
    pub(super) sender: NodeId,
    /// What the MAC covers.
    pub(super) covered: &'a [u8],
    /// What follows the header.
    pub(super) body: &'a [u8],
    pub(super) tag: &'a [u8],
}

/// `ours`: the versions in which beats are understood.
pub(super) fn split<'a>(frame: &'a [u8], ours: &WireTerms) -> Result<Parts<'a>, FrameError> {
    let found = frame.len();
    if found > MAX_FRAME_BYTES {
        return Err(FrameError::TooLong { found, limit: MAX_FRAME_BYTES });
    }
    let too_short = |needed| FrameError::TooShort { found, needed };
    let mut reader = Reader::new(frame);
    // Magic and version are judged on as little as there is: a foreign frame may be shorter than any of ours.
    let magic = reader.byte().ok_or(too_short(FrameKind::Released.least()))?;
    if magic != MAGIC {
        return Err(FrameError::Magic { found: magic });
    }
    let tags = reader.byte().ok_or(too_short(FrameKind::Released.least()))?;
    let version = tags >> 4;
    let beat = tags & 0x0f == FrameKind::Beat.number();
    if version != BASE_VERSION && !(beat && ours.speaks(version)) {
        return Err(FrameError::Version { found: version, supported: ours.newest });
    }
    let kind = match tags & 0x0f {
        0 => FrameKind::Greeting,
        1 => FrameKind::Beat,
        2 => FrameKind::Released,
        found => return Err(FrameError::Kind { found }),
    };
    if found < kind.least() {
        return Err(too_short(kind.least()));
    }
    let (covered, tag) = frame.split_at(found - MAC_BYTES);
    let (_, body) = covered.split_at(HEADER_BYTES);
    let sender = NodeId(reader.byte().ok_or(too_short(kind.least()))?);
    if sender.0 > 1 {
        return Err(FrameError::UnknownNode { found: sender });
    }
    Ok(Parts { kind, sender, covered, body, tag })
}

fn header(out: &mut Vec<u8>, version: u8, kind: FrameKind, sender: NodeId) {
    out.clear();
    out.put(&[MAGIC, version << 4 | kind.number(), sender.0]);
}

/// The content of a greeting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Greeting {
    pub(super) link: LinkId,
    pub(super) cluster: [u8; 4],
    pub(super) incarnation: Incarnation,
    /// The sender's own.
    pub(super) nonce: u64,
    /// The receiver's, as the sender heard it; zero: not heard.
    pub(super) echo: u64,
    /// What the sender speaks and is configured with.
    pub(super) terms: WireTerms,
}

impl Greeting {
    pub(super) fn write(&self, sender: NodeId, out: &mut Vec<u8>) {
        header(out, BASE_VERSION, FrameKind::Greeting, sender);
        out.byte(self.link.0);
        out.put(&self.cluster);
        out.put(&self.incarnation.0.to_be_bytes());
        out.put(&self.nonce.to_be_bytes());
        out.put(&self.echo.to_be_bytes());
        self.terms.write(out);
    }

    /// Octets after the known ones belong to a newer node and are skipped.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut r = Reader::new(body);
        Some(Self {
            link: LinkId(r.byte()?),
            cluster: r.array()?,
            incarnation: Incarnation(r.u128()?),
            nonce: r.u64()?,
            echo: r.u64()?,
            terms: WireTerms::read(&mut r)?,
        })
    }
}

pub(super) fn write_beat(version: u8, sender: NodeId, seq: u32, echo: Option<u32>, out: &mut Vec<u8>) {
    header(out, version, FrameKind::Beat, sender);
    out.put(&seq.to_be_bytes());
    // Every number below the reserved range has a successor.
    out.put(&echo.map_or(0, |seq| seq.saturating_add(1)).to_be_bytes());
}

/// Sequence, echo and the octets of the statements.
pub(super) fn read_beat(body: &[u8]) -> Option<(u32, Option<u32>, &[u8])> {
    let (fixed, statements) = body.split_at_checked(8)?;
    let mut r = Reader::new(fixed);
    let seq = r.u32()?;
    let echo = r.u32()?.checked_sub(1);
    let regular = seq < RESERVED_SEQ && echo.is_none_or(|e| e < RESERVED_SEQ);
    regular.then_some((seq, echo, statements))
}

const COMPLETE: u8 = 1;

pub(super) fn write_released(
    sender: NodeId,
    seq: u32,
    complete: bool,
    groups: &[(GroupId, Epoch)],
    out: &mut Vec<u8>,
) {
    header(out, BASE_VERSION, FrameKind::Released, sender);
    out.put(&seq.to_be_bytes());
    out.byte(if complete { COMPLETE } else { 0 });
    for (group, epoch) in groups {
        out.varint(group.0.into());
        out.varint(epoch.0);
    }
}

pub(super) fn read_released(incarnation: Incarnation, body: &[u8]) -> Option<(u32, ReleasedNotice)> {
    let mut r = Reader::new(body);
    let seq = r.u32()?;
    let flags = r.byte()?;
    let mut groups = Vec::new();
    while !r.is_empty() {
        groups.push((GroupId(r.varint_as()?), Epoch(r.varint()?)));
    }
    let regular = seq >= RESERVED_SEQ && flags & !COMPLETE == 0;
    regular.then_some((seq, ReleasedNotice { incarnation, groups, complete: flags & COMPLETE != 0 }))
}
