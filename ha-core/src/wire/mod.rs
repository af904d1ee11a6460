//! The authenticated frame format of heartbeats, the same for datagrams and serial lines. Pure: no I/O, no
//! clock, no randomness. `docs/WIRE.md` has the layout byte by byte and the reasons.
//!
//! Beats are authenticated, not encrypted: they hold no secret. A frame is accepted only if it was made with
//! the pair's key, for this cluster, this link, this direction, by the sender's present life, for the
//! receiver's present life, and was not accepted before. Nothing recorded is ever accepted.
//!
//! # The caller's contract
//!
//! 1. Create one [`LinkSession`] a link and a life, with an unpredictable nonce.
//! 2. Give every frame that arrives to [`LinkSession::decode`]; give [`Received::Beat`] and
//!    [`Received::Released`] to the engine as evidence, [`Received::Greeting`] only as a hint who asks.
//! 3. Encode every beat with [`LinkSession::encode`]; it decides whether a beat or a greeting is sent.
//! 4. When [`LinkSession::session_changes`] moved, store [`LinkSession::testament`] at the guardian.
//! 5. Keep the statements of one beat within the link's payload, by [`statement_len`].
//!
//! ```
//! use ha_core::{Incarnation, LinkId, NodeId, engine::{Beat, Statement}, wire::{LinkSession, PairKey, Received}};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = PairKey::from_bytes(&[7; 32])?;
//! let (one, two) = (Incarnation(1), Incarnation(2));
//! let mut a = LinkSession::new(&key, "mail", LinkId(0), NodeId(0), one, 11);
//! let mut b = LinkSession::new(&key, "mail", LinkId(0), NodeId(1), two, 22);
//! let mut frame = Vec::new();
//! let beat = |incarnation, to, seq| {
//!     Beat { incarnation, to, seq, echo: None, statements: vec![Statement::Departing] }
//! };
//! a.encode(&beat(one, None, 1), &mut frame)?;
//! assert!(matches!(b.decode(&frame)?, Received::Greeting(_))); // who asks, no evidence
//! b.encode(&beat(two, Some(one), 1), &mut frame)?;
//! assert!(matches!(a.decode(&frame)?, Received::Greeting(_))); // it echoes a's nonce
//! a.encode(&beat(one, Some(two), 2), &mut frame)?;
//! let Received::Beat(heard) = b.decode(&frame)? else { panic!() };
//! assert_eq!((heard.seq, heard.to, heard.statements), (2, Some(two), vec![Statement::Departing]));
//! assert!(b.decode(&frame).is_err()); // each beat counts once
//! # Ok(()) }
//! ```

mod counters;
mod error;
mod key;
mod layout;
mod octets;
mod peer;
mod session;
mod statement;
mod terms;
mod testament;
mod window;

#[cfg(test)]
mod tests;

pub use counters::LinkCounters;
pub use error::{EncodeError, FrameError};
pub use key::{KeyError, PairKey};
pub use layout::FrameKind;
pub use session::{LinkSession, Received};
pub use statement::statement_len;
pub use terms::{Agreement, WireTerms};
pub use testament::{Testament, TestamentError};

/// The newest version of the frame format that is spoken here.
pub const VERSION: u8 = 1;

/// The oldest one. Two nodes speak the newest that both know; without one they refuse each other by name.
pub const OLDEST_VERSION: u8 = 1;

/// The longest frame in bytes: fits an Ethernet datagram over IPv6 with room for a tunnel.
pub const MAX_FRAME_BYTES: usize = 1232;

/// Bytes of a beat that are not statements: header, sequence, echo and MAC.
pub const BEAT_OVERHEAD_BYTES: usize = 27;

/// The longest frame for a serial line: with its framing (two delimiters, one byte of COBS) it is 64 bytes.
pub const SERIAL_FRAME_BYTES: usize = 61;

/// Sequence numbers from here on are the guardian's; the engine's numbers stay below.
pub const RESERVED_SEQ: u32 = 0xFFFF_0000;
