//! Frames that nobody of good will sends, and random ones.

use super::*;
use crate::MacAddress;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const OURS: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
const VIRTUAL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
const VIRTUAL_6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100);

fn field(frame: &[u8]) -> &'static str {
    match read(frame) {
        Err(
            FrameError::Field { what, .. }
            | FrameError::Short { what, .. }
            | FrameError::Checksum { what }
            | FrameError::Address { what, .. },
        ) => what,
        Ok(heard) => panic!("{heard:?} was understood"),
    }
}

#[test]
fn arp_of_another_hardware_protocol_length_or_operation_is_refused() {
    let good = Arp::gratuitous_request(VIRTUAL, OURS).broadcast();
    for (at, value, expected) in [
        (13, 7, "EtherType"),
        (15, 6, "ARP hardware type"),
        (16, 9, "ARP protocol type"),
        (18, 8, "length of an ARP hardware address"),
        (19, 16, "length of an ARP protocol address"),
        (21, 3, "ARP operation"),
        (21, 0, "ARP operation"),
    ] {
        let mut bad = good.clone();
        bad[at] = value;
        assert_eq!(field(&bad), expected);
    }
}

#[test]
fn a_frame_that_ends_anywhere_is_refused_and_padding_is_not() {
    let frames = [
        Arp::gratuitous_reply(VIRTUAL, OURS).broadcast(),
        Advertisement::unsolicited(VIRTUAL_6, OURS, true).multicast(OURS),
        Solicitation::probe(VIRTUAL_6).multicast(OURS),
        Echo { source: VIRTUAL.into(), destination: VIRTUAL.into(), identifier: 1, sequence: 1 }
            .reply_frame(OURS, THEIRS)
            .unwrap(),
    ];
    for frame in frames {
        for length in 0..frame.len() {
            assert!(read(&frame[..length]).is_err(), "{length} bytes of {}", frame.len());
        }
        let padded = [frame.as_slice(), &[0xee; 18]].concat();
        assert_eq!(read(&padded), read(&frame));
        assert!(read(&frame).is_ok());
    }
}

#[test]
fn neighbour_discovery_from_beyond_a_router_is_refused() {
    let mut frame = Advertisement::unsolicited(VIRTUAL_6, THEIRS, false).multicast(THEIRS);
    frame[21] = 254; // not part of the checksum
    assert_eq!(field(&frame), "hop limit of neighbour discovery");
}

#[test]
fn a_damaged_advertisement_is_refused() {
    let good = Advertisement::unsolicited(VIRTUAL_6, THEIRS, false).multicast(THEIRS);
    for at in 22..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert!(read(&bad).is_err(), "byte {at}");
    }
}

fn with_right_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    let [source, destination] =
        [22, 38].map(|at| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap()));
    frame[56..58].copy_from_slice(&[0, 0]);
    let sum = checksum::icmpv6(source, destination, &frame[54..]);
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn rules_of_rfc_4861_that_a_right_checksum_does_not_help_against() {
    let told = Advertisement::unsolicited(VIRTUAL_6, THEIRS, false);
    let good = told.multicast(THEIRS);
    let mut options = good.clone();
    options[79] = 0; // an option of no length: a loop without end, if it were followed
    assert_eq!(field(&with_right_checksum(options)), "length of a neighbour discovery option");
    let mut long = good.clone();
    long[79] = 200;
    assert_eq!(field(&with_right_checksum(long)), "a neighbour discovery option");
    let mut code = good;
    code[55] = 1;
    assert_eq!(field(&with_right_checksum(code)), "ICMPv6 code");
    let solicited = Advertisement { solicited: true, ..told }.multicast(THEIRS);
    assert_eq!(field(&solicited), "destination of a solicited advertisement");
    let target = Advertisement { target: ALL_NODES, ..told }.multicast(THEIRS);
    assert_eq!(field(&target), "target of neighbour discovery");
    let nobody = Advertisement { source: Ipv6Addr::UNSPECIFIED, ..told }.multicast(THEIRS);
    assert_eq!(field(&nobody), "source of an advertisement");
    let probe = Solicitation { mac: Some(THEIRS), ..Solicitation::probe(VIRTUAL_6) }.multicast(THEIRS);
    assert_eq!(field(&probe), "source of a solicitation");
    let astray = Solicitation { destination: ALL_NODES, ..Solicitation::probe(VIRTUAL_6) };
    assert_eq!(field(&astray.to_frame(THEIRS, BROADCAST)), "destination of a probe");
}

#[test]
fn a_claim_is_what_the_message_says_not_who_sent_the_frame() {
    let mut spoofed = Arp::gratuitous_request(VIRTUAL, THEIRS).broadcast();
    spoofed[6..12].copy_from_slice(&[2, 9, 9, 9, 9, 9]);
    let claim = read(&spoofed).unwrap().claim().unwrap();
    assert_eq!((claim.mac, claim.sent_by), (THEIRS, MacAddress([2, 9, 9, 9, 9, 9])));
    assert_eq!((claim.address, claim.kind), (IpAddr::from(VIRTUAL), ClaimKind::ArpRequest));
    let told =
        Advertisement { mac: None, ..Advertisement::unsolicited(VIRTUAL_6, OURS, false) }.multicast(THEIRS);
    assert_eq!(read(&told).unwrap().claim().unwrap().mac, THEIRS);
}

#[test]
fn a_sender_without_an_address_claims_nothing() {
    let reply = Arp { operation: ArpOperation::Reply, ..Arp::probe(VIRTUAL, THEIRS) };
    assert_eq!(read(&reply.broadcast()).unwrap().claim(), None);
    for probe in [Arp::probe(VIRTUAL, THEIRS).broadcast(), Solicitation::probe(VIRTUAL_6).multicast(THEIRS)] {
        assert_eq!(read(&probe).unwrap().claim().unwrap().kind, ClaimKind::Probe);
    }
}

#[test]
fn a_question_tells_where_its_asker_believes_the_address_to_be() {
    let neighbour = Ipv4Addr::new(10, 77, 0, 1);
    let asked =
        Arp { target_mac: THEIRS, ..Arp::question(neighbour, MacAddress([2, 0, 0, 0, 0, 9]), VIRTUAL) };
    let heard = read(&asked.broadcast()).unwrap();
    assert_eq!(heard.belief(VIRTUAL.into()), Some((neighbour.into(), THEIRS)));
    assert_eq!(heard.belief(neighbour.into()), None);
    let blank = Arp::question(neighbour, OURS, VIRTUAL).broadcast();
    assert_eq!(read(&blank).unwrap().belief(VIRTUAL.into()), None);
    let asker = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
    let asked = Solicitation { destination: VIRTUAL_6, ..Solicitation::question(asker, OURS, VIRTUAL_6) };
    let heard = read(&asked.to_frame(OURS, THEIRS)).unwrap();
    assert_eq!(heard.belief(VIRTUAL_6.into()), Some((asker.into(), THEIRS)));
    assert_eq!(read(&asked.multicast(OURS)).unwrap().belief(VIRTUAL_6.into()), None);
}

fn mac() -> impl Strategy<Value = MacAddress> {
    any::<[u8; 6]>().prop_map(MacAddress)
}

fn four() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from)
}

fn node() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(|bits| Ipv6Addr::from(bits | 1)).prop_filter("of a node", |a| !a.is_multicast())
}

proptest! {
    #[test]
    fn random_bytes_never_panic(mut frame in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..4_usize) {
        let kinds: [[u8; 2]; 4] = [[8, 6], [8, 0], [0x86, 0xdd], [1, 2]];
        if let Some(field) = frame.get_mut(12..14) {
            field.copy_from_slice(&kinds[kind]);
        }
        if let Ok(heard) = read(&frame) {
            let _of_any = (heard.claim(), heard.belief(VIRTUAL.into()));
        }
    }

    #[test]
    fn a_damaged_good_frame_never_panics(at in 0..86_usize, value: u8, cut in 0..87_usize) {
        for mut frame in [
            Arp::gratuitous_reply(VIRTUAL, OURS).broadcast(),
            Advertisement::unsolicited(VIRTUAL_6, OURS, true).multicast(OURS),
        ] {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
            frame.truncate(cut);
            let _either = read(&frame).map(|heard| heard.claim());
            if frame.len() == 86 {
                let _either = read(&with_right_checksum(frame)).map(|heard| heard.claim());
            }
        }
    }

    #[test]
    fn arp_comes_back_as_it_was(sender_mac in mac(), sender in four(), target_mac in mac(), target in four(), asks: bool) {
        let operation = if asks { ArpOperation::Request } else { ArpOperation::Reply };
        let arp = Arp { operation, sender_mac, sender, target_mac, target };
        let ethernet = Ethernet { destination: target_mac, source: sender_mac, kind: 0x0806 };
        prop_assert_eq!(read(&arp.to_frame(target_mac)), Ok(Heard::Arp(ethernet, arp)));
    }

    #[test]
    fn neighbour_discovery_comes_back_as_it_was(
        source in node(), destination in node(), target in node(), from in mac(), to in mac(), option in proptest::option::of(mac()),
        router: bool, solicited: bool, overrides: bool,
    ) {
        let ethernet = Ethernet { destination: to, source: from, kind: 0x86dd };
        let told = Advertisement { source, destination, target, router, solicited, overrides, mac: option };
        prop_assert_eq!(read(&told.to_frame(from, to)), Ok(Heard::Advertisement(ethernet, told)));
        let asked = Solicitation { source, destination, target, mac: option };
        prop_assert_eq!(read(&asked.to_frame(from, to)), Ok(Heard::Solicitation(ethernet, asked)));
    }

    #[test]
    fn an_echo_reply_comes_back_as_it_was(a in four(), b in four(), c in node(), d in node(), identifier: u16, sequence: u16) {
        for (source, destination) in [(IpAddr::from(a), IpAddr::from(b)), (c.into(), d.into())] {
            let echo = Echo { source, destination, identifier, sequence };
            let frame = echo.reply_frame(THEIRS, OURS).unwrap();
            prop_assert!(matches!(read(&frame), Ok(Heard::Echo(_, back)) if back == echo));
        }
    }
}
