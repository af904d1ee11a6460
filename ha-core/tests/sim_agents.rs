//! A user's own resource, unmodified, under the simulator.

use async_trait::async_trait;
use ha_core::api::{Ctx, Resource, ResourceError};
use ha_core::config::{Config, FenceConfig, GroupConfig, LinkConfig, ResourceConfig, TimingConfig};
use ha_core::engine::{Health, RoleName};
use ha_core::sim::{Cluster, Fault, Options, Scenario};
use ha_core::{GroupId, NodeId};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn pair() -> Config {
    let mut timing = TimingConfig::default();
    timing.token_validity = ms(80);
    Config::pair("agents", "a", "b")
        .link(LinkConfig::datagram("net0", ms(50), ms(200)))
        .link(LinkConfig::datagram("net1", ms(50), ms(200)))
        .fence(FenceConfig::new(ms(150)))
        .group(
            GroupConfig::new("mail")
                .preferring(NodeId(0))
                .then(ResourceConfig::new("address"))
                .then(ResourceConfig::new("service")),
        )
        .timing(timing)
}

/// Starts in 120 ms, and from then on notes a sign of life every 50 ms while its token is valid.
struct Ticker {
    node: usize,
    runs: Arc<AtomicBool>,
    signs: Arc<[AtomicU32; 2]>,
    started: Arc<Mutex<Vec<usize>>>,
}

#[async_trait]
impl Resource for Ticker {
    fn name(&self) -> &str {
        "ticker"
    }

    async fn start(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        ctx.sleep(ms(120)).await;
        self.runs.store(true, Ordering::Relaxed);
        if let Ok(mut started) = self.started.lock() {
            started.push(self.node);
        }
        let (inner, runs, signs, node) = (ctx.clone(), self.runs.clone(), self.signs.clone(), self.node);
        ctx.spawn(async move {
            while runs.load(Ordering::Relaxed) {
                if inner.token().check(inner.now()).is_ok() {
                    signs[node].fetch_add(1, Ordering::Relaxed);
                }
                inner.sleep(ms(50)).await;
            }
        });
        Ok(())
    }

    async fn stop(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        self.runs.store(false, Ordering::Relaxed);
        ctx.sleep(ms(20)).await;
        Ok(())
    }

    async fn monitor(&self, _: &Ctx) -> Health {
        if self.runs.load(Ordering::Relaxed) { Health::Running } else { Health::Stopped }
    }
}

struct World {
    cluster: Cluster,
    signs: Arc<[AtomicU32; 2]>,
    started: Arc<Mutex<Vec<usize>>>,
}

fn world() -> World {
    let (signs, started) = (Arc::new([AtomicU32::new(0), AtomicU32::new(0)]), Arc::new(Mutex::default()));
    let (s, st) = (signs.clone(), Arc::clone(&started));
    let cluster = Cluster::new(Scenario::quiet(7, pair()), Options::default()).with_resource(
        GroupId(0),
        1,
        move |node| Arc::new(Ticker { node, runs: Arc::default(), signs: s.clone(), started: st.clone() }),
    );
    World { cluster, signs, started }
}

fn role(cluster: &Cluster, node: usize) -> Option<RoleName> {
    cluster.status(node).map(|s| s.groups[0].role)
}

#[test]
fn an_agent_runs_in_virtual_time_and_moves_with_its_group() {
    let mut w = world();
    w.cluster.run_for(Duration::from_secs(3));
    assert_eq!(role(&w.cluster, 0), Some(RoleName::Active), "{}", w.cluster.timeline());
    let before = w.signs[0].load(Ordering::Relaxed);
    assert!((20..60).contains(&before), "{before} signs of life in about 2.5 s of 50 ms");
    w.cluster.inject(Fault::PowerLoss(0, Duration::from_secs(20)));
    w.cluster.run_for(Duration::from_secs(3));
    assert_eq!(role(&w.cluster, 1), Some(RoleName::Active), "{}", w.cluster.timeline());
    assert_eq!(w.signs[0].load(Ordering::Relaxed), before, "tasks of a dead node must not go on");
    assert!(w.signs[1].load(Ordering::Relaxed) > 20);
    assert_eq!(*w.started.lock().unwrap(), [0, 1]);
    assert!(w.cluster.broken().is_none());
}

#[test]
fn a_stopped_node_polls_no_agent() {
    let mut w = world();
    w.cluster.run_for(Duration::from_secs(2));
    w.cluster.inject(Fault::PauseTree(0, Duration::from_secs(60)));
    let before = w.signs[0].load(Ordering::Relaxed);
    w.cluster.run_for(Duration::from_secs(2));
    assert_eq!(w.signs[0].load(Ordering::Relaxed), before);
    assert_eq!(role(&w.cluster, 1), Some(RoleName::Active), "{}", w.cluster.timeline());
}
