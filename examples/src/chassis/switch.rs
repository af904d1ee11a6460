//! What a power switch can do, whatever the node is made of.

use super::processes::{Descendant, signal};
use ha_vip::testbed::TestbedError;
use rustix::process::Signal;
use std::io;
use std::time::Instant;

/// Why the power is not as ordered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PowerError {
    #[error("{0} descendants survive SIGKILL")]
    Survivors(usize),
    #[error("cannot end the tree: {0}")]
    End(#[source] io::Error),
    #[error("cannot start the node: {0}")]
    Start(#[source] io::Error),
    #[error("cannot stop or continue the node's processes: {0}")]
    Pause(#[source] io::Error),
    #[error("the power is on already")]
    On,
    #[error(transparent)]
    Bed(#[from] TestbedError),
    #[error("the bed that the node stood in is gone")]
    NoBed,
}

/// The power switch of one node, and the way to its processes.
pub(crate) trait Switch: Send + Sync {
    /// Whether it is on; off only if nothing of the node lives.
    fn is_on(&self) -> Result<bool, PowerError>;

    /// Takes the power; a success only if it was verified that nothing lives.
    fn off(&self, deadline: Instant) -> Result<(), PowerError>;

    /// Starts the node under its guardian.
    fn on(&self) -> Result<(), PowerError>;

    /// Who of the node lives now.
    fn parts(&self) -> io::Result<Parts>;

    /// Stops all of its processes.
    fn freeze(&self) -> Result<(), PowerError>;

    /// Lets go on whoever is left of them.
    fn thaw(&self) -> Result<(), PowerError>;
}

/// The node's processes by their parts.
#[derive(Default, Debug)]
pub(crate) struct Parts {
    pub(crate) guardian: Option<Descendant>,
    pub(crate) node: Option<Descendant>,
    pub(crate) sidecar: Option<Descendant>,
}

impl Parts {
    /// Tells them apart. The guardian is the node process that no other one started.
    pub(crate) fn of(all: Vec<Descendant>) -> Self {
        let nodes: Vec<_> = all.iter().filter(|d| d.is("__node")).collect();
        let started_by = |one: &Descendant| nodes.iter().find(|d| d.pid == one.parent).copied();
        let guardian = nodes.iter().find(|d| started_by(d).is_none()).copied().cloned();
        let node = nodes.iter().find(|d| started_by(d).is_some()).copied().cloned();
        let sidecar = all.iter().find(|d| d.is("__sidecar")).cloned();
        Self { guardian, node, sidecar }
    }
}

/// Signals one of `found`; an error if it is not there.
pub(super) fn signal_one(found: Option<&Descendant>, what: &str, number: Signal) -> Result<(), String> {
    let found = found.ok_or_else(|| format!("there is no {what} process"))?;
    match signal(found, number) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("the {what} process {} is gone", found.pid)),
        Err(error) => Err(format!("the {what} process {}: {error}", found.pid)),
    }
}

/// Signals all of `found` that are still there.
pub(super) fn signal_all(found: &[Descendant], number: Signal) -> Result<(), PowerError> {
    found.iter().try_for_each(|one| signal(one, number).map(drop)).map_err(PowerError::Pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, word: &str) -> Descendant {
        Descendant { pid, parent, arguments: vec!["mail-pair".into(), word.into()] }
    }

    #[test]
    fn a_node_is_told_from_its_guardian_whoever_adopted_that() {
        let parts =
            Parts::of(vec![process(7, 1, "__node"), process(9, 7, "__node"), process(11, 9, "__sidecar")]);
        let pids = [parts.guardian, parts.node, parts.sidecar].map(|part| part.map(|d| d.pid));
        assert_eq!(pids, [Some(7), Some(9), Some(11)]);
        let orphan = Parts::of(vec![process(9, 1, "__node")]);
        assert!(orphan.guardian.is_some() && orphan.node.is_none());
    }
}
