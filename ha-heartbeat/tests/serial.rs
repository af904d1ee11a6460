//! Real pseudo-terminals.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use ha_core::api::{HeartbeatTransport, LinkFactory};
use ha_core::engine::{Beat, Statement};
use ha_core::wire::{LinkSession, PairKey, Received};
use ha_core::{Incarnation, LinkId, NodeId};
use ha_heartbeat::{Deframer, SerialLink, encode_line_frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

/// The far end of a tty: what the cable hears and says.
fn pty() -> (File, PathBuf) {
    let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&far).unwrap();
    unlockpt(&far).unwrap();
    let path = ptsname(&far, Vec::new()).unwrap().into_string().unwrap();
    (File::from(far), path.into())
}

async fn open(path: &PathBuf) -> Box<dyn HeartbeatTransport> {
    SerialLink::new("line", path, 115_200).open().await.unwrap()
}

async fn next(transport: &dyn HeartbeatTransport) -> Vec<u8> {
    let mut buf = [0; 64];
    let received = tokio::time::timeout(Duration::from_secs(20), transport.recv(&mut buf)).await;
    let len = received.expect("a frame in time").expect("no error");
    buf[..len].to_vec()
}

/// Whether the far end has something to read within the time.
fn readable(far: &File, ms: u32) -> bool {
    let limit = Timespec::try_from(Duration::from_millis(ms.into())).unwrap();
    poll(&mut [PollFd::new(far, PollFlags::IN)], Some(&limit)).unwrap() > 0
}

/// All frames that reach the far end until nothing comes any more.
fn heard(far: &mut File) -> Vec<Vec<u8>> {
    let mut deframer = Deframer::new();
    let mut frames = Vec::new();
    let mut octets = [0; 4096];
    while readable(far, 200) {
        let n = far.read(&mut octets).unwrap();
        frames.extend(octets[..n].iter().filter_map(|octet| deframer.push(*octet)));
    }
    frames
}

#[tokio::test]
async fn frames_arrive_whole_and_any_octet_passes() {
    let (mut far, path) = pty();
    let line = open(&path).await;
    // Everything that a tty which is not raw would swallow or change.
    for frame in [(0..32).collect::<Vec<u8>>(), (100..161).collect(), vec![0; 61], vec![0xff; 61]] {
        line.send(&frame).await.unwrap();
        assert_eq!(heard(&mut far), std::slice::from_ref(&frame));
        far.write_all(&encode_line_frame(&frame).unwrap()).unwrap();
        assert_eq!(next(&*line).await, frame);
    }
    let too_long = line.send(&[1; 62]).await.unwrap_err();
    assert!(too_long.to_string().contains("62 bytes"), "{too_long}");
}

#[tokio::test]
async fn noise_between_frames_and_a_torn_frame_cost_no_other() {
    let (mut far, path) = pty();
    let line = open(&path).await;
    let frame = encode_line_frame(b"beat").unwrap();
    far.write_all(&[0xff; 300]).unwrap();
    far.write_all(&frame).unwrap();
    far.write_all(&frame[..3]).unwrap();
    far.write_all(&frame).unwrap();
    // A frame that comes in two pieces.
    far.write_all(&frame[..2]).unwrap();
    assert_eq!(next(&*line).await, b"beat");
    assert_eq!(next(&*line).await, b"beat");
    far.write_all(&frame[2..]).unwrap();
    assert_eq!(next(&*line).await, b"beat");
}

#[tokio::test]
async fn a_receive_that_was_given_up_loses_nothing() {
    let (mut far, path) = pty();
    let line = open(&path).await;
    let frame = encode_line_frame(b"beat").unwrap();
    for piece in frame.chunks(1) {
        let mut buf = [0; 64];
        let given_up = tokio::time::timeout(Duration::from_millis(5), line.recv(&mut buf)).await;
        assert!(given_up.is_err());
        far.write_all(piece).unwrap();
    }
    assert_eq!(next(&*line).await, b"beat");
}

#[tokio::test]
async fn a_flood_of_garbage_starves_neither_the_runtime_nor_the_next_frame() {
    let (mut far, path) = pty();
    let line = open(&path).await;
    let flood = std::thread::spawn(move || {
        let mut state = 1u32;
        for _ in 0..2000 {
            let garbage: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .take(100)
            .collect();
            far.write_all(&garbage).unwrap();
        }
        far.write_all(&encode_line_frame(b"the frame after the flood").unwrap()).unwrap();
        far
    });
    let ticking = tokio::spawn(async {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    });
    while next(&*line).await != b"the frame after the flood" {}
    ticking.await.unwrap();
    drop(flood.join().unwrap());
}

#[tokio::test]
async fn output_keeps_to_the_baud_rate_on_a_pty() {
    let (mut far, path) = pty();
    // Two seconds a frame: a hundred take longer than any test run.
    let line = SerialLink::new("slow", &path, 300).open().await.unwrap();
    for n in 0..100 {
        line.send(&[n; 61]).await.unwrap();
    }
    let frames = heard(&mut far);
    assert_eq!(frames.first().map(Vec::as_slice), Some(&[0; 61][..]));
    assert!(frames.len() < 50, "{} of 100 frames at once", frames.len());
}

#[tokio::test]
async fn a_line_that_nobody_reads_blocks_nobody() {
    let (far, path) = pty();
    let link = SerialLink::new("stuck", &path, 4_000_000).waiting(Duration::from_secs(3600));
    let line = link.open().await.unwrap();
    for _ in 0..10_000 {
        line.send(&[7; 61]).await.unwrap();
    }
    let mut guardian = link.open_sender().unwrap();
    assert_eq!(guardian.send(b"last word").unwrap_err().kind(), ErrorKind::TimedOut);
    drop(far);
}

#[tokio::test]
async fn a_guardian_speaks_on_the_tty_that_its_child_has_open() {
    let (mut far, path) = pty();
    let link = SerialLink::new("line", &path, 115_200);
    let line = link.open().await.unwrap();
    let mut guardian = link.open_sender().unwrap();
    line.send(b"beat").await.unwrap();
    guardian.send(b"last word").unwrap();
    assert_eq!(heard(&mut far), [b"beat".to_vec(), b"last word".to_vec()]);
    drop(line);
    guardian.send(b"again").unwrap();
    guardian.send(b"and again").unwrap();
    assert_eq!(heard(&mut far), [b"again".to_vec(), b"and again".to_vec()]);
}

#[tokio::test]
async fn a_missing_tty_and_a_path_that_is_none_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("ttyS99");
    let error = SerialLink::new("line", &missing, 9600).open().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let said = error.to_string();
    assert!(said.contains("link line") && said.contains("ttyS99") && said.contains("no such tty"), "{said}");
    assert!(SerialLink::new("line", &missing, 9600).open_sender().is_err());
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = SerialLink::new("line", &file, 9600).open().await.err().unwrap();
    assert!(error.to_string().contains("file"), "{error}");
    let error = SerialLink::new("line", &file, 0).open().await.err().unwrap();
    assert!(error.to_string().contains("0 baud"), "{error}");
}

#[tokio::test]
async fn a_tty_that_hung_up_is_an_error_and_is_opened_again_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("tty");
    let (first, path) = pty();
    std::os::unix::fs::symlink(&path, &name).unwrap();
    let line = open(&name).await;
    let mut guardian = SerialLink::new("line", &name, 115_200).open_sender().unwrap();
    drop(first);
    let mut buf = [0; 64];
    let error = line.recv(&mut buf).await.unwrap_err();
    assert!(error.to_string().contains("tty"), "{error}");
    assert_eq!(line.send(b"beat").await.unwrap_err().kind(), ErrorKind::NotConnected);
    std::fs::remove_file(&name).unwrap();
    assert_eq!(line.recv(&mut buf).await.unwrap_err().kind(), ErrorKind::NotFound, "still away");
    assert_eq!(guardian.send(b"last word").unwrap_err().kind(), ErrorKind::NotFound);
    let (mut second, path) = pty();
    std::os::unix::fs::symlink(&path, &name).unwrap();
    // Opens, and waits for what is not there yet.
    assert!(tokio::time::timeout(Duration::from_millis(20), line.recv(&mut buf)).await.is_err());
    second.write_all(&encode_line_frame(b"back").unwrap()).unwrap();
    assert_eq!(next(&*line).await, b"back");
    line.send(b"beat").await.unwrap();
    guardian.send(b"last word").unwrap();
    assert_eq!(heard(&mut second), [b"beat".to_vec(), b"last word".to_vec()]);
}

#[test]
fn an_interval_too_short_for_the_line_is_refused() {
    let link = SerialLink::new("line", "/dev/ttyS0", 9600);
    let error = link.check_interval(Duration::from_millis(20), 61).unwrap_err();
    assert_eq!((error.line_bytes, error.smallest_ms), (64, 67));
    link.check_interval(Duration::from_millis(67), 61).unwrap();
}

/// A null modem: what one tty says the other hears.
fn cable() -> (PathBuf, PathBuf) {
    let ((one, a), (other, b)) = (pty(), pty());
    for (mut from, mut to) in [(one.try_clone().unwrap(), other.try_clone().unwrap()), (other, one)] {
        // Ends with the ttys: a far end whose tty was closed reads an error.
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    }
    (a, b)
}

struct Node {
    session: LinkSession,
    line: Box<dyn HeartbeatTransport>,
    incarnation: Incarnation,
    seq: u32,
}

impl Node {
    async fn on(path: &PathBuf, node: u8, life: u128) -> Self {
        let key = PairKey::from_bytes(&[3; 32]).unwrap();
        let incarnation = Incarnation(life);
        let session = LinkSession::new(&key, "mail", LinkId(0), NodeId(node), incarnation, life as u64 * 7);
        Self { session, line: open(path).await, incarnation, seq: 0 }
    }

    async fn beat(&mut self) {
        self.seq += 1;
        let (incarnation, to, seq) = (self.incarnation, self.session.peer(), self.seq);
        let statements = vec![Statement::Health { outside: 1, stall_ms: 2 }];
        let beat = Beat { incarnation, to, seq, echo: None, statements };
        let mut frame = Vec::new();
        self.session.encode(&beat, &mut frame).unwrap();
        self.line.send(&frame).await.unwrap();
    }

    /// Beats and listens until a beat with a statement arrives.
    async fn converse(&mut self) -> Beat {
        let mut buf = [0; 64];
        loop {
            self.beat().await;
            let Ok(received) =
                tokio::time::timeout(Duration::from_millis(20), self.line.recv(&mut buf)).await
            else {
                continue;
            };
            let len = received.unwrap();
            if let Ok(Received::Beat(beat)) = self.session.decode(&buf[..len])
                && !beat.statements.is_empty()
            {
                return beat;
            }
        }
    }
}

#[tokio::test]
async fn two_lives_become_acquainted_over_a_line_and_again_after_a_restart() {
    let (a, b) = cable();
    let mut one = Node::on(&a, 0, 1).await;
    let mut other = Node::on(&b, 1, 2).await;
    let limit = Duration::from_secs(20);
    let acquaintance = async { tokio::join!(until(&mut one, 2), until(&mut other, 1)) };
    tokio::time::timeout(limit, acquaintance).await.expect("acquainted in time");
    // The successor opens the line before the predecessor closes it, so that the cable stays up.
    let mut reborn = Node::on(&b, 1, 3).await;
    drop(other);
    let acquaintance = async { tokio::join!(until(&mut one, 3), until(&mut reborn, 1)) };
    tokio::time::timeout(limit, acquaintance).await.expect("acquainted again in time");
    assert_eq!(one.session.counters().sessions, 2);
}

/// Converses until the peer's given life was heard, and a little longer for the peer's sake.
async fn until(node: &mut Node, life: u128) {
    while node.converse().await.incarnation != Incarnation(life) {}
    for _ in 0..10 {
        node.beat().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
