//! Two real nodes that were set up against each other: what both say, and that never both serve.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod runtime_support;

use ha_core::NodeId;
use ha_core::api::LinkFactory;
use ha_core::config::{Config, FenceConfig, LinkConfig, TimingConfig};
use ha_core::engine::Predecessor;
use ha_core::runtime::{LinkReport, Node, NodeBuilder};
use ha_core::wire::PairKey;
use runtime_support::*;
use std::sync::Arc;
use std::time::Duration;

const SAME_NAME: &str = "two nodes carry one name";
const OTHER_KEY: &str = "key files differ";
const OTHER_CLUSTER: &str = "another cluster";
const LIMIT: Duration = Duration::from_secs(30);

type Paths = Vec<[Arc<dyn LinkFactory>; 2]>;

/// The node at one end of the paths, called whatever it was configured to be.
fn node(pair: &Pair, paths: &Paths, end: u8, config: Arc<Config>, me: u8, key: u8) -> NodeBuilder {
    let machine = &pair.machines[usize::from(end)];
    let mut builder = Node::builder(config, NodeId(me))
        .key(PairKey::from_bytes(&[key; 32]).unwrap())
        .resource("mail", machine.service.clone())
        .predecessor(Predecessor::Gone)
        .end_hook(machine.hook.clone())
        .store(Box::new(pair.store(end)));
    for path in paths {
        builder = builder.link(path[usize::from(end)].clone());
    }
    builder
}

/// Both refuse what the other says and say why, ask their operators, and serve nothing.
async fn both_refuse(config_of: impl Fn(&Pair, u8) -> Arc<Config>, names: [u8; 2], keys: [u8; 2], why: &str) {
    let pair = Pair::new(config());
    let paths: Paths = LINKS.into_iter().map(udp).collect();
    let mut nodes = Vec::new();
    for end in [0, 1_u8] {
        let n = usize::from(end);
        let builder = node(&pair, &paths, end, config_of(&pair, end), names[n], keys[n]);
        nodes.push(builder.spawn().await.unwrap());
    }
    for node in &nodes {
        let blocked = until(node, "a question", |g| g.question.is_some()).await;
        assert_eq!(blocked.role, "blocked", "{}", story(node));
        assert_eq!(node.status().borrow().peer.state, "unknown");
        assert!(node.token("mail").unwrap().check(now()).is_err());
        // What was refused is counted for every path, and nothing was believed.
        assert!(node.traffic().iter().all(|t| t.rejected() > 0 && t.received() == 0));
        let says = |link: &LinkReport| link.last_refusal.as_ref().is_some_and(|text| text.contains(why));
        let mut status = node.status();
        let named = status.wait_for(|s| s.peer.links.iter().all(says));
        tokio::time::timeout(LIMIT, named).await.expect("the refusal is named on every link").unwrap();
    }
    assert!(pair.machines.iter().all(|m| !m.service.is_running()));
}

#[tokio::test]
async fn two_nodes_with_one_name_refuse_each_other_and_neither_serves() {
    both_refuse(|pair, _| pair.config.clone(), [0, 0], [9, 9], SAME_NAME).await;
}

#[tokio::test]
async fn two_nodes_with_different_keys_refuse_each_other_and_neither_serves() {
    both_refuse(|pair, _| pair.config.clone(), [0, 1], [9, 8], OTHER_KEY).await;
}

#[tokio::test]
async fn nodes_of_two_clusters_refuse_each_other_and_neither_serves() {
    let config_of = |pair: &Pair, end| {
        let mut config = (*pair.config).clone();
        config.cluster = format!("post-{end}");
        Arc::new(config)
    };
    both_refuse(config_of, [0, 1], [9, 9], OTHER_CLUSTER).await;
}

/// Each is proven for itself; together both could shoot in one slot. The switch is there and is not used.
#[tokio::test]
async fn with_timings_that_contradict_each_other_nobody_is_shot_and_the_operator_is_asked() {
    let mut pair = Pair::fenced();
    let right = {
        let mut config = config().fence(FenceConfig::new(ms(1000)));
        config.links = LINKS.into_iter().map(|name| LinkConfig::datagram(name, ms(20), ms(900))).collect();
        config.timing = TimingConfig::for_links(&config.links, config.fence.as_ref());
        Arc::new(config)
    };
    let left = std::mem::replace(&mut pair.config, right);
    let right = pair.power_on(1).await;
    pair.config = left;
    let left = pair.power_on(0).await;
    until_role(&left, "active").await;
    until_viable(&right).await;
    // The node is gone, its service still runs: only the power switch could end it.
    *pair.machines[0].node.lock().unwrap() = None;
    drop(left);
    let asked = until(&right, "a question", |g| g.question.is_some()).await;
    let question = asked.question.unwrap();
    assert_eq!((asked.role.as_str(), question.kind.as_str()), ("blocked", "timing-mismatch"));
    assert!(question.text.contains("timings do not fit"), "{}", question.text);
    assert!(pair.machines[0].is_on() && pair.machines[0].service.is_running());
    assert!(!pair.machines[1].service.is_running());
}

fn now() -> ha_core::Instant {
    use ha_core::api::Clock;
    ha_core::runtime::BootClock.now()
}
