//! Ending what an earlier guardian of this kernel boot left: a new guardian cannot rely on being its parent.

use super::keep::Kept;
use super::process::{Process, boot_now, kill_exactly, timespec, wait_gone};
use super::undo_list::Life;
use crate::{Incarnation, Instant};
use rustix::event::poll;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::time::Duration;

/// The environment variable in which every descendant carries the lives it descends from. It marks, it never
/// triggers anything.
pub(super) const LIVES: &str = "HA_GUARDIAN_LIVES";

/// A process that is just executing another program shows no environment for a moment, so nobody is gone until
/// several looks in a row found nobody.
const EMPTY_LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

fn mark(incarnation: Incarnation) -> String {
    format!("{:032x}", incarnation.0)
}

/// The value of [`LIVES`] for a child of this process.
pub(super) fn marked(inherited: Option<&OsStr>, incarnation: Incarnation) -> OsString {
    let mut value = inherited.map(OsStr::to_os_string).unwrap_or_default();
    if !value.is_empty() {
        value.push(",");
    }
    value.push(mark(incarnation));
    value
}

/// The value of [`LIVES`] without this life: for a process that becomes its own guardian.
pub(super) fn unmarked(inherited: &str, incarnation: Incarnation) -> String {
    let own = mark(incarnation);
    inherited.split(',').filter(|life| *life != own).collect::<Vec<_>>().join(",")
}

/// Kills every process of `lives` but `kept` ones until none is found. False if some outlive `deadline`.
///
/// A process belongs to a life if it is the recorded one, descends from one that belongs, or carries the
/// life's mark. This process itself is never killed: it may be the recorded one, born again.
pub(super) fn end_all(lives: &[Life], kept: &Kept, deadline: Instant) -> io::Result<bool> {
    let mut empty_looks = 0;
    loop {
        let mut found = members(lives, &Process::all()?);
        let spared = kept.members()?;
        found.retain(|p| !spared.contains(&p.id.pid));
        if found.is_empty() {
            empty_looks += 1;
            if lives.is_empty() || empty_looks == EMPTY_LOOKS {
                return Ok(true);
            }
            let _ = poll(&mut [], Some(&timespec(BETWEEN_LOOKS)));
            continue;
        }
        empty_looks = 0;
        let mut killed = Vec::new();
        for process in &found {
            match kill_exactly(process.id) {
                Ok(handle) => killed.extend(handle),
                // Another user's process: it stays, and is found again until the deadline.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(error),
            }
        }
        if !wait_gone(&killed, deadline)? || boot_now() >= deadline {
            return Ok(false);
        }
    }
}

/// Whether one look finds a process of `lives`.
pub(super) fn is_found(lives: &[Life]) -> io::Result<bool> {
    Ok(!members(lives, &Process::all()?).is_empty())
}

fn members(lives: &[Life], all: &[Process]) -> Vec<Process> {
    if lives.is_empty() {
        return Vec::new();
    }
    let marks: Vec<String> = lives.iter().map(|life| mark(life.incarnation)).collect();
    let mut found: BTreeSet<u32> = all
        .iter()
        .filter(|p| lives.iter().any(|life| life.process == p.id) || marks.iter().any(|m| p.carries(m)))
        .map(|p| p.id.pid)
        .collect();
    loop {
        let before = found.len();
        found.extend(all.iter().filter(|p| found.contains(&p.parent)).map(|p| p.id.pid).collect::<Vec<_>>());
        if found.len() == before {
            break;
        }
    }
    found.remove(&std::process::id());
    all.iter().filter(|p| found.contains(&p.id.pid) && !p.over).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guardian::process::ProcessId;
    use std::process::Command;

    #[test]
    fn a_mark_is_added_and_taken_away() {
        let one = marked(None, Incarnation(1));
        let two = marked(Some(&one), Incarnation(2));
        let two = two.to_str().unwrap();
        assert_eq!(unmarked(two, Incarnation(2)), one.to_str().unwrap());
        assert_eq!(unmarked(one.to_str().unwrap(), Incarnation(1)), "");
    }

    #[test]
    fn a_marked_process_is_found_although_it_lost_its_parent_and_its_session() {
        // Runs of this test beside each other must not find each other.
        let incarnation = Incarnation(0xfeed << 64 | u128::from(std::process::id()));
        let status = Command::new("sh")
            .args(["-c", "setsid sleep 100 >/dev/null 2>&1 & exit 0"])
            .env(LIVES, marked(None, incarnation))
            .status()
            .unwrap();
        assert!(status.success());
        let process = ProcessId { pid: u32::MAX, start: 0 };
        let lives = [Life { incarnation, process }];
        while members(&lives, &Process::all().unwrap()).is_empty() {}
        assert!(end_all(&lives, &Kept::default(), boot_now() + Duration::from_secs(10)).unwrap());
        assert!(members(&lives, &Process::all().unwrap()).is_empty());
    }

    #[test]
    fn this_process_is_never_a_member() {
        let me = Process::read(std::process::id()).unwrap();
        let lives = [Life { incarnation: Incarnation(3 << 90), process: me.id }];
        assert!(members(&lives, &[me]).is_empty());
    }
}
