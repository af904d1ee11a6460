//! What can go wrong, by name.

use crate::PolicyScope;
use std::fmt;
use std::time::Duration;

/// Which direction of a path is cut, by the sending node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// Frames sent by this node (0 or 1) vanish.
    From(usize),
    /// Both directions.
    Both,
}

/// How a fence device misbehaves. The device named is the one that ends the named node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceFault {
    /// Says *failed*, with or without having done it.
    Fails,
    /// Does not answer for many seconds, with or without having done it.
    Hangs,
    /// Does it, and says so after its promised time.
    Late,
    /// Says *off* and does nothing.
    Lies,
}

/// How a resource or the data of a group misbehaves the next time it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResourceFault {
    /// The next start fails.
    StartFails,
    /// The next start takes longer than its budget, then completes.
    StartHangs,
    /// The next stop fails; it still runs.
    StopFails,
    /// The next stop never ends.
    StopHangs,
    /// The service stops working by itself.
    Dies,
    /// The next monitor overruns.
    MonitorHangs,
    /// The next promotion of the data fails.
    PromoteFails,
    /// The next promotion of the data takes longer than its budget, then completes.
    PromoteHangs,
    /// The next demotion of the data never ends.
    DemoteHangs,
    /// The next drain takes longer than its budget.
    DrainHangs,
    /// What was drained does not accept work again.
    ResumeFails,
}

/// One fault. Those with a span mend themselves after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The node loses power; powered on again after the span.
    PowerLoss(usize, Duration),
    /// Both nodes lose power; each is powered on again after its span.
    TotalPowerLoss(Duration, Duration),
    /// The node loses power and its disk; powered on again, blank, after the span.
    ReplaceDisk(usize, Duration),
    /// `kill -9` of the engine's process.
    KillEngine(usize),
    /// `kill -9` of the guardian.
    KillGuardian(usize),
    /// `kill -9` of both; the init system starts them again after the span.
    KillTree(usize, Duration),
    /// `SIGSTOP` of guardian and child.
    PauseTree(usize, Duration),
    /// `SIGSTOP` of the child alone.
    PauseChild(usize, Duration),
    /// The boot clock gains so many parts per million from now on.
    Drift(usize, i64),
    /// One heartbeat link is cut.
    CutLink(u8, Cut, Duration),
    /// Every heartbeat link is cut; the mirror's stream lives.
    CutBeats(Cut, Duration),
    /// The mirror's path is cut, and the evidence link with it.
    CutMirror(Cut, Duration),
    /// Everything but the last heartbeat link is cut.
    CutNetwork(Duration),
    /// Everything is cut.
    Isolate(Duration),
    /// A link loses this many frames of a thousand.
    Lossy(u8, u32, Duration),
    /// A link delays its frames by up to the first span.
    Slow(u8, Duration, Duration),
    /// The device that ends the node misbehaves.
    Device(usize, DeviceFault, Duration),
    /// A resource (group, place) or the data of the group misbehaves on the node.
    Resource(usize, u8, u8, ResourceFault),
    /// Writes of the record take up to the first span.
    SlowDisk(usize, Duration, Duration),
    /// The next write of the record fails.
    DiskError(usize),
    /// No block of the record's disk is free.
    DiskFull(usize, Duration),
    /// No write of the record completes before the span is over.
    DiskStalls(usize, Duration),
    /// The disk calls writes of the record durable that are in its cache only: a loss of power may take them.
    /// Outside of what the rules assume, so a run that loses something by it is excused.
    LostCache(usize, Duration),
    /// The node loses power and every copy of its record is unreadable; powered on again after the span. An
    /// operator moves the file away: it boots without a record.
    DamagedRecord(usize, Duration),
    /// One direction or both of a link hold their frames back and deliver all of them after the span.
    Clog(u8, Cut, Duration),
    /// The same on the mirror's path.
    ClogMirror(Cut, Duration),
    /// The guardian's next undo fails and leaves something behind.
    UndoFails(usize),
    /// The node no longer sees the outside.
    NoOutside(usize, Duration),
    /// The application runtime stalls.
    StallApplication(usize, Duration),
    /// The path between the node and the arbiter is cut.
    CutArbiter(usize, Duration),
    /// The arbiter can only be read by the node: a disk that is read-only there.
    ArbiterReadOnly(usize, Duration),
    /// The arbiter is away, and back with everything it knew.
    ArbiterDown(Duration),
    /// Requests and answers take up to so long.
    ArbiterSlow(Duration, Duration),
    /// Every other answer is lost after its request took effect.
    ArbiterMute(Duration),
    /// The arbiter forgets its last so many swaps, as soon as both nodes would know better.
    ArbiterForgets(u8),
    /// An operator moves the group away from its owner.
    Switchover(u8),
    /// An operator lets the node stand by for the span.
    Standby(usize, Duration),
    /// An operator begins maintenance, for the span.
    Maintenance(PolicyScope, Duration),
    /// An operator begins maintenance of the node and exchanges its engine, which stays away for the span.
    Detach(usize, Duration),
    /// An operator shuts the node down in good order; started again after the span.
    Shutdown(usize, Duration),
}

impl Fault {
    /// Its kind without the details, for counting.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PowerLoss(..) => "PowerLoss",
            Self::TotalPowerLoss(..) => "TotalPowerLoss",
            Self::ReplaceDisk(..) => "ReplaceDisk",
            Self::KillEngine(_) => "KillEngine",
            Self::KillGuardian(_) => "KillGuardian",
            Self::KillTree(..) => "KillTree",
            Self::PauseTree(..) => "PauseTree",
            Self::PauseChild(..) => "PauseChild",
            Self::Drift(..) => "Drift",
            Self::CutLink(..) => "CutLink",
            Self::CutBeats(..) => "CutBeats",
            Self::CutMirror(..) => "CutMirror",
            Self::CutNetwork(_) => "CutNetwork",
            Self::Isolate(_) => "Isolate",
            Self::Lossy(..) => "Lossy",
            Self::Slow(..) => "Slow",
            Self::Device(_, DeviceFault::Fails, _) => "Device.Fails",
            Self::Device(_, DeviceFault::Hangs, _) => "Device.Hangs",
            Self::Device(_, DeviceFault::Late, _) => "Device.Late",
            Self::Device(_, DeviceFault::Lies, _) => "Device.Lies",
            Self::Resource(..) => "Resource",
            Self::SlowDisk(..) => "SlowDisk",
            Self::DiskError(_) => "DiskError",
            Self::DiskFull(..) => "DiskFull",
            Self::DiskStalls(..) => "DiskStalls",
            Self::LostCache(..) => "LostCache",
            Self::DamagedRecord(..) => "DamagedRecord",
            Self::Clog(..) => "Clog",
            Self::ClogMirror(..) => "ClogMirror",
            Self::UndoFails(_) => "UndoFails",
            Self::NoOutside(..) => "NoOutside",
            Self::StallApplication(..) => "StallApplication",
            Self::CutArbiter(..) => "CutArbiter",
            Self::ArbiterReadOnly(..) => "ArbiterReadOnly",
            Self::ArbiterDown(_) => "ArbiterDown",
            Self::ArbiterSlow(..) => "ArbiterSlow",
            Self::ArbiterMute(_) => "ArbiterMute",
            Self::ArbiterForgets(_) => "ArbiterForgets",
            Self::Switchover(_) => "Switchover",
            Self::Standby(..) => "Standby",
            Self::Maintenance(..) => "Maintenance",
            Self::Detach(..) => "Detach",
            Self::Shutdown(..) => "Shutdown",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerLoss(n, d) => write!(f, "node {n} loses power for {d:?}"),
            Self::TotalPowerLoss(a, b) => {
                write!(f, "both nodes lose power, node 0 for {a:?}, node 1 for {b:?}")
            }
            Self::ReplaceDisk(n, d) => write!(f, "node {n} loses its disk and is back, blank, after {d:?}"),
            Self::KillEngine(n) => write!(f, "kill -9 of the engine of node {n}"),
            Self::KillGuardian(n) => write!(f, "kill -9 of the guardian of node {n}"),
            Self::KillTree(n, d) => {
                write!(f, "kill -9 of guardian and engine of node {n}, started again after {d:?}")
            }
            Self::PauseTree(n, d) => write!(f, "SIGSTOP of everything on node {n} for {d:?}"),
            Self::PauseChild(n, d) => write!(f, "SIGSTOP of the engine of node {n} for {d:?}"),
            Self::Drift(n, ppm) => write!(f, "the clock of node {n} gains {ppm} ppm"),
            Self::CutLink(l, c, d) => write!(f, "link {l} cut ({c:?}) for {d:?}"),
            Self::CutBeats(c, d) => write!(f, "all heartbeat links cut ({c:?}) for {d:?}"),
            Self::CutMirror(c, d) => write!(f, "the mirror's path cut ({c:?}) for {d:?}"),
            Self::CutNetwork(d) => write!(f, "everything but the last link cut for {d:?}"),
            Self::Isolate(d) => write!(f, "everything between the nodes cut for {d:?}"),
            Self::Lossy(l, pm, d) => write!(f, "link {l} loses {pm} of 1000 frames for {d:?}"),
            Self::Slow(l, by, d) => write!(f, "link {l} delays by up to {by:?} for {d:?}"),
            Self::Device(n, what, d) => {
                write!(f, "the fence device of node {n} misbehaves ({what:?}) for {d:?}")
            }
            Self::Resource(n, g, r, what) => write!(f, "group {g} resource {r} on node {n}: {what:?}"),
            Self::SlowDisk(n, by, d) => write!(f, "record writes of node {n} take up to {by:?} for {d:?}"),
            Self::DiskError(n) => write!(f, "the next record write of node {n} fails"),
            Self::DiskFull(n, d) => write!(f, "the disk of node {n} is full for {d:?}"),
            Self::DiskStalls(n, d) => write!(f, "record writes of node {n} stall for {d:?}"),
            Self::LostCache(n, d) => {
                write!(f, "the disk of node {n} only pretends to write its record for {d:?}")
            }
            Self::DamagedRecord(n, d) => write!(f, "node {n} loses power and its record for {d:?}"),
            Self::Clog(l, c, d) => write!(f, "link {l} clogged ({c:?}) for {d:?}"),
            Self::ClogMirror(c, d) => write!(f, "the mirror's path clogged ({c:?}) for {d:?}"),
            Self::UndoFails(n) => write!(f, "the next undo on node {n} fails"),
            Self::NoOutside(n, d) => write!(f, "node {n} loses the outside for {d:?}"),
            Self::StallApplication(n, d) => write!(f, "the application of node {n} stalls for {d:?}"),
            Self::CutArbiter(n, d) => write!(f, "node {n} cut from the arbiter for {d:?}"),
            Self::ArbiterReadOnly(n, d) => write!(f, "node {n} can only read the arbiter for {d:?}"),
            Self::ArbiterDown(d) => write!(f, "the arbiter is down for {d:?}"),
            Self::ArbiterSlow(by, d) => write!(f, "the arbiter takes up to {by:?} for {d:?}"),
            Self::ArbiterMute(d) => write!(f, "every other answer of the arbiter is lost for {d:?}"),
            Self::ArbiterForgets(n) => write!(f, "the arbiter forgets its last {n} swaps"),
            Self::Switchover(g) => write!(f, "an operator moves group {g}"),
            Self::Standby(n, d) => write!(f, "an operator lets node {n} stand by for {d:?}"),
            Self::Maintenance(scope, d) => write!(f, "an operator begins maintenance of {scope:?} for {d:?}"),
            Self::Detach(n, d) => write!(f, "an operator exchanges the engine of node {n}, away for {d:?}"),
            Self::Shutdown(n, d) => write!(f, "an operator shuts node {n} down for {d:?}"),
        }
    }
}
