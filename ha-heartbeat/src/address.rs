//! Where a link runs, as configuration.

use crate::{SerialLink, UdpLink};
use ha_core::api::LinkFactory;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a link runs. As text: `udp:BIND,PEER` or `serial:TTY,BAUD`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum LinkAddress {
    /// UDP datagrams.
    Udp {
        /// Where this node receives.
        bind: SocketAddr,
        /// Where the peer receives.
        peer: SocketAddr,
    },
    /// A serial line.
    Serial {
        /// The tty.
        path: PathBuf,
        /// Its speed in bits per second.
        baud: u32,
    },
}

impl LinkAddress {
    /// The link at this address.
    #[must_use]
    pub fn factory(&self, name: &str) -> Box<dyn LinkFactory> {
        match self {
            Self::Udp { bind, peer } => Box::new(UdpLink::new(name, *bind, *peer)),
            Self::Serial { path, baud } => Box::new(SerialLink::new(name, path, *baud)),
        }
    }
}

impl fmt::Display for LinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp { bind, peer } => write!(f, "udp:{bind},{peer}"),
            Self::Serial { path, baud } => write!(f, "serial:{},{baud}", path.display()),
        }
    }
}

impl FromStr for LinkAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let shape = || AddressError::Shape { found: text.into() };
        let (kind, rest) = text.split_once(':').ok_or_else(shape)?;
        // A tty's name may hold a comma, its speed does not.
        let (first, second) = rest.rsplit_once(',').ok_or_else(shape)?;
        match kind {
            "udp" => udp(first, second),
            "serial" => serial(first, second),
            _ => Err(shape()),
        }
    }
}

fn udp(bind: &str, peer: &str) -> Result<LinkAddress, AddressError> {
    let parse = |field, text: &str| {
        text.parse::<SocketAddr>().map_err(|_| AddressError::Socket { field, found: text.into() })
    };
    let (bind, peer) = (parse("bind", bind)?, parse("peer", peer)?);
    if bind == peer {
        return Err(AddressError::Same { found: bind });
    }
    if bind.is_ipv4() != peer.is_ipv4() {
        return Err(AddressError::Families { bind, peer });
    }
    if peer.port() == 0 || peer.ip().is_unspecified() {
        return Err(AddressError::NoPeer { found: peer });
    }
    Ok(LinkAddress::Udp { bind, peer })
}

fn serial(path: &str, baud: &str) -> Result<LinkAddress, AddressError> {
    if path.is_empty() {
        return Err(AddressError::NoTty);
    }
    match baud.parse() {
        Ok(baud) if baud > 0 => Ok(LinkAddress::Serial { path: path.into(), baud }),
        _ => Err(AddressError::Baud { found: baud.into() }),
    }
}

/// Why a text is no address of a link.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Neither of the two shapes.
    #[error(
        "found \"{found}\", expected \"udp:BIND,PEER\" such as \"udp:127.0.0.1:7001,127.0.0.1:7002\" or \"serial:TTY,BAUD\" such as \"serial:/dev/ttyS0,115200\""
    )]
    Shape {
        /// The text.
        found: String,
    },
    /// No socket address.
    #[error(
        "{field}: found \"{found}\", expected an IP address and a port such as \"192.0.2.1:7001\" or \"[2001:db8::1]:7001\""
    )]
    Socket {
        /// Which of the two.
        field: &'static str,
        /// The text.
        found: String,
    },
    /// A link to itself.
    #[error("bind and peer are both {found}: the peer's address is that of the other node")]
    Same {
        /// The address.
        found: SocketAddr,
    },
    /// IPv4 and IPv6.
    #[error("bind {bind} and peer {peer} are of different IP versions: use one")]
    Families {
        /// One.
        bind: SocketAddr,
        /// The other.
        peer: SocketAddr,
    },
    /// Nobody to send to.
    #[error("peer {found}: expected the other node's address and port, not a wildcard")]
    NoPeer {
        /// The address.
        found: SocketAddr,
    },
    /// No tty.
    #[error("the tty's path is empty, expected one such as /dev/ttyS0")]
    NoTty,
    /// No speed.
    #[error("baud: found \"{found}\", expected bits per second such as 115200")]
    Baud {
        /// The text.
        found: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        for text in [
            "udp:127.0.0.1:7001,127.0.0.1:7002",
            "udp:[::1]:1,[::1]:2",
            "serial:/dev/pts/3,115200",
            "serial:/a,b,300",
        ] {
            let address: LinkAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            let json = serde_json::to_string(&address).unwrap();
            assert_eq!(serde_json::from_str::<LinkAddress>(&json).unwrap(), address);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |text: &str| text.parse::<LinkAddress>().unwrap_err().to_string();
        assert!(said("tcp:1,2").contains("found \"tcp:1,2\""));
        assert!(said("udp").contains("udp:BIND,PEER"));
        assert!(said("udp:localhost:1,127.0.0.1:2").contains("bind: found \"localhost:1\""));
        assert!(said("udp:127.0.0.1:1,nowhere").contains("peer: found \"nowhere\""));
        assert!(said("udp:127.0.0.1:1,127.0.0.1:1").contains("both 127.0.0.1:1"));
        assert!(said("udp:127.0.0.1:1,[::1]:1").contains("different IP versions"));
        assert!(said("udp:127.0.0.1:1,0.0.0.0:1").contains("wildcard"));
        assert!(said("serial:,9600").contains("empty"));
        assert!(said("serial:/dev/ttyS0,fast").contains("found \"fast\""));
        assert!(said("serial:/dev/ttyS0,0").contains("found \"0\""));
    }
}
