//! The parent process that finishes a dead or frozen node: kills what is left, takes effects back, and says
//! *released* in the node's name.
//!
//! [`enter`] is called first in `fn main`. It starts the same binary again as its child and stays behind as
//! guardian; only the child returns from it, with a [`GuardianClient`]. `docs/GUARDIAN.md` has the whole
//! story; what it does **not** do:
//!
//! - It decides nothing. Who takes over is the peer's engine's business.
//! - It does not survive `kill -9` of itself: the child notices, hands over and is [reborn](GuardianClient::reborn).
//! - A process that changed its user, cleared its environment **and** lost its guardian is found again only by
//!   an undo step of its own.

mod child;
mod client;
mod config;
mod descent;
mod error;
mod exe;
mod family;
mod feed_watch;
mod group;
mod handlers;
mod keep;
mod last_word;
mod life;
mod message;
mod old_life;
mod parent;
mod process;
mod relay;
mod report;
mod restart;
mod signals;
mod sys;
mod undo_list;
mod voices;

pub use client::{GuardianClient, UndoId};
pub use config::GuardianConfig;
#[cfg(test)]
pub(crate) use descent::take_back;
pub(crate) use descent::{Descent, Mark};
pub use error::{ClientError, GuardianError};
pub use group::process_group_undo;
pub use report::GuardianReport;
pub use restart::RestartPolicy;

/// Who came back from [`enter`].
#[derive(Debug)]
pub enum Entered {
    /// The child: the node itself.
    Child(GuardianClient),
}

/// Splits the process into guardian and node. Call it first in `main`, while there is one thread and no child.
///
/// In the guardian it does not return: it ends the process with the child's exit code (128 + signal for a
/// child that was killed by one). In the child it returns the connection to the guardian.
///
/// # Errors
/// [`GuardianError`] if the guardian does not start; nothing was started then.
pub fn enter(config: GuardianConfig) -> Result<Entered, GuardianError> {
    child::alone()?;
    exe::restore_name();
    if let Some(socket) = child::inherited() {
        return child::begin(socket).map(Entered::Child);
    }
    let code = parent::guard(config)?;
    std::process::exit(code)
}
