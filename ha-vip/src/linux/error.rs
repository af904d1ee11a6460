//! Why an address on a Linux interface is not served.

use super::SpecError;
use crate::kernel::{KernelError, Missing};
use std::net::IpAddr;
use std::time::Duration;

/// An address on a Linux interface cannot be served, or cannot be given up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinuxError {
    /// An address is written wrongly.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A route or a rule is written wrongly.
    #[error(transparent)]
    Path(#[from] super::PathError),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A capability is missing.
    #[error("addresses cannot be added: {0}")]
    Denied(#[from] Missing),
    /// The kernel cannot tell our addresses from others.
    #[error(
        "this kernel is Linux {found}; expected 5.18 or later, which remembers who made an address (IFA_PROTO)"
    )]
    OldKernel {
        /// Its release.
        found: String,
    },
    /// Nothing to serve.
    #[error("no address was given; expected at least one, as in 10.77.0.100/24@lan0")]
    NoAddress,
    /// One address twice.
    #[error("{address} was given twice; leave one out")]
    Twice {
        /// The address.
        address: IpAddr,
    },
    /// The lifetime cannot be kept.
    #[error(
        "an address lifetime of {asked:?} cannot be kept: the kernel takes up to 1.5 s longer than the whole seconds it is told; expected more than 1 s and at most 1 h (or a gate, for less)"
    )]
    Lifetime {
        /// What was asked for.
        asked: Duration,
    },
    /// The gate's span cannot be kept.
    #[error("a gate of {asked:?} cannot be kept; expected 20 ms to 10 s")]
    Gate {
        /// What was asked for.
        asked: Duration,
    },
    /// The interface follows from the route, but there is not exactly one.
    #[error(
        "{address} names no interface, and {found}; name one, as in {address}/24@lan0, or add the route to its network"
    )]
    NicByRoute {
        /// The address.
        address: IpAddr,
        /// How many networks hold it, and on which interfaces.
        found: String,
    },
    /// The interface is administratively down.
    #[error("{nic} is down, so {address} would not answer; put it up (ip link set {nic} up)")]
    NicDown {
        /// The interface.
        nic: String,
        /// The address.
        address: IpAddr,
    },
    /// Addresses of different interfaces with one virtual MAC.
    #[error("addresses of {one} and {other} were given with one virtual MAC; expected all on one interface")]
    SeveralNics {
        /// An interface.
        one: String,
        /// Another one.
        other: String,
    },
    /// Somebody else put it there.
    #[error(
        "{address} is on {nic} already and was not put there by us; take it out of this host's network configuration"
    )]
    NotOurs {
        /// The address.
        address: IpAddr,
        /// The interface.
        nic: String,
    },
    /// An interface of the virtual MAC's name is there and is something else.
    #[error(
        "the interface {name} exists and is {found}; expected the name free, or the macvlan of an earlier life"
    )]
    NotOurNic {
        /// The name.
        name: String,
        /// What it is.
        found: String,
    },
    /// After the removal it is still there.
    #[error("{what} was removed, and is there again; find out who puts it back")]
    StillThere {
        /// What.
        what: String,
    },
    /// The keeper did not start.
    #[error("cannot start the thread that renews the addresses: {0}")]
    Thread(std::io::Error),
}
