//! One node of a pair that guards an address, from flags alone: nothing else has to be written, so any harness can start
//! it. `docs/PAIR-NODE.md` has two terminals to copy, the fence command's contract and the status' schema.
//!
//! | module | is |
//! |---|---|
//! | `options` | the command line |
//! | `link`, `address` | what `--link` and `--address` mean |
//! | `plan` | from flags to a configuration that both nodes find alike, without touching anything |
//! | `run` | the node's life |
//! | `lease` | the arbiter behind `--lease` |
//! | `unguarded` | what `--no-guardian` knows of an earlier life |
//! | `status`, `control`, `ctl` | what the node says of itself, its socket, and who asks there |

mod address;
mod control;
mod ctl;
mod fence;
mod key;
mod lease;
mod link;
mod options;
mod plan;
mod run;
mod status;
mod unguarded;

use clap::Parser;
use options::{Command, Options};
use std::process::ExitCode;

/// The group that has the addresses and the services.
const GROUP: &str = "address";

/// A failure with its exit status.
struct Failure {
    /// 1: it could not be done; 2: what was asked for is wrong.
    status: u8,
    what: String,
}

impl Failure {
    /// The flags are wrong, or not safe together.
    fn flags(what: impl std::fmt::Display) -> Self {
        Self { status: 2, what: what.to_string() }
    }

    /// It could not be done.
    fn failed(what: impl std::fmt::Display) -> Self {
        Self { status: 1, what: what.to_string() }
    }
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Options::parse().command {
        Command::Run(options) => run::main(&options),
        Command::Ctl(options) => ctl::main(&options),
        Command::Key { file } => key::make(&file).map(|()| ExitCode::SUCCESS),
        Command::Fence(options) => fence::main(&options),
    };
    done.unwrap_or_else(|Failure { status, what }| {
        eprintln!("pair-node: {what}");
        ExitCode::from(status)
    })
}
