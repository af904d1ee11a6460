//! The frames byte for byte. `netns_announce` compares the same bytes with what arrives at the other end of a cable.

use super::*;
use crate::MacAddress;
use std::net::{Ipv4Addr, Ipv6Addr};

const OURS: MacAddress = MacAddress([0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0x01]);
const THEIRS: MacAddress = MacAddress([0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0x02]);
const VIRTUAL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const VIRTUAL_6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100);
const NEIGHBOUR_6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn gratuitous_arp_in_both_forms() {
    let request = bytes(
        "ffffffffffff 02aabbccdd01 0806  0001 0800 06 04 0001
         02aabbccdd01 0a4d0064  000000000000 0a4d0064",
    );
    assert_eq!(Arp::gratuitous_request(VIRTUAL, OURS).broadcast(), request);
    let reply = bytes(
        "ffffffffffff 02aabbccdd01 0806  0001 0800 06 04 0002
         02aabbccdd01 0a4d0064  02aabbccdd01 0a4d0064",
    );
    assert_eq!(Arp::gratuitous_reply(VIRTUAL, OURS).broadcast(), reply);
}

#[test]
fn an_arp_probe_a_question_and_an_answer_to_one_neighbour() {
    let probe = bytes(
        "ffffffffffff 02aabbccdd01 0806  0001 0800 06 04 0001
         02aabbccdd01 00000000  000000000000 0a4d0064",
    );
    assert_eq!(Arp::probe(VIRTUAL, OURS).broadcast(), probe);
    let question = bytes(
        "02aabbccdd02 02aabbccdd01 0806  0001 0800 06 04 0001
         02aabbccdd01 0a4d0064  000000000000 0a4d0001",
    );
    assert_eq!(Arp::question(VIRTUAL, OURS, NEIGHBOUR).to_frame(THEIRS), question);
    let answer = bytes(
        "02aabbccdd02 02aabbccdd01 0806  0001 0800 06 04 0002
         02aabbccdd01 0a4d0064  02aabbccdd02 0a4d0001",
    );
    assert_eq!(Arp::answer(VIRTUAL, OURS, NEIGHBOUR, THEIRS).to_frame(THEIRS), answer);
}

#[test]
fn an_unsolicited_advertisement_of_a_host_and_of_a_router() {
    let told = |flags: &str, sum: &str| {
        bytes(&format!(
            "333300000001 02aabbccdd01 86dd  60000000 0020 3a ff
             fd770000000000000000000000000100 ff020000000000000000000000000001
             88 00 {sum} {flags} 000000 fd770000000000000000000000000100  02 01 02aabbccdd01"
        ))
    };
    assert_eq!(Advertisement::unsolicited(VIRTUAL_6, OURS, false).multicast(OURS), told("20", "be37"));
    assert_eq!(Advertisement::unsolicited(VIRTUAL_6, OURS, true).multicast(OURS), told("a0", "3e37"));
}

#[test]
fn an_advertisement_to_one_neighbour() {
    let expected = bytes(
        "02aabbccdd02 02aabbccdd01 86dd  60000000 0020 3a ff
         fd770000000000000000000000000100 fd770000000000000000000000000001
         88 00 bfc2 20 000000 fd770000000000000000000000000100  02 01 02aabbccdd01",
    );
    let told = Advertisement::directed(VIRTUAL_6, OURS, false, NEIGHBOUR_6);
    assert_eq!(told.to_frame(OURS, THEIRS), expected);
}

#[test]
fn a_probe_and_a_question_of_neighbour_discovery() {
    let probe = bytes(
        "3333ff000100 02aabbccdd01 86dd  60000000 0018 3a ff
         00000000000000000000000000000000 ff0200000000000000000001ff000100
         87 00 7b30 00000000 fd770000000000000000000000000100",
    );
    assert_eq!(Solicitation::probe(VIRTUAL_6).multicast(OURS), probe);
    let question = bytes(
        "3333ff000001 02aabbccdd01 86dd  60000000 0020 3a ff
         fd770000000000000000000000000100 ff0200000000000000000001ff000001
         87 00 e234 00000000 fd770000000000000000000000000001  01 01 02aabbccdd01",
    );
    assert_eq!(Solicitation::question(VIRTUAL_6, OURS, NEIGHBOUR_6).multicast(OURS), question);
}

#[test]
fn echo_requests() {
    let echo = |source, destination| Echo { source, destination, identifier: 0x1234, sequence: 1 };
    let four = bytes(
        "02aabbccdd02 02aabbccdd01 0800  45 00 001c 0000 4000 01 01 64e3 0a4d0064 0a4d0001
         08 00 e5ca 1234 0001",
    );
    assert_eq!(echo(VIRTUAL.into(), NEIGHBOUR.into()).request(OURS, THEIRS), Some(four));
    let six = bytes(
        "02aabbccdd02 02aabbccdd01 86dd  60000000 0008 3a ff
         fd770000000000000000000000000100 fd770000000000000000000000000001
         80 00 7197 1234 0001",
    );
    assert_eq!(echo(VIRTUAL_6.into(), NEIGHBOUR_6.into()).request(OURS, THEIRS), Some(six));
    assert_eq!(echo(VIRTUAL.into(), NEIGHBOUR_6.into()).request(OURS, THEIRS), None);
}
