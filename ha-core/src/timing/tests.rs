use super::*;
use crate::FenceScope;
use crate::config::{
    ACCEPT_SPLIT_BRAIN, ArbiterConfig, ArbiterKind, Config, DeviceConfig, FenceConfig, GroupConfig,
    LinkConfig, ResourceConfig, TimingConfig, WatchdogConfig,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::time::Duration;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn links() -> Vec<LinkConfig> {
    vec![
        LinkConfig::datagram("lan", ms(20), ms(200)),
        LinkConfig::datagram("direct", ms(20), ms(200)),
        LinkConfig::serial("tty", ms(50), ms(250), 115_200),
    ]
}

/// What the examples run: two networks, a serial line, a mirror, a quick fence device.
fn reference() -> Config {
    let mut config = Config::pair("mail", "a", "b")
        .group(GroupConfig::new("smtp").mirrored().then(ResourceConfig::new("server")))
        .fence(FenceConfig::new(ms(200)));
    config.links = links();
    config
}

#[track_caller]
fn only(config: &Config, rule: &str) -> Violation {
    let violations = prove(config).unwrap_err();
    let [violation] = violations.as_slice() else { panic!("{violations}") };
    assert_eq!(violation.rule, rule, "{violation}");
    violation.clone()
}

#[test]
fn the_reference_pair_is_proven_without_a_notice() {
    let proof = prove(&reference()).unwrap();
    assert_eq!(proof.notices, []);
    assert!(proof.inequalities.iter().all(Inequality::holds));
    assert!(proof.turns.unwrap() >= 1);
}

#[test]
fn the_default_durations_are_those_of_the_reference_pair() {
    let derived = TimingConfig::for_links(&links(), Some(&FenceConfig::new(ms(200))));
    assert_eq!(derived, TimingConfig::default());
}

#[test]
fn the_default_durations_also_prove_for_fewer_links() {
    for keep in [0..1, 2..3, 0..2, 1..3] {
        let mut config = reference();
        config.links = links()[keep].to_vec();
        prove(&config).unwrap();
        config.fence = None;
        prove(&config).unwrap();
    }
}

#[test]
fn predictions_are_the_fault_tables_bounds() {
    let proof = prove(&reference()).unwrap();
    let total = |fault| proof.outage(fault).total.unwrap();
    let (dead, slot, fence, feed) = (ms(250), ms(290), ms(200), ms(275));
    assert_eq!(total(FaultKind::PowerLossActive), dead + fence + ms(200));
    assert_eq!(total(FaultKind::PowerLossStandby), dead + fence + ms(200));
    assert_eq!(total(FaultKind::ProcessKill), ms(100));
    assert_eq!(total(FaultKind::FreezeChild), feed + ms(200));
    assert_eq!(total(FaultKind::GuardianKill), ms(500));
    for fault in [FaultKind::GuardianThenChild, FaultKind::FreezeLong, FaultKind::Isolation] {
        assert_eq!(total(fault), dead + slot + fence + ms(200), "{fault}");
    }
    assert_eq!(total(FaultKind::FreezeShort), dead + ms(100));
    assert_eq!(Outage::freeze_short(ms(150)).total, Some(ms(250)));
    assert!(total(FaultKind::ReplicationCut) <= ms(200));
    assert_eq!(total(FaultKind::HeartbeatCut), Duration::ZERO);
    assert!(total(FaultKind::NetworkCut) <= ms(500));
    assert!(total(FaultKind::NetworkCutActive) <= ms(500));
    assert_eq!(total(FaultKind::StopFails), ms(500 + 500 + 150 + 200));
    assert_eq!(total(FaultKind::Switchover), ms(50));
}

#[test]
fn every_outage_is_the_sum_of_its_addends_and_stands_at_its_place() {
    let proof = prove(&reference()).unwrap();
    for fault in FaultKind::ALL {
        let outage = proof.outage(*fault);
        assert_eq!(outage.fault, *fault);
        assert_eq!(outage.total, Some(outage.addends.iter().map(|a| a.span).sum()));
        assert!(outage.at_budgets >= outage.total);
        assert_eq!(fault.name().parse(), Ok(*fault));
    }
    assert!("power".parse::<FaultKind>().unwrap_err().to_string().contains("isolation"));
}

#[test]
fn without_fence_the_pair_says_what_a_loss_costs() {
    let mut config = reference();
    config.fence = None;
    let proof = prove(&config).unwrap();
    assert_eq!(proof.notices, [Notice::NoFence]);
    assert!(
        proof.notices[0]
            .to_string()
            .contains("loss of either node stops acknowledged mail until it returns or you answer")
    );
    for fault in [FaultKind::PowerLossActive, FaultKind::PowerLossStandby, FaultKind::Isolation] {
        assert_eq!(proof.outage(fault).total, None);
    }
    assert!(proof.outage(FaultKind::ProcessKill).total.is_some());
    assert_eq!(proof.turns, None);
}

#[test]
fn an_unguarded_pair_is_told_so() {
    let mut config = reference().with_unguarded(ACCEPT_SPLIT_BRAIN);
    config.groups[0].mirrored = false;
    config.fence = None;
    let proof = prove(&config).unwrap();
    assert_eq!(proof.notices, [Notice::Unguarded]);
    assert_eq!(proof.outage(FaultKind::PowerLossActive).total, Some(ms(450)));
}

#[test]
fn a_device_that_ends_only_access_does_not_serve_a_mirror() {
    let mut config = reference().fence(FenceConfig::new(ms(200)).with_scope(FenceScope::Access));
    only(&config, "scope");
    config.groups[0].mirrored = false;
    assert!(prove(&config).unwrap().notices.contains(&Notice::AccessOnly));
}

#[test]
fn addresses_of_fenced_processes_are_waited_for_in_whole_seconds() {
    let mut config = reference().fence(FenceConfig::new(ms(200)).with_scope(FenceScope::Processes));
    config.groups[0].address_lifetime = ms(1100);
    let proof = prove(&config).unwrap();
    let path = proof.inequality("addresses").unwrap();
    assert_eq!(path.victim_latest(), Duration::from_micros(2_000_400));
    let bound = ms(250 + 200 + 200 + 2500);
    assert_eq!(proof.outage(FaultKind::PowerLossActive).total, Some(bound));
    config.groups[0].address_lifetime = Duration::from_secs(3000);
    assert_eq!(only(&config, "addresses").field, "groups[0].address_lifetime");
}

#[test]
fn a_feed_limit_below_dead_is_refused_with_both_numbers_and_the_mend() {
    let config = reference().timing(TimingConfig::default().with_feed_limit(ms(240)));
    let violation = only(&config, "patience");
    let text = violation.to_string();
    assert!(text.contains("250.05 ms") && text.contains("240 ms"), "{text}");
    assert!(text.ends_with("raise timing.feed_limit from 240 ms to 251 ms"), "{text}");
    assert!(!text.contains('\n'));
}

#[test]
fn a_token_as_long_as_the_quickest_links_deadline_is_refused() {
    let config = reference().timing(TimingConfig::default().with_token_validity(ms(200)));
    assert_eq!(only(&config, "freeze").value, Some(ms(199)));
}

#[test]
fn a_fence_too_quick_for_the_slowest_beat_lets_an_owner_miss_its_first_slot() {
    let config = reference().fence(FenceConfig::new(ms(100)));
    let violation = only(&config, "first slot");
    assert_eq!(violation.field, "fence.timeout");
    let mended = config.fence(FenceConfig::new(violation.value.unwrap()));
    prove(&mended).unwrap();
}

#[test]
fn clocks_that_drift_far_within_a_deadline_leave_no_room_between_slots() {
    let mut config = reference();
    config.links[2].dead = ms(2000);
    config.timing = TimingConfig::for_links(&config.links, config.fence.as_ref());
    config.timing.drift_ppm = 10_000;
    let violations = prove(&config).unwrap_err();
    let slots = violations.as_slice().iter().find(|v| v.rule == "slots").unwrap();
    assert_eq!((slots.field.as_str(), slots.danger), ("fence.timeout", Some(Danger::BothShot)));
    config.fence = Some(FenceConfig::new(slots.value.unwrap()));
    assert!(prove(&config).err().is_none_or(|left| left.as_slice().iter().all(|v| v.rule != "slots")));
}

#[test]
fn a_group_without_a_mirror_needs_no_slots() {
    let mut config = reference().fence(FenceConfig::new(ms(100)));
    config.groups[0].mirrored = false;
    let proof = prove(&config).unwrap();
    assert!(proof.inequality("slots").is_none());
    assert_eq!(proof.outage(FaultKind::Isolation).total, Some(ms(250 + 100 + 200)));
    assert_eq!(proof.outage(FaultKind::HeartbeatCut).total, Some(ms(250 + 100 + 200)));
    let streamed = config.clone().link(LinkConfig::evidence("stream", ms(20), ms(200)));
    assert_eq!(prove(&streamed).unwrap().outage(FaultKind::HeartbeatCut).total, Some(Duration::ZERO));
    assert!(matches!(proof.notices[..], [Notice::FencedInsteadOfReleased { .. }]));
    // The shot may come before the guardian's word, which is never said then.
    assert_eq!(proof.outage(FaultKind::FreezeChild).total, Some(ms(250 + 100 + 200)));
}

#[test]
fn a_guardian_slower_than_the_peers_shot_is_noticed() {
    let config = reference().timing(TimingConfig::default().with_kill_grace(ms(400)));
    let proof = prove(&config).unwrap();
    assert!(matches!(proof.notices[..], [Notice::FencedInsteadOfReleased { .. }]), "{proof}");
}

#[test]
fn few_beats_a_single_path_and_a_late_suspicion_are_noticed() {
    let mut config = reference();
    config.links = vec![LinkConfig::datagram("lan", ms(60), ms(240)).with_suspect(ms(200))];
    config.timing = TimingConfig::for_links(&config.links, config.fence.as_ref());
    let notices = prove(&config).unwrap().notices;
    assert!(notices.contains(&Notice::SinglePath));
    assert!(notices.contains(&Notice::FewBeats { link: "lan".into(), beats: 4 }));
    assert!(notices.contains(&Notice::SlowDetector { link: "lan".into() }));
}

#[test]
fn an_unchecked_configuration_is_not_proven() {
    let mut config = reference();
    config.links[0].dead = Duration::MAX;
    only(&config, "configuration");
    config.links.clear();
    assert!(prove(&config).is_err());
}

#[test]
fn the_report_names_every_addend_and_serializes() {
    let proof = prove(&reference()).unwrap();
    let text = proof.to_string();
    for wanted in [
        "window",
        "holds by",
        "power-loss-active    ≤ 650 ms     = dead 250 ms + fence 200 ms + record, promotion, start (allowance) 200 ms",
    ] {
        assert!(text.contains(wanted), "{wanted}\nnot in\n{text}");
    }
    let json = serde_json::to_value(&proof).unwrap();
    assert_eq!(json["outages"][0]["fault"], "power-loss-active");
    assert_eq!(json["outages"][0]["total_ms"], 650.0);
    assert_eq!(json["outages"][0]["addends"][0]["ms"], 250.0);
    assert_eq!(json["safety"]["slot_ms"], 290);
}

#[test]
fn two_nodes_fit_only_with_equal_slots() {
    let here = SafetyValues::of(&reference());
    assert_eq!(here, SafetyValues { dead_ms: 250, slot_ms: 290, feed_ms: 275 });
    assert_eq!(joint(&here, &here), Ok(()));
    let slower = SafetyValues { dead_ms: 300, ..here };
    assert_eq!(joint(&here, &slower), Err(Mismatch::Dead { mine: 250, theirs: 300 }));
    assert_eq!(joint(&slower, &here), Err(Mismatch::Dead { mine: 300, theirs: 250 }));
    assert_eq!(joint(&here, &SafetyValues { feed_ms: 1, ..here }), Ok(()));
}

/// The shots of two nodes whose values pass `joint`, worst case, each node with its own exact durations.
fn first_shots_are_apart(a: &Config, b: &Config) -> bool {
    let fa = a.fence.as_ref().unwrap();
    let first_ends = a.latest_dead() + a.slot_window() + fa.timeout + fa.effect;
    first_ends < b.latest_dead() + b.slot()
}

prop_compose! {
    fn any_link()(
        interval in 5_u64..500, suspects in 2_u64..6, more in 1_u64..500, baud in proptest::option::of(9600_u32..1_000_000)
    ) -> LinkConfig {
        let suspect = interval * suspects;
        let link = match baud {
            None => LinkConfig::datagram("l", ms(interval), ms(suspect + more)),
            Some(rate) => {
                let interval = interval.max(u64::from(640_000 / rate) + 1);
                LinkConfig::serial("l", ms(interval), ms(interval * suspects + more), rate)
                    .with_suspect(ms(interval * suspects))
            }
        };
        if baud.is_none() { link.with_suspect(ms(suspect)) } else { link }
    }
}

fn any_scope() -> impl Strategy<Value = FenceScope> {
    prop_oneof![Just(FenceScope::Incarnation), Just(FenceScope::Processes), Just(FenceScope::Access)]
}

prop_compose! {
    fn any_arbiter()(
        kind in prop_oneof![Just(ArbiterKind::Disk), Just(ArbiterKind::ThirdParty)],
        lease in 50_u64..20_000,
        renew in 10_u64..5000,
        answer in 5_u64..3000,
        wait in proptest::option::of(50_u64..60_000),
        usual: bool,
        trusts: bool,
    ) -> ArbiterConfig {
        let arbiter = ArbiterConfig::new(kind, ms(lease)).with_trusts_host_pauses(trusts).with_takeover_wait(wait.map(ms));
        if usual { arbiter } else { arbiter.with_renew_interval(ms(renew)).with_answer_timeout(ms(answer)) }
    }
}

prop_compose! {
    fn any_config()(
        mut links in prop::collection::vec(any_link(), 1..5),
        fence in proptest::option::of((1_u64..20_000, 0_u64..2000, any_scope())),
        mirrored: bool,
        groups in 1_usize..4,
        lifetime in 0_u64..2_000_000,
        derive: bool,
        drift in 0_u32..10_000,
        arbiter in proptest::option::of(any_arbiter()),
        watchdog in proptest::option::of((1_u64..9000, proptest::option::of(1_u64..3000))),
        devices in prop::collection::vec((1_u64..2000, 0_u8..3, any::<bool>()), 0..3),
        budget in proptest::option::weighted(0.2, 300_u64..20_000),
    ) -> Config {
        let mut config = Config::pair("mail", "a", "b");
        for (n, link) in links.iter_mut().enumerate() {
            link.name = format!("link{n}");
        }
        config.fence = fence.map(|(timeout, effect, scope)| {
            FenceConfig::new(ms(timeout)).with_effect(ms(effect)).with_scope(scope)
        });
        config.arbiter = arbiter;
        config.watchdog = watchdog.map(|(timeout, refresh)| WatchdogConfig::new(ms(timeout)).with_refresh(refresh.map(ms)));
        if let Some(fence) = &mut config.fence {
            let device = |(n, (timeout, retries, pill))| {
                let device = DeviceConfig::new(&format!("device{n}"), ms(timeout)).with_retries(retries);
                device.with_needs_watchdog(pill && config.watchdog.is_some())
            };
            fence.devices = devices.into_iter().enumerate().map(device).collect();
        }
        config.outage_budget = budget.map(ms);
        if derive {
            config.timing = TimingConfig::for_links(&links, config.fence.as_ref());
        }
        config.timing.drift_ppm = drift;
        config.links = links;
        for n in 0..groups {
            let mut group = GroupConfig::new(&format!("g{n}")).with_address_lifetime(ms(lifetime));
            group.mirrored = mirrored;
            group.shared = !mirrored && n == 2;
            config.groups.push(group.then(ResourceConfig::new("server")));
        }
        config
    }
}

/// Puts a violation's value where its field says.
fn mend(config: &mut Config, violation: &Violation) -> bool {
    let Some(value) = violation.value else { return false };
    let (field, arbiter) = (violation.field.as_str(), config.arbiter.as_mut());
    if field.ends_with(".address_lifetime") {
        config.groups.iter_mut().for_each(|group| group.address_lifetime = group.address_lifetime.min(value));
    } else if field == "arbiter.takeover_wait" {
        arbiter.unwrap().takeover_wait = Some(value);
    } else if field == "watchdog.refresh" {
        config.watchdog.as_mut().unwrap().refresh = Some(value);
    } else if field == "outage_budget" {
        config.outage_budget = Some(value);
    } else {
        range::set(config, field, value);
    }
    true
}

#[test]
fn the_generated_configurations_are_proven_and_refused_in_good_number() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut proven, mut contested, mut refused) = (0, 0, std::collections::BTreeSet::new());
    for _ in 0..1024 {
        let config = any_config().new_tree(&mut runner).unwrap().current();
        match prove(&config) {
            Ok(proof) => {
                proven += 1;
                contested += u32::from(proof.turns.is_some());
            }
            Err(violations) => refused.extend(violations.as_slice().iter().map(|v| v.rule)),
        }
    }
    assert!(proven >= 25 && contested >= 8, "{proven} proven, {contested} with slots");
    let all = "addresses answers arbiter and watchdog beats boot budget configuration confirmation consent detection \
               devices expired expired addresses feeding first slot freeze listening patience poison preparation \
               renewal scope shared";
    assert_eq!(refused.into_iter().collect::<Vec<_>>().join(" "), all);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_proven_configuration_has_every_inequality_with_a_positive_margin(config in any_config()) {
        if let Ok(proof) = prove(&config) {
            for path in &proof.inequalities {
                match path.basis {
                    Basis::Clock => prop_assert!(path.victim_latest() < path.survivor_earliest(), "{path}"),
                    Basis::Proof => prop_assert_eq!(path.victim_latest(), path.survivor_earliest()),
                }
            }
            prop_assert_eq!(proof.outages.len(), FaultKind::ALL.len());
            if config.fence.is_some() && proof.inequality("slots").is_some() {
                prop_assert!(first_shots_are_apart(&config, &config));
            }
        }
    }

    #[test]
    fn the_named_change_mends_its_rule(config in any_config()) {
        let Err(violations) = prove(&config) else { return Ok(()) };
        for violation in violations.as_slice() {
            let mut mended = config.clone();
            if !mend(&mut mended, violation) {
                continue;
            }
            let still = prove(&mended).err().map_or(vec![], |left| left.as_slice().to_vec());
            let same = |left: &Violation| left.rule == violation.rule && left.of == violation.of;
            prop_assert!(!still.iter().any(same), "{violation}\n{still:?}");
        }
    }

    #[test]
    fn a_term_worse_than_its_margin_is_refused(config in any_config()) {
        let Ok(proof) = prove(&config) else { return Ok(()) };
        let beyond = |name: &str| proof.inequality(name).unwrap().holds_by + ms(1);
        let refused = |rule: &str, change: &dyn Fn(&mut Config)| {
            let mut changed = config.clone();
            change(&mut changed);
            prove(&changed).is_err_and(|violations| {
                violations.as_slice().iter().any(|v| v.rule == rule || v.rule == "configuration")
            })
        };
        let by = beyond("patience");
        prop_assert!(refused("patience", &|c| c.timing.feed_limit = c.timing.feed_limit.saturating_sub(by)));
        let by = beyond("freeze");
        prop_assert!(refused("freeze", &|c| c.timing.token_validity += by));
        let by = beyond("boot") * 51 / 50;
        prop_assert!(refused("boot", &|c| c.timing.boot_wait = c.timing.boot_wait.saturating_sub(by)));
        let by = beyond("confirmation") * 51 / 50;
        let sooner = config.timing.confirm_deadline.saturating_sub(by);
        prop_assert!(refused("confirmation", &|c| c.timing.confirm_deadline = sooner));
        // A quicker device shortens the slot by 1.2 times as much: the margin shrinks by a twentieth or more.
        let device = config.fence.as_ref().filter(|_| proof.inequality("slots").is_some());
        if let Some(quicker) = device.and_then(|fence| fence.timeout.checked_sub(beyond("slots") * 20)) {
            prop_assert!(refused("slots", &|c| c.fence.as_mut().unwrap().timeout = quicker));
        }
    }

    #[test]
    fn derived_durations_prove_whatever_the_links(links in prop::collection::vec(any_link(), 1..5)) {
        let mut config = Config::pair("mail", "a", "b").group(GroupConfig::new("smtp").mirrored());
        config.timing = TimingConfig::for_links(&links, None);
        config.links = links;
        for (n, link) in config.links.iter_mut().enumerate() {
            link.name = format!("link{n}");
        }
        if let Err(violations) = prove(&config) {
            prop_assert!(violations.as_slice().iter().all(|v| ["configuration", "beats"].contains(&v.rule)), "{violations}");
        }
    }

    #[test]
    fn proven_nodes_that_fit_each_other_never_shoot_at_once(a in any_config(), dead in 0_u64..400, fence in 0_u64..400) {
        let mut b = a.clone();
        for link in &mut b.links {
            link.dead += Duration::from_micros(dead * 10);
        }
        if let Some(device) = &mut b.fence {
            device.timeout += Duration::from_micros(fence * 10);
        }
        let (Ok(pa), Ok(pb)) = (prove(&a), prove(&b)) else { return Ok(()) };
        let contested = pa.inequality("slots").is_some() && pb.inequality("slots").is_some();
        if contested && joint(&pa.safety, &pb.safety).is_ok() {
            prop_assert!(first_shots_are_apart(&a, &b) && first_shots_are_apart(&b, &a));
        }
    }
}
