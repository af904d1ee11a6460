//! The built-in undo of a process group: kill until nobody is left.

use super::process::{Process, boot_now, kill_exactly, wait_gone};
use crate::Undo;
use std::io;
use std::time::Duration;

/// The kind of [`process_group_undo`].
pub(super) const KIND: &str = "process-group";
const VERSION: u16 = 1;
/// How long killed processes get to be gone.
const BUDGET: Duration = Duration::from_secs(2);

/// A process group that no other one is mistaken for.
pub(super) struct Group {
    id: u32,
    session: u32,
    leader_start: u64,
}

/// The undo of starting the process group that `leader` leads: kill until nobody is left.
///
/// Store it before the leader does anything (spawn it held back, store, let it go). Descendants of the node
/// are ended by the guardian in any case; this step finds them when the guardian itself was killed.
///
/// # Errors
/// `NotFound` if there is no such process, `InvalidInput` if it does not lead a process group.
pub fn process_group_undo(leader: u32) -> io::Result<Undo> {
    let found = Process::read(leader)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no process {leader}")))?;
    if found.group != leader {
        let message = format!("process {leader} is in group {}, expected it to lead its own", found.group);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let mut bytes = Vec::with_capacity(16);
    bytes.extend_from_slice(&leader.to_le_bytes());
    bytes.extend_from_slice(&found.session.to_le_bytes());
    bytes.extend_from_slice(&found.id.start.to_le_bytes());
    Ok(Undo { kind: KIND.into(), version: VERSION, bytes })
}

impl Group {
    /// The group that `undo` ends; none if it is about something else.
    pub(super) fn of(undo: &Undo) -> Option<Self> {
        (undo.kind == KIND).then(|| Self::read(undo.version, &undo.bytes).ok()).flatten()
    }

    fn read(version: u16, bytes: &[u8]) -> Result<Self, String> {
        let fields = bytes.first_chunk::<16>().filter(|_| version == VERSION && bytes.len() == 16);
        let [a, b, c, d, e, f, g, h, start @ ..] = *fields
            .ok_or_else(|| format!("version {version} with {} bytes, expected 1 with 16", bytes.len()))?;
        Ok(Self {
            id: u32::from_le_bytes([a, b, c, d]),
            session: u32::from_le_bytes([e, f, g, h]),
            leader_start: u64::from_le_bytes(start),
        })
    }

    /// Its living members. A group's number is not given away while anybody is in it, so a leader with
    /// another start time means that ours is empty.
    pub(super) fn members(&self) -> io::Result<Vec<Process>> {
        let mut all = Process::all()?;
        if all.iter().any(|p| p.id.pid == self.id && p.id.start != self.leader_start) {
            return Ok(Vec::new());
        }
        all.retain(|p| p.group == self.id && p.session == self.session && !p.over);
        Ok(all)
    }
}

pub(super) fn undo(version: u16, bytes: &[u8]) -> Result<(), String> {
    let group = Group::read(version, bytes)?;
    let deadline = boot_now() + BUDGET;
    end(&group, deadline).map_err(|error| format!("process group {}: {error}", group.id))
}

pub(super) fn end(group: &Group, deadline: crate::Instant) -> io::Result<()> {
    loop {
        let members = group.members()?;
        if members.is_empty() {
            return Ok(());
        }
        let mut killed = Vec::new();
        for member in &members {
            killed.extend(kill_exactly(member.id)?);
        }
        if !wait_gone(&killed, deadline)? || boot_now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "members survive SIGKILL"));
        }
    }
}

pub(super) fn verify(version: u16, bytes: &[u8]) -> Result<bool, String> {
    let group = Group::read(version, bytes)?;
    group.members().map(|members| members.is_empty()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    fn group_of_two() -> Child {
        Command::new("sh")
            .args(["-c", "sleep 100 >/dev/null 2>&1 & echo ready; wait"])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn await_line(child: &mut Child) {
        use std::io::{BufRead, BufReader};
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
    }

    #[test]
    fn every_member_is_ended_also_after_its_leader() {
        let mut leader = group_of_two();
        await_line(&mut leader);
        let step = process_group_undo(leader.id()).unwrap();
        leader.kill().unwrap();
        leader.wait().unwrap();
        assert_eq!(verify(step.version, &step.bytes), Ok(false));
        undo(step.version, &step.bytes).unwrap();
        assert_eq!(verify(step.version, &step.bytes), Ok(true));
    }

    #[test]
    fn a_group_whose_number_was_given_away_is_left_alone() {
        let mut other = group_of_two();
        await_line(&mut other);
        let mut step = process_group_undo(other.id()).unwrap();
        step.bytes[8] ^= 1;
        undo(step.version, &step.bytes).unwrap();
        assert_eq!(verify(step.version, &step.bytes), Ok(true));
        assert!(other.try_wait().unwrap().is_none());
        let own = process_group_undo(other.id()).unwrap();
        undo(own.version, &own.bytes).unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn bad_bytes_are_refused() {
        assert!(undo(1, &[0; 15]).is_err());
        assert!(verify(2, &[0; 16]).is_err());
        assert!(process_group_undo(u32::MAX).is_err());
    }
}
