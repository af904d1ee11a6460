//! What a node refuses at its start, and what it says.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod runtime_support;

use ha_core::api::{StateError, StateStore};
use ha_core::config::{FenceConfig, GroupConfig};
use ha_core::runtime::{Node, NodeError};
use ha_core::store::{FileStateStore, medium::RealMedium};
use ha_core::{NodeId, NodeRecord};
use runtime_support::*;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

async fn refusal(builder: ha_core::runtime::NodeBuilder) -> String {
    match builder.spawn().await {
        Ok(_) => panic!("the node started"),
        Err(e) => e.to_string(),
    }
}

#[tokio::test]
async fn everything_that_does_not_fit_is_named_at_once() {
    let config = Arc::new(config().fence(FenceConfig::new(ms(1000))));
    let said = refusal(Node::builder(config, NodeId(2)).link(udp("lan")[0].clone())).await;
    for part in [
        "me: found node 2, expected a place in nodes (0 to 1)",
        "key: found none",
        "store: found none",
        "fence: found no device",
        "links[1]: found no link, expected \"cross\"",
        "groups[0] \"mail\".resources[0]: found 0 agents called \"smtp\", expected exactly 1",
    ] {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
}

#[tokio::test]
async fn an_agent_that_ends_with_the_engine_is_named_where_the_configuration_says_that_it_outlives_it() {
    let mut pair = Pair::fenced();
    let mut config = (*pair.config).clone();
    config.groups[0].resources[0].outlives_engine = true;
    pair.config = Arc::new(config);
    let said = refusal(pair.parts(0).store(Box::new(pair.store(0)))).await;
    let part = "groups[0] \"mail\".resources[0].outlives_engine: found true, but the agent \"smtp\" ends with the engine";
    assert!(said.contains(part), "{said}");
}

#[tokio::test]
async fn a_device_without_a_configured_timeout_is_refused() {
    let pair = Pair::new(config());
    let device = PowerSwitch(pair.machines[1].clone());
    let said = refusal(pair.parts(0).store(Box::new(pair.store(0))).fence(Arc::new(device))).await;
    assert!(said.contains("fence: found device \"power switch\" and no [fence]"), "{said}");
}

/// A store that cannot grow.
struct Fixed(FileStateStore);

impl StateStore for Fixed {
    fn load(&mut self) -> Result<NodeRecord, StateError> {
        self.0.load()
    }
    fn save(&mut self, record: &NodeRecord) -> Result<(), StateError> {
        self.0.save(record)
    }
    fn room_for_groups(&self) -> usize {
        self.0.room_for_groups()
    }
}

#[tokio::test]
async fn more_groups_than_the_store_has_room_for_are_refused() {
    let mut pair = Pair::new(config());
    let more = (1..=63).fold((*pair.config).clone(), |c, n| c.group(GroupConfig::new(&format!("g{n}"))));
    pair.config = Arc::new(more);
    let said = refusal(pair.parts(0).store(Box::new(Fixed(pair.store(0))))).await;
    assert!(
        said.contains("store: found room for 63 groups in the store, expected room for all 64"),
        "{said}"
    );
}

#[tokio::test]
async fn timings_that_do_not_prove_are_refused() {
    let mut pair = Pair::fenced();
    let mut unsafe_one = (*pair.config).clone();
    unsafe_one.timing.feed_limit = ms(10);
    pair.config = Arc::new(unsafe_one);
    let refused = pair.parts(0).store(Box::new(pair.store(0))).spawn().await;
    assert!(matches!(refused, Err(NodeError::Unsafe(_))), "{refused:?}");
}

#[tokio::test]
async fn a_busy_port_names_the_link_and_leaves_nothing_running() {
    let pair = Pair::fenced();
    let first = pair.power_on(0).await;
    let other = Pair::fenced();
    // The same machine's links with another machine's store.
    let said = refusal(pair.parts(0).store(Box::new(other.store(0)))).await;
    assert!(said.contains("link \"lan\" could not be opened") && said.contains("in use"), "{said}");
    first.halt().await;
    // Everything is closed again, the refused node's store too.
    drop(FileStateStore::open(Arc::new(RealMedium::create(pair.dirs[0].path()).unwrap())).unwrap());
    pair.power_on(0).await;
}

#[tokio::test]
async fn an_unknown_group_is_named_with_the_known_ones() {
    let pair = Pair::fenced();
    let node = pair.power_on(0).await;
    let said = node.switchover("news").unwrap_err().to_string();
    assert_eq!(said, "found no group \"news\", expected one of: \"mail\"");
    assert!(node.token("news").is_err());
}

#[test]
fn a_node_needs_a_runtime_around_it() {
    let pair = Pair::fenced();
    let mut spawn = pin!(pair.parts(0).store(Box::new(pair.store(0))).spawn());
    let refused = spawn.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(refused, Poll::Ready(Err(NodeError::NoRuntime))));
}
