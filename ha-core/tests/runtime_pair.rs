//! Two nodes in one process, over real sockets, with real files and a service that holds a real port.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod runtime_support;

use ha_core::NodeRecord;
use ha_core::api::{StateError, StateStore};
use ha_core::runtime::{Ended, NodeError};
use ha_core::store::FileStateStore;
use runtime_support::*;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

#[tokio::test]
async fn two_fresh_nodes_take_their_roles_and_only_one_serves() {
    let pair = Pair::fenced();
    let [left, right] = pair.both_on().await;
    let active = until_role(&left, "active").await;
    let standby = until_viable(&right).await;
    assert_eq!((active.epoch, active.proof.as_deref()), (1, Some("NeverStarted")));
    assert_eq!(standby.epoch, 1);
    assert!(pair.machines[0].service.is_running() && !pair.machines[1].service.is_running());
    assert!(left.token("mail").unwrap().check(now()).is_ok());
    assert!(right.token("mail").unwrap().check(now()).is_err());
    assert_eq!(left.status().borrow().peer.state, "alive");
}

#[tokio::test]
async fn a_switchover_moves_the_service_without_waiting_for_a_deadline() {
    let pair = Pair::fenced();
    let [left, right] = pair.both_on().await;
    until_role(&left, "active").await;
    until_viable(&right).await;
    switch_over(&left).await;
    let active = until_role(&right, "active").await;
    assert_eq!((active.epoch, active.proof.as_deref()), (2, Some("Released")), "{}", story(&right));
    until_role(&left, "standby").await;
    assert!(!pair.machines[0].service.is_running() && pair.machines[1].service.is_running());
    assert!(left.token("mail").unwrap().check(now()).is_err());
    assert!(!story(&right).contains("the peer is dead"), "{}", story(&right));
}

#[tokio::test]
async fn after_a_power_loss_the_standby_takes_over_on_the_device_s_word() {
    let pair = Pair::fenced();
    let [left, right] = pair.both_on().await;
    until_role(&left, "active").await;
    until_viable(&right).await;
    pair.machines[0].power_off().await;
    let active = until_role(&right, "active").await;
    assert_eq!((active.epoch, active.proof.as_deref()), (2, Some("Fenced")), "{}", story(&right));
    assert!(pair.machines[1].service.is_running());
    // The machine comes back as a standby of the new owner.
    let left = pair.power_on(0).await;
    let standby = until_viable(&left).await;
    assert_eq!(standby.epoch, 2, "{}", story(&left));
}

#[tokio::test]
async fn a_dropped_node_revokes_its_permissions_and_is_fenced_by_its_peer() {
    let pair = Pair::fenced();
    let [left, right] = pair.both_on().await;
    until_role(&left, "active").await;
    until_viable(&right).await;
    let token = left.token("mail").unwrap();
    // Not through the power switch: the service still runs, and only the device can end it.
    *pair.machines[0].node.lock().unwrap() = None;
    let watcher = left.status();
    drop(left);
    let active = until_role(&right, "active").await;
    assert!(token.check(now()).is_err());
    assert_eq!(active.proof.as_deref(), Some("Fenced"), "{}", story(&right));
    assert!(watcher.has_changed().is_err(), "the control thread still holds the status");
    assert!(!pair.machines[0].service.is_running() && pair.machines[1].service.is_running());
}

#[tokio::test]
async fn shutdown_hands_over_and_says_goodbye() {
    let pair = Pair::fenced();
    let [left, right] = pair.both_on().await;
    until_role(&left, "active").await;
    until_viable(&right).await;
    assert_eq!(left.shutdown().await, Ended::Departed);
    assert!(!pair.machines[0].service.is_running());
    let active = until_role(&right, "active").await;
    assert_eq!(active.proof.as_deref(), Some("Released"), "{}", story(&right));
    assert!(matches!(left.switchover("mail"), Err(NodeError::Ended(Ended::Departed))));
    // Ports and store are free again at once.
    let left = pair.power_on(0).await;
    until_viable(&left).await;
}

#[test]
fn a_blocked_application_runtime_costs_no_beat() {
    // The left node's application has one thread only, and its agent blocks it.
    let application = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let observer = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pair = Pair::fenced();
    let right = observer.block_on(pair.power_on(1));
    let left = application.block_on(async {
        let left = pair.power_on(0).await;
        until_role(&left, "active").await;
        left
    });
    observer.block_on(until_viable(&right));
    let (unblock, blocked) = mpsc::channel();
    *pair.machines[0].service.blocker.lock().unwrap() = Some(blocked);
    let heard = || right.traffic()[0].received();
    let before = heard();
    let events_before = events(&right).len();
    std::thread::scope(|scope| {
        scope.spawn(|| application.block_on(left.ended()));
        // 50 beats of 20 ms: the agent blocks its runtime for about a second.
        while pair.machines[0].service.blocker.lock().is_ok_and(|b| b.is_some()) || heard() < before + 50 {
            std::thread::yield_now();
        }
        let story: Vec<_> = events(&right).split_off(events_before).iter().map(|e| e.to_string()).collect();
        assert!(!story.iter().any(|e| e.contains("is dead")), "{story:#?}");
        assert!(left.token("mail").unwrap().check(now()).is_ok(), "the permission was renewed all the time");
        unblock.send(()).unwrap();
        observer.block_on(left.halt());
    });
}

#[tokio::test]
async fn an_agent_that_panics_moves_the_service_to_the_other_node() {
    let pair = Pair::fenced();
    pair.machines[0].service.panics.store(true, Ordering::SeqCst);
    let [left, right] = pair.both_on().await;
    let active = until_role(&right, "active").await;
    assert_eq!(active.proof.as_deref(), Some("Released"), "{}", story(&left));
    assert!(story(&left).contains("resource smtp is failed"), "{}", story(&left));
    assert!(pair.machines[1].service.is_running());
}

/// A store on a disk that breaks.
struct Breaking {
    inner: FileStateStore,
    saves_left: u32,
}

impl StateStore for Breaking {
    fn load(&mut self) -> Result<NodeRecord, StateError> {
        self.inner.load()
    }
    fn save(&mut self, record: &NodeRecord) -> Result<(), StateError> {
        let Some(left) = self.saves_left.checked_sub(1) else {
            return Err(StateError::Io { place: "here".into(), source: std::io::Error::other("disk broke") });
        };
        self.saves_left = left;
        self.inner.save(record)
    }
}

#[tokio::test]
async fn a_node_that_cannot_remember_ends_itself() {
    let pair = Pair::fenced();
    let right = pair.power_on(1).await;
    let store = Breaking { inner: pair.store(0), saves_left: 0 };
    let left = pair.power_on_with(0, Box::new(store)).await.unwrap();
    assert_eq!(left.ended().await, Ended::RecordNotDurable);
    assert_eq!(*pair.machines[0].hook.0.lock().unwrap(), [Ended::RecordNotDurable]);
    assert!(left.token("mail").unwrap().check(now()).is_err());
    assert!(!pair.machines[0].service.is_running());
    until_role(&right, "active").await;
}

fn now() -> ha_core::Instant {
    use ha_core::api::Clock;
    ha_core::runtime::BootClock.now()
}
