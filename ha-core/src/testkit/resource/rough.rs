//! Starts that are cut short: stopped midway, killed midway, refused.

use super::super::finding::{Outcome, Wrong, wrong};
use super::super::within::polled;
use super::{Recorder, ResourceTest, within};
use std::pin::pin;
use std::sync::Arc;

impl ResourceTest<'_> {
    pub(super) async fn stopped_while_starting(&self) -> Outcome {
        for polls in 0..self.polls {
            let (agent, environment) = ((self.make)(), Arc::default());
            let ctx = self.ctx(&environment);
            let mut start = pin!(agent.start(&ctx));
            let begun = polled(self.budget, start.as_mut(), polls).await;
            ctx.cancel();
            let stopping = self.ctx(&environment);
            match begun {
                Some(_) => self.stop(&agent, &stopping).await?,
                None => {
                    let late = within(self.budget, "a start that was given up", start);
                    let (late, stopped) = futures::join!(late, self.stop(&agent, &stopping));
                    let _ = late?;
                    stopped?;
                }
            }
            // As the engine does with a start that completes late: it is undone.
            self.stop(&agent, &stopping).await?;
            self.is_gone(
                &agent,
                &stopping,
                &format!("after a stop during a start that had been polled {polls} times"),
            )
            .await?;
            if begun.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    pub(super) async fn undo_refused(&self) -> Outcome {
        let (agent, environment) = ((self.make)(), Recorder::refusing());
        let ctx = self.ctx(&environment);
        let started = within(self.budget, "start", agent.start(&ctx)).await?;
        if environment.steps().is_empty() {
            // It has nothing to take back: its end ends everything.
            return self.stop(&agent, &ctx).await;
        }
        if started.is_ok() {
            let _ = self.stop(&agent, &ctx).await;
            return wrong(
                "a start although its undo step was not stored",
                "an error, before any side effect",
            );
        }
        self.is_gone(&agent, &ctx, "after a start that was refused").await
    }

    /// The process dies in a start, at each of its steps; the guardian takes the stored steps back.
    pub(super) fn dies_midway(&self) -> Outcome {
        for polls in 1..=self.polls {
            let environment = Arc::default();
            let ended = self.life_that_ends_after(polls, &environment)?;
            for step in environment.steps() {
                let Some(take_back) = &self.take_back else {
                    return wrong(
                        format!("an undo step of kind \"{}\"", step.kind),
                        "a handler for it, by ResourceTest::taken_back_by",
                    );
                };
                if let Err(error) = take_back(&step) {
                    return wrong(
                        format!("its undo step \"{}\" failed: {error}", step.kind),
                        "that it succeeds",
                    );
                }
            }
            match self.left() {
                left if left.is_empty() => {}
                left => {
                    let found =
                        format!("{} after a death in a start that was polled {polls} times", left.join(", "));
                    return wrong(found, "that nothing is left when its undo steps are done");
                }
            }
            if ended {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One life: its runtime, and with it every task and socket, ends in the middle of the start. Whether the start had
    /// ended by then.
    fn life_that_ends_after(&self, polls: usize, environment: &Arc<Recorder>) -> Result<bool, Wrong> {
        let life = || -> std::io::Result<bool> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let ended = runtime.block_on(async {
                let (agent, ctx) = ((self.make)(), self.ctx(environment));
                let mut start = pin!(agent.start(&ctx));
                polled(self.budget, start.as_mut(), polls).await.is_some()
            });
            runtime.shutdown_background();
            Ok(ended)
        };
        let told = std::thread::scope(|scope| scope.spawn(life).join());
        match told {
            Ok(Ok(ended)) => Ok(ended),
            Ok(Err(error)) => wrong(format!("no runtime: {error}"), "a machine that can make one"),
            Err(_) => wrong("a panic in its start", "an error at most"),
        }
    }
}
