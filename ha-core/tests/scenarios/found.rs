//! What these scenarios and more seeds of the simulator showed, as directed tests named after it.

use crate::support::*;
use ha_core::config::{FenceConfig, GroupPolicy, TimingConfig};
use ha_core::engine::{Command, Question, RoleName};
use ha_core::sim::{Cluster, Cut, DeviceFault, Fault, Moment, Options, ResourceFault, Scenario, Trap};

/// Each was told, by a lie about the other's frozen process or by its true power loss, that the other is off, and each
/// jumped to the same epoch. Both would have gone on.
#[test]
fn two_boots_alone_with_one_epoch_leave_one_owner_when_they_meet() {
    for seed in 0..20 {
        let mut scenario = Scenario::quiet(seed, plain());
        scenario.lying = true;
        let mut cluster = Cluster::new(scenario, Options::default());
        cluster.run_for(seconds(4));
        cluster.inject(Fault::PowerLoss(1, seconds(2)));
        cluster.inject(Fault::PowerLoss(0, ms(6500)));
        cluster.run_for(seconds(6));
        owns(&cluster, 1, MAIL);
        cluster.inject(Fault::Device(1, DeviceFault::Lies, seconds(3)));
        cluster.inject(Fault::PauseTree(1, seconds(4)));
        cluster.run_for(ms(3900));
        assert_eq!(cluster.actor(MAIL), Some(0), "{}", cluster.timeline());
        let epochs = [0, 1].map(|n| status(&cluster, n, MAIL).map(|g| g.epoch));
        assert_eq!(epochs[0], epochs[1], "{}", cluster.timeline());
        cluster.run_for(seconds(3));
        owns(&cluster, 0, MAIL);
    }
}

/// The new life owned already, and its word came behind its identity on a narrow line.
#[test]
fn a_new_life_that_has_not_said_what_it_owns_is_no_proof_that_nobody_does() {
    for late in 0..60 {
        let mut scenario = Scenario::quiet(late, plain());
        scenario.lying = true;
        let mut cluster = Cluster::new(scenario, Options::default());
        cluster.run_for(seconds(4));
        cluster.inject(Fault::CutLink(0, Cut::Both, seconds(20)));
        cluster.inject(Fault::CutLink(1, Cut::Both, seconds(20)));
        cluster.inject(Fault::Device(1, DeviceFault::Lies, seconds(8)));
        cluster.inject(Fault::PauseTree(1, ms(5000 + late * 7)));
        cluster.inject(Fault::PowerLoss(0, seconds(1)));
        cluster.run_for(seconds(4));
        owns(&cluster, 0, MAIL);
        cluster.run_for(seconds(4));
        owns(&cluster, 0, MAIL);
    }
}

/// A copy that diverged and a peer whose beats do not come: two questions took turns, thousands of times a second.
#[test]
fn a_diverged_copy_without_its_peers_beats_asks_one_question() {
    let mut cluster = served(pair());
    after(&mut cluster, &[Fault::CutMirror(Cut::Both, seconds(3))], seconds(2));
    after(&mut cluster, &[Fault::PowerLoss(0, seconds(12))], seconds(5));
    use_this_copy(&mut cluster, 1);
    cluster.run_for(seconds(14));
    asks(&cluster, 0, MAIL, Question::Diverged);
    cluster.inject(Fault::CutBeats(Cut::Both, seconds(10)));
    after(&mut cluster, &[Fault::KillEngine(0)], seconds(6));
    asks(&cluster, 0, MAIL, Question::Diverged);
}

/// Asked twice while nothing reached it, it was taken for mute and shot in the instant of its return.
#[test]
fn a_peer_that_could_not_hear_the_question_is_not_shot_when_it_can() {
    let mut config = pair();
    config.timing.ask_deadline = ms(150);
    for begin in (100..420).step_by(20) {
        for span in (240..390).step_by(15) {
            let mut cluster = served(config.clone());
            cluster.inject(Fault::CutMirror(Cut::Both, seconds(3)));
            cluster.run_for(ms(begin));
            // Shorter than the serial line's deadline: nobody is dead.
            cluster.inject(Fault::Isolate(ms(span)));
            cluster.run_for(seconds(1));
            owns(&cluster, 0, MAIL);
            nobody_shot(&cluster);
        }
    }
}

/// A disk was replaced, then the other one, and the last node with a copy was forced to serve by an operator: it could not
/// know of the epochs that the first replacement had skipped, and the other copy took nothing from it for ever.
#[test]
fn an_owner_below_the_epoch_that_the_other_copy_knows_is_granted_anew() {
    let mut cluster = served(pair());
    after(&mut cluster, &[Fault::ReplaceDisk(1, seconds(1))], seconds(8));
    // The jump is written down with the next grant.
    after(&mut cluster, &[Fault::Switchover(0)], seconds(3));
    whole(&cluster, 1, MAIL);
    after(&mut cluster, &[Fault::PowerLoss(1, seconds(20)), Fault::ReplaceDisk(0, seconds(2))], seconds(8));
    asks(&cluster, 0, MAIL, Question::PeerAbsent);
    cluster.command(0, Command::ConfirmPeerOff { group: MAIL, incarnation: None });
    use_this_copy(&mut cluster, 0);
    cluster.run_for(seconds(2));
    owns(&cluster, 0, MAIL);
    let forced = status(&cluster, 0, MAIL).map(|g| g.epoch);
    cluster.run_for(seconds(20));
    sound(&cluster);
    let again = status(&cluster, 0, MAIL).map(|g| g.epoch);
    assert!(again > forced, "{forced:?} {again:?}\n{}", cluster.timeline());
    let question = status(&cluster, 1, MAIL).and_then(|g| g.question);
    let protection = status(&cluster, 0, MAIL).map(|g| g.protection);
    let settled =
        protection == Some(ha_core::engine::Protection::Full) || question == Some(Question::Diverged);
    assert!(settled, "{}", cluster.timeline());
}

/// It was frozen while the group drained for a switchover, and its target lost its power meanwhile: as it woke, its word was
/// still believed, and the group was released to nobody.
#[test]
fn an_owner_that_wakes_in_a_switchover_listens_before_it_stops() {
    let mut config = pair();
    config.groups[0].policy.drain = ms(300);
    for seed in 0..20 {
        let mut cluster = served_with(seed, config.clone());
        cluster.inject(Fault::Resource(0, 0, 1, ResourceFault::DrainHangs));
        cluster.inject(Fault::Switchover(0));
        cluster.run_for(ms(200));
        cluster.inject(Fault::PauseTree(0, ms(4300)));
        cluster.inject(Fault::Device(0, DeviceFault::Fails, seconds(6)));
        // Its last beats wait in the sockets of the frozen node.
        cluster.run_for(ms(40 + seed * 5));
        cluster.inject(Fault::PowerLoss(1, seconds(12)));
        cluster.run_for(seconds(9));
        owns(&cluster, 0, MAIL);
    }
}

/// Both waited for the group; everything was cut as one promised it to the other, and mended a moment after both were dead
/// for each other. The first had shot; its word that it now owned the group let the second shoot at once.
#[test]
fn words_that_come_after_the_death_do_not_let_the_second_shoot_outside_of_its_slot() {
    let mut config = plain().fence(FenceConfig::new(ms(400)));
    for link in &mut config.links {
        (link.interval, link.suspect, link.dead) = (ms(100), ms(250), ms(500));
    }
    config.timing = TimingConfig::for_links(&config.links, config.fence.as_ref());
    for seed in 0..30 {
        for span in (480..620).step_by(20) {
            let mut scenario = Scenario::quiet(seed, config.clone());
            let fault = Fault::Isolate(ms(span));
            scenario.traps =
                vec![Trap { after: seconds(4), moment: Moment::Persisting, delay: ms(2), fault }];
            let mut cluster = Cluster::new(scenario, Options::default());
            cluster.run_for(seconds(3));
            cluster.inject(Fault::TotalPowerLoss(seconds(1), seconds(1)));
            cluster.run_for(seconds(6));
            sound(&cluster);
        }
    }
}

/// Seeds that broke an invariant once; what each showed is in docs/SAFETY.md.
#[test]
fn seeds_that_once_broke_an_invariant_hold_them_all() {
    let seeds = [
        20_004_672, 20_008_214, 20_015_998, 20_016_850, 20_018_496, 20_054_036, 20_062_324, 20_069_438,
        20_073_376, 40_001_346, 40_007_211, 40_010_340, 40_011_657, 40_025_155, 40_028_824, 50_006_570,
        51_008_595, 51_008_999, 70_010_590, 70_019_670, 71_007_473, 71_013_277, 71_031_370, 73_024_181,
        80_026_820, 80_044_417, 81_040_349, 84_018_274, 85_058_341,
    ];
    for seed in seeds {
        let report = ha_core::sim::run(seed, &Options::default());
        assert!(report.failure.is_none(), "{}", report.failure.unwrap());
    }
}

/// The line went dead between an owner's stop and its word of it. To the other one it is an owner still, without a reason
/// to shoot: that one does not wait for its slot, so this one does.
#[test]
fn who_gave_a_group_up_unheard_and_the_other_do_not_both_shoot() {
    for late in 0..150 {
        let mut cluster = served_with(late, plain());
        cluster.inject(Fault::Switchover(0));
        cluster.run_for(ms(20 + late % 60 * 4));
        cluster.inject(Fault::Isolate(ms(400 + late * 3)));
        cluster.run_for(seconds(6));
        sound(&cluster);
    }
}

/// The owner of a group with a mirror and of one without was alone, by its last word; then its copy had caught up, and it
/// was writing that both belong to the group again. It had a reason to shoot that the other did not know of.
#[test]
fn who_knows_the_owner_to_be_alone_keeps_its_slot_for_another_group_s_sake() {
    let mut config = pair();
    config.groups.push(plain().groups.remove(0));
    config.groups[1].name = "web".into();
    for late in 0..120 {
        let mut cluster = served_with(late, config.clone());
        cluster.inject(Fault::CutMirror(Cut::Both, seconds(2)));
        cluster.run_for(ms(1900));
        cluster.inject(Fault::SlowDisk(0, ms(600), seconds(3)));
        cluster.run_for(ms(100 + late * 5));
        cluster.inject(Fault::Isolate(seconds(1)));
        cluster.run_for(seconds(4));
        sound(&cluster);
    }
}

/// A standby woke, found the release of a life that was over in its sockets, and acted on it: the next life owned already,
/// told falsely that the standby is off.
#[test]
fn what_waited_in_the_sockets_of_a_frozen_standby_is_no_proof_when_it_wakes() {
    for late in 0..30 {
        let mut scenario = Scenario::quiet(late, plain());
        scenario.lying = true;
        let mut cluster = Cluster::new(scenario, Options::default());
        cluster.run_for(seconds(4));
        cluster.inject(Fault::Device(1, DeviceFault::Lies, seconds(9)));
        cluster.inject(Fault::KillGuardian(0));
        cluster.inject(Fault::PauseTree(1, ms(6000 + late * 7)));
        cluster.run_for(ms(5500));
        owns(&cluster, 0, MAIL);
        cluster.run_for(seconds(3));
        owns(&cluster, 0, MAIL);
    }
}

/// Without a lie the same word counts, a little later.
#[test]
fn a_frozen_standby_takes_over_what_was_released_to_it_when_it_has_listened() {
    for seed in 0..10 {
        let mut cluster = served_with(seed, plain());
        cluster.inject(Fault::KillGuardian(0));
        cluster.inject(Fault::PauseTree(1, seconds(2)));
        cluster.run_for(ms(100));
        cluster.inject(Fault::PowerLoss(0, seconds(60)));
        cluster.run_for(seconds(4));
        owns(&cluster, 1, MAIL);
    }
}

/// A life that found leftovers put its own address up, and was frozen and lied about: its address ended with its
/// permission, as everybody's does.
#[test]
fn the_address_of_a_life_that_found_leftovers_ends_with_its_permission() {
    for seed in 0..10 {
        let mut scenario = Scenario::quiet(seed, plain());
        scenario.lying = true;
        let mut cluster = Cluster::new(scenario, Options::default());
        cluster.run_for(seconds(4));
        cluster.inject(Fault::PauseTree(1, seconds(3)));
        cluster.inject(Fault::UndoFails(0));
        after(&mut cluster, &[Fault::KillEngine(0)], seconds(9));
        owns(&cluster, 0, MAIL);
        cluster.inject(Fault::Device(0, DeviceFault::Lies, seconds(4)));
        cluster.inject(Fault::PauseTree(0, seconds(3)));
        cluster.run_for(ms(2900));
        assert_eq!(cluster.actor(MAIL), Some(1), "{}", cluster.timeline());
        cluster.run_for(seconds(3));
        owns(&cluster, 1, MAIL);
    }
}

/// Blank after the loss of its disk, the owner had a lower epoch than the standby once had: its release was taken for an old
/// one, so that both waited, and when everything was cut, both shot at once.
#[test]
fn the_release_of_an_owner_with_a_lower_epoch_than_ones_own_counts() {
    for seed in 0..10 {
        let mut cluster = served_with(seed, plain());
        cluster.inject(Fault::PowerLoss(0, seconds(7)));
        after(&mut cluster, &[Fault::PowerLoss(1, seconds(1))], seconds(5));
        owns(&cluster, 1, MAIL);
        cluster.inject(Fault::ReplaceDisk(0, seconds(2)));
        after(&mut cluster, &[Fault::PowerLoss(1, seconds(6))], seconds(10));
        owns(&cluster, 0, MAIL);
        let granted = |n| cluster.record(n).map(|r| r.group(MAIL).granted);
        assert!(granted(0) < granted(1), "{}", cluster.timeline());
        // Less than the owner waits for a successor.
        after(&mut cluster, &[Fault::Switchover(0)], ms(800));
        owns(&cluster, 1, MAIL);
    }
}

/// The follower was released and its lead still stopping when everything was cut: the standby, which could not start the one
/// without the other, took their owner for one without a reason to shoot.
#[test]
fn an_owner_that_gave_a_follower_up_and_its_standby_do_not_both_shoot() {
    for seed in 0..10 {
        let mut config = plain();
        let mut web = group("web", 0);
        web.policy = GroupPolicy::default().with_lead(Some(MAIL));
        config.groups.push(web);
        config.groups[0].resources[1].stop_timeout = seconds(4);
        let mut cluster = served_with(seed, config);
        owns(&cluster, 0, WEB);
        cluster.inject(Fault::Resource(0, 0, 1, ResourceFault::StopHangs));
        cluster.inject(Fault::Switchover(0));
        for _ in 0..200 {
            cluster.run_for(ms(if role(&cluster, 0, WEB) == Some(RoleName::Standby) { 0 } else { 5 }));
        }
        assert_eq!(role(&cluster, 0, MAIL), Some(RoleName::Stopping), "{}", cluster.timeline());
        // Both weights are known by then.
        cluster.run_for(ms(200));
        after(&mut cluster, &[Fault::Isolate(seconds(8))], seconds(3));
        let shots = shots(&cluster);
        assert_eq!(shots[0] + shots[1], 1, "{}", cluster.timeline());
    }
}
