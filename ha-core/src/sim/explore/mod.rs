//! Every short history of a pair of real engines, instead of many random ones.
//!
//! The simulator draws long histories; the explorer goes through **all** that differ from "nothing happens" by a
//! few choices, at every instant and in every order. A state seen before (by its fingerprint) is not explored
//! again. What is found is printed as the shortest list of choices, and can be replayed.
//!
//! ```
//! use ha_core::sim::explore::{Budget, Family, Limits, explore};
//! let family = Family::named("crash").unwrap().within(Budget::new(1, 0, 0));
//! let outcome = explore(&family, Limits::default());
//! assert!(outcome.complete && outcome.counterexample.is_none());
//! ```
//!
//! See `docs/MODEL.md` for what is modelled and what is left out.

mod apply;
mod choice;
mod copies;
mod counterexample;
mod device;
mod family;
mod key;
mod lives;
mod oracle;
mod search;
mod third;
mod world;

pub use choice::{Choice, Device, Path, UnknownWord};
pub use counterexample::{Counterexample, replay};
pub use family::{Budget, Family, Start};
pub use search::{Limits, Outcome, explore};
