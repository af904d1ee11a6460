//! 74 to 80: data.

use crate::support::*;
use ha_core::engine::{Command, Protection, Question};
use ha_core::sim::{Cluster, Cut, Fault};

#[test]
fn s074_an_owner_lost_with_writes_under_way_has_acknowledged_none_that_the_standby_lacks() {
    for late in 0..100 {
        let mut cluster = served_with(late, pair());
        cluster.run_for(ms(late * 7));
        // I3 is asserted at the promotion and at every tail that is given up.
        after(&mut cluster, &[Fault::PowerLoss(0, seconds(3))], seconds(14));
        whole(&cluster, 1, MAIL);
        nothing_is_lost(&mut cluster);
    }
}

/// The standby was excluded, then the only current copy is lost: refused, then an operator decides.
fn behind() -> Cluster {
    let mut cluster = served(pair());
    after(&mut cluster, &[Fault::CutMirror(Cut::Both, seconds(3))], seconds(2));
    protected(&cluster, 0, MAIL, Protection::Standalone);
    cluster
}

#[test]
fn s075_a_copy_that_is_behind_is_refused_until_the_current_one_returns() {
    let mut cluster = behind();
    after(&mut cluster, &[Fault::PowerLoss(0, seconds(8))], seconds(6));
    nobody(&cluster, MAIL);
    asks(&cluster, 1, MAIL, Question::NotCurrent);
    cluster.run_for(seconds(12));
    whole(&cluster, 0, MAIL);
    nothing_is_lost(&mut cluster);
}

#[test]
fn s075_an_operator_may_override_and_is_served_from_the_copy_that_is_behind() {
    let mut cluster = behind();
    after(&mut cluster, &[Fault::PowerLoss(0, seconds(60))], seconds(6));
    asks(&cluster, 1, MAIL, Question::NotCurrent);
    use_this_copy(&mut cluster, 1);
    cluster.run_for(seconds(3));
    owns(&cluster, 1, MAIL);
    proven_by(&cluster, 1, MAIL, "OperatorConfirmed");
    protected(&cluster, 1, MAIL, Protection::Standalone);
}

/// The peer came back and was lost again while the operator thought: the answer is about a life that is over.
#[test]
fn s075_an_answer_to_the_question_about_an_earlier_life_is_refused() {
    let mut cluster = behind();
    after(&mut cluster, &[Fault::PowerLoss(0, seconds(8))], seconds(6));
    asks(&cluster, 1, MAIL, Question::NotCurrent);
    let seen = cluster.status(1).and_then(|s| s.peer.incarnation);
    cluster.inject(Fault::CutMirror(Cut::Both, seconds(20)));
    cluster.run_for(seconds(6));
    owns(&cluster, 0, MAIL);
    after(&mut cluster, &[Fault::Isolate(seconds(20))], seconds(1));
    after(&mut cluster, &[Fault::PowerLoss(0, seconds(60))], seconds(6));
    asks(&cluster, 1, MAIL, Question::NotCurrent);
    cluster.command(1, Command::ForceCurrent { group: MAIL, incarnation: seen });
    cluster.run_for(seconds(3));
    nobody(&cluster, MAIL);
    asks(&cluster, 1, MAIL, Question::NotCurrent);
    use_this_copy(&mut cluster, 1);
    cluster.run_for(seconds(3));
    owns(&cluster, 1, MAIL);
}

/// Both went on alone: a question, and nothing is thrown away before it is answered.
#[test]
fn s077_copies_that_were_both_written_ask_and_the_loser_goes_to_quarantine_only_on_an_operators_word() {
    let mut cluster = behind();
    after(&mut cluster, &[Fault::PowerLoss(0, seconds(12))], seconds(5));
    use_this_copy(&mut cluster, 1);
    cluster.run_for(seconds(4));
    owns(&cluster, 1, MAIL);
    cluster.run_for(seconds(10));
    asks(&cluster, 0, MAIL, Question::Diverged);
    assert_eq!(cluster.probes().count("mirror", "quarantined"), 0, "{}", cluster.timeline());
    owns(&cluster, 1, MAIL);
    cluster.command(0, Command::Surrender { group: MAIL });
    cluster.run_for(seconds(4));
    whole(&cluster, 1, MAIL);
    assert_eq!(cluster.probes().count("mirror", "quarantined"), 1);
}

#[test]
fn s078_a_resync_interrupted_at_each_of_its_steps_begins_again_and_loses_nothing() {
    for victim in [0, 1] {
        for late in (0..200).step_by(5) {
            let mut cluster = behind();
            let streams = |c: &Cluster| {
                reports(c).len() > 1
                    && status(c, 0, MAIL).is_some_and(|g| g.protection != Protection::Standalone)
            };
            assert!(cluster.run_until(seconds(6), streams), "{}", cluster.timeline());
            // Close to the admission, before and after it.
            let mut cluster = behind();
            let at = ms(1000 + late);
            cluster.run_for(at);
            after(&mut cluster, &[Fault::PowerLoss(victim, seconds(3))], seconds(20));
            let owner = cluster.actor(MAIL).expect("served");
            whole(&cluster, owner, MAIL);
            nothing_is_lost(&mut cluster);
        }
    }
}

#[test]
fn s079_a_replaced_disk_is_filled_again_and_its_node_a_member_above_every_old_epoch() {
    for victim in [0, 1] {
        let mut cluster = served(pair());
        let before = status(&cluster, 0, MAIL).map(|g| g.epoch.0);
        after(&mut cluster, &[Fault::ReplaceDisk(victim, seconds(3))], seconds(16));
        let owner = 1 - victim;
        whole(&cluster, owner, MAIL);
        cluster.inject(Fault::Switchover(0));
        cluster.run_for(seconds(3));
        whole(&cluster, victim, MAIL);
        let now = status(&cluster, victim, MAIL).map(|g| g.epoch.0);
        assert!(now >= before.map(|e| e + (1 << 32)), "{before:?} {now:?}");
    }
}

#[test]
fn s079_the_last_current_copy_replaced_leaves_a_question_and_no_service_from_a_stale_one() {
    let mut cluster = behind();
    after(&mut cluster, &[Fault::ReplaceDisk(0, seconds(3))], seconds(12));
    nobody(&cluster, MAIL);
    asks(&cluster, 1, MAIL, Question::NotCurrent);
}
