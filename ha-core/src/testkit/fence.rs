//! Hammers a [`FenceDevice`] and holds it to its contract: above all, it never says "off" of what is on.
//!
//! The test stops the victim for real, many times: give it a machine, a virtual machine or a process that is made for it.

use super::finding::{Failed, Notes, Outcome, Report, wrong};
use super::within::{polled, within};
use crate::api::FenceDevice;
use crate::engine::FenceAnswer;
use futures::future::join_all;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// A node of this name does not exist anywhere.
const NOBODY: &str = "no-such-node-testkit";
/// Orders given at once.
const AT_ONCE: usize = 4;

/// A test of a fence device.
pub struct FenceTest<'a> {
    device: Arc<dyn FenceDevice>,
    node: &'a str,
    is_on: Box<dyn Fn() -> bool + 'a>,
    turn_on: Box<dyn Fn() + 'a>,
    cut_off: Option<Box<dyn Fn(bool) + 'a>>,
    budget: Duration,
    cuts: usize,
}

impl<'a> FenceTest<'a> {
    /// A test of `device` on the victim `node`. `is_on` looks at the victim with other eyes than the device's own;
    /// `turn_on` brings it back and returns when it runs. `budget` is the device's configured timeout plus effect.
    pub fn new(
        device: Arc<dyn FenceDevice>,
        node: &'a str,
        budget: Duration,
        is_on: impl Fn() -> bool + 'a,
        turn_on: impl Fn() + 'a,
    ) -> Self {
        let (is_on, turn_on) = (Box::new(is_on), Box::new(turn_on));
        Self { device, node, is_on, turn_on, cut_off: None, budget, cuts: 12 }
    }

    /// Makes the device unreachable (`true`), and reachable again.
    #[must_use]
    pub fn cut_off_by(mut self, cut_off: impl Fn(bool) + 'a) -> Self {
        self.cut_off = Some(Box::new(cut_off));
        self
    }

    /// Makes every check. Needs a tokio runtime with its timer.
    ///
    /// # Errors
    /// [`Failed`] with everything that was found.
    pub async fn run(self) -> Result<Report, Box<Failed>> {
        let mut notes = Notes::new(format!("fence device {}", self.device.name()));
        notes.note("a question changes nothing", self.asks().await);
        notes.note("nobody is ever off", self.asks_of_nobody().await);
        notes.note("off means off", self.fences().await);
        notes.note("a second order is answered like the first", self.fences_twice().await);
        notes.note("orders at once agree", self.fences_at_once().await);
        notes.note("an order that was given up proves nothing", self.gives_up().await);
        match &self.cut_off {
            Some(cut_off) => notes.note("silence is a failure", self.unreachable(cut_off).await),
            None => notes.skip("silence is a failure", "FenceTest::cut_off_by"),
        }
        (self.turn_on)();
        notes.finish()
    }

    /// The answer, which must be true at the instant when it is given.
    fn holds(&self, answer: FenceAnswer, when: &str) -> Outcome {
        match (answer, (self.is_on)()) {
            (FenceAnswer::Off { .. }, true) => {
                wrong(format!("\"off\" of a node that is on, {when}"), "\"off\" only when it was verified")
            }
            (FenceAnswer::On, false) => {
                wrong(format!("\"on\" of a node that is off, {when}"), "\"off\", or a failure")
            }
            _ => Ok(()),
        }
    }

    async fn asks(&self) -> Outcome {
        (self.turn_on)();
        for answer in join_all((0..AT_ONCE).map(|_| self.device.status(self.node))).await {
            self.holds(answer, "asked while it runs")?;
            if answer != FenceAnswer::On {
                return wrong(format!("{answer:?} of a node that is on"), "On");
            }
        }
        match (self.is_on)() {
            true => Ok(()),
            false => wrong("that the node is off after a mere question", "that it runs on"),
        }
    }

    async fn asks_of_nobody(&self) -> Outcome {
        for answer in [
            within(self.budget, "a question about an unknown node", self.device.status(NOBODY)).await?,
            within(self.budget, "an order for an unknown node", self.device.fence(NOBODY)).await?,
        ] {
            if let FenceAnswer::Off { .. } = answer {
                return wrong("\"off\" of a node that it does not know", "a failure");
            }
        }
        match (self.is_on)() {
            true => Ok(()),
            false => wrong("that the order for another node stopped this one", "that it runs on"),
        }
    }

    async fn fence(&self, when: &str) -> Outcome {
        let answer = within(self.budget, "an order", self.device.fence(self.node)).await?;
        self.holds(answer, when)?;
        match answer {
            FenceAnswer::Off { .. } => Ok(()),
            answer => wrong(format!("{answer:?} {when}"), "Off"),
        }
    }

    async fn fences(&self) -> Outcome {
        (self.turn_on)();
        self.fence("after an order").await?;
        let answer = within(self.budget, "a question", self.device.status(self.node)).await?;
        self.holds(answer, "asked after an order")?;
        match answer {
            FenceAnswer::Off { .. } => Ok(()),
            answer => wrong(format!("{answer:?} of a node that is off"), "Off"),
        }
    }

    async fn fences_twice(&self) -> Outcome {
        (self.turn_on)();
        self.fence("after the first order").await?;
        self.fence("after the second order").await
    }

    async fn fences_at_once(&self) -> Outcome {
        (self.turn_on)();
        let orders = join_all((0..AT_ONCE).map(|_| self.fence("after orders at once")));
        orders.await.into_iter().collect()
    }

    async fn gives_up(&self) -> Outcome {
        for polls in 0..self.cuts {
            (self.turn_on)();
            {
                let mut order = pin!(self.device.fence(self.node));
                if let Some(answer) = polled(self.budget, order.as_mut(), polls).await {
                    return self.holds(answer, "after an order that was quick");
                }
            }
            let answer = within(self.budget, "a question", self.device.status(self.node)).await?;
            // The order may still take effect; but "off" must not be undone by it, nor said before it.
            if let FenceAnswer::Off { .. } = answer {
                self.holds(answer, "asked after an order that was given up")?;
            }
            self.fence("after an order that was given up").await?;
        }
        Ok(())
    }

    async fn unreachable(&self, cut_off: &dyn Fn(bool)) -> Outcome {
        (self.turn_on)();
        cut_off(true);
        // It may wait for as long as it is allowed to: the runtime gives it up then.
        let asked = tokio::time::timeout(self.budget, self.device.status(self.node)).await;
        let ordered = tokio::time::timeout(self.budget, self.device.fence(self.node)).await;
        cut_off(false);
        for answer in [asked, ordered].into_iter().flatten() {
            if answer != FenceAnswer::Failed {
                return wrong(
                    format!("{answer:?} of a device that cannot be reached"),
                    "Failed, or no answer",
                );
            }
        }
        (self.turn_on)();
        self.fence("after it could be reached again").await
    }
}

impl std::fmt::Debug for FenceTest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FenceTest").field("node", &self.node).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "fence_tests.rs"]
mod tests;
