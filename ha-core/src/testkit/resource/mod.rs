//! Hammers a [`Resource`] and holds it to its contract.
//!
//! ```no_run
//! # use ha_core::api::Resource;
//! # async fn example(make: impl Fn() -> std::sync::Arc<dyn Resource> + Send + Sync, process_runs: impl Fn() -> bool + Send + Sync) {
//! use ha_core::testkit::resource::ResourceTest;
//! let test = ResourceTest::new(make)
//!     .left_behind(|| if process_runs() { vec!["the process".into()] } else { vec![] });
//! match test.run().await {
//!     Ok(report) => println!("{report}"),
//!     Err(failed) => panic!("{failed}"),
//! }
//! # }
//! ```

mod environment;
mod orderly;
mod rough;

use super::finding::{Failed, Notes, Report};
use super::within::within;
use crate::api::{Ctx, Resource, Undo};
use crate::engine::Health;
use crate::{Epoch, GroupId, Instant, TokenCell};
use environment::Recorder;
use std::sync::Arc;
use std::time::Duration;

type Left<'a> = Box<dyn Fn() -> Vec<String> + Send + Sync + 'a>;
type TakeBack<'a> = Box<dyn Fn(&Undo) -> Result<(), String> + Send + Sync + 'a>;
type Break<'a> = Box<dyn Fn() + Send + Sync + 'a>;

/// A test of one kind of resource. Every instance that `make` gives stands for one life of a node's process.
pub struct ResourceTest<'a> {
    make: Box<dyn Fn() -> Arc<dyn Resource> + Send + Sync + 'a>,
    left: Option<Left<'a>>,
    take_back: Option<TakeBack<'a>>,
    break_it: Option<Break<'a>>,
    budget: Duration,
    polls: usize,
}

/// How a check is called, where it is implemented, and what it needs of the user.
const WHAT_IS_LEFT: &str = "ResourceTest::left_behind";

impl<'a> ResourceTest<'a> {
    /// A test with a budget of 5 s for each call.
    pub fn new(make: impl Fn() -> Arc<dyn Resource> + Send + Sync + 'a) -> Self {
        Self {
            make: Box::new(make),
            left: None,
            take_back: None,
            break_it: None,
            budget: Duration::from_secs(5),
            polls: 24,
        }
    }

    /// Looks, with other eyes than the resource's own, at what of it is left: processes, mounts, addresses, sockets,
    /// locks; one line each.
    #[must_use]
    pub fn left_behind(mut self, left: impl Fn() -> Vec<String> + Send + Sync + 'a) -> Self {
        self.left = Some(Box::new(left));
        self
    }

    /// Takes one stored step back, as the handler does that `main` registers with the guardian.
    #[must_use]
    pub fn taken_back_by(mut self, handler: impl Fn(&Undo) -> Result<(), String> + Send + Sync + 'a) -> Self {
        self.take_back = Some(Box::new(handler));
        self
    }

    /// Breaks the running resource from outside: kills its process, removes its address.
    #[must_use]
    pub fn broken_by(mut self, break_it: impl Fn() + Send + Sync + 'a) -> Self {
        self.break_it = Some(Box::new(break_it));
        self
    }

    /// How long one call may take.
    #[must_use]
    pub const fn within(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// At how many places a start is cut short; each a little later than the one before.
    #[must_use]
    pub const fn cuts(mut self, cuts: usize) -> Self {
        self.polls = cuts;
        self
    }

    /// Makes every check. Needs a tokio runtime with its timer.
    ///
    /// # Errors
    /// [`Failed`] with everything that was found.
    pub async fn run(self) -> Result<Report, Box<Failed>> {
        let mut notes = Notes::new(format!("resource {}", (self.make)().name()));
        notes.note("its name is a constant", self.name_is_constant());
        notes.note("what was never started is stopped", self.never_started().await);
        notes.note("it starts, stops, and starts again", self.starts_and_stops().await);
        notes.note("a second start changes nothing", self.starts_twice().await);
        notes.note("a second stop is a success", self.stops_twice().await);
        notes.note("monitors change nothing", self.monitored_often().await);
        notes.note("a passed deadline is no reason to hang", self.past_deadline().await);
        notes.note("it may be stopped while it starts", self.stopped_while_starting().await);
        notes.note("a refused undo step refuses the start", self.undo_refused().await);
        match (&self.left, &self.take_back) {
            (Some(_), _) => {
                notes.note("a death midway leaves nothing that its undo steps miss", self.dies_midway())
            }
            (None, _) => notes.skip("a death midway leaves nothing that its undo steps miss", WHAT_IS_LEFT),
        }
        match &self.break_it {
            Some(break_it) => notes.note("its monitor tells the truth", self.broken(break_it).await),
            None => notes.skip("its monitor tells the truth", "ResourceTest::broken_by"),
        }
        notes.finish()
    }

    /// A context that lives as long as the budget.
    fn ctx(&self, environment: &Arc<Recorder>) -> Ctx {
        self.ctx_until(environment, environment.in_future(self.budget))
    }

    fn ctx_until(&self, environment: &Arc<Recorder>, deadline: Instant) -> Ctx {
        let token = TokenCell::new(GroupId(0));
        token.set(Epoch(1), Instant::FAR);
        Ctx::new(environment.clone(), Epoch(1), deadline, token)
    }

    fn left(&self) -> Vec<String> {
        self.left.as_ref().map_or_else(Vec::new, |left| left())
    }
}

impl std::fmt::Debug for ResourceTest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResourceTest").field("budget", &self.budget).finish_non_exhaustive()
    }
}

const fn serves(health: Health) -> bool {
    matches!(health, Health::Running | Health::Degraded)
}

#[cfg(test)]
mod tests;
