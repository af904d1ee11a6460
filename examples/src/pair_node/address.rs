//! What `--address` means.

use ha_vip::linux::{AddressSpec, SpecError};
use std::net::IpAddr;
use std::str::FromStr;

/// The longest name of a resource.
const NAME_BYTES: usize = 64;

/// One `--address`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Address {
    pub(super) spec: AddressSpec,
}

impl Address {
    pub(super) fn ip(&self) -> IpAddr {
        self.spec.address()
    }

    /// Whether it can be served without privileges, on one machine only.
    pub(super) fn is_loopback(&self) -> bool {
        matches!(self.ip(), IpAddr::V4(ip) if ip.is_loopback())
    }

    /// What both nodes call it, whatever their interfaces are called.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.ip(), self.spec.prefix())
    }
}

impl FromStr for Address {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        Ok(Self { spec: text.parse()? })
    }
}

/// The one resource that all these addresses are: named after them, so that nodes with different ones find that out.
pub(super) fn joint_name(addresses: &[&Address]) -> Option<String> {
    let names: Vec<String> = addresses.iter().map(|address| address.name()).collect();
    let all = names.join("+");
    if all.len() <= NAME_BYTES {
        return (!names.is_empty()).then_some(all);
    }
    let first = names.first()?;
    Some(format!("{first}+{}-{:08x}", names.len() - 1, fnv(all.as_bytes())))
}

/// FNV-1a, 32 bits: enough to tell two lists of addresses apart.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_named_without_their_interface() {
        assert_eq!(address("10.77.0.100/24@lan0").name(), address("10.77.0.100/24@eth1").name());
        assert_eq!(address("2001:db8::1/128").name(), "2001:db8::1/128");
        assert!(!address("10.77.0.100/24@lan0").is_loopback());
        assert!(address("127.3.2.1/8@lo").is_loopback());
    }

    #[test]
    fn many_addresses_have_one_name_that_tells_them_apart() {
        let all: Vec<Address> = (1..=100).map(|n| address(&format!("10.77.0.{n}/24@lan0"))).collect();
        let name = |addresses: &[Address]| joint_name(&addresses.iter().collect::<Vec<_>>());
        assert_eq!(name(&[]), None);
        assert_eq!(name(&all[..2]).unwrap(), "10.77.0.1/24+10.77.0.2/24");
        let (most, others) = (name(&all[..99]).unwrap(), name(&all[1..]).unwrap());
        assert!(most.len() <= NAME_BYTES && most.starts_with("10.77.0.1/24+98-"), "{most}");
        assert_ne!(most, name(&[&all[..98], &all[99..]].concat()).unwrap());
        assert_ne!(most, others);
    }

    #[test]
    fn what_is_no_address_is_said() {
        for text in [
            "10.77.0.100",
            "lan0/24@x",
            "10.0.0.1/33@lan0",
            "10.0.0.1/0@lan0",
            "224.0.0.18/8@lan0",
            "1.2.3.4/8@a/b",
        ] {
            let said = text.parse::<Address>().unwrap_err().to_string();
            assert!(said.contains("expected"), "{text}: {said}");
        }
    }
}
