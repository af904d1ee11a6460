//! 16: stopped, killed or without power at every await of an agent's call, and at every event of a takeover.

use crate::support::*;
use async_trait::async_trait;
use ha_core::api::{Ctx, Resource, ResourceError};
use ha_core::engine::{Health, RoleName};
use ha_core::sim::{Cluster, Fault};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What the agents of both nodes did: (node, epoch) of each act, and how many of them worked at one time.
#[derive(Default)]
struct Book {
    acts: Mutex<Vec<(usize, u64)>>,
    starts: AtomicU64,
    stops: AtomicU64,
}

/// An agent of many steps: each start and stop waits five times, and its work checks the permission at each act.
struct Stepper {
    node: usize,
    runs: Arc<AtomicBool>,
    book: Arc<Book>,
}

#[async_trait]
impl Resource for Stepper {
    fn name(&self) -> &str {
        "stepper"
    }

    async fn start(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        for _ in 0..5 {
            ctx.sleep(ms(12)).await;
        }
        self.book.starts.fetch_add(1, Ordering::Relaxed);
        self.runs.store(true, Ordering::Relaxed);
        let (inner, runs, book, node) = (ctx.clone(), self.runs.clone(), self.book.clone(), self.node);
        ctx.spawn(async move {
            while runs.load(Ordering::Relaxed) {
                if let (Ok(token), Ok(mut acts)) = (inner.token().check(inner.now()), book.acts.lock()) {
                    acts.push((node, token.epoch.0));
                }
                inner.sleep(ms(10)).await;
            }
        });
        Ok(())
    }

    async fn stop(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        self.runs.store(false, Ordering::Relaxed);
        for _ in 0..5 {
            ctx.sleep(ms(9)).await;
        }
        self.book.stops.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn monitor(&self, ctx: &Ctx) -> Health {
        ctx.sleep(ms(1)).await;
        if self.runs.load(Ordering::Relaxed) { Health::Running } else { Health::Stopped }
    }
}

fn world(armed: Option<(u64, Fault)>) -> (Cluster, Arc<Book>) {
    let book = Arc::new(Book::default());
    let shared = book.clone();
    let mut cluster = fresh(1, pair()).with_resource(MAIL, 1, move |node| {
        Arc::new(Stepper { node, runs: Arc::default(), book: shared.clone() })
    });
    if let Some((nth, fault)) = armed {
        cluster.strike_at_await(nth, fault);
    }
    (cluster, book)
}

/// Start on node 0, switchover to node 1, both in about five seconds.
fn moved(cluster: &mut Cluster) {
    cluster.run_for(seconds(3));
    cluster.inject(Fault::Switchover(0));
    cluster.run_for(seconds(2));
}

#[test]
fn s016_a_fault_at_every_await_of_a_start_a_stop_and_a_monitor_keeps_one_owner() {
    let (mut cluster, _) = world(None);
    moved(&mut cluster);
    owns(&cluster, 1, MAIL);
    let awaits = cluster.awaits();
    assert!(awaits >= 15, "start, stop and start wait five times each: {awaits}");
    let mut struck = 0;
    for nth in 1..=awaits {
        for node in 0..2 {
            let faults = [
                Fault::PauseTree(node, ms(150)),
                Fault::PauseTree(node, ms(2500)),
                Fault::PauseChild(node, ms(900)),
                Fault::KillEngine(node),
                Fault::PowerLoss(node, seconds(2)),
            ];
            for fault in faults {
                let (mut cluster, book) = world(Some((nth, fault)));
                moved(&mut cluster);
                cluster.run_for(seconds(11));
                struck += cluster.faults() - 1;
                let owner = cluster.actor(MAIL).expect("served again");
                whole(&cluster, owner, MAIL);
                let acts = book.acts.lock().unwrap();
                // Each grant's acts are of one node, and of two grants the later one's come later.
                assert!(acts.windows(2).all(|w| w[0].1 < w[1].1 || w[0] == w[1]), "{fault}: {acts:?}");
            }
        }
    }
    assert_eq!(struck, awaits * 10, "each await was hit by each fault");
}

/// From the order to the end of a switchover of a mirrored group: every beat, write, promotion and start.
#[test]
fn s016_a_fault_at_every_event_of_a_switchover_keeps_one_owner_and_loses_nothing() {
    let begun = || {
        let mut cluster = served(pair());
        cluster.inject(Fault::Switchover(0));
        cluster
    };
    let mut events = 0;
    let mut cluster = begun();
    while role(&cluster, 1, MAIL) != Some(RoleName::Active) {
        assert!(cluster.step());
        events += 1;
    }
    assert!(events > 50, "{events}");
    for at in 0..events {
        for node in 0..2 {
            let mut cluster = begun();
            (0..at).for_each(|_| assert!(cluster.step()));
            cluster.inject(match at % 5 {
                0 => Fault::PauseTree(node, ms(130)),
                1 => Fault::PauseTree(node, ms(600)),
                2 => Fault::PauseTree(node, seconds(2)),
                3 => Fault::KillEngine(node),
                _ => Fault::PowerLoss(node, seconds(2)),
            });
            cluster.run_for(seconds(12));
            let owner = cluster.actor(MAIL).expect("served again");
            whole(&cluster, owner, MAIL);
        }
    }
}

/// The same for a takeover: from the loss of the owner until the standby serves.
#[test]
fn s016_a_fault_at_every_event_of_a_takeover_loses_nothing() {
    let begun = || {
        let mut cluster = served(pair());
        cluster.inject(Fault::KillEngine(0));
        cluster
    };
    let mut events = 0;
    let mut cluster = begun();
    while role(&cluster, 1, MAIL) != Some(RoleName::Active) {
        assert!(cluster.step());
        events += 1;
    }
    for at in 0..events {
        let mut cluster = begun();
        (0..at).for_each(|_| assert!(cluster.step()));
        cluster.inject(match at % 4 {
            0 => Fault::PauseTree(1, ms(600)),
            1 => Fault::PauseTree(1, seconds(2)),
            2 => Fault::KillEngine(1),
            _ => Fault::PowerLoss(1, seconds(2)),
        });
        cluster.run_for(seconds(16));
        let owner = cluster.actor(MAIL).expect("served again");
        whole(&cluster, owner, MAIL);
    }
}
