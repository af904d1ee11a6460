//! What a mirror makes of strangers, damaged files, full disks and places where it cannot be.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use ha_core::NodeId;
use ha_replication::{CommitOutcome, Limits, Mirror, OpenError, RejectReason};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::{ALONE, BOTH, Pair, Side, limits, lsn, same_trees};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_named_and_the_pair_goes_on() {
    let pair = Pair::new().await;
    let a = pair.open(0);
    let mut long_hello = 74_u32.to_le_bytes().to_vec();
    long_hello.extend([1; 74]);
    for (said, named) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "expected a hello"),
        (vec![0; 64], "a frame of 0 bytes"),
        (long_hello, "another version"),
        ([&[2, 0, 0, 0, 2, 0][..], &[0; 8]].concat(), "a frame of type 2"),
    ] {
        let mut stranger = TcpStream::connect(pair.addr).await.unwrap();
        stranger.write_all(&said).await.unwrap();
        // Its end: the mirror closes, perhaps after a reason.
        let _ = stranger.read_to_end(&mut Vec::new()).await;
        a.until(named, |s| s.last_refusal.as_ref().is_some_and(|r| r.contains(named))).await;
    }
    let b = pair.open(1);
    a.promote(1, BOTH).await;
    lsn(a.put("1", "one").await);
    same_trees(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_a_silent_and_a_second_listening_copy_are_named() {
    let pair = Pair::new().await;
    let says = |side: &Side, text: &'static str| {
        let mirror = side.mirror.clone();
        async move {
            let mut changes = mirror.changes();
            let named = async {
                while !mirror.status().last_refusal.is_some_and(|r| r.contains(text)) {
                    let _ = tokio::time::timeout(Duration::from_millis(20), changes.changed()).await;
                }
            };
            let named = tokio::time::timeout(Duration::from_secs(20), named).await;
            assert!(named.is_ok(), "expected {text}, found {:?}", mirror.status().last_refusal);
        }
    };
    let mut absent = pair.config(1, 1);
    absent.peer = support::free_port();
    let absent = Side::open(absent);
    says(&absent, "nobody listens at").await;
    drop(absent);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = pair.config(1, 2);
    config.peer = silent.local_addr().unwrap();
    let before_silence = Side::open(config);
    says(&before_silence, "proved nothing within").await;
    // Two copies that both are node 0 both listen.
    let listening = pair.open(0);
    says(&listening, "no copy has dialled").await;
}

/// The reserve is measured with the file system's own numbers: no disk has this much left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_either_node_refuses_on_the_leader_and_leaves_no_trace() {
    for full in 0..2_u8 {
        let pair = Pair::new().await;
        let open = |node: u8| {
            let min_free_bytes = if node == full { u64::MAX } else { limits().min_free_bytes };
            let config = pair.config(node, u128::from(node) + 1);
            Side::open(config.with_limits(Limits { min_free_bytes, ..limits() }))
        };
        let (a, b) = (open(0), open(1));
        a.promote(1, BOTH).await;
        a.caught_up().await;
        // Space is looked at now and then: what was accepted until then counts, what is refused does not.
        let mut kept = 0;
        let whose = loop {
            match a.put(&format!("m/{kept}"), "mail").await {
                CommitOutcome::Committed { .. } => kept += 1,
                CommitOutcome::Rejected { why: RejectReason::NoSpace { whose } } => break whose,
                other => panic!("found {other:?}"),
            }
        };
        assert_eq!(whose, NodeId(full));
        for side in [&a, &b] {
            side.until("all of it", |s| s.applied == a.mirror.status().sequenced).await;
            assert_eq!(side.read(&format!("m/{kept}")), None);
            assert!((0..kept).all(|n| side.read(&format!("m/{n}")).is_some()));
        }
        same_trees(&a, &b).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_cannot_be_written_is_named() {
    let pair = Pair::new().await;
    let file = pair.dirs[0].path().join("file");
    std::fs::write(&file, "x").unwrap();
    // No file can be made in /proc/self, whoever asks.
    for dir in [file.join("mirror"), PathBuf::from("/proc/self"), PathBuf::from("/proc/self/mirror")] {
        let error = Mirror::open(pair.config_in(&dir, 0, 1)).unwrap_err();
        assert!(matches!(error, OpenError::Io { .. }), "{error}");
        assert!(error.to_string().contains(&dir.display().to_string()), "{error}");
    }
}

/// The segments of the journal in use, in order.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let generation = std::fs::canonicalize(dir.join("root")).unwrap().parent().unwrap().join("journal");
    let mut found: Vec<_> = std::fs::read_dir(generation).unwrap().map(|e| e.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|e| e == "seg"));
    found.sort();
    found
}

/// A standby's journal is damaged while it is away: it finds that out and gets everything back from its peer.
async fn comes_back_after(harm: impl Fn(&Path)) {
    let pair = Pair::new().await;
    let (a, b) = (pair.open(0), pair.open(1));
    a.promote(1, BOTH).await;
    for n in 0..5 {
        lsn(a.put(&format!("m/{n}"), "mail").await);
    }
    same_trees(&a, &b).await;
    drop(b);
    harm(&segments(pair.dirs[1].path())[0]);
    let b = Side::open(pair.config(1, 7));
    a.caught_up().await;
    lsn(a.put("after", "more").await);
    same_trees(&a, &b).await;
    assert!((0..5).all(|n| b.read(&format!("m/{n}")).as_deref() == Some("mail")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_with_a_corrupted_journal_gets_everything_back() {
    comes_back_after(|segment| {
        let file = OpenOptions::new().read(true).write(true).open(segment).unwrap();
        let mut block = [0; 512];
        file.read_exact_at(&mut block, 2 * 4096).unwrap();
        assert_ne!(block, [0; 512], "a record stands there");
        file.write_all_at(&block.map(|b| !b), 2 * 4096).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_with_a_truncated_journal_gets_everything_back() {
    comes_back_after(|segment| {
        OpenOptions::new().write(true).open(segment).unwrap().set_len(2 * 4096 + 100).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_without_its_journal_gets_everything_back() {
    comes_back_after(|segment| std::fs::remove_file(segment).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_superblock_cut_to_rubbish_is_refused_and_the_peers_copy_takes_its_place() {
    let pair = Pair::new().await;
    let (a, b) = (pair.open(0), pair.open(1));
    a.promote(1, ALONE).await;
    lsn(a.put("1", "one").await);
    drop(b);
    let dir = pair.dirs[1].path();
    std::fs::write(dir.join("super"), "rubbish").unwrap();
    let error = Mirror::open(pair.config(1, 7)).unwrap_err();
    assert!(matches!(error, OpenError::Superblock { .. }), "{error}");
    assert!(error.to_string().contains("slot 0: the file is too short"), "{error}");
    // What the error says to do.
    let fresh = tempfile::tempdir().unwrap();
    let b = Side::open(pair.config_in(fresh.path(), 1, 8));
    a.caught_up().await;
    same_trees(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_of_a_newer_format_is_refused_and_left_alone() {
    let pair = Pair::new().await;
    drop(pair.open(0));
    let path = pair.dirs[0].path().join("super");
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    // The slot that was written last, as a program with format 2 would head it.
    let at = if written(&file, 1 << 20) { 1 << 20 } else { 0 };
    let mut head = [0; 32];
    file.read_exact_at(&mut head, at).unwrap();
    head[8] += 1;
    let sum = crc32c::crc32c(&head[..28]);
    head[28..].copy_from_slice(&sum.to_le_bytes());
    file.write_all_at(&head, at).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = Mirror::open(pair.config(0, 7)).unwrap_err();
    assert!(matches!(error, OpenError::Version { found: 2, expected: 1, .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

/// Whether a slot of the superblock was ever written.
fn written(file: &std::fs::File, at: u64) -> bool {
    let mut head = [0; 8];
    file.read_exact_at(&mut head, at).unwrap();
    head != [0; 8]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_superblock_beside_a_mirror_in_use_is_refused_and_nothing_is_removed() {
    let pair = Pair::new().await;
    let a = pair.open(0);
    a.promote(1, ALONE).await;
    lsn(a.put("1", "acknowledged").await);
    let file = std::fs::canonicalize(a.mirror.root().join("1")).unwrap();
    drop(a);
    std::fs::write(pair.dirs[0].path().join("super"), "").unwrap();
    let opened = Mirror::open(pair.config(0, 7));
    assert!(file.exists(), "the only copy of acknowledged mail was removed; open said {opened:?}");
    assert!(matches!(opened, Err(OpenError::Superblock { .. })), "{opened:?}");
}
