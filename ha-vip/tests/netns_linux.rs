//! Addresses on interfaces, in namespaces of their own: taken, kept, given up, and what goes wrong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

mod netns_space;

use ha_core::engine::Health;
use ha_vip::VirtualIp;
use ha_vip::kernel::Address;
use ha_vip::linux::{DuplicateDetection, LinkLoss, LinuxError};
use netns_space::serving::{Serving, Told, specs};
use netns_space::{Space, run, until};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn refused(space: &Space, addresses: &[&str]) -> LinuxError {
    VirtualIp::linux("address", specs(addresses)).namespace(space.namespace()).build().unwrap_err()
}

#[test]
#[ignore = "needs network namespaces"]
fn addresses_routes_and_rules_come_and_go_together_and_again() {
    let (one, two) = Space::pair();
    let told = Arc::new(Told::default());
    let serving = Serving::new(|| {
        VirtualIp::linux(
            "address",
            specs(&["10.77.0.100/24@lan0,label=lan0:mail", "fd00::64/64@lan0", "10.77.0.101/32"]),
        )
        .namespace(one.namespace())
        .announce(told.clone())
        .route("default via 10.77.0.2 src 10.77.0.100 table 100".parse().unwrap())
        .route("fd99::/64 via fd00::2".parse().unwrap())
        .rule("from 10.77.0.100/32 table 100 priority 1000".parse().unwrap())
        .build()
        .unwrap()
    });
    for round in 1..=3 {
        serving.must_be(Health::Stopped);
        serving.start().unwrap();
        serving.start().unwrap();
        serving.must_be(Health::Running);
        let shown = one.ip("-o addr show dev lan0");
        for part in ["10.77.0.100/24", "lan0:mail", "fd00::64/64", "10.77.0.101/32"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert!(one.ip("route show table 100").contains("default via 10.77.0.2"));
        assert!(one.ip("-6 route show").contains("fd99::/64 via fd00::2"));
        assert!(one.ip("rule show").contains("from 10.77.0.100 lookup 100"));
        for address in ["10.77.0.100", "10.77.0.101", "fd00::64"] {
            assert!(
                two.command("ping").args(["-c1", "-W2", address]).output().is_ok_and(|o| o.status.success())
                    || !has_ping()
            );
        }
        let announced: Vec<IpAddr> = told.all().into_iter().map(|(_, address)| address).collect();
        assert_eq!(announced.len(), 3 * round, "each once, in order: {announced:?}");
        serving.stop().unwrap();
        serving.stop().unwrap();
        serving.must_be(Health::Stopped);
        assert!(!one.has("10.77.0.100") && !one.has("fd00::64") && !one.has("10.77.0.101"));
        assert!(!one.ip("rule show").contains("10.77.0.100"));
        assert!(!one.ip("-6 route show").contains("fd99::"));
    }
    assert!(one.has("10.77.0.1/24"), "the host's own address stays");
}

fn has_ping() -> bool {
    std::process::Command::new("ping").arg("-V").output().is_ok()
}

#[test]
#[ignore = "needs network namespaces"]
fn an_interface_is_found_by_route_and_refused_unless_it_is_the_only_one() {
    let (one, _two) = Space::pair();
    let serving = Serving::new(|| {
        VirtualIp::linux("address", specs(&["10.77.0.100/24"])).namespace(one.namespace()).build().unwrap()
    });
    serving.start().unwrap();
    assert!(one.ip("-o addr show dev lan0").contains("10.77.0.100/24"));
    drop(serving);
    let text = refused(&one, &["192.0.2.9/24"]).to_string();
    assert!(text.contains("names no interface, and no interface has"), "{text}");
    one.ip("link add wan0 type veth peer name wan1");
    one.ip("link set wan0 up");
    one.ip("addr add 10.77.0.7/24 dev wan0");
    let text = refused(&one, &["10.77.0.100/24"]).to_string();
    assert!(text.contains("on several: lan0, wan0"), "{text}");
}

#[test]
#[ignore = "needs network namespaces"]
fn what_somebody_else_put_there_is_refused_and_left_alone() {
    let (one, _two) = Space::pair();
    one.ip("addr add 10.77.0.100/24 dev lan0");
    let serving = Serving::new(|| {
        VirtualIp::linux("address", specs(&["10.77.0.101/24@lan0", "10.77.0.100/24@lan0"]))
            .namespace(one.namespace())
            .build()
            .unwrap()
    });
    let text = serving.start().unwrap_err().to_string();
    assert!(text.contains("10.77.0.100 is on lan0 already and was not put there by us"), "{text}");
    assert!(!one.has("10.77.0.101"));
    serving.stop().unwrap();
    drop(serving);
    assert!(one.has("10.77.0.100/24"), "what is not ours stays");
}

#[test]
#[ignore = "needs network namespaces"]
fn what_fails_midway_is_taken_back_whole() {
    let (one, _two) = Space::pair();
    let serving = Serving::new(|| {
        VirtualIp::linux("address", specs(&["10.77.0.100/24@lan0", "fd00::64/64@lan0"]))
            .namespace(one.namespace())
            .gate(Duration::from_millis(500))
            .route("10.99.0.0/16 via 172.16.0.1".parse().unwrap())
            .build()
            .unwrap()
    });
    let text = serving.start().unwrap_err().to_string();
    assert!(text.contains("add the route to 10.99.0.0/16 via 172.16.0.1"), "{text}");
    assert!(!one.has("10.77.0.100") && !one.has("fd00::64"));
    assert!(
        !String::from_utf8_lossy(&one.command("nft").args(["list", "ruleset"]).output().unwrap().stdout)
            .contains("ha_vip")
    );
    serving.must_be(Health::Stopped);
}

#[test]
#[ignore = "needs network namespaces"]
fn a_permission_that_runs_out_suspends_and_one_that_is_confirmed_brings_back() {
    let (one, _two) = Space::pair();
    let told = Arc::new(Told::default());
    let serving = Serving::new(|| {
        VirtualIp::linux("address", specs(&["10.77.0.100/24@lan0", "fd00::64/64@lan0"]))
            .namespace(one.namespace())
            .announce(told.clone())
            .build()
            .unwrap()
    });
    serving.permit(Duration::from_secs(3));
    serving.start().unwrap();
    assert!(one.has("10.77.0.100") && one.has("fd00::64"));
    until("suspended", || !one.has("10.77.0.100") && !one.has("fd00::64"));
    serving.must_be(Health::Degraded);
    assert!(serving.start().is_err(), "without a permission nothing starts");
    serving.permit(Duration::from_secs(3600));
    until("back", || one.has("10.77.0.100") && one.has("fd00::64"));
    serving.must_be(Health::Running);
    until("announced again", || told.all().len() == 4);
    serving.token.revoke();
    until("suspended again", || !one.has("10.77.0.100"));
}

#[test]
#[ignore = "needs network namespaces"]
fn an_address_lives_beyond_its_lifetime_only_by_renewal() {
    let (one, _two) = Space::pair();
    let serving = Serving::new(|| {
        VirtualIp::linux("address", specs(&["10.77.0.100/24@lan0"]))
            .namespace(one.namespace())
            .build()
            .unwrap()
    });
    serving.start().unwrap();
    let shown = one.ip("-o addr show dev lan0");
    assert!(shown.contains("valid_lft 1sec") || shown.contains("valid_lft 0sec"), "{shown}");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        assert!(one.has("10.77.0.100"), "lapsed after {:?}", begun.elapsed());
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn an_address_that_was_removed_behind_our_back_is_put_back_and_announced() {
    let (one, _two) = Space::pair();
    let told = Arc::new(Told::default());
    let serving = Serving::new(|| {
        VirtualIp::linux("address", specs(&["10.77.0.100/24@lan0"]))
            .namespace(one.namespace())
            .announce(told.clone())
            .build()
            .unwrap()
    });
    serving.start().unwrap();
    for times in 2..5 {
        one.ip("addr del 10.77.0.100/24 dev lan0");
        until("put back", || one.has("10.77.0.100/24"));
        until("announced", || told.all().len() >= times);
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn a_lost_link_is_seen_in_the_health() {
    let (one, two) = Space::pair();
    let serving = |loss| {
        Serving::new(|| {
            VirtualIp::linux("address", specs(&["10.77.0.100/24@lan0"]))
                .namespace(one.namespace())
                .on_link_loss(loss)
                .build()
                .unwrap()
        })
    };
    for (loss, health) in [(LinkLoss::Fails, Health::Failed), (LinkLoss::Degrades, Health::Degraded)] {
        let serving = serving(loss);
        serving.start().unwrap();
        serving.must_be(Health::Running);
        two.ip("link set lan0 down");
        until("no carrier", || serving.health() == health);
        two.ip("link set lan0 up");
        until("carrier again", || serving.health() == Health::Running);
        serving.stop().unwrap();
    }
    one.ip("link set lan0 down");
    let serving = serving(LinkLoss::Fails);
    let text = serving.start().unwrap_err().to_string();
    assert!(text.contains("lan0 is down, so 10.77.0.100 would not answer"), "{text}");
    assert!(!one.has("10.77.0.100"));
}

#[test]
#[ignore = "needs network namespaces"]
fn an_interface_that_is_missing_renamed_or_gone_is_named() {
    let (one, _two) = Space::pair();
    let text = refused(&one, &["10.77.0.100/24@wan0"]).to_string();
    assert!(text.contains("there is no interface wan0"), "{text}");
    let serving = Serving::new(|| {
        VirtualIp::linux("address", specs(&["10.77.0.100/24@lan0"]))
            .namespace(one.namespace())
            .build()
            .unwrap()
    });
    serving.start().unwrap();
    one.ip("link set lan0 name lan9");
    serving.must_be(Health::Running);
    serving.stop().unwrap();
    let text = serving.start().unwrap_err().to_string();
    assert!(text.contains("there is no interface lan0"), "{text}");
    one.ip("link set lan9 name lan0");
    serving.start().unwrap();
    one.ip("link del lan0");
    until("gone with its interface", || serving.health() == Health::Stopped);
    serving.stop().unwrap();
}

#[test]
#[ignore = "needs network namespaces"]
fn an_interface_that_is_made_anew_under_its_name_gets_its_addresses_again() {
    let (one, two) = Space::pair();
    let serving = Serving::new(|| {
        VirtualIp::linux("address", specs(&["10.77.0.100/24@lan0", "fd00::64/64@lan0"]))
            .namespace(one.namespace())
            .build()
            .unwrap()
    });
    serving.start().unwrap();
    one.ip("link del lan0");
    until("gone with its interface", || serving.health() == Health::Stopped);
    // Nothing to put them on: a start must not claim what is not there.
    assert!(serving.start().is_err());
    assert!(serving.health() == Health::Stopped);
    one.ip(&format!("link add lan0 type veth peer name lan0 netns {}", two.name));
    one.ip("link set lan0 up");
    two.ip("link set lan0 up");
    serving.start().unwrap();
    until("there again", || serving.health() == Health::Running);
    one.ip("link set lan0 down");
    until("down is seen", || serving.health() != Health::Running);
    one.ip("link set lan0 up");
    until("there again without a start", || serving.health() == Health::Running);
    assert!(one.has("10.77.0.100/24") && one.has("fd00::64/64"));
}

#[test]
#[ignore = "needs network namespaces"]
fn a_stop_after_which_something_is_left_is_no_success() {
    let (one, _two) = Space::pair();
    let serving = Serving::new(|| {
        let builder = VirtualIp::linux("address", specs(&["10.77.0.100/24@lan0"]));
        builder.namespace(one.namespace()).build().unwrap()
    });
    serving.start().unwrap();
    let mut kernel = one.kernel();
    let lan = kernel.link_named("lan0").unwrap().nic;
    let ours = Address { origin: 0x48, ..Address::new(lan.index, [10, 77, 0, 100].into(), 24) };
    let ended = Arc::new(AtomicBool::new(false));
    let until_then = Arc::clone(&ended);
    let stubborn = std::thread::spawn(move || {
        while !until_then.load(Ordering::Relaxed) {
            kernel.put_addresses(std::slice::from_ref(&ours)).remove(0).unwrap();
        }
    });
    // Whoever puts it back is not always quick enough.
    let mut said = String::new();
    until("a stop that finds it there again", || {
        said = serving.stop().map_or_else(|error| error.to_string(), |()| String::new());
        !said.is_empty()
    });
    ended.store(true, Ordering::Relaxed);
    stubborn.join().unwrap();
    assert!(said.contains("10.77.0.100/24") && said.contains("there"), "{said}");
    serving.stop().unwrap();
    assert!(!one.has("10.77.0.100"));
}

#[test]
#[ignore = "needs network namespaces"]
fn what_an_earlier_life_left_is_removed_when_the_next_is_built() {
    let (one, _two) = Space::pair();
    let mut kernel = one.kernel();
    let lan = kernel.link_named("lan0").unwrap().nic;
    // As we mark them; Debian's `ip` does not know this attribute yet.
    let left = Address { origin: 0x48, ..Address::new(lan.index, [10, 77, 0, 100].into(), 25) };
    kernel.put_addresses(&[left]).remove(0).unwrap();
    one.ip("addr add 10.77.0.101/24 dev lan0");
    let serving = Serving::new(|| {
        VirtualIp::linux("address", specs(&["10.77.0.100/24@lan0", "10.77.0.101/24@lan0"]))
            .namespace(one.namespace())
            .build()
            .unwrap()
    });
    assert!(!one.has("10.77.0.100"), "left by an earlier life");
    assert!(one.has("10.77.0.101"), "not ours");
    drop(serving);
}

#[test]
#[ignore = "needs network namespaces"]
fn a_duplicate_address_is_named_where_it_is_looked_for() {
    let (one, two) = Space::pair();
    two.ip("addr add fd00::64/64 dev lan0 nodad");
    let serving = Serving::new(|| {
        VirtualIp::linux("address", specs(&["fd00::64/64@lan0"]))
            .namespace(one.namespace())
            .duplicate_detection(DuplicateDetection::Wait)
            .silent() // the kernel's own check is looked at, not the probe before it
            .build()
            .unwrap()
    });
    serving.start().unwrap();
    serving.must_be(Health::Degraded);
    until("dadfailed", || serving.health() == Health::Failed);
    serving.stop().unwrap();
    two.ip("addr del fd00::64/64 dev lan0");
    serving.start().unwrap();
    until("checked", || serving.health() == Health::Running);
}

#[test]
#[ignore = "needs network namespaces"]
fn a_hundred_addresses_come_and_go_in_one_go() {
    let (one, _two) = Space::pair();
    for count in [1_u32, 100] {
        let texts: Vec<String> = (0..count).map(|n| format!("10.77.0.{}/24@lan0", 100 + n)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let told = Arc::new(Told::default());
        let serving = Serving::new(|| {
            VirtualIp::linux("address", specs(&texts))
                .namespace(one.namespace())
                // Long: other namespaces that come and go hold the kernel's one lock for all of them for up to seconds.
                .lifetime(Duration::from_secs(60))
                .announce(told.clone())
                .build()
                .unwrap()
        });
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for _ in 0..21 {
            let begun = Instant::now();
            serving.start().unwrap();
            up.push(begun.elapsed());
            serving.must_be(Health::Running);
            let begun = Instant::now();
            serving.stop().unwrap();
            down.push(begun.elapsed());
        }
        up.sort_unstable();
        down.sort_unstable();
        assert_eq!(told.all().len(), 21 * texts.len());
        println!(
            "{count} addresses: start median {:?} worst {:?}, stop median {:?} worst {:?}",
            up[10], up[20], down[10], down[20]
        );
    }
    assert_eq!(run("ip", &["-n", &one.name, "-4", "-o", "addr", "show", "dev", "lan0"]).lines().count(), 1);
}
