//! The data centre of namespaces: hosts reach each other, every fault does what it says, and nothing is left of it.

#![allow(clippy::unwrap_used, reason = "a failed set-up fails the test")]

mod testbed_support;

use ha_vip::testbed::{self, AddressWatch, AnswerWatch, DataCentre, Host, NetworkLockWatch, boot_time};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::time::Duration;
use testbed_support::*;

const V6_OF_N2: &str = "fd00:77::2";

#[test]
#[ignore = "needs network namespaces"]
fn hosts_reach_each_other_on_every_network_and_only_inside() {
    testbed::test(|| {
        let centre = DataCentre::pair().neighbour("w1").build().unwrap();
        let n1 = centre.host("n1").unwrap();
        for address in ["10.77.0.2", "10.78.0.2", "10.78.0.66", V6_OF_N2, "10.77.0.3"] {
            assert!(pings(&n1, address), "{address}");
        }
        assert!(!pings(&centre.host("w1").unwrap(), "10.78.0.2"), "a bystander is in no heartbeat network");
        assert_eq!(n1.output("hostname", &[]).unwrap().stdout, b"n1\n");
        let outside = Command::new("ping").args(["-c1", "-W1", "10.77.0.2"]).output().unwrap();
        assert!(!outside.status.success(), "the addresses exist in there only");
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn a_client_reaches_hosts_through_the_router() {
    testbed::test(|| {
        let centre = DataCentre::pair().client("c1").build().unwrap();
        let (c1, n2) = (centre.host("c1").unwrap(), centre.host("n2").unwrap());
        assert!(pings(&c1, "10.77.0.2"));
        assert!(pings(&c1, V6_OF_N2));
        let listener = n2.run_in(|| std::net::TcpListener::bind("10.77.0.2:25")).unwrap().unwrap();
        let client = c1.run_in(|| std::net::TcpStream::connect("10.77.0.2:25")).unwrap().unwrap();
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), IpAddr::from([10, 78, 0, 129]));
        assert_eq!(client.local_addr().unwrap(), from);
        // The way leads through it: without it there is none.
        centre.power_off("router").unwrap();
        assert!(!pings(&c1, "10.77.0.2"));
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn a_pulled_cable_takes_the_carrier_of_one_interface_until_it_is_plugged_in() {
    testbed::test(|| {
        let centre = DataCentre::pair().build().unwrap();
        let n1 = centre.host("n1").unwrap();
        assert!(has_carrier(&n1, "lan0"));
        centre.link_down("n1", "lan0").unwrap();
        assert!(soon(|| !has_carrier(&n1, "lan0")));
        assert!(!pings(&n1, "10.77.0.2"));
        assert!(pings(&n1, "10.78.0.2"), "the other networks go on");
        centre.link_up("n1", "lan0").unwrap();
        assert!(soon(|| has_carrier(&n1, "lan0")));
        assert!(soon(|| pings(&n1, "10.77.0.2")));
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn a_deleted_interface_is_gone_until_the_host_boots() {
    testbed::test(|| {
        let centre = DataCentre::pair().build().unwrap();
        let n1 = centre.host("n1").unwrap();
        centre.delete_link("n1", "hb0").unwrap();
        assert!(!n1.output("ip", &["link", "show", "hb0"]).unwrap().status.success());
        assert!(pings(&n1, "10.77.0.2"));
        centre.heal().unwrap();
        centre.power_off("n1").unwrap();
        centre.power_on("n1").unwrap();
        assert!(soon(|| pings(&n1, "10.78.0.2")));
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn one_direction_is_dropped_while_the_other_goes_on() {
    testbed::test(|| {
        let centre = DataCentre::pair().neighbour("w1").build().unwrap();
        let (n1, n2) = (centre.host("n1").unwrap(), centre.host("n2").unwrap());
        let (one, other) = (Datagrams::bind(&n1, "10.77.0.1:9000"), Datagrams::bind(&n2, "10.77.0.2:9000"));
        assert!(one.reaches(&other) && other.reaches(&one));
        centre.drop_one_way("n1", "n2").unwrap();
        assert!(!one.reaches(&other));
        assert!(other.reaches(&one), "the other direction goes on");
        assert!(pings(&n1, "10.77.0.3") && has_carrier(&n1, "lan0"), "others are reached");
        centre.sever("n1", "n2").unwrap();
        assert!(!other.reaches(&one));
        centre.heal().unwrap();
        assert!(one.reaches(&other) && other.reaches(&one));
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn an_isolated_host_reaches_nobody_but_lives() {
    testbed::test(|| {
        let centre = DataCentre::pair().build().unwrap();
        let (n1, n2) = (centre.host("n1").unwrap(), centre.host("n2").unwrap());
        let sleeper = n1.spawn(sleep()).unwrap();
        centre.isolate("n1").unwrap();
        for (host, address) in
            [(&n1, "10.77.0.2"), (&n1, "10.78.0.2"), (&n1, "10.78.0.66"), (&n2, "10.77.0.1")]
        {
            assert!(!pings(host, address), "{address}");
        }
        assert!(soon(|| !has_carrier(&n1, "lan0") && !has_carrier(&n1, "hb1")));
        assert!(sleeper.try_wait().unwrap().is_none());
        centre.rejoin("n1").unwrap();
        assert!(soon(|| pings(&n1, "10.77.0.2") && pings(&n1, "10.78.0.2") && pings(&n1, "10.78.0.66")));
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn a_limited_interface_passes_no_more_than_its_rate() {
    testbed::test(|| {
        let centre = DataCentre::pair().build().unwrap();
        let (n1, n2) = (centre.host("n1").unwrap(), centre.host("n2").unwrap());
        centre.rate_limit("n1", "lan0", 400_000).unwrap();
        let (one, other) = (Datagrams::bind(&n1, "10.77.0.1:9000"), Datagrams::bind(&n2, "10.77.0.2:9000"));
        // The burst (4 kB) and the queue (50 ms of 400 kbit/s = 2.5 kB) take some; the rest is dropped, by the rate.
        assert!(one.of_a_burst_of(200, &other) < 20);
        assert!(other.of_a_burst_of(200, &one) < 20, "both directions are limited");
        centre.no_rate_limit("n1", "lan0").unwrap();
        assert!(one.of_a_burst_of(50, &other) > 20);
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn a_stranger_answers_for_an_address_that_is_taken() {
    testbed::test(|| {
        let centre = DataCentre::pair().build().unwrap();
        let n1 = centre.host("n1").unwrap();
        assert!(!pings(&n1, "10.77.0.100"));
        let stranger = centre.duplicate_address_host(Ipv4Addr::new(10, 77, 0, 100)).unwrap();
        assert!(soon(|| pings(&n1, "10.77.0.100")));
        let seen =
            String::from_utf8(n1.output("ip", &["neigh", "show", "10.77.0.100"]).unwrap().stdout).unwrap();
        let mac = stranger.interfaces()[0].mac.map(|byte| format!("{byte:02x}")).join(":");
        assert!(seen.contains(&mac), "{seen} without {mac}");
        centre.duplicate_address_host(Ipv4Addr::new(10, 77, 0, 2)).unwrap();
        assert!(centre.duplicate_address_host(Ipv4Addr::new(192, 168, 0, 1)).is_err(), "of no LAN");
        centre.power_off(stranger.name()).unwrap();
        assert!(!pings(&n1, "10.77.0.100"));
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn a_power_loss_kills_grandchildren_too_and_no_address_answers() {
    testbed::test(|| {
        let centre = DataCentre::pair().build().unwrap();
        let (n1, n2) = (centre.host("n1").unwrap(), centre.host("n2").unwrap());
        let family = family_of_three(&n1);
        let other = n2.spawn(sleep()).unwrap();
        assert_eq!(n1.processes().unwrap().len(), 3);
        n1.output("ip", &["address", "add", "10.77.0.100/24", "dev", "lan0"]).unwrap();
        assert!(soon(|| pings(&n2, "10.77.0.100")));

        centre.power_off("n1").unwrap();
        assert!(family.iter().all(|pid| !is_alive(*pid)), "{family:?}");
        assert!(!n1.is_on() && n1.spawn(sleep()).is_err() && n1.processes().unwrap().is_empty());
        assert!(!pings(&n2, "10.77.0.100") && !pings(&n2, "10.77.0.1"));
        assert!(other.try_wait().unwrap().is_none(), "the other host goes on");
        centre.power_off("n1").unwrap();

        centre.power_on("n1").unwrap();
        assert!(soon(|| pings(&n2, "10.77.0.1")));
        assert!(!pings(&n2, "10.77.0.100"), "a boot brings no address back");
        assert!(n1.processes().unwrap().is_empty());
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn no_peer_hears_a_farewell_of_a_host_without_power() {
    testbed::test(|| {
        use std::io::{ErrorKind, Read};
        let centre = DataCentre::pair().build().unwrap();
        let (n1, n2) = (centre.host("n1").unwrap(), centre.host("n2").unwrap());
        let mut server = Command::new("python3");
        let script = "import socket; s = socket.create_server(('10.77.0.1', 25)); print('ready', flush=True); c = s.accept(); c[0].recv(1)";
        server.args(["-c", script]).stdout(Stdio::piped());
        let server = n1.spawn(server).unwrap();
        let mut ready = String::new();
        BufReader::new(server.take_stdout().unwrap()).read_line(&mut ready).unwrap();
        let mut client = n2.run_in(|| std::net::TcpStream::connect("10.77.0.1:25")).unwrap().unwrap();
        client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        centre.power_off("n1").unwrap();
        let heard = client.read(&mut [0]);
        assert!(matches!(&heard, Err(e) if e.kind() == ErrorKind::WouldBlock), "{heard:?}");
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn a_frozen_host_stands_still_and_goes_on() {
    testbed::test(|| {
        let centre = DataCentre::pair().build().unwrap();
        let n1 = centre.host("n1").unwrap();
        let family = family_of_three(&n1);
        n1.freeze().unwrap();
        assert!(soon(|| family.iter().all(|pid| state(*pid) == Some('T'))));
        assert!(pings(&centre.host("n2").unwrap(), "10.77.0.1"), "its kernel answers");
        n1.thaw().unwrap();
        assert!(soon(|| family.iter().all(|pid| state(*pid) == Some('S'))));
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn a_watch_sees_an_address_on_one_host_and_on_both() {
    testbed::test(|| {
        let centre = DataCentre::pair().build().unwrap();
        let hosts = [centre.host("n1").unwrap(), centre.host("n2").unwrap()];
        let set = |host: &Host, verb| {
            host.output("ip", &["address", verb, "10.77.0.100/24", "dev", "lan0"]).unwrap()
        };
        let address = [10, 77, 0, 100].into();
        let start = || AddressWatch::start(&hosts, address, Duration::from_millis(1)).unwrap();

        let watch = start();
        for host in &hosts {
            set(host, "add");
            looks_more(|| watch.looks());
            set(host, "del");
        }
        let seen = watch.stop();
        assert_eq!(seen.on_both(Duration::ZERO), Duration::ZERO, "{seen:?}");
        assert!(seen.held.contains_key("n1") && seen.held.contains_key("n2"), "{seen:?}");

        let watch = start();
        set(&hosts[0], "add");
        set(&hosts[1], "add");
        looks_more(|| watch.looks());
        centre.power_off("n1").unwrap();
        looks_more(|| watch.looks());
        let off = boot_time();
        looks_more(|| watch.looks());
        let seen = watch.stop();
        assert!(!seen.on_both(Duration::ZERO).is_zero(), "{seen:?}");
        assert!(seen.on_both(off).is_zero(), "without power it has none: {seen:?}");
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn a_watch_hears_who_answers_for_an_address_and_a_filter_silences_him() {
    testbed::test(|| {
        let centre = DataCentre::pair().neighbour("w1").build().unwrap();
        let hosts = [centre.host("n1").unwrap(), centre.host("n2").unwrap()];
        let run = |host: &Host, words: &[&str]| {
            assert!(host.output(words[0], &words[1..]).unwrap().status.success())
        };
        run(&hosts[0], &["ip", "address", "add", "10.77.0.100/24", "dev", "lan0"]);
        let bystander = centre.host("w1").unwrap();
        let pause = Duration::from_millis(1);
        let start =
            || AnswerWatch::start(&bystander, &hosts, "lan0", Ipv4Addr::new(10, 77, 0, 100), pause).unwrap();

        hosts[0].freeze().unwrap();
        let watch = start();
        looks_more(|| watch.looks());
        let seen = watch.stop();
        assert!(seen.held.contains_key("n1") && !seen.held.contains_key("n2"), "{seen:?}");
        assert_eq!(seen.on_both(Duration::ZERO), Duration::ZERO);
        hosts[0].thaw().unwrap();

        run(&hosts[1], &["ip", "address", "add", "10.77.0.100/24", "dev", "lan0"]);
        let watch = start();
        looks_more(|| watch.looks());
        assert!(!watch.stop().on_both(Duration::ZERO).is_zero());

        run(&hosts[0], &["nft", "add table arp quiet"]);
        run(
            &hosts[0],
            &["nft", "add chain arp quiet in { type filter hook input priority 0; policy drop; }"],
        );
        let watch = start();
        looks_more(|| watch.looks());
        let seen = watch.stop();
        assert!(seen.on_both(Duration::ZERO).is_zero() && seen.held.contains_key("n2"), "{seen:?}");
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn a_watch_over_the_network_lock_sees_another_host_hold_it() {
    testbed::test(|| {
        let centre = DataCentre::pair().build().unwrap();
        let n1 = centre.host("n1").unwrap();
        let script =
            "for i in $(seq 100); do echo link add a$i group 7 type veth peer name b$i; done | ip -batch -";
        assert!(n1.output("sh", &["-c", script]).unwrap().status.success());
        let watch = NetworkLockWatch::start(&centre, Duration::from_millis(1)).unwrap();
        let from = boot_time();
        // A hundred interfaces in one request: they are taken apart under the lock.
        assert!(n1.output("ip", &["link", "delete", "group", "7"]).unwrap().status.success());
        let to = boot_time();
        let waits = watch.stop();
        assert!(waits.iter().any(|(begun, ended)| *begun < to && *ended > from), "{waits:?}");
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn nothing_is_left_after_drop() {
    testbed::test(|| {
        let centre = DataCentre::pair().client("c1").build().unwrap();
        let n1 = centre.host("n1").unwrap();
        let family = family_of_three(&n1);
        let spaces = network_spaces(&centre);
        assert!(spaces.iter().all(|space| processes_in(space) > 0));
        drop((n1, centre));
        assert!(soon(|| family.iter().all(|pid| !is_alive(*pid))));
        assert!(soon(|| spaces.iter().all(|space| processes_in(space) == 0)));
        assert!(
            !open_spaces().iter().any(|open| spaces.contains(open)),
            "a descriptor keeps a network alive"
        );
    });
}

/// Stands for an owner that is killed. Started by the next test only.
#[test]
#[ignore = "a process that another test starts"]
fn owns_a_data_centre_until_it_is_killed() {
    let centre = DataCentre::pair().client("c1").build().unwrap();
    let family = family_of_three(&centre.host("n1").unwrap());
    println!("\nowner {} {family:?}", network_spaces(&centre).join(" "));
    loop {
        std::thread::park();
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn nothing_is_left_after_the_owner_was_killed() {
    testbed::test(|| {
        let mut owner = Command::new(std::env::current_exe().unwrap());
        owner.args(["--exact", "owns_a_data_centre_until_it_is_killed", "--ignored", "--nocapture"]);
        let mut owner = owner.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
        let line = lines.find_map(|line| line.unwrap().strip_prefix("owner ").map(str::to_owned)).unwrap();
        let spaces: Vec<String> =
            line.split(' ').filter(|word| word.starts_with("net:")).map(str::to_owned).collect();
        assert_eq!(spaces.len(), 4, "{line}");
        assert!(spaces.iter().all(|space| processes_in(space) > 0));
        owner.kill().unwrap();
        owner.wait().unwrap();
        assert!(soon(|| spaces.iter().all(|space| processes_in(space) == 0)), "{line}");
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn an_ordinary_user_builds_one_where_user_namespaces_are_permitted() {
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65534;
    if std::env::var_os("HA_TESTBED_ORDINARY").is_some() || !testbed::may_make_namespaces() {
        // Root is not asked: the data centre is built in a user namespace.
        assert!(!testbed::may_make_namespaces() || is_in_a_user_namespace());
        return testbed::test(|| {
            let centre = DataCentre::pair().client("c1").build().unwrap();
            assert!(pings(&centre.host("c1").unwrap(), "10.77.0.2"));
            let family = family_of_three(&centre.host("n1").unwrap());
            centre.sever("n1", "n2").unwrap();
            assert!(!pings(&centre.host("n1").unwrap(), "10.77.0.2"));
            centre.power_off("n1").unwrap();
            assert!(family.iter().all(|pid| !is_alive(*pid)));
        });
    }
    // The build directory may be closed to others.
    let place = tempfile_for_everybody();
    let copy = place.join("testbed");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let mut test = Command::new(&copy);
    test.args([
        "--exact",
        "an_ordinary_user_builds_one_where_user_namespaces_are_permitted",
        "--ignored",
        "--nocapture",
    ]);
    test.env("HA_TESTBED_ORDINARY", "1").env("TMPDIR", &place).current_dir("/").uid(NOBODY).gid(NOBODY);
    let output = test.output().unwrap();
    std::fs::remove_dir_all(&place).unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
