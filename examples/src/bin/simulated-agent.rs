//! An agent of your own, run unchanged under the simulator: a queue runner that must never work on two nodes at once.
//!
//! `cargo run -p ha-examples --bin simulated-agent`

use async_trait::async_trait;
use ha_core::GroupId;
use ha_core::api::{Ctx, Resource, ResourceError};
use ha_core::config::{Config, FenceConfig, GroupConfig, LinkConfig, ResourceConfig, TimingConfig};
use ha_core::engine::Health;
use ha_core::sim::{Cluster, Fault, Options, Scenario};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Delivers one item of a queue every 40 ms, for as long as its permission holds.
struct QueueRunner {
    node: usize,
    runs: Arc<AtomicBool>,
    delivered: Arc<Mutex<Vec<(usize, u64)>>>,
}

#[async_trait]
impl Resource for QueueRunner {
    fn name(&self) -> &str {
        "queue-runner"
    }

    async fn start(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        ctx.sleep(Duration::from_millis(60)).await; // reading the queue takes a while
        self.runs.store(true, Ordering::Relaxed);
        let (ctx, runs, delivered, node) =
            (ctx.clone(), self.runs.clone(), self.delivered.clone(), self.node);
        ctx.clone().spawn(async move {
            while runs.load(Ordering::Relaxed) {
                // The permission is checked at each act, never remembered.
                if let (Ok(token), Ok(mut list)) = (ctx.token().check(ctx.now()), delivered.lock()) {
                    list.push((node, token.epoch.0));
                }
                ctx.sleep(Duration::from_millis(40)).await;
            }
        });
        Ok(())
    }

    async fn stop(&self, _: &Ctx) -> Result<(), ResourceError> {
        self.runs.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn monitor(&self, _: &Ctx) -> Health {
        if self.runs.load(Ordering::Relaxed) { Health::Running } else { Health::Stopped }
    }
}

fn pair() -> Config {
    let ms = Duration::from_millis;
    let mut config = Config::pair("queue", "left", "right")
        .link(LinkConfig::datagram("lan", ms(50), ms(250)))
        .link(LinkConfig::datagram("cross", ms(50), ms(250)))
        .fence(FenceConfig::new(ms(200)))
        .group(
            GroupConfig::new("mail")
                .then(ResourceConfig::new("address"))
                .then(ResourceConfig::new("queue-runner")),
        );
    config.timing = TimingConfig::for_links(&config.links, config.fence.as_ref());
    config
}

fn main() {
    let delivered: Arc<Mutex<Vec<(usize, u64)>>> = Arc::default();
    let shared = delivered.clone();
    let mut cluster = Cluster::new(Scenario::quiet(1, pair()), Options::default()).with_resource(
        GroupId(0),
        1,
        move |node| Arc::new(QueueRunner { node, runs: Arc::default(), delivered: shared.clone() }),
    );
    let seconds = Duration::from_secs;
    cluster.run_for(seconds(3));
    cluster.inject(Fault::PauseTree(0, seconds(4))); // the active node is frozen, then wakes
    cluster.run_for(seconds(6));
    cluster.inject(Fault::Switchover(0));
    cluster.run_for(seconds(3));

    println!("{}", cluster.timeline());
    let mut spells: Vec<(usize, u64, usize)> = Vec::new();
    for (node, epoch) in delivered.lock().map(|list| list.clone()).unwrap_or_default() {
        match spells.last_mut() {
            Some((n, e, count)) if (*n, *e) == (node, epoch) => *count += 1,
            _ => spells.push((node, epoch, 1)),
        }
    }
    for (node, epoch, count) in spells {
        println!("node {node} delivered {count} items in epoch {epoch}");
    }
    match cluster.broken() {
        None => println!("every invariant held"),
        Some(broken) => println!("{broken}"),
    }
}
