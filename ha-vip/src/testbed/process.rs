//! A process that runs in a host.

use rustix::process::{Pid, PidfdFlags, Signal};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A process of a host, and its descendants' first. Clones name the same one. Dropping it does not end it: the host's
/// end does.
#[derive(Clone)]
pub struct Process(Arc<Inner>);

struct Inner {
    pid: u32,
    /// Signals through it never hit another process that got the same number.
    fd: OwnedFd,
    child: Mutex<Child>,
}

impl Process {
    pub(super) fn new(child: Child) -> io::Result<Self> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        let fd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self(Arc::new(Inner { pid: child.id(), fd, child: Mutex::new(child) })))
    }

    /// Its number as the test counts. In its host it has another.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.pid
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.0.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its standard input, if it was piped and nobody took it.
    #[must_use]
    pub fn take_stdin(&self) -> Option<ChildStdin> {
        self.child().stdin.take()
    }

    /// Its standard output, if it was piped and nobody took it.
    #[must_use]
    pub fn take_stdout(&self) -> Option<ChildStdout> {
        self.child().stdout.take()
    }

    /// Its standard error, if it was piped and nobody took it.
    #[must_use]
    pub fn take_stderr(&self) -> Option<ChildStderr> {
        self.child().stderr.take()
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        self.child().try_wait()
    }

    /// Waits until it ends, whatever that takes.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(&self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.wait_for(Duration::from_secs(3600))? {
                return Ok(status);
            }
        }
    }

    /// Waits until it ends, at most so long. `None`: it still runs.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait_for(&self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(Some(status));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&self.0.fd, PollFlags::IN)], Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until it ends, and collects what it wrote to piped outputs.
    ///
    /// # Errors
    /// What the system says.
    pub fn output(&self) -> io::Result<Output> {
        use std::io::Read;
        drop(self.take_stdin());
        let (out, err) = (self.take_stdout(), self.take_stderr());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        std::thread::scope(|scope| -> io::Result<()> {
            let errors = scope.spawn(|| err.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut stderr)));
            out.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut stdout))?;
            errors.join().unwrap_or(Ok(0)).map(drop)
        })?;
        Ok(Output { status: self.wait()?, stdout, stderr })
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(self.0.fd.as_fd(), signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }

    /// SIGKILL to this process alone. A success if it had ended.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    /// SIGTERM to this process alone.
    ///
    /// # Errors
    /// What the system says.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// SIGSTOP to this process alone; [`Host::freeze`](super::Host::freeze) stops all of a host.
    ///
    /// # Errors
    /// What the system says.
    pub fn stop(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT to this process alone.
    ///
    /// # Errors
    /// What the system says.
    pub fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("pid", &self.0.pid).finish()
    }
}
