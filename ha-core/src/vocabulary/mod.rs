//! The words of the design as types: who, when, which grant, why it is safe.

mod identity;
mod instant;
mod policy;
mod proof;
mod record;
mod token;

pub use identity::*;
pub use instant::Instant;
pub use policy::*;
pub use proof::*;
pub use record::*;
pub use token::*;
