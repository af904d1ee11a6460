//! What `--address` means.

use std::net::IpAddr;
use std::str::FromStr;

/// One `--address`: where, how long its prefix is, and on which interface.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    pub(super) prefix: u8,
    pub(super) interface: String,
}

/// Why a text is no address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum AddressError {
    #[error(
        "found \"{found}\", expected ADDRESS/PREFIX@INTERFACE such as 10.77.0.100/24@lan0 or 2001:db8::100/64@lan0"
    )]
    Shape { found: String },
    #[error("found the prefix /{found} of {ip}, expected /1 to /{most}")]
    Prefix { found: String, ip: IpAddr, most: u8 },
    #[error("found {ip}, expected an address of one host")]
    NoHost { ip: IpAddr },
}

impl Address {
    /// Whether it can be served without privileges, on one machine only.
    pub(super) fn is_loopback(&self) -> bool {
        matches!(self.ip, IpAddr::V4(ip) if ip.is_loopback())
    }

    /// What both nodes call it, whatever their interfaces are called.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.ip, self.prefix)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let shape = || AddressError::Shape { found: text.into() };
        let (at, interface) = text.split_once('@').ok_or_else(shape)?;
        let (ip, prefix) = at.split_once('/').ok_or_else(shape)?;
        let ip: IpAddr = ip.parse().map_err(|_| shape())?;
        // The kernel's own limit: 15 bytes, no blank, no slash.
        let right = |c: char| c.is_ascii_graphic() && c != '/';
        if interface.is_empty() || interface.len() > 15 || !interface.chars().all(right) {
            return Err(shape());
        }
        let most = if ip.is_ipv4() { 32 } else { 128 };
        match prefix.parse() {
            Ok(prefix) if (1..=most).contains(&prefix) && !ip.is_unspecified() && !ip.is_multicast() => {
                Ok(Self { ip, prefix, interface: interface.into() })
            }
            Ok(prefix) if (1..=most).contains(&prefix) => Err(AddressError::NoHost { ip }),
            Ok(_) | Err(_) => Err(AddressError::Prefix { found: prefix.into(), ip, most }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let address: Address = "10.77.0.100/24@lan0".parse().unwrap();
        assert_eq!((address.name().as_str(), address.interface.as_str()), ("10.77.0.100/24", "lan0"));
        assert!(!address.is_loopback());
        assert!("127.3.2.1/8@lo".parse::<Address>().unwrap().is_loopback());
        assert_eq!("2001:db8::1/128@eth0.7".parse::<Address>().unwrap().prefix, 128);
    }

    #[test]
    fn what_is_no_address_is_said() {
        let said = |text: &str| text.parse::<Address>().unwrap_err().to_string();
        for text in [
            "10.77.0.100",
            "10.77.0.100/24",
            "10.77.0.100@lan0",
            "lan0/24@x",
            "1.2.3.4/8@",
            "1.2.3.4/8@a/b",
            "1.2.3.4/8@much-too-long-name",
        ] {
            assert!(said(text).contains("expected ADDRESS/PREFIX@INTERFACE"), "{text}");
        }
        assert!(said("10.0.0.1/33@lan0").contains("/1 to /32"));
        assert!(said("10.0.0.1/0@lan0").contains("/1 to /32"));
        assert!(said("10.0.0.1/x@lan0").contains("found the prefix /x"));
        assert!(said("2001:db8::1/129@lan0").contains("/1 to /128"));
        assert!(said("0.0.0.0/8@lan0").contains("one host"));
        assert!(said("224.0.0.18/8@lan0").contains("one host"));
    }
}
