//! What a guardian needs to speak for its child when the child no longer can.

use super::key::MacKey;
use super::layout;
use super::octets::{Reader, Sink};
use super::{RESERVED_SEQ, SERIAL_FRAME_BYTES, VERSION};
use crate::engine::ReleasedNotice;
use crate::{Incarnation, LinkId, NodeId};
use zeroize::Zeroizing;

/// The right to say *released* for one life on one link to one life of the peer, and nothing else beyond that
/// session: the pair's key cannot be computed from it. Secret; `Debug` hides the key.
#[derive(Clone, Debug)]
pub struct Testament {
    link: LinkId,
    sender: NodeId,
    incarnation: Incarnation,
    seq: u32,
    key: MacKey,
}

/// Bytes of a testament's header and numbers before its key.
const PLAIN_BYTES: usize = 3 + 16 + 4;

impl Testament {
    /// Its length in bytes, as [`Testament::to_bytes`] gives them.
    pub const BYTES: usize = PLAIN_BYTES + 32;

    pub(super) fn new(link: LinkId, sender: NodeId, incarnation: Incarnation, key: MacKey) -> Self {
        Self { link, sender, incarnation, seq: RESERVED_SEQ, key }
    }

    /// The link that its frames are for.
    #[must_use]
    pub const fn link(&self) -> LinkId {
        self.link
    }

    /// The life that it speaks for.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The frames that say `notice`, each short enough for a serial line; one unless the groups are many. Call
    /// again to repeat it: every frame has its own number. After such a frame the peer accepts no beat of that
    /// life any more.
    ///
    /// # Errors
    /// [`TestamentError::OtherLife`] for a notice about another life, [`TestamentError::Exhausted`] after 65,536
    /// frames.
    pub fn released(&mut self, notice: &ReleasedNotice) -> Result<Vec<Vec<u8>>, TestamentError> {
        if notice.incarnation != self.incarnation {
            return Err(TestamentError::OtherLife { found: notice.incarnation, expected: self.incarnation });
        }
        // Three groups fit a frame whatever their epochs are.
        let parts: Vec<_> =
            if notice.groups.is_empty() { vec![&[][..]] } else { notice.groups.chunks(3).collect() };
        parts.into_iter().map(|groups| self.frame(notice.complete, groups)).collect()
    }

    fn frame(
        &mut self,
        complete: bool,
        groups: &[(crate::GroupId, crate::Epoch)],
    ) -> Result<Vec<u8>, TestamentError> {
        let seq = self.seq;
        self.seq = seq.checked_add(1).ok_or(TestamentError::Exhausted)?;
        let mut out = Vec::with_capacity(SERIAL_FRAME_BYTES);
        layout::write_released(self.sender, seq, complete, groups, &mut out);
        self.key.seal(&mut out);
        Ok(out)
    }

    /// To be stored where only the guardian reads it.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Never grown, so that no unwiped copy is left behind.
        let mut out = Zeroizing::new(Vec::with_capacity(Self::BYTES));
        out.put(&[VERSION, self.link.0, self.sender.0]);
        out.put(&self.incarnation.0.to_be_bytes());
        out.put(&self.seq.to_be_bytes());
        out.put(self.key.bytes());
        out
    }

    /// As stored.
    ///
    /// # Errors
    /// [`TestamentError`] if these are no testament's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TestamentError> {
        let found = bytes.len();
        let length = TestamentError::Length { found };
        let mut r = Reader::new(bytes);
        let version = r.byte().ok_or(length)?;
        if version != VERSION {
            return Err(TestamentError::Version { found: version, supported: VERSION });
        }
        if found != Self::BYTES {
            return Err(TestamentError::Length { found });
        }
        let mut parse = || {
            let (link, sender) = (LinkId(r.byte()?), NodeId(r.byte()?));
            let incarnation = Incarnation(r.u128()?);
            let seq = r.u32()?;
            let key = MacKey::new(Zeroizing::new(r.array()?));
            Some(Self { link, sender, incarnation, seq, key })
        };
        parse().filter(|t| t.seq >= RESERVED_SEQ && t.sender.0 <= 1).ok_or(TestamentError::Content)
    }
}

/// Why a testament cannot be read or used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestamentError {
    /// Not as long as a testament.
    #[error("testament of {found} bytes, expected {}", Testament::BYTES)]
    Length {
        /// Its length.
        found: usize,
    },
    /// Of another version.
    #[error("testament of version {found}, this node reads {supported}")]
    Version {
        /// Its version.
        found: u8,
        /// Ours.
        supported: u8,
    },
    /// Numbers that no testament holds.
    #[error("testament with a number out of range: damaged")]
    Content,
    /// A notice about another life.
    #[error("notice about incarnation {found} under the testament of {expected}")]
    OtherLife {
        /// The notice's.
        found: Incarnation,
        /// The testament's.
        expected: Incarnation,
    },
    /// All numbers are used.
    #[error("the testament's 65,536 numbers are used up")]
    Exhausted,
}
