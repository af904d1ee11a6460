//! A pair with a third party: what its word, its silence and its amnesia do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step of a test is a failed test"
)]

use ha_core::config::{
    ArbiterConfig, ArbiterKind, Config, FenceConfig, GroupConfig, LinkConfig, ResourceConfig, TimingConfig,
    WatchdogConfig,
};
use ha_core::engine::{Command, EventKind, Protection, Question, RoleName};
use ha_core::sim::{Cluster, Cut, Fault, Options, Scenario, What, run_scenario};
use ha_core::{ExclusionProof, Generation, GroupId, NodeId, SetRecord, StopProof};
use std::time::Duration;

const GROUP: GroupId = GroupId(0);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[derive(Clone, Copy, PartialEq)]
enum Data {
    None,
    Mirrored,
    Shared,
}

fn config(data: Data, trusts: bool) -> Config {
    let mut group = GroupConfig::new("mail")
        .preferring(NodeId(0))
        .then(ResourceConfig::new("address"))
        .then(ResourceConfig::new("service"));
    group.mirrored = data == Data::Mirrored;
    group.shared = data == Data::Shared;
    let mut timing = TimingConfig::default();
    timing.token_validity = ms(120);
    timing.feed_limit = ms(700);
    timing.ask_deadline = ms(400);
    timing.confirm_deadline = ms(400);
    let lease = ArbiterConfig::new(ArbiterKind::ThirdParty, ms(1000)).with_trusts_host_pauses(trusts);
    Config::pair("named", "a", "b")
        .link(LinkConfig::datagram("net0", ms(50), ms(300)))
        .link(LinkConfig::serial("tty", ms(100), ms(500), 115_200))
        .group(group)
        .timing(timing)
        .arbiter(lease)
}

fn cluster(seed: u64, config: Config) -> Cluster {
    let mut cluster = Cluster::new(Scenario::quiet(seed, config), Options::default());
    cluster.run_for(seconds(5));
    sound(&cluster);
    assert_eq!(role(&cluster, 0), Some(RoleName::Active), "{}", cluster.timeline());
    cluster
}

fn role(cluster: &Cluster, node: usize) -> Option<RoleName> {
    cluster.status(node).map(|s| s.groups[0].role)
}

fn question(cluster: &Cluster, node: usize) -> Option<Question> {
    cluster.status(node).and_then(|s| s.groups[0].question)
}

fn sound(cluster: &Cluster) {
    assert!(cluster.broken().is_none(), "{:?}\n{}", cluster.broken(), cluster.timeline());
}

fn happened(cluster: &Cluster, what: impl Fn(&EventKind) -> bool) -> bool {
    cluster.timeline().last(2000).any(|e| matches!(&e.what, What::Engine(kind) if what(kind)))
}

/// Somebody serves all the time.
fn served_for(cluster: &mut Cluster, span: Duration) {
    let end = cluster.elapsed() + span;
    while cluster.elapsed() < end {
        cluster.run_for(ms(5));
        sound(cluster);
        assert!(cluster.actor(GROUP).is_some(), "{:?}\n{}", cluster.elapsed(), cluster.timeline());
    }
}

#[test]
fn a_healthy_pair_goes_on_without_its_arbiter() {
    for data in [Data::None, Data::Mirrored, Data::Shared] {
        let mut cluster = cluster(1, config(data, true).watchdog(WatchdogConfig::new(seconds(2))));
        cluster.inject(Fault::ArbiterDown(seconds(25)));
        served_for(&mut cluster, seconds(40));
        assert_eq!(cluster.actor(GROUP), Some(0));
        assert!(cluster.record(1).is_some_and(|r| !r.group(GROUP).promised), "kept for ever");
    }
}

#[test]
fn an_owner_that_alone_is_cut_from_the_arbiter_goes_on_by_promise() {
    let mut cluster = cluster(2, config(Data::None, true));
    cluster.inject(Fault::CutArbiter(0, seconds(20)));
    served_for(&mut cluster, seconds(15));
    assert!(cluster.record(1).is_some_and(|r| r.group(GROUP).promised));
    // Then it loses its peer too: the promise ends, and the taker waits for that.
    cluster.inject(Fault::Isolate(seconds(20)));
    cluster.run_for(seconds(10));
    sound(&cluster);
    assert_eq!(cluster.actor(GROUP), Some(1), "{}", cluster.timeline());
    assert!(happened(&cluster, |e| matches!(
        e,
        EventKind::Granted { proof: StopProof::LeaseExpired { .. }, .. }
    )));
}

#[test]
fn a_promiser_that_restarts_keeps_what_it_promised() {
    for late in (0..900).step_by(60) {
        let mut cluster = cluster(3, config(Data::None, true));
        cluster.inject(Fault::CutArbiter(0, seconds(30)));
        cluster.run_for(seconds(6));
        cluster.inject(Fault::KillEngine(1));
        cluster.run_for(ms(late));
        cluster.inject(Fault::Isolate(seconds(20)));
        cluster.run_for(seconds(12));
        sound(&cluster);
        assert_eq!(cluster.actor(GROUP), Some(1), "{late} ms\n{}", cluster.timeline());
    }
}

#[test]
fn the_swap_excludes_a_lost_standby_without_a_shot() {
    let mut cluster = cluster(4, config(Data::Mirrored, true).fence(FenceConfig::new(ms(200))));
    cluster.inject(Fault::PowerLoss(1, seconds(60)));
    served_for(&mut cluster, seconds(5));
    assert!(happened(&cluster, |e| matches!(e, EventKind::Alone { proof: ExclusionProof::ThirdParty, .. })));
    assert!(!happened(&cluster, |e| matches!(e, EventKind::Shoot)), "{}", cluster.timeline());
    assert_eq!(cluster.status(0).map(|s| s.groups[0].protection), Some(Protection::Standalone));
}

#[test]
fn a_dead_owner_is_followed_after_its_lease_only_where_that_proves_its_end() {
    for (data, trusts, watchdog, follows) in [
        (Data::None, true, false, true),
        (Data::Mirrored, true, false, true),
        (Data::Shared, true, true, true),
        (Data::None, false, true, false),
        (Data::Shared, true, false, false),
        (Data::Shared, false, true, false),
    ] {
        let mut config = config(data, trusts);
        if watchdog {
            config = config.watchdog(WatchdogConfig::new(seconds(2)));
        }
        let mut cluster = cluster(5, config);
        cluster.inject(Fault::PowerLoss(0, seconds(60)));
        cluster.run_for(seconds(12));
        sound(&cluster);
        assert_eq!(cluster.actor(GROUP), follows.then_some(1), "{}", cluster.timeline());
        assert_eq!(question(&cluster, 1), (!follows).then_some(Question::NoStopProof));
    }
}

#[test]
fn an_arbiter_that_forgot_is_a_question_and_stops_nobody() {
    let mut cluster = cluster(6, config(Data::Mirrored, true));
    cluster.inject(Fault::ArbiterForgets(200));
    served_for(&mut cluster, seconds(10));
    assert_eq!(question(&cluster, 0), Some(Question::ArbiterForgot), "{}", cluster.timeline());
    assert_eq!(cluster.actor(GROUP), Some(0));
    cluster.command(0, Command::TrustArbiter(GROUP));
    served_for(&mut cluster, seconds(5));
    assert_eq!([question(&cluster, 0), question(&cluster, 1)], [None; 2], "{}", cluster.timeline());
    cluster.inject(Fault::PowerLoss(0, seconds(60)));
    cluster.run_for(seconds(10));
    sound(&cluster);
    assert_eq!(cluster.actor(GROUP), Some(1), "{}", cluster.timeline());
}

#[test]
fn nothing_is_granted_while_the_arbiter_is_silent() {
    let mut cluster = cluster(7, config(Data::None, true).fence(FenceConfig::new(ms(200))));
    cluster.inject(Fault::ArbiterDown(seconds(10)));
    cluster.run_for(seconds(1));
    cluster.inject(Fault::PowerLoss(0, seconds(60)));
    cluster.run_for(seconds(8));
    sound(&cluster);
    assert_eq!(cluster.actor(GROUP), None);
    assert_eq!(question(&cluster, 1), Some(Question::ArbiterSilent), "{}", cluster.timeline());
    cluster.run_for(seconds(4));
    sound(&cluster);
    assert_eq!(cluster.actor(GROUP), Some(1), "{}", cluster.timeline());
}

#[test]
fn answers_that_are_lost_after_their_effect_leave_one_owner_and_full_protection() {
    for seed in 0..10 {
        let mut cluster =
            Cluster::new(Scenario::quiet(seed, config(Data::Mirrored, true)), Options::default());
        cluster.inject(Fault::ArbiterMute(seconds(12)));
        cluster.run_for(seconds(6));
        cluster.inject(Fault::PowerLoss(0, seconds(4)));
        cluster.run_for(seconds(25));
        sound(&cluster);
        let whole =
            (0..2).any(|n| cluster.status(n).is_some_and(|s| s.groups[0].protection == Protection::Full));
        assert!(whole, "seed {seed}\n{}", cluster.timeline());
    }
}

#[test]
fn a_switchover_and_a_shutdown_pass_through_the_arbiter() {
    for data in [Data::None, Data::Mirrored, Data::Shared] {
        let mut cluster = cluster(8, config(data, false).fence(FenceConfig::new(ms(200))));
        cluster.inject(Fault::Switchover(0));
        cluster.run_for(seconds(3));
        sound(&cluster);
        assert_eq!(cluster.actor(GROUP), Some(1), "{}", cluster.timeline());
        cluster.inject(Fault::Shutdown(1, seconds(30)));
        cluster.run_for(seconds(3));
        sound(&cluster);
        assert_eq!(cluster.actor(GROUP), Some(0), "{}", cluster.timeline());
    }
}

/// Seeds that once broke an invariant, by what was wrong.
fn hold(seeds: &[u64]) {
    for seed in seeds {
        let report = run_scenario(Scenario::arbitrated(*seed), &Options::default());
        assert!(report.failure.is_none(), "{}", report.failure.unwrap());
    }
}

/// A reading that came between a claim and its swap brought a newer revision: the swap was made on it, although the
/// claim had been judged on the old one, and took over a copy that was no longer listed.
#[test]
fn a_claim_is_swapped_only_on_the_revision_it_was_judged_on() {
    hold(&[1_000_778]);
}

#[test]
fn questions_of_the_data_and_of_the_arbiter_do_not_take_turns() {
    hold(&[1_000_074, 1_000_363, 1_001_119, 1_001_813]);
}

/// A node with a replaced disk claims at a blank arbiter: it has no installation of its own to write down.
#[test]
fn a_node_without_an_installation_takes_its_peers() {
    hold(&[1_000_420]);
}

#[test]
fn a_grant_that_only_a_reading_showed_counts_its_lease() {
    hold(&[1_000_658]);
}

/// The taker waited for the dead owner's address, restarted, and went on at once.
#[test]
fn a_taker_that_restarts_waits_for_the_address_again() {
    hold(&[1_000_374, 1_001_478]);
}

/// Its kernel took it, though whoever renews it did not run: killed seconds later, the owner leaves no address behind (I8).
#[test]
fn the_address_of_a_stopped_owner_is_gone_when_its_group_is_taken_over() {
    let mut config = config(Data::None, true);
    config.groups[0].address_lifetime = ms(700);
    for late in 0..60 {
        let mut cluster = cluster(12, config.clone());
        cluster.inject(Fault::PauseTree(0, seconds(10)));
        // From before the taker's start to after it: that is when two addresses are noticed.
        cluster.run_for(ms(1500 + late * 100));
        cluster.inject(Fault::KillTree(0, seconds(3)));
        cluster.run_for(ms(1500));
        sound(&cluster);
    }
}

/// A promise must be durable before it is said: a peer whose record cannot be written is none that is well (rule 13).
#[test]
fn an_owner_whose_peer_cannot_write_its_promise_down_is_suspended_without_an_arbiter() {
    let mut cluster = cluster(13, config(Data::None, true));
    cluster.inject(Fault::DiskStalls(1, seconds(4)));
    cluster.inject(Fault::ArbiterDown(seconds(6)));
    cluster.run_for(seconds(10));
    sound(&cluster);
    assert!(happened(&cluster, |e| matches!(e, EventKind::Role { role: RoleName::Suspended, .. })));
    assert_eq!(cluster.actor(GROUP), Some(0), "{}", cluster.timeline());
}

#[test]
fn what_seven_seeds_showed_is_mended() {
    hold(&[32_007_185, 32_009_467, 33_000_443, 33_007_469, 33_008_102, 34_007_753, 36_001_628]);
}

/// During a change of the lease, or by mistake: the owner's lease outlives what the taker waits for.
#[test]
fn of_two_leases_the_shorter_one_is_no_proof_and_the_longer_one_is() {
    let with_lease = |lease| {
        let mut config = config(Data::None, true);
        config.arbiter = Some(
            ArbiterConfig::new(ArbiterKind::ThirdParty, lease)
                .with_renew_interval(ms(200))
                .with_answer_timeout(ms(100))
                .with_trusts_host_pauses(true),
        );
        config
    };
    for (owners, takers, follows) in [(4000, 1000, false), (1000, 4000, true), (1000, 1000, true)] {
        for seed in 0..20 {
            let mut scenario = Scenario::quiet(seed, with_lease(ms(owners)));
            scenario.configs[1] = std::sync::Arc::new(with_lease(ms(takers)));
            let mut cluster = Cluster::new(scenario, Options::default());
            cluster.run_for(seconds(5));
            assert_eq!(role(&cluster, 0), Some(RoleName::Active), "{}", cluster.timeline());
            cluster.inject(Fault::CutArbiter(0, seconds(20)));
            cluster.inject(Fault::Isolate(seconds(20)));
            cluster.run_for(seconds(9));
            sound(&cluster);
            let took = role(&cluster, 1) == Some(RoleName::Active);
            assert_eq!(took, follows, "{}", cluster.timeline());
            assert_eq!(
                question(&cluster, 1) == Some(Question::TimingMismatch),
                !follows,
                "{}",
                cluster.timeline()
            );
        }
    }
}

/// The taker lost its disk, and with it the knowledge that it had taken over: the former owner, cut off from the arbiter, had
/// its consent and went on without what it had acknowledged.
#[test]
fn a_peer_that_lost_its_store_consents_to_and_confirms_nothing() {
    for seed in 0..10 {
        let mut cluster = cluster(seed, config(Data::Mirrored, true));
        let owner = cluster.actor(GROUP).unwrap();
        cluster.inject(Fault::CutArbiter(owner, seconds(30)));
        cluster.inject(Fault::Isolate(seconds(8)));
        cluster.run_for(seconds(6));
        assert_eq!(cluster.actor(GROUP), Some(1 - owner), "{}", cluster.timeline());
        cluster.inject(Fault::ReplaceDisk(1 - owner, seconds(3)));
        cluster.inject(Fault::CutMirror(Cut::Both, seconds(30)));
        cluster.run_for(seconds(10));
        sound(&cluster);
        assert_eq!(cluster.actor(GROUP), None, "{}", cluster.timeline());
    }
}

/// The same with the mirror's path well: the suspended owner streamed its old epoch into the blank copy of the node that had
/// been granted the next one.
#[test]
fn a_suspended_owner_streams_nothing_to_a_copy_that_forgot() {
    for seed in 0..10 {
        let mut cluster = cluster(seed, config(Data::Mirrored, true));
        let owner = cluster.actor(GROUP).unwrap();
        cluster.inject(Fault::CutArbiter(owner, seconds(30)));
        cluster.inject(Fault::Isolate(seconds(8)));
        cluster.run_for(seconds(6));
        assert_eq!(cluster.actor(GROUP), Some(1 - owner), "{}", cluster.timeline());
        cluster.inject(Fault::ReplaceDisk(1 - owner, seconds(3)));
        cluster.run_for(seconds(10));
        sound(&cluster);
        assert_eq!(cluster.actor(GROUP), None, "{}", cluster.timeline());
        assert!(cluster.probes().count("mirror", "nothing to a blank copy without a permission") > 0);
    }
}

/// The owner went on asking about the silence after the arbiter had answered that it forgot: nobody was told what to do.
#[test]
fn an_arbiter_that_was_silent_and_forgot_is_a_question_about_what_it_forgot() {
    let mut cluster = cluster(8, config(Data::Mirrored, true));
    cluster.inject(Fault::CutArbiter(0, seconds(10)));
    cluster.run_for(seconds(1));
    cluster.inject(Fault::ArbiterForgets(200));
    cluster.run_for(seconds(1));
    cluster.inject(Fault::Isolate(seconds(3)));
    cluster.run_for(seconds(5));
    assert_eq!(role(&cluster, 0), Some(RoleName::Active), "{}", cluster.timeline());
    assert_eq!(question(&cluster, 0), Some(Question::ArbiterSilent), "{}", cluster.timeline());
    cluster.run_for(seconds(5));
    sound(&cluster);
    assert_eq!(question(&cluster, 0), Some(Question::ArbiterForgot), "{}", cluster.timeline());
    cluster.command(0, Command::TrustArbiter(GROUP));
    cluster.run_for(seconds(3));
    sound(&cluster);
    assert_eq!(cluster.actor(GROUP), Some(0), "{}", cluster.timeline());
    assert_eq!(question(&cluster, 0), None, "{}", cluster.timeline());
}

/// An owner that does not bind itself by its lease goes on after its end.
#[test]
fn the_lease_of_an_owner_that_it_does_not_bind_proves_nothing() {
    for seed in 0..20 {
        let mut scenario = Scenario::quiet(seed, config(Data::None, false));
        scenario.configs[1] = std::sync::Arc::new(config(Data::None, true));
        let mut cluster = Cluster::new(scenario, Options::default());
        cluster.run_for(seconds(5));
        assert_eq!(role(&cluster, 0), Some(RoleName::Active), "{}", cluster.timeline());
        cluster.inject(Fault::CutArbiter(0, seconds(20)));
        cluster.inject(Fault::Isolate(seconds(20)));
        cluster.run_for(seconds(9));
        sound(&cluster);
        assert_eq!(question(&cluster, 1), Some(Question::TimingMismatch), "{}", cluster.timeline());
        // What needs no clock still moves it.
        cluster.run_for(seconds(14));
        cluster.command(0, Command::Switchover(GROUP));
        cluster.run_for(seconds(4));
        sound(&cluster);
        assert_eq!(role(&cluster, 1), Some(RoleName::Active), "{}", cluster.timeline());
    }
}

/// Restored from yesterday's copy, it named an owner and a member of before; the node that was restarted meanwhile knew
/// better once, and served what it had.
#[test]
fn a_restarted_node_remembers_what_the_arbiter_has_forgotten() {
    for trusts in [false, true] {
        let mut cluster = cluster(9, config(Data::Mirrored, trusts).fence(FenceConfig::new(ms(200))));
        cluster.inject(Fault::Switchover(0));
        cluster.run_for(seconds(3));
        assert_eq!(cluster.actor(GROUP), Some(1), "{}", cluster.timeline());
        // The new owner goes on alone; the other one hears of it, and is restarted.
        cluster.inject(Fault::PowerLoss(0, seconds(2)));
        cluster.run_for(seconds(1));
        cluster.inject(Fault::CutMirror(Cut::Both, seconds(20)));
        cluster.run_for(seconds(4));
        cluster.inject(Fault::CutArbiter(0, seconds(20)));
        cluster.inject(Fault::PowerLoss(0, seconds(2)));
        cluster.inject(Fault::ReplaceDisk(1, seconds(1)));
        cluster.run_for(seconds(10));
        cluster.inject(Fault::ArbiterForgets(3));
        cluster.run_for(seconds(2));
        assert_eq!(question(&cluster, 1), Some(Question::ArbiterForgot), "{}", cluster.timeline());
        cluster.inject(Fault::PowerLoss(1, seconds(60)));
        cluster.run_for(seconds(20));
        sound(&cluster);
        assert_eq!(cluster.actor(GROUP), None, "{}", cluster.timeline());
        assert_eq!(question(&cluster, 0), Some(Question::ArbiterForgot), "{}", cluster.timeline());
    }
}

/// The swap that excluded the copy was forgotten with everything else: its own record still says that it is a member.
#[test]
fn an_arbiter_written_anew_makes_no_copy_current_that_it_had_excluded() {
    let mut cluster = cluster(11, config(Data::Mirrored, true).fence(FenceConfig::new(ms(200))));
    cluster.inject(Fault::CutMirror(Cut::Both, seconds(60)));
    cluster.run_for(seconds(2));
    assert_eq!(cluster.record(1).unwrap().group(GROUP).set, SetRecord::Both { generation: Generation(2) });
    cluster.inject(Fault::ArbiterForgets(200));
    cluster.run_for(seconds(3));
    assert_eq!(question(&cluster, 0), Some(Question::ArbiterForgot), "{}", cluster.timeline());
    cluster.inject(Fault::PowerLoss(0, seconds(60)));
    cluster.run_for(seconds(3));
    assert_eq!(question(&cluster, 1), Some(Question::ArbiterForgot), "{}", cluster.timeline());
    cluster.command(1, Command::TrustArbiter(GROUP));
    cluster.run_for(seconds(10));
    sound(&cluster);
    assert_eq!(cluster.actor(GROUP), None, "{}", cluster.timeline());
    assert_eq!(question(&cluster, 1), Some(Question::NotCurrent), "{}", cluster.timeline());
}

/// The operator's word was about the peer of then. The arbiter named a life that began later.
#[test]
fn an_operators_word_does_not_cover_what_the_arbiter_granted_after_it() {
    let mut cluster = cluster(10, config(Data::Mirrored, false));
    cluster.inject(Fault::Switchover(0));
    cluster.run_for(seconds(3));
    assert_eq!(cluster.actor(GROUP), Some(1), "{}", cluster.timeline());
    cluster.inject(Fault::ReplaceDisk(0, ms(500)));
    cluster.inject(Fault::CutMirror(Cut::Both, seconds(60)));
    cluster.run_for(seconds(4));
    cluster.inject(Fault::PowerLoss(1, seconds(12)));
    cluster.run_for(seconds(10));
    assert_eq!(question(&cluster, 0), Some(Question::NotCurrent), "{}", cluster.timeline());
    cluster.inject(Fault::CutArbiter(0, seconds(8)));
    cluster.run_for(ms(200));
    assert_eq!(question(&cluster, 0), Some(Question::NotCurrent), "{}", cluster.timeline());
    let incarnation = cluster.status(0).and_then(|s| s.peer.incarnation);
    cluster.command(0, Command::ForceCurrent { group: GROUP, incarnation });
    // It is powered on in spite of the answer, and nothing tells the other of it but the arbiter.
    cluster.inject(Fault::Isolate(seconds(20)));
    cluster.run_for(seconds(6));
    assert_eq!(cluster.actor(GROUP), Some(1), "{}", cluster.timeline());
    cluster.run_for(seconds(10));
    sound(&cluster);
    assert_eq!(cluster.actor(GROUP), Some(1), "{}", cluster.timeline());
}
