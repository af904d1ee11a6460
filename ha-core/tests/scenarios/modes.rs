//! 95 to 99: the working modes. Three and four nodes need a third-party arbiter.

use crate::support::*;
use ha_core::config::Config;
use ha_core::engine::RoleName;
use ha_core::sim::Fault;

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
