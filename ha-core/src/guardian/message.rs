//! What child and guardian tell each other over their socket pair: one message a packet, little-endian.

use crate::engine::Predecessor;
use crate::{Epoch, GroupId, Incarnation, Undo};
use zeroize::Zeroizing;

/// The longest message in bytes.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 * 1024;
/// The longest [`Undo::bytes`] and the longest testament.
pub(super) const MAX_BODY_BYTES: usize = 8 * 1024;
/// The longest kind of an undo and the longest name of a link.
pub(super) const MAX_NAME_BYTES: usize = 128;
/// The most owned groups of which a feed speaks. What it does not speak of is never released for a dead child.
pub(super) const MAX_FEED_GROUPS: usize = (MAX_MESSAGE_BYTES - 1) / FEED_ENTRY_BYTES;
/// A group and its epoch.
const FEED_ENTRY_BYTES: usize = 10;
pub(super) const MAX_FEED_BYTES: usize = 1 + FEED_ENTRY_BYTES * MAX_FEED_GROUPS;

/// From the child.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// The control thread is alive and owns these groups.
    Feed(Vec<(GroupId, Epoch)>),
    /// What is needed to speak on a link in this life's name.
    Testament { link: String, bytes: Zeroizing<Vec<u8>> },
    /// Store this step before its effect begins.
    Undo { id: u64, undo: Undo, group: Option<GroupId> },
    /// The child took the effect back itself.
    UndoDone { id: u64 },
    /// Kill me.
    EndMe { reason: String },
    /// An orderly end follows.
    Goodbye,
    /// This child ends, and what these groups run is neither ended nor undone before the next one is there.
    Detach { id: u64, groups: Vec<GroupId> },
    /// For the service manager.
    Notify { state: Vec<u8> },
}

/// From the guardian.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// The first message of a life.
    Welcome { incarnation: Incarnation, predecessor: Predecessor, notify_socket: Option<Vec<u8>> },
    /// The undo step survives this process from now on.
    Stored { id: u64 },
    /// The undo step was not stored.
    Refused { id: u64, reason: String },
}

const FEED: u8 = 1;
const TESTAMENT: u8 = 2;
const UNDO: u8 = 3;
const UNDO_DONE: u8 = 4;
const END_ME: u8 = 5;
const GOODBYE: u8 = 6;
const NOTIFY: u8 = 7;
const DETACH: u8 = 8;
const WELCOME: u8 = 1;
const STORED: u8 = 2;
const REFUSED: u8 = 3;

/// Writes a feed without allocating; returns its length. Groups beyond [`MAX_FEED_GROUPS`] are left out.
pub(super) fn write_feed(into: &mut [u8; MAX_FEED_BYTES], groups: &[(GroupId, Epoch)]) -> usize {
    into[0] = FEED;
    let mut length = 1;
    for ((group, epoch), place) in groups.iter().zip(into[1..].chunks_exact_mut(FEED_ENTRY_BYTES)) {
        place[..2].copy_from_slice(&group.0.to_le_bytes());
        place[2..].copy_from_slice(&epoch.0.to_le_bytes());
        length += FEED_ENTRY_BYTES;
    }
    length
}

impl Request {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Feed(groups) => {
                let mut bytes = [0; MAX_FEED_BYTES];
                let length = write_feed(&mut bytes, groups);
                bytes[..length].to_vec()
            }
            Self::Testament { link, bytes } => {
                let mut out = vec![TESTAMENT];
                put_name(&mut out, link);
                out.extend_from_slice(bytes);
                out
            }
            Self::Undo { id, undo, group } => {
                let mut out = vec![UNDO];
                out.extend_from_slice(&id.to_le_bytes());
                put_undo(&mut out, undo, *group);
                out
            }
            Self::UndoDone { id } => [&[UNDO_DONE][..], &id.to_le_bytes()].concat(),
            Self::EndMe { reason } => [&[END_ME], reason.as_bytes()].concat(),
            Self::Goodbye => vec![GOODBYE],
            Self::Detach { id, groups } => {
                let mut out = vec![DETACH];
                out.extend_from_slice(&id.to_le_bytes());
                put_groups(&mut out, groups);
                out
            }
            Self::Notify { state } => [&[NOTIFY], state.as_slice()].concat(),
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        Some(match from.byte()? {
            FEED if from.0.len().is_multiple_of(FEED_ENTRY_BYTES) => {
                let mut groups = Vec::with_capacity(from.0.len() / FEED_ENTRY_BYTES);
                while !from.0.is_empty() {
                    groups.push((GroupId(from.u16()?), Epoch(from.u64()?)));
                }
                Self::Feed(groups)
            }
            TESTAMENT => Self::Testament { link: from.name()?, bytes: from.rest().into() },
            UNDO => {
                let id = from.u64()?;
                let (undo, group) = from.undo()?;
                Self::Undo { id, undo, group }
            }
            UNDO_DONE => Self::UndoDone { id: from.u64()? },
            END_ME => Self::EndMe { reason: String::from_utf8_lossy(from.0).into_owned() },
            GOODBYE => Self::Goodbye,
            DETACH => Self::Detach { id: from.u64()?, groups: from.groups()? },
            NOTIFY => Self::Notify { state: from.rest() },
            _ => return None,
        })
    }
}

impl Reply {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Welcome { incarnation, predecessor, notify_socket } => {
                let mut out = vec![WELCOME, u8::from(*predecessor == Predecessor::Gone)];
                out.extend_from_slice(&incarnation.0.to_le_bytes());
                if let Some(address) = notify_socket {
                    out.push(1);
                    out.extend_from_slice(address);
                }
                out
            }
            Self::Stored { id } => [&[STORED][..], &id.to_le_bytes()].concat(),
            Self::Refused { id, reason } => [&[REFUSED][..], &id.to_le_bytes(), reason.as_bytes()].concat(),
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        Some(match from.byte()? {
            WELCOME => {
                let gone = from.byte()? == 1;
                Self::Welcome {
                    predecessor: if gone { Predecessor::Gone } else { Predecessor::Leftovers },
                    incarnation: Incarnation(from.u128()?),
                    notify_socket: from.byte().map(|_| from.rest()),
                }
            }
            STORED => Self::Stored { id: from.u64()? },
            REFUSED => {
                Self::Refused { id: from.u64()?, reason: String::from_utf8_lossy(from.0).into_owned() }
            }
            _ => return None,
        })
    }
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend_from_slice(&name.as_bytes()[..usize::from(length)]);
}

/// Writes an undo step and its group; also the body of a record in the undo list.
pub(super) fn put_undo(out: &mut Vec<u8>, undo: &Undo, group: Option<GroupId>) {
    out.extend_from_slice(&undo.version.to_le_bytes());
    // The first 256 groups as they were when a group's number had one byte.
    match group.map(|g| (g.0, u8::try_from(g.0))) {
        None => out.extend_from_slice(&[0, 0]),
        Some((_, Ok(byte))) => out.extend_from_slice(&[1, byte]),
        Some((two, Err(_))) => out.extend(std::iter::once(2).chain(two.to_le_bytes())),
    }
    put_name(out, &undo.kind);
    out.extend_from_slice(&undo.bytes);
}

/// Writes group numbers to the end of a message or record.
pub(super) fn put_groups(out: &mut Vec<u8>, groups: &[GroupId]) {
    groups.iter().for_each(|g| out.extend_from_slice(&u32::from(g.0).to_le_bytes()));
}

/// Takes fields from the front of a message.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[b]| b)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Option<u128> {
        self.take().map(u128::from_le_bytes)
    }

    fn name(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        let (name, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(name.to_vec()).ok()
    }

    /// Group numbers, to the end.
    pub(super) fn groups(&mut self) -> Option<Vec<GroupId>> {
        let mut groups = Vec::new();
        while !self.0.is_empty() {
            groups.push(GroupId(self.u32()?.try_into().ok()?));
        }
        Some(groups)
    }

    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).to_vec()
    }

    pub(super) fn undo(&mut self) -> Option<(Undo, Option<GroupId>)> {
        let version = self.u16()?;
        let group = match self.byte()? {
            1 => Some(GroupId(self.byte()?.into())),
            2 => Some(GroupId(self.u16()?)),
            _ => {
                self.byte()?;
                None
            }
        };
        let kind = self.name()?;
        Some((Undo { kind, version, bytes: self.rest() }, group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn requests() -> Vec<Request> {
        let undo = Undo { kind: "address".into(), version: 3, bytes: vec![1, 2, 3] };
        vec![
            Request::Feed(vec![]),
            Request::Feed(vec![(GroupId(0), Epoch(7)), (GroupId(9_999), Epoch(u64::MAX))]),
            Request::Feed((0..MAX_FEED_GROUPS as u16).map(|g| (GroupId(g), Epoch(1))).collect()),
            Request::Testament { link: "udp-a".into(), bytes: vec![9; 40].into() },
            Request::Undo { id: 5, undo: undo.clone(), group: Some(GroupId(0)) },
            Request::Undo { id: 6, undo: undo.clone(), group: Some(GroupId(255)) },
            Request::Undo { id: 7, undo: undo.clone(), group: Some(GroupId(256)) },
            Request::Undo { id: 8, undo, group: None },
            Request::UndoDone { id: 5 },
            Request::EndMe { reason: "stop overran".into() },
            Request::Goodbye,
            Request::Detach { id: 7, groups: vec![GroupId(0), GroupId(255)] },
            Request::Notify { state: b"READY=1".to_vec() },
        ]
    }

    #[test]
    fn every_message_is_read_as_it_was_written() {
        for request in requests() {
            assert!(Request::decode(&request.encode()) == Some(request));
        }
        for reply in [
            Reply::Welcome {
                incarnation: Incarnation(1 << 100),
                predecessor: Predecessor::Leftovers,
                notify_socket: Some(b"@x".to_vec()),
            },
            Reply::Welcome {
                incarnation: Incarnation(2),
                predecessor: Predecessor::Gone,
                notify_socket: None,
            },
            Reply::Stored { id: 1 },
            Reply::Refused { id: 2, reason: "unknown kind".into() },
        ] {
            assert_eq!(Reply::decode(&reply.encode()), Some(reply));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::decode(&bytes);
            let _ = Reply::decode(&bytes);
        }
    }
}
