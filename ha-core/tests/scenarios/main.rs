//! The scenarios of the research list (`docs/SCENARIOS.md`), each as a test named after its number and what must
//! come out of it; and the systematic runs: sweeps, swizzle-clog, a pause at every step, torn records.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of tests fails by panicking"
)]

mod basic;
mod crash;
mod data;
mod disk;
mod fencing;
mod found;
mod mixed;
mod modes;
mod network;
mod operations;
mod phases;
mod resources;
mod steps;
mod support;
mod sweeps;
mod swizzle;
mod table;
mod throughput;
mod witness;
