//! VRRP version 3: beats that routers and keepalived understand, so that a pair can stand beside them as one virtual
//! router (RFC 9568).
//!
//! | file | what lives there |
//! |---|---|
//! | `identity`, `timing` | router number and priority; interval, skew and the wait that follows from them |
//! | `checksum`, `packet`, `admission`, `refusal` | the codec and the checks on arrival, pure |
//! | `transition`, `machine` | the state machine, pure |
//! | `socket`, `sys` | raw sockets of protocol 112 on one interface |
//! | `speaker`, `worker`, `status` | one thread that ties them together, and the handle to it |
//! | `announcer` | the speaker as a resource of a group |
//!
//! **VRRP is no proof.** Its messages carry no key: whoever is on the link can send any of them, and silence has many
//! causes. Nothing here is or becomes a [`StopProof`](ha_core::StopProof). A node of a pair is silent until its own engine
//! permits it to speak ([`VrrpSpeaker::permit`]), and what a foreign speaker says comes out as an event that the pair's
//! own policy judges.

mod admission;
mod announcer;
mod checksum;
mod error;
mod identity;
mod machine;
mod packet;
mod refusal;
mod socket;
mod speaker;
mod status;
mod sys;
mod timing;
mod transition;
mod worker;

pub use admission::{Admission, Arrival, Audience, GROUP_V4, GROUP_V6, HOP_LIMIT, Heard};
pub use announcer::{VrrpAnnouncer, WhenOutranked};
pub use checksum::Ipv4Checksum;
pub use error::VrrpError;
pub use identity::{Priority, Vrid};
pub use machine::{Machine, MachineConfig, Preempt};
pub use packet::{AddressList, Advertisement};
pub use refusal::Refusal;
pub use speaker::{VrrpBuilder, VrrpSpeaker};
pub use status::{VrrpEvents, VrrpStatus};
pub use timing::AdvertInterval;
pub use transition::{Action, Cause, Input, VrrpEvent, VrrpState};
