//! What a command prints: all of it is read, its end is kept.

use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use tokio::net::unix::pipe::Receiver;

/// How much of the end is kept of each of the two.
const KEPT_BYTES: usize = 1024;
/// What is read at once.
const CHUNK_BYTES: usize = 16 << 10;
/// Reads after the command ended: more than a full pipe holds, and an end against whoever goes on printing.
const LAST_READS: usize = 8;

/// Standard output and standard error of a command.
pub(super) struct Output {
    said: Pipe,
    complained: Pipe,
}

/// What a command printed.
pub(super) struct Printed {
    /// The end of it, as an addition to a sentence.
    pub(super) text: String,
    /// Whether anything came by standard error.
    pub(super) complained: bool,
}

impl Output {
    /// Takes the output of what `command` will start. The command must be dropped afterwards, so that the pipes end.
    pub(super) fn of(command: &mut Command) -> io::Result<Self> {
        let ((said, out), (complained, err)) = (Pipe::new()?, Pipe::new()?);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        Ok(Self { said, complained })
    }

    /// Reads until nobody can print any more; then never resolves. Safe to drop.
    pub(super) async fn drain(&mut self) {
        tokio::join!(self.said.drain(), self.complained.drain());
        std::future::pending().await
    }

    /// Takes what is there without waiting, and gives the end of everything.
    pub(super) fn finish(mut self) -> Printed {
        self.said.read_what_is_there();
        self.complained.read_what_is_there();
        let complained = !self.complained.kept.is_empty();
        let ends = [self.said.end(), self.complained.end()];
        let text = ends.into_iter().filter(|end| !end.is_empty()).collect::<Vec<_>>().join("; ");
        let text = if text.is_empty() { text } else { format!("; it printed: {text}") };
        Printed { text, complained }
    }
}

struct Pipe {
    read: Receiver,
    open: bool,
    kept: Vec<u8>,
    cut: bool,
}

impl Pipe {
    fn new() -> io::Result<(Self, OwnedFd)> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Self { read: Receiver::from_owned_fd(read)?, open: true, kept: Vec::new(), cut: false }, write))
    }

    async fn drain(&mut self) {
        while self.open {
            if self.read.readable().await.is_err() {
                self.open = false;
            }
            self.read_some();
        }
    }

    fn read_what_is_there(&mut self) {
        for _ in 0..LAST_READS {
            if !self.open || !self.read_some() {
                break;
            }
        }
    }

    /// Whether anything was read.
    fn read_some(&mut self) -> bool {
        let mut chunk = [0; CHUNK_BYTES];
        match self.read.try_read(&mut chunk) {
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

    fn end(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        let cut = if self.cut { "…" } else { "" };
        format!("{cut}{}", text.trim())
    }
}
