//! A small, correct SMTP server whose `250` means: both nodes have it.
//!
//! | file | what lives there |
//! |---|---|
//! | `framing` | bytes to command lines; only CRLF ends one |
//! | `data` | the message: dot-unstuffing; only CRLF.CRLF ends it |
//! | `command` | one line to one command (syntax by `smtp-proto`) |
//! | `session` | the pure state machine: bytes in, replies and deliveries out |
//! | `reply` | a reply, stamped with node, incarnation and epoch |
//! | `permit` | the permission to be active, as this server checks it |
//! | `store` | the seam to whatever keeps the messages |
//! | `maildir` | one Maildir on a local disk |
//! | `mirror_store` | a Maildir in the mirror, on both nodes |
//! | `trace` | the header lines that final delivery adds |
//! | `connection`, `server` | the tokio side: one client; all clients, and their drain |
//! | `service` | the server as a resource of a group |
//!
//! It is a receiver for one spool: no relaying, no authentication, no TLS, so it belongs behind something that
//! has them. What it must get right is the promise: `220` and the `250` after the final dot are
//! given only under a permission that was checked for them, and say when (`at=`, boot clock, nanoseconds).

mod command;
mod connection;
mod data;
mod framing;
mod limits;
mod maildir;
mod mirror_store;
mod permit;
mod reply;
mod server;
mod service;
mod session;
mod store;
mod trace;

pub use limits::Limits;
pub use maildir::LocalMaildir;
pub use mirror_store::MirrorStore;
pub use permit::{Checked, Permit};
pub use reply::{Identity, Reply};
pub use server::{Drained, Server};
pub use service::Service;
pub use session::{Session, Step};
pub use store::{Delivery, Envelope, MessageStore};
pub use trace::without_trace;
