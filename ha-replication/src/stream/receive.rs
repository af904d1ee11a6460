//! What a session says to this side: verified by the frame, judged here.

use super::evidence::EvidenceBox;
use super::frame::{Seal, Violation};
use super::message::{CopyHead, EVIDENCE, Message, RECORDS};
use super::outbox::Outbox;
use crate::hub::Hub;
use crate::record::Record;
use bytes::BytesMut;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Bytes asked of the socket at once.
const READ_BYTES: usize = 64 << 10;
/// A copy's pieces wait in memory for the disk up to here; then the socket waits.
const COPY_AHEAD: usize = 8 << 20;
/// A copy's description may take this much.
const MAX_COPY_HEAD: usize = 4 << 20;

/// Reads one session until it ends.
pub(crate) struct Receiver {
    pub hub: Arc<Hub>,
    pub session: u64,
    pub stream: Arc<TcpStream>,
    pub inward: Seal,
    pub outbox: Arc<Outbox>,
    /// A record on its way in, in parts.
    pub partial: BytesMut,
    pub copy_head: Vec<u8>,
}

impl Receiver {
    /// Why the session ended, if the peer broke the protocol.
    pub(crate) async fn run(mut self) -> Option<Violation> {
        let outbox = self.outbox.clone();
        tokio::select! {
            violation = self.read() => violation,
            () = outbox.ended() => None,
        }
    }

    async fn read(&mut self) -> Option<Violation> {
        let mut buffer = BytesMut::with_capacity(READ_BYTES * 2);
        loop {
            if self.stream.readable().await.is_err() {
                return None;
            }
            buffer.reserve(READ_BYTES);
            match self.stream.try_read_buf(&mut buffer) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(_) => return None,
            }
            loop {
                let opened = match self.inward.open(&buffer) {
                    Ok(Some(opened)) => opened,
                    Ok(None) => break,
                    Err(violation) => return Some(violation),
                };
                let frame = buffer.split_to(opened.end);
                let body = frame.get(opened.body).unwrap_or_default();
                if let Err(violation) = self.take(opened.kind, body) {
                    return Some(violation);
                }
            }
            self.room_for_copy().await;
        }
    }

    /// The disk is slower than the line: the line waits.
    async fn room_for_copy(&self) {
        while self.hub.lock().copy_bytes > COPY_AHEAD {
            let mut changed = self.hub.changed.subscribe();
            if self.hub.lock().copy_bytes > COPY_AHEAD {
                let look = self.hub.cfg.limits.keepalive;
                let _ = tokio::time::timeout(look, changed.changed()).await;
            }
            // The line is not silent; it is us who do not read.
            self.hub.with(|s| s.frame_arrived(self.session));
        }
    }

    fn take(&mut self, kind: u8, body: &[u8]) -> Result<(), Violation> {
        match kind {
            RECORDS => return self.records(body),
            EVIDENCE => return evidence(&self.hub, self.session, body),
            _ => {}
        }
        let message = Message::decode(kind, body)?;
        if matches!(message, Message::Position(_) | Message::Plan(_)) {
            self.partial.clear();
        }
        if let Message::CopyBegin { more, part } = &message {
            return self.copy_begin(*more, part);
        }
        let session = self.session;
        self.hub.with(|s| {
            s.frame_arrived(session);
            if s.session.as_ref().is_none_or(|live| live.id != session) {
                return Ok(());
            }
            s.message(message)
        })
    }

    fn records(&mut self, body: &[u8]) -> Result<(), Violation> {
        let Message::Records { epoch, commit, bytes } = Message::decode(RECORDS, body)? else {
            return Ok(());
        };
        self.partial.extend_from_slice(&bytes);
        let (mirror, max) = (self.hub.cfg.mirror, self.hub.cfg.limits.max_transaction_bytes);
        let mut records = Vec::new();
        let bad = |_| Violation::Record { what: "it is damaged" };
        while let Some(record) = Record::take(&mut self.partial, mirror, max).map_err(bad)? {
            // One allocation may hold many records; each lives on its own.
            let body = record.body().map_err(|_| Violation::Record { what: "its content makes no sense" })?;
            records.push((record, body));
        }
        let session = self.session;
        self.hub.with(|s| {
            s.frame_arrived(session);
            if s.session.as_ref().is_none_or(|live| live.id != session) {
                return Ok(());
            }
            s.records(epoch, commit, records)
        })
    }

    fn copy_begin(&mut self, more: bool, part: &[u8]) -> Result<(), Violation> {
        if self.copy_head.len() + part.len() > MAX_COPY_HEAD {
            return Err(Violation::Content { what: "copy-begin" });
        }
        self.copy_head.extend_from_slice(part);
        if more {
            return Ok(());
        }
        let head = CopyHead::decode(&std::mem::take(&mut self.copy_head))?;
        let session = self.session;
        self.hub.with(|s| {
            s.frame_arrived(session);
            s.copy_begins(head)
        })
    }
}

fn evidence(hub: &Hub, session: u64, body: &[u8]) -> Result<(), Violation> {
    if body.len() > super::EVIDENCE_BYTES {
        return Err(Violation::Content { what: "evidence" });
    }
    hub.with(|s| s.frame_arrived(session));
    EvidenceBox::put(&hub.evidence, body);
    Ok(())
}
