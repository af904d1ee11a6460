//! What may be wrong with how an address is written.

use std::net::IpAddr;

/// An address is written wrongly.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// It is no address.
    #[error(
        "\"{found}\" is no address; expected ADDRESS/PREFIX[@INTERFACE], as in 10.77.0.100/24@lan0 or fd00::64/64"
    )]
    NoAddress {
        /// The text.
        found: String,
    },
    /// The prefix is missing.
    #[error("{address} has no prefix length; expected the one of its network, as in {address}/{longest}")]
    NoPrefix {
        /// The address.
        address: IpAddr,
        /// The longest that it may have.
        longest: u8,
    },
    /// The prefix is no number, or too long.
    #[error("{address} has the prefix length \"{found}\"; expected 1 to {longest}")]
    Prefix {
        /// The address.
        address: IpAddr,
        /// What was found.
        found: String,
        /// The longest that it may have.
        longest: u8,
    },
    /// No host can have such an address.
    #[error("{address} is {kind}; expected an address that one host can have")]
    NotAHosts {
        /// The address.
        address: IpAddr,
        /// What it is.
        kind: &'static str,
    },
    /// It is no interface name.
    #[error(
        "\"{found}\" is no interface name; expected 1 to 15 bytes without blanks, slash, colon, comma and @"
    )]
    Nic {
        /// The text.
        found: String,
    },
    /// It is no label.
    #[error(
        "the label \"{found}\" of {address} cannot be; expected at most 15 bytes that begin with the interface's name, as in lan0:mail"
    )]
    Label {
        /// The address.
        address: IpAddr,
        /// The text.
        found: String,
    },
    /// An option of the other family.
    #[error("{address} is IPv6, and {option} is for IPv4 only; leave it out")]
    WrongFamily {
        /// The address.
        address: IpAddr,
        /// The option.
        option: &'static str,
    },
    /// An unknown option.
    #[error(
        "\"{found}\" is no option of an address; expected label=…, scope=global|link|host or noprefixroute"
    )]
    Option {
        /// The text.
        found: String,
    },
}
