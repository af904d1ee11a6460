//! 95 to 99: the working modes. The engine is a pair: of more nodes there are more pairs, over one third party.

use crate::support::*;
use ha_core::api::{Arbiter, Lease, OwnerRecord, Swap};
use ha_core::arbiter::ObjectArbiter;
use ha_core::config::Config;
use ha_core::engine::RoleName;
use ha_core::sim::Fault;
use ha_core::testkit::arbiter::{Options, check_with};
use ha_core::{Epoch, Incarnation, InitId, NodeId};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use std::sync::Arc;

/// The service runs on every node; each node's address is a group that moves.
fn parallel() -> Config {
    let mut config = mutual();
    config.groups.iter_mut().for_each(|g| g.mirrored = false);
    config.groups[0].name = "address-a".into();
    config.groups[1].name = "address-b".into();
    config
}

#[test]
fn s095_hot_standby_survives_the_loss_of_either_node_in_turn() {
    let mut cluster = served(pair());
    for round in 0..4 {
        let owner = round % 2;
        after(&mut cluster, &[Fault::PowerLoss(owner, seconds(3))], seconds(14));
        whole(&cluster, 1 - owner, MAIL);
    }
    nothing_is_lost(&mut cluster);
}

#[test]
fn s096_with_mutual_backup_each_nodes_failure_moves_its_own_service_only() {
    for victim in [0, 1] {
        let mut cluster = served(mutual());
        whole(&cluster, 1, WEB);
        after(&mut cluster, &[Fault::PowerLoss(victim, seconds(6))], seconds(4));
        owns(&cluster, 1 - victim, MAIL);
        owns(&cluster, 1 - victim, WEB);
        cluster.run_for(seconds(12));
        // Nothing fails back by itself.
        whole(&cluster, 1 - victim, MAIL);
        whole(&cluster, 1 - victim, WEB);
    }
}

#[test]
fn s097_both_services_on_one_node_and_a_failback_of_one_of_them() {
    let mut cluster = served(mutual());
    after(&mut cluster, &[Fault::PowerLoss(1, seconds(4))], seconds(14));
    whole(&cluster, 0, MAIL);
    whole(&cluster, 0, WEB);
    after(&mut cluster, &[Fault::Switchover(1)], seconds(3));
    whole(&cluster, 0, MAIL);
    whole(&cluster, 1, WEB);
}

#[test]
fn s096_a_cut_of_everything_between_mutual_backups_ends_with_both_groups_on_the_survivor() {
    for seed in 0..20 {
        let mut cluster = served_with(seed, mutual());
        after(&mut cluster, &[Fault::Isolate(seconds(4))], seconds(4));
        let owner = cluster.actor(MAIL).expect("served");
        owns(&cluster, owner, MAIL);
        owns(&cluster, owner, WEB);
        cluster.run_for(seconds(16));
        whole(&cluster, owner, MAIL);
        whole(&cluster, owner, WEB);
    }
}

#[test]
fn s098_parallel_services_keep_one_address_each_through_partition_and_merge() {
    for seed in 0..20 {
        let mut cluster = fresh(seed, parallel());
        cluster.run_for(seconds(4));
        owns(&cluster, 0, MAIL);
        owns(&cluster, 1, WEB);
        // I8: at no instant does an address answer from both machines.
        after(&mut cluster, &[Fault::Isolate(seconds(4))], seconds(4));
        let owner = cluster.actor(MAIL).expect("served");
        owns(&cluster, owner, MAIL);
        owns(&cluster, owner, WEB);
        cluster.run_for(seconds(12));
        assert_eq!(role(&cluster, 1 - owner, MAIL), Some(RoleName::Standby), "{}", cluster.timeline());
        assert_eq!(role(&cluster, 1 - owner, WEB), Some(RoleName::Standby));
    }
}

fn witness(store: &Arc<dyn ObjectStore>) -> ObjectArbiter {
    let builder = ObjectArbiter::builder(Arc::clone(store)).prefix("cluster");
    builder.lease(seconds(8)).deadline(seconds(4)).build().unwrap()
}

/// The grant of `epoch` to node `node`, all of `nodes` copies being in sync.
fn grant(node: u8, nodes: u8, epoch: u64) -> OwnerRecord {
    let mut record = OwnerRecord::new(InitId(1), Incarnation(u128::from(node) + 100));
    (record.epoch, record.owner) = (Epoch(epoch), Some(NodeId(node)));
    record.in_sync = (1 << nodes) - 1;
    record
}

/// What the third party does for three and four nodes: of all that want a group one is granted it, each node knows of all
/// copies, and an owner that renews keeps its group while another one's moves on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s099_three_and_four_nodes_contend_for_each_of_many_groups_and_one_owns_it() {
    for nodes in [3u8, 4] {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let handles: Vec<_> = (0..nodes).map(|_| witness(&store)).collect();
        for group in (0..24).map(|g| format!("group-{g}")) {
            let swaps = (0..nodes).map(|n| handles[usize::from(n)].swap(&group, 0, grant(n, nodes, 1)));
            let ended = futures::future::join_all(swaps).await;
            let won: Vec<_> =
                (0..nodes).zip(&ended).filter(|(_, e)| matches!(e, Ok(Swap::Done { .. }))).collect();
            assert_eq!(won.len(), 1, "{ended:?}");
            let owner = won[0].0;
            for handle in &handles {
                let view = handle.read(&group).await.unwrap();
                let record = view.record.unwrap();
                assert_eq!(record.owner, Some(NodeId(owner)));
                assert!((0..nodes).all(|n| record.lists(NodeId(n))) && !record.lists(NodeId(nodes)));
                assert!(
                    matches!(view.lease, Lease::Held { incarnation, .. } if incarnation == record.incarnation)
                );
            }
            let renewed =
                |n: u8| handles[usize::from(n)].renew(&group, Incarnation(u128::from(n) + 100), Epoch(1));
            for n in 0..nodes {
                assert_eq!(renewed(n).await.unwrap(), n == owner);
            }
            // It is given up, and the last one of the others takes it.
            let (first, next) = (&handles[usize::from(owner)], (owner + nodes - 1) % nodes);
            first.release(&group, Incarnation(u128::from(owner) + 100)).await.unwrap();
            let taken = handles[usize::from(next)].swap(&group, 1, grant(next, nodes, 2)).await.unwrap();
            assert_eq!(taken, Swap::Done { revision: 2 });
            assert!(!renewed(owner).await.unwrap(), "whoever was replaced renews no more");
        }
    }
}

/// The kit, with as many contenders.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s099_a_third_party_passes_the_kit_with_three_and_with_four_contenders() {
    for contenders in [3, 4] {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut options = Options::default();
        options.contenders = contenders;
        let report =
            check_with(options, || witness(&store)).await.unwrap_or_else(|failed| panic!("{failed}"));
        assert_eq!(report.skipped.len(), 1, "only the lease of 8 s is not waited for: {report}");
    }
}
