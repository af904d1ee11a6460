//! The building blocks of a hot-standby pair: vocabulary, traits, the pure decision engine, its runtime,
//! the guardian process and the simulator.
//!
//! Decisions are pure ([`engine::Engine`] has no I/O, clock, randomness or async); effects are at the edge
//! (the `runtime` module turns actions into calls on trait objects and their results into inputs).
//!
//! | module | what lives there |
//! |---|---|
//! | [`vocabulary`] | identities, instants, epochs, proofs, records, the role token |
//! | [`api`] | the seams users implement: resource, data, fence device, link, state store, clock |
//! | [`config`] | the checked configuration, by builder or by serde |
//! | [`timing`] | the proof that the survivor acts after the victim, with its numbers |
//! | [`engine`] | the state machine: inputs in, actions out |
//! | [`wire`] | the authenticated frame format of beats |
//! | [`explain`] | why each decision was taken, and what would have changed it |
//! | [`replay`] | the record of what an engine was fed, decided again |
//! | `store` | the node's durable record, through a recordable I/O layer |
//! | `runtime` | the tokio shell around the engine |
//! | `guardian` | the parent process that finishes a dead or frozen node |
//! | `agent` | a fence device and a service that are programs of the user's |
//! | `arbiter` | third parties: an object store, etcd, a person |
//! | `testkit` | checks of users' own implementations of the seams |
//! | `sim` | whole clusters in virtual time, with faults, from one seed |
//! | `testkit` | checks that hammer users' own implementations of the seams |

pub mod api;
pub mod config;
pub mod engine;
pub mod explain;
pub mod replay;
pub mod timing;
pub mod vocabulary;
pub mod wire;

pub mod store;

#[cfg(feature = "runtime")]
pub mod agent;
#[cfg(feature = "runtime")]
pub mod arbiter;
#[cfg(feature = "runtime")]
pub mod guardian;
#[cfg(feature = "runtime")]
pub mod runtime;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use api::Undo;
pub use vocabulary::*;
