//! The way into a host: a thread that lives in its namespaces and starts its processes.

use super::netns::NetNs;
use super::{TestbedError, sys};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, waitid};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

type Job = Box<dyn FnOnce() + Send>;

/// A host's namespaces and the thread inside them. What the thread spawns is born into the host's process namespace;
/// dropping the door kills everybody in there.
pub(super) struct Door {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    inside: Inside,
}

/// What the thread found once it was inside.
struct Inside {
    netns: NetNs,
    init: Pid,
    init_fd: OwnedFd,
    /// Its other end is the first process's life line.
    _line: UnixStream,
    own_proc: bool,
}

impl Door {
    /// Makes the namespaces of a host called `name`, with nothing in them but their first process.
    pub(super) fn open(name: &str) -> Result<Self, TestbedError> {
        let (jobs, orders) = channel::<Job>();
        let (told, hear) = channel();
        let host = name.to_owned();
        let thread = thread::Builder::new().name(format!("host {name}")).spawn(move || {
            let inside = move_in(&host);
            if told.send(inside).is_ok() {
                work(&orders);
            }
        });
        let thread = thread.map_err(TestbedError::system("start the thread", name))?;
        match hear.recv() {
            Ok(Ok(inside)) => Ok(Self { jobs: Some(jobs), thread: Some(thread), inside }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(TestbedError::system("keep the thread", name)(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Calls `job` on the thread inside. It must not start threads: they would belong to two process namespaces.
    pub(super) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (told, hear) = channel();
        let job: Job = Box::new(move || drop(told.send(job())));
        let jobs = self.jobs.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        jobs.send(job).map_err(|_| io::ErrorKind::BrokenPipe)?;
        hear.recv().map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    pub(super) const fn netns(&self) -> &NetNs {
        &self.inside.netns
    }

    /// The first process, as this process's namespace counts.
    pub(super) const fn init(&self) -> Pid {
        self.inside.init
    }

    pub(super) const fn own_proc(&self) -> bool {
        self.inside.own_proc
    }

    /// Kills the first process, and with it everybody. They are gone when [`wait_dead`](Self::wait_dead) returns.
    pub(super) fn kill(&self) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.inside.init_fd, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Waits until the first process is dead. The kernel lets it go last: after it, nobody is left in the namespace. Those
    /// that were started through the door must be waited for by their parent, which is this process, at the same time.
    pub(super) fn wait_dead(&self) -> io::Result<()> {
        loop {
            // By its descriptor: its number may be another one's by the second call.
            match waitid(WaitId::PidFd(self.inside.init_fd.as_fd()), WaitIdOptions::EXITED) {
                Err(rustix::io::Errno::INTR) => {}
                // Somebody has waited before: dead already.
                Ok(_) | Err(rustix::io::Errno::CHILD) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = self.wait_dead();
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(orders: &Receiver<Job>) {
    while let Ok(job) = orders.recv() {
        job();
    }
}

fn move_in(name: &str) -> Result<Inside, TestbedError> {
    sys::new_host()
        .map_err(|source| TestbedError::Refused { what: "make the namespaces of a host", source })?;
    let inside = || -> io::Result<Inside> {
        // The thread's own `/proc` entry is out of sight once the first process has mounted its own.
        let netns = NetNs::here()?;
        sys::keep_mounts_private()?;
        sys::set_host_name(name)?;
        let (mut line, end) = UnixStream::pair()?;
        let init = sys::fork_init(end.into())?;
        let mut error = [0];
        line.read_exact(&mut error)?;
        let init = Pid::from_raw(init).ok_or(io::ErrorKind::InvalidData)?;
        let init_fd = rustix::process::pidfd_open(init, PidfdFlags::empty())?;
        Ok(Inside { netns, init, init_fd, _line: line, own_proc: error == [0] })
    };
    inside().map_err(TestbedError::system("move into the namespaces", name))
}
