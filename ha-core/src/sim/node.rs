//! One simulated machine: power, kernel, disk, process tree and what runs on it.

use super::clock::DriftClock;
use super::disk::RecordDisk;
use super::fault::{DeviceFault, ResourceFault};
use super::invariant::{Rate, Recording};
use super::mirror::Primary;
use super::permits::Permits;
use crate::engine::{DataReport, Engine, Input, OpKind, OpTarget, RoleName};
use crate::{BootId, Epoch, GroupId, Incarnation, NodeRecord, OpId, WriteId};
use std::collections::{BTreeMap, VecDeque};

/// The guardian of a process tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guardian {
    /// None: never started, killed, or the process runs without one.
    Absent,
    /// Watching.
    Running,
    /// Stopped by a signal.
    Paused,
}

/// What is really there of one resource on one machine.
#[derive(Clone, Debug, Default)]
pub struct Running {
    /// It is there, whole or in part.
    pub there: bool,
    /// It serves.
    pub serves: bool,
    /// The present life found it: an earlier one left it, and this one has neither put up its own nor taken it over.
    pub found: bool,
    /// How often it was started.
    pub starts: u32,
    /// How often it was stopped.
    pub stops: u32,
    /// What it does wrong the next time.
    pub quirks: Vec<ResourceFault>,
}

impl Running {
    /// Takes the quirk away if it is armed.
    pub fn take(&mut self, quirk: ResourceFault) -> bool {
        let at = self.quirks.iter().position(|q| *q == quirk);
        at.map(|i| self.quirks.swap_remove(i)).is_some()
    }
}

/// An operation under way.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// Of which group.
    pub group: GroupId,
    /// On what.
    pub target: OpTarget,
    /// What.
    pub kind: OpKind,
    /// In which grant.
    pub epoch: Epoch,
    /// Whether it will say that it failed.
    pub fails: bool,
    /// Whether the engine gave it up.
    pub cancelled: bool,
}

/// A mirrored group's data as one process handles it.
#[derive(Clone, Debug, Default)]
pub struct DataView {
    /// Its state as primary.
    pub primary: Option<Primary>,
    /// What the engine was told.
    pub told: DataReport,
    /// A report is on its way to the engine.
    pub report_due: bool,
}

/// One life of an engine.
#[derive(Debug)]
pub struct Process {
    /// A number of its own; events for another one are stale.
    pub life: u32,
    /// Its identity.
    pub incarnation: Incarnation,
    /// The engine under test.
    pub engine: Engine,
    /// Stopped by a signal.
    pub paused: bool,
    /// What arrived meanwhile: beats, then the rest.
    pub inbox: (VecDeque<Input>, VecDeque<Input>),
    /// The permissions by group.
    pub permits: Permits,
    /// The roles by group, as last reported.
    pub roles: Vec<RoleName>,
    /// The grants by group, while owned.
    pub owned: Vec<Option<Epoch>>,
    /// By group: it was released since it was last owned.
    pub released: Vec<bool>,
    /// It was told to leave.
    pub leaving: bool,
    /// Operations under way.
    pub ops: BTreeMap<OpId, Op>,
    /// Fencing orders that were given up.
    pub given_up: Vec<OpId>,
    /// The write of the record under way.
    pub write: Option<(WriteId, NodeRecord)>,
    /// When the write under way began (true time).
    pub write_began: u64,
    /// The earliest wake-up that is queued (true time).
    pub wake_at: u64,
    /// The data by group.
    pub data: Vec<DataView>,
    /// Whether the predecessor may have left something.
    pub leftovers: bool,
    /// When it began to run without a pause (true time).
    pub healthy_since: u64,
    /// Send times of the newest beats by link: (sequence, true time).
    pub sent: Vec<VecDeque<(u32, u64)>>,
    /// By link: the send time of the newest own beat that was echoed (true time).
    pub echoed: Vec<u64>,
    /// By link: any own beat was ever echoed.
    pub ever_echoed: Vec<bool>,
    /// Safety values of the peer were heard, of whichever life.
    pub knows_timing: bool,
    /// All inputs, where replay is checked.
    pub recording: Option<Recording>,
    /// How much it decides.
    pub rate: Rate,
    /// Ticks at the present instant.
    pub spins: (u64, u32),
}

/// How the device that ends this node misbehaves, and until when (true time).
pub type Device = Option<(DeviceFault, u64)>;

/// One machine.
#[derive(Debug)]
pub struct Node {
    /// Its boot clock.
    pub clock: DriftClock,
    /// Power.
    pub power: bool,
    /// +1 at each change of power; events of another one are stale.
    pub cycle: u32,
    /// The kernel's boot.
    pub boot: BootId,
    /// The durable record, as a restart would read it.
    pub record: NodeRecord,
    /// The disk that it is on.
    pub disk: RecordDisk,
    /// No record write completes before this true time.
    pub stalled_until: u64,
    /// The record cannot be read: nothing starts before an operator moved it away.
    pub unreadable: bool,
    /// The engine's process.
    pub process: Option<Process>,
    /// Its guardian.
    pub guardian: Guardian,
    /// +1 at each pause; ends of another one are stale.
    pub pauses: u32,
    /// A child died while the guardian was stopped: it acts when it wakes.
    pub mourning: Option<Mourning>,
    /// What runs, by group and place.
    pub running: Vec<Vec<Running>>,
    /// By group: what the last life left running on purpose, until the next life is there.
    pub kept: Vec<Option<Epoch>>,
    /// How long the next life waits after a detachment.
    pub absence: Option<u64>,
    /// Misbehaviour of the data by group.
    pub data_quirks: Vec<Running>,
    /// Record writes take up to so long, until then.
    pub slow_disk: Option<(u64, u64)>,
    /// The next record write fails.
    pub disk_error: bool,
    /// The next undo fails.
    pub undo_fails: bool,
    /// How many outside targets answer.
    pub outside: u8,
    /// The device that ends this node.
    pub device: Device,
    /// The disk was replaced and nothing was admitted since.
    pub blank: bool,
    /// A device said falsely that the frozen process is off; it must find out by itself.
    pub lied_about: bool,
    /// When this machine or process last ended or was stopped (true time).
    pub disturbed: u64,
    /// Its application makes no progress.
    pub stalled: bool,
}

/// What a guardian knows of its dead child.
#[derive(Clone, Debug)]
pub struct Mourning {
    /// The life that ended.
    pub incarnation: Incarnation,
    /// What it owned.
    pub owned: Vec<(GroupId, Epoch)>,
}
