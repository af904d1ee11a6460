//! A device whose victim is a real child process, right and in every wrong way.

use super::*;
use crate::FenceScope;
use async_trait::async_trait;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flaw {
    None,
    SaysOffAtOnce,
    CallsNobodyOff,
    StatusShoots,
    FailsWhenOffAlready,
    TakesSilenceForOff,
    Hangs,
    /// A question beside another one fails.
    RefusesQuestionsAtOnce,
    /// It cannot say of what is off that it is.
    FailsToSeeOff,
    /// An order for what an order ended before fails.
    RefusesToRepeat,
    /// An order beside another one fails.
    RefusesOrdersAtOnce,
    /// Whom an order was given for counts as off.
    OrderedMeansOff,
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
    asking: AtomicUsize,
    ordering: AtomicUsize,
    /// An order was begun and did not end.
    ordered: AtomicBool,
    /// An order ended, and the victim was not seen since.
    ended: AtomicBool,
}

/// Counts itself as long as it lives, however its call ends.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    /// And whether it is alone.
    fn new(count: &'a AtomicUsize) -> (Self, bool) {
        let alone = count.fetch_add(1, Ordering::SeqCst) == 0;
        (Self(count), alone)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Switch {
    fn new(victim: &Arc<Victim>, flaw: Flaw) -> Arc<Self> {
        Arc::new(Self {
            victim: Arc::clone(victim),
            flaw,
            reachable: AtomicBool::new(true),
            asking: AtomicUsize::new(0),
            ordering: AtomicUsize::new(0),
            ordered: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        })
    }

    fn look(&self, node: &str) -> FenceAnswer {
        match (node, self.victim.is_on()) {
            ("n1", true) => FenceAnswer::On,
            ("n1", false) => OFF,
            _ => FenceAnswer::Failed,
        }
    }

    async fn carry_out(&self, node: &str) -> FenceAnswer {
        match self.flaw {
            Flaw::SaysOffAtOnce => return OFF,
            Flaw::FailsWhenOffAlready if !self.victim.is_on() => return FenceAnswer::Failed,
            Flaw::Hangs => std::future::pending().await,
            _ => self.victim.kill(),
        }
        tokio::task::yield_now().await;
        self.look(node)
    }
}

#[async_trait]
impl FenceDevice for Switch {
    fn name(&self) -> &'static str {
        "switch"
    }

    async fn status(&self, node: &str) -> FenceAnswer {
        let (_counted, alone) = Counted::new(&self.asking);
        tokio::task::yield_now().await;
        match self.flaw {
            Flaw::CallsNobodyOff if node != "n1" => return OFF,
            Flaw::StatusShoots => self.victim.kill(),
            Flaw::RefusesQuestionsAtOnce if !alone => return FenceAnswer::Failed,
            _ => {}
        }
        if !self.reachable.load(Ordering::SeqCst) {
            return if self.flaw == Flaw::TakesSilenceForOff { OFF } else { FenceAnswer::Failed };
        }
        match self.look(node) {
            OFF if self.flaw == Flaw::FailsToSeeOff => FenceAnswer::Failed,
            FenceAnswer::On if self.flaw == Flaw::OrderedMeansOff && self.ordered.load(Ordering::SeqCst) => {
                OFF
            }
            answer => answer,
        }
    }

    async fn fence(&self, node: &str) -> FenceAnswer {
        let (_counted, alone) = Counted::new(&self.ordering);
        if node != "n1" || !self.reachable.load(Ordering::SeqCst) {
            return FenceAnswer::Failed;
        }
        let repeated = self.ended.load(Ordering::SeqCst) && !self.victim.is_on();
        if self.flaw == Flaw::RefusesToRepeat && repeated || self.flaw == Flaw::RefusesOrdersAtOnce && !alone
        {
            return FenceAnswer::Failed;
        }
        self.ended.store(false, Ordering::SeqCst);
        self.ordered.store(true, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let answer = self.carry_out(node).await;
        self.ordered.store(false, Ordering::SeqCst);
        self.ended.store(true, Ordering::SeqCst);
        answer
    }
}

async fn found(flaw: Flaw) -> Vec<&'static str> {
    let victim = Arc::new(Victim(Mutex::default()));
    let switch = Switch::new(&victim, flaw);
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

/// For each check a device that breaks only what that check is for.
#[tokio::test]
async fn every_check_finds_a_flaw_that_no_other_one_finds() {
    for (flaw, check) in [
        (Flaw::RefusesQuestionsAtOnce, "a question changes nothing"),
        (Flaw::CallsNobodyOff, "nobody is ever off"),
        (Flaw::FailsToSeeOff, "off means off"),
        (Flaw::RefusesToRepeat, "a second order is answered like the first"),
        (Flaw::RefusesOrdersAtOnce, "orders at once agree"),
        (Flaw::OrderedMeansOff, "an order that was given up proves nothing"),
        (Flaw::TakesSilenceForOff, "silence is a failure"),
    ] {
        assert_eq!(found(flaw).await, [check], "{flaw:?}");
    }
}
