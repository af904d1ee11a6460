//! The driver's own, always honest way to a chassis: one order a line, one answer a line.

use super::FenceMode;
use super::bmc::Bmc;
use super::processes::signal;
use super::switch::{PowerError, Switch, signal_one};
use crate::start::deadline;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

/// What the driver can do to a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    /// Switch the power on.
    On,
    /// Kill everything; answered when it is verified.
    Off,
    /// `on` or `off`.
    Status,
    /// How often the node was shot through the board controller.
    Shots,
    /// `kill -9` of the node process only.
    KillNode,
    /// `kill -9` of the guardian only.
    KillGuardian,
    /// `kill -9` of the guardian, then of its child.
    KillBoth,
    /// `SIGSTOP` of the node process only.
    StopNode,
    /// `SIGSTOP` of guardian, child and all descendants.
    StopAll,
    /// `SIGCONT` of whoever is left.
    ContinueAll,
    /// `SIGSTOP` of the group's child process.
    StopSidecar,
    /// How the board controller behaves from now on.
    Mode(FenceMode),
}

/// Answers for as long as the process lives.
pub(super) fn serve(listener: &UnixListener, power: &Arc<dyn Switch>, bmc: &Arc<Bmc>) {
    for stream in listener.incoming().flatten() {
        let (power, bmc) = (Arc::clone(power), Arc::clone(bmc));
        std::thread::spawn(move || talk(&stream, power.as_ref(), &bmc));
    }
}

fn talk(stream: &UnixStream, power: &dyn Switch, bmc: &Bmc) -> io::Result<()> {
    for line in BufReader::new(stream).lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(order) => obey(order, power, bmc).unwrap_or_else(|why| format!("failed {why}")),
            Err(error) => format!("failed no such order: {error}"),
        };
        writeln!(&mut &*stream, "{answer}")?;
    }
    Ok(())
}

fn obey(order: Order, power: &dyn Switch, bmc: &Bmc) -> Result<String, String> {
    let done = || "ok".to_owned();
    let told = |done: Result<(), PowerError>| done.map(|()| "ok".to_owned()).map_err(|e| e.to_string());
    match order {
        Order::On => told(power.on()),
        Order::Off => told(power.off(deadline(Duration::from_secs(5)))),
        Order::Status => {
            power.is_on().map(|on| if on { "on" } else { "off" }.into()).map_err(|e| e.to_string())
        }
        Order::Shots => Ok(bmc.shots().to_string()),
        Order::KillNode => one(power, "node", Signal::KILL),
        Order::KillGuardian => one(power, "guardian", Signal::KILL),
        Order::KillBoth => {
            let parts = power.parts().map_err(|e| e.to_string())?;
            signal_one(parts.guardian.as_ref(), "guardian", Signal::KILL)?;
            let Some(node) = parts.node else { return Err("there is no node process".into()) };
            signal(&node, Signal::KILL).map(|_| done()).map_err(|e| e.to_string())
        }
        Order::StopNode => one(power, "node", Signal::STOP),
        Order::StopSidecar => one(power, "sidecar", Signal::STOP),
        Order::Mode(mode) => {
            bmc.behave(mode);
            Ok(done())
        }
        Order::StopAll => told(power.freeze()),
        Order::ContinueAll => told(power.thaw()),
    }
}

fn one(power: &dyn Switch, what: &str, number: Signal) -> Result<String, String> {
    let parts = power.parts().map_err(|e| e.to_string())?;
    let found = match what {
        "node" => parts.node,
        "guardian" => parts.guardian,
        _ => parts.sidecar,
    };
    signal_one(found.as_ref(), what, number).map(|()| "ok".into())
}
