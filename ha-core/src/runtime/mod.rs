//! The thin tokio shell around the [`Engine`](crate::engine::Engine): it turns actions into calls on the
//! program's parts and their results into inputs, and decides nothing.
//!
//! | thread | does |
//! |---|---|
//! | control | the engine, all links, all deadlines; waits for nothing else |
//! | durable lane | writes the node's record |
//! | fence lane | talks to the fence device |
//! | record lane | writes the record of the engine, relives it where it decided, explains its decisions |
//! | the application's own runtime | resources and data |
//!
//! [`Node::builder`] begins; `docs/RUNTIME.md` has the order of a turn, what every wait is bounded by, and what
//! happens to calls that overrun.

mod agents;
mod alarm;
mod arbiter;
mod arrivals;
mod builder;
mod clock;
mod control;
mod data_slot;
mod durable;
mod ending;
mod environment;
mod error;
mod events;
mod explanations;
mod fencing;
mod identity;
mod links;
mod liveness;
mod names;
mod node;
mod operations;
mod policy;
mod realtime;
mod recorder;
mod recorder_lane;
mod recorder_slot;
mod reliving;
mod report;
mod sys;

pub use builder::{COMMANDS_WAITING, NodeBuilder};
pub use clock::BootClock;
pub use ending::{EndHook, EndProcess, Ended};
pub use environment::Unguarded;
pub use error::{NodeError, Problem, Problems};
pub use events::{EVENTS_KEPT, EventItem, EventStream};
pub use explanations::EXPLANATIONS_KEPT;
pub use links::LinkTraffic;
pub use node::Node;
pub use policy::{FindingReport, OrderReport, PolicyReport};
pub use realtime::RealtimeOptions;
pub use recorder_lane::RecordOptions;
pub use report::{EventReport, GroupReport, LinkReport, PeerReport, QuestionReport, StatusReport};
