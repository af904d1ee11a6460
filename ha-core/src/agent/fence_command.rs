//! A fence device that is a program of the user's.

use super::command_line::{CommandLine, CommandLineError};
use super::error::{CommandError, ending};
use super::leader::Leader;
use super::output::{Output, Printed};
use crate::FenceScope;
use crate::api::FenceDevice;
use crate::engine::FenceAnswer;
use async_trait::async_trait;
use rustix::process::Signal;
use std::io;
use std::process::{Command, ExitStatus};
use std::time::Duration;

const ACTION: &str = "action";
const NODE: &str = "node";

/// What the program is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Off,
    Status,
    On,
}

impl Action {
    const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Status => "status",
            Self::On => "on",
        }
    }

    const fn expects(self) -> &'static str {
        match self {
            Self::Off => "exit status 0, once the node is verified off",
            Self::Status => "exit status 0 (on), or 2 (verified off) with nothing on standard error",
            Self::On => "exit status 0, once the node is on",
        }
    }
}

/// A fence device that is a command line with `{action}` and `{node}` in it.
///
/// | action | exit status | means |
/// |---|---|---|
/// | `off` | 0 | the node **was verified** off, whatever it was before |
/// | `status` | 0 | it is on; nothing was changed |
/// | `status` | 2, and nothing on standard error | it was verified off |
/// | `on` | 0 | it was switched on |
/// | any | anything else, a signal, no end in time | nothing: no proof of anything |
///
/// Shells and other interpreters exit with 2, too, when they cannot read a script or do not understand their arguments; but
/// they say so on standard error. So a `status` of 2 counts as silence if anything was printed there.
///
/// What "off" covers is declared by [`CommandFence::with_scope`] and cannot be checked here.
///
/// Each call runs the program in a process group of its own, without standard input; the group is killed when the call's
/// time is over, when the call is dropped, and, after `off` and `status`, when the program ended. What it prints is
/// read, and the end of it told when it fails.
///
/// ```no_run
/// use ha_core::agent::CommandFence;
/// use std::time::Duration;
/// let fence = CommandFence::new("/usr/local/sbin/fence {action} {node}".parse()?)?
///     .with_timeout(Duration::from_millis(500));
/// # Ok::<_, ha_core::agent::CommandLineError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CommandFence {
    name: String,
    line: CommandLine,
    timeout: Duration,
    scope: FenceScope,
}

impl CommandFence {
    /// How long a call may take unless it is said.
    pub const TIMEOUT: Duration = Duration::from_secs(2);

    /// A device with a timeout of 2 s that ends the whole incarnation. A command without `{action}` and `{node}` gets
    /// both appended as two words.
    ///
    /// # Errors
    /// [`CommandLineError::Placeholder`] if it has one of the two.
    pub fn new(line: CommandLine) -> Result<Self, CommandLineError> {
        let one = |has, missing| CommandLineError::Placeholder { found: line.to_string(), has, missing };
        let line = match (line.has(ACTION), line.has(NODE)) {
            (true, true) => line,
            (false, false) => line.then("{action}").then("{node}"),
            (true, false) => return Err(one(ACTION, NODE)),
            (false, true) => return Err(one(NODE, ACTION)),
        };
        let name = line.words().first().cloned().unwrap_or_default();
        Ok(Self { name, line, timeout: Self::TIMEOUT, scope: FenceScope::Incarnation })
    }

    /// How long a call may take. Use the configured [`FenceConfig::timeout`](crate::config::FenceConfig::timeout).
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What its "off" covers: everything of the node ([`FenceScope::Incarnation`]: no process **and** none of its
    /// addresses reachable), or only its processes.
    #[must_use]
    pub const fn with_scope(mut self, scope: FenceScope) -> Self {
        self.scope = scope;
        self
    }

    /// Whether `node` is off, without changing it, and why nobody knows if so.
    ///
    /// # Errors
    /// [`CommandError`]: it proves nothing.
    pub async fn ask(&self, node: &str) -> Result<FenceAnswer, CommandError> {
        let (status, printed) = self.run(Action::Status, node).await?;
        match status.code() {
            Some(0) => Ok(FenceAnswer::On),
            Some(2) if !printed.complained => Ok(FenceAnswer::Off { scope: self.scope }),
            Some(_) | None => Err(self.unclear(Action::Status, node, status, printed)),
        }
    }

    /// Stops `node` and verifies it.
    ///
    /// # Errors
    /// [`CommandError`]: it proves nothing, and the node may be off or on.
    pub async fn turn_off(&self, node: &str) -> Result<FenceAnswer, CommandError> {
        let (status, printed) = self.run(Action::Off, node).await?;
        match status.code() {
            Some(0) => Ok(FenceAnswer::Off { scope: self.scope }),
            Some(_) | None => Err(self.unclear(Action::Off, node, status, printed)),
        }
    }

    /// Switches `node` on.
    ///
    /// # Errors
    /// [`CommandError`]: it may be off or on.
    pub async fn turn_on(&self, node: &str) -> Result<(), CommandError> {
        let (status, printed) = self.run(Action::On, node).await?;
        match status.code() {
            Some(0) => Ok(()),
            Some(_) | None => Err(self.unclear(Action::On, node, status, printed)),
        }
    }

    fn words(&self, action: Action, node: &str) -> Vec<String> {
        self.line.filled(&[(ACTION, action.word()), (NODE, node)])
    }

    fn unclear(&self, action: Action, node: &str, status: ExitStatus, printed: Printed) -> CommandError {
        let command = self.words(action, node).join(" ");
        let output = printed.text;
        CommandError::Exit { command, found: ending(status), expected: action.expects(), output }
    }

    async fn run(&self, action: Action, node: &str) -> Result<(ExitStatus, Printed), CommandError> {
        let words = self.words(action, node);
        let command = words.join(" ");
        let system = |what| {
            let command = command.clone();
            move |source| CommandError::System { what, command, source }
        };
        let (mut leader, mut output) = start(&words, &command)?;
        let ended = tokio::select! {
            biased;
            over = leader.over() => { over.map_err(system("waiting for the end"))?; true }
            () = output.drain() => false,
            () = tokio::time::sleep(self.timeout) => false,
        };
        // An `on` may leave running what it started; nothing else has anything to do any more.
        if !ended || action != Action::On {
            leader.signal(Signal::KILL).map_err(system("killing the process group"))?;
        }
        if !ended {
            let output = output.finish().text;
            return Err(CommandError::Timeout { command, limit: self.timeout, output });
        }
        let status = leader.reap().map_err(system("taking the exit status"))?;
        Ok((status, output.finish()))
    }

    fn told(answer: Result<FenceAnswer, CommandError>) -> FenceAnswer {
        answer.unwrap_or_else(|error| {
            tracing::warn!(target: "ha_core", %error, "the fence command gave no verified answer");
            FenceAnswer::Failed
        })
    }
}

fn start(words: &[String], command: &str) -> Result<(Leader, Output), CommandError> {
    let (program, arguments) = words.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
    let mut process = Command::new(program);
    process.args(arguments);
    let piped = |source: io::Error| CommandError::System {
        what: "a pipe for the output",
        command: command.into(),
        source,
    };
    let output = Output::of(&mut process).map_err(piped)?;
    let leader = Leader::start(&mut process)
        .map_err(|source| CommandError::Start { program: program.into(), source })?;
    Ok((leader, output))
}

#[async_trait]
impl FenceDevice for CommandFence {
    fn name(&self) -> &str {
        &self.name
    }

    async fn status(&self, node: &str) -> FenceAnswer {
        Self::told(self.ask(node).await)
    }

    async fn fence(&self, node: &str) -> FenceAnswer {
        Self::told(self.turn_off(node).await)
    }
}

#[cfg(test)]
#[path = "fence_command_tests.rs"]
mod tests;
