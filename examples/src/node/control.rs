//! The operator's socket: one JSON question a line, one JSON answer a line.

use super::GROUP;
use super::run::Parts;
use ha_core::explain::Explanation;
use ha_core::runtime::StatusReport;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// What can be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Question {
    /// Answered with [`NodeStatus`].
    Status,
    /// Move the mail group to the other node. Whether it was refused is an event.
    Switchover,
    /// Answered with a list of explanations: why this node decided as it did, oldest first.
    Explain,
    /// Hand everything over and end.
    Shutdown,
}

/// A node as it sees itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeStatus {
    pub(crate) pid: u32,
    pub(crate) node: StatusReport,
    /// The mirror's own words, or where the one store is.
    pub(crate) data: String,
}

/// Opens the socket; an earlier life's is replaced.
pub(super) fn open(path: &Path, parts: Arc<Parts>) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream, Arc::clone(&parts)));
        }
    });
    Ok(())
}

async fn talk(mut stream: UnixStream, parts: Arc<Parts>) {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut text = match serde_json::from_str(&line) {
            Ok(question) => answer(question, &parts),
            Err(error) => serde_json::json!({ "failed": error.to_string() }).to_string(),
        };
        text.push('\n');
        if write.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(question: Question, parts: &Arc<Parts>) -> String {
    let done = serde_json::json!({ "done": true }).to_string();
    match question {
        Question::Status => {
            let node = parts.node.status().borrow().clone();
            let status = NodeStatus { pid: std::process::id(), node, data: parts.data.words() };
            serde_json::to_string(&status)
                .unwrap_or_else(|e| serde_json::json!({ "failed": e.to_string() }).to_string())
        }
        Question::Explain => {
            let explanations = parts.node.explain();
            let list: Vec<&Explanation> = explanations.iter().map(AsRef::as_ref).collect();
            serde_json::to_string(&list)
                .unwrap_or_else(|e| serde_json::json!({ "failed": e.to_string() }).to_string())
        }
        Question::Switchover => match parts.node.switchover(GROUP) {
            Ok(()) => done,
            Err(error) => serde_json::json!({ "failed": error.to_string() }).to_string(),
        },
        Question::Shutdown => {
            let parts = Arc::clone(parts);
            tokio::spawn(async move { parts.node.shutdown().await });
            done
        }
    }
}
