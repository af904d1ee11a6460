//! The proof that the survivor acts after the victim, and the predicted outage of every fault, with numbers.
//!
//! Every takeover path is one inequality: *the survivor's earliest action comes after the victim's latest*.
//! [`prove`] evaluates all of them for one configuration, prints both sides addend by addend, and refuses a
//! configuration in which one does not hold, with the smallest change that mends it. [`joint`] decides whether
//! two nodes with possibly different configurations may still take over from each other.
//!
//! What it does *not* do: it measures nothing. Constants that it assumes are named in [`allowance`].
//!
//! ```
//! use ha_core::config::{Config, FenceConfig, GroupConfig, LinkConfig};
//! use ha_core::timing::{FaultKind, prove};
//! use std::time::Duration;
//! let ms = Duration::from_millis;
//! let config = Config::pair("mail", "a", "b")
//!     .link(LinkConfig::datagram("lan", ms(20), ms(200)))
//!     .link(LinkConfig::serial("tty", ms(50), ms(250), 115_200))
//!     .group(GroupConfig::new("smtp").mirrored())
//!     .fence(FenceConfig::new(ms(200)));
//! let proof = prove(&config)?;
//! assert_eq!(proof.outage(FaultKind::PowerLossActive).total, Some(ms(250 + 200 + 200)));
//! println!("{proof}");
//! # Ok::<_, ha_core::timing::Violations>(())
//! ```

pub mod allowance;
mod availability;
mod budget;
mod danger;
mod derive;
mod detection;
mod devices;
mod drift;
mod fault;
mod inequality;
mod joint;
mod joint_lease;
mod lease;
mod notice;
mod outage;
mod proof;
mod range;
mod rules;
mod terms;
mod violation;

pub use availability::{Availability, DataPlace, Downtime};
pub use budget::{BudgetError, for_outage_budget};
pub use danger::Danger;
pub use fault::{FaultKind, UnknownFault};
pub use inequality::{Addend, Basis, Inequality};
pub use joint::{Mismatch, SafetyValues, fits, joint};
pub use joint_lease::{LeaseValues, joint_lease};
pub use notice::Notice;
pub use outage::Outage;
pub use proof::{DoubleActive, Proof, prove};
pub use range::{Range, ranges};
pub use terms::address_expiry;
pub use violation::{Violation, Violations};

#[cfg(test)]
mod lease_tests;
#[cfg(test)]
mod tests;
