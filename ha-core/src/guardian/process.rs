//! What `/proc` says about processes, and how to end one without ever hitting a recycled pid.

use crate::Instant;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The boot clock, read now.
pub(super) fn boot_now() -> Instant {
    let at = clock_gettime(ClockId::Boottime);
    let nanos = u64::try_from(at.tv_nsec).unwrap_or(0);
    Instant::from_nanos(u64::try_from(at.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000) + nanos)
}

/// A span as `poll` takes it.
pub(super) fn timespec(span: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(span.subsec_nanos()),
    }
}

/// A process that no other one is ever mistaken for on this kernel boot: its pid and its start time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct ProcessId {
    pub(super) pid: u32,
    /// In clock ticks since the kernel's boot.
    pub(super) start: u64,
}

/// One process as `/proc/<pid>/stat` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Process {
    pub(super) id: ProcessId,
    pub(super) parent: u32,
    pub(super) group: u32,
    pub(super) session: u32,
    /// A zombie of which no thread is left can do nothing any more.
    pub(super) over: bool,
}

impl Process {
    pub(super) fn read(pid: u32) -> Option<Self> {
        Self::parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name is in parentheses and may hold anything, so fields are counted from the last `)`.
    fn parse(pid: u32, stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let small = |field: usize| u32::try_from(number(field)?).ok();
        let state = *fields.first()?;
        Some(Self {
            id: ProcessId { pid, start: number(22)? },
            parent: small(4)?,
            group: small(5)?,
            session: small(6)?,
            over: matches!(state, "X" | "x") || (state == "Z" && number(20)? <= 1),
        })
    }

    /// Every process that this one can see.
    pub(super) fn all() -> io::Result<Vec<Self>> {
        Ok(fs::read_dir("/proc")?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(Self::read)
            .collect())
    }

    /// Whether its environment at its start held `mark`. Unreadable environments do not.
    pub(super) fn carries(&self, mark: &str) -> bool {
        fs::read(format!("/proc/{}/environ", self.id.pid))
            .is_ok_and(|environ| environ.windows(mark.len()).any(|w| w == mark.as_bytes()))
    }
}

/// The direct children of this process, zombies included.
pub(super) fn own_children() -> io::Result<BTreeSet<u32>> {
    let mut children = BTreeSet::new();
    for task in fs::read_dir("/proc/self/task")? {
        let Ok(listed) = fs::read_to_string(task?.path().join("children")) else {
            return children_by_scan();
        };
        children.extend(listed.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(children)
}

/// For kernels without `CONFIG_PROC_CHILDREN`.
fn children_by_scan() -> io::Result<BTreeSet<u32>> {
    let me = std::process::id();
    Ok(Process::all()?.iter().filter(|p| p.parent == me).map(|p| p.id.pid).collect())
}

/// A pid as the system calls take it.
pub(super) fn pid(raw: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(raw).ok()?)
}

/// Sends `SIGKILL` to exactly this process. Returns a handle that becomes readable when it is gone, or `None`
/// if it is gone already.
pub(super) fn kill_exactly(process: ProcessId) -> io::Result<Option<OwnedFd>> {
    let Some(raw) = pid(process.pid) else { return Ok(None) };
    let handle = match pidfd_open(raw, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // The handle holds whoever had the pid when it was opened; the start time says whether that is the one.
    if Process::read(process.pid).is_none_or(|found| found.id != process) {
        return Ok(None);
    }
    match pidfd_send_signal(&handle, Signal::KILL) {
        Ok(()) => Ok(Some(handle)),
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Waits until every one of these processes is gone. False at the deadline.
pub(super) fn wait_gone(handles: &[OwnedFd], deadline: Instant) -> io::Result<bool> {
    for handle in handles {
        loop {
            let left = deadline.since(boot_now());
            let mut fds = [PollFd::new(handle, PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// Holds no pipe of the test's caller open if the test fails.
    fn sleep() -> Command {
        let mut sleep = Command::new("sleep");
        sleep.arg("100").stdout(Stdio::null()).stderr(Stdio::null());
        sleep
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_is_no_trap() {
        let stat = "7 (a) b (c)) S 3 5 6 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        let found = Process::parse(7, stat).unwrap();
        assert_eq!((found.parent, found.group, found.session, found.id.start), (3, 5, 6, 4242));
        assert!(!found.over);
        assert!(Process::parse(7, "7 (a").is_none());
    }

    #[test]
    fn a_process_with_another_start_time_is_not_killed() {
        let mut child = sleep().spawn().unwrap();
        let process = Process::read(child.id()).unwrap();
        assert!(own_children().unwrap().contains(&child.id()));
        let other = ProcessId { start: process.id.start + 1, ..process.id };
        assert!(kill_exactly(other).unwrap().is_none());
        assert!(child.try_wait().unwrap().is_none());

        let handle = kill_exactly(process.id).unwrap().unwrap();
        assert!(wait_gone(&[handle], boot_now() + Duration::from_secs(10)).unwrap());
        assert!(Process::read(child.id()).unwrap().over);
        child.wait().unwrap();
    }

    #[test]
    fn a_mark_in_the_environment_is_found() {
        let mut child = sleep().env("HA_MARK_TEST", "a,b77,c").spawn().unwrap();
        let process = Process::read(child.id()).unwrap();
        // `spawn` returns when the program is being executed; its environment shows a moment later.
        while !process.carries("b77") {}
        assert!(!process.carries("b78"));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
