//! One copy of a mirror passes the checks that all data which follows the role must pass.

mod support;

use ha_core::testkit::data::{Copy, DataTest};
use ha_core::wire::PairKey;
use ha_core::{GroupId, Incarnation, NodeId, TokenCell};
use ha_replication::{CommitOutcome, Mirror, MirrorConfig, MirrorId};
use std::sync::Mutex;
use support::{free_port, limits};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_mirror_passes_the_kit() {
    // Each copy of the test has a directory of its own; the newest one is written to.
    let copies: Mutex<Vec<(Mirror, tempfile::TempDir)>> = Mutex::default();
    let make = || {
        let (dir, nobody) = (tempfile::tempdir().unwrap(), free_port());
        let token = TokenCell::new(GroupId(0));
        let (mirror, life) = (MirrorId::from_name("kit"), Incarnation(1));
        let config = MirrorConfig::new(dir.path(), mirror, NodeId(1), life, nobody, nobody, token.clone());
        let config = config.with_key(PairKey::from_bytes(&[5; 32]).unwrap()).with_limits(limits());
        let mirror = Mirror::open(config).unwrap();
        let data = mirror.data_sync();
        copies.lock().unwrap().push((mirror, dir));
        Copy { data, token }
    };
    let write = |_| -> futures::future::BoxFuture<'_, bool> {
        let mirror = copies.lock().unwrap().last().unwrap().0.clone();
        Box::pin(async move {
            let commit = mirror.begin().put("note", "kept").commit();
            matches!(commit.await, CommitOutcome::Committed { .. })
        })
    };
    let report = DataTest::new(make).written_by(write).run().await;
    let report = report.map_err(|failed| failed.to_string()).unwrap();
    assert_eq!(report.passed.len(), 8, "{report}");
}
