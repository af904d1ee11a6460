//! What a transaction does to the tree, and its bytes.

use bytes::{BufMut, Bytes};
use std::fmt;
use std::path::Path;

/// Operations of one transaction.
pub(crate) const MAX_OPS: usize = 64;
const MAX_PATH_BYTES: usize = 1024;
const MAX_NAME_BYTES: usize = 200;
/// Of one operation, before its paths and its data.
const OP_HEAD_BYTES: usize = 20;

/// A path below the tree's root: UTF-8, at most 1024 bytes, names of 1..=200 bytes, no `.` and no `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RelPath(Box<str>);

/// What is wrong with a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PathFault {
    /// It has no bytes.
    #[error("it is empty")]
    Empty,
    /// It has more than 1024 bytes, or one of its names more than 200.
    #[error("it is longer than 1024 bytes, or one of its names is longer than 200")]
    TooLong,
    /// An empty name: a leading, trailing or double `/`.
    #[error("it has a leading, trailing or double \"/\"")]
    EmptyName,
    /// A name that is `.` or `..`.
    #[error("it has a name that is \".\" or \"..\"")]
    Dots,
    /// A zero byte.
    #[error("it has a zero byte")]
    Nul,
    /// Not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
}

impl RelPath {
    /// Checks `path`.
    pub(crate) fn new(path: &str) -> Result<Self, PathFault> {
        match path {
            "" => return Err(PathFault::Empty),
            long if long.len() > MAX_PATH_BYTES => return Err(PathFault::TooLong),
            nul if nul.contains('\0') => return Err(PathFault::Nul),
            _ => {}
        }
        for name in path.split('/') {
            match name {
                "" => return Err(PathFault::EmptyName),
                "." | ".." => return Err(PathFault::Dots),
                long if long.len() > MAX_NAME_BYTES => return Err(PathFault::TooLong),
                _ => {}
            }
        }
        Ok(Self(path.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }

    /// The directory it is in; `None` at the top.
    pub(crate) fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(dir, _)| dir)
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// What is required and known of the name that an operation writes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Target {
    /// It must be absent.
    pub(crate) new: bool,
    /// It was absent when the transaction got its number. Recovery relies on it.
    pub(crate) was_absent: bool,
}

/// One operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Op {
    /// Makes or replaces a file.
    Put { path: RelPath, target: Target, data: Bytes },
    /// Adds to a file of exactly `offset` bytes; at zero it makes or replaces one.
    Append { path: RelPath, target: Target, offset: u64, data: Bytes },
    /// Moves a file, replacing `to`.
    Rename { from: RelPath, to: RelPath, target: Target },
    /// Removes a file.
    Remove { path: RelPath },
}

impl Op {
    /// The path that it writes or removes.
    pub(crate) const fn path(&self) -> &RelPath {
        match self {
            Self::Put { path, .. } | Self::Append { path, .. } | Self::Remove { path } => path,
            Self::Rename { to, .. } => to,
        }
    }

    fn encoded_len(&self) -> usize {
        OP_HEAD_BYTES
            + match self {
                Self::Put { path, data, .. } | Self::Append { path, data, .. } => path.0.len() + data.len(),
                Self::Rename { from, to, .. } => from.0.len() + to.0.len(),
                Self::Remove { path } => path.0.len(),
            }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let none = Bytes::new();
        let (code, target, first, second, offset, data) = match self {
            Self::Put { path, target, data } => (1, *target, path, "", 0, data),
            Self::Append { path, target, offset, data } => (2, *target, path, "", *offset, data),
            Self::Rename { from, to, target } => (3, *target, from, to.as_str(), 0, &none),
            Self::Remove { path } => (4, Target::default(), path, "", 0, &none),
        };
        out.put_u8(code);
        out.put_u8(u8::from(target.new) | u8::from(target.was_absent) << 1);
        out.put_u16_le(first.0.len() as u16);
        out.put_u16_le(second.len() as u16);
        out.put_u16_le(0);
        out.put_u64_le(offset);
        out.put_u32_le(data.len() as u32);
        out.put_slice(first.0.as_bytes());
        out.put_slice(second.as_bytes());
        out.put_slice(data);
    }
}

/// What is wrong with the bytes of a transaction.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum OpsError {
    #[error("operations: found {found} bytes, expected {expected}")]
    Length { found: usize, expected: usize },
    #[error("found {0} operations, expected 1 to 64")]
    Count(usize),
    #[error("found operation code {0}, expected 1 to 4")]
    Code(u8),
    #[error("found operation flags {0:#x}, expected none but 1 and 2")]
    Flags(u8),
    #[error("path: {0}")]
    Path(#[from] PathFault),
    #[error("an operation has fields that its kind does not use")]
    Unused,
}

/// The bytes that [`encode`] makes.
pub(crate) fn encoded_len(ops: &[Op]) -> usize {
    2 + ops.iter().map(Op::encoded_len).sum::<usize>()
}

/// Appends the bytes of `ops`, whose number the caller checked.
pub(crate) fn encode(ops: &[Op], out: &mut Vec<u8>) {
    out.put_u16_le(ops.len() as u16);
    ops.iter().for_each(|op| op.encode(out));
}

fn take(from: &mut Bytes, len: usize) -> Result<Bytes, OpsError> {
    if from.len() < len {
        return Err(OpsError::Length { found: from.len(), expected: len });
    }
    Ok(from.split_to(len))
}

fn array<const N: usize>(from: &mut Bytes) -> Result<[u8; N], OpsError> {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&take(from, N)?);
    Ok(bytes)
}

fn path(from: &mut Bytes, len: usize) -> Result<RelPath, OpsError> {
    let bytes = take(from, len)?;
    Ok(RelPath::new(std::str::from_utf8(&bytes).map_err(|_| PathFault::NotUtf8)?)?)
}

fn decode_one(from: &mut Bytes) -> Result<Op, OpsError> {
    let [code, flags] = array(from)?;
    if flags & !3 != 0 {
        return Err(OpsError::Flags(flags));
    }
    let target = Target { new: flags & 1 != 0, was_absent: flags & 2 != 0 };
    let path_len = u16::from_le_bytes(array(from)?);
    let second_len = u16::from_le_bytes(array(from)?);
    let pad = u16::from_le_bytes(array(from)?);
    let offset = u64::from_le_bytes(array(from)?);
    let data_len = u32::from_le_bytes(array(from)?);
    let used = match code {
        1 => second_len == 0 && offset == 0,
        2 => second_len == 0,
        3 => offset == 0 && data_len == 0,
        4 => second_len == 0 && offset == 0 && data_len == 0 && flags == 0,
        other => return Err(OpsError::Code(other)),
    };
    if !used || pad != 0 {
        return Err(OpsError::Unused);
    }
    let first = path(from, path_len.into())?;
    Ok(match code {
        1 => Op::Put { path: first, target, data: take(from, data_len as usize)? },
        2 => Op::Append { path: first, target, offset, data: take(from, data_len as usize)? },
        3 => Op::Rename { from: first, to: path(from, second_len.into())?, target },
        _ => Op::Remove { path: first },
    })
}

/// The operations of a payload; their data share its memory.
pub(crate) fn decode(mut payload: Bytes) -> Result<Vec<Op>, OpsError> {
    let count = usize::from(u16::from_le_bytes(array(&mut payload)?));
    if count == 0 || count > MAX_OPS {
        return Err(OpsError::Count(count));
    }
    let ops = (0..count).map(|_| decode_one(&mut payload)).collect::<Result<_, _>>()?;
    if payload.is_empty() { Ok(ops) } else { Err(OpsError::Length { found: payload.len(), expected: 0 }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        let long = "x".repeat(201);
        let far = "x/".repeat(513);
        for (bad, fault) in [
            ("", PathFault::Empty),
            ("/a", PathFault::EmptyName),
            ("a/", PathFault::EmptyName),
            ("a//b", PathFault::EmptyName),
            ("../a", PathFault::Dots),
            ("a/./b", PathFault::Dots),
            ("a\0", PathFault::Nul),
            (&long, PathFault::TooLong),
            (&far, PathFault::TooLong),
        ] {
            assert_eq!(RelPath::new(bad), Err(fault), "{bad}");
        }
        assert_eq!(RelPath::new("a/b c/ü").unwrap().parent(), Some("a/b c"));
    }

    fn ops() -> Vec<Op> {
        let path = |p| RelPath::new(p).unwrap();
        let target = Target { new: true, was_absent: true };
        vec![
            Op::Put { path: path("a/b"), target, data: Bytes::from_static(b"hello") },
            Op::Append { path: path("a/b"), target: Target::default(), offset: 5, data: Bytes::new() },
            Op::Rename { from: path("a/b"), to: path("c"), target },
            Op::Remove { path: path("c") },
        ]
    }

    #[test]
    fn operations_are_read_back_and_trailing_bytes_are_refused() {
        let mut bytes = Vec::new();
        encode(&ops(), &mut bytes);
        assert_eq!(bytes.len(), encoded_len(&ops()));
        assert_eq!(decode(bytes.clone().into()).unwrap(), ops());
        bytes.push(0);
        assert!(matches!(decode(bytes.clone().into()), Err(OpsError::Length { found: 1, .. })));
        for len in 0..bytes.len() - 1 {
            decode(Bytes::copy_from_slice(&bytes[..len])).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80), start in 0..3_usize) {
            let mut payload = vec![1, 0, start as u8 + 1, 0];
            payload.extend(bytes);
            let _ = decode(payload.into());
        }
    }
}
