//! The VRRP codec and its checks: what a real keepalived sent, each refusal in its order, and anything at all.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use ha_vip::vrrp::{
    AddressList, Admission, AdvertInterval, Arrival, Audience, HOP_LIMIT, Heard, Ipv4Checksum, Priority,
    Refusal, Vrid,
};
use proptest::prelude::*;
use std::net::IpAddr;

/// Recorded with tcpdump from Debian's keepalived 2.2.7: IP header and message.
const KEEPALIVED_V4: [u8; 36] = [
    0x45, 0xc0, 0x00, 0x24, 0x00, 0x01, 0x00, 0x00, 0xff, 0x70, 0xd0, 0x47, 0x0a, 0x4d, 0x00, 0x02, 0xe0,
    0x00, 0x00, 0x12, 0x31, 0x07, 0x96, 0x02, 0x00, 0x0a, 0x38, 0xa7, 0x0a, 0x4d, 0x00, 0x64, 0x0a, 0x4d,
    0x00, 0x65,
];

/// The same, over IPv6 from fe80::1410:bfff:fe27:cf37; the message alone.
const KEEPALIVED_V6: [u8; 40] = [
    0x31, 0x08, 0x96, 0x02, 0x00, 0x0a, 0x9b, 0x54, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01,
    0x00, 0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0x00,
];

fn at(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn list(addresses: &[&str]) -> AddressList {
    AddressList::new(&addresses.iter().map(|address| at(address)).collect::<Vec<_>>()).unwrap()
}

fn over_v4() -> Admission {
    Admission {
        vrid: Vrid::new(7).unwrap(),
        source: at("10.77.0.1"),
        audience: Audience::Group,
        addresses: list(&["10.77.0.100", "10.77.0.101"]),
        same_addresses: true,
    }
}

fn over_v6() -> Admission {
    Admission {
        vrid: Vrid::new(8).unwrap(),
        source: at("fe80::1"),
        audience: Audience::Group,
        addresses: list(&["fe80::100", "fd77::100"]),
        same_addresses: true,
    }
}

fn from_v6(message: &[u8]) -> Arrival<'_> {
    Arrival {
        source: at("fe80::1410:bfff:fe27:cf37"),
        destination: at("ff02::12"),
        hop_limit: HOP_LIMIT,
        message,
    }
}

fn sent_by_keepalived(source: &str) -> Heard {
    Heard {
        source: at(source),
        priority: Priority(150),
        interval: AdvertInterval::from_centiseconds(10).unwrap(),
        checksum: Ipv4Checksum::PseudoHeader,
    }
}

#[test]
fn what_keepalived_sent_is_understood_and_written_byte_for_byte() {
    let arrival = Arrival::from_ipv4(&KEEPALIVED_V4).unwrap();
    assert_eq!(over_v4().admit(&arrival), Ok(sent_by_keepalived("10.77.0.2")));
    assert_eq!(
        over_v6().admit(&from_v6(&KEEPALIVED_V6)),
        Ok(sent_by_keepalived("fe80::1410:bfff:fe27:cf37"))
    );

    let tenth = AdvertInterval::from_centiseconds(10).unwrap();
    let ours = over_v4().advertisement(Priority(150), tenth);
    assert_eq!(ours.encode(at("10.77.0.2"), at("224.0.0.18"), Ipv4Checksum::default()), KEEPALIVED_V4[20..]);
    let ours = over_v6().advertisement(Priority(150), tenth);
    for covers in [Ipv4Checksum::PseudoHeader, Ipv4Checksum::MessageOnly] {
        let bytes = ours.encode(at("fe80::1410:bfff:fe27:cf37"), at("ff02::12"), covers);
        assert_eq!(bytes, KEEPALIVED_V6, "over IPv6 there is one convention only");
    }
}

#[test]
fn both_conventions_of_the_checksum_are_accepted_and_told_apart() {
    for covers in [Ipv4Checksum::PseudoHeader, Ipv4Checksum::MessageOnly] {
        let advertisement = over_v4().advertisement(Priority(9), AdvertInterval::DEFAULT);
        let message = advertisement.encode(at("10.77.0.2"), at("224.0.0.18"), covers);
        let arrival = Arrival { message: &message, ..Arrival::from_ipv4(&KEEPALIVED_V4).unwrap() };
        assert_eq!(over_v4().admit(&arrival).unwrap().checksum, covers);
    }
}

/// `message` with byte `at` replaced.
fn with(message: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut changed = message.to_vec();
    changed[at] = byte;
    changed
}

#[test]
fn each_check_names_what_it_found() {
    let good = Arrival::from_ipv4(&KEEPALIVED_V4).unwrap();
    let message = good.message;
    let refused = |arrival: Arrival<'_>| over_v4().admit(&arrival).unwrap_err();
    let of = |message: &[u8]| over_v4().admit(&Arrival { message, ..good }).unwrap_err();
    let source_address = good.source;

    let found = 254;
    assert_eq!(
        refused(Arrival { hop_limit: found, ..good }),
        Refusal::HopLimit { found, at_least: 255, source_address }
    );
    let found = over_v4().source;
    let expected = at("224.0.0.18");
    assert_eq!(
        refused(Arrival { destination: found, ..good }),
        Refusal::Destination { found, expected, source_address }
    );
    assert_eq!(of(&message[..7]), Refusal::Short { length: 7, source_address });
    assert_eq!(of(&[]), Refusal::Short { length: 0, source_address });
    let old = Refusal::Version2 { source_address, vrid: 7, priority: Priority(150), interval_s: 0x0A };
    assert_eq!(of(&with(message, 0, 0x21)), old);
    assert_eq!(of(&with(message, 0, 0x41)), Refusal::Version { found: 4, source_address });
    assert_eq!(of(&with(message, 0, 0x32)), Refusal::Type { found: 2, source_address });
    let length = |found, addresses, expected| Refusal::Length { found, expected, addresses, source_address };
    assert_eq!(of(&message[..12]), length(12, 2, 16));
    assert_eq!(of(&[message, &[0; 4]].concat()), length(20, 2, 16));
    assert_eq!(of(&with(message, 3, 255)), length(16, 255, 1028));
    let expected = Vrid::new(7).unwrap();
    assert_eq!(of(&with(message, 1, 9)), Refusal::Vrid { found: 9, expected, source_address });
    let one = with(&message[..12], 3, 1);
    assert_eq!(of(&one), Refusal::AddressCount { found: 1, expected: 2, source_address });
    let missing = at("10.77.0.101");
    assert_eq!(of(&with(message, 15, 0x66)), Refusal::AddressList { missing, source_address });
    let [found, with_pseudo_header, message_only] = [0x38A8, 0x38A7, 0x2389];
    let sums = Refusal::Checksum { found, with_pseudo_header, message_only, source_address };
    assert_eq!(of(&with(message, 7, 0xA8)), sums);
}

#[test]
fn what_only_a_whole_message_can_be_refused_for_is_named_too() {
    let good = Arrival::from_ipv4(&KEEPALIVED_V4).unwrap();
    let source_address = good.source;
    // An interval of zero under a right checksum: the sum of the words stays the same.
    let mut zero = good.message.to_vec();
    zero[4..8].copy_from_slice(&[0x00, 0x00, 0x38, 0xB1]);
    assert_eq!(
        over_v4().admit(&Arrival { message: &zero, ..good }),
        Err(Refusal::Interval { source_address })
    );
    let twin = Admission { source: source_address, ..over_v4() };
    assert_eq!(twin.admit(&good), Err(Refusal::OwnSource { source_address }));
    let other = Admission { addresses: list(&["10.77.0.9"]), same_addresses: false, ..over_v4() };
    assert_eq!(other.admit(&good), Ok(sent_by_keepalived("10.77.0.2")));
    let turned = Admission { addresses: list(&["10.77.0.101", "10.77.0.100"]), ..over_v4() };
    assert_eq!(turned.admit(&good), Ok(sent_by_keepalived("10.77.0.2")));
    // The reserved bits beside the interval are nobody's business.
    let mut reserved = good.message.to_vec();
    reserved[4..8].copy_from_slice(&[0xF0, 0x0A, 0x48, 0xA6]);
    assert_eq!(over_v4().admit(&Arrival { message: &reserved, ..good }), Ok(sent_by_keepalived("10.77.0.2")));
}

#[test]
fn unicast_listens_to_its_peers_only() {
    let unicast = |least_hop_limit, peer| Admission {
        audience: Audience::Unicast { peers: vec![at(peer)], least_hop_limit },
        ..over_v4()
    };
    let advertisement = over_v4().advertisement(Priority(150), AdvertInterval::DEFAULT);
    let (from, to) = (at("10.77.0.2"), at("10.77.0.1"));
    let message = advertisement.encode(from, to, Ipv4Checksum::PseudoHeader);
    let arrival = Arrival { source: from, destination: to, hop_limit: 250, message: &message };
    let far = Refusal::HopLimit { found: 250, at_least: 255, source_address: from };
    assert_eq!(unicast(255, "10.77.0.2").admit(&arrival), Err(far));
    assert_eq!(unicast(250, "10.77.0.2").admit(&arrival).unwrap().source, from);
    assert_eq!(unicast(250, "10.77.0.3").admit(&arrival), Err(Refusal::Source { source_address: from }));
    let by_group = Arrival::from_ipv4(&KEEPALIVED_V4).unwrap();
    assert!(matches!(unicast(255, "10.77.0.2").admit(&by_group), Err(Refusal::Destination { .. })));
}

/// The earlier check wins whatever else is wrong: each message has all the faults of the ones below it.
#[test]
fn the_checks_have_their_order() {
    let good = Arrival::from_ipv4(&KEEPALIVED_V4).unwrap();
    let mut message = good.message.to_vec();
    let mut names = Vec::new();
    let mut note = |arrival: Arrival<'_>| {
        let refusal = format!("{:?}", over_v4().admit(&arrival).unwrap_err());
        names.push(refusal.split(' ').next().unwrap().to_owned());
    };
    message[7] ^= 1;
    note(Arrival { message: &message, ..good });
    message[15] ^= 1;
    note(Arrival { message: &message, ..good });
    message[1] = 9;
    note(Arrival { message: &message, ..good });
    message.pop();
    note(Arrival { message: &message, ..good });
    message[0] = 0x3F;
    note(Arrival { message: &message, ..good });
    message[0] = 0x5F;
    note(Arrival { message: &message, ..good });
    note(Arrival { message: &message, destination: good.source, ..good });
    note(Arrival { message: &message, destination: good.source, hop_limit: 1, ..good });
    assert_eq!(
        names,
        ["Checksum", "AddressList", "Vrid", "Length", "Type", "Version", "Destination", "HopLimit"]
    );
}

#[test]
fn an_address_list_is_of_one_family_and_fits() {
    assert_eq!(AddressList::new(&[]), None);
    assert_eq!(AddressList::new(&[at("10.0.0.1"), at("fe80::1")]), None);
    assert_eq!(AddressList::new(&vec![at("10.0.0.1"); 256]), None);
    assert_eq!(AddressList::new(&vec![at("fe80::1"); 255]).unwrap().count(), 255);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1100), hop_limit: u8) {
        if let Ok(arrival) = Arrival::from_ipv4(&bytes) {
            let _any = over_v4().admit(&arrival);
        }
        let _any = over_v4().admit(&Arrival { message: &bytes, hop_limit, ..Arrival::from_ipv4(&KEEPALIVED_V4).unwrap() });
        let _any = over_v6().admit(&Arrival { hop_limit, ..from_v6(&bytes) });
    }

    #[test]
    fn one_damaged_byte_is_never_admitted(at in 0..KEEPALIVED_V4.len(), by in 1u8..) {
        let mut datagram = KEEPALIVED_V4;
        datagram[at] ^= by;
        let admitted = Arrival::from_ipv4(&datagram).and_then(|arrival| over_v4().admit(&arrival));
        // What the kernel checks and we do not: class, identification, fragments, header checksum. The length of the
        // header can only be damaged into options, whose bytes are then missing from the message.
        let ours = !matches!(at, 1 | 4..8 | 10..12);
        prop_assert_eq!(admitted.is_err(), ours, "{:?}", admitted);
    }

    #[test]
    fn damaged_and_cut_messages_never_panic(
        cut in 0..=KEEPALIVED_V6.len(), hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)
    ) {
        let mut message = KEEPALIVED_V6[..cut].to_vec();
        for (index, byte) in hits {
            if !message.is_empty() {
                let at = index.index(message.len());
                message[at] = byte;
            }
        }
        let intact = message == KEEPALIVED_V6;
        prop_assert!(over_v6().admit(&from_v6(&message)).is_ok() || !intact);
    }

    #[test]
    fn what_is_written_is_read(
        vrid in 1u8.., priority: u8, centiseconds in 1u16..=4095,
        octets in proptest::collection::vec(any::<u32>(), 1..=255), only: bool
    ) {
        let addresses: Vec<IpAddr> = octets.iter().map(|bits| IpAddr::V4((*bits).into())).collect();
        let addresses = AddressList::new(&addresses).unwrap();
        let speaker = Admission { vrid: Vrid::new(vrid).unwrap(), addresses, ..over_v4() };
        let interval = AdvertInterval::from_centiseconds(centiseconds).unwrap();
        let covers = if only { Ipv4Checksum::MessageOnly } else { Ipv4Checksum::PseudoHeader };
        let bytes = speaker.advertisement(Priority(priority), interval).encode(at("10.77.0.2"), at("224.0.0.18"), covers);
        let arrival = Arrival { message: &bytes, ..Arrival::from_ipv4(&KEEPALIVED_V4).unwrap() };
        let heard = speaker.admit(&arrival).unwrap();
        prop_assert_eq!((heard.priority, heard.interval, heard.source), (Priority(priority), interval, at("10.77.0.2")));
        prop_assert_eq!(heard.checksum, covers);
    }
}
