//! Starts, stops and monitors one after the other.

use super::super::finding::{Outcome, Wrong, wrong};
use super::{Recorder, ResourceTest, serves, within};
use crate::api::{Ctx, Resource};
use crate::engine::Health;
use futures::future::join_all;
use std::sync::Arc;

/// Monitors that run side by side.
const MONITORS: usize = 16;

impl ResourceTest<'_> {
    pub(super) async fn start(&self, agent: &Arc<dyn Resource>, ctx: &Ctx) -> Outcome {
        match within(self.budget, "start", agent.start(ctx)).await? {
            Ok(()) => Ok(()),
            Err(error) => wrong(format!("start failed: {error}"), "a start that succeeds"),
        }
    }

    pub(super) async fn stop(&self, agent: &Arc<dyn Resource>, ctx: &Ctx) -> Outcome {
        match within(self.budget, "stop", agent.stop(ctx)).await? {
            Ok(()) => Ok(()),
            Err(error) => wrong(format!("stop failed: {error}"), "a stop that succeeds"),
        }
    }

    pub(super) async fn health(&self, agent: &Arc<dyn Resource>, ctx: &Ctx) -> Result<Health, Wrong> {
        within(self.budget, "monitor", agent.monitor(ctx)).await
    }

    /// The resource serves, as its own monitor sees it.
    pub(super) async fn runs(&self, agent: &Arc<dyn Resource>, ctx: &Ctx, when: &str) -> Outcome {
        match self.health(agent, ctx).await? {
            health if serves(health) => Ok(()),
            health => wrong(format!("monitor says {health:?} {when}"), "Running or Degraded"),
        }
    }

    /// Nothing of the resource is left, as its monitor and as other eyes see it.
    pub(super) async fn is_gone(&self, agent: &Arc<dyn Resource>, ctx: &Ctx, when: &str) -> Outcome {
        match self.health(agent, ctx).await? {
            Health::Stopped => {}
            health => return wrong(format!("monitor says {health:?} {when}"), "Stopped"),
        }
        match self.left() {
            left if left.is_empty() => Ok(()),
            left => wrong(format!("{} {when}", left.join(", ")), "that nothing is left"),
        }
    }

    pub(super) fn name_is_constant(&self) -> Outcome {
        let (first, second) = ((self.make)(), (self.make)());
        if first.name().is_empty() || first.name() != second.name() {
            return wrong(format!("{:?} and {:?}", first.name(), second.name()), "one name, not empty");
        }
        Ok(())
    }

    pub(super) async fn never_started(&self) -> Outcome {
        let (agent, environment) = ((self.make)(), Arc::default());
        let ctx = self.ctx(&environment);
        self.is_gone(&agent, &ctx, "before any start").await?;
        self.stop(&agent, &ctx).await?;
        self.is_gone(&agent, &ctx, "after a stop without a start").await
    }

    pub(super) async fn starts_and_stops(&self) -> Outcome {
        let (agent, environment) = ((self.make)(), Arc::default());
        for round in ["the first time", "the second time"] {
            let ctx = self.ctx(&environment);
            self.start(&agent, &ctx).await?;
            self.runs(&agent, &ctx, &format!("after its start, {round}")).await?;
            self.stop(&agent, &ctx).await?;
            self.is_gone(&agent, &ctx, &format!("after its stop, {round}")).await?;
        }
        Ok(())
    }

    pub(super) async fn starts_twice(&self) -> Outcome {
        let (agent, environment) = ((self.make)(), Arc::default());
        let ctx = self.ctx(&environment);
        self.start(&agent, &ctx).await?;
        self.start(&agent, &ctx).await?;
        self.runs(&agent, &ctx, "after a second start").await?;
        self.stop(&agent, &ctx).await?;
        self.is_gone(&agent, &ctx, "after two starts and one stop").await
    }

    pub(super) async fn stops_twice(&self) -> Outcome {
        let (agent, environment) = ((self.make)(), Arc::default());
        let ctx = self.ctx(&environment);
        self.start(&agent, &ctx).await?;
        let (first, second) = futures::join!(self.stop(&agent, &ctx), self.stop(&agent, &ctx));
        first.and(second)?;
        self.stop(&agent, &ctx).await?;
        self.is_gone(&agent, &ctx, "after three stops, two of them at once").await
    }

    pub(super) async fn monitored_often(&self) -> Outcome {
        let (agent, environment) = ((self.make)(), Arc::default());
        let ctx = self.ctx(&environment);
        self.start(&agent, &ctx).await?;
        for health in join_all((0..MONITORS).map(|_| self.health(&agent, &ctx))).await {
            if !serves(health?) {
                return wrong("a monitor beside others that does not see it run", "Running or Degraded");
            }
        }
        self.stop(&agent, &ctx).await?;
        self.is_gone(&agent, &ctx, "after many monitors and a stop").await
    }

    pub(super) async fn past_deadline(&self) -> Outcome {
        let (agent, environment) = ((self.make)(), Arc::<Recorder>::default());
        let late = self.ctx_until(&environment, environment.in_future(std::time::Duration::ZERO));
        // Whether it starts is its own matter; it must say so in time.
        let _ = within(self.budget, "start after its deadline", agent.start(&late)).await?;
        let ctx = self.ctx(&environment);
        self.stop(&agent, &ctx).await?;
        self.is_gone(&agent, &ctx, "after a late start and a stop").await
    }

    pub(super) async fn broken(&self, break_it: &(dyn Fn() + Send + Sync)) -> Outcome {
        let (agent, environment) = ((self.make)(), Arc::default());
        let ctx = self.ctx(&environment);
        self.start(&agent, &ctx).await?;
        self.runs(&agent, &ctx, "after its start").await?;
        break_it();
        let noticed = within(self.budget, "the resource that was broken", async {
            while self.health(&agent, &ctx).await.is_ok_and(serves) {
                ctx.sleep(std::time::Duration::from_millis(5)).await;
            }
        });
        let seen =
            noticed.await.or(wrong("monitor goes on saying that it serves", "that it sees what was broken"));
        self.stop(&agent, &ctx).await?;
        self.is_gone(&agent, &ctx, "after it was broken and stopped").await.and(seen)
    }
}
