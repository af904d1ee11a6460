//! Hammers an [`Arbiter`] and holds it to its contract.
//!
//! ```no_run
//! # async fn example<A: ha_core::api::Arbiter + 'static>(mine: impl Fn() -> A) {
//! use ha_core::testkit::arbiter;
//! match arbiter::check(mine).await {
//!     Ok(report) => println!("{report}"),
//!     Err(failed) => panic!("{failed}"),
//! }
//! # }
//! ```

mod basics;
mod bench;
mod contest;
mod dropped;
mod finding;
mod leases;

pub use finding::{Check, Failed, Failure, Report};

use crate::api::Arbiter;
use bench::Bench;
use std::time::Duration;

/// How hard to hammer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Nodes that contend for one group; at least 3.
    pub contenders: usize,
    /// Rounds in which they contend.
    pub rounds: usize,
    /// Calls of each kind that are dropped midway, each a little later than the one before.
    pub drops: usize,
    /// Leases that last longer are not waited for: [`Check::LeaseRunsOut`] is then skipped.
    pub longest_lease: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { contenders: 5, rounds: 8, drops: 16, longest_lease: Duration::from_secs(5) }
    }
}

/// Checks an arbiter. Each call of `make` gives the handle of another node to the same third party. Only groups with
/// names of its own are touched; what was written for them is left there.
///
/// Must run within a tokio runtime with its timer; one with several threads finds more.
///
/// # Errors
/// [`Failed`] with everything that was found.
pub async fn check<A: Arbiter + 'static>(make: impl Fn() -> A) -> Result<Report, Box<Failed>> {
    check_with(Options::default(), make).await
}

/// The same, as hard as `options` say.
///
/// # Errors
/// [`Failed`] with everything that was found.
pub async fn check_with<A: Arbiter + 'static>(
    options: Options,
    make: impl Fn() -> A,
) -> Result<Report, Box<Failed>> {
    let nodes = options.contenders.max(3);
    let mut bench = Bench::new((0..nodes).map(|_| make()).collect(), options);
    drop(make);
    for check in Check::ALL {
        let outcome = match check {
            Check::UnknownGroup => basics::unknown_group(&bench).await,
            Check::RecordReadsBack => basics::record_reads_back(&bench).await,
            Check::LostShowsWhatStands => basics::lost_shows_what_stands(&bench).await,
            Check::GroupsAreApart => basics::groups_are_apart(&bench).await,
            Check::OneWinner => contest::one_winner(&bench).await,
            Check::ReadsAreLinear => contest::reads_are_linear(&bench).await,
            Check::RenewalShows => leases::renewal_shows(&bench).await,
            Check::OnlyTheOwnerRenews => leases::only_the_owner_renews(&bench).await,
            Check::ReleaseTouchesOnlyItsOwn => leases::release_touches_only_its_own(&bench).await,
            Check::LeaseRunsOut => leases::lease_runs_out(&bench).await,
            Check::DroppedCalls => dropped::dropped_calls(&bench).await,
        };
        bench.note(*check, outcome);
    }
    bench.finish()
}
