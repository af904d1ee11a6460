//! What a node without a guardian knows of its earlier life: a note beside its memory.
//!
//! The note says in which boot of the kernel a life began, and whether it ended in good order. A new life says that nothing
//! of an earlier one is left if there was none, if the kernel has booted since, or if it ended in good order. Otherwise
//! services may run on: then its own word proves nothing to the peer, which asks the fence command or the lease.

use ha_core::engine::Predecessor;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const RUNS: &str = "runs";
const ENDED: &str = "ended";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The note of one node.
pub(super) struct Note {
    file: PathBuf,
    boot: String,
}

impl Note {
    pub(super) fn of(state_dir: &Path) -> io::Result<Self> {
        Ok(Self { file: state_dir.join("unguarded"), boot: fs::read_to_string(BOOT_ID)?.trim().into() })
    }

    /// Judges the earlier life, and notes that this one runs. `first`: this node has no memory of any.
    pub(super) fn begin(&self, first: bool) -> io::Result<Predecessor> {
        let gone = match fs::read_to_string(&self.file) {
            Ok(noted) => match noted.split_once(' ') {
                Some((boot, how)) => boot != self.boot || how.trim() == ENDED,
                None => false,
            },
            // A life under a guardian leaves no note here.
            Err(error) if error.kind() == io::ErrorKind::NotFound => first,
            Err(error) => return Err(error),
        };
        self.write(RUNS)?;
        Ok(if gone { Predecessor::Gone } else { Predecessor::Leftovers })
    }

    /// Notes that everything was handed over.
    pub(super) fn end(&self) -> io::Result<()> {
        self.write(ENDED)
    }

    /// Whole, or as before. A power cut may take it: then the kernel boots anew.
    fn write(&self, how: &str) -> io::Result<()> {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{} {how}\n", self.boot))?;
        fs::rename(new, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_surely_ended_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let note = Note::of(dir.path()).unwrap();
        assert_eq!(note.begin(false).unwrap(), Predecessor::Leftovers, "a guarded life may have been before");
        fs::remove_file(&note.file).unwrap();
        assert_eq!(note.begin(true).unwrap(), Predecessor::Gone, "the first life");
        assert_eq!(note.begin(false).unwrap(), Predecessor::Leftovers, "it was killed");
        note.end().unwrap();
        assert_eq!(note.begin(false).unwrap(), Predecessor::Gone, "it ended in good order");
        let other = Note { boot: "another".into(), file: note.file.clone() };
        assert_eq!(other.begin(false).unwrap(), Predecessor::Gone, "the kernel has booted since");
        fs::write(&note.file, "garbage").unwrap();
        assert_eq!(note.begin(true).unwrap(), Predecessor::Leftovers);
    }
}
