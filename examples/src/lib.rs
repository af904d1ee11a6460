//! Shared parts of the runnable examples.

pub mod hello;
pub mod smtp;
