//! The node's events as JSON lines in a file: what a dead node saw can still be read.

use ha_core::runtime::{EventItem, EventReport, EventStream};
use ha_vip::VirtualIp;
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) incarnation: String,
    pub(crate) event: EventReport,
}

/// Writes every event to `file`, until the node ended. Once the peer has ended, nothing that it said of `address` stays the
/// network's last word.
pub(super) async fn record(mut events: EventStream, file: &Path, incarnation: String, address: &VirtualIp) {
    let Ok(mut file) = OpenOptions::new().create(true).append(true).open(file) else {
        tracing::error!(file = %file.display(), "the event file cannot be written");
        return;
    };
    while let Some(item) = events.recv().await {
        match item {
            EventItem::Event(event) => {
                tracing::info!(target: "event", "{event}");
                if event.kind == "peer" && event.fields.get("state").is_some_and(|state| state == "gone") {
                    address.peer_released();
                }
                let line = Line { incarnation: incarnation.clone(), event: (*event).clone() };
                // One write a line, so that a kill cannot leave half of one behind another.
                let written = serde_json::to_string(&line).map(|mut text| {
                    text.push('\n');
                    file.write_all(text.as_bytes())
                });
                if !matches!(written, Ok(Ok(()))) {
                    tracing::error!("an event was not recorded");
                }
            }
            EventItem::Lost(count) => tracing::error!(count, "events were lost"),
        }
    }
}
