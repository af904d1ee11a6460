//! Heartbeat paths of a pair: UDP datagrams and serial lines.
//!
//! A path carries whole, opaque frames and may lose, repeat or reorder them; who is alive is decided by the engine,
//! what is authentic by [`ha_core::wire`]. So everything here is free to drop: nothing is queued, nothing is retried,
//! nothing grows. `docs/WIRE.md` has the frame format and how links are supervised.
//!
//! | path | type | notes |
//! |---|---|---|
//! | UDP unicast | [`UdpLink`] | sends without blocking, accepts from any address (the MAC decides) |
//! | serial line | [`SerialLink`] | any tty, raw 8N1, paced to the baud rate, resynchronises after noise |
//!
//! # The caller's contract
//!
//! 1. Make a factory a link; check a serial line with [`SerialLink::check_interval`] before anything runs.
//! 2. Open it ([`LinkFactory::open`](ha_core::api::LinkFactory::open)) on the runtime that uses it, and its guardian's
//!    sender before the guardian is needed.
//! 3. One task receives in a loop. After an error it waits one interval of the link and receives again; a
//!    serial line reopens its tty in that call.
//! 4. An error of `send` is a symptom to report, never a reason to stop beating.
//!
//! ```
//! use ha_core::api::LinkFactory;
//! use ha_heartbeat::LinkAddress;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let address: LinkAddress = "udp:127.0.0.1:7001,127.0.0.1:7002".parse()?;
//! let link: Box<dyn LinkFactory> = address.factory("net-a");
//! assert_eq!(link.name(), "net-a");
//! # Ok(()) }
//! ```

mod address;
mod framing;
mod line;
mod pacing;
mod serial;
mod udp;

pub use address::{AddressError, LinkAddress};
pub use framing::{Deframer, MAX_LINE_BYTES, encode_line_frame};
pub use pacing::{IntervalError, Pacer};
pub use serial::SerialLink;
pub use udp::UdpLink;
