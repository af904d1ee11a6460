//! Directories below a root, opened once.

use rustix::fs::{self, Mode, OFlags};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Directories kept open; the oldest goes first.
const KEPT: usize = 64;

/// The root and the directories below it that were used of late.
///
/// A kept descriptor stands for a directory, not for a path: whoever removes or renames a directory calls
/// [`Dirs::forget`] afterwards.
#[derive(Debug)]
pub(super) struct Dirs {
    root: Arc<OwnedFd>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    open: VecDeque<(PathBuf, Arc<OwnedFd>)>,
    /// Counts what was forgotten: a directory that was opened before may be gone.
    forgotten: u64,
}

impl Dirs {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root: Arc::new(root), kept: Mutex::default() }
    }

    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory at `path`, whose names are `names`; opened name by name, so that no link leads out of
    /// the root.
    pub(super) fn open(&self, path: &Path, names: &[&OsStr]) -> io::Result<Arc<OwnedFd>> {
        if names.is_empty() {
            return Ok(self.root.clone());
        }
        let before = {
            let kept = self.kept();
            if let Some((_, dir)) = kept.open.iter().find(|(p, _)| p.as_os_str() == path.as_os_str()) {
                return Ok(dir.clone());
            }
            kept.forgotten
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at = self.root.clone();
        for name in names {
            at = Arc::new(fs::openat(&at, *name, flags, Mode::empty())?);
        }
        let mut kept = self.kept();
        if kept.forgotten == before {
            if kept.open.len() == KEPT {
                kept.open.pop_front();
            }
            kept.open.push_back((path.into(), at.clone()));
        }
        Ok(at)
    }

    /// The name `path`, or what is below it, stands for something else from now on.
    pub(super) fn forget(&self, path: &Path) {
        let path = path.as_os_str().as_bytes();
        let below = |p: &Path| {
            let rest = p.as_os_str().as_bytes().strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        let mut kept = self.kept();
        kept.forgotten += 1;
        kept.open.retain(|(p, _)| !below(p));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

    use super::super::{Medium, Open, RealMedium};
    use super::*;

    fn file(medium: &RealMedium, path: &str) -> io::Result<()> {
        medium.open(Path::new(path), Open::CreateNew).map(drop)
    }

    #[test]
    fn a_directory_that_was_removed_and_made_again_is_the_new_one() {
        let place = tempfile::tempdir().unwrap();
        let medium = RealMedium::open(place.path()).unwrap();
        for round in 0..2 {
            medium.create_dir(Path::new("a")).unwrap();
            medium.create_dir(Path::new("a/b")).unwrap();
            file(&medium, "a/b/c").unwrap();
            assert!(place.path().join("a/b/c").exists(), "round {round}");
            medium.remove(Path::new("a/b/c")).unwrap();
            medium.remove_dir(Path::new("a/b")).unwrap();
            medium.remove_dir(Path::new("a")).unwrap();
            assert_eq!(file(&medium, "a/b/c").unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_directory_that_was_renamed_has_left_its_old_path() {
        let place = tempfile::tempdir().unwrap();
        let medium = RealMedium::open(place.path()).unwrap();
        for dir in ["a", "a/b", "ab"] {
            medium.create_dir(Path::new(dir)).unwrap();
        }
        file(&medium, "a/b/c").unwrap();
        file(&medium, "ab/c").unwrap();
        medium.rename(Path::new("a"), Path::new("z")).unwrap();
        assert_eq!(file(&medium, "a/b/d").unwrap_err().kind(), io::ErrorKind::NotFound);
        file(&medium, "z/b/d").unwrap();
        file(&medium, "ab/d").unwrap();
        assert!(place.path().join("z/b/d").exists() && place.path().join("ab/d").exists());
    }

    #[test]
    fn more_directories_than_are_kept_can_be_used() {
        let place = tempfile::tempdir().unwrap();
        let medium = RealMedium::open(place.path()).unwrap();
        let dirs: Vec<String> = (0..KEPT * 2).map(|n| format!("d{n}")).collect();
        for round in ["x", "y"] {
            for dir in &dirs {
                let _ = medium.create_dir(Path::new(dir));
                file(&medium, &format!("{dir}/{round}")).unwrap();
            }
        }
        assert_eq!(medium.list(Path::new(&dirs[0])).unwrap().len(), 2);
    }
}
