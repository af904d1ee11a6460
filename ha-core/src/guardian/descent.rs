//! Everything that descends from one started program: the same eyes with which a guardian looks for a dead node's
//! processes, for the node itself while it lives.

use super::group::{self, Group, process_group_undo};
use super::keep::Kept;
use super::old_life::{self, LIVES, marked};
use super::process::{Process, boot_now, pid, wait_gone};
use super::undo_list::Life;
use crate::{Incarnation, Instant, Undo};
use rustix::process::{PidfdFlags, pidfd_open};
use std::ffi::OsString;
use std::io;

/// The name that a program's descendants carry in their environment from its start on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(Incarnation);

impl Mark {
    /// A mark that nobody carries yet, for a number that nobody has.
    pub(crate) const fn new(number: u128) -> Self {
        Self(Incarnation(number))
    }

    /// The variable and the value that make a child carry it, beside what it inherits.
    pub(crate) fn variable(self) -> (&'static str, OsString) {
        (LIVES, marked(std::env::var_os(LIVES).as_deref(), self.0))
    }
}

/// A program's process group, and whoever else carries its mark.
pub(crate) struct Descent {
    group: Group,
    life: Life,
    undo: Undo,
}

impl Descent {
    /// Of `leader`, which leads a process group and whose program will carry `mark`.
    pub(crate) fn of(leader: u32, mark: Mark) -> io::Result<Self> {
        let undo = process_group_undo(leader)?;
        let gone = || io::Error::new(io::ErrorKind::NotFound, format!("no process {leader}"));
        let group = Group::of(&undo).ok_or_else(gone)?;
        let process = Process::read(leader).ok_or_else(gone)?.id;
        Ok(Self { group, life: Life { incarnation: mark.0, process }, undo })
    }

    /// The step with which a guardian ends the group.
    pub(crate) fn undo(&self) -> Undo {
        self.undo.clone()
    }

    /// Waits until the group is empty. False at the deadline. Blocking.
    pub(crate) fn wait(&self, deadline: Instant) -> io::Result<bool> {
        loop {
            let members = self.group.members()?;
            if members.is_empty() {
                return Ok(true);
            }
            let handles = members.iter().filter_map(|p| pidfd_open(pid(p.id.pid)?, PidfdFlags::empty()).ok());
            if !wait_gone(&handles.collect::<Vec<_>>(), deadline)? || boot_now() >= deadline {
                return Ok(false);
            }
        }
    }

    /// Whether somebody who left the group is found at one look.
    pub(crate) fn has_strays(&self) -> io::Result<bool> {
        old_life::is_found(std::slice::from_ref(&self.life))
    }

    /// Kills all of it until nobody is found. False if somebody outlives the deadline. Blocking.
    pub(crate) fn end(&self, deadline: Instant) -> io::Result<bool> {
        match group::end(&self.group, deadline) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(false),
            other => other?,
        }
        old_life::end_all(std::slice::from_ref(&self.life), &Kept::default(), deadline)
    }
}

/// What a guardian does with a step that this module gave.
#[cfg(test)]
pub(crate) fn take_back(undo: &Undo) -> Result<(), String> {
    group::undo(undo.version, &undo.bytes)
}
