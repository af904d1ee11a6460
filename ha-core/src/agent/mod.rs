//! Generic agents that run a program of the user's: a fence device and a service, each a command line.
//!
//! | agent | is |
//! |---|---|
//! | [`CommandFence`] | a [`FenceDevice`](crate::api::FenceDevice): `off`, `status` or `on`, and the peer's name, as words of a command |
//! | [`CommandService`] | a [`Resource`](crate::api::Resource): a long-running process in a process group of its own |
//!
//! No shell is involved: a [`CommandLine`] is split into words once, and the program is executed with them.

mod command_line;
mod error;
mod fence_command;
mod held;
mod leader;
mod output;
mod service_command;
mod sys;

pub use command_line::{CommandLine, CommandLineError};
pub use error::CommandError;
pub use fence_command::CommandFence;
pub use service_command::CommandService;
