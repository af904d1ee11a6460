//! A transactional mirror of a mail store on two nodes.
//!
//! One node leads: its [`Transaction`]s are numbered, written to the journals of both nodes, acknowledged when
//! the rule in force is met, and then applied to a tree of plain files that anybody can read. The other node
//! follows, and applies the same transactions in the same order.
//!
//! | module | what lives there |
//! |---|---|
//! | `mirror` | opening, outcome, status: the public face |
//! | `transaction`, `sequencer` | building, checking and numbering transactions |
//! | `state`, `hub` | all cursors under one lock, and what follows from a change |
//! | `commit_rule`, `peering` | the two pure decisions: what may be acknowledged, who follows from where |
//! | `lanes` | the threads that wait for disks |
//! | `stream` | handshake, frames, sending, receiving, feeding |
//! | `store` | journal, tree, superblock, copies on disk |

mod commit_rule;
mod config;
mod data_sync;
mod error;
mod history;
mod hub;
mod lanes;
mod mirror;
mod ops;
mod outcome;
mod peering;
mod record;
mod report;
mod sequencer;
mod state;
mod store;
mod stream;
mod transaction;

#[cfg(feature = "sabotage")]
pub use config::Sabotage;
pub use config::{ClockDebug, Limits, MirrorConfig};
pub use error::{MirrorError, OpenError};
pub use mirror::{Mirror, offline_root};
pub use ops::PathFault;
pub use outcome::{CommitOutcome, Outcome, RejectReason, TxId, UnknownReason};
pub use record::MirrorId;
pub use report::{MirrorStatus, Protection};
pub use store::{QuarantineReport, RecoveryNote, StoreDigest};
pub use transaction::Transaction;
