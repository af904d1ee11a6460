//! A service that is a program of the user's.

use super::command_line::CommandLine;
use super::error::{CommandError, ending};
use super::held::Held;
use super::leader::Leader;
use crate::Instant;
use crate::api::{Ctx, Resource, ResourceError};
use crate::engine::Health;
use crate::guardian::{Descent, Mark};
use async_trait::async_trait;
use rustix::process::Signal;
use std::fmt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// What the service manager said to the node is not meant for its services.
const NOT_INHERITED: [&str; 5] =
    ["NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "WATCHDOG_PID", "WATCHDOG_USEC"];
/// The grant in which the service was started, for services that hand it on to whom they talk to.
const EPOCH: &str = "HA_EPOCH";

/// A long-running process, started with the group and stopped with it.
///
/// - **start** executes the command in a process group of its own. The process exists before it executes anything, and
///   the guardian knows how to end it by then. It counts as started when its program is being executed; whether it
///   serves is [`monitor`](Resource::monitor)'s business, which sees only that it lives.
/// - **stop** sends `SIGTERM` to the group, waits for three quarters of the stop's budget, then sends `SIGKILL`, and
///   succeeds when nobody is left: neither in the group nor, outside of it, with the service's mark in its environment.
/// - **monitor**: *running* while the process that was started lives, else *failed*. The engine restarts it.
///
/// It gets no standard input, the node's standard output and error, the environment of the node without what the
/// service manager meant for the node, and the epoch of its grant as `HA_EPOCH`.
///
/// ```no_run
/// use ha_core::agent::CommandService;
/// let service = CommandService::new("web", "/usr/sbin/httpd -D FOREGROUND".parse()?);
/// # Ok::<_, ha_core::agent::CommandLineError>(())
/// ```
pub struct CommandService {
    name: String,
    line: CommandLine,
    running: Mutex<Option<Running>>,
}

struct Running {
    leader: Leader,
    descent: Arc<Descent>,
}

impl CommandService {
    /// The resource `name`, which runs `line`.
    #[must_use]
    pub fn new(name: &str, line: CommandLine) -> Self {
        Self { name: name.into(), line, running: Mutex::default() }
    }

    fn failed(&self, what: &str, reason: impl fmt::Display) -> ResourceError {
        ResourceError::new(&self.name, format!("{what}: {reason}"))
    }

    fn command(&self, ctx: &Ctx, mark: Mark) -> Command {
        let (program, arguments) =
            self.line.words().split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        let (variable, value) = mark.variable();
        command.env(variable, value).env(EPOCH, ctx.epoch().to_string());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }

    /// Nothing of it is executed before its undo step is stored.
    async fn begin(&self, ctx: &Ctx) -> Result<Running, ResourceError> {
        let mark = mark().map_err(|e| self.failed("cannot be marked", e))?;
        let cannot = |source| {
            let program = self.line.words().first().cloned().unwrap_or_default();
            self.failed("cannot start", CommandError::Start { program, source })
        };
        let (held, pid) = Held::fork(self.command(ctx, mark)).await.map_err(cannot)?;
        let descent = match self.prepare(ctx, pid, mark) {
            Ok(descent) => descent,
            Err(error) => {
                held.give_up().await;
                return Err(error);
            }
        };
        let child = held.go().await.map_err(cannot)?;
        let leader = Leader::of(child).map_err(|e| self.failed("cannot be watched", e))?;
        Ok(Running { leader, descent: Arc::new(descent) })
    }

    /// Everything that may hold back the process `pid`, which has executed nothing yet.
    fn prepare(&self, ctx: &Ctx, pid: u32, mark: Mark) -> Result<Descent, ResourceError> {
        let descent = Descent::of(pid, mark).map_err(|e| self.failed("cannot be watched", e))?;
        ctx.remember_undo(descent.undo()).map_err(|e| self.failed("held back", e))?;
        // At the last moment: only the owner may start it.
        ctx.token().check(ctx.now()).map_err(|e| self.failed("held back", e))?;
        if ctx.is_cancelled() {
            return Err(self.failed("held back", "the start was given up"));
        }
        Ok(descent)
    }

    /// Ends all of it; politely first, unless there is no time.
    async fn end(&self, running: &mut Running, ctx: &Ctx) -> Result<(), ResourceError> {
        let (now, left) = (ctx.now(), ctx.remaining());
        let (polite, last) = (now + left / 4 * 3, now + left.max(LEAST_STOP));
        let term = running.leader.signal(Signal::TERM);
        term.map_err(|e| self.failed("cannot ask it to end", e))?;
        let descent = Arc::clone(&running.descent);
        let ended = tokio::task::spawn_blocking(move || end(&descent, polite, last));
        match ended.await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Err(self.failed("cannot stop", "some of its processes survive SIGKILL")),
            Ok(Err(error)) => return Err(self.failed("cannot stop", error)),
            Err(error) => return Err(self.failed("cannot stop", error)),
        }
        let status = running.leader.reap().map_err(|e| self.failed("cannot take its exit status", e))?;
        tracing::debug!(target: "ha_core", service = self.name, ended = ending(status), "stopped");
        Ok(())
    }
}

/// A stop whose budget is gone still kills, and looks whether that worked.
const LEAST_STOP: Duration = Duration::from_secs(1);

fn end(descent: &Descent, polite: Instant, last: Instant) -> std::io::Result<bool> {
    if descent.wait(polite)? && !descent.has_strays()? {
        return Ok(true);
    }
    descent.end(last)
}

fn mark() -> std::io::Result<Mark> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(Mark::new(u128::from_ne_bytes(bytes)))
}

#[async_trait]
impl Resource for CommandService {
    fn name(&self) -> &str {
        &self.name
    }

    async fn start(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        let mut slot = self.running.lock().await;
        if let Some(running) = slot.as_mut() {
            if !running.leader.is_over() {
                return Ok(());
            }
            self.end(running, ctx).await?;
            *slot = None;
        }
        if ctx.is_cancelled() {
            return Err(self.failed("cannot start", "the start was given up before it began"));
        }
        let running = slot.insert(self.begin(ctx).await?);
        tracing::info!(target: "ha_core", service = self.name, command = %self.line, epoch = %ctx.epoch(), "started");
        if ctx.is_cancelled() {
            self.end(running, ctx).await?;
            *slot = None;
            return Err(self.failed("cannot start", "the start was given up; it was stopped again"));
        }
        Ok(())
    }

    async fn stop(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        let mut slot = self.running.lock().await;
        if let Some(running) = slot.as_mut() {
            self.end(running, ctx).await?;
            *slot = None;
        }
        Ok(())
    }

    async fn monitor(&self, _: &Ctx) -> Health {
        let Ok(slot) = self.running.try_lock() else { return Health::Unknown };
        match slot.as_ref() {
            None => Health::Stopped,
            Some(running) if running.leader.is_over() => Health::Failed,
            Some(_) => Health::Running,
        }
    }
}

impl fmt::Debug for CommandService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandService")
            .field("name", &self.name)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "service_command_tests.rs"]
mod tests;
