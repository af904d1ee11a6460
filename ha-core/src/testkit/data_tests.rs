//! A copy of one number in memory, right and in every wrong way.

use super::*;
use crate::api::{DataReports, ResourceError};
use crate::engine::DataReport;
use crate::{GroupId, Lsn};
use async_trait::async_trait;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flaw {
    None,
    TakesOldEpochs,
    BeginsTwice,
    RefusesIdleDemotion,
    TakesForeignRules,
    PromotesLate,
    Silent,
    AcknowledgesAlways,
    /// The first promotion after a demotion fails.
    BusyAfterDemotion,
    /// A demotion before any promotion spends its epoch.
    SpendsAnIdleEpoch,
}

#[derive(Default)]
struct Inner {
    epoch: Epoch,
    leads: bool,
    ticket: u64,
    busy: bool,
    spent: Epoch,
    report: DataReport,
    sinks: Vec<DataReports>,
}

struct Number {
    inner: Arc<Mutex<Inner>>,
    flaw: Flaw,
    closed: AtomicBool,
}

fn failed(reason: &str) -> ResourceError {
    ResourceError::new("number", reason)
}

impl Number {
    fn set(&self, change: impl FnOnce(&mut Inner)) {
        let (report, sinks) = {
            let mut inner = self.inner.lock().unwrap();
            change(&mut inner);
            (inner.report, inner.sinks.clone())
        };
        if self.flaw != Flaw::Silent {
            sinks.iter().for_each(|sink| sink(report));
        }
    }
}

#[async_trait]
impl DataSync for Number {
    async fn promote(&self, ctx: &Ctx, rule: AckRule) -> Result<(), ResourceError> {
        let ticket = {
            let mut inner = self.inner.lock().unwrap();
            if inner.leads && inner.epoch == ctx.epoch() && self.flaw != Flaw::BeginsTwice {
                return Ok(());
            }
            if ctx.epoch() < inner.epoch {
                inner.busy = false;
            }
            if ctx.epoch() < inner.epoch && self.flaw != Flaw::TakesOldEpochs {
                return Err(failed("an older epoch"));
            }
            if std::mem::take(&mut inner.busy) || inner.spent == ctx.epoch() {
                return Err(failed("not yet"));
            }
            inner.epoch = ctx.epoch();
            inner.ticket += 1;
            inner.ticket
        };
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        if self.inner.lock().unwrap().ticket != ticket && self.flaw != Flaw::PromotesLate {
            return Err(failed("demoted meanwhile"));
        }
        if self.flaw == Flaw::PromotesLate {
            // A late hand that nobody waits for.
            let inner = Arc::clone(&self.inner);
            ctx.spawn(async move {
                a_little_later().await;
                inner.lock().unwrap().report.rule = Some(rule);
            });
        }
        self.closed.store(false, Ordering::SeqCst);
        self.set(|inner| {
            inner.leads = true;
            inner.report.rule = Some(rule);
            inner.report.durable = Lsn(inner.report.durable.0 + 1);
        });
        Ok(())
    }

    async fn demote(&self, ctx: &Ctx) -> Result<Option<Lsn>, ResourceError> {
        if self.flaw == Flaw::RefusesIdleDemotion && !self.inner.lock().unwrap().leads {
            return Err(failed("it does not lead"));
        }
        self.closed.store(true, Ordering::SeqCst);
        self.set(|inner| {
            inner.ticket += 1;
            inner.busy = inner.leads && self.flaw == Flaw::BusyAfterDemotion;
            if !inner.leads && inner.epoch == Epoch(0) && self.flaw == Flaw::SpendsAnIdleEpoch {
                inner.spent = ctx.epoch();
            }
            inner.leads = false;
            inner.report.rule = None;
        });
        Ok(None)
    }

    fn acknowledge(&self, epoch: Epoch, rule: AckRule) {
        self.set(|inner| {
            if inner.leads && (inner.epoch == epoch || self.flaw == Flaw::TakesForeignRules) {
                inner.report.rule = Some(rule);
            }
        });
    }

    fn force_current(&self) {}

    fn surrender(&self) {}

    fn report(&self) -> DataReport {
        self.inner.lock().unwrap().report
    }

    fn subscribe(&self, sink: DataReports) {
        self.inner.lock().unwrap().sinks.push(sink);
    }
}

async fn found(flaw: Flaw) -> Vec<&'static str> {
    let make = || Copy {
        data: Arc::new(Number { inner: Arc::default(), flaw, closed: AtomicBool::new(true) }),
        token: TokenCell::new(GroupId(0)),
    };
    let mut test = DataTest::new(make).written_by(|data| {
        Box::pin(async move { flaw == Flaw::AcknowledgesAlways || data.report().rule.is_some() })
    });
    test.budget = Duration::from_millis(200);
    match test.run().await {
        Ok(report) => {
            assert_eq!(report.passed.len(), 8, "{report}");
            Vec::new()
        }
        Err(failed) => failed.failures.iter().map(|f| f.check).collect(),
    }
}

#[tokio::test]
async fn a_copy_that_keeps_its_contract_passes_every_check() {
    assert_eq!(found(Flaw::None).await, Vec::<&str>::new());
}

#[tokio::test]
async fn every_flaw_is_found_by_the_check_that_is_meant_for_it() {
    for (flaw, check) in [
        (Flaw::TakesOldEpochs, "an older epoch is refused"),
        (Flaw::BeginsTwice, "a second promotion changes nothing"),
        (Flaw::RefusesIdleDemotion, "a second demotion is a success"),
        (Flaw::TakesForeignRules, "a rule of another epoch is ignored"),
        (Flaw::PromotesLate, "it may be demoted while it is promoted"),
        (Flaw::Silent, "every change is reported"),
        (Flaw::AcknowledgesAlways, "only the promoted copy acknowledges"),
    ] {
        let failures = found(flaw).await;
        assert!(failures.contains(&check), "{flaw:?} was found by {failures:?}, not by {check:?}");
    }
}

/// For each check a copy that breaks only what that check is for.
#[tokio::test]
async fn every_check_finds_a_flaw_that_no_other_one_finds() {
    for (flaw, check) in [
        (Flaw::BusyAfterDemotion, "it is promoted and demoted"),
        (Flaw::BeginsTwice, "a second promotion changes nothing"),
        (Flaw::SpendsAnIdleEpoch, "a second demotion is a success"),
        (Flaw::TakesOldEpochs, "an older epoch is refused"),
        (Flaw::TakesForeignRules, "a rule of another epoch is ignored"),
        (Flaw::PromotesLate, "it may be demoted while it is promoted"),
        (Flaw::Silent, "every change is reported"),
        (Flaw::AcknowledgesAlways, "only the promoted copy acknowledges"),
    ] {
        assert_eq!(found(flaw).await, [check], "{flaw:?}");
    }
}
