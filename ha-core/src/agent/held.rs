//! A child that waits between fork and exec until it is let go: its process exists, so an undo step can name it, and has
//! done nothing yet.

use super::sys;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinHandle;

/// What lets the child go. Anything else ends it.
const GO: u8 = b'g';
/// For how long a child may be held back; then it ends by itself.
const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// A child that is held back. Dropped, it ends without having executed anything.
pub(super) struct Held {
    word: OwnedFd,
    started: JoinHandle<io::Result<Child>>,
    gone: bool,
}

impl Held {
    /// Forks `command`'s child; its pid. Must be called inside a tokio runtime.
    pub(super) async fn fork(mut command: Command) -> io::Result<(Self, u32)> {
        let (said, says) = pipe_with(PipeFlags::CLOEXEC)?;
        let (hears, word) = pipe_with(PipeFlags::CLOEXEC)?;
        let said = Receiver::from_owned_fd(said)?;
        let parent = getpid();
        sys::before_exec(&mut command, move || wait_for_go(parent, &says, &hears));
        // `spawn` returns when the child executes its program, or when it could not.
        let started = tokio::task::spawn_blocking(move || command.spawn());
        let mut held = Self { word, started, gone: false };
        match read_pid(&said).await? {
            Some(pid) => Ok((held, pid)),
            None => match held.outcome().await {
                Err(error) => Err(error),
                Ok(_) => Err(io::Error::other("the child did not say its pid")),
            },
        }
    }

    /// Lets the child execute its program. Resolves when it does, or cannot.
    pub(super) async fn go(mut self) -> io::Result<Child> {
        write(&self.word, &[GO])?;
        self.gone = true;
        self.outcome().await
    }

    /// Ends the child. Resolves when it is gone.
    pub(super) async fn give_up(mut self) {
        let _ = write(&self.word, &[0]);
        self.gone = true;
        let _ = self.outcome().await;
    }

    async fn outcome(&mut self) -> io::Result<Child> {
        (&mut self.started).await.map_err(io::Error::other)?
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.gone {
            // The pipe has room for it; a child that is gone does not need it.
            let _ = write(&self.word, &[0]);
        }
    }
}

async fn read_pid(said: &Receiver) -> io::Result<Option<u32>> {
    let mut bytes = [0; 4];
    loop {
        said.readable().await?;
        match said.try_read(&mut bytes) {
            // So few octets are written and read at once.
            Ok(4) => return Ok(Some(u32::from_ne_bytes(bytes))),
            Ok(_) => return Ok(None),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(e) => return Err(e),
        }
    }
}

/// In the child: system calls only. It dies with the thread that forked it, which waits for it.
fn wait_for_go(parent: Pid, says: &OwnedFd, hears: &OwnedFd) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(parent) {
        return Err(Errno::CANCELED.into());
    }
    write(says, &getpid().as_raw_nonzero().get().to_ne_bytes())?;
    let mut word = [0];
    loop {
        match poll(&mut [PollFd::new(hears, PollFlags::IN)], Some(&PATIENCE)) {
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(0) => return Err(Errno::TIMEDOUT.into()),
            Ok(_) => {}
        }
        match read(hears, &mut word) {
            Err(Errno::INTR) => {}
            Ok(1) if word == [GO] => break,
            Ok(_) | Err(_) => return Err(Errno::CANCELED.into()),
        }
    }
    set_parent_process_death_signal(None)?;
    Ok(())
}
