//! The power switch of a node that runs below this process: "off" means that no descendant lives, and that this was verified.

use super::processes::{descendants, signal};
use super::switch::{Parts, PowerError, Switch, signal_all};
use rustix::process::{Signal, WaitOptions, wait};
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The power of one node.
pub(crate) struct Power {
    command: Vec<String>,
    log: PathBuf,
    on: Mutex<bool>,
}

impl Power {
    /// Switched off.
    pub(crate) fn new(command: Vec<String>, log: PathBuf) -> Self {
        Self { command, log, on: Mutex::new(false) }
    }

    fn switch(&self) -> MutexGuard<'_, bool> {
        self.on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self) -> io::Result<()> {
        let child = node_command(&self.command, Path::new("/proc/self/exe"), &self.log)?.spawn()?;
        // Reaped with everybody else.
        drop(child);
        Ok(())
    }
}

impl Switch for Power {
    fn is_on(&self) -> Result<bool, PowerError> {
        let on = self.switch();
        Ok(*on || !reaped_all().map_err(PowerError::End)?)
    }

    fn off(&self, deadline: Instant) -> Result<(), PowerError> {
        let mut on = self.switch();
        *on = false;
        end_descendants(deadline)
    }

    fn on(&self) -> Result<(), PowerError> {
        let mut on = self.switch();
        if *on || !reaped_all().map_err(PowerError::End)? {
            return Err(PowerError::On);
        }
        let started = self.start();
        *on = started.is_ok();
        started.map_err(PowerError::Start)
    }

    fn parts(&self) -> io::Result<Parts> {
        Ok(Parts::of(descendants()?))
    }

    fn freeze(&self) -> Result<(), PowerError> {
        signal_all(&descendants().map_err(PowerError::End)?, Signal::STOP)
    }

    fn thaw(&self) -> Result<(), PowerError> {
        signal_all(&descendants().map_err(PowerError::End)?, Signal::CONT)
    }
}

/// What starts a node under its guardian: `program` with these arguments, called as this process is.
pub(super) fn node_command(arguments: &[String], program: &Path, log: &Path) -> io::Result<Command> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = Command::new(program);
    command.arg0_like_us().args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(command)
}

trait Named {
    fn arg0_like_us(&mut self) -> &mut Self;
}

impl Named for Command {
    fn arg0_like_us(&mut self) -> &mut Self {
        use std::os::unix::process::CommandExt;
        match std::env::args_os().next() {
            Some(name) => self.arg0(name),
            None => self,
        }
    }
}

/// Reaps who is dead; true if there is no child at all. As the subreaper has none, it has no descendant either.
fn reaped_all() -> io::Result<bool> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(false),
            Err(rustix::io::Errno::CHILD) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Kills every descendant of this process, which must be a child subreaper, until none is left.
///
/// All are stopped before the first one dies: where the power fails, nobody is left to notice that another one
/// ended, and to say so.
pub(crate) fn end_descendants(deadline: Instant) -> Result<(), PowerError> {
    for one in &descendants().map_err(PowerError::End)? {
        signal(one, Signal::STOP).map_err(PowerError::End)?;
    }
    loop {
        if reaped_all().map_err(PowerError::End)? {
            return Ok(());
        }
        let living = descendants().map_err(PowerError::End)?;
        for one in &living {
            signal(one, Signal::KILL).map_err(PowerError::End)?;
        }
        if Instant::now() >= deadline {
            return Err(PowerError::Survivors(living.len()));
        }
        // Between the signal and the zombie lies the kernel's own time; a pause leaves it a processor.
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::start::deadline;

    const ALONE: &str = "MAIL_PAIR_POWER_TEST";

    /// The switch ends *all* descendants of its process, so it is tested in a process of its own.
    #[test]
    fn nobody_escapes_the_switch() {
        if std::env::var_os(ALONE).is_some() {
            return in_a_process_of_its_own();
        }
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "chassis::power::tests::nobody_escapes_the_switch"])
            .env(ALONE, "1")
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    }

    fn in_a_process_of_its_own() {
        use std::io::{BufRead, BufReader};
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        // One that lost its parent and its session, one that ignores every signal it may, one that is stopped.
        let script = "(setsid sleep 300 & echo $!) ; (trap '' TERM HUP INT; sleep 300 & echo $!; wait) & sleep 300 & kill -STOP $!; echo $!; wait";
        #[expect(clippy::zombie_processes, reason = "the switch reaps everybody")]
        let mut shell = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(shell.stdout.take().unwrap()).lines().take(3);
        let pids: Vec<i32> = lines.map(|line| line.unwrap().trim().parse().unwrap()).collect();
        let living = |pid: &i32| descendants().unwrap().iter().any(|d| d.pid == *pid);
        assert!(pids.iter().all(living), "{pids:?}");
        assert!(!reaped_all().unwrap());
        end_descendants(deadline(Duration::from_secs(20))).unwrap();
        assert!(descendants().unwrap().is_empty());
        assert!(reaped_all().unwrap());
        assert!(!pids.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists()));
    }
}
