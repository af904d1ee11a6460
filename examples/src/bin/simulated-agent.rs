//! An agent of your own under thousands of seeds: a queue runner that must never work on two nodes at once.
//!
//! ```console
//! $ cargo run -p ha-examples --bin simulated-agent                # holds
//! $ cargo run -p ha-examples --bin simulated-agent -- --careless  # its worker outlives its stop: found, replayed, told
//! ```

use async_trait::async_trait;
use ha_core::api::{Ctx, Resource, ResourceError};
use ha_core::config::{Config, FenceConfig, GroupConfig, LinkConfig, ResourceConfig, TimingConfig};
use ha_core::engine::Health;
use ha_core::sim::{Campaign, Cluster};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What was really delivered: the node and the number of its start, in true order.
#[derive(Default)]
struct Queue {
    starts: AtomicU64,
    delivered: Mutex<Vec<(usize, u64)>>,
}

/// Delivers one item of a queue every 40 ms, for as long as its permission holds.
struct QueueRunner {
    node: usize,
    careless: bool,
    runs: Arc<AtomicBool>,
    queue: Arc<Queue>,
}

#[async_trait]
impl Resource for QueueRunner {
    fn name(&self) -> &str {
        "queue-runner"
    }

    async fn start(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        ctx.sleep(Duration::from_millis(60)).await; // reading the queue takes a while
        self.runs.store(true, Ordering::Relaxed);
        let (ctx, runs, queue) = (ctx.clone(), self.runs.clone(), self.queue.clone());
        let (node, careless) = (self.node, self.careless);
        let start = queue.starts.fetch_add(1, Ordering::Relaxed);
        ctx.clone().spawn(async move {
            while runs.load(Ordering::Relaxed) {
                // The permission is checked at each act. The careless one remembers that it had it,
                let permitted = ctx.token().check(ctx.now()).is_ok();
                if let (true, Ok(mut list)) = (permitted || careless, queue.delivered.lock()) {
                    list.push((node, start));
                }
                ctx.sleep(Duration::from_millis(40)).await;
            }
        });
        Ok(())
    }

    async fn stop(&self, _: &Ctx) -> Result<(), ResourceError> {
        // and forgets its worker when it stops. Either alone would do no harm.
        self.runs.store(self.careless, Ordering::Relaxed);
        Ok(())
    }

    async fn monitor(&self, _: &Ctx) -> Health {
        if self.runs.load(Ordering::Relaxed) { Health::Running } else { Health::Stopped }
    }
}

/// Your configuration: built here, or `Config::from_toml` of the file that your nodes read.
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

/// What must hold: once a later start has delivered, no earlier one does.
fn in_order(queue: &Queue) -> Result<(), String> {
    let list = queue.delivered.lock().map_err(|e| e.to_string())?;
    match list.windows(2).find(|w| w[1].1 < w[0].1) {
        Some(w) => Err(format!(
            "node {} delivered by its start {} after node {} had by start {}",
            w[1].0, w[1].1, w[0].0, w[0].1
        )),
        None => Ok(()),
    }
}

fn campaign(careless: bool) -> Campaign {
    let queue = Arc::<Queue>::default();
    let (mine, seen, old) = (queue.clone(), queue.clone(), queue);
    Cluster::from_config(pair())
        .with_resource("queue-runner", move |node| {
            Arc::new(QueueRunner { node, careless, runs: Arc::default(), queue: mine.clone() })
        })
        .before_each(move |_| {
            if let Ok(mut list) = old.delivered.lock() {
                list.clear();
            }
        })
        .expecting(move |_| in_order(&seen))
}

fn main() -> ExitCode {
    let careless = std::env::args().any(|a| a == "--careless");
    let campaign = campaign(careless);
    let found = match campaign.run(0..200) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let Some(failure) = found.failures.first() else {
        println!("{found}");
        return ExitCode::SUCCESS;
    };
    println!(
        "{} of {} runs failed; the first is seed {}: {}",
        found.failed, found.runs, failure.seed, failure.broken
    );
    // The same seed gives the same history: look at the world as it was at that instant, or step through it.
    if let Ok(cluster) = campaign.replay(failure.seed) {
        println!("\nit happened {:?} after the start; what came before:", cluster.elapsed());
        let last: Vec<_> = cluster.timeline().last(25).collect();
        last.iter().for_each(|entry| println!("{entry}"));
        for node in 0..2 {
            if let Some(status) = cluster.status(node) {
                println!("\nnode {node} then: {:?}", status.groups);
            }
        }
    }
    ExitCode::FAILURE
}
