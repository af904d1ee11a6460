//! How the driver turns the valves: JSON lines on a unix socket, answered when in force.

use super::{Valves, named};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// One order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Turn {
    /// Which path.
    pub(crate) path: String,
    /// Which direction: what comes from node 0 or node 1.
    pub(crate) from: u8,
    /// What to do.
    pub(crate) action: Action,
    /// The share to lose (0 to 1), or the delay in seconds.
    #[serde(default)]
    pub(crate) value: f64,
}

/// What can be done to a direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// Nothing passes.
    Cut,
    /// Everything passes at once, whatever was ordered before.
    Heal,
    /// A share is lost.
    Drop,
    /// Everything is late.
    Delay,
}

pub(super) fn open(path: &Path, valves: Valves) -> io::Result<()> {
    let listener = UnixListener::bind(path).map_err(named("control socket", path.display()))?;
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(talk(stream, valves.clone()));
        }
    });
    Ok(())
}

async fn talk(mut stream: UnixStream, valves: Valves) {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = obey(&line, &valves).map_or_else(|why| format!("failed {why}\n"), |()| "ok\n".into());
        if write.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn obey(line: &str, valves: &Valves) -> Result<(), String> {
    let turn: Turn = serde_json::from_str(line).map_err(|e| e.to_string())?;
    let value = turn.value;
    let delay = Duration::try_from_secs_f64(value).map_err(|e| format!("value {value}: {e}"))?;
    if turn.action == Action::Drop && value > 1.0 {
        return Err(format!("value {value}, expected a share of 0 to 1"));
    }
    let found = valves.turn(&turn.path, turn.from, |setting| match turn.action {
        Action::Cut => setting.cut = true,
        Action::Heal => *setting = super::valve::Setting::default(),
        Action::Drop => setting.loss = value,
        Action::Delay => setting.delay = delay,
    });
    let unknown =
        || format!("no path \"{}\" from {}, expected one of {}", turn.path, turn.from, valves.names());
    if found { Ok(()) } else { Err(unknown()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_obeyed_and_bad_ones_named() {
        let valves = Valves::default();
        let [way, _] = valves.path("udp0");
        assert_eq!(obey(r#"{"path":"udp0","from":0,"action":"cut"}"#, &valves), Ok(()));
        assert_eq!(way.fate(), None);
        assert_eq!(obey(r#"{"path":"udp0","from":0,"action":"heal"}"#, &valves), Ok(()));
        assert_eq!(obey(r#"{"path":"udp0","from":0,"action":"delay","value":0.25}"#, &valves), Ok(()));
        assert_eq!(way.fate(), Some(Duration::from_millis(250)));
        assert!(obey(r#"{"path":"udp3","from":0,"action":"cut"}"#, &valves).unwrap_err().contains("udp0"));
        assert!(obey(r#"{"path":"udp0","from":0,"action":"drop","value":7}"#, &valves).is_err());
        assert!(obey(r#"{"path":"udp0","from":0,"action":"delay","value":-1}"#, &valves).is_err());
        assert!(obey("cut it", &valves).is_err());
    }
}
