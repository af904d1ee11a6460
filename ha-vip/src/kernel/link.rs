//! Interfaces: looked up, raised, made and removed.

use super::message::{AF_UNSPEC, Request, attributes, mac, text, u32_at};
use super::socket::Reply;
use super::{KernelError, Rtnetlink};
use crate::{MacAddress, Nic};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};

pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;

/// `struct ifinfomsg` (`rtnetlink(7)`).
const HEADER: usize = 16;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_MACVLAN_MODE: u16 = 1;
/// Counters are not wanted.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 1 << 3;
const IFF_RUNNING: u32 = 1 << 6;
const IFF_LOWER_UP: u32 = 1 << 16;

/// An interface and its state.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Link {
    /// What it is.
    pub nic: Nic,
    /// Whether it is administratively up.
    pub is_up: bool,
    /// Whether it is operational (RFC 2863): up, and with a usable lower layer.
    pub is_running: bool,
    /// Whether it has carrier: a cable, and somebody at its other end.
    pub has_carrier: bool,
    /// Whether it is a loopback.
    pub is_loopback: bool,
    /// The interface below it (of a macvlan), or its peer in another namespace.
    pub lower: Option<u32>,
    /// Its kind, as in `macvlan`; a plain device has none.
    pub kind: Option<String>,
}

/// How macvlans on one interface hear each other (`ip-link(8)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum MacvlanMode {
    /// Not at all.
    #[default]
    Private,
    /// As on a switch.
    Bridge,
}

impl MacvlanMode {
    const fn number(self) -> u32 {
        match self {
            Self::Private => 1,
            Self::Bridge => 4,
        }
    }
}

impl Rtnetlink {
    /// The interface of this name.
    ///
    /// # Errors
    /// [`KernelError::NoInterface`] if there is none.
    pub fn link_named(&mut self, name: &str) -> Result<Link, KernelError> {
        self.one_link(name, &header(0, 0, 0), Some(name))
    }

    /// The interface of this number.
    ///
    /// # Errors
    /// [`KernelError::NoInterface`] if there is none (any more).
    pub fn link(&mut self, index: u32) -> Result<Link, KernelError> {
        self.one_link(&format!("number {index}"), &header(index, 0, 0), None)
    }

    fn one_link(&mut self, wanted: &str, header: &[u8], name: Option<&str>) -> Result<Link, KernelError> {
        let call = format!("look up {wanted}");
        let mut request = without_counters(Request::new(RTM_GETLINK, 0, header));
        if let Some(name) = name {
            request = request.text(IFLA_IFNAME, name);
        }
        let reply = self.socket.ask(&call, &request).map_err(|error| named(error, wanted))?;
        parse(&reply.body)
            .ok_or_else(|| KernelError::malformed(&call, "a link message without number or name"))
    }

    /// All interfaces.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn links(&mut self) -> Result<Vec<Link>, KernelError> {
        let request = without_counters(Request::new(RTM_GETLINK, 0, &header(0, 0, 0)));
        let replies = self.socket.dump("list the interfaces", &request)?;
        Ok(replies
            .iter()
            .filter(|reply| reply.kind == RTM_NEWLINK)
            .filter_map(|reply| parse(&reply.body))
            .collect())
    }

    /// Puts an interface up or down.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn set_up(&mut self, nic: &Nic, up: bool) -> Result<(), KernelError> {
        let call = format!("put {} {}", nic.name, if up { "up" } else { "down" });
        let flags = if up { IFF_UP } else { 0 };
        let request = Request::new(RTM_SETLINK, 0, &header(nic.index, flags, IFF_UP));
        self.acknowledged(&call, request).map_err(|error| named(error, &nic.name))
    }

    /// Makes a macvlan `name` with the address `mac` on the interface `lower`, down, and tells of it.
    ///
    /// # Errors
    /// [`KernelError::Exists`] if an interface of the name, or a macvlan of the address there, exists.
    pub fn create_macvlan(
        &mut self,
        name: &str,
        lower: &Nic,
        mac: MacAddress,
        mode: MacvlanMode,
    ) -> Result<Link, KernelError> {
        let call = format!("make the macvlan {name} with address {mac} on {}", lower.name);
        let request = Request::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header(0, 0, 0))
            .text(IFLA_IFNAME, name)
            .attribute(IFLA_LINK, &lower.index.to_ne_bytes())
            .attribute(IFLA_ADDRESS, &mac.0)
            .nested(IFLA_LINKINFO, |info| {
                let info = info.text(IFLA_INFO_KIND, "macvlan");
                info.nested(IFLA_INFO_DATA, |data| {
                    data.attribute(IFLA_MACVLAN_MODE, &mode.number().to_ne_bytes())
                })
            });
        self.acknowledged(&call, request).map_err(|error| named(error, &lower.name))?;
        self.link_named(name)
    }

    /// Removes an interface.
    ///
    /// # Errors
    /// [`KernelError::NoInterface`] if it is not there (any more).
    pub fn delete_link(&mut self, nic: &Nic) -> Result<(), KernelError> {
        let request = Request::new(RTM_DELLINK, 0, &header(nic.index, 0, 0));
        self.acknowledged(&format!("remove {}", nic.name), request).map_err(|error| named(error, &nic.name))
    }
}

fn header(index: u32, flags: u32, change: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[0] = AF_UNSPEC;
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&change.to_ne_bytes());
    bytes
}

fn without_counters(request: Request) -> Request {
    request.attribute(IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes())
}

pub(super) fn named(error: KernelError, wanted: &str) -> KernelError {
    match error {
        KernelError::NoInterface { call, .. } => KernelError::NoInterface { call, wanted: wanted.into() },
        other => other,
    }
}

/// A link out of the body of its message.
pub(super) fn parse(body: &[u8]) -> Option<Link> {
    let (index, flags) = (u32_at(body, 4)?, u32_at(body, 8)?);
    let mut nic = Nic { index, name: String::new(), mac: MacAddress::default(), mtu: 0 };
    let (mut lower, mut kind) = (None, None);
    for (attribute, value) in attributes(body, HEADER) {
        match attribute {
            IFLA_IFNAME => nic.name = text(value),
            IFLA_ADDRESS => nic.mac = mac(value).unwrap_or_default(),
            IFLA_MTU => nic.mtu = u32_at(value, 0).unwrap_or(0),
            IFLA_LINK => lower = u32_at(value, 0),
            IFLA_LINKINFO => {
                kind = attributes(value, 0).find(|(k, _)| *k == IFLA_INFO_KIND).map(|(_, v)| text(v));
            }
            _ => {}
        }
    }
    let on = |flag| flags & flag != 0;
    (index != 0 && !nic.name.is_empty()).then(|| Link {
        nic,
        is_up: on(IFF_UP),
        is_running: on(IFF_RUNNING),
        has_carrier: on(IFF_LOWER_UP),
        is_loopback: on(IFF_LOOPBACK),
        lower,
        kind,
    })
}

/// What a message of the kernel says about a link.
pub(super) fn news(reply: &Reply) -> Option<(bool, Link)> {
    matches!(reply.kind, RTM_NEWLINK | RTM_DELLINK)
        .then(|| parse(&reply.body).map(|link| (reply.kind == RTM_NEWLINK, link)))
        .flatten()
}
