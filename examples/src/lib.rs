//! Shared parts of the runnable examples.

pub mod smtp;
