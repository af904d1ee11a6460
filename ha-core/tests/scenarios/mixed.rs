//! Groups with a mirror and groups without one in a pair, and groups with a mirror that must be where another one is.

use crate::support::*;
use ha_core::config::{ArbiterConfig, ArbiterKind, Config, GroupPolicy};
use ha_core::engine::{Command, EventKind, MoveReason, PeerState, Question, RoleName};
use ha_core::sim::{Cluster, Cut, Fault, Moment, Options, ResourceFault, Scenario, Trap};

/// Without data of its own; mail must be with it.
const ADDRESS: ha_core::GroupId = MAIL;
/// Mirrored, where the address is.
const MAILBOXES: ha_core::GroupId = WEB;

fn tied() -> Config {
    let mut config = pair();
    config.groups.insert(0, plain().groups.remove(0));
    config.groups[0].name = "address".into();
    config.groups[1].policy = GroupPolicy::default().with_lead(Some(ADDRESS));
    config
}

/// Node 1 went on alone with the mailboxes, and left; node 0 has the address, and a copy that lacks something.
fn address_without_its_data() -> Cluster {
    let mut cluster = served_with(1, tied());
    whole(&cluster, 0, MAILBOXES);
    cluster.inject(Fault::CutMirror(Cut::Both, seconds(12)));
    after(&mut cluster, &[Fault::PowerLoss(0, seconds(1))], seconds(4));
    owns(&cluster, 1, MAILBOXES);
    cluster.inject(Fault::Shutdown(1, seconds(4)));
    cluster.run_for(seconds(2));
    owns(&cluster, 0, ADDRESS);
    asks(&cluster, 0, MAILBOXES, Question::NotCurrent);
    cluster
}

#[test]
fn a_lead_goes_to_where_its_follower_s_data_are() {
    let mut cluster = address_without_its_data();
    cluster.run_for(seconds(6));
    owns(&cluster, 1, ADDRESS);
    owns(&cluster, 1, MAILBOXES);
    let moved = (0, EventKind::Moving { group: ADDRESS, reason: MoveReason::Together });
    assert!(reports(&cluster).contains(&moved), "{}", cluster.timeline());
    cluster.run_for(seconds(8));
    whole(&cluster, 1, MAILBOXES);
}

#[test]
fn a_follower_whose_lead_cannot_come_to_its_data_asks() {
    let mut cluster = address_without_its_data();
    cluster.command(0, Command::Maintenance { scope: ha_core::PolicyScope::Group(ADDRESS), on: true });
    cluster.run_for(seconds(6));
    owns(&cluster, 0, ADDRESS);
    asks(&cluster, 1, MAILBOXES, Question::HeldByPolicy);
    cluster.command(0, Command::Maintenance { scope: ha_core::PolicyScope::Group(ADDRESS), on: false });
    cluster.run_for(seconds(3));
    owns(&cluster, 1, MAILBOXES);
}

/// How often the address was on its way to where the mailboxes' data are.
fn moves_together(cluster: &Cluster) -> usize {
    let together =
        |kind: &EventKind| matches!(kind, EventKind::Moving { group: ADDRESS, reason: MoveReason::Together });
    reports(cluster).iter().filter(|(_, kind)| together(kind)).count()
}

#[test]
fn a_lead_does_not_wander_for_a_follower_that_fails_everywhere() {
    for whole in [false, true] {
        let mut cluster = if whole { served_with(1, tied()) } else { address_without_its_data() };
        for _ in 0..12 {
            cluster.inject(Fault::Resource(0, 1, 1, ResourceFault::StartFails));
            cluster.inject(Fault::Resource(1, 1, 1, ResourceFault::StartFails));
        }
        cluster.inject(Fault::Resource(0, 1, 1, ResourceFault::Dies));
        cluster.run_for(seconds(30));
        sound(&cluster);
        assert!(moves_together(&cluster) <= 2, "{}", cluster.timeline());
        let question = |node| status(&cluster, node, MAILBOXES).and_then(|g| g.question);
        assert!(question(0).or(question(1)).is_some(), "{}", cluster.timeline());
    }
}

/// Its owner excluded the standby by the third party's swap, and took that for an end of the standby's reason to shoot
/// while the shot was under way.
#[test]
fn who_excluded_the_peer_in_silence_keeps_its_slot() {
    let mut config = pair();
    config.groups.insert(0, plain().groups.remove(0));
    config.groups[1].name = "web".into();
    config.groups[1].preferred = ha_core::NodeId(1);
    config.arbiter = Some(ArbiterConfig::new(ArbiterKind::ThirdParty, seconds(1)));
    for seed in 0..60 {
        let mut cluster = served_with(seed, config.clone());
        whole(&cluster, 1, WEB);
        cluster.inject(Fault::Isolate(ms(1600)));
        cluster.run_for(seconds(4));
        sound(&cluster);
    }
}

/// It had lost the outside and gave its group to a standby that died while it stopped: it takes the group back. Where it
/// had stopped before it knew, the other may hold what was acknowledged after: somebody is asked.
#[test]
fn who_hands_over_to_a_peer_that_dies_meanwhile_takes_it_back() {
    let mut config = pair();
    config.links.truncate(2);
    let mut taken_back = 0;
    for seed in 0..60 {
        let mut scenario = Scenario::quiet(seed, config.clone());
        let fault = Fault::PowerLoss(1, seconds(30));
        scenario.traps = vec![Trap { after: seconds(4), moment: Moment::Stopping, delay: ms(1), fault }];
        let mut cluster = Cluster::new(scenario, Options::default());
        cluster.run_for(seconds(4));
        cluster.inject(Fault::NoOutside(0, seconds(20)));
        cluster.inject(Fault::CutMirror(Cut::Both, seconds(20)));
        cluster.run_for(seconds(5));
        let reports = reports(&cluster);
        let mut ends = reports.iter().filter(|(node, _)| *node == 0).filter_map(|(_, kind)| match kind {
            EventKind::Peer { state: PeerState::Dead | PeerState::Gone, .. } => Some(true),
            EventKind::Role { role: RoleName::Standby, .. } => Some(false),
            _ => None,
        });
        if ends.next() == Some(true) {
            owns(&cluster, 0, MAIL);
            taken_back += 1;
        } else {
            asks(&cluster, 0, MAIL, Question::NotCurrent);
        }
    }
    assert!(taken_back >= 5, "{taken_back}");
}
