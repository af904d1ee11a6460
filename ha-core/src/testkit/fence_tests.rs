//! A device whose victim is a real child process, right and in every wrong way.

use super::*;
use crate::FenceScope;
use async_trait::async_trait;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flaw {
    None,
    SaysOffAtOnce,
    CallsNobodyOff,
    StatusShoots,
    FailsWhenOffAlready,
    TakesSilenceForOff,
    Hangs,
}

const OFF: FenceAnswer = FenceAnswer::Off { scope: FenceScope::Processes };

struct Victim(Mutex<Option<Child>>);

impl Victim {
    fn is_on(&self) -> bool {
        self.0.lock().unwrap().as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    fn turn_on(&self) {
        if !self.is_on() {
            *self.0.lock().unwrap() = Some(Command::new("sleep").arg("60").spawn().unwrap());
        }
    }

    fn kill(&self) {
        if let Some(child) = self.0.lock().unwrap().as_mut() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Switch {
    victim: Arc<Victim>,
    flaw: Flaw,
    reachable: AtomicBool,
}

#[async_trait]
impl FenceDevice for Switch {
    fn name(&self) -> &'static str {
        "switch"
    }

    async fn status(&self, node: &str) -> FenceAnswer {
        tokio::task::yield_now().await;
        match self.flaw {
            Flaw::CallsNobodyOff if node != "n1" => return OFF,
            Flaw::StatusShoots => self.victim.kill(),
            _ => {}
        }
        if !self.reachable.load(Ordering::SeqCst) {
            return if self.flaw == Flaw::TakesSilenceForOff { OFF } else { FenceAnswer::Failed };
        }
        match (node, self.victim.is_on()) {
            ("n1", true) => FenceAnswer::On,
            ("n1", false) => OFF,
            _ => FenceAnswer::Failed,
        }
    }

    async fn fence(&self, node: &str) -> FenceAnswer {
        tokio::task::yield_now().await;
        if node == "n1" && self.reachable.load(Ordering::SeqCst) {
            match self.flaw {
                Flaw::SaysOffAtOnce => return OFF,
                Flaw::FailsWhenOffAlready if !self.victim.is_on() => return FenceAnswer::Failed,
                Flaw::Hangs => std::future::pending().await,
                _ => self.victim.kill(),
            }
            tokio::task::yield_now().await;
        }
        self.status(node).await
    }
}

async fn found(flaw: Flaw) -> Vec<&'static str> {
    let victim = Arc::new(Victim(Mutex::default()));
    let switch = Arc::new(Switch { victim: Arc::clone(&victim), flaw, reachable: AtomicBool::new(true) });
    let budget = Duration::from_millis(if flaw == Flaw::Hangs { 50 } else { 2000 });
    let test = FenceTest::new(switch.clone(), "n1", budget, || victim.is_on(), || victim.turn_on())
        .cut_off_by(|cut| switch.reachable.store(!cut, Ordering::SeqCst));
    match test.run().await {
        Ok(report) => {
            assert_eq!((report.passed.len(), report.skipped.len()), (7, 0), "{report}");
            Vec::new()
        }
        Err(failed) => failed.failures.iter().map(|f| f.check).collect(),
    }
}

#[tokio::test]
async fn a_device_that_keeps_its_contract_passes_every_check() {
    assert_eq!(found(Flaw::None).await, Vec::<&str>::new());
}

#[tokio::test]
async fn every_flaw_is_found_by_the_check_that_is_meant_for_it() {
    for (flaw, check) in [
        (Flaw::SaysOffAtOnce, "off means off"),
        (Flaw::CallsNobodyOff, "nobody is ever off"),
        (Flaw::StatusShoots, "a question changes nothing"),
        (Flaw::FailsWhenOffAlready, "a second order is answered like the first"),
        (Flaw::TakesSilenceForOff, "silence is a failure"),
        (Flaw::Hangs, "off means off"),
    ] {
        let failures = found(flaw).await;
        assert!(failures.contains(&check), "{flaw:?} was found by {failures:?}, not by {check:?}");
    }
}
