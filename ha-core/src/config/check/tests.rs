use super::*;
use crate::config::{
    ArbiterConfig, ArbiterKind, DeviceConfig, FenceConfig, ReliabilityConfig, StoreReliability, TimingConfig,
    WatchdogConfig,
};
use crate::{FenceScope, NodeId};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn pair() -> Config {
    Config::pair("mail", "a", "b")
        .link(LinkConfig::datagram("lan", ms(20), ms(200)))
        .link(LinkConfig::serial("tty", ms(50), ms(250), 115_200))
        .group(GroupConfig::new("smtp").mirrored().then(ResourceConfig::new("server")))
        .fence(FenceConfig::new(ms(200)))
}

#[track_caller]
fn only(config: Config, field: &str) -> Problem {
    let problems = config.check().unwrap_err();
    let [problem] = problems.as_slice() else { panic!("{problems}") };
    assert_eq!(problem.field, field, "{problem}");
    problem.clone()
}

#[test]
fn the_reference_pair_is_right() {
    let checked = pair().check().unwrap();
    assert_eq!(*checked.arc(), pair());
}

#[test]
fn what_outlives_the_engine_needs_a_device_that_ends_it_and_an_address_that_stays() {
    let outliving = || {
        let mut config = pair();
        config.groups[0].resources[0].outlives_engine = true;
        config
    };
    outliving().check().unwrap();
    let field = "groups[0].resources[0].outlives_engine";
    let mut config = outliving();
    config.fence.as_mut().unwrap().scope = FenceScope::Processes;
    assert!(only(config, field).to_string().contains("a device that ends everything of a node"));
    let mut config = outliving();
    config.groups[0].address_lifetime = ms(1000);
    assert!(only(config, field).to_string().contains("an address that does not expire"));
}

#[test]
fn two_nodes_with_one_name_are_refused() {
    let mut config = pair();
    config.nodes[1].name = "a".into();
    let problem = only(config, "nodes[1].name");
    assert!(problem.to_string().contains("found \"a\", which nodes[0] has too"), "{problem}");
}

#[test]
fn names_of_links_groups_and_resources_are_their_own() {
    let mut config = pair();
    config.links[1].name = "lan".into();
    only(config, "links[1].name");
    only(pair().group(GroupConfig::new("smtp")), "groups[1].name");
    let mut config = pair();
    config.groups[0].resources.push(ResourceConfig::new("server"));
    only(config, "groups[0].resources[1].name");
}

#[test]
fn empty_long_and_unprintable_names_are_refused() {
    for name in ["", "two words", "tab\t", &"x".repeat(65)] {
        let mut config = pair();
        config.nodes[0].name = name.into();
        only(config, "nodes[0].name");
        let mut config = pair();
        config.cluster = name.into();
        only(config, "cluster");
    }
}

#[test]
fn a_pair_is_two_nodes() {
    let mut config = pair();
    config.nodes.pop();
    assert_eq!(only(config, "nodes").found, "1 node");
}

#[test]
fn the_number_of_links_and_groups_is_bounded() {
    let mut config = pair();
    config.links.clear();
    only(config, "links");
    let mut config = pair();
    for n in 0..8 {
        config = config.link(LinkConfig::datagram(&format!("l{n}"), ms(20), ms(200)));
    }
    only(config, "links");
    let mut config = pair();
    config.groups.clear();
    only(config, "groups");
    let mut config = pair();
    for n in 1..MAX_GROUPS {
        config = config.group(GroupConfig::new(&format!("g{n}")));
    }
    config.clone().check().unwrap();
    let problem = only(config.group(GroupConfig::new("one-more")), "groups").to_string();
    assert!(problem.contains("10001") && problem.contains("10000"), "{problem}");
}

#[test]
fn suspicion_needs_two_beats_and_comes_before_death() {
    let mut config = pair();
    config.links[1].suspect = ms(99);
    let problem = only(config, "links[1].suspect");
    assert!(problem.mend.contains("raise links[1].suspect to 100ms"), "{problem}");
    let mut config = pair();
    config.links[0].dead = config.links[0].suspect;
    only(config, "links[0].dead");
    let mut config = pair();
    config.links[0].interval = Duration::ZERO;
    only(config, "links[0].interval");
    let mut config = pair();
    config.links[0].dead = Duration::from_secs(65);
    only(config, "links[0].dead");
}

#[test]
fn a_serial_line_must_carry_its_interval() {
    let mut config = pair();
    config.links[1] = LinkConfig::serial("tty", ms(5), ms(250), 115_200);
    let problem = only(config, "links[1].interval");
    assert_eq!(problem.expected, "at least 7ms");
    let mut config = pair();
    config.links[1] = LinkConfig::serial("tty", ms(7), ms(250), 115_200);
    config.check().unwrap();
    let mut config = pair();
    config.links[1] = LinkConfig::serial("tty", ms(50), ms(250), 9600);
    assert_eq!(only(config, "links[1].interval").expected, "at least 73ms");
    let mut config = pair();
    config.links[1].bits_per_second = Some(0);
    only(config, "links[1].bits_per_second");
    for bytes in [0, 27, 1437, usize::MAX] {
        let mut config = pair();
        config.links[1].payload_bytes = bytes;
        only(config, "links[1].payload_bytes");
    }
}

#[test]
fn evidence_alone_declares_nobody_dead() {
    let mut config = pair();
    for link in &mut config.links {
        link.evidence_only = true;
    }
    only(config, "links");
}

#[test]
fn preferred_is_one_of_the_two() {
    let mut config = pair();
    config.groups[0].preferred = NodeId(2);
    only(config, "groups[0].preferred");
}

#[test]
fn every_budget_is_finite_and_not_zero() {
    for bad in [Duration::ZERO, Duration::MAX] {
        let mut config = pair();
        config.groups[0].resources[0].stop_timeout = bad;
        only(config, "groups[0].resources[0].stop_timeout");
        let mut config = pair();
        config.groups[0].promote_timeout = bad;
        only(config, "groups[0].promote_timeout");
        let mut config = pair();
        config.fence = Some(FenceConfig::new(bad));
        only(config, "fence.timeout");
        only(pair().timing(TimingConfig::default().with_ask_deadline(bad)), "timing.ask_deadline");
        only(pair().timing(TimingConfig::default().with_feed_limit(bad)), "timing.feed_limit");
    }
    let mut config = pair();
    config.groups[0].address_lifetime = Duration::MAX;
    only(config, "groups[0].address_lifetime");
}

#[test]
fn the_slot_fits_its_field() {
    let mut config = pair();
    config.fence = Some(FenceConfig::new(Duration::from_secs(60)).with_scope(FenceScope::Incarnation));
    let problem = only(config, "fence.timeout");
    assert!(problem.found.contains("slot of 1m 12s"), "{problem}");
}

#[test]
fn a_token_outlives_a_late_beat() {
    let timing = TimingConfig::default().with_token_validity(ms(39));
    assert!(only(pair().timing(timing), "timing.token_validity").mend.contains("to 40ms"));
}

#[test]
fn drift_has_a_limit() {
    only(pair().timing(TimingConfig::default().with_drift_ppm(10_001)), "timing.drift_ppm");
}

#[test]
fn split_brain_is_accepted_by_its_name_only_and_never_for_a_mirror() {
    let plain = || {
        let mut config = pair();
        config.groups[0].mirrored = false;
        config
    };
    plain().with_unguarded(ACCEPT_SPLIT_BRAIN).check().unwrap();
    for text in ["yes", "I accept split brain", "", "i accept split brain "] {
        only(plain().with_unguarded(text), "unguarded");
    }
    let problem = only(pair().with_unguarded(ACCEPT_SPLIT_BRAIN), "unguarded");
    assert!(problem.found.contains("\"smtp\""), "{problem}");
}

#[test]
fn all_findings_come_at_once_and_read_like_a_compiler() {
    let mut config = pair();
    config.nodes[1].name = "a".into();
    config.links[1].suspect = ms(10);
    config.groups[0].preferred = NodeId(7);
    config.timing.drift_ppm = 1_000_000;
    let problems = config.check().unwrap_err();
    assert_eq!(problems.as_slice().len(), 4, "{problems}");
    let text = problems.to_string();
    assert!(text.ends_with("4 problems in the configuration"), "{text}");
    assert!(
        text.contains(
            "error in links[1].suspect: found 10ms, expected at least 100ms (twice the interval of 50ms)\n  = why: "
        ),
        "{text}"
    );
}

#[test]
fn an_arbiters_and_a_watchdogs_spans_are_finite_and_data_is_shared_or_mirrored() {
    let disk = |lease| ArbiterConfig::new(ArbiterKind::Disk, lease);
    only(pair().arbiter(disk(ms(5000)).with_renew_interval(Duration::ZERO)), "arbiter.renew_interval");
    only(pair().arbiter(disk(ms(5000)).with_answer_timeout(Duration::MAX)), "arbiter.answer_timeout");
    only(pair().arbiter(disk(ms(5000)).with_takeover_wait(Some(Duration::ZERO))), "arbiter.takeover_wait");
    only(pair().watchdog(WatchdogConfig::new(Duration::ZERO)), "watchdog.timeout");
    let hungry = WatchdogConfig::new(ms(2000)).with_refresh(Some(Duration::MAX));
    only(pair().watchdog(hungry), "watchdog.refresh");
    let mut config = pair();
    config.groups[0].shared = true;
    only(config, "groups[0].shared");
    let mut config = pair().arbiter(disk(ms(5000))).watchdog(WatchdogConfig::new(ms(1500)));
    assert_eq!(config.watchdog.as_ref().map(WatchdogConfig::refresh_interval), Some(ms(500)));
    config.groups[0].mirrored = false;
    config.groups[0].shared = true;
    config.check().unwrap();
}

#[test]
fn devices_budget_and_figures_are_checked() {
    let with = |device: DeviceConfig| {
        let mut config = pair();
        config.fence = config.fence.map(|fence| fence.with_devices(vec![device]));
        config
    };
    only(with(DeviceConfig::new("pdu", Duration::ZERO)), "fence.devices[0].timeout");
    only(with(DeviceConfig::new("two words", ms(100))), "fence.devices[0].name");
    let pill = DeviceConfig::new("pill", ms(100)).with_needs_watchdog(true);
    only(with(pill), "fence.devices[0].needs_watchdog");
    with(DeviceConfig::new("pdu", ms(100)).with_retries(1)).check().unwrap();
    only(pair().with_outage_budget(Some(Duration::ZERO)), "outage_budget");
    let hours = |n: u64| Duration::from_secs(3600 * n);
    only(pair().with_reliability(ReliabilityConfig::new(Duration::ZERO, hours(1))), "reliability.node_mtbf");
    let store = Some(StoreReliability::new(hours(1), Duration::ZERO));
    let figures = ReliabilityConfig::new(hours(9000), hours(1)).with_store(store);
    only(pair().with_reliability(figures.clone()), "reliability.store.mttr");
    pair().with_reliability(figures.with_store(None)).check().unwrap();
}
