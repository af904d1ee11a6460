//! 25 to 41: the network. 41 is in `swizzle.rs`; what needs real interfaces is named in `docs/SCENARIOS.md`.

use crate::support::*;
use ha_core::config::LinkConfig;
use ha_core::engine::{LinkState, Protection};
use ha_core::sim::{Cluster, Cut, Fault};

fn links(cluster: &Cluster, node: usize) -> Vec<LinkState> {
    cluster.status(node).map(|s| s.peer.links).unwrap_or_default()
}

fn undisturbed(cluster: &Cluster) {
    whole(cluster, 0, MAIL);
    assert_eq!(grants(cluster), 1, "{}", cluster.timeline());
    nobody_shot(cluster);
}

#[test]
fn s025_each_link_pulled_in_turn_is_named_dead_and_changes_nothing() {
    let mut cluster = served(pair());
    for link in 0..3 {
        after(&mut cluster, &[Fault::CutLink(link, Cut::Both, seconds(2))], ms(1500));
        for node in 0..2 {
            let states = links(&cluster, node);
            let dead: Vec<_> = (0..3).filter(|l| states[*l] == LinkState::Dead).collect();
            assert_eq!(dead, [usize::from(link)], "node {node}: {states:?}");
        }
        cluster.run_for(seconds(2));
        undisturbed(&cluster);
    }
}

#[test]
fn s026_all_links_cut_ends_with_one_node_fenced_and_the_other_serving_everything_acknowledged() {
    let mut survivors = [0, 0];
    for seed in 0..30 {
        let mut cluster = served_with(seed, pair());
        after(&mut cluster, &[Fault::Isolate(seconds(6))], seconds(4));
        let owner = cluster.actor(MAIL).expect("one of them serves");
        owns(&cluster, owner, MAIL);
        assert_eq!(cluster.probes().count("device", "shot hit"), 1, "{}", cluster.timeline());
        survivors[owner] += 1;
        cluster.run_for(seconds(16));
        whole(&cluster, owner, MAIL);
        nothing_is_lost(&mut cluster);
    }
    // The owner weighs more and has the first slot, unless the last beats fell so that it noticed behind its window.
    assert!(survivors[0] >= 20, "{survivors:?}");
}

#[test]
fn s026_all_links_cut_without_a_device_leaves_the_owner_waiting_and_nobody_else_serving() {
    let mut cluster = served(unfenced());
    after(&mut cluster, &[Fault::Isolate(seconds(6))], seconds(5));
    // It is alive, so nobody took over; but nobody can confirm that mail may be acknowledged alone.
    assert_eq!(cluster.actor(MAIL), Some(0));
    asks(&cluster, 0, MAIL, ha_core::engine::Question::NoExclusionProof);
    asks(&cluster, 1, MAIL, ha_core::engine::Question::NoStopProof);
    let before = cluster.acknowledged(MAIL);
    cluster.run_for(ms(500));
    assert_eq!(cluster.acknowledged(MAIL), before, "nothing is acknowledged by one copy without a proof");
    cluster.run_for(seconds(8));
    whole(&cluster, 0, MAIL);
    nothing_is_lost(&mut cluster);
}

#[test]
fn s027_all_networks_cut_with_the_serial_line_alive_moves_nothing_and_the_owner_goes_alone_by_consent() {
    for seed in 0..10 {
        let mut cluster = served_with(seed, pair());
        after(&mut cluster, &[Fault::CutNetwork(seconds(5))], seconds(4));
        owns(&cluster, 0, MAIL);
        protected(&cluster, 0, MAIL, Protection::Standalone);
        assert_eq!(exclusion(&cluster, 0, MAIL).map(|p| p.name()), Some("Consented"));
        mail_flows(&mut cluster, ms(900), 4);
        cluster.run_for(seconds(4));
        undisturbed(&cluster);
    }
}

#[test]
fn s028_a_serial_line_with_noise_alone_keeps_the_peer_alive() {
    for per_mille in [50, 150, 300] {
        let mut cluster = served(pair());
        let faults = [Fault::CutNetwork(seconds(20)), Fault::Lossy(2, per_mille, seconds(20))];
        after(&mut cluster, &faults, seconds(19));
        owns(&cluster, 0, MAIL);
        nobody_shot(&cluster);
        cluster.run_for(seconds(6));
        undisturbed(&cluster);
    }
}

#[test]
fn s029_a_one_way_cut_of_every_link_is_named_half_open_and_the_stream_forbids_a_shot() {
    for from in [0, 1] {
        let mut cluster = served(pair().link(LinkConfig::evidence("stream", ms(100), ms(400))));
        after(&mut cluster, &[Fault::CutBeats(Cut::From(from), seconds(3))], seconds(2));
        assert_eq!(links(&cluster, from)[..3], [LinkState::HalfOpen; 3], "{}", cluster.timeline());
        assert_eq!(cluster.probes().count("device", "shot hit"), 0, "{}", cluster.timeline());
        cluster.run_for(seconds(10));
        let owner = cluster.actor(MAIL).expect("served");
        whole(&cluster, owner, MAIL);
        nothing_is_lost(&mut cluster);
    }
}

#[test]
fn s029_a_one_way_cut_of_everything_leaves_one_owner_and_nothing_lost() {
    for from in [0, 1] {
        for seed in 0..20 {
            let mut cluster = served_with(seed, pair());
            let cuts =
                [Fault::CutBeats(Cut::From(from), seconds(5)), Fault::CutMirror(Cut::From(from), seconds(5))];
            after(&mut cluster, &cuts, seconds(20));
            assert!(cluster.probes().count("device", "shot hit") <= 1);
            let owner = cluster.actor(MAIL).expect("served");
            whole(&cluster, owner, MAIL);
            nothing_is_lost(&mut cluster);
        }
    }
}

#[test]
fn s030_loss_of_up_to_a_third_on_every_link_moves_nothing_and_of_two_thirds_is_safe() {
    for per_mille in [10, 100, 300, 600] {
        let mut cluster = served(pair());
        for link in 0..3 {
            cluster.inject(Fault::Lossy(link, per_mille, seconds(60)));
        }
        cluster.run_for(seconds(60));
        sound(&cluster);
        if per_mille <= 300 {
            undisturbed(&cluster);
        }
        cluster.run_for(seconds(15));
        let owner = cluster.actor(MAIL).expect("served");
        whole(&cluster, owner, MAIL);
    }
}

#[test]
fn s031_delays_of_half_the_deadline_with_reordering_and_repetition_move_nothing() {
    let mut cluster = served(pair());
    let slow = [
        Fault::Slow(0, ms(125), seconds(60)),
        Fault::Slow(1, ms(125), seconds(60)),
        Fault::Slow(2, ms(250), seconds(60)),
    ];
    after(&mut cluster, &slow, seconds(58));
    assert_eq!((cluster.actor(MAIL), grants(&cluster)), (Some(0), 1), "{}", cluster.timeline());
    nobody_shot(&cluster);
    cluster.run_for(seconds(6));
    undisturbed(&cluster);
}

/// Bulk data of the mirror shares the wire with the beats of one network: both crawl.
#[test]
fn s032_a_wire_choked_by_bulk_replication_moves_nothing_while_another_link_lives() {
    let mut cluster = served(pair());
    for _ in 0..20 {
        cluster.inject(Fault::Clog(0, Cut::Both, ms(700)));
        cluster.inject(Fault::ClogMirror(Cut::Both, ms(700)));
        cluster.run_for(seconds(1));
    }
    sound(&cluster);
    assert_eq!((cluster.actor(MAIL), grants(&cluster)), (Some(0), 1), "{}", cluster.timeline());
    nobody_shot(&cluster);
    cluster.run_for(seconds(5));
    undisturbed(&cluster);
}

#[test]
fn s034_a_cable_that_flaps_every_second_for_an_hour_moves_nothing() {
    let mut cluster = served(pair());
    for _ in 0..3600 {
        cluster.inject(Fault::CutLink(0, Cut::Both, ms(500)));
        cluster.run_for(seconds(1));
    }
    sound(&cluster);
    cluster.run_for(seconds(2));
    whole(&cluster, 0, MAIL);
    assert_eq!(cluster.probes().count("event", "Shoot"), 0);
    assert_eq!(cluster.probes().count("proof", "NeverStarted"), 1, "granted once");
}

#[test]
fn s034_both_networks_flapping_with_the_stream_inside_them_lose_nothing() {
    let mut cluster = served(pair());
    for _ in 0..120 {
        cluster.inject(Fault::CutNetwork(ms(500)));
        cluster.run_for(seconds(1));
    }
    sound(&cluster);
    assert_eq!(cluster.actor(MAIL), Some(0), "{}", cluster.timeline());
    cluster.run_for(seconds(6));
    whole(&cluster, 0, MAIL);
    nobody_shot(&cluster);
    nothing_is_lost(&mut cluster);
}

#[test]
fn s035_a_switch_that_holds_its_ports_back_for_thirty_seconds_moves_nothing() {
    let mut cluster = served(pair());
    after(&mut cluster, &[Fault::CutNetwork(seconds(30))], seconds(29));
    owns(&cluster, 0, MAIL);
    protected(&cluster, 0, MAIL, Protection::Standalone);
    cluster.run_for(seconds(5));
    undisturbed(&cluster);
}

#[test]
fn s037_a_firewall_that_drops_one_direction_of_both_networks_is_named_and_moves_nothing() {
    for from in [0, 1] {
        let mut cluster = served(pair());
        let cuts =
            [Fault::CutLink(0, Cut::From(from), seconds(9)), Fault::CutLink(1, Cut::From(from), seconds(9))];
        after(&mut cluster, &cuts, seconds(5));
        let states = links(&cluster, from);
        assert_eq!(states[..2], [LinkState::HalfOpen; 2], "{states:?}");
        assert_eq!(states[2], LinkState::Up);
        cluster.run_for(seconds(6));
        undisturbed(&cluster);
    }
}
