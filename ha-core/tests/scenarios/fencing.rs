//! 51 to 61: fencing. Watchdogs and poison pills are named in `docs/SCENARIOS.md`.

use crate::support::*;
use ha_core::engine::{Protection, Question};
use ha_core::sim::{Cluster, DeviceFault, Fault, Options, Scenario};

#[test]
fn s051_a_device_out_of_reach_leaves_a_question_and_the_owners_return_answers_it() {
    let mut cluster = served(pair());
    let faults = [Fault::Device(0, DeviceFault::Fails, seconds(20)), Fault::PowerLoss(0, seconds(6))];
    after(&mut cluster, &faults, seconds(5));
    nobody(&cluster, MAIL);
    asks(&cluster, 1, MAIL, Question::NoStopProof);
    cluster.run_for(seconds(10));
    // The new boot proves the end of the old one; who was up and current takes over.
    whole(&cluster, 1, MAIL);
    proven_by(&cluster, 1, MAIL, "Rebooted");
    nothing_is_lost(&mut cluster);
}

#[test]
fn s051_an_operators_word_is_taken_only_for_the_question_that_was_asked() {
    use ha_core::engine::{Command, EventKind, Refusal};
    let mut cluster = served(pair());
    let life = cluster.status(1).and_then(|s| s.peer.incarnation);
    let confirm = Command::ConfirmPeerOff { group: MAIL, incarnation: life };
    cluster.command(1, confirm);
    let refused = EventKind::Refused { why: Refusal::NotAsked };
    assert!(reports(&cluster).contains(&(1, refused)), "nobody asked while the owner lived");
    let faults = [Fault::Device(0, DeviceFault::Fails, seconds(20)), Fault::PowerLoss(0, seconds(15))];
    after(&mut cluster, &faults, seconds(5));
    asks(&cluster, 1, MAIL, Question::NoStopProof);
    cluster.command(1, confirm);
    cluster.run_for(seconds(2));
    owns(&cluster, 1, MAIL);
    proven_by(&cluster, 1, MAIL, "OperatorConfirmed");
}

#[test]
fn s052_a_device_that_says_off_while_the_node_runs_is_named_and_proves_nothing_more() {
    let mut scenario = Scenario::quiet(1, pair());
    scenario.lying = true;
    let mut cluster = Cluster::new(scenario, Options::default());
    cluster.run_for(seconds(4));
    // It is frozen, so it cannot object.
    cluster.inject(Fault::Device(1, DeviceFault::Lies, seconds(4)));
    cluster.inject(Fault::PauseTree(1, seconds(2)));
    cluster.run_for(seconds(2));
    protected(&cluster, 0, MAIL, Protection::Standalone);
    cluster.run_for(ms(500));
    let named: Vec<_> = (0..2).filter(|n| cluster.status(*n).is_some_and(|s| s.peer.fence_lied)).collect();
    assert_eq!(named, [0], "{}", cluster.timeline());
    let before = shots(&cluster);
    cluster.inject(Fault::Isolate(seconds(3)));
    cluster.run_for(ms(900));
    assert_eq!(shots(&cluster)[0], before[0], "a liar is not asked to shoot\n{}", cluster.timeline());
}

#[test]
fn s053_a_device_that_hangs_blocks_nothing_but_the_takeover_and_is_asked_again() {
    let mut cluster = served(pair());
    let faults = [Fault::Device(0, DeviceFault::Hangs, seconds(3)), Fault::PowerLoss(0, seconds(20))];
    after(&mut cluster, &faults, seconds(2));
    nobody(&cluster, MAIL);
    assert!(cluster.probes().count("timeout", "FenceQuery") > 0);
    cluster.run_for(seconds(5));
    owns(&cluster, 1, MAIL);
    proven_by(&cluster, 1, MAIL, "Fenced");
}

#[test]
fn s054_s057_a_success_after_the_timeout_is_no_proof_even_if_the_fenced_node_is_back_before_it() {
    for seed in 0..30 {
        let mut cluster = served_with(seed, pair());
        cluster.inject(Fault::Device(0, DeviceFault::Late, seconds(6)));
        cluster.inject(Fault::Device(1, DeviceFault::Late, seconds(6)));
        after(&mut cluster, &[Fault::Isolate(seconds(4))], seconds(25));
        let owner = cluster.actor(MAIL).expect("served");
        whole(&cluster, owner, MAIL);
        nothing_is_lost(&mut cluster);
    }
}

#[test]
fn s055_two_nodes_that_both_want_to_shoot_never_both_hit() {
    let mut hits = 0;
    for (seed, config) in (0..40).flat_map(|s| [(s, pair()), (s, mutual())]) {
        let mut cluster = served_with(seed, config);
        cluster.inject(Fault::Drift(0, 250));
        cluster.inject(Fault::Drift(1, -250));
        // I11 is asserted at each effect of a shot.
        after(&mut cluster, &[Fault::Isolate(seconds(3))], seconds(6));
        assert!(cluster.probes().count("device", "shot hit") <= 1, "{}", cluster.timeline());
        hits += cluster.probes().count("device", "shot hit");
    }
    assert_eq!(hits, 80, "each cut was decided by a shot");
}

#[test]
fn s056_a_cut_at_each_moment_of_a_clean_stop_ends_with_one_owner_and_nothing_lost() {
    for late in (0..600).step_by(5) {
        let mut cluster = served(pair());
        after(&mut cluster, &[Fault::Shutdown(0, seconds(4))], ms(late));
        after(&mut cluster, &[Fault::Isolate(seconds(4))], seconds(18));
        let owner = cluster.actor(MAIL).expect("served");
        whole(&cluster, owner, MAIL);
        nothing_is_lost(&mut cluster);
    }
}
