//! Ending everything that descends from the guardian.
//!
//! The guardian is the reaper of its descendants: whoever loses its parent becomes a child of the guardian.
//! So it is enough to kill the direct children and reap them until there are none: no pid of a child that
//! was not reaped can be recycled, and no double fork or new session escapes.

use super::keep::Kept;
use super::process::{boot_now, own_children, pid, timespec};
use super::signals::Signals;
use crate::Instant;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Signal, WaitOptions, WaitStatus, kill_process, wait};
use std::io;
use std::time::Duration;

/// A process that is adopted while we wait gives no signal of its own, so look again this often.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Kills and reaps until no child is left but `kept` ones. `reaped` is told of each one. False if some outlive `deadline`.
pub(super) fn end_all(
    signals: &Signals,
    deadline: Instant,
    kept: &Kept,
    mut reaped: impl FnMut(u32, WaitStatus),
) -> io::Result<bool> {
    loop {
        let kept = kept.members()?;
        let doomed = || own_children().map(|all| all.into_iter().filter(|c| !kept.contains(c)));
        for child in doomed()? {
            // A failure (another user's process) shows as a child that stays.
            let _ = pid(child).map(|child| kill_process(child, Signal::KILL));
        }
        // Whoever was reaped is no child any more.
        if reap(&mut reaped)? || doomed()?.next().is_none() {
            return Ok(true);
        }
        let left = deadline.since(boot_now());
        if left.is_zero() {
            return Ok(false);
        }
        let mut fds = [PollFd::new(signals.child_ended(), PollFlags::IN)];
        match poll(&mut fds, Some(&timespec(left.min(LOOK_AGAIN)))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => signals.forget_ended_children(),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reaps whoever has ended. True if no child is left.
pub(super) fn reap(reaped: &mut impl FnMut(u32, WaitStatus)) -> io::Result<bool> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => reaped(pid.as_raw_nonzero().get().unsigned_abs(), status),
            Ok(None) => return Ok(false),
            Err(rustix::io::Errno::CHILD) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
