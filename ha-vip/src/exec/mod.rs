//! Addresses that commands of yours bring here: cloud APIs, load balancers, DNS.
//!
//! Three commands, each run by `/bin/sh -c` in a process group of its own:
//!
//! | command | exit 0 | exit 2 | any other, or none in time |
//! |---|---|---|---|
//! | acquire | done | failed | failed; release is run |
//! | release | done | failed | failed: the address may still be here |
//! | status | the addresses are here | they are not | unknown |
//!
//! Acquire and release only count when status confirms them. What runs past its time is killed with its whole group.
//! Each finds in its environment:
//!
//! | variable | is |
//! |---|---|
//! | `HA_VIP_ACTION` | `acquire`, `release` or `status` |
//! | `HA_VIP_ADDRESS` | the first address |
//! | `HA_VIP_ADDRESSES` | all of them, with blanks between |
//! | `HA_VIP_TIMEOUT_MS` | after how many milliseconds it is killed |
//!
//! **No self-expiry**: the kernel does not know such addresses, so they stay where the last acquire brought them when the
//! process dies and nobody undoes it. Use it where acquire *takes* the address from whoever has it (floating addresses of
//! clouds do), or with a fence device that ends the whole node.

mod command;
mod undo;

pub use undo::{UNDO_KIND, undo, verify};

use crate::ports::Ports;
use crate::socket::prepare_anywhere;
use crate::{AcceptSource, AddressBackend, AddressError, Holding};
use async_trait::async_trait;
use command::Commands;
use ha_core::api::Clock;
use ha_core::runtime::BootClock;
use ha_core::{TokenCell, Undo};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a command is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Bring the addresses here.
    Acquire,
    /// Send them away.
    Release,
    /// Say whether they are here.
    Status,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Acquire => "acquire",
            Self::Release => "release",
            Self::Status => "status",
        })
    }
}

/// A command did not do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// It did not start.
    #[error("the {action} command \"{command}\" cannot be run: {source}")]
    Start {
        /// What it is for.
        action: Action,
        /// The command.
        command: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It took too long.
    #[error(
        "the {action} command \"{command}\" did not end within {limit:?} and was killed with its process group; make it quicker or allow it more time; it said: {said}"
    )]
    TooSlow {
        /// What it is for.
        action: Action,
        /// The command.
        command: String,
        /// How long it was given.
        limit: Duration,
        /// The end of its output.
        said: String,
    },
    /// It failed.
    #[error("the {action} command \"{command}\" ended with {ended}; expected exit code 0; it said: {said}")]
    Failed {
        /// What it is for.
        action: Action,
        /// The command.
        command: String,
        /// Its exit code, or the signal that ended it.
        ended: String,
        /// The end of its output.
        said: String,
    },
    /// It claims success, and the status command does not confirm it.
    #[error("the {action} command says that it is done, but the status command says: {found}")]
    Unconfirmed {
        /// What it is for.
        action: Action,
        /// What the status command says.
        found: String,
    },
    /// The permission ended first.
    #[error("the permission ran out before the acquire command was run")]
    NotPermitted,
}

/// Ten seconds: cloud APIs are slow. Count it into the resource's `start` and `stop` budgets.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(10);

/// A backend of three commands. See the [module](self).
///
/// ```no_run
/// use ha_vip::{Exec, VirtualIp};
/// use std::sync::Arc;
/// let backend = Exec::new("cloud-ip assign", "cloud-ip unassign", "cloud-ip is-mine").limit(std::time::Duration::from_secs(5));
/// let address = VirtualIp::new("address", "203.0.113.25".parse()?, Arc::new(backend))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Exec {
    commands: Commands,
    ports: Mutex<Ports>,
}

impl Exec {
    /// The commands that bring the addresses here, send them away, and say where they are.
    #[must_use]
    pub fn new(acquire: &str, release: &str, status: &str) -> Self {
        let commands = Commands {
            acquire: acquire.into(),
            release: release.into(),
            status: status.into(),
            limit: DEFAULT_LIMIT,
        };
        let prepare = |at| prepare_anywhere(&crate::kernel::NetNamespace::own(), at);
        Self { commands, ports: Mutex::new(Ports::new(Box::new(prepare))) }
    }

    /// How long each command may take. Default: [`DEFAULT_LIMIT`].
    #[must_use]
    pub const fn limit(mut self, limit: Duration) -> Self {
        self.commands.limit = limit;
        self
    }

    fn ports(&self) -> MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commands take long: they are waited for on a thread of the runtime's pool.
    async fn blocking<T: Send + 'static>(
        &self,
        addresses: &[IpAddr],
        work: impl FnOnce(&Commands, &[IpAddr]) -> T + Send + 'static,
    ) -> Option<T> {
        let (commands, addresses) = (self.commands.clone(), addresses.to_vec());
        tokio::task::spawn_blocking(move || work(&commands, &addresses)).await.ok()
    }
}

fn runtime_is_ending(action: Action) -> AddressError {
    ExecError::Unconfirmed { action, found: "nothing, as the runtime is ending".into() }.into()
}

#[async_trait]
impl AddressBackend for Exec {
    fn name(&self) -> &str {
        "exec"
    }

    fn check(&self, _: IpAddr) -> Result<(), AddressError> {
        Ok(())
    }

    async fn acquire(&self, addresses: &[IpAddr], token: &TokenCell) -> Result<(), AddressError> {
        let token = token.clone();
        let acquired = self.blocking(addresses, move |commands, addresses| {
            token.check(BootClock.now()).map_err(|_| ExecError::NotPermitted)?;
            commands.acquire(addresses)
        });
        acquired.await.ok_or_else(|| runtime_is_ending(Action::Acquire))??;
        let opened = self.ports().open_all(addresses);
        if opened.is_err() {
            self.release(addresses).await?;
        }
        opened
    }

    async fn release(&self, addresses: &[IpAddr]) -> Result<(), AddressError> {
        let closed = self.ports().close_all(addresses);
        let released = self.blocking(addresses, Commands::release);
        released.await.ok_or_else(|| runtime_is_ending(Action::Release))??;
        closed
    }

    async fn holding(&self, addresses: &[IpAddr]) -> Holding {
        match self.blocking(addresses, Commands::status).await {
            Some(Ok(true)) => Holding::Held,
            Some(Ok(false)) => Holding::NotHeld,
            Some(Err(error)) => Holding::Unknown { reason: error.to_string() },
            None => Holding::Unknown { reason: "the runtime is ending".into() },
        }
    }

    fn undo(&self, addresses: &[IpAddr]) -> Option<Undo> {
        Some(undo::step(&self.commands, addresses))
    }

    fn accept_source(&self, at: SocketAddr) -> Result<AcceptSource, AddressError> {
        self.ports().accept_source(at)
    }
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec").field("commands", &self.commands).finish_non_exhaustive()
    }
}
