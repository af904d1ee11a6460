//! The frames of an announcement.

use super::AnnounceError;
use crate::frame::{Advertisement, Arp, is_host};
use crate::{MacAddress, Nic};
use std::net::IpAddr;

/// Refuses what is no address of one node on a link.
pub(super) fn check(address: IpAddr) -> Result<(), AnnounceError> {
    let broadcast = matches!(address, IpAddr::V4(four) if four.is_broadcast());
    if address.is_loopback() || address.is_multicast() || address.is_unspecified() || broadcast {
        return Err(AnnounceError::NotOfOneNode { address });
    }
    Ok(())
}

/// To everybody that `address` is at `nic`. IPv4: both forms of gratuitous ARP, as some learn from one only.
pub(super) fn to_all(nic: &Nic, address: IpAddr, router: bool) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(four) => {
            vec![
                Arp::gratuitous_request(four, nic.mac).broadcast(),
                Arp::gratuitous_reply(four, nic.mac).broadcast(),
            ]
        }
        IpAddr::V6(six) => vec![Advertisement::unsolicited(six, nic.mac, router).multicast(nic.mac)],
    }
}

/// To one neighbour that `address` is at `nic`, for those who do not learn from what is sent to all. IPv4: a question, from
/// which even one learns that has no entry yet, and an answer. Nothing if the neighbour is of the other family, is
/// ourselves, or has no link-layer address.
pub(crate) fn to_one(
    nic: &Nic,
    address: IpAddr,
    router: bool,
    neighbour: (IpAddr, MacAddress),
) -> Vec<Vec<u8>> {
    let (at, mac) = neighbour;
    if mac == nic.mac || !is_host(mac) || check(at).is_err() || at == address {
        return vec![];
    }
    match (address, at) {
        (IpAddr::V4(four), IpAddr::V4(at)) => vec![
            Arp::question(four, nic.mac, at).to_frame(mac),
            Arp::answer(four, nic.mac, at, mac).to_frame(mac),
        ],
        (IpAddr::V6(six), IpAddr::V6(at)) => {
            vec![Advertisement::directed(six, nic.mac, router, at).to_frame(nic.mac, mac)]
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_of_one_node_is_announced() {
        for wrong in ["127.0.0.1", "::1", "0.0.0.0", "::", "224.0.0.18", "ff02::1", "255.255.255.255"] {
            assert!(check(wrong.parse().unwrap()).is_err(), "{wrong}");
        }
        for right in ["10.77.0.100", "fe80::1", "fd77::100"] {
            assert!(check(right.parse().unwrap()).is_ok(), "{right}");
        }
    }

    #[test]
    fn no_frame_to_a_neighbour_that_cannot_be_told() {
        let nic = Nic { index: 2, name: "lan0".into(), mac: MacAddress([2, 0, 0, 0, 0, 1]), mtu: 1500 };
        let [four, six]: [IpAddr; 2] = ["10.77.0.100", "fd77::100"].map(|a| a.parse().unwrap());
        let [gateway, gateway_6]: [IpAddr; 2] = ["10.77.0.1", "fe80::1"].map(|a| a.parse().unwrap());
        let theirs = MacAddress([2, 0, 0, 0, 0, 2]);
        assert_eq!(to_one(&nic, four, false, (gateway, theirs)).len(), 2);
        assert_eq!(to_one(&nic, six, false, (gateway_6, theirs)).len(), 1);
        let none = [
            (four, gateway_6, theirs),
            (six, gateway, theirs),
            (four, gateway, nic.mac),
            (four, gateway, MacAddress([0; 6])),
            (four, gateway, MacAddress([0xff; 6])),
            (four, four, theirs),
        ];
        for (address, at, mac) in none {
            assert!(to_one(&nic, address, false, (at, mac)).is_empty(), "{address} {at} {mac}");
        }
    }
}
