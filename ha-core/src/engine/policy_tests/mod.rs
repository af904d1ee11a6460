//! Policy on two engines: what moves, what stays, what is left alone.

mod detaching;
mod duo;
mod failing;
mod holding;
mod moving;
mod proofs;
mod together;
mod waking;
