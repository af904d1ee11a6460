//! Checks for users' own implementations of the seams: each hammers one and says what it found and what it expected.
//!
//! | module | checks |
//! |---|---|
//! | [`resource`] | any [`Resource`](crate::api::Resource) |
//! | [`fence`] | any [`FenceDevice`](crate::api::FenceDevice) |
//! | [`transport`] | any [`LinkFactory`](crate::api::LinkFactory) and the transports that it opens |
//! | [`arbiter`] | any [`Arbiter`](crate::api::Arbiter) |
//! | [`data`] | any [`DataSync`](crate::api::DataSync) |

pub mod arbiter;
pub mod data;
pub mod fence;
mod finding;
pub mod resource;
pub mod transport;
mod within;

pub use finding::{Failed, Failure, Report};
