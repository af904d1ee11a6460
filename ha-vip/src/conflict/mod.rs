//! Who else says that he has an address.
//!
//! * [`Probe`]: asks before an address is taken, in a tenth of a second. Pure; [`probe`] is its edge.
//! * [`Watch`]: hears foreign claims while it is held, and decides what follows. Pure; [`Watcher`] is its edge.
//!
//! A claim is recognised by its link-layer address. Two nodes that share a virtual link-layer address (VRRP) cannot tell
//! their claims from their own frames that a switch reflects: for them nothing is heard here.

mod budget;
mod event;
mod needless;
mod probe;
mod prober;
mod watch;
mod watcher;

pub use event::{Conflict, ConflictSink, DefendWith, Policy, Verdict};
pub use needless::probe_is_needless;
pub use probe::{Probe, ProbeAnswer, ProbePlan, ProbeStep};
pub use prober::probe;
pub use watch::{Reaction, Watch};
pub use watcher::{Watcher, WatcherState};
