//! What can go wrong while a data centre is built or injured.

use std::io;

/// A data centre could not be built, or a fault could not be made or healed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestbedError {
    /// The kernel does not let this process make namespaces.
    #[error(
        "cannot {what}: {source}; expected root with CAP_SYS_ADMIN, or a kernel that permits user namespaces to ordinary users (user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)"
    )]
    Refused {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A system call failed for another reason.
    #[error("cannot {what} of {host}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The host, or `the switch`.
        host: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// `ip`, `nft` or `tc` is missing or failed. Debian: `apt-get install iproute2 nftables`.
    #[error("`{program}` failed for {host}: {said}")]
    Program {
        /// The program and its arguments.
        program: String,
        /// The host, or `the switch`.
        host: String,
        /// Its standard error, and what was fed to it.
        said: String,
    },
    /// The builder was asked for something that cannot be wired.
    #[error("{found}; expected {expected}")]
    Plan {
        /// What was asked for.
        found: String,
        /// What can be wired.
        expected: &'static str,
    },
    /// There is no host of that name.
    #[error("there is no host {name:?}; there are {known}")]
    NoHost {
        /// The name asked for.
        name: String,
        /// All hosts.
        known: String,
    },
    /// The host has no such interface.
    #[error("host {host} has no interface {name:?}; it has {known}")]
    NoInterface {
        /// The host.
        host: String,
        /// The name asked for.
        name: String,
        /// Its interfaces.
        known: String,
    },
    /// Two hosts that should be kept apart share no network.
    #[error("{from} and {to} share no network; expected two hosts on one bridge")]
    NotNeighbours {
        /// The sender.
        from: String,
        /// The receiver.
        to: String,
    },
    /// The host's power is off.
    #[error("host {host} is powered off; expected it on: call power_on first")]
    Off {
        /// The host.
        host: String,
    },
}

impl TestbedError {
    pub(super) fn system(what: &'static str, host: &str) -> impl FnOnce(io::Error) -> Self {
        let host = host.to_owned();
        move |source| Self::System { what, host, source }
    }
}
