//! What a command prints: all of it is read, its end is kept.

use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use tokio::net::unix::pipe::Receiver;

/// How much of the end is kept.
const KEPT_BYTES: usize = 2048;
/// What is read at once.
const CHUNK_BYTES: usize = 16 << 10;
/// Reads after the command ended: more than a full pipe holds, and an end against whoever goes on printing.
const LAST_READS: usize = 8;

/// Standard output and standard error of a command, in one pipe.
pub(super) struct Output {
    pipe: Receiver,
    open: bool,
    kept: Vec<u8>,
    cut: bool,
}

impl Output {
    /// Takes the output of what `command` will start. The command must be dropped afterwards, so that the pipe ends.
    pub(super) fn of(command: &mut Command) -> io::Result<Self> {
        let (read, write): (OwnedFd, OwnedFd) = pipe_with(PipeFlags::CLOEXEC)?;
        command.stdin(Stdio::null()).stdout(write.try_clone()?).stderr(write);
        Ok(Self { pipe: Receiver::from_owned_fd(read)?, open: true, kept: Vec::new(), cut: false })
    }

    /// Reads until nobody can print any more; then never resolves. Safe to drop.
    pub(super) async fn drain(&mut self) {
        while self.open {
            if self.pipe.readable().await.is_err() {
                self.open = false;
                break;
            }
            self.read_some();
        }
        std::future::pending().await
    }

    /// Takes what is there without waiting, and gives the end of everything.
    pub(super) fn finish(mut self) -> String {
        for _ in 0..LAST_READS {
            if !self.open || !self.read_some() {
                break;
            }
        }
        let text = String::from_utf8_lossy(&self.kept);
        let text = text.trim();
        match (text.is_empty(), self.cut) {
            (true, _) => String::new(),
            (false, false) => format!("; it printed: {text}"),
            (false, true) => format!("; it printed at last: …{text}"),
        }
    }

    /// Whether anything was read.
    fn read_some(&mut self) -> bool {
        let mut chunk = [0; CHUNK_BYTES];
        match self.pipe.try_read(&mut chunk) {
            Ok(0) => self.open = false,
            Ok(n) => {
                self.keep(chunk.get(..n).unwrap_or_default());
                return true;
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.open = false,
        }
        false
    }

    fn keep(&mut self, chunk: &[u8]) {
        self.kept.extend_from_slice(chunk);
        let surplus = self.kept.len().saturating_sub(KEPT_BYTES);
        self.kept.drain(..surplus);
        self.cut |= surplus > 0;
    }
}
