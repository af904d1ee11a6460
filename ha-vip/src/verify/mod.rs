//! Asks other places where they believe an address to be, after it was taken.
//!
//! Sending announcements says nothing about whether they were believed. [`OutsideCheck`] asks each witness (gateway,
//! neighbours) a question *from* the address and looks where the answer goes:
//!
//! | evidence | what came | what it proves |
//! |---|---|---|
//! | [`Evidence::Learnt`] | the ARP reply to a request that named us as its sender | frames pass both ways, and the witness read the request, from which RFC 826 has it learn. Not that it believed it: a static entry, or a switch that inspects ARP, may say otherwise |
//! | [`Evidence::Sends`] | an echo reply or a solicited neighbour advertisement *to the address*, in a frame for our link-layer address | the witness looked the address up in its own table and found us there |
//! | [`Evidence::Saw`] | a probe closure (the other node) saw the address at us | what that probe proves |
//!
//! Nothing of it proves that the world behind the gateway arrives. A witness that does not answer proves nothing: gateways
//! may drop echo requests. While one does not confirm, it is told again, alone.

mod check;
mod inquiry;
mod view;

pub use check::{OutsideCheck, OutsideProbe, Witness};
pub use inquiry::Inquiry;
pub use view::{Evidence, OutsideView, Seen};
