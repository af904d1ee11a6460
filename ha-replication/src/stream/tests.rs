//! A peer that has the key and breaks the rules, against a real mirror.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed set-up fails the test")]

use super::frame::{HEAD, MAX_BODY, Seal};
use super::handshake::Identity;
use super::message::{Ack, Message, Plan, Position, RECORDS};
use crate::history::History;
use crate::ops::{Op, RelPath, Target};
use crate::peering::Standing;
use crate::record::{Chain, Draft, EpochStart, MirrorId, Record};
use crate::{Limits, Mirror, MirrorConfig};
use bytes::{Bytes, BytesMut};
use ha_core::engine::AckRule;
use ha_core::wire::PairKey;
use ha_core::{Epoch, Generation, GroupId, Incarnation, Instant, Lsn, NodeId, TokenCell};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const EPOCH: Epoch = Epoch(5);

fn mirror_id() -> MirrorId {
    MirrorId::from_name("test")
}

fn key() -> PairKey {
    PairKey::from_bytes(&[5; 32]).unwrap()
}

struct Real {
    _dir: tempfile::TempDir,
    addr: SocketAddr,
    mirror: Mirror,
}

fn real() -> Real {
    let dir = tempfile::tempdir().unwrap();
    let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let token = TokenCell::new(GroupId(0));
    // Where it leads, it may: who is suspended begins no stream with a copy that holds nothing.
    token.set(EPOCH, Instant::FAR);
    let config = MirrorConfig::new(dir.path(), mirror_id(), NodeId(0), Incarnation(1), addr, addr, token);
    let limits = Limits {
        segment_bytes: 64 << 10,
        max_transaction_bytes: 16 << 10,
        silence: Duration::from_secs(5),
        stall: Duration::from_secs(5),
        ..Limits::default()
    };
    let mirror = Mirror::open(config.with_key(key()).with_limits(limits)).unwrap();
    Real { _dir: dir, addr, mirror }
}

/// The other node, as somebody with the key could write it.
struct Rogue {
    stream: TcpStream,
    outward: Seal,
    inward: Seal,
    buffer: BytesMut,
}

impl Rogue {
    async fn dial(addr: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let identity =
            Identity { mirror: mirror_id(), me: NodeId(1), incarnation: Incarnation(2), key: Some(key()) };
        let peer = identity.dial(&mut stream).await.unwrap();
        Self { stream, outward: peer.outward, inward: peer.inward, buffer: BytesMut::new() }
    }

    fn sealed(&mut self, message: &Message) -> Vec<u8> {
        let (kind, body) = message.encode();
        let mut out = Vec::new();
        self.outward.push(&mut out, kind, &[&body]);
        out
    }

    async fn send(&mut self, message: &Message) {
        let bytes = self.sealed(message);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next message that is not a keepalive; `None`: closed.
    async fn hear(&mut self) -> Option<Message> {
        loop {
            if let Some(opened) = self.inward.open(&self.buffer).unwrap() {
                let frame = self.buffer.split_to(opened.end);
                let message = Message::decode(opened.kind, &frame[opened.body]).unwrap();
                if !matches!(message, Message::Keepalive { .. }) {
                    return Some(message);
                }
                continue;
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    async fn closed(mut self) {
        let wait = async { while self.hear().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("the session was not closed");
    }

    /// Leads the real mirror until it follows from nothing.
    async fn lead(&mut self) {
        let Some(Message::Position(_)) = self.hear().await else { panic!("expected a position") };
        let standing = Standing {
            lead: Some(EPOCH),
            highest: EPOCH,
            end: Lsn(9),
            oldest: Lsn(1),
            ..Standing::default()
        };
        self.send(&Message::Position(Position { serial: 1, answers: 0, standing })).await;
        let Some(Message::Position(p)) = self.hear().await else { panic!("expected an answer") };
        assert_eq!(p.answers, 1);
        let chain = Chain::start(mirror_id());
        let plan = Plan { epoch: EPOCH, answers: p.serial, copy: false, cut: false, after: Lsn(0), chain };
        self.send(&Message::Plan(plan)).await;
        let Some(Message::Ack(ack)) = self.hear().await else { panic!("expected an acknowledgement") };
        assert_eq!(ack.durable, Lsn(0));
    }

    async fn records(&mut self, bytes: &[u8]) {
        let head = [EPOCH.0.to_le_bytes(), 0_u64.to_le_bytes()].concat();
        let mut out = Vec::new();
        self.outward.push(&mut out, RECORDS, &[&head, bytes]);
        self.stream.write_all(&out).await.unwrap();
    }
}

fn keepalive() -> Message {
    Message::Keepalive { epoch: Epoch(0), commit: Lsn(0) }
}

/// Closed, named, and nothing of it on the disk; the next honest session lives.
async fn refused(real: &Real, rogue: Rogue, named: &str) {
    rogue.closed().await;
    let mut changes = real.mirror.changes();
    while real.mirror.status().session {
        let _ = tokio::time::timeout(Duration::from_millis(20), changes.changed()).await;
    }
    let status = real.mirror.status();
    let why = status.last_refusal.unwrap();
    assert!(why.contains(named), "{why}");
    assert_eq!((status.durable, status.sequenced, status.commit), (Lsn(0), Lsn(0), Lsn(0)));
    let mut honest = Rogue::dial(real.addr).await;
    assert!(matches!(honest.hear().await, Some(Message::Position(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_closes_the_session() {
    let real = real();
    let mut rogue = Rogue::dial(real.addr).await;
    let mut bytes = rogue.sealed(&keepalive());
    bytes[HEAD + 3] ^= 4;
    rogue.stream.write_all(&bytes).await.unwrap();
    refused(&real, rogue, "tag").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_frame_closes_the_session() {
    let real = real();
    let mut rogue = Rogue::dial(real.addr).await;
    let bytes = rogue.sealed(&keepalive());
    rogue.stream.write_all(&[bytes.clone(), bytes].concat()).await.unwrap();
    refused(&real, rogue, "frame number 0, expected 1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reordered_frames_close_the_session() {
    let real = real();
    let mut rogue = Rogue::dial(real.addr).await;
    let (first, second) = (rogue.sealed(&keepalive()), rogue.sealed(&keepalive()));
    rogue.stream.write_all(&[second, first].concat()).await.unwrap();
    refused(&real, rogue, "frame number 1, expected 0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reflected_frame_closes_the_session() {
    let real = real();
    let mut rogue = Rogue::dial(real.addr).await;
    let mut theirs = [0; 64];
    rogue.stream.read_exact(&mut theirs).await.unwrap();
    rogue.stream.write_all(&theirs).await.unwrap();
    // The rest of whatever that frame was.
    rogue.stream.write_all(&[0; 4096]).await.unwrap();
    let mut rest = Vec::new();
    let _ = rogue.stream.read_to_end(&mut rest).await;
    rogue.buffer.clear();
    let honest = Rogue::dial(real.addr).await;
    drop(rogue);
    drop(honest);
    let why = real.mirror.status().last_refusal.unwrap();
    assert!(why.contains("tag"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_longer_than_allowed_are_refused_before_allocation() {
    let real = real();
    let mut rogue = Rogue::dial(real.addr).await;
    let len = (MAX_BODY as u32 + 1000).to_le_bytes();
    rogue.stream.write_all(&len).await.unwrap();
    refused(&real, rogue, "expected at most").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_and_senseless_frames_close_the_session() {
    let real = real();
    for (kind, body, named) in
        [(99, &b""[..], "unknown type 99"), (16, b"short", "position"), (19, b"", "acknowledgement")]
    {
        let mut rogue = Rogue::dial(real.addr).await;
        let mut bytes = Vec::new();
        rogue.outward.push(&mut bytes, kind, &[body]);
        rogue.stream.write_all(&bytes).await.unwrap();
        refused(&real, rogue, named).await;
    }
}

fn start(epoch: Epoch, lsn: Lsn, chain: Chain) -> Record {
    let rule = AckRule::Both(Generation(1));
    let start = EpochStart { node: NodeId(1), rule, incarnation: Incarnation(2), previous: Epoch(0) };
    Draft::epoch_start(&start).seal(mirror_id(), epoch, lsn, Lsn(0), chain)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_do_not_continue_the_log_are_refused_before_the_disk() {
    let real = real();
    let chain = Chain::start(mirror_id());
    let good = start(EPOCH, Lsn(1), chain).bytes.to_vec();
    let mut damaged = good.clone();
    damaged[120] ^= 1;
    for (bytes, named) in [
        (start(EPOCH, Lsn(2), chain).bytes.to_vec(), "does not continue"),
        (start(Epoch(6), Lsn(1), chain).bytes.to_vec(), "above the leader's"),
        (start(EPOCH, Lsn(1), Chain([1; 16])).bytes.to_vec(), "does not continue"),
        (damaged, "damaged"),
        (vec![7; 200], "damaged"),
    ] {
        let mut rogue = Rogue::dial(real.addr).await;
        rogue.lead().await;
        rogue.records(&bytes).await;
        refused(&real, rogue, named).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_may_come_in_any_pieces_and_count_when_they_are_durable() {
    let real = real();
    let first = start(EPOCH, Lsn(1), Chain::start(mirror_id()));
    let path = RelPath::new("a/b").unwrap();
    let op =
        Op::Put { path, target: Target { new: false, was_absent: true }, data: Bytes::from_static(b"mail") };
    let second =
        Draft::tx(&[op], None, 4096).unwrap().seal(mirror_id(), EPOCH, Lsn(2), Lsn(0), first.head.chain);
    let mut rogue = Rogue::dial(real.addr).await;
    rogue.lead().await;
    for piece in [&first.bytes[..], &second.bytes[..]].concat().chunks(37) {
        rogue.records(piece).await;
    }
    loop {
        let Some(Message::Ack(ack)) = rogue.hear().await else { panic!("expected acknowledgements") };
        if ack.durable == Lsn(2) {
            assert_eq!(ack.chain, second.head.chain);
            break;
        }
    }
    let file = real.mirror.root().join("a/b");
    assert!(!file.exists(), "not visible before the leader says that it is committed");
    rogue.send(&Message::CommitLsn { epoch: EPOCH, commit: Lsn(2) }).await;
    let mut changes = real.mirror.changes();
    while real.mirror.status().applied < Lsn(2) {
        let _ = tokio::time::timeout(Duration::from_millis(20), changes.changed()).await;
    }
    assert_eq!(std::fs::read(file).unwrap(), b"mail");
}

impl Rogue {
    /// Follows the real mirror, which leads, from nothing; what it sends is not acknowledged yet.
    async fn follow(&mut self) {
        let Some(Message::Position(p)) = self.hear().await else { panic!("expected a position") };
        let position = Position { serial: 1, answers: p.serial, standing: Standing::default() };
        self.send(&Message::Position(position)).await;
        let Some(Message::Plan(plan)) = self.hear().await else { panic!("expected a plan") };
        self.acknowledge(Lsn(0), plan.chain).await;
        let Some(Message::Records { .. }) = self.hear().await else { panic!("expected records") };
    }

    async fn acknowledge(&mut self, durable: Lsn, chain: Chain) {
        let ack = Ack { epoch: EPOCH, durable, chain, applied: Lsn(0), low_space: false };
        self.send(&Message::Ack(ack)).await;
    }
}

impl Real {
    async fn until(&self, wanted: impl Fn(&crate::MirrorStatus) -> bool) {
        let mut changes = self.mirror.changes();
        let waiting = async {
            while !wanted(&self.mirror.status()) {
                let _ = tokio::time::timeout(Duration::from_millis(20), changes.changed()).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("never saw it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_that_are_behind_do_not_count_as_caught_up_again() {
    let real = real();
    let alone = AckRule::Alone(Generation(2));
    real.mirror.hub().with(|s| s.lead(EPOCH, alone));
    let mut rogue = Rogue::dial(real.addr).await;
    rogue.follow().await;
    let first = real.mirror.hub().lock().chain;
    rogue.acknowledge(Lsn(1), first).await;
    real.until(|s| s.report.caught_up.is_some()).await;
    // The acknowledgements stall: it is withdrawn, and this side goes on alone.
    let chains = real.mirror.hub().with(|s| {
        let chains = [0, 1].map(|_| {
            s.set_rule(alone);
            s.chain
        });
        let stream = s.session.as_mut().unwrap().stream.as_mut().unwrap();
        stream.sent.iter_mut().for_each(|sent| sent.at = Instant::ZERO);
        s.withdraw_caught_up();
        chains
    });
    assert_eq!(real.mirror.status().report.caught_up, None);
    real.until(|s| s.commit == Lsn(3)).await;
    rogue.acknowledge(Lsn(2), chains[0]).await;
    real.until(|s| s.peer == Some(Lsn(2))).await;
    assert_eq!(real.mirror.status().report.caught_up, None, "it still owes what was sent long ago");
    rogue.acknowledge(Lsn(3), chains[1]).await;
    real.until(|s| s.report.caught_up.is_some()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_acknowledgement_of_everything_counts_though_nothing_follows() {
    let real = real();
    real.mirror.hub().with(|s| s.lead(EPOCH, AckRule::Both(Generation(1))));
    let mut rogue = Rogue::dial(real.addr).await;
    rogue.follow().await;
    let first = real.mirror.hub().with(|s| {
        s.memory.iter_mut().for_each(|f| f.since = Instant::ZERO);
        s.chain
    });
    rogue.acknowledge(Lsn(1), first).await;
    real.until(|s| s.report.caught_up.is_some()).await;
}

#[test]
fn messages_are_read_back_and_any_bytes_are_decoded_or_refused() {
    let mut history = History::default();
    history.push(Epoch(3), Lsn(1));
    let standing = Standing { lead: Some(Epoch(3)), wants_copy: true, history, ..Standing::default() };
    let chain = Chain([3; 16]);
    let messages = [
        Message::Position(Position { serial: 4, answers: 2, standing }),
        Message::Plan(Plan { epoch: Epoch(3), answers: 2, copy: true, cut: false, after: Lsn(7), chain }),
        Message::Ack(Ack { epoch: Epoch(3), durable: Lsn(8), chain, applied: Lsn(6), low_space: true }),
        Message::CommitLsn { epoch: Epoch(3), commit: Lsn(4) },
        Message::CopyEnd { files: 1, bytes: 2, until: Lsn(3) },
        Message::CopyDone { durable: Lsn(9), chain },
    ];
    for message in messages {
        let (kind, body) = message.encode();
        assert_eq!(Message::decode(kind, &body).unwrap(), message);
        for len in 0..body.len() {
            Message::decode(kind, &body[..len]).unwrap_err();
        }
        for at in 0..body.len() {
            let mut bad = body.clone();
            bad[at] ^= 0xff;
            let _ = Message::decode(kind, &bad);
        }
    }
}
