//! How long an address does not answer, and whether it is on two nodes: measured from a client.
//!
//! | module | is |
//! |---|---|
//! | [`probe`] | a client that opens a new connection every 2 ms (`vip-probe`) |
//! | [`echo`] | the service behind the address: says which node it is on (`vip-echo`) |
//! | [`bench`](mod@bench) | the same events for keepalived and for `pair-node`, in a bed of namespaces (`vip-bench`) |

pub mod bench;
pub mod echo;
pub mod probe;
