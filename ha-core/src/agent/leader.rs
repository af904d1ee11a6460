//! The leader of a process group of its own.

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A child that leads a process group. As long as it was not reaped nobody else gets the group's number, so a signal to
/// the group reaches its members and nobody else.
///
/// Dropped unreaped, the whole group is killed.
pub(super) struct Leader {
    child: Child,
    group: Pid,
    reaped: bool,
}

impl Leader {
    /// Starts `command` at the head of a new group.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        Self::of(command.process_group(0).spawn()?)
    }

    /// A child that was started with a group of its own.
    pub(super) fn of(child: Child) -> io::Result<Self> {
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let group = group.ok_or_else(|| io::Error::other("the child's number is no pid"))?;
        Ok(Self { child, group, reaped: false })
    }

    /// Whether the leader itself has ended. Its group may live on.
    pub(super) fn is_over(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.reaped || !matches!(waitid(WaitId::Pid(self.group), look), Ok(None))
    }

    /// Resolves when the leader has ended. Safe to drop.
    pub(super) async fn over(&self) -> io::Result<()> {
        let pidfd: OwnedFd = pidfd_open(self.group, PidfdFlags::empty())?;
        #[expect(
            deprecated,
            reason = "an OwnedFd keeps its descriptor open, which is all that the new way asks for"
        )]
        let pidfd = AsyncFd::with_interest(pidfd, Interest::READABLE)?;
        pidfd.readable().await?.retain_ready();
        Ok(())
    }

    /// Sends `signal` to everybody in the group.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.reaped {
            return Ok(());
        }
        match kill_process_group(self.group, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the exit status of a leader that is over: call it after [`Leader::over`] or [`Leader::is_over`], else it
    /// blocks. The group's number may be given away from then on.
    pub(super) fn reap(&mut self) -> io::Result<ExitStatus> {
        self.reaped = true;
        self.child.wait()
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        // Whoever cannot be killed is another user's, and stays.
        let _ = self.signal(Signal::KILL);
        if self.is_over() {
            let _ = self.child.wait();
            return;
        }
        // It dies in a moment, or hangs in the kernel; nobody waits for it here, but it shall not stay a zombie.
        let group = self.group;
        let reap = move || waitid(WaitId::Pid(group), WaitIdOptions::EXITED).is_ok();
        let _ = std::thread::Builder::new().name("ha-reap".into()).spawn(reap);
    }
}
