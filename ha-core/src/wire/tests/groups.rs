//! The number of a group on the wire: one octet as ever for the first 128, two for the others.

use super::*;
use crate::config::MAX_GROUPS;
use proptest::prelude::*;

fn about(group: u16) -> Statement {
    Statement::Serves { group: GroupId(group), epoch: Epoch(5) }
}

fn heard(statement: Statement) -> (usize, Result<Received, FrameError>) {
    let (mut a, mut b) = acquainted();
    a.said = vec![statement];
    let frame = a.speak();
    (frame.len(), b.hear(&frame))
}

fn said(received: Result<Received, FrameError>) -> Vec<Statement> {
    let Ok(Received::Beat(beat)) = received else { panic!("{received:?}") };
    beat.statements
}

#[test]
fn the_first_128_groups_take_one_octet_and_all_that_may_be_configured_two() {
    for (group, octets) in [(0, 1), (1, 1), (127, 1), (128, 2), (255, 2), (MAX_GROUPS as u16 - 1, 2)] {
        let policy = Statement::Policy {
            scope: PolicyScope::Group(GroupId(group)),
            flags: PolicyFlags { stamp: 1, standby: false, maintenance: true },
        };
        for (statement, rest) in [(about(group), 1), (policy, 3)] {
            let (length, received) = heard(statement);
            assert_eq!(length, BEAT_OVERHEAD_BYTES + 2 + octets + rest, "{statement:?}");
            assert_eq!(said(received), [statement]);
        }
    }
}

/// The programs before knew 16 groups, by one octet each: the first octet of a longer number is none of them.
#[test]
fn what_a_program_of_one_octet_reads_of_a_longer_number_is_no_group_that_it_may_have() {
    for group in (128..MAX_GROUPS as u16).step_by(7) {
        let mut octets = Vec::new();
        statement::encode(&about(group), &mut octets);
        assert!(octets[2] >= 128, "group {group}: {octets:?}");
    }
}

#[test]
fn a_group_beyond_16_bits_or_cut_short_is_malformed() {
    // Kind 20, length, group, epoch.
    for octets in [&[20, 4, 0x80, 0x80, 0x04, 5][..], &[20, 1, 0x80], &[20, 2, 0xff, 0xff], &[19, 2, 2, 0x80]]
    {
        assert_eq!(statement::decode_all(octets), None, "{octets:?}");
    }
    assert_eq!(statement::decode_all(&[20, 4, 0xff, 0xff, 0x03, 5]), Some(vec![about(u16::MAX)]));
    let node = statement::decode_all(&[19, 5, 1, 0x80, 0x02, 1, 1]);
    assert_eq!(node, None, "a node beyond one octet");
}

#[test]
fn statements_about_groups_beyond_the_first_128_fit_a_serial_frame() {
    let group = GroupId(MAX_GROUPS as u16 - 1);
    let (epoch, generation) = (Epoch((1 << 42) - 1), Generation((1 << 35) - 1));
    let set = SetRecord::Alone { epoch: Epoch(0), generation };
    let (state, lsn) = (ClaimState::Standby { viable: true }, Lsn((1 << 49) - 1));
    let claim = Statement::Claim { group, epoch, state, set, lsn, highest: epoch.next() };
    assert!(BEAT_OVERHEAD_BYTES + statement_len(&claim) <= SERIAL_FRAME_BYTES);
}

proptest! {
    #[test]
    fn every_number_comes_back_and_no_octets_panic(group: u16, octets: Vec<u8>) {
        let mut out = Vec::new();
        statement::encode(&about(group), &mut out);
        prop_assert_eq!(out.len(), statement_len(&about(group)));
        prop_assert_eq!(statement::decode_all(&out), Some(vec![about(group)]));
        let _ = statement::decode_all(&octets);
    }
}
