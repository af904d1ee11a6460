//! The disk below the record: torn, full, stalled, damaged, lying. Every record read here went through the real
//! store's bytes.

use crate::support::*;
use ha_core::engine::{Protection, Question, RoleName};
use ha_core::sim::{Cluster, Cut, Fault, Moment, Options, Scenario, Trap};
use std::time::Duration;

/// Node `node` loses power `delay` after the first record write that begins after four seconds.
fn torn(seed: u64, node: usize, delay: Duration) -> Cluster {
    let mut scenario = Scenario::quiet(seed, pair());
    let fault = Fault::PowerLoss(node, seconds(2));
    scenario.traps = vec![Trap { after: seconds(4), moment: Moment::Persisting, delay, fault }];
    Cluster::new(scenario, Options::default())
}

#[test]
fn power_cut_within_a_record_write_leaves_the_old_record_or_the_new_one_and_loses_nothing() {
    let mut refused = 0;
    for seed in 0..40 {
        for node in 0..2 {
            let mut cluster = torn(seed, node, Duration::from_micros(seed * 97));
            cluster.run_for(seconds(4));
            // Both nodes write: the owner its going alone, the standby its consent.
            cluster.inject(Fault::CutMirror(Cut::Both, seconds(1)));
            cluster.run_for(seconds(18));
            let owner = cluster.actor(MAIL).expect("served again");
            whole(&cluster, owner, MAIL);
            assert_eq!(cluster.faults(), 2);
            refused += cluster.probes().count("disk", "record refused");
            nothing_is_lost(&mut cluster);
        }
    }
    assert_eq!(refused, 0, "a torn write is no damage");
}

#[test]
fn a_record_damaged_beyond_reading_is_refused_and_its_node_comes_back_as_one_without_a_past() {
    for node in 0..2 {
        let mut cluster = served(pair());
        let before = status(&cluster, 0, MAIL).map_or(0, |g| g.epoch.0);
        after(&mut cluster, &[Fault::DamagedRecord(node, seconds(1))], seconds(20));
        assert_eq!(cluster.probes().count("disk", "record refused"), 1);
        whole(&cluster, 1 - node, MAIL);
        nothing_is_lost(&mut cluster);
        let after = status(&cluster, node, MAIL).map_or(0, |g| g.epoch.0);
        assert!(after > before + (1 << 32), "no epoch that the lost record may have held is issued again");
    }
}

#[test]
fn a_disk_that_stalls_ends_a_node_that_must_write_and_harms_nobody_who_need_not() {
    let mut cluster = served(pair());
    after(&mut cluster, &[Fault::DiskStalls(0, seconds(4)), Fault::DiskStalls(1, seconds(4))], seconds(3));
    whole(&cluster, 0, MAIL);
    cluster.run_for(seconds(2));
    // The owner must write that it goes on alone, and cannot.
    after(&mut cluster, &[Fault::DiskStalls(0, seconds(4)), Fault::Shutdown(1, seconds(8))], seconds(4));
    assert!(cluster.probes().count("timeout", "Persist") > 0, "{}", cluster.timeline());
    cluster.run_for(seconds(16));
    let owner = cluster.actor(MAIL).expect("served again");
    whole(&cluster, owner, MAIL);
    nothing_is_lost(&mut cluster);
}

#[test]
fn a_standby_that_cannot_write_its_consent_departs_and_the_owner_goes_on() {
    let mut cluster = served(pair());
    cluster.inject(Fault::DiskStalls(1, seconds(5)));
    after(&mut cluster, &[Fault::CutMirror(Cut::Both, seconds(5))], seconds(4));
    owns(&cluster, 0, MAIL);
    protected(&cluster, 0, MAIL, Protection::Standalone);
    let name = exclusion(&cluster, 0, MAIL).map(|p| p.name());
    assert!(matches!(name, Some("Departed" | "Fenced")), "{name:?}\n{}", cluster.timeline());
    mail_flows(&mut cluster, ms(900), 4);
    cluster.run_for(seconds(14));
    whole(&cluster, 0, MAIL);
    nothing_is_lost(&mut cluster);
}

/// Outside of what the rules assume. What remains: nothing acknowledged is missing from both stores together, and
/// the pair serves or asks.
#[test]
fn a_disk_that_lies_about_durability_loses_records_and_the_union_of_both_copies_loses_nothing() {
    let mut lost = 0;
    for seed in 0..60 {
        let mut scenario = Scenario::quiet(seed, pair());
        scenario.operator = true;
        scenario.recover_after(seconds(12));
        let mut cluster = Cluster::new(scenario, Options::default());
        cluster.run_for(seconds(4));
        let node = (seed % 2) as usize;
        cluster.inject(Fault::LostCache(node, seconds(6)));
        cluster.inject(Fault::CutMirror(Cut::Both, seconds(1)));
        cluster.run_for(ms(500 + seed * 25));
        cluster.inject(Fault::PowerLoss(node, seconds(2)));
        cluster.run_to_end();
        sound(&cluster);
        lost += cluster.probes().count("disk", "lost a promise");
        let roles: Vec<_> = (0..2).filter_map(|n| role(&cluster, n, MAIL)).collect();
        let asked = (0..2).any(|n| status(&cluster, n, MAIL).is_some_and(|g| g.question.is_some()));
        assert!(roles.contains(&RoleName::Active) || asked, "{roles:?}\n{}", cluster.timeline());
    }
    assert!(lost > 10, "{lost} records were lost");
}

#[test]
fn a_full_disk_refuses_no_admission_and_no_consent() {
    let mut cluster = served(pair());
    cluster.inject(Fault::DiskFull(0, seconds(30)));
    cluster.inject(Fault::DiskFull(1, seconds(30)));
    after(&mut cluster, &[Fault::CutMirror(Cut::Both, seconds(3))], seconds(2));
    protected(&cluster, 0, MAIL, Protection::Standalone);
    cluster.run_for(seconds(4));
    whole(&cluster, 0, MAIL);
    assert_eq!(status(&cluster, 0, MAIL).and_then(|g| g.question), None::<Question>);
}
