//! Why a command gave no answer.

use std::io;
use std::time::Duration;

/// A command did not do what it was asked. Nothing is known of its effect then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It could not be executed.
    #[error("cannot execute {program}: {source}{}", hint(.source))]
    Start {
        /// The program.
        program: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// It was still running when its time was over; its process group was killed.
    #[error("{command} did not end within {limit:?} and was killed; expected an answer by then{output}")]
    Timeout {
        /// The command.
        command: String,
        /// Its time.
        limit: Duration,
        /// The end of what it printed, as an addition to a sentence.
        output: String,
    },
    /// It ended in a way that says nothing.
    #[error("{command} ended with {found}, expected {expected}{output}")]
    Exit {
        /// The command.
        command: String,
        /// How it ended.
        found: String,
        /// What would have been an answer.
        expected: &'static str,
        /// The end of what it printed, as an addition to a sentence.
        output: String,
    },
    /// A system call failed.
    #[error("{what} of {command}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The command.
        command: String,
        /// What the operating system said.
        source: io::Error,
    },
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => {
            "; expected the path of a program (and of the interpreter that its first line names)"
        }
        io::ErrorKind::PermissionDenied => "; expected a file that this user may execute: chmod +x",
        _ => "",
    }
}

/// How a process ended, in words.
pub(super) fn ending(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
