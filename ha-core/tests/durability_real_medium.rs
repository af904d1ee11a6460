//! The state store on real files: one process at a time, errors that name the place, nothing outside the root.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use ha_core::api::{StateError, StateStore};
use ha_core::store::medium::{Kind, LockError, Medium, Open, RealMedium, RecordingMedium};
use ha_core::store::{FileStateStore, STATE_FILE};
use ha_core::{InitId, NodeRecord, StoreId};
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

const DIR: &str = "HA_CORE_TEST_STORE";

fn real(dir: &Path) -> Arc<RealMedium> {
    Arc::new(RealMedium::create(dir.join("store")).unwrap())
}

#[test]
fn a_record_is_read_back_by_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = FileStateStore::initialise(real(dir.path()), InitId(1), StoreId(2)).unwrap();
    let mut record = store.load().unwrap();
    record.peer_store = Some(StoreId(3));
    store.save(&record).unwrap();
    drop(store);
    assert_eq!(FileStateStore::open(real(dir.path())).unwrap().load().unwrap(), record);
    assert_eq!(std::fs::metadata(dir.path().join("store").join(STATE_FILE)).unwrap().len(), 16384);
}

#[test]
#[ignore = "needs to be run by the test below, as another process"]
fn holds_the_store_until_its_input_ends() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let _store = FileStateStore::open(real(Path::new(&dir))).unwrap();
    println!("open");
    std::io::stdin().lines().for_each(drop);
}

#[test]
fn a_second_process_is_refused_with_the_id_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    drop(FileStateStore::initialise(real(dir.path()), InitId(1), StoreId(2)).unwrap());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_the_store_until_its_input_ends", "--ignored", "--nocapture"])
        .env(DIR, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("open")));
    let error = FileStateStore::open(real(dir.path())).unwrap_err();
    assert!(matches!(error, StateError::InUse { pid: Some(pid), .. } if pid == child.id()), "{error}");
    assert!(error.to_string().contains(&format!("in use by process {}", child.id())), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    FileStateStore::open(real(dir.path())).unwrap();
}

#[test]
fn a_missing_or_unwritable_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = RealMedium::open(dir.path().join("gone")).unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("gone"), "{error}");
    std::fs::write(dir.path().join("file"), "x").unwrap();
    let error = RealMedium::create(dir.path().join("file/store")).unwrap_err();
    assert!(error.to_string().contains("file/store"), "{error}");
    // No file can be made in /proc/self, whoever asks.
    let proc = Arc::new(RealMedium::open("/proc/self").unwrap());
    let error = FileStateStore::initialise(proc, InitId(1), StoreId(2)).unwrap_err();
    assert!(matches!(error, StateError::Io { .. }), "{error}");
    assert!(
        error.to_string().starts_with("state store at /proc/self: cannot open node-state.lock"),
        "{error}"
    );
}

#[test]
fn a_link_or_a_path_that_leads_out_of_the_root_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let medium = real(dir.path());
    std::fs::create_dir(dir.path().join("outside")).unwrap();
    std::fs::write(dir.path().join("outside/f"), "secret").unwrap();
    std::os::unix::fs::symlink("../outside", dir.path().join("store/way")).unwrap();
    std::os::unix::fs::symlink("../outside/f", dir.path().join("store/f")).unwrap();
    for path in ["way/f", "f", "../outside/f", "/etc/passwd"] {
        assert!(medium.read(Path::new(path)).is_err(), "{path}");
        assert!(medium.rename(Path::new(path), Path::new("x/..")).is_err(), "{path}");
    }
    assert_eq!(medium.metadata(Path::new("f")).unwrap().unwrap().kind, Kind::Other);
}

/// The same calls, one answer: the model behaves like the operating system where both can be seen.
fn tour(medium: &dyn Medium) -> Vec<String> {
    let mut seen = Vec::new();
    let mut note = |what: &str, outcome: Result<String, std::io::Error>| {
        seen.push(format!("{what}: {:?}", outcome.map_err(|e| e.kind())));
    };
    let unit = |()| String::new();
    let p = Path::new;
    note("mkdir", medium.create_dir(p("d")).map(unit));
    note("mkdir again", medium.create_dir(p("d")).map(unit));
    note("mkdir in nothing", medium.create_dir(p("no/d")).map(unit));
    let file = medium.open(p("d/a"), Open::CreateNew).unwrap();
    note("create again", medium.open(p("d/a"), Open::CreateNew).map(|_| String::new()));
    note("open missing", medium.open(p("d/b"), Open::Existing).map(|_| String::new()));
    note("write", file.write_at(b"hello", 3).map(unit));
    note("allocate", file.allocate(6000).map(unit));
    note("allocate less", file.allocate(5).map(unit));
    note("len", file.len().map(|l| l.to_string()));
    note("cut", file.set_len(5).map(unit));
    note("sync", file.sync_all("tour.file").map(unit));
    note("read", medium.read(p("d/a")).map(|b| format!("{b:?}")));
    note("link", medium.link(p("d/a"), p("b")).map(unit));
    note("link again", medium.link(p("d/a"), p("b")).map(unit));
    note("rmdir full", medium.remove_dir(p("d")).map(unit));
    note("rename over", medium.rename(p("d/a"), p("c")).map(unit));
    note("rename missing", medium.rename(p("d/a"), p("c")).map(unit));
    note("rename file over directory", medium.rename(p("c"), p("d")).map(unit));
    note("rename directory", medium.rename(p("d"), p("e")).map(unit));
    note("rename directory into itself", medium.rename(p("e"), p("e/x")).map(unit));
    note("remove directory as file", medium.remove(p("e")).map(unit));
    note("sync dir", medium.sync_dir(p(""), "tour.root").map(unit));
    note("list", medium.list(p("")).map(|l| format!("{l:?}")));
    note("list a file", medium.list(p("b")).map(|l| format!("{l:?}")));
    note("rmdir", medium.remove_dir(p("e")).map(unit));
    note("remove", medium.remove(p("c")).map(unit));
    note("read the other name", medium.read(p("b")).map(|b| format!("{b:?}")));
    let reader = medium.open(p("b"), Open::Read).unwrap();
    note("read beyond", reader.read_at(&mut [0; 4], 100).map(|n| n.to_string()));
    let lock = medium.lock(p("lock")).unwrap();
    let held = matches!(medium.lock(p("lock")), Err(LockError::Held { pid: Some(_) }));
    drop(lock);
    note("lock", Ok(format!("{held} {}", medium.lock(p("lock")).is_ok())));
    seen
}

#[test]
fn the_model_and_the_operating_system_give_the_same_answers() {
    let dir = tempfile::tempdir().unwrap();
    let (real, model) = (tour(&*real(dir.path())), tour(&RecordingMedium::new()));
    for (real, model) in real.iter().zip(&model) {
        assert_eq!(real, model);
    }
    assert_eq!(real.len(), model.len());
}

#[test]
fn a_store_made_on_the_model_has_the_same_bytes_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (real, model) = (real(dir.path()), Arc::new(RecordingMedium::new()));
    for medium in [real.clone() as Arc<dyn Medium>, model.clone()] {
        let mut store = FileStateStore::initialise(medium, InitId(1), StoreId(2)).unwrap();
        store.save(&NodeRecord::blank(StoreId(2), Some(InitId(1)))).unwrap();
    }
    let state = Path::new(STATE_FILE);
    assert_eq!(real.read(state).unwrap(), model.read(state).unwrap());
}
