//! The pair's key, and keys derived from it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

type HmacSha256 = Hmac<Sha256>;

/// Bytes of a MAC on the wire.
pub(super) const MAC_BYTES: usize = 16;

/// The secret that both nodes share. Never shown, wiped from memory when dropped.
#[derive(Clone)]
pub struct PairKey(Zeroizing<Vec<u8>>);

impl PairKey {
    /// The shortest key in bytes.
    pub const MIN_BYTES: usize = 32;
    /// The longest key in bytes.
    pub const MAX_BYTES: usize = 4096;

    /// A key from its bytes; they should come from the system's random source.
    ///
    /// # Errors
    /// [`KeyError::Length`] outside 32–4096 bytes, [`KeyError::Uniform`] if all bytes are equal to zero.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        if !(Self::MIN_BYTES..=Self::MAX_BYTES).contains(&bytes.len()) {
            return Err(KeyError::Length { found: bytes.len() });
        }
        if bytes.iter().all(|b| *b == 0) {
            return Err(KeyError::Uniform);
        }
        Ok(Self(Zeroizing::new(bytes.to_vec())))
    }

    /// Reads a key file, such as `head -c 32 /dev/urandom > pair.key` or `openssl rand -hex 32` makes. The
    /// bytes are taken as they are; only the line end after a text is left out.
    ///
    /// # Errors
    /// [`KeyError`], naming the file: unreadable, no regular file, open to group or others, or of a bad length.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let failed = |source| KeyError::Read { path: path.into(), source };
        // Asked by name first, because opening a FIFO would hang the start; asked again through the handle,
        // so that nobody can exchange the file in between.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(KeyError::NotAFile { path: path.into() });
        }
        let file = std::fs::File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        check_mode(path, &meta)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(Self::MAX_BYTES + 1));
        file.take(Self::MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        Self::from_bytes(without_line_end(&bytes))
            .map_err(|e| KeyError::File { path: path.into(), source: Box::new(e) })
    }

    /// A key for one purpose: `HMAC-SHA256(key, label ‖ parts)`, each part preceded by its length, so that no
    /// two purposes or contexts share a key.
    #[must_use]
    pub fn derive(&self, label: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        derive(keyed(&self.0), label, parts)
    }
}

impl fmt::Debug for PairKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairKey(hidden)")
    }
}

#[cfg(unix)]
fn check_mode(path: &Path, meta: &std::fs::Metadata) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(KeyError::Open { path: path.into(), mode }) }
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &std::fs::Metadata) -> Result<(), KeyError> {
    Ok(())
}

/// Without the line end that editors and `echo` add, if the rest is text; raw random bytes stay untouched.
fn without_line_end(bytes: &[u8]) -> &[u8] {
    let text = bytes.strip_suffix(b"\n").map(|b| b.strip_suffix(b"\r").unwrap_or(b));
    match text {
        Some(text) if text.iter().all(u8::is_ascii_graphic) => text,
        _ => bytes,
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Too short or too long.
    #[error("a key of {found} bytes; expected {min} to {max} random bytes", min = PairKey::MIN_BYTES, max = PairKey::MAX_BYTES)]
    Length {
        /// Its length.
        found: usize,
    },
    /// Nothing but zeros.
    #[error("a key of nothing but zero bytes; expected random bytes")]
    Uniform,
    /// The file's content is no key.
    #[error("key file {path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<Self>,
    },
    /// The file could not be read.
    #[error("key file {path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A directory, device or pipe.
    #[error("key file {path} is not a regular file", path = path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// Others can read or change it.
    #[error("key file {path} has mode {mode:04o}: others can use it; run `chmod 600 {path}`, and make a new key if others may have read it", path = path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// A derived key, ready to authenticate.
#[derive(Clone)]
pub(super) struct MacKey {
    bytes: Zeroizing<[u8; 32]>,
    /// Keyed once; each MAC starts from a copy.
    state: HmacSha256,
}

impl MacKey {
    pub(super) fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        let state = keyed(bytes.as_slice());
        Self { bytes, state }
    }

    pub(super) fn derive(&self, label: &str, parts: &[&[u8]]) -> Self {
        Self::new(derive(self.state.clone(), label, parts))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Appends the MAC of all that `frame` holds.
    pub(super) fn seal(&self, frame: &mut Vec<u8>) {
        let tag = self.state.clone().chain_update(&frame[..]).finalize().into_bytes();
        frame.extend(tag.iter().take(MAC_BYTES));
    }

    /// Whether `tag` is the MAC of `body`; in constant time.
    pub(super) fn verifies(&self, body: &[u8], tag: &[u8]) -> bool {
        tag.len() == MAC_BYTES && self.state.clone().chain_update(body).verify_truncated_left(tag).is_ok()
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(hidden)")
    }
}

#[expect(clippy::expect_used, reason = "HMAC is defined for keys of every length")]
fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("a key of any length")
}

fn derive(mut state: HmacSha256, label: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    for part in std::iter::once(&label.as_bytes()).chain(parts) {
        state.update(&(part.len() as u64).to_be_bytes());
        state.update(part);
    }
    Zeroizing::new(state.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_key() {
        let key = PairKey::from_bytes(&[0x5a; 32]).unwrap();
        let mac = MacKey::new(key.derive("x", &[]));
        let shown = format!("{key:?} {mac:?}");
        assert!(!shown.contains("90") && !shown.to_lowercase().contains("5a"), "{shown}");
    }

    #[test]
    fn short_and_zero_keys_are_refused() {
        assert!(matches!(PairKey::from_bytes(&[1; 31]), Err(KeyError::Length { found: 31 })));
        assert!(matches!(PairKey::from_bytes(&[1; 4097]), Err(KeyError::Length { found: 4097 })));
        assert!(matches!(PairKey::from_bytes(&[0; 32]), Err(KeyError::Uniform)));
    }

    #[test]
    fn contexts_do_not_run_into_each_other() {
        let key = PairKey::from_bytes(&[1; 32]).unwrap();
        assert_ne!(key.derive("a", &[b"bc", b"d"]), key.derive("a", &[b"b", b"cd"]));
        assert_ne!(key.derive("ab", &[b"c"]), key.derive("a", &[b"bc"]));
        assert_eq!(key.derive("a", &[b"bc"]), key.derive("a", &[b"bc"]));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_must_be_private_and_whole() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pair.key");
        let write = |bytes: &[u8], mode: u32| {
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        write(&[9; 32], 0o640);
        let error = PairKey::load(&path).unwrap_err();
        assert!(matches!(error, KeyError::Open { mode: 0o640, .. }));
        assert!(error.to_string().contains("pair.key") && error.to_string().contains("chmod 600"));
        write(&[9; 32], 0o604);
        assert!(matches!(PairKey::load(&path), Err(KeyError::Open { .. })));
        write(&[9; 16], 0o600);
        let short = PairKey::load(&path).unwrap_err().to_string();
        assert!(short.contains("16 bytes") && short.contains("pair.key"), "{short}");
        write(&[9; 32], 0o600);
        let raw = PairKey::load(&path).unwrap();
        assert_eq!(raw.derive("x", &[]), PairKey::from_bytes(&[9; 32]).unwrap().derive("x", &[]));
        write(b"0123456789abcdef0123456789abcdef\n", 0o400);
        let text = PairKey::load(&path).unwrap();
        let same = PairKey::from_bytes(b"0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(text.derive("x", &[]), same.derive("x", &[]));
        assert!(matches!(PairKey::load(dir.path()), Err(KeyError::NotAFile { .. })));
        assert!(matches!(PairKey::load(dir.path().join("none")), Err(KeyError::Read { .. })));
    }
}
