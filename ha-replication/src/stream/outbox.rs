//! Sealed bytes on their way out, pushed from any thread.

use super::frame::Seal;
use super::message::Message;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};

/// Beyond the stream's window a session is hopeless.
const SPARE: usize = 1 << 20;

/// The sending side of a session.
pub(crate) struct Outbox {
    stream: Arc<TcpStream>,
    inner: Mutex<Inner>,
    left_over: Notify,
    end: watch::Sender<bool>,
    limit: usize,
}

struct Inner {
    seal: Seal,
    buffer: Vec<u8>,
    sent: usize,
}

impl Outbox {
    pub(crate) fn new(stream: Arc<TcpStream>, seal: Seal, window: usize) -> Self {
        let inner = Inner { seal, buffer: Vec::new(), sent: 0 };
        Self {
            stream,
            inner: Mutex::new(inner),
            left_over: Notify::new(),
            end: watch::Sender::new(false),
            limit: window + SPARE,
        }
    }

    /// Seals `message` and writes what the socket takes at once. Never blocks.
    pub(crate) fn push(&self, message: &Message) {
        let (kind, body) = message.encode();
        self.push_parts(kind, &[&body]);
    }

    pub(crate) fn push_parts(&self, kind: u8, parts: &[&[u8]]) {
        if *self.end.borrow() {
            return;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        inner.seal.push(&mut inner.buffer, kind, parts);
        match self.write(inner) {
            Ok(()) if inner.buffer.len() - inner.sent > self.limit => self.close(),
            Ok(()) if inner.buffer.is_empty() => {}
            Ok(()) => self.left_over.notify_one(),
            Err(_) => self.close(),
        }
    }

    /// Frames pushed so far.
    pub(crate) fn frames(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).seal.frames()
    }

    /// Bytes that the socket did not take yet.
    pub(crate) fn waiting(&self) -> usize {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.buffer.len() - inner.sent
    }

    fn write(&self, inner: &mut Inner) -> io::Result<()> {
        while let Some(rest) = inner.buffer.get(inner.sent..).filter(|r| !r.is_empty()) {
            match self.stream.try_write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => inner.sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        inner.buffer.clear();
        inner.sent = 0;
        Ok(())
    }

    /// Writes what `push` had to leave; ends with the session.
    pub(crate) async fn flush(&self) {
        let mut end = self.end.subscribe();
        let flushing = async {
            loop {
                self.left_over.notified().await;
                loop {
                    if self.stream.writable().await.is_err() {
                        return;
                    }
                    let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                    if self.write(&mut inner).is_err() {
                        return;
                    }
                    if inner.buffer.is_empty() {
                        break;
                    }
                }
            }
        };
        tokio::select! {
            () = flushing => {}
            _ = end.wait_for(|ended| *ended) => {}
        }
        self.close();
    }

    /// Ends the session.
    pub(crate) fn close(&self) {
        self.end.send_replace(true);
    }

    /// Resolves when the session ended.
    pub(crate) async fn ended(&self) {
        let mut end = self.end.subscribe();
        // An error means that the sender is gone, and with it the session.
        let _ = end.wait_for(|ended| *ended).await;
    }
}
