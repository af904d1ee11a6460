//! All cables between the nodes, in a process of the driver's: heartbeat datagrams, the serial line, the mirror's stream
//! and each node's way to the outside. Every direction of every cable can be cut, made lossy or slow.
//!
//! | path | carries | directions |
//! |---|---|---|
//! | `udp0`, `udp1`, … | datagrams between the nodes | from node 0, from node 1 |
//! | `serial` | octets between two ptys | from node 0, from node 1 |
//! | `mirror` | TCP, dialled by node 1 | from node 0, from node 1; held back while cut |
//! | `outside` | datagrams to an echo and back | of node 0, of node 1 (both ways at once) |
//!
//! Where the nodes have networks of their own (`--netns`), only the serial line is left to it.

mod control;
mod datagrams;
mod line;
mod outside;
mod stream;
mod valve;

pub(crate) use control::{Action, Turn};

use crate::start::one_json_argument;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use valve::{Valves, Way};

/// What a relay is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RelayConfig {
    pub(crate) control: PathBuf,
    pub(crate) udp: Vec<DatagramPath>,
    pub(crate) stream: Option<StreamPath>,
    pub(crate) outside: Option<OutsidePath>,
}

/// A datagram path: node `n` sends to `from[n]`, what it sends arrives at `to[1 - n]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DatagramPath {
    pub(crate) name: String,
    pub(crate) from: [SocketAddr; 2],
    pub(crate) to: [SocketAddr; 2],
}

/// A stream path: dialled by node 1 at `listen`, answered by node 0 at `answers`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StreamPath {
    pub(crate) name: String,
    pub(crate) listen: SocketAddr,
    pub(crate) answers: SocketAddr,
}

/// The way to the outside: node `n` sends to `from[n]`, the echo is at `echo`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OutsidePath {
    pub(crate) from: [SocketAddr; 2],
    pub(crate) echo: SocketAddr,
}

/// What a relay says on standard output when everything is in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RelayReady {
    /// The ttys of node 0 and node 1.
    pub(crate) ttys: [PathBuf; 2],
}

/// The relay process. Its one argument is its configuration as JSON. It ends when its standard input does.
#[must_use]
pub fn main(arguments: &[String]) -> ExitCode {
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> io::Result<()> {
    let config: RelayConfig = one_json_argument(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let valves = Valves::default();
        for path in config.udp {
            datagrams::lay(path, &valves).await?;
        }
        if let Some(path) = config.stream {
            stream::lay(path, &valves).await?;
        }
        if let Some(path) = config.outside {
            outside::lay(&path, &valves).await?;
        }
        let ttys = line::lay("serial", &valves)?;
        control::open(&config.control, valves)?;
        println!("{}", serde_json::to_string(&RelayReady { ttys })?);
        ended().await;
        Ok(())
    })
}

/// Resolves when whoever started this process is gone.
async fn ended() {
    let (gone, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = gone.send(());
    });
    let _ = told.await;
}

fn named(what: &str, at: impl std::fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
    let text = format!("{what} at {at}");
    move |e| io::Error::new(e.kind(), format!("{text}: {e}"))
}
