//! What `--link` means, and how both nodes come to number their links alike.

use ha_core::api::LinkFactory;
use ha_core::config::LinkConfig;
use ha_heartbeat::{LinkAddress, SerialLink};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Beats until a death on a line that is too slow for `--beat`.
const SLOW_BEATS: u32 = 5;
/// A frame on a serial line, in bits: what it carries, what is around it, start and stop bits.
const SERIAL_FRAME_BITS: u64 = (LinkConfig::SERIAL_PAYLOAD_BYTES as u64 + 36) * 10;

/// One `--link`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LinkFlag {
    name: Option<String>,
    address: LinkAddress,
}

impl FromStr for LinkFlag {
    type Err = ha_heartbeat::AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // No kind of link has a `=` before its colon.
        let named = text.split_once('=').filter(|(name, _)| !name.is_empty() && !name.contains([':', '/']));
        let (name, address) = named.map_or((None, text), |(name, address)| (Some(name.into()), address));
        Ok(Self { name, address: address.parse()? })
    }
}

/// A link with the name that both nodes have for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NamedLink {
    pub(super) name: String,
    pub(super) address: LinkAddress,
}

/// Why links cannot be numbered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("--link {found} stands there twice; expected a path of its own for each")]
    Twice { found: String },
    #[error(
        "--link {found} binds to every address; expected this node's own one, because both nodes number their links by the \
         addresses of both ends; or a name, the same on both nodes: NAME={found}"
    )]
    Wildcard { found: String },
    #[error(
        "found {named} of {all} --link with a name (NAME=…); expected all or none: links are numbered by one of the two"
    )]
    SomeNamed { named: usize, all: usize },
}

/// Numbers links alike on both nodes. By their names where they have some. Else datagram links by both their ends, whatever
/// the side; serial lines after them in the given order, as nothing about a tty is the same on both nodes.
pub(super) fn in_order(flags: &[LinkFlag]) -> Result<Vec<NamedLink>, LinkError> {
    let named = flags.iter().filter(|flag| flag.name.is_some()).count();
    if named != 0 && named != flags.len() {
        return Err(LinkError::SomeNamed { named, all: flags.len() });
    }
    let mut seen = BTreeSet::new();
    for flag in flags {
        let (found, place) = (flag.address.to_string(), place(&flag.address));
        if !seen.insert(place) || flag.name.iter().any(|name| !seen.insert((2, name.clone()))) {
            return Err(LinkError::Twice { found });
        }
        let wildcard = matches!(flag.address, LinkAddress::Udp { bind, .. } if bind.ip().is_unspecified() || bind.port() == 0);
        if wildcard && flag.name.is_none() {
            return Err(LinkError::Wildcard { found });
        }
    }
    let mut sorted: Vec<&LinkFlag> = flags.iter().collect();
    // Stable, so that serial lines keep their order.
    sorted.sort_by_cached_key(|flag| match (&flag.name, &flag.address) {
        (Some(name), _) => (0, name.clone()),
        (None, LinkAddress::Serial { .. }) => (1, String::new()),
        (None, address) => place(address),
    });
    let numbered = sorted.into_iter().enumerate().map(|(k, flag)| NamedLink {
        name: flag.name.clone().unwrap_or_else(|| format!("{}-{}", kind(&flag.address), k + 1)),
        address: flag.address.clone(),
    });
    Ok(numbered.collect())
}

const fn kind(address: &LinkAddress) -> &'static str {
    match address {
        LinkAddress::Udp { .. } => "udp",
        LinkAddress::Serial { .. } => "serial",
        _ => "link",
    }
}

/// What tells a path from others: the same on both sides for datagrams.
fn place(address: &LinkAddress) -> (u8, String) {
    let key = |at: &SocketAddr| match at {
        SocketAddr::V4(at) => format!("4 {:08x} {:04x}", at.ip().to_bits(), at.port()),
        SocketAddr::V6(at) => format!("6 {:032x} {:04x}", at.ip().to_bits(), at.port()),
    };
    match address {
        LinkAddress::Udp { bind, peer } => {
            let (one, two) = (key(bind), key(peer));
            (0, if one < two { one + &two } else { two + &one })
        }
        other => (1, other.to_string()),
    }
}

impl NamedLink {
    /// Its durations, the same on both nodes.
    pub(super) fn config(&self, beat: Duration, dead: Duration) -> LinkConfig {
        let suspect = |interval: Duration, dead: Duration| (dead / 2).max(interval * 2);
        match &self.address {
            LinkAddress::Serial { baud, .. } => {
                let least =
                    Duration::from_millis((SERIAL_FRAME_BITS * 1000).div_ceil(u64::from((*baud).max(1))));
                let slow = least > beat;
                let interval = beat.max(least);
                let dead = if slow { dead.max(interval * SLOW_BEATS) } else { dead };
                LinkConfig::serial(&self.name, interval, dead, *baud).with_suspect(suspect(interval, dead))
            }
            _ => LinkConfig::datagram(&self.name, beat, dead).with_suspect(suspect(beat, dead)),
        }
    }

    /// How it is opened. `interval`: how long a beat may wait on a line that is busy.
    pub(super) fn factory(&self, interval: Duration) -> Arc<dyn LinkFactory> {
        match &self.address {
            LinkAddress::Serial { path, baud } => {
                Arc::new(SerialLink::new(&self.name, path, *baud).waiting(interval))
            }
            other => Arc::from(other.factory(&self.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(texts: &[&str]) -> Vec<LinkFlag> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn numbered(texts: &[&str]) -> Vec<(String, String)> {
        in_order(&flags(texts)).unwrap().into_iter().map(|l| (l.name, l.address.to_string())).collect()
    }

    #[test]
    fn mirrored_flags_are_numbered_alike_in_whatever_order_they_stand() {
        let one = numbered(&[
            "serial:/dev/pts/3,115200",
            "udp:10.9.0.1:694,10.9.0.2:694",
            "udp:10.10.0.1:7,10.10.0.2:7",
        ]);
        let two = numbered(&[
            "udp:10.10.0.2:7,10.10.0.1:7",
            "udp:10.9.0.2:694,10.9.0.1:694",
            "serial:/dev/pts/8,115200",
        ]);
        let names =
            |links: &[(String, String)]| links.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&one), ["udp-1", "udp-2", "serial-3"]);
        assert_eq!(names(&one), names(&two));
        assert_eq!(one[0].1, "udp:10.9.0.1:694,10.9.0.2:694");
        assert_eq!(two[0].1, "udp:10.9.0.2:694,10.9.0.1:694");
        assert_eq!(two[2].1, "serial:/dev/pts/8,115200");
    }

    #[test]
    fn names_number_what_addresses_cannot() {
        let one = numbered(&["b=udp:0.0.0.0:1,10.0.0.2:1", "a=serial:/dev/ttyS0,9600"]);
        assert_eq!(one.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_cannot_be_numbered_is_said() {
        let said = |texts: &[&str]| in_order(&flags(texts)).unwrap_err().to_string();
        assert!(said(&["udp:10.0.0.1:1,10.0.0.2:1", "udp:10.0.0.1:1,10.0.0.2:1"]).contains("twice"));
        assert!(said(&["serial:/dev/a,9600", "serial:/dev/a,9600"]).contains("twice"));
        assert!(said(&["a=udp:10.0.0.1:1,10.0.0.2:1", "a=udp:10.0.0.1:2,10.0.0.2:2"]).contains("twice"));
        assert!(said(&["udp:0.0.0.0:1,10.0.0.2:1"]).contains("NAME=udp:0.0.0.0:1,10.0.0.2:1"));
        assert!(said(&["a=udp:10.0.0.1:1,10.0.0.2:1", "udp:10.0.0.1:2,10.0.0.2:2"]).contains("1 of 2"));
        assert!("tcp:1,2".parse::<LinkFlag>().is_err());
        assert!("=udp:10.0.0.1:1,10.0.0.2:1".parse::<LinkFlag>().is_err());
    }

    #[test]
    fn a_slow_line_beats_as_fast_as_it_can() {
        let ms = Duration::from_millis;
        let slow = in_order(&flags(&["serial:/dev/ttyS0,9600"])).unwrap()[0].config(ms(20), ms(150));
        assert_eq!((slow.interval, slow.suspect, slow.dead), (ms(73), ms(182) + ms(1) / 2, ms(365)));
        let fast = in_order(&flags(&["serial:/dev/ttyS0,115200"])).unwrap()[0].config(ms(20), ms(150));
        assert_eq!((fast.interval, fast.suspect, fast.dead), (ms(20), ms(75), ms(150)));
    }
}
