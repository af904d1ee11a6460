//! The links on which the last word is spoken: senders of the guardian's own, opened beforehand.

use super::report::GuardianReport;
use crate::api::{FrameSender, LinkFactory};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

/// Frames that wait for a slow link; more are dropped, because they are repeated anyway.
const WAITING_FRAMES: usize = 128;

enum Voice {
    /// Opened, and no thread yet: a guardian has one thread until somebody died.
    Open(Box<dyn FrameSender>),
    /// A thread of its own sends, so that a clogged line delays no other.
    Speaking(SyncSender<Vec<u8>>),
}

/// The links by name.
pub(super) struct Voices {
    links: Vec<Arc<dyn LinkFactory>>,
    voices: BTreeMap<String, Voice>,
}

impl Voices {
    pub(super) const fn new(links: Vec<Arc<dyn LinkFactory>>) -> Self {
        Self { links, voices: BTreeMap::new() }
    }

    /// Opens the senders that are not open yet.
    pub(super) fn open(&mut self, report: &dyn Fn(&GuardianReport)) {
        for link in &self.links {
            if self.voices.contains_key(link.name()) {
                continue;
            }
            match link.open_sender() {
                Ok(sender) => {
                    self.voices.insert(link.name().into(), Voice::Open(sender));
                }
                Err(error) => report(&GuardianReport::LinkUnavailable {
                    link: link.name().into(),
                    error: error.to_string(),
                }),
            }
        }
    }

    pub(super) fn has(&self, link: &str) -> bool {
        self.voices.contains_key(link)
    }

    /// Sends one frame. Never waits for the line.
    pub(super) fn say(&mut self, link: &str, frame: Vec<u8>) {
        let Some((name, voice)) = self.voices.remove_entry(link) else { return };
        let orders = match voice {
            Voice::Speaking(orders) => orders,
            Voice::Open(mut sender) => {
                let (orders, frames) = sync_channel::<Vec<u8>>(WAITING_FRAMES);
                std::thread::spawn(move || {
                    for frame in frames {
                        // A last word is repeated; an error of one sending changes nothing.
                        let _ = sender.send(&frame);
                    }
                });
                orders
            }
        };
        let _ = orders.try_send(frame);
        self.voices.insert(name, Voice::Speaking(orders));
    }
}
