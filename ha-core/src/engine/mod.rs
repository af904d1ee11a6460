//! The pure decision engine of a pair.
//!
//! # The caller's contract
//!
//! 1. Create one [`Engine`] a life with [`Engine::boot`], from the durable record as read.
//! 2. Call [`Engine::handle`] with a `now` that never goes backwards.
//! 3. After every call drain [`Engine::next_action`] until it is empty, before the next `handle`.
//! 4. Execute actions in any order, but set [`Action::Token`] before anything else of the same drain.
//! 5. Report the completion of every `Persist`, `Op`, `FenceQuery`, `FenceShoot` and `Arbiter` exactly once, however late.
//! 6. Sleep until [`Engine::next_deadline`] or the next input. When waking, feed everything that the sockets
//!    hold **before** [`Input::Tick`].
//! 7. After [`Action::EndSelf`], [`Action::Reborn`], [`Action::Departed`] or [`Action::Detached`] feed nothing more.

mod action;
mod agenda;
mod arbitration;
mod attach;
mod beat;
mod boot_table;
mod canonical;
mod claim;
mod cohort;
mod deadlines;
mod detach;
mod detach_state;
mod drain;
mod event;
mod evidence;
mod failures;
mod fencing;
#[cfg(feature = "sabotage")]
mod forgotten;
mod globals;
mod group_map;
mod group_set;
mod health;
mod hearing;
mod holds;
mod idle;
mod in_sync;
mod input;
mod lease;
mod leaving;
mod machine;
mod membership;
mod ops;
mod outline;
mod owner;
mod permission;
mod permit;
mod persist;
mod placement;
mod policy_state;
mod policy_status;
#[cfg(feature = "sabotage")]
mod sabotage;
mod saying;
mod snapshot;
mod state;
mod status;
mod telling;
mod third_party;
mod third_proof;
mod third_requests;
mod ties;
#[cfg(any(test, feature = "sim"))]
mod witness;

pub use action::*;
pub use beat::*;
pub use canonical::{Canonical, Frame};
pub use event::*;
pub use evidence::*;
#[cfg(feature = "sabotage")]
pub use forgotten::Forgotten;
pub use holds::Hold;
pub use input::*;
pub use machine::Engine;
pub use outline::{GroupOutline, Outline};
pub use policy_state::{Cause, Finding, MoveReason};
pub use policy_status::{Placement, PolicyStatus};
#[cfg(feature = "sabotage")]
pub use sabotage::*;
pub use snapshot::{EngineSnapshot, SnapshotMismatch};
pub use status::*;

#[cfg(test)]
mod confirmation_tests;
#[cfg(test)]
mod consent_tests;
#[cfg(test)]
mod diverged_tests;
#[cfg(test)]
mod explore_tests;
#[cfg(test)]
mod leftover_tests;
#[cfg(test)]
mod pair_tests;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod stale_word_tests;
#[cfg(test)]
mod telling_tests;
#[cfg(test)]
mod third_tests;
