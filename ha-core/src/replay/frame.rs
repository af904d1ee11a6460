//! How entries lie in bytes: `length u32 · CRC-32C of length and payload u32 · payload`, all little-endian.

use super::error::ReplayError;

/// What a file holds, by its first bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// Steps of an engine.
    Steps,
    /// Explanations of its decisions.
    Explanations,
}

impl FileKind {
    const fn magic(self) -> [u8; 8] {
        match self {
            Self::Steps => *b"HA-STEPS",
            Self::Explanations => *b"HA-EXPLN",
        }
    }
}

/// The format that this version writes and reads.
pub const FORMAT_VERSION: u16 = 1;
/// Magic, version, six bytes of reserve.
pub const FILE_HEADER_BYTES: usize = 16;
/// The largest payload.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
pub(super) const HEAD_BYTES: usize = 8;

/// The header of a file.
pub(super) fn file_header(kind: FileKind) -> [u8; FILE_HEADER_BYTES] {
    let mut header = [0; FILE_HEADER_BYTES];
    let parts = kind.magic().into_iter().chain(FORMAT_VERSION.to_le_bytes());
    header.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    header
}

/// Checks a file's header. `place` is for the message.
pub(super) fn check_header(kind: FileKind, bytes: &[u8], place: &str) -> Result<(), ReplayError> {
    let not_a_log = |found: String| ReplayError::NotALog { place: place.into(), found };
    let Some(header) = bytes.first_chunk::<FILE_HEADER_BYTES>() else {
        return Err(not_a_log(format!("{} bytes", bytes.len())));
    };
    if !header.starts_with(&kind.magic()) {
        let start: Vec<u8> = header.iter().take(8).copied().collect();
        return Err(not_a_log(format!("a file that begins with \"{}\"", start.escape_ascii())));
    }
    let found = u16::from_le_bytes([header[8], header[9]]);
    if found != FORMAT_VERSION {
        return Err(ReplayError::Version { place: place.into(), found, expected: FORMAT_VERSION });
    }
    Ok(())
}

/// Appends `value` as one frame.
pub(crate) fn append(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    let start = begin(out);
    payload(out, value);
    end(out, start);
}

/// Appends `value` to the frame that was begun.
pub(super) fn payload(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    let length = out.len();
    match postcard::to_extend(value, std::mem::take(out)) {
        Ok(filled) => *out = filled,
        // Only a sequence of unknown length fails, and these types have none.
        Err(_) => out.truncate(length),
    }
}

/// Begins a frame at the end of `out`; what is appended then is its payload.
pub(super) fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend([0; HEAD_BYTES]);
    start
}

/// Ends the frame that began at `start`.
pub(super) fn end(out: &mut [u8], start: usize) {
    let Some(frame) = out.get_mut(start..) else { return };
    let length = u32::try_from(frame.len().saturating_sub(HEAD_BYTES)).unwrap_or(u32::MAX).to_le_bytes();
    let Some((head, payload)) = frame.split_at_mut_checked(HEAD_BYTES) else { return };
    let sum = checksum(length, payload).to_le_bytes();
    head.iter_mut().zip(length.into_iter().chain(sum)).for_each(|(to, from)| *to = from);
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), payload)
}

/// What lies at the start of `bytes`.
pub(super) enum Cut<'a> {
    /// A whole frame: its payload, and the number of bytes it takes.
    Whole(&'a [u8], usize),
    /// Nothing: the end.
    End,
    /// Something that is no whole frame. True if it reaches the end of the bytes, as a torn write does.
    Bad(String, bool),
}

pub(super) fn cut(bytes: &[u8]) -> Cut<'_> {
    if bytes.is_empty() {
        return Cut::End;
    }
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Cut::Bad(format!("{} bytes of a frame's head", bytes.len()), true);
    };
    let Some((sum, rest)) = rest.split_first_chunk::<4>() else {
        return Cut::Bad(format!("{} bytes of a frame's head", bytes.len()), true);
    };
    let wanted = u32::from_le_bytes(*length) as usize;
    let torn = bytes.iter().all(|b| *b == 0);
    if wanted > FRAME_BYTES_MAX {
        return Cut::Bad(format!("a frame of {wanted} bytes; none is longer than {FRAME_BYTES_MAX}"), false);
    }
    let Some(payload) = rest.get(..wanted) else {
        return Cut::Bad(format!("{} of the {wanted} bytes of a frame", rest.len()), true);
    };
    let (stored, computed) = (u32::from_le_bytes(*sum), checksum(*length, payload));
    if stored != computed {
        let found = format!("checksum {stored:08x}, computed {computed:08x}");
        return Cut::Bad(found, torn || rest.len() == wanted);
    }
    Cut::Whole(payload, HEAD_BYTES + wanted)
}

/// The number of bytes, from the start of a file, that are whole: header and frames.
pub(super) fn whole_bytes(file: &[u8]) -> usize {
    let mut at = FILE_HEADER_BYTES.min(file.len());
    while let Some(Cut::Whole(_, taken)) = file.get(at..).map(cut) {
        at += taken;
    }
    at
}
