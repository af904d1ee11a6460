//! Checks for users' own implementations of the seams: each hammers one and says what it found and what it expected.
//!
//! | module | checks |
//! |---|---|
//! | [`arbiter`] | any [`Arbiter`](crate::api::Arbiter) |

pub mod arbiter;
