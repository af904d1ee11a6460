//! Frames over any tty.

use crate::framing::{Deframer, MAX_LINE_BYTES};
use crate::line::{LineReader, LineWriter};
use crate::pacing::{self, IntervalError};
use async_trait::async_trait;
use ha_core::api::{FrameSender, HeartbeatTransport, LinkDescription, LinkFactory};
use ha_core::wire::SERIAL_FRAME_BYTES;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Octets read at once.
const CHUNK_BYTES: usize = 256;

/// A serial line: any tty, raw 8N1, no flow control, output paced to the baud rate.
///
/// A frame that finds the line still busy with more than one other is dropped (see [`SerialLink::waiting`]). A
/// tty that hangs up or disappears makes `recv` fail; the next `recv`, one interval later, opens it again.
#[derive(Clone, Debug)]
pub struct SerialLink {
    name: String,
    path: PathBuf,
    baud: u32,
    patience: Option<Duration>,
}

impl SerialLink {
    /// A line on the tty at `path` with `baud` bits per second.
    #[must_use]
    pub fn new(name: &str, path: impl AsRef<Path>, baud: u32) -> Self {
        Self { name: name.into(), path: path.as_ref().into(), baud, patience: None }
    }

    /// The same, where a frame may wait for `interval` behind others before it is dropped. Without this it is
    /// the time of one longest frame.
    #[must_use]
    pub fn waiting(mut self, interval: Duration) -> Self {
        self.patience = Some(interval);
        self
    }

    /// Whether the line carries a frame of `frame_bytes` (as the wire makes it; the framing is added) each
    /// `interval`. Use [`SERIAL_FRAME_BYTES`] for full beats.
    ///
    /// # Errors
    /// [`IntervalError`] with the bits needed, the bits there are, and the smallest interval that works.
    pub fn check_interval(&self, interval: Duration, frame_bytes: usize) -> Result<(), IntervalError> {
        pacing::check(interval, frame_bytes + (MAX_LINE_BYTES - SERIAL_FRAME_BYTES), self.baud)
    }

    fn named(&self, e: &io::Error) -> io::Error {
        let hint = match e.kind() {
            ErrorKind::NotFound => "; there is no such tty: check the cable, the adapter and the path",
            ErrorKind::PermissionDenied => "; this user may not use it: add it to the tty's group",
            _ => "",
        };
        let path = self.path.display();
        let what = format!("link {}: cannot use tty {path} at {} baud: {e}{hint}", self.name, self.baud);
        io::Error::new(e.kind(), what)
    }

    fn check_baud(&self) -> io::Result<()> {
        if self.baud > 0 {
            return Ok(());
        }
        let what = "0 baud, expected bits per second such as 115200";
        Err(io::Error::new(ErrorKind::InvalidInput, what))
    }

    fn open_writer(&self) -> io::Result<LineWriter> {
        self.check_baud()
            .and_then(|()| LineWriter::open(&self.path, self.baud, self.patience))
            .map_err(|e| self.named(&e))
    }

    fn open_port(&self) -> io::Result<Port> {
        let open = || {
            self.check_baud()?;
            let reader = LineReader::open(&self.path, self.baud)?;
            let writer = LineWriter::open(&self.path, self.baud, self.patience)?;
            Ok(Port { reader, writer: Mutex::new(writer) })
        };
        open().map_err(|e| self.named(&e))
    }
}

#[async_trait]
impl LinkFactory for SerialLink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn open(&self) -> io::Result<Box<dyn HeartbeatTransport>> {
        let port = Some(Arc::new(self.open_port()?));
        let (port, input) = (Mutex::new(port), Mutex::new(Input::new()));
        Ok(Box::new(SerialTransport { link: self.clone(), port, input }))
    }

    fn open_sender(&self) -> io::Result<Box<dyn FrameSender>> {
        Ok(Box::new(SerialSender { writer: self.open_writer()?, link: self.clone() }))
    }
}

struct Port {
    reader: LineReader,
    writer: Mutex<LineWriter>,
}

/// What was read and not yet given out.
struct Input {
    deframer: Deframer,
    chunk: [u8; CHUNK_BYTES],
    next: usize,
    end: usize,
}

impl Input {
    fn new() -> Self {
        Self { deframer: Deframer::new(), chunk: [0; CHUNK_BYTES], next: 0, end: 0 }
    }

    fn frame(&mut self) -> Option<Vec<u8>> {
        while let Some(octet) = self.chunk.get(self.next..self.end).and_then(<[u8]>::first) {
            self.next += 1;
            let frame = self.deframer.push(*octet);
            if frame.is_some() {
                return frame;
            }
        }
        None
    }

    fn refill(&mut self, octets: &[u8]) {
        let n = octets.len().min(CHUNK_BYTES);
        self.chunk[..n].copy_from_slice(&octets[..n]);
        (self.next, self.end) = (0, n);
    }
}

struct SerialTransport {
    link: SerialLink,
    /// `None` after the tty failed, until `recv` opened it again.
    port: Mutex<Option<Arc<Port>>>,
    input: Mutex<Input>,
}

impl SerialTransport {
    fn current(&self) -> Option<Arc<Port>> {
        unpoisoned(&self.port).clone()
    }

    fn reopened(&self) -> io::Result<Arc<Port>> {
        let port = Arc::new(self.link.open_port()?);
        *unpoisoned(&self.input) = Input::new();
        *unpoisoned(&self.port) = Some(Arc::clone(&port));
        tracing::info!(link = %self.link.name, tty = %self.link.path.display(), "tty opened again");
        Ok(port)
    }

    fn lost(&self, e: &io::Error) -> io::Error {
        *unpoisoned(&self.port) = None;
        self.link.named(e)
    }
}

#[async_trait]
impl HeartbeatTransport for SerialTransport {
    async fn send(&self, frame: &[u8]) -> io::Result<()> {
        let Some(port) = self.current() else {
            let gone = io::Error::new(ErrorKind::NotConnected, "it hung up and is not back yet");
            return Err(self.link.named(&gone));
        };
        unpoisoned(&port.writer).send_or_drop(frame).map_err(|e| self.link.named(&e))
    }

    async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = unpoisoned(&self.input).frame() {
                let Some(room) = buf.get_mut(..frame.len()) else {
                    let what = format!("frame of {} bytes for a buffer of {}", frame.len(), buf.len());
                    return Err(io::Error::new(ErrorKind::InvalidInput, what));
                };
                room.copy_from_slice(&frame);
                return Ok(frame.len());
            }
            // A flood of noise must not keep the runtime from its other links.
            tokio::task::consume_budget().await;
            let port = self.current().map_or_else(|| self.reopened(), Ok)?;
            let mut octets = [0; CHUNK_BYTES];
            match port.reader.read(&mut octets).await {
                Ok(0) => return Err(self.lost(&io::Error::new(ErrorKind::UnexpectedEof, "it hung up"))),
                Ok(n) => unpoisoned(&self.input).refill(&octets[..n]),
                Err(e) => return Err(self.lost(&e)),
            }
        }
    }

    fn describe(&self) -> LinkDescription {
        LinkDescription {
            name: format!("serial {} at {} baud", self.link.path.display(), self.link.baud),
            kind: "serial",
            mtu_bytes: SERIAL_FRAME_BYTES,
            bits_per_second: Some(self.link.baud),
        }
    }
}

struct SerialSender {
    link: SerialLink,
    writer: LineWriter,
}

impl FrameSender for SerialSender {
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let sent = self.writer.send_waiting(frame);
        match sent {
            Ok(()) => Ok(()),
            Err(e) if matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::InvalidInput) => {
                Err(self.link.named(&e))
            }
            // The tty may have hung up and come back since: its last word is worth a second opening.
            Err(_) => {
                self.writer = self.link.open_writer()?;
                self.writer.send_waiting(frame).map_err(|e| self.link.named(&e))
            }
        }
    }
}

/// No critical section here can leave half a state behind.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
