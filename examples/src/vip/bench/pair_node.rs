//! This project's `pair-node`: two UDP heartbeat links, one address, its guardian.

use super::Failure;
use super::bed::{Bed, beside};
use super::fence::PowerSwitch;
use super::options::{Options, Proof};
use super::software::{Pair, Software, Supervisors, last_lines, on_both};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Heartbeat links go over these networks.
const HEARTBEATS: [&str; 2] = ["hb0", "hb1"];
const HEARTBEAT_PORT: u16 = 694;

/// How it is started.
pub(super) struct PairNode {
    program: PathBuf,
    proof: Proof,
    beat: Duration,
    dead: Duration,
    fence_delay: Duration,
    more: Vec<String>,
}

impl PairNode {
    pub(super) fn find(options: &Options) -> Result<Self, Failure> {
        let program = options
            .pair_node
            .as_ref()
            .map_or_else(|| beside("pair-node"), |path| Ok(std::path::absolute(path)?))?;
        Ok(Self {
            program,
            proof: options.proof,
            beat: options.beat,
            dead: options.dead,
            fence_delay: options.fence_delay,
            more: options.pair_node_flags.clone(),
        })
    }

    fn command(&self, bed: &Bed, key: &Path, node: &str) -> Result<Command, Failure> {
        let peer = if node == bed.hosts.0 { bed.hosts.1 } else { bed.hosts.0 };
        let (own, other) = (bed.centre.host(node)?, bed.centre.host(peer)?);
        let mut command = Command::new(&self.program);
        command.args(["run", "--name", node, "--peer", peer]);
        for network in HEARTBEATS {
            let (own, other) = (own.interface(network)?.v4, other.interface(network)?.v4);
            command.args(["--link", &format!("udp:{own}:{HEARTBEAT_PORT},{other}:{HEARTBEAT_PORT}")]);
        }
        command.args(["--address", &format!("{}/24@lan0", bed.address)]).arg("--key-file").arg(key);
        command
            .arg("--state-dir")
            .arg(bed.file(&format!("{node}.state")))
            .arg("--control")
            .arg(control(bed, node));
        command.args(["--beat", &span(self.beat), "--dead", &span(self.dead)]);
        match self.proof {
            Proof::Fence => {
                let (this, socket) = (std::env::current_exe()?, bed.file("fence.sock"));
                let words = format!(
                    "{} fence-helper --socket {} {{action}} {{node}}",
                    this.display(),
                    socket.display()
                );
                command.args(["--fence-command", &words]);
            }
            Proof::Lease => drop(command.arg("--lease").arg(bed.file("lease")).arg("--i-accept-stale-reads")),
            Proof::SplitBrain => drop(command.arg("--accept-split-brain")),
        }
        command.args(&self.more);
        Ok(command)
    }
}

fn span(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}

fn control(bed: &Bed, node: &str) -> PathBuf {
    bed.file(&format!("{node}.ctl"))
}

impl Software for PairNode {
    fn name(&self) -> String {
        let proof = match self.proof {
            Proof::Fence => format!("fence {}", span(self.fence_delay)),
            Proof::Lease => "lease".to_owned(),
            Proof::SplitBrain => "no proof".to_owned(),
        };
        format!("pair-node, dead {}, {proof}", span(self.dead))
    }

    fn start(&self, bed: &Bed) -> Result<Box<dyn Pair>, Failure> {
        let switch = PowerSwitch::listen(&bed.centre, bed.file("fence.sock"), self.fence_delay)?;
        let key = bed.file("key");
        let made = Command::new(&self.program).arg("key").arg(&key).output()?;
        if !made.status.success() {
            return Err(format!("pair-node key: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        let supervisors = on_both(bed, |node| self.command(bed, &key, node))?;
        let controls = [bed.hosts.0, bed.hosts.1].map(|node| (node.to_owned(), control(bed, node)));
        Ok(Box::new(Running { supervisors, program: self.program.clone(), controls, switch }))
    }
}

struct Running {
    supervisors: Supervisors,
    program: PathBuf,
    controls: [(String, PathBuf); 2],
    switch: PowerSwitch,
}

impl Running {
    fn ask(&self, node: &str, words: &[&str]) -> Result<std::process::Output, Failure> {
        let control = self.controls.iter().find(|(name, _)| name == node).map(|(_, control)| control);
        let control = control.ok_or_else(|| format!("there is no node {node:?}"))?;
        Ok(Command::new(&self.program).args(["ctl", "--control"]).arg(control).args(words).output()?)
    }

    fn status(&self, node: &str) -> Option<Value> {
        let output = self.ask(node, &["status", "--json"]).ok().filter(|output| output.status.success())?;
        serde_json::from_slice(&output.stdout).ok()
    }
}

impl Pair for Running {
    /// One node is active, and the other one could take over at once.
    fn ready(&self, bed: &Bed) -> Result<bool, Failure> {
        self.supervisors
            .all_run(|node| last_lines(&fs::read_to_string(bed.log(node)).unwrap_or_default()))?;
        let group = |status: &Value, field: &str| {
            status.pointer(&format!("/groups/0/{field}")).cloned().unwrap_or_default()
        };
        let statuses: Vec<Value> = self.controls.iter().filter_map(|(node, _)| self.status(node)).collect();
        let active = statuses.iter().filter(|status| group(status, "role") == "active").count();
        let able = statuses
            .iter()
            .any(|status| group(status, "role") == "standby" && group(status, "viable") == true);
        Ok(statuses.len() == 2 && active == 1 && able)
    }

    /// The node proper; its parent is the guardian.
    fn workers(&self, node: &str) -> Result<Vec<u32>, Failure> {
        self.supervisors.descendants(node)
    }

    fn everything(&self, node: &str) -> Result<Vec<u32>, Failure> {
        self.supervisors.everything(node)
    }

    fn switchover(&self, from: &str) -> Result<(), Failure> {
        let output = self.ask(from, &["switchover"])?;
        if output.status.success() {
            return Ok(());
        }
        let orders = self.switch.orders().join(", ");
        Err(format!(
            "switchover refused: {} (power switch: {orders})",
            String::from_utf8_lossy(&output.stderr)
        )
        .into())
    }
}
