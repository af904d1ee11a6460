//! The gate's tables as nftables messages: what they are made of, opened and closed by.

use super::expression::{Base, Key, drop_it, equals, is_in, meta_is, payload};
use crate::kernel::message::{Request, octets};
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use std::net::IpAddr;
use std::time::Duration;

const SUBSYSTEM: u16 = 10;
const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const NEWRULE: u16 = 6;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// A table's family (`NFPROTO_…`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    /// IPv4 and IPv6.
    Inet = 1,
    Arp = 3,
}

const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const IPPROTO_ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;

/// The addresses that the gate guards, and those of them that it lets pass now.
const GUARDED: [&str; 2] = ["guarded4", "guarded6"];
const LIVE: [&str; 2] = ["live4", "live6"];
const SET_CONSTANT: u32 = 0x2;
const SET_TIMEOUT: u32 = 0x10;
/// What `nft` shows the keys as: `ipv4_addr`, `ipv6_addr`.
const KEY_TYPE: [u32; 2] = [7, 8];
const KEY_LENGTH: [u32; 2] = [4, 16];

fn of(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

fn request(kind: u16, flags: u16, family: u8) -> Request {
    Request::new((SUBSYSTEM << 8) | kind, flags, &[family, 0, 0, 0])
}

/// What goes around the messages of one transaction.
pub(super) fn batch() -> (Request, Request) {
    let frame = |kind| {
        let [high, low] = SUBSYSTEM.to_be_bytes();
        Request::new(kind, 0, &[0, 0, high, low])
    };
    (frame(BATCH_BEGIN), frame(BATCH_END))
}

/// Makes a table with its sets, chains and rules. It lets nothing pass yet.
pub(super) fn build(table: &str, family: Family, addresses: &[IpAddr]) -> Vec<Request> {
    let create = NLM_F_CREATE | NLM_F_EXCL;
    let mut requests = vec![request(NEWTABLE, create, family as u8).text(1, table)];
    for (at, guarded) in GUARDED.into_iter().enumerate() {
        let own: Vec<_> = addresses.iter().copied().filter(|address| of(*address) == at).collect();
        if own.is_empty() || (family == Family::Arp && at == 1) {
            continue;
        }
        requests.push(set(table, family, at, guarded, SET_CONSTANT));
        requests.push(elements(NEWSETELEM, NLM_F_CREATE, (table, family), guarded, &own, None));
        requests.push(set(table, family, at, LIVE[at], SET_TIMEOUT));
    }
    for (name, hook) in hooks(family) {
        requests.push(chain(table, family, name, hook));
    }
    let has = |at: usize| addresses.iter().any(|address| of(*address) == at);
    match family {
        Family::Inet => {
            if has(0) {
                requests.push(rule(table, family, "in", |list| barred_ip(list, NFPROTO_IPV4, 16, 0)));
                requests.push(rule(table, family, "out", |list| barred_ip(list, NFPROTO_IPV4, 12, 0)));
            }
            if has(1) {
                requests.push(rule(table, family, "in", |list| barred_ip(list, NFPROTO_IPV6, 24, 1)));
                requests.push(rule(table, family, "in", barred_solicitation));
                requests.push(rule(table, family, "out", |list| barred_ip(list, NFPROTO_IPV6, 8, 1)));
            }
        }
        Family::Arp => {
            // The target's address of what comes in, the sender's address of what goes out (RFC 826, Ethernet and IPv4).
            requests.push(rule(table, family, "in", |list| barred(payload(list, Base::Network, 24, 4), 0)));
            requests.push(rule(table, family, "out", |list| barred(payload(list, Base::Network, 14, 4), 0)));
        }
    }
    requests
}

/// Input and output: their hooks have other numbers for ARP.
fn hooks(family: Family) -> [(&'static str, u32); 2] {
    match family {
        Family::Inet => [("in", 1), ("out", 3)],
        Family::Arp => [("in", 0), ("out", 1)],
    }
}

fn barred(list: Request, at: usize) -> Request {
    drop_it(is_in(is_in(list, GUARDED[at], true), LIVE[at], false))
}

fn barred_ip(list: Request, protocol: u8, offset: u32, at: usize) -> Request {
    let list = meta_is(list, Key::Family, protocol);
    barred(payload(list, Base::Network, offset, KEY_LENGTH[at]), at)
}

/// A neighbour solicitation goes to a group and names the address inside (RFC 4861, 4.3).
fn barred_solicitation(list: Request) -> Request {
    let list = meta_is(list, Key::Family, NFPROTO_IPV6);
    let list = meta_is(list, Key::Protocol, IPPROTO_ICMPV6);
    let list = equals(payload(list, Base::Transport, 0, 1), &[NEIGHBOUR_SOLICITATION]);
    barred(payload(list, Base::Transport, 8, 16), 1)
}

fn set(table: &str, family: Family, at: usize, name: &str, flags: u32) -> Request {
    // The number is only for references within the transaction.
    let number = u32::try_from(at).unwrap_or(0) * 2 + u32::from(flags == SET_TIMEOUT) + 1;
    request(NEWSET, NLM_F_CREATE | NLM_F_EXCL, family as u8)
        .text(1, table)
        .text(2, name)
        .attribute(3, &flags.to_be_bytes())
        .attribute(4, &KEY_TYPE[at].to_be_bytes())
        .attribute(5, &KEY_LENGTH[at].to_be_bytes())
        .attribute(10, &number.to_be_bytes())
}

fn chain(table: &str, family: Family, name: &str, hook: u32) -> Request {
    // Before connection tracking (-200) and every ordinary filter.
    const PRIORITY: i32 = -300;
    request(NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, family as u8)
        .text(1, table)
        .text(3, name)
        .nested(4, |place| place.attribute(1, &hook.to_be_bytes()).attribute(2, &PRIORITY.to_be_bytes()))
        .text(7, "filter")
}

fn rule(table: &str, family: Family, chain: &str, fill: impl FnOnce(Request) -> Request) -> Request {
    request(NEWRULE, NLM_F_CREATE | NLM_F_APPEND, family as u8).text(1, table).text(2, chain).nested(4, fill)
}

fn elements(
    kind: u16,
    flags: u16,
    (table, family): (&str, Family),
    set: &str,
    keys: &[IpAddr],
    timeout: Option<Duration>,
) -> Request {
    let milliseconds = timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX).max(1).to_be_bytes());
    request(kind, flags, family as u8).text(1, table).text(2, set).nested(3, |list| {
        keys.iter().fold(list, |list, key| {
            list.nested(1, |element| {
                let element = element.nested(1, |data| data.attribute(1, &octets(*key)));
                element.optional(4, milliseconds.as_ref().map(<[u8; 8]>::as_slice))
            })
        })
    })
}

/// For each set of living addresses in each table: its elements put in with this timeout, or taken out.
fn living(
    kind: u16,
    flags: u16,
    table: &str,
    addresses: &[IpAddr],
    timeout: Option<Duration>,
) -> Vec<Request> {
    let mut requests = Vec::new();
    for (at, live) in LIVE.into_iter().enumerate() {
        let own: Vec<_> = addresses.iter().copied().filter(|address| of(*address) == at).collect();
        if own.is_empty() {
            continue;
        }
        requests.push(elements(kind, flags, (table, Family::Inet), live, &own, timeout));
        if at == 0 {
            requests.push(elements(kind, flags, (table, Family::Arp), live, &own, timeout));
        }
    }
    requests
}

pub(super) fn open(table: &str, addresses: &[IpAddr], timeout: Duration) -> Vec<Request> {
    living(NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL, table, addresses, Some(timeout))
}

pub(super) fn close(table: &str, addresses: &[IpAddr]) -> Vec<Request> {
    living(DELSETELEM, 0, table, addresses, None)
}

/// The same, each element in a message of its own.
pub(super) fn close_each(table: &str, addresses: &[IpAddr]) -> Vec<Request> {
    addresses.iter().flat_map(|address| close(table, &[*address])).collect()
}

pub(super) fn remove(table: &str, family: Family) -> Request {
    request(DELTABLE, 0, family as u8).text(1, table)
}
