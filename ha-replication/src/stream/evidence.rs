//! Beats that pass over the replication connection: a link for liveness only.

use super::{EVIDENCE_BYTES, message::EVIDENCE};
use crate::hub::Hub;
use async_trait::async_trait;
use ha_core::api::{FrameSender, HeartbeatTransport, LinkDescription, LinkFactory};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Frames kept for a reader that is slow; the oldest is dropped.
const KEPT: usize = 16;

/// What came in.
#[derive(Default)]
pub(crate) struct EvidenceBox {
    queue: Mutex<Queue>,
    arrived: Notify,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Vec<u8>>,
    /// The receiver that may read: the newest.
    receiver: u64,
}

impl EvidenceBox {
    pub(crate) fn put(&self, frame: &[u8]) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.frames.len() == KEPT {
            queue.frames.pop_front();
        }
        queue.frames.push_back(frame.to_vec());
        drop(queue);
        self.arrived.notify_waiters();
        self.arrived.notify_one();
    }

    fn open(&self) -> u64 {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.receiver += 1;
        queue.frames.clear();
        queue.receiver
    }

    fn take(&self, receiver: u64) -> io::Result<Option<Vec<u8>>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.receiver != receiver {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "another receiver took the evidence link over",
            ));
        }
        Ok(queue.frames.pop_front())
    }
}

/// Opens the link.
pub(crate) struct EvidenceLink {
    pub name: String,
    pub hub: Arc<Hub>,
}

struct Evidence {
    hub: Arc<Hub>,
    receiver: u64,
}

#[async_trait]
impl LinkFactory for EvidenceLink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn open(&self) -> io::Result<Box<dyn HeartbeatTransport>> {
        let receiver = self.hub.evidence.open();
        Ok(Box::new(Evidence { hub: self.hub.clone(), receiver }))
    }

    fn open_sender(&self) -> io::Result<Box<dyn FrameSender>> {
        let why = "the evidence link has no sender of its own: its connection ends with the process";
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }
}

#[async_trait]
impl HeartbeatTransport for Evidence {
    async fn send(&self, frame: &[u8]) -> io::Result<()> {
        if frame.len() > EVIDENCE_BYTES {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Without a session the beat is lost, as on any other link.
        if let Some(outbox) = self.hub.outbox() {
            outbox.push_parts(EVIDENCE, &[frame]);
        }
        Ok(())
    }

    async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let arrived = self.hub.evidence.arrived.notified();
            if let Some(frame) = self.hub.evidence.take(self.receiver)? {
                let n = frame.len().min(buf.len());
                if let (Some(to), Some(from)) = (buf.get_mut(..n), frame.get(..n)) {
                    to.copy_from_slice(from);
                }
                return Ok(n);
            }
            arrived.await;
        }
    }

    fn describe(&self) -> LinkDescription {
        LinkDescription {
            name: format!("evidence of mirror {:?}", self.hub.cfg.mirror),
            kind: "evidence",
            mtu_bytes: EVIDENCE_BYTES,
            bits_per_second: None,
        }
    }
}
