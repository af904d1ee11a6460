//! One command at a time: run, waited for, killed with its group when it takes too long.

use super::{Action, ExecError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// So much of the end of its output is shown.
const SHOWN: u64 = 1024;
/// The status command's word for "not here".
const NOT_HERE: i32 = 2;

/// The commands of a backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Commands {
    pub(super) acquire: String,
    pub(super) release: String,
    pub(super) status: String,
    pub(super) limit: Duration,
}

/// How a command ended, and the end of what it wrote.
struct Ended {
    status: Option<ExitStatus>,
    said: String,
}

impl Commands {
    /// Brings the addresses here. After an error the release command was run.
    pub(super) fn acquire(&self, addresses: &[IpAddr]) -> Result<(), ExecError> {
        let acquired = self.done(Action::Acquire, addresses).and_then(|()| match self.status(addresses)? {
            true => Ok(()),
            false => Err(ExecError::Unconfirmed { action: Action::Acquire, found: "not here".into() }),
        });
        if let Err(error) = &acquired {
            tracing::warn!(%error, "the addresses are released again");
            if let Err(second) = self.release(addresses) {
                tracing::error!(error = %second, "something is left of a failed acquisition");
            }
        }
        acquired
    }

    /// Sends the addresses away and has it confirmed.
    pub(super) fn release(&self, addresses: &[IpAddr]) -> Result<(), ExecError> {
        self.done(Action::Release, addresses)?;
        match self.status(addresses)? {
            false => Ok(()),
            true => Err(ExecError::Unconfirmed { action: Action::Release, found: "still here".into() }),
        }
    }

    /// Whether the addresses are here.
    pub(super) fn status(&self, addresses: &[IpAddr]) -> Result<bool, ExecError> {
        let ended = self.run(Action::Status, addresses)?;
        match ended.status.and_then(|status| status.code()) {
            Some(0) => Ok(true),
            Some(NOT_HERE) => Ok(false),
            Some(_) | None => Err(self.failed(Action::Status, &ended)),
        }
    }

    fn done(&self, action: Action, addresses: &[IpAddr]) -> Result<(), ExecError> {
        let ended = self.run(action, addresses)?;
        if ended.status.is_some_and(|status| status.success()) {
            Ok(())
        } else {
            Err(self.failed(action, &ended))
        }
    }

    fn text(&self, action: Action) -> &str {
        match action {
            Action::Acquire => &self.acquire,
            Action::Release => &self.release,
            Action::Status => &self.status,
        }
    }

    fn failed(&self, action: Action, ended: &Ended) -> ExecError {
        let (command, said) = (self.text(action).into(), ended.said.clone());
        let Some(status) = ended.status else {
            return ExecError::TooSlow { action, command, limit: self.limit, said };
        };
        let signal = status.signal().map(|signal| format!("signal {signal}"));
        let ended = signal.unwrap_or_else(|| format!("exit code {}", status.code().unwrap_or(-1)));
        ExecError::Failed { action, command, ended, said }
    }

    fn run(&self, action: Action, addresses: &[IpAddr]) -> Result<Ended, ExecError> {
        let started = self.start(action, addresses).and_then(|(child, output)| {
            let status = wait(child, self.limit)?;
            Ok(Ended { status, said: end_of(&output) })
        });
        started.map_err(|source| ExecError::Start { action, command: self.text(action).into(), source })
    }

    fn start(&self, action: Action, addresses: &[IpAddr]) -> io::Result<(Child, File)> {
        // In memory: a reader that went away, or a full pipe, must not hold up the command.
        let output = File::from(memfd_create("ha-vip command", MemfdFlags::CLOEXEC)?);
        let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let child = Command::new("/bin/sh")
            .args(["-c", self.text(action)])
            .env("HA_VIP_ACTION", action.to_string())
            .env("HA_VIP_ADDRESS", all.first().map_or("", String::as_str))
            .env("HA_VIP_ADDRESSES", all.join(" "))
            .env("HA_VIP_TIMEOUT_MS", self.limit.as_millis().to_string())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            .process_group(0)
            .spawn()?;
        Ok((child, output))
    }
}

/// Waits for the end; `None` if it had to be killed.
fn wait(mut child: Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    let group = Pid::from_child(&child);
    let ended = ends_before(group, deadline);
    if let Ok(true) = ended {
        return child.wait().map(Some);
    }
    // Its number is not given away before it is waited for, so nobody else is hit.
    let killed = kill_process_group(group, Signal::KILL);
    let status = child.wait()?;
    ended?;
    // It may have ended by itself in the last instant; a kill that found nobody proves it.
    Ok(if killed.is_err() { Some(status) } else { None })
}

fn ends_before(process: Pid, deadline: Instant) -> io::Result<bool> {
    let handle = pidfd_open(process, PidfdFlags::empty())?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
        let timeout = Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() };
        let fd = handle.as_fd();
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn end_of(output: &File) -> String {
    let length = output.metadata().map_or(0, |metadata| metadata.len());
    let mut bytes = vec![0; usize::try_from(length.min(SHOWN)).unwrap_or(0)];
    match output.read_exact_at(&mut bytes, length.saturating_sub(SHOWN)) {
        Ok(()) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(error) => format!("({error})"),
    }
}
