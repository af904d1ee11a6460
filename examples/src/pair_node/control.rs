//! The operator's socket: one JSON question a line, one JSON answer a line. Only the node's user can use it.

use super::plan::Plan;
use super::status::Status;
use super::{Failure, GROUP};
use ha_core::explain::Explanation;
use ha_core::runtime::{EventItem, EventReport, Node};
use serde::{Deserialize, Serialize};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// The longest path of a unix socket that the kernel takes, in bytes.
const SOCKET_PATH_BYTES: usize = 107;
/// The longest question, in bytes.
const QUESTION_BYTES: u64 = 4096;
/// How long a switchover may take before the one who asked is told that it is still under way.
pub(super) const SWITCHOVER: Duration = Duration::from_secs(30);

/// What can be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Question {
    /// Answered with [`Status`].
    Status,
    /// Move the group to the other node. Answered when it moved, or did not.
    Switchover,
    /// Answered with a list of [`Explanation`]s, oldest first.
    Explain,
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "one a connection")]
pub(super) enum Answer {
    Status(Status),
    Explain(Vec<Explanation>),
    Done(String),
    Failed(String),
}

/// A running node, as the socket knows it.
pub(super) struct Asked {
    pub(super) node: Arc<Node>,
    pub(super) plan: Arc<Plan>,
}

/// Opens the socket, in place of one that an earlier life left.
pub(super) fn open(path: &Path, asked: Arc<Asked>) -> Result<(), Failure> {
    let listener = bind(path).map_err(|error| {
        Failure::failed(format!(
            "--control {}: {error}; expected a path in a directory where this user may make a socket",
            path.display()
        ))
    })?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(talk(stream, Arc::clone(&asked)))),
                // No descriptor is left: the next one may find some.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    });
    Ok(())
}

/// It is made under another name, so that nobody ever finds it open to others, or half made.
fn bind(path: &Path) -> io::Result<UnixListener> {
    if path.as_os_str().len() + 4 > SOCKET_PATH_BYTES {
        let most = SOCKET_PATH_BYTES - 4;
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the path has more than {most} bytes"),
        ));
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is something else than a socket",
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    fs::rename(&new, path)?;
    Ok(listener)
}

async fn talk(stream: UnixStream, asked: Arc<Asked>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read.take(QUESTION_BYTES)).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match serde_json::from_str(&line) {
            Ok(question) => answer(question, &asked).await,
            Err(_) => Answer::Failed(format!(
                "found {line:?}, expected one of \"status\", \"switchover\", \"explain\" (with the quotes) on a line"
            )),
        };
        let text = serde_json::to_string(&answer);
        let mut text = text.unwrap_or_else(|e| serde_json::json!({ "failed": e.to_string() }).to_string());
        text.push('\n');
        if write.write_all(text.as_bytes()).await.is_err() {
            return;
        }
        lines.get_mut().get_mut().set_limit(QUESTION_BYTES);
    }
}

async fn answer(question: Question, asked: &Asked) -> Answer {
    match question {
        Question::Status => Answer::Status(Status::of(&asked.node, &asked.plan)),
        Question::Explain => Answer::Explain(asked.node.explain().iter().map(|e| (**e).clone()).collect()),
        Question::Switchover => match tokio::time::timeout(SWITCHOVER, switchover(&asked.node)).await {
            Ok(answer) => answer,
            Err(_) => Answer::Failed(format!("still under way after {SWITCHOVER:?}; see status and explain")),
        },
    }
}

async fn switchover(node: &Node) -> Answer {
    let (mut events, mut status) = (node.events(), node.status());
    // What happened before is no answer.
    while events.take().is_some() {}
    let (epoch, peer) = {
        let now = status.borrow_and_update();
        (now.group(GROUP).map_or(0, |g| g.epoch), now.peer.node.clone())
    };
    if let Err(error) = node.switchover(GROUP) {
        return Answer::Failed(error.to_string());
    }
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(EventItem::Event(event)) if event.kind == "refused" => return Answer::Failed(refusal(&event, &peer)),
                Some(_) => {}
                None => return Answer::Failed("the node ended".into()),
            },
            changed = status.changed() => {
                if changed.is_err() {
                    return Answer::Failed("the node ended".into());
                }
                let now = status.borrow_and_update();
                match now.group(GROUP) {
                    Some(g) if g.role == "standby" && g.epoch > epoch => {
                        return Answer::Done(format!("{peer} has it, in epoch {}", g.epoch));
                    }
                    Some(g) if g.role == "active" && g.epoch > epoch => {
                        return Answer::Failed(format!("{peer} could not start it; it is here again, in epoch {}", g.epoch));
                    }
                    _ => {}
                }
            }
        }
    }
}

fn refusal(event: &EventReport, peer: &str) -> String {
    let hint = match event.fields.get("why").map(String::as_str) {
        Some("not-owner") => format!("; it is not active here: ask {peer}"),
        Some("target-not-viable" | "target-not-ready") => {
            format!("; {peer} cannot take it now: its status says why")
        }
        _ => String::new(),
    };
    format!("{}{hint}", event.message)
}
