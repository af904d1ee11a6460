//! Address and SMTP service as resources of a real pair: a switchover under mail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod smtp_support;

use ha_core::config::{Config, GroupConfig, LinkConfig, ResourceConfig, TimingConfig};
use ha_core::engine::Predecessor;
use ha_core::runtime::{BootClock, Node};
use ha_core::store::{FileStateStore, medium::RealMedium};
use ha_core::wire::PairKey;
use ha_core::{Incarnation, InitId, NodeId, StoreId};
use ha_examples::hello::udp_path;
use ha_examples::smtp::{Identity, LocalMaildir, Service, without_trace};
use ha_vip::{Loopback, VirtualIp};
use lettre::{Message, SmtpTransport, Transport};
use smtp_support::own_address;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const NAMES: [&str; 2] = ["n1", "n2"];

fn config() -> Config {
    let link = |name| LinkConfig::datagram(name, Duration::from_millis(20), Duration::from_millis(600));
    let mail =
        GroupConfig::new("mail").then(ResourceConfig::new("address")).then(ResourceConfig::new("smtp"));
    let mut config = Config::pair("post", NAMES[0], NAMES[1]).link(link("a")).link(link("b")).group(mail);
    config.timing = TimingConfig::for_links(&config.links, None);
    config
}

/// Both nodes, over one Maildir that both can reach.
async fn pair(at: SocketAddr, dir: &Path) -> [Node; 2] {
    let (one, two) = (udp_path("a").unwrap(), udp_path("b").unwrap());
    let mut nodes = Vec::new();
    for me in [0, 1] {
        let who = Identity { node: NAMES[me].into(), incarnation: Incarnation(me as u128 + 1) };
        let store = Arc::new(LocalMaildir::open(dir.join("mail"), who.clone()).unwrap());
        let farewell = Loopback::new().with_farewell("421 4.3.2 going to the other node\r\n");
        let vip = VirtualIp::new("address", at.ip(), Arc::new(farewell)).unwrap();
        let source = vip.accept_source(at.port()).unwrap();
        let service = Service::new("smtp", source, who, store, Arc::new(BootClock));
        let medium = Arc::new(RealMedium::create(dir.join(NAMES[me])).unwrap());
        let memory = FileStateStore::initialise(medium, InitId(1), StoreId(me as u128 + 1)).unwrap();
        let node = Node::builder(Arc::new(config()), NodeId(me as u8))
            .key(PairKey::from_bytes(&[3; 32]).unwrap())
            .link(one[me].clone())
            .link(two[me].clone())
            .store(Box::new(memory))
            .resource("mail", Arc::new(vip))
            .resource("mail", Arc::new(service))
            .predecessor(Predecessor::Gone);
        nodes.push(node.spawn().await.unwrap());
    }
    nodes.try_into().unwrap()
}

async fn reached(node: &Node, role: &str) {
    let mut status = node.status();
    let there = status.wait_for(|s| s.groups[0].role == role && (role == "active" || s.groups[0].viable));
    tokio::time::timeout(Duration::from_secs(30), there).await.expect(role).unwrap();
}

/// Sends until it is acknowledged; the last reply, and the message as sent.
async fn deliver(at: SocketAddr, n: usize) -> (String, Vec<u8>) {
    tokio::task::spawn_blocking(move || {
        let message = Message::builder()
            .from("me@example.org".parse().unwrap())
            .to("you@example.org".parse().unwrap())
            .subject(format!("number {n}"))
            .body(format!("body {n}\r\n"))
            .unwrap();
        let transport = SmtpTransport::builder_dangerous(at.ip().to_string()).port(at.port()).build();
        loop {
            match transport.send(&message) {
                Ok(reply) => {
                    return (reply.message().collect(), [&message.formatted()[..], b"\r\n"].concat());
                }
                Err(error) => assert!(!error.is_permanent(), "{error}"),
            }
        }
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_goes_on_through_a_switchover_and_nothing_acknowledged_is_missing() {
    let (at, dir) = (own_address(), tempfile::tempdir().unwrap());
    let [left, right] = pair(at, dir.path()).await;
    reached(&left, "active").await;
    reached(&right, "standby").await;
    let mut acknowledged = Vec::new();
    let (reply, sent) = deliver(at, 0).await;
    assert!(reply.contains("[node=n1 inc=") && reply.contains(" epoch=1 at="), "{reply}");
    acknowledged.push(sent);
    let mut owners = left.status();
    for n in 1.. {
        // Asked again until it is not refused: the owner may not have heard yet that its peer is viable.
        if owners.borrow_and_update().groups[0].role == "active" {
            left.switchover("mail").unwrap();
        }
        let (reply, sent) = deliver(at, n).await;
        acknowledged.push(sent);
        if reply.contains("[node=n2 ") {
            assert!(reply.contains(" epoch=2 at="), "{reply}");
            break;
        }
    }
    reached(&right, "active").await;
    assert!(left.token("mail").unwrap().check(ha_core::api::Clock::now(&BootClock)).is_err());
    let files = std::fs::read_dir(dir.path().join("mail/new")).unwrap().map(|f| f.unwrap().path());
    let stored: Vec<_> = files.map(|f| without_trace(&std::fs::read(f).unwrap()).to_vec()).collect();
    for message in &acknowledged {
        assert!(stored.contains(message), "{}", String::from_utf8_lossy(message));
    }
}
