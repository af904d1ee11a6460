//! Records as bytes.

use super::head::MAGIC;
use super::*;
use crate::ops::{RelPath, Target};
use proptest::prelude::*;

const MIRROR: MirrorId = MirrorId(77);

fn start() -> (Record, Chain) {
    let rule = AckRule::Alone(Generation(3));
    let start = EpochStart { node: NodeId(1), rule, incarnation: Incarnation(9), previous: Epoch(2) };
    let chain = Chain::start(MIRROR);
    (Draft::epoch_start(&start).seal(MIRROR, Epoch(5), Lsn(1), Lsn(0), chain), chain)
}

fn tx() -> Record {
    let data = Bytes::from_static(b"some mail");
    let path = RelPath::new("new/1").unwrap();
    let ops = [Op::Put { path, target: Target::default(), data }];
    let draft = Draft::tx(&ops, Some(KeyHash::of(b"k")), 1 << 20).unwrap();
    draft.seal(MIRROR, Epoch(5), Lsn(2), Lsn(1), start().0.head.chain)
}

#[test]
fn record_round_trip() {
    let (first, before) = start();
    let second = tx();
    let mut stream = BytesMut::new();
    stream.extend_from_slice(&first.bytes);
    stream.extend_from_slice(&second.bytes[..second.bytes.len() - 1]);
    let read = Record::take(&mut stream, MIRROR, 1 << 20).unwrap().unwrap();
    assert_eq!(read, first);
    assert_eq!(Record::take(&mut stream, MIRROR, 1 << 20).unwrap(), None);
    stream.extend_from_slice(&second.bytes[second.bytes.len() - 1..]);
    let read = Record::take(&mut stream, MIRROR, 1 << 20).unwrap().unwrap();
    assert_eq!(read, second);
    first.follows(Lsn(0), Epoch(0), before).unwrap();
    second.follows(Lsn(1), Epoch(5), first.head.chain).unwrap();
    assert!(matches!(first.body().unwrap(), Body::EpochStart(s) if s.previous == Epoch(2)));
    assert!(matches!(second.body().unwrap(), Body::Tx(ops) if ops.len() == 1));
    let seal = |draft: Draft| draft.seal(MIRROR, Epoch(5), Lsn(3), Lsn(1), second.head.chain);
    assert_eq!(seal(Draft::abort(Lsn(2))).body().unwrap(), Body::Abort { target: Lsn(2) });
    let rule = RuleSeen { node: NodeId(0), rule: AckRule::Both(Generation(4)), at: Lsn(3) };
    assert_eq!(seal(Draft::rule(&rule)).body().unwrap(), Body::Rule(rule));
}

#[test]
fn a_record_out_of_its_place_does_not_follow() {
    let second = tx();
    let chain = start().0.head.chain;
    assert!(matches!(second.follows(Lsn(2), Epoch(5), chain), Err(RecordError::Gap { .. })));
    assert!(matches!(second.follows(Lsn(1), Epoch(4), chain), Err(RecordError::Epoch { .. })));
    let other = Chain::start(MIRROR);
    assert!(matches!(second.follows(Lsn(1), Epoch(5), other), Err(RecordError::Chain { .. })));
}

proptest! {
    #[test]
    fn any_bit_flip_in_a_record_is_found(bit in 0..tx().bytes.len() * 8) {
        let mut bytes = BytesMut::from(&tx().bytes[..]);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let read = Record::take(&mut bytes, MIRROR, 1 << 20);
        prop_assert!(!matches!(read, Ok(Some(_))), "{read:?}");
    }

    #[test]
    fn decoder_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), magic in any::<bool>()) {
        let mut stream = BytesMut::from(if magic { &MAGIC[..] } else { &[] });
        stream.extend_from_slice(&bytes);
        let _ = Record::take(&mut stream, MIRROR, 1 << 20);
        let mut sealed = tx();
        sealed.bytes = [&sealed.bytes[..HEADER_BYTES], &bytes].concat().into();
        sealed.head.payload_len = bytes.len() as u32;
        let _ = sealed.body();
    }
}
