//! The backend of three commands, with real commands.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

use ha_core::api::Resource;
use ha_core::testkit::resource::ResourceTest;
use ha_core::{Epoch, GroupId, Instant, TokenCell};
use ha_vip::{AddressBackend, Exec, Holding, VirtualIp};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const MAIL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 25));

fn permitted() -> TokenCell {
    let token = TokenCell::new(GroupId(0));
    token.set(Epoch(1), Instant::FAR);
    token
}

/// A "cloud" whose assignment is a file with the addresses in it.
fn cloud(file: &Path) -> Exec {
    let file = file.display();
    Exec::new(
        &format!("echo $HA_VIP_ACTION $HA_VIP_ADDRESSES > {file}"),
        &format!("rm -f {file}"),
        &format!("[ -e {file} ] || exit 2"),
    )
}

#[tokio::test]
async fn commands_bring_the_addresses_here_and_away_and_say_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("assigned");
    let exec = cloud(&file);
    let both = [MAIL, "2001:db8::25".parse().unwrap()];
    for _ in 0..2 {
        assert_eq!(exec.holding(&both).await, Holding::NotHeld);
        exec.acquire(&both, &permitted()).await.unwrap();
        exec.acquire(&both, &permitted()).await.unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "acquire 192.0.2.25 2001:db8::25\n");
        assert_eq!(exec.holding(&both).await, Holding::Held);
        exec.release(&both).await.unwrap();
        exec.release(&both).await.unwrap();
        assert!(!file.exists());
    }
}

#[tokio::test]
async fn a_command_that_only_says_that_it_is_done_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let released = dir.path().join("released");
    let liar = Exec::new("true", &format!("touch {}", released.display()), "exit 2");
    let text = liar.acquire(&[MAIL], &permitted()).await.unwrap_err().to_string();
    assert!(
        text.contains("the acquire command says that it is done, but the status command says: not here"),
        "{text}"
    );
    assert!(released.exists(), "what may have been begun is taken back");
    let stays = Exec::new("true", "true", "true");
    let text = stays.release(&[MAIL]).await.unwrap_err().to_string();
    assert!(text.contains("still here"), "{text}");
    let silent = Exec::new("true", "true", "exit 1");
    assert!(matches!(silent.holding(&[MAIL]).await, Holding::Unknown { .. }));
    assert!(silent.acquire(&[MAIL], &permitted()).await.is_err(), "unknown is not success");
    assert!(silent.release(&[MAIL]).await.is_err(), "unknown is not success");
}

#[tokio::test]
async fn a_failure_is_shown_with_what_the_command_said() {
    let fails = Exec::new("echo no quota left >&2; exit 7", "true", "exit 2");
    let text = fails.acquire(&[MAIL], &permitted()).await.unwrap_err().to_string();
    assert!(text.contains("exit code 7") && text.contains("no quota left"), "{text}");
    let dies = Exec::new("kill -9 $$", "true", "exit 2");
    let text = dies.acquire(&[MAIL], &permitted()).await.unwrap_err().to_string();
    assert!(text.contains("signal 9"), "{text}");
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_everything_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let hangs = Exec::new(&format!("sleep 3600 & echo $! > {}; wait", pid.display()), "true", "exit 2");
    let hangs = hangs.limit(Duration::from_millis(300));
    let text = hangs.acquire(&[MAIL], &permitted()).await.unwrap_err().to_string();
    assert!(text.contains("did not end within 300ms and was killed with its process group"), "{text}");
    let child = std::fs::read_to_string(&pid).unwrap().trim().to_owned();
    let state = || std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !(state().is_empty() || state().contains(") Z ")) {
        assert!(std::time::Instant::now() < deadline, "still alive: {}", state());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn without_a_permission_no_command_is_run() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("assigned");
    let exec = cloud(&file);
    let text = exec.acquire(&[MAIL], &TokenCell::new(GroupId(0))).await.unwrap_err().to_string();
    assert!(text.contains("the permission ran out"), "{text}");
    assert!(!file.exists());
}

#[tokio::test]
async fn a_guardian_releases_by_the_stored_step_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("assigned");
    let exec = cloud(&file);
    let undo = exec.undo(&[MAIL]).unwrap();
    exec.acquire(&[MAIL], &permitted()).await.unwrap();
    drop(exec);
    let handler = ha_vip::undo_handlers().into_iter().find(|handler| handler.kind == undo.kind).unwrap();
    assert_eq!((handler.verify)(undo.version, &undo.bytes), Ok(false));
    for _ in 0..2 {
        (handler.undo)(undo.version, &undo.bytes).unwrap();
        assert_eq!((handler.verify)(undo.version, &undo.bytes), Ok(true));
    }
    assert!(!file.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_passes_the_kit() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("assigned");
    let make = || -> Arc<dyn Resource> {
        Arc::new(VirtualIp::new("address", MAIL, Arc::new(cloud(&file))).unwrap())
    };
    let left = || file.exists().then(|| "the address is still assigned".into()).into_iter().collect();
    let handler = ha_vip::undo_handlers().into_iter().find(|handler| handler.kind == "ha-vip/exec").unwrap();
    let test = ResourceTest::new(make)
        .left_behind(left)
        .taken_back_by(move |undo| (handler.undo)(undo.version, &undo.bytes))
        .broken_by(|| drop(std::fs::remove_file(&file)));
    let report = test.run().await;
    report.map_err(|failed| failed.to_string()).unwrap();
}
