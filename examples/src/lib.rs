//! Shared parts of the runnable examples.
