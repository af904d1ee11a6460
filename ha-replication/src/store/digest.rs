//! One hash of everything in a tree.

use super::StoreDigest;
use ha_core::Lsn;
use ha_core::store::medium::{Kind, Medium, MediumFile, Open};
use std::io;
use std::path::{Path, PathBuf};

const READ_BYTES: usize = 256 << 10;

/// All files below `tree`, relative to it, in order of their paths' bytes.
pub(super) fn files(medium: &dyn Medium, tree: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        let entries = match medium.list(&tree.join(&dir)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            listed => listed?,
        };
        for entry in entries {
            let path = dir.join(&entry.name);
            match entry.kind {
                Kind::Directory => open.push(path),
                _ => all.push(path),
            }
        }
    }
    all.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
    Ok(all)
}

pub(super) fn hash_file(file: &dyn MediumFile, len: u64) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut bytes = vec![0; READ_BYTES];
    let mut at = 0;
    while at < len {
        let got = file.read_at(&mut bytes, at)?;
        if got == 0 {
            break;
        }
        hasher.update(bytes.get(..got).unwrap_or_default());
        at += got as u64;
    }
    Ok(hasher.finalize())
}

pub(super) fn of(medium: &dyn Medium, tree: &Path, lsn: Lsn) -> io::Result<StoreDigest> {
    let (mut count, mut bytes, mut hasher) = (0, 0, blake3::Hasher::new());
    for path in files(medium, tree)? {
        let file = medium.open(&tree.join(&path), Open::Read)?;
        let len = file.len()?;
        let name = path.as_os_str().as_encoded_bytes();
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name);
        hasher.update(&len.to_le_bytes());
        hasher.update(hash_file(&*file, len)?.as_bytes());
        count += 1;
        bytes += len;
    }
    Ok(StoreDigest { lsn, files: count, bytes, hash: hasher.finalize().into() })
}
