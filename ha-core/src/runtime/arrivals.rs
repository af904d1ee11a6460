//! Everything that reaches the control thread from other threads, in one queue.

use crate::engine::{ArbiterAnswer, Command, FenceAnswer, OpResult};
use crate::{GroupId, OpId, WriteId};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// One message to the control thread. The queue needs no limit of its own: each completion answers one order
/// of the engine, and the rest is coalesced by its sender.
#[derive(Debug)]
pub(super) enum Arrival {
    /// The durable lane finished a write.
    Persisted { write: WriteId, ok: bool },
    /// The application runtime finished an operation.
    OpDone { op: OpId, result: OpResult },
    /// A fence device answered.
    Fence { op: OpId, answer: FenceAnswer },
    /// The third party answered.
    Arbiter { op: OpId, answer: ArbiterAnswer },
    /// The data's state changed; it lies in the group's slot.
    Data { group: GroupId },
    /// The guardian is gone.
    GuardianLost,
    /// The node's handle is gone: end without a handover.
    Halt,
}

/// What a program asks through [`Node`](super::Node), in a queue of at most
/// [`COMMANDS_WAITING`](super::COMMANDS_WAITING).
#[derive(Clone, Copy, Debug)]
pub(super) enum Request {
    /// An operator's command.
    Command(Command),
    /// How many outside targets answered.
    Outside(u8),
}

pub(super) type ArrivalSender = UnboundedSender<Arrival>;
pub(super) type ArrivalReceiver = UnboundedReceiver<Arrival>;
