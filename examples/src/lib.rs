//! What the example programs are made of. `mail-pair` is the main one: a pair of mail servers that fails over.
//!
//! | module | process of `mail-pair` |
//! |---|---|
//! | [`driver`] | starts everything else, delivers mail, injures the pair, checks |
//! | [`relay`] | carries all traffic between the nodes, and drops, delays or cuts it |
//! | [`chassis`] | power switch and board controller of one node |
//! | [`node`] | one node of the pair, under its guardian |
//! | [`smtp`] | the mail service that a node runs |
//!
//! [`pair_node`] is a node of a pair that guards an address, from flags alone.
//! [`vip`] measures from a client's side how long an address does not answer (`vip-bench`, `vip-probe`, `vip-echo`).
//! [`hello`] is the example in forty lines; [`replayer`] reads what a node's engine decided, and why.

pub mod chassis;
pub mod driver;
pub mod hello;
mod log;
pub mod node;
pub mod pair_node;
pub mod relay;
pub mod replayer;
pub mod smtp;
mod start;
pub mod vip;
