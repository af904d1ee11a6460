//! What is measured: software that keeps an address on one of two nodes.

use super::Failure;
use super::bed::Bed;
use ha_vip::testbed::{DataCentre, Process};
use std::collections::BTreeMap;
use std::fs;

/// One kind of it.
pub(super) trait Software {
    /// As the table calls it.
    fn name(&self) -> String;
    /// Starts it on both nodes. Node `n1` starts first or is preferred.
    fn start(&self, bed: &Bed) -> Result<Box<dyn Pair>, Failure>;
}

/// Both nodes of it, running.
pub(super) trait Pair {
    /// Whether a takeover would be possible now.
    fn ready(&self, bed: &Bed) -> Result<bool, Failure>;
    /// The processes on a node that do the work; their supervisor is not among them.
    fn workers(&self, node: &str) -> Result<Vec<u32>, Failure>;
    /// All its processes on a node.
    fn everything(&self, node: &str) -> Result<Vec<u32>, Failure>;
    /// Moves the address away from a node as an operator would.
    fn switchover(&self, from: &str) -> Result<(), Failure>;
}

/// One process on each node, which supervises others.
pub(super) struct Supervisors(pub(super) BTreeMap<String, Process>);

impl Supervisors {
    pub(super) fn of(&self, node: &str) -> Result<&Process, Failure> {
        self.0.get(node).ok_or_else(|| format!("there is no node {node:?}").into())
    }

    /// All descendants of a node's process.
    pub(super) fn descendants(&self, node: &str) -> Result<Vec<u32>, Failure> {
        let mut found = vec![self.of(node)?.id()];
        let parents = parents()?;
        let mut looked_at = 0;
        while let Some(parent) = found.get(looked_at).copied() {
            found.extend(parents.iter().filter(|(_, its)| *its == parent).map(|(pid, _)| *pid));
            looked_at += 1;
        }
        Ok(found.split_off(1))
    }

    /// Says why if one has ended.
    pub(super) fn all_run(&self, log: impl Fn(&str) -> String) -> Result<(), Failure> {
        for (node, process) in &self.0 {
            if let Some(status) = process.try_wait()? {
                return Err(format!("it ended on {node} ({status}): {}", log(node)).into());
            }
        }
        Ok(())
    }
}

/// Every process of this machine with its parent.
fn parents() -> Result<Vec<(u32, u32)>, Failure> {
    let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parent = |pid: u32| -> Option<(u32, u32)> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        Some((pid, rest.split(' ').nth(1)?.parse().ok()?))
    };
    Ok(pids.filter_map(parent).collect())
}

/// The end of what a program wrote, for messages.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(6).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

/// Starts the same program on both nodes, with arguments of their own and a log file each.
pub(super) fn on_both(
    bed: &Bed,
    mut command: impl FnMut(&str) -> Result<std::process::Command, Failure>,
) -> Result<Supervisors, Failure> {
    let mut started = BTreeMap::new();
    let centre: &DataCentre = &bed.centre;
    for node in [bed.hosts.0, bed.hosts.1] {
        let mut command = command(node)?;
        let log = fs::File::create(bed.log(node))?;
        command.stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log);
        started.insert(node.to_owned(), centre.host(node)?.spawn(command)?);
    }
    Ok(Supervisors(started))
}
