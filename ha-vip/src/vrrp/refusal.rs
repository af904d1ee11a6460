//! Why a message was not listened to.

use super::{Priority, Vrid};
use std::net::IpAddr;

/// A message was not listened to. Variants are in the order of the checks; the first that fails is named.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No IPv4 header, or one that claims more than there is.
    #[error("a datagram of {length} bytes without a whole IPv4 header of protocol 112 before its message")]
    IpHeader {
        /// The datagram's length in bytes.
        length: usize,
    },
    /// It may have come through a router, so anybody may have sent it.
    #[error(
        "hop limit {found} of a message from {source_address}; expected at least {at_least}, which only this link can send"
    )]
    HopLimit {
        /// What arrived.
        found: u8,
        /// The least that is accepted.
        at_least: u8,
        /// Who sent it.
        source_address: IpAddr,
    },
    /// Sent to a unicast address where the group is spoken to, or the other way round.
    #[error(
        "a message from {source_address} to {found}; expected {expected}: use multicast or unicast on all speakers"
    )]
    Destination {
        /// Where it was sent to.
        found: IpAddr,
        /// What is listened to.
        expected: IpAddr,
        /// Who sent it.
        source_address: IpAddr,
    },
    /// Unicast from somebody who is no peer.
    #[error("a message from {source_address}, which is none of the unicast peers")]
    Source {
        /// Who sent it.
        source_address: IpAddr,
    },
    /// Nothing, or less than a header.
    #[error("a message of {length} bytes from {source_address}; expected a header of 8")]
    Short {
        /// Its length in bytes.
        length: usize,
        /// Who sent it.
        source_address: IpAddr,
    },
    /// The old version, which another speaker on this link uses.
    #[error(
        "{source_address} speaks version 2 (router {vrid}, priority {priority}, interval {interval_s} s); expected version 3: set it there (keepalived: vrrp_version 3)"
    )]
    Version2 {
        /// Who sent it.
        source_address: IpAddr,
        /// Its router, as sent.
        vrid: u8,
        /// Its priority.
        priority: Priority,
        /// Its interval in seconds.
        interval_s: u8,
    },
    /// A version that does not exist.
    #[error("version {found} from {source_address}; expected 3")]
    Version {
        /// What arrived.
        found: u8,
        /// Who sent it.
        source_address: IpAddr,
    },
    /// Something else than an advertisement, the only type there is.
    #[error("type {found} from {source_address}; expected 1, an advertisement")]
    Type {
        /// What arrived.
        found: u8,
        /// Who sent it.
        source_address: IpAddr,
    },
    /// Cut off, or with something behind it (a trailer with authentication).
    #[error("{found} bytes from {source_address} with {addresses} addresses; expected {expected} bytes")]
    Length {
        /// The message's length in bytes.
        found: usize,
        /// What its count of addresses makes it.
        expected: usize,
        /// The count of addresses in it.
        addresses: u8,
        /// Who sent it.
        source_address: IpAddr,
    },
    /// Another virtual router on the link. Nothing is wrong.
    #[error("router {found} from {source_address}; expected {expected}")]
    Vrid {
        /// What arrived.
        found: u8,
        /// Ours.
        expected: Vrid,
        /// Who sent it.
        source_address: IpAddr,
    },
    /// The speakers disagree about the addresses.
    #[error(
        "{found} addresses from {source_address}; expected {expected}: list the same ones on all speakers"
    )]
    AddressCount {
        /// How many arrived.
        found: usize,
        /// How many we list.
        expected: usize,
        /// Who sent it.
        source_address: IpAddr,
    },
    /// The speakers disagree about the addresses.
    #[error("{source_address} does not list {missing}: list the same addresses on all speakers")]
    AddressList {
        /// One that we list and the message does not.
        missing: IpAddr,
        /// Who sent it.
        source_address: IpAddr,
    },
    /// Damaged on the way, or of a third convention.
    #[error(
        "checksum {found:04x} from {source_address}; expected {with_pseudo_header:04x}, or {message_only:04x} over the message alone"
    )]
    Checksum {
        /// What arrived.
        found: u16,
        /// What it should be with the pseudo-header.
        with_pseudo_header: u16,
        /// What it should be without. Over IPv6 the same.
        message_only: u16,
        /// Who sent it.
        source_address: IpAddr,
    },
    /// An interval of zero.
    #[error("an interval of 0 from {source_address}; expected 1..=4095 centiseconds")]
    Interval {
        /// Who sent it.
        source_address: IpAddr,
    },
    /// Our own source address: it is configured twice on this link, or a switch gives us our messages back.
    #[error("a message from our own address {source_address}: is it configured twice on this link?")]
    OwnSource {
        /// The address.
        source_address: IpAddr,
    },
}
