//! Hammers a [`DataSync`] and holds it to its contract, one copy alone.
//!
//! Whether two copies agree after every fault is the business of the backend's own tests; this checks what the engine
//! relies on when it promotes and demotes one.

use super::finding::{Failed, Notes, Outcome, Report, Wrong, wrong};
use super::within::{polled, within};
use crate::api::{Clock, Ctx, DataSync, Environment};
use crate::engine::AckRule;
use crate::runtime::{BootClock, Unguarded};
use crate::{Epoch, Generation, Instant, TokenCell};
use futures::future::BoxFuture;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a fresh copy is, and the permission it looks at.
pub struct Copy {
    /// The data, never promoted before.
    pub data: Arc<dyn DataSync>,
    /// The permission of its group.
    pub token: TokenCell,
}

impl std::fmt::Debug for Copy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copy").finish_non_exhaustive()
    }
}

type Writes<'a> = Box<dyn Fn(Arc<dyn DataSync>) -> BoxFuture<'a, bool> + 'a>;

/// A test of one copy.
pub struct DataTest<'a> {
    make: Box<dyn Fn() -> Copy + 'a>,
    writes: Option<Writes<'a>>,
    budget: Duration,
    cuts: usize,
}

/// How often a copy that must stay idle is looked at.
const LOOKS: usize = 4;
const ALONE: AckRule = AckRule::Alone(Generation(1));

impl<'a> DataTest<'a> {
    /// A test with copies from `make`, each with a peer that never answers.
    pub fn new(make: impl Fn() -> Copy + 'a) -> Self {
        Self { make: Box::new(make), writes: None, budget: Duration::from_secs(5), cuts: 12 }
    }

    /// Tries to write something to the copy that was made last, and tells whether it was acknowledged.
    #[must_use]
    pub fn written_by(mut self, write: impl Fn(Arc<dyn DataSync>) -> BoxFuture<'a, bool> + 'a) -> Self {
        self.writes = Some(Box::new(write));
        self
    }

    /// Makes every check. Needs a tokio runtime with its timer.
    ///
    /// # Errors
    /// [`Failed`] with everything that was found.
    pub async fn run(self) -> Result<Report, Box<Failed>> {
        let mut notes = Notes::new("data that follows the role");
        notes.note("it is promoted and demoted", self.promoted_and_demoted().await);
        notes.note("a second promotion changes nothing", self.promoted_twice().await);
        notes.note("a second demotion is a success", self.demoted_twice().await);
        notes.note("an older epoch is refused", self.older_epoch().await);
        notes.note("a rule of another epoch is ignored", self.foreign_rule().await);
        notes.note("it may be demoted while it is promoted", self.demoted_midway().await);
        notes.note("every change is reported", self.reports().await);
        match &self.writes {
            Some(write) => notes.note("only the promoted copy acknowledges", self.acknowledges(write).await),
            None => notes.skip("only the promoted copy acknowledges", "DataTest::written_by"),
        }
        notes.finish()
    }

    fn ctx(&self, copy: &Copy, epoch: u64) -> Ctx {
        copy.token.set(Epoch(epoch), Instant::FAR);
        Ctx::new(Arc::new(Unguarded), Epoch(epoch), BootClock.now() + self.budget, copy.token.clone())
    }

    async fn promote(&self, copy: &Copy, epoch: u64) -> Outcome {
        let ctx = self.ctx(copy, epoch);
        match within(self.budget, "promote", copy.data.promote(&ctx, ALONE)).await? {
            Ok(()) => Ok(()),
            Err(error) => wrong(format!("a promotion that failed: {error}"), "a promoted copy"),
        }
    }

    async fn demote(&self, copy: &Copy, epoch: u64) -> Outcome {
        let ctx = self.ctx(copy, epoch);
        match within(self.budget, "demote", copy.data.demote(&ctx)).await? {
            Ok(None) => Ok(()),
            Ok(Some(lsn)) => wrong(format!("that both copies hold {lsn}"), "none: this copy was alone"),
            Err(error) => wrong(format!("a demotion that failed: {error}"), "a demoted copy"),
        }
    }

    /// The rule that the copy reports, awaited: orders and reports may cross.
    async fn applies(&self, copy: &Copy, rule: Option<AckRule>, when: &str) -> Outcome {
        let seen = within(self.budget, "the report", async {
            while copy.data.report().rule != rule {
                a_little_later().await;
            }
        });
        match seen.await {
            Ok(()) => Ok(()),
            Err(_) => wrong(format!("the rule {:?} {when}", copy.data.report().rule), format!("{rule:?}")),
        }
    }

    /// No rule applies, and no late hand brings one back.
    async fn stays_idle(&self, copy: &Copy, when: &str) -> Outcome {
        self.applies(copy, None, when).await?;
        for _ in 0..LOOKS {
            a_little_later().await;
            if let Some(rule) = copy.data.report().rule {
                return wrong(format!("the rule {rule:?} again, some time {when}"), "none");
            }
        }
        Ok(())
    }

    async fn promoted_and_demoted(&self) -> Outcome {
        let copy = (self.make)();
        self.applies(&copy, None, "before any promotion").await?;
        for epoch in [2, 3] {
            self.promote(&copy, epoch).await?;
            self.applies(&copy, Some(ALONE), "after its promotion").await?;
            self.demote(&copy, epoch).await?;
            self.applies(&copy, None, "after its demotion").await?;
        }
        Ok(())
    }

    async fn promoted_twice(&self) -> Outcome {
        let copy = (self.make)();
        self.promote(&copy, 2).await?;
        let before = copy.data.report().durable;
        self.promote(&copy, 2).await?;
        let after = copy.data.report().durable;
        if before != after {
            return wrong(format!("new data from {before} to {after}"), "that one epoch begins once");
        }
        self.demote(&copy, 2).await
    }

    async fn demoted_twice(&self) -> Outcome {
        let copy = (self.make)();
        let ctx = self.ctx(&copy, 2);
        if let Err(error) = within(self.budget, "demote", copy.data.demote(&ctx)).await? {
            return wrong(format!("a demotion of an idle copy that failed: {error}"), "a success");
        }
        self.promote(&copy, 2).await?;
        self.demote(&copy, 2).await?;
        match within(self.budget, "demote", copy.data.demote(&ctx)).await? {
            Ok(_) => Ok(()),
            Err(error) => wrong(format!("a second demotion that failed: {error}"), "a success"),
        }
    }

    async fn older_epoch(&self) -> Outcome {
        let copy = (self.make)();
        self.promote(&copy, 5).await?;
        self.demote(&copy, 5).await?;
        for epoch in [1, 4] {
            let ctx = self.ctx(&copy, epoch);
            if within(self.budget, "promote", copy.data.promote(&ctx, ALONE)).await?.is_ok() {
                return wrong(format!("a promotion in epoch {epoch} after epoch 5"), "a refusal");
            }
        }
        self.applies(&copy, None, "after a refused promotion").await?;
        self.promote(&copy, 6).await?;
        self.demote(&copy, 6).await
    }

    async fn foreign_rule(&self) -> Outcome {
        let copy = (self.make)();
        copy.data.acknowledge(Epoch(2), ALONE);
        self.applies(&copy, None, "after a rule before any promotion").await?;
        self.promote(&copy, 3).await?;
        copy.data.acknowledge(Epoch(2), AckRule::Alone(Generation(9)));
        copy.data.acknowledge(Epoch(4), AckRule::Both(Generation(9)));
        self.applies(&copy, Some(ALONE), "after rules of other epochs").await?;
        self.demote(&copy, 3).await?;
        copy.data.acknowledge(Epoch(3), ALONE);
        self.applies(&copy, None, "after a rule for an epoch that is over").await
    }

    async fn demoted_midway(&self) -> Outcome {
        let copy = (self.make)();
        for polls in 0..self.cuts {
            let epoch = 2 + polls as u64;
            let (promoting, demoting) = (self.ctx(&copy, epoch), self.ctx(&copy, epoch));
            let mut promotion = pin!(copy.data.promote(&promoting, ALONE));
            let ended = polled(self.budget, promotion.as_mut(), polls).await;
            promoting.cancel();
            let demotion = within(self.budget, "demote", copy.data.demote(&demoting));
            let demoted = match ended {
                Some(_) => demotion.await?,
                None => {
                    let late = within(self.budget, "a promotion that was given up", promotion);
                    let (late, demoted) = futures::join!(late, demotion);
                    let _ = late?;
                    demoted?
                }
            };
            if let Err(error) = demoted {
                return wrong(format!("a demotion that failed: {error}"), "a demoted copy");
            }
            // What it says of the last transaction counts only where it led.
            if let Err(error) = within(self.budget, "demote", copy.data.demote(&demoting)).await? {
                return wrong(format!("a second demotion that failed: {error}"), "a success");
            }
            self.stays_idle(&copy, &format!("after a promotion that was given up at its poll {polls}"))
                .await?;
        }
        Ok(())
    }

    async fn reports(&self) -> Outcome {
        let copy = (self.make)();
        let rules: Arc<Mutex<Vec<Option<AckRule>>>> = Arc::default();
        let heard = Arc::clone(&rules);
        let keep = move |rule| heard.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
        copy.data.subscribe(Arc::new(move |report| keep(report.rule)));
        self.promote(&copy, 2).await?;
        self.demote(&copy, 2).await?;
        let complete = || {
            let rules = rules.lock().unwrap_or_else(PoisonError::into_inner);
            rules.contains(&Some(ALONE)) && rules.last() == Some(&None)
        };
        let told = within(self.budget, "the reports", async {
            while !complete() {
                a_little_later().await;
            }
        });
        told.await.or_else(|_: Wrong| {
            let rules = rules.lock().unwrap_or_else(PoisonError::into_inner);
            wrong(format!("reports of the rules {rules:?}"), format!("{:?}, and at last None", Some(ALONE)))
        })
    }

    async fn acknowledges(&self, write: &Writes<'a>) -> Outcome {
        let copy = (self.make)();
        let tries =
            [(false, "before any promotion"), (true, "after its promotion"), (false, "after its demotion")];
        for (step, (expected, when)) in tries.into_iter().enumerate() {
            match step {
                1 => self.promote(&copy, 2).await?,
                2 => self.demote(&copy, 2).await?,
                _ => {}
            }
            let acknowledged = within(self.budget, "a write", write(Arc::clone(&copy.data))).await?;
            if acknowledged != expected {
                return wrong(format!("a write that was acknowledged: {acknowledged}, {when}"), expected);
            }
        }
        Ok(())
    }
}

/// Between two looks at a report.
async fn a_little_later() {
    Unguarded.sleep(Duration::from_millis(2)).await;
}

impl std::fmt::Debug for DataTest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataTest").field("budget", &self.budget).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
