//! Arbiter, watchdog, devices, budget: each rule states its numbers, and is refused with its mend when broken.

use super::*;
use crate::FenceScope;
use crate::config::{
    ArbiterConfig, ArbiterKind, Config, DeviceConfig, FenceConfig, GroupConfig, HealthPolicy, LinkConfig,
    Reaction, ResourceConfig, TimingConfig, WatchdogConfig,
};
use proptest::prelude::*;
use std::time::Duration;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Shared data on a disk that also decides; a watchdog; no fence device.
fn disk() -> Config {
    Config::pair("mail", "a", "b")
        .link(LinkConfig::datagram("lan", ms(20), ms(200)))
        .link(LinkConfig::serial("tty", ms(50), ms(250), 115_200))
        .group(
            GroupConfig::new("smtp").shared().then(ResourceConfig::new("server").with_stop_timeout(ms(3000))),
        )
        .arbiter(ArbiterConfig::new(ArbiterKind::Disk, ms(5000)).with_trusts_host_pauses(true))
        .watchdog(WatchdogConfig::new(ms(1500)))
}

fn arbiter(config: &mut Config) -> &mut ArbiterConfig {
    config.arbiter.as_mut().unwrap()
}

#[track_caller]
fn only(config: &Config, rule: &str) -> Violation {
    let violations = prove(config).unwrap_err();
    let [violation] = violations.as_slice() else { panic!("{violations}") };
    assert_eq!(violation.rule, rule, "{violation}");
    violation.clone()
}

#[test]
fn the_derived_wait_outlasts_lease_stops_kill_and_the_watchdog_as_its_driver_rounds_it() {
    let proof = prove(&disk()).unwrap();
    let path = proof.inequality("expired").unwrap();
    let parts: Vec<_> = path.victim.iter().map(|addend| addend.span.as_millis()).collect();
    assert_eq!(parts, [5001, 3000, 150, 2000, 2000]);
    assert!(path.holds_by < ms(5), "{path}");
    let outage = proof.outage(FaultKind::PowerLossActive);
    let wait = disk().takeover_wait().unwrap();
    assert_eq!(outage.total, Some(wait + ms(1500) * 2 + ms(200) + ms(500)));
    assert_eq!(proof.notices, []);
}

#[test]
fn a_wait_that_is_too_short_is_refused_with_the_shortest_that_is_not() {
    let mut config = disk();
    arbiter(&mut config).takeover_wait = Some(ms(12_000));
    let violation = only(&config, "expired");
    assert_eq!(
        (violation.field.as_str(), violation.danger),
        ("arbiter.takeover_wait", Some(Danger::TwiceActive))
    );
    arbiter(&mut config).takeover_wait = violation.value;
    prove(&config).unwrap();
    arbiter(&mut config).takeover_wait = violation.value.map(|value| value - ms(1));
    only(&config, "expired");
}

#[test]
fn a_long_stop_a_slow_watchdog_and_drift_each_lengthen_the_wait() {
    let base = disk().takeover_wait().unwrap();
    let with = |change: &dyn Fn(&mut Config)| {
        let mut config = disk();
        change(&mut config);
        config.takeover_wait().unwrap()
    };
    assert!(with(&|c| c.groups[0].resources[0].stop_timeout += ms(1000)) >= base + ms(1000));
    assert!(with(&|c| c.watchdog = Some(WatchdogConfig::new(ms(2001)))) >= base + ms(2000));
    assert!(with(&|c| c.timing.drift_ppm = 10_000) >= base + ms(200));
    assert!(with(&|c| c.timing.feed_limit = ms(4000)) >= base + ms(1000));
    assert!(with(&|c| c.groups[0].address_lifetime = ms(20_000)) >= ms(5000 + 20_000 + 500));
    // Stops of one group follow each other; those of two groups run side by side.
    let second = |c: &mut Config| c.groups.push(GroupConfig::new("web").then(ResourceConfig::new("httpd")));
    assert_eq!(with(&second), base);
    let longer = |c: &mut Config| c.groups[0].resources.push(ResourceConfig::new("address"));
    assert!(with(&longer) >= base + ms(500));
}

#[test]
fn an_address_that_outlives_the_wait_is_refused() {
    let mut config = disk();
    config.groups[0].address_lifetime = ms(9500);
    arbiter(&mut config).takeover_wait = Some(ms(14_000));
    assert_eq!(only(&config, "expired addresses").field, "arbiter.takeover_wait");
}

#[test]
fn shared_data_that_nothing_ends_is_refused() {
    let mut config = disk();
    arbiter(&mut config).trusts_host_pauses = false;
    assert!(only(&config, "shared").found.contains("trusts_host_pauses"));
    let mut config = disk();
    config.watchdog = None;
    assert!(only(&config, "shared").found.contains("watchdog"));
    config.arbiter = None;
    assert_eq!(only(&config, "shared").danger, Some(Danger::TwiceActive));
    config.fence = Some(FenceConfig::new(ms(200)));
    prove(&config).unwrap();
    config.fence = Some(FenceConfig::new(ms(200)).with_scope(FenceScope::Access));
    only(&config, "shared");
}

#[test]
fn a_lease_that_proves_nothing_is_said_and_bounds_nothing() {
    let mut config = disk();
    config.groups[0].shared = false;
    arbiter(&mut config).trusts_host_pauses = false;
    let proof = prove(&config).unwrap();
    assert_eq!(proof.notices, [Notice::NoFence, Notice::LeaseProvesNothing]);
    assert_eq!(proof.outage(FaultKind::PowerLossActive).total, None);
    assert!(proof.inequality("expired").is_none());
}

#[test]
fn an_arbiter_excludes_a_lost_standby_without_a_fence() {
    let mut config = disk();
    config.groups[0] = GroupConfig::new("smtp").mirrored();
    let proof = prove(&config).unwrap();
    assert_eq!(proof.outage(FaultKind::PowerLossStandby).total, Some(ms(250 + 200 + 500)));
}

#[test]
fn renewals_answers_and_feedings_keep_their_order() {
    let mut config = disk();
    arbiter(&mut config).answer_timeout = ms(1000);
    assert_eq!(only(&config, "answers").value, Some(ms(999)));
    let mut config = disk();
    arbiter(&mut config).renew_interval = ms(2300);
    let violation = only(&config, "renewal");
    assert_eq!((violation.field.as_str(), violation.value), ("arbiter.lease", Some(ms(5101))));
    let mut config = disk();
    (arbiter(&mut config).lease, arbiter(&mut config).renew_interval) = (ms(9000), ms(3000));
    arbiter(&mut config).answer_timeout = ms(2500);
    assert_eq!(only(&config, "arbiter and watchdog").value, Some(ms(1999)));
    let mut config = disk();
    config.watchdog.as_mut().unwrap().refresh = Some(ms(700));
    assert_eq!(only(&config, "feeding").value, Some(ms(666)));
}

#[test]
fn an_order_has_time_for_all_its_devices_and_a_poison_pill_for_two_watchdogs() {
    let with = |timeout, devices| {
        let mut config = disk();
        config.fence = Some(FenceConfig::new(timeout).with_devices(devices));
        config.timing = TimingConfig::for_links(&config.links, config.fence.as_ref());
        config
    };
    let power =
        || vec![DeviceConfig::new("ipmi", ms(400)).with_retries(1), DeviceConfig::new("pdu", ms(200))];
    let violation = only(&with(ms(1100), power()), "devices");
    assert_eq!((violation.value, violation.danger), (Some(ms(1200)), Some(Danger::TooLong)));
    prove(&with(ms(1200), power())).unwrap();
    let pill = |timeout| vec![DeviceConfig::new("pill", timeout).with_needs_watchdog(true)];
    let violation = only(&with(ms(6000), pill(ms(4000))), "poison");
    assert_eq!(violation.field, "fence.devices[0].timeout");
    assert_eq!((violation.of.as_deref(), violation.danger), (Some("pill"), Some(Danger::TwiceActive)));
    prove(&with(ms(6000), pill(violation.value.unwrap()))).unwrap();
}

#[test]
fn every_link_has_its_own_beats_and_each_violation_its_own_sentence() {
    let mut config = disk();
    for link in &mut config.links {
        link.interval = ms(100);
        link.suspect = ms(200);
        link.dead = ms(201);
    }
    config.timing = TimingConfig::for_links(&config.links, None);
    let violations = prove(&config).unwrap_err();
    let of: Vec<_> =
        violations.as_slice().iter().map(|v| (v.rule, v.of.as_deref(), v.field.as_str())).collect();
    let expected = [("beats", Some("lan"), "links[0].dead"), ("beats", Some("tty"), "links[1].dead")];
    assert_eq!(of, expected);
    assert!(!violations.are_unsafe());
    assert!(violations.to_string().lines().all(|line| line.contains("a service could stop without need")));
}

#[test]
fn a_returning_node_listens_for_two_deadlines() {
    let mut config = disk();
    config.timing.boot_wait = ms(500);
    assert_eq!(only(&config, "listening").field, "timing.boot_wait");
}

#[test]
fn the_budget_is_a_promise_of_its_own() {
    let config = disk().with_outage_budget(Some(ms(5000)));
    let violations = prove(&config).unwrap_err();
    assert!(violations.as_slice().iter().all(|v| v.rule == "budget"), "{violations}");
    assert!(violations.to_string().contains("most of it 12"), "{violations}");
    assert!(!violations.are_unsafe());
    let mut config = disk().with_outage_budget(Some(ms(20_000)));
    prove(&config).unwrap();
    config.groups[0].resources[0].monitor_interval = ms(20_000);
    let violation = only(&config, "detection");
    assert_eq!(violation.of.as_deref(), Some("smtp/server"));
    assert_eq!(
        (violation.value, violation.field.as_str()),
        (Some(ms(19_300)), "groups[0].resources[0].monitor_interval")
    );
}

#[test]
fn a_check_that_must_find_three_times_takes_three_times_as_long() {
    let mut config = disk();
    let unknown = HealthPolicy::default().with_on_unknown(Reaction::Move);
    config.groups[0].resources[0].health = unknown;
    assert_eq!(prove(&config).unwrap().outage(FaultKind::ServiceFails).total, Some(ms(3 * 1000 + 200)));
    let config = for_outage_budget(&config.fence(FenceConfig::new(ms(200))), ms(2300)).unwrap();
    assert_eq!(config.groups[0].resources[0].monitor_interval, ms(200));
}

#[test]
fn without_proofs_a_short_boot_wait_is_unsafe() {
    let mut config = disk().with_unguarded(crate::config::ACCEPT_SPLIT_BRAIN);
    config.groups[0] = GroupConfig::new("web");
    config.timing.boot_wait = ms(500);
    assert_eq!(only(&config, "listening").danger, Some(Danger::TwiceActive));
}

#[test]
fn a_moved_address_costs_its_announcement() {
    let mut config = disk();
    let before = prove(&config).unwrap().outage(FaultKind::ProcessKill).total.unwrap();
    config.groups[0].announcement = ms(1000);
    assert_eq!(prove(&config).unwrap().outage(FaultKind::ProcessKill).total, Some(before + ms(1000)));
    assert_eq!(prove(&config).unwrap().outage(FaultKind::ServiceFails).total, Some(ms(500 + 500 + 200)));
}

#[test]
fn the_window_of_two_active_nodes_is_zero_and_shows_the_two_numbers_that_come_closest() {
    let window = prove(&disk()).unwrap().double_active();
    assert_eq!((window.longest, window.tightest), (Duration::ZERO, Some("expired")));
    assert!(window.victim_latest < window.survivor_earliest);
    let text = prove(&disk()).unwrap().to_string();
    assert!(text.contains("both nodes active at once: 0 ms, since 121"), "{text}");
}

#[test]
fn a_budget_gives_the_most_patient_pair_that_keeps_it() {
    let config = for_outage_budget(&disk(), ms(15_000)).unwrap();
    let proof = prove(&config).unwrap();
    let worst = proof.worst_outage().unwrap().total.unwrap();
    assert!(worst <= ms(15_000) && worst > ms(13_000), "{worst:?}");
    let mut fenced = disk().fence(FenceConfig::new(ms(200)));
    arbiter(&mut fenced).answer_timeout = ms(100);
    let config = for_outage_budget(&fenced, ms(1000)).unwrap();
    assert!(config.latest_dead() >= ms(300), "{:?}", config.links);
    assert!(config.groups[0].resources[0].monitor_interval == ms(300));
}

#[test]
fn what_no_duration_can_do_is_said() {
    let mut config = disk();
    config.groups[0].shared = false;
    config.arbiter = None;
    let error = for_outage_budget(&config, ms(1000)).unwrap_err();
    assert_eq!(error, BudgetError::Unbounded { fault: FaultKind::PowerLossActive });
    let Err(BudgetError::TooSmall { smallest, bound, .. }) = for_outage_budget(&disk(), ms(1000)) else {
        panic!()
    };
    assert!(smallest > ms(8000) && bound.to_string().contains("takeover wait"), "{bound}");
    for_outage_budget(&disk(), smallest).unwrap();
    assert!(for_outage_budget(&disk(), smallest - ms(1)).is_err());
    let mut useless = disk();
    useless.fence = Some(FenceConfig::new(ms(200)).with_scope(FenceScope::Access));
    useless.groups[0] = GroupConfig::new("smtp").mirrored();
    assert!(matches!(for_outage_budget(&useless, ms(1000)), Err(BudgetError::Unsafe(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_budget_is_kept_by_a_proof_or_refused_with_a_smallest_that_is(
        budget in 50_u64..20_000,
        timeout in 5_u64..2000,
        serial: bool,
        mirrored: bool,
        lease: bool,
    ) {
        let mut pair = disk();
        pair.links.truncate(1 + usize::from(serial));
        if !lease {
            pair = pair.fence(FenceConfig::new(ms(timeout)));
        }
        pair.groups[0].shared = !mirrored;
        pair.groups[0].mirrored = mirrored;
        match for_outage_budget(&pair, ms(budget)) {
            Ok(config) => {
                let proof = prove(&config).map_err(|refused| TestCaseError::fail(refused.to_string()))?;
                prop_assert!(proof.worst_outage().and_then(|worst| worst.total) <= Some(ms(budget)));
            }
            Err(BudgetError::TooSmall { smallest, .. }) => {
                prop_assert!(smallest > ms(budget));
                prop_assert!(for_outage_budget(&pair, smallest).is_ok());
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}
