//! The three threads that may wait for a disk: journal, tree, and everything that is not urgent.

mod incoming;
mod journal;
mod keeper;
mod tree;

pub(crate) use journal::run as journal;
pub(crate) use keeper::run as keeper;
pub(crate) use tree::run as apply;

use crate::hub::Hub;
use crate::state::State;
use std::sync::{Condvar, PoisonError};

/// One write of the journal, and one round of the tree.
const BATCH_BYTES: usize = 1 << 20;

/// Waits for a lane's next work. For the flip to a copy the lane gives its part up, and takes the new one when it
/// is there. `None`: the mirror is closed.
fn next_work<P, W>(
    hub: &Hub,
    wake: &Condvar,
    part: &mut Option<P>,
    fresh: impl Fn(&mut State) -> Option<P>,
    work: impl Fn(&mut State) -> Option<W>,
) -> Option<W> {
    let mut s = hub.lock();
    loop {
        if s.stop {
            return None;
        }
        if s.give_up && part.take().is_some() {
            s.given_up += 1;
            hub.keeper_wake.notify_one();
        }
        if part.is_none() {
            *part = fresh(&mut s);
        }
        if part.is_some()
            && let Some(work) = work(&mut s)
        {
            return Some(work);
        }
        s = wake.wait(s).unwrap_or_else(PoisonError::into_inner);
    }
}
