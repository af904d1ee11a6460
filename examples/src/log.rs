//! Log lines to standard error, written by a thread of their own: a file that stalls must not stall who logs.

use std::io::{self, Write};
use std::sync::mpsc::{Sender, channel};

/// Where log lines are handed over.
#[derive(Clone)]
pub(crate) struct Log(Sender<Vec<u8>>);

impl Log {
    /// Starts the writing thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (lines, waiting) = channel::<Vec<u8>>();
        let write = move || waiting.iter().for_each(|line| drop(io::stderr().write_all(&line)));
        std::thread::Builder::new().name("log".into()).spawn(write)?;
        Ok(Self(lines))
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.send(line.into()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
