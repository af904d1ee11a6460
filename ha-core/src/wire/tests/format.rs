//! The octets themselves.

use super::*;
use crate::config::LinkConfig;
use crate::wire::{layout, statement};
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn claim() -> Statement {
    let set = SetRecord::Alone { epoch: Epoch(7), generation: Generation(3) };
    Statement::Claim {
        group: GroupId(0),
        epoch: Epoch(7),
        state: ClaimState::Owner,
        set,
        lsn: Lsn(300),
        highest: Epoch(7),
    }
}

/// Frames of version 1 never change: a node that runs this version must understand them for ever. The expected
/// octets were computed by another program, from `docs/WIRE.md`.
#[test]
fn golden_frames_of_version_1() {
    let (mut a, mut b) = (Side::new(0, 1), Side::new(1, 2));
    a.said = vec![claim(), Statement::Health { outside: 2, stall_ms: 200 }];
    let greeting = a.speak();
    assert_eq!(
        hex(&greeting),
        "a710000000d8d3f10000000000000000000000000000000100000000000003e80000000000000000ccf9\
         ee4152a8f30642c86a43f26ef8f5"
    );
    acquaint(&mut a, &mut b, 4);
    let beat = a.speak();
    assert_eq!(
        hex(&beat),
        "a7110000000004000000030708000724ac02030000050302c80145295c015a471a1ea23cceb278ea974d"
    );
    let mut testament = a.session.testament().unwrap();
    let notice = crate::engine::ReleasedNotice {
        incarnation: Incarnation(1),
        groups: vec![(GroupId(0), Epoch(7)), (GroupId(1), Epoch(1 << 32))],
        complete: true,
    };
    assert_eq!(
        hex(&testament.released(&notice).unwrap().concat()),
        "a71200ffff00000100070180808080106c12fe70a39582db5af34312fc757369"
    );
}

#[test]
fn every_statement_fits_alone_into_a_serial_frame() {
    let statements = every_statement();
    for statement in &statements {
        let len = statement_len(statement);
        assert!(len <= LinkConfig::SERIAL_PAYLOAD_BYTES, "{statement:?} takes {len}");
    }
    let (mut a, mut b) = acquainted();
    for statement in statements {
        a.said = vec![statement];
        let frame = a.speak();
        assert_eq!(frame.len(), BEAT_OVERHEAD_BYTES + statement_len(&statement));
        assert!(frame.len() <= SERIAL_FRAME_BYTES);
        let Received::Beat(beat) = b.hear(&frame).unwrap() else { panic!("no beat") };
        assert_eq!(beat.statements, [statement]);
    }
    assert_eq!(LinkConfig::SERIAL_PAYLOAD_BYTES, SERIAL_FRAME_BYTES - BEAT_OVERHEAD_BYTES);
    assert!(Side::new(0, 1 << 50).speak().len() <= SERIAL_FRAME_BYTES, "a greeting fits too");
}

#[test]
fn what_a_newer_node_adds_is_skipped() {
    let mut octets = vec![200, 3, 1, 2, 3];
    statement::encode(&claim(), &mut octets);
    let end = octets.len();
    // The claim with one more octet at its end.
    octets[6] += 1;
    octets.insert(end, 0xee);
    statement::encode(&Statement::Departing, &mut octets);
    // A claim in a state that this version does not know.
    octets.extend([7, 4, 0, 1, 0x0f, 1]);
    // A release under a condition that this version does not know.
    octets.extend([15, 3, 0, 1, 4]);
    assert_eq!(statement::decode_all(&octets).unwrap(), [claim(), Statement::Departing]);
    assert_eq!(statement::decode_all(&[7, 4, 0, 1]), None, "cut short");
}

/// To older programs it is a release as any other: they skip the octet.
#[test]
fn a_release_by_who_leaves_says_so_behind_what_every_version_reads() {
    let release = |leaving| Statement::Released {
        group: GroupId(1),
        epoch: Epoch(3),
        final_lsn: Some(Lsn(7)),
        excluded: true,
        leaving,
    };
    for (leaving, golden) in [(false, &[15, 4, 1, 3, 3, 7][..]), (true, &[15, 5, 1, 3, 3, 7, 1])] {
        let mut octets = Vec::new();
        statement::encode(&release(leaving), &mut octets);
        assert_eq!(octets, golden);
        assert_eq!(statement::decode_all(golden).unwrap(), [release(leaving)]);
    }
}

#[test]
fn the_longest_numbers_survive() {
    let (group, epoch, lsn) = (GroupId(9), Epoch(u64::MAX), Lsn(u64::MAX));
    let set = SetRecord::Out { epoch: Epoch(0), generation: Generation(u64::MAX) };
    let statement = Statement::Claim { group, epoch, state: ClaimState::Blocked, set, lsn, highest: epoch };
    let mut octets = Vec::new();
    statement::encode(&statement, &mut octets);
    assert_eq!(statement::decode_all(&octets).unwrap(), [statement]);
}

fn any_set() -> impl Strategy<Value = SetRecord> {
    prop_oneof![
        Just(SetRecord::Never),
        any::<u64>().prop_map(|g| SetRecord::Both { generation: Generation(g) }),
        any::<(u64, u64)>()
            .prop_map(|(e, g)| SetRecord::Alone { epoch: Epoch(e), generation: Generation(g) }),
        any::<(u64, u64)>().prop_map(|(e, g)| SetRecord::Out { epoch: Epoch(e), generation: Generation(g) }),
    ]
}

fn any_state() -> impl Strategy<Value = ClaimState> {
    prop_oneof![
        Just(ClaimState::Waiting),
        any::<bool>().prop_map(|viable| ClaimState::Standby { viable }),
        Just(ClaimState::Claiming),
        Just(ClaimState::Owner),
        Just(ClaimState::Blocked),
    ]
}

fn any_statement() -> impl Strategy<Value = Statement> {
    let claim = (any::<u16>(), any::<u64>(), any_state(), any_set(), any::<u64>(), any::<u32>()).prop_map(
        |(group, epoch, state, set, lsn, ahead)| Statement::Claim {
            group: GroupId(group),
            epoch: Epoch(epoch),
            state,
            set,
            lsn: Lsn(lsn),
            highest: Epoch(epoch.saturating_add(ahead.into())),
        },
    );
    let grant = (0u8..10, any::<u16>(), any::<u64>(), any::<u64>(), any::<u32>(), any::<Option<u64>>());
    let grant = grant.prop_map(|(kind, group, epoch, generation, nonce, lsn)| {
        let (group, epoch) = (GroupId(group), Epoch(epoch));
        let (generation, nonce) = (Generation(generation), Nonce(nonce));
        match kind {
            0 => Statement::Ask { group, epoch, generation, nonce },
            1 => Statement::Consent { group, epoch, generation, nonce },
            2 => Statement::Admit { group, epoch, generation },
            3 => Statement::Confirm { group, epoch, nonce },
            4 => Statement::Confirmed { group, epoch, nonce },
            5 => Statement::Prepare { group, epoch },
            6 => Statement::Ready { group, epoch },
            7 => Statement::Want { group, epoch, nonce },
            8 => Statement::Yielded { group, epoch, nonce },
            _ => Statement::Released {
                group,
                epoch,
                final_lsn: lsn.map(Lsn),
                excluded: nonce.0.is_multiple_of(2),
                leaving: nonce.0.is_multiple_of(3),
            },
        }
    });
    prop_oneof![
        claim,
        grant,
        (any::<u128>(), any::<bool>()).prop_map(|(boot, left)| Statement::Identity {
            boot: BootId(boot),
            predecessor: if left { Predecessor::Leftovers } else { Predecessor::Gone },
        }),
        any::<(u128, Option<bool>)>()
            .prop_map(|(mine, knows_yours)| Statement::Stores { mine: StoreId(mine), knows_yours }),
        any::<Option<u128>>().prop_map(|init| Statement::Init { init: init.map(InitId) }),
        any::<(u16, Option<u16>)>().prop_map(|(mine, yours)| Statement::Weights { mine, yours }),
        any::<(u8, u16)>().prop_map(|(outside, stall_ms)| Statement::Health { outside, stall_ms }),
        any::<(u16, u16, u16)>().prop_map(|(dead_ms, slot_ms, feed_ms)| Statement::Safety {
            dead_ms,
            slot_ms,
            feed_ms
        }),
        Just(Statement::Departing),
    ]
}

proptest! {
    #[test]
    fn beats_come_back_as_they_were_sent(
        said in prop::collection::vec(any_statement(), 0..20),
        gap in 0u32..1_000_000,
    ) {
        let (mut a, mut b) = acquainted();
        a.seq += gap;
        a.said = said;
        let sent = Beat { seq: a.seq + 1, to: Some(Incarnation(2)), ..a.beat() };
        let mut frame = Vec::new();
        prop_assert_eq!(a.session.encode(&sent, &mut frame).unwrap(), FrameKind::Beat);
        let len = sent.statements.iter().map(statement_len).sum::<usize>();
        prop_assert_eq!(frame.len(), BEAT_OVERHEAD_BYTES + len);
        prop_assert_eq!(b.hear(&frame).unwrap(), Received::Beat(sent));
    }

    #[test]
    fn random_octets_never_panic(mut octets in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..4) {
        let (mut a, _) = acquainted();
        prop_assert!(a.session.decode(&octets).is_err());
        if let [magic, version, ..] = octets.as_mut_slice() {
            (*magic, *version) = (layout::MAGIC, VERSION << 4 | kind);
        }
        prop_assert!(a.session.decode(&octets).is_err());
        let _ = statement::decode_all(&octets);
        let _ = Testament::from_bytes(&octets);
    }
}
