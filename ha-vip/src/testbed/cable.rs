//! What can be done to cables and bridge ports in one system call.

use super::netlink::{ACK, Attributes, Request, Socket};
use super::netns::NetNs;
use std::collections::BTreeSet;
use std::io;

const RTM_DELLINK: u16 = 17;
const RTM_SETLINK: u16 = 19;
const IFLA_IFNAME: u16 = 3;
const IFF_UP: u32 = 1;

/// `NFNL_SUBSYS_NFTABLES`, as the high byte of its messages.
const NFTABLES: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_ELEMENT: u16 = NFTABLES | 12;
const DELETE_ELEMENT: u16 = NFTABLES | 14;
const CREATE: u16 = 0x400;
const FAMILY_BRIDGE: u8 = 7;
/// A name as the kernel compares it.
const NAME_BYTES: usize = 16;

/// The switch's sockets, and what its filter holds now.
pub(super) struct Switchboard {
    route: Socket,
    filter: Socket,
    held: Filtered,
}

/// What the filter drops.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Filtered {
    /// Ports that nothing enters or leaves.
    pub(super) cut: BTreeSet<String>,
    /// Nothing goes from the first port to the second.
    pub(super) severed: BTreeSet<(String, String)>,
}

impl Switchboard {
    pub(super) fn open(switch: &NetNs) -> io::Result<Self> {
        let (route, filter) = switch.enter(|| (Socket::route(), Socket::netfilter()))?;
        Ok(Self { route: route?, filter: filter?, held: Filtered::default() })
    }

    pub(super) const fn held(&self) -> &Filtered {
        &self.held
    }

    /// Makes the filter hold exactly this: one transaction, valid for all ports at one instant.
    pub(super) fn hold(&mut self, wanted: Filtered) -> io::Result<()> {
        let cut = |names: &BTreeSet<String>| -> BTreeSet<Vec<u8>> {
            names.iter().map(|name| key(&[name])).collect()
        };
        let pairs = |pairs: &BTreeSet<(String, String)>| -> BTreeSet<Vec<u8>> {
            pairs.iter().map(|(from, to)| key(&[from, to])).collect()
        };
        let mut batch = Request::default();
        batch.message(BATCH_BEGIN, 0, &nfgen(0, NFTABLES >> 8), |_| {});
        let mut changes = difference(&mut batch, "cut", &cut(&self.held.cut), &cut(&wanted.cut));
        changes += difference(&mut batch, "severed", &pairs(&self.held.severed), &pairs(&wanted.severed));
        batch.message(BATCH_END, 0, &nfgen(0, NFTABLES >> 8), |_| {});
        if changes > 0 {
            self.filter.submit(&batch)?;
        }
        self.held = wanted;
        Ok(())
    }

    /// Sets the switch's side of cables up or down, one right after the other.
    pub(super) fn set_links<'a>(&self, ports: impl IntoIterator<Item = &'a str>, up: bool) -> io::Result<()> {
        let mut request = Request::default();
        for port in ports {
            set_link(&mut request, port, up);
        }
        self.route.submit(&request)
    }

    /// Unplugs cables for good: both ends vanish, with the addresses on them.
    pub(super) fn delete_links<'a>(&self, ports: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
        delete_links(&self.route, ports)
    }
}

/// Deletes interfaces by name in the network that the socket belongs to.
pub(super) fn delete_links<'a>(route: &Socket, names: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
    let mut request = Request::default();
    for name in names {
        request.message(RTM_DELLINK, ACK, &ifinfo(0, 0), |a| a.put_text(IFLA_IFNAME, name));
    }
    route.submit(&request)
}

/// Sets one interface up, in the network that the socket belongs to.
pub(super) fn set_link_up(route: &Socket, name: &str) -> io::Result<()> {
    let mut request = Request::default();
    set_link(&mut request, name, true);
    route.submit(&request)
}

fn set_link(request: &mut Request, name: &str, up: bool) {
    let flags = if up { IFF_UP } else { 0 };
    request.message(RTM_SETLINK, ACK, &ifinfo(flags, IFF_UP), |a| a.put_text(IFLA_IFNAME, name));
}

/// A `struct ifinfomsg` that names no index.
fn ifinfo(flags: u32, change: u32) -> [u8; 16] {
    let mut fixed = [0; 16];
    fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
    fixed[12..].copy_from_slice(&change.to_ne_bytes());
    fixed
}

/// A `struct nfgenmsg`.
const fn nfgen(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

fn key(names: &[&str]) -> Vec<u8> {
    let mut key = Vec::new();
    for (place, name) in names.iter().enumerate() {
        key.extend_from_slice(name.as_bytes());
        key.resize((place + 1) * NAME_BYTES, 0);
    }
    key
}

fn difference(batch: &mut Request, set: &str, held: &BTreeSet<Vec<u8>>, wanted: &BTreeSet<Vec<u8>>) -> usize {
    let lists = [
        (DELETE_ELEMENT, 0, held.difference(wanted).collect::<Vec<_>>()),
        (NEW_ELEMENT, CREATE, wanted.difference(held).collect()),
    ];
    for (kind, flags, keys) in lists.iter().filter(|(_, _, keys)| !keys.is_empty()) {
        batch.message(*kind, flags | ACK, &nfgen(FAMILY_BRIDGE, 0), |a| elements(a, set, keys));
    }
    lists.iter().map(|(_, _, keys)| keys.len()).sum()
}

/// `NFTA_SET_ELEM_LIST_*` with one `NFTA_SET_ELEM_KEY` for each key.
fn elements(attributes: &mut Attributes<'_>, set: &str, keys: &[&Vec<u8>]) {
    attributes.put_text(1, "faults");
    attributes.put_text(2, set);
    attributes.nest(3, |list| {
        for key in keys {
            list.nest(1, |element| element.nest(1, |data| data.put(1, key)));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_padded_to_what_the_kernel_compares() {
        let key = key(&["n1.lan0", "n2.lan0"]);
        assert_eq!(key.len(), 32);
        assert_eq!((&key[..8], &key[16..24]), (&b"n1.lan0\0"[..], &b"n2.lan0\0"[..]));
    }

    #[test]
    fn only_differences_are_sent() {
        let set = |names: &[&str]| names.iter().map(|name| key(&[name])).collect::<BTreeSet<_>>();
        assert_eq!(difference(&mut Request::default(), "cut", &set(&["a", "b"]), &set(&["b", "c"])), 2);
        assert_eq!(difference(&mut Request::default(), "cut", &set(&["a"]), &set(&["a"])), 0);
    }
}
