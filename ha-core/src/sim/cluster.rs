//! The world: two nodes, their paths, devices and data, moved from event to event in true time.

use super::agents::Agents;
use super::arbiter::ThirdParty;
use super::clock::DriftClock;
use super::disk::RecordDisk;
use super::fault::Fault;
use super::invariant::{Broken, Epochs, Shots, Verdict};
use super::mirror::{Mirror, Rec};
use super::network::{Network, Reach};
use super::node::{Guardian, Mourning, Node, Running};
use super::probe::Probes;
use super::queue::Queue;
use super::rng::Rng;
use super::scenario::{Scenario, Trap};
use super::timeline::{Timeline, What};
use super::{Cut, Options};
use crate::engine::{
    Action, ArbiterAnswer, ArbiterRequest, Beat, Command, FenceAnswer, ReleasedNotice, Status,
};
use crate::{BootId, GroupId, InitId, Instant, NodeRecord, OpId, StoreId};
use std::time::Duration;

pub(super) const MS: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000_000_000;

/// Something that happens at an instant of true time.
#[derive(Debug)]
pub(super) enum Event {
    Beat { to: usize, link: u8, beat: Beat },
    Notice { to: usize, notice: Box<ReleasedNotice> },
    Wake { node: usize, life: u32 },
    Persisted { node: usize, life: u32 },
    OpDone { node: usize, life: u32, op: OpId },
    FenceAct { by: usize, life: u32, op: OpId, shoot: bool, ordered: u64 },
    FenceAnswer { by: usize, life: u32, op: OpId, answer: FenceAnswer },
    ArbiterActs { by: usize, life: u32, op: OpId, group: GroupId, request: ArbiterRequest },
    ArbiterAnswers { by: usize, life: u32, op: OpId, answer: ArbiterAnswer },
    ArbiterForgets { swaps: u8, tries: u8 },
    Report { node: usize, life: u32, group: usize },
    MirrorCheck { group: usize },
    Append { group: usize, session: u32, from: usize, records: Vec<Rec> },
    StandbyDurable { group: usize, session: u32 },
    PeerAck { group: usize, session: u32, upto: usize },
    OwnerDurable { group: usize, node: usize, life: u32, upto: usize },
    CatchUp { group: usize, session: u32 },
    Client { group: usize },
    FeedMissed { node: usize, life: u32, pause: u32 },
    GuardianGone { node: usize, life: u32 },
    Undone { node: usize, cycle: u32, of: Box<Mourning> },
    Restart { node: usize, cycle: u32 },
    PowerOn { node: usize, cycle: u32 },
    MoveRecordAway { node: usize },
    Resume { node: usize, pause: u32 },
    AddressLapses { node: usize, cycle: u32, life: u32 },
    Fault(Fault),
    Mend { healing: u32, what: Mending },
    Operator,
    Answer { node: usize, command: Command, cycle: u32 },
    Trust { node: usize },
    Mended { node: usize, group: GroupId },
    Heal,
    Poll { task: u64 },
}

/// The end of a fault with a span.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mending {
    Cut(Reach, Cut),
    Loss(u8),
    Slow(u8),
    Disk(usize),
    Outside(usize),
    Application(usize),
    Policy(Command),
    Detach(usize),
    Arbiter(super::arbiter::Trouble),
}

/// Two nodes in virtual time, driven by a [`Scenario`] or by hand.
///
/// 1. create it with [`Cluster::new`];
/// 2. let time pass with [`Cluster::run_for`], break things with [`Cluster::inject`];
/// 3. look at [`Cluster::status`], [`Cluster::timeline`] and [`Cluster::broken`].
pub struct Cluster {
    pub(super) scenario: Scenario,
    pub(super) options: Options,
    pub(super) now: u64,
    pub(super) queue: Queue<Event>,
    pub(super) rng: Rng,
    pub(super) nodes: [Node; 2],
    pub(super) network: Network,
    pub(super) mirrors: Vec<Option<Mirror>>,
    pub(super) epochs: Vec<Epochs>,
    pub(super) shots: Shots,
    /// The third party, where one is configured.
    pub(super) third: Option<ThirdParty>,
    /// Groups started on a lie or an assumption: I1, I2, I3 and I8 are not asserted any more.
    pub(super) tainted: Vec<bool>,
    /// A device lied about a frozen process: copies may miss what was acknowledged on that lie.
    pub(super) deceived: bool,
    /// From then on (true time) nothing that rests on a lie is asserted.
    pub(super) excused_from: u64,
    /// When the last process woke about which a device had lied (true time), while a link carried.
    pub(super) woke_after_lie: Option<u64>,
    /// Since then a link carried for as long as finding out takes.
    pub(super) had_time_to_find_out: bool,
    /// Groups whose copy an operator chose against an *alone* record, until both are members again.
    pub(super) forced: Vec<bool>,
    pub(super) probes: Probes,
    pub(super) timeline: Timeline,
    pub(super) broken: Option<Broken>,
    /// When both nodes first acted for one group (true time), whatever excuses it.
    pub(super) twice_active: Option<u64>,
    pub(super) lives: u32,
    pub(super) injected: u64,
    pub(super) total_loss: bool,
    pub(super) healed: bool,
    pub(super) disk_replaced: bool,
    pub(super) traps: Vec<Trap>,
    pub(super) answers: super::operator::Answers,
    pub(super) agents: Agents,
    pub(super) drained: Vec<Action>,
    pub(super) handled: u64,
    pub(super) logs: Vec<LifeLog>,
    /// A campaign of the user's: its seeds are replayed by it.
    pub(super) own: bool,
}

/// The record of one life of a node: entries as [`replay`](crate::replay) reads them.
#[derive(Clone, Debug)]
pub struct LifeLog {
    /// Which node, 0 or 1.
    pub node: usize,
    /// The entries, from [`LogReader::from_frames`](crate::replay::LogReader::from_frames).
    pub frames: Vec<u8>,
}

impl Cluster {
    /// The world at true time zero: both nodes powered on shortly after each other, blank and initialised
    /// together.
    #[must_use]
    pub fn new(scenario: Scenario, options: Options) -> Self {
        let mut rng = Rng::new(scenario.seed ^ 0x0060_0dca_fe00);
        let network = Network::new(&scenario.configs[0], &mut rng);
        let init = Some(InitId(rng.id()));
        let groups = &scenario.configs[0].groups;
        let nodes = [0, 1].map(|i: i64| {
            let ppm = rng.range(0, 501).cast_signed() - 250;
            let begin = scenario.clocks_begin[usize::from(i != 0)];
            let at = nanos(begin) + rng.range(0, SECOND);
            let (boot, store) = (BootId(rng.id()), StoreId(rng.id()));
            let chance = Rng::new(scenario.seed ^ 0xd15c ^ i.unsigned_abs());
            Node {
                clock: DriftClock::new(0, at, ppm),
                power: true,
                cycle: 0,
                boot,
                record: NodeRecord::blank(store, init),
                disk: RecordDisk::new(store, init, chance),
                stalled_until: 0,
                unreadable: false,
                process: None,
                guardian: Guardian::Absent,
                pauses: 0,
                mourning: None,
                running: groups.iter().map(|g| vec![Running::default(); g.resources.len()]).collect(),
                kept: vec![None; groups.len()],
                absence: None,
                data_quirks: vec![Running::default(); groups.len()],
                slow_disk: None,
                disk_error: false,
                undo_fails: false,
                outside: 2,
                device: None,
                blank: false,
                lied_about: false,
                disturbed: 0,
                stalled: false,
            }
        });
        let mirrors = groups.iter().map(|g| g.mirrored.then(Mirror::default)).collect::<Vec<_>>();
        let mut world = Self {
            now: 0,
            queue: Queue::default(),
            network,
            nodes,
            epochs: groups.iter().map(|_| Epochs::default()).collect(),
            shots: Shots::default(),
            third: ThirdParty::of(&scenario),
            tainted: vec![false; groups.len()],
            deceived: false,
            excused_from: u64::MAX,
            woke_after_lie: None,
            had_time_to_find_out: false,
            forced: vec![false; groups.len()],
            probes: Probes::default(),
            timeline: Timeline::default(),
            broken: None,
            twice_active: None,
            lives: 0,
            injected: 0,
            total_loss: false,
            healed: false,
            disk_replaced: false,
            traps: scenario.traps.clone(),
            answers: super::operator::Answers::default(),
            agents: Agents::default(),
            drained: Vec::new(),
            handled: 0,
            logs: Vec::new(),
            own: false,
            mirrors,
            rng,
            options,
            scenario,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for node in 0..2 {
            let at = self.rng.range(1, 300) * MS;
            self.queue.push(at, Event::Restart { node, cycle: 0 });
        }
        for (at, fault) in self.scenario.faults.clone() {
            self.queue.push(nanos(at), Event::Fault(fault));
        }
        for group in 0..self.mirrors.len() {
            if self.mirrors[group].is_some() {
                self.queue.push(5 * MS, Event::MirrorCheck { group });
                if self.scenario.clients {
                    self.queue.push(100 * MS, Event::Client { group });
                }
            }
        }
        if let Some(at) = self.scenario.heal_at {
            self.queue.push(nanos(at), Event::Heal);
        }
        self.queue.push(500 * MS, Event::Operator);
    }

    /// Lets `span` of true time pass, or less if an invariant breaks.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + nanos(span);
        while self.broken.is_none() {
            let Some((at, event)) = self.queue.pop_until(end) else { break };
            self.now = at;
            self.handled += 1;
            self.happen(event);
        }
        if self.broken.is_none() {
            self.now = end;
        }
    }

    /// Breaks something now.
    pub fn inject(&mut self, fault: Fault) {
        self.fault(fault);
    }

    /// What the engine of `node` (0 or 1) says of itself; `None` if none runs.
    #[must_use]
    pub fn status(&self, node: usize) -> Option<Status> {
        self.nodes.get(node)?.process.as_ref().map(|p| p.engine.status())
    }

    /// What happened so far.
    #[must_use]
    pub const fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The records of all lives so far, the ended ones first; none without [`Options::replay`].
    #[must_use]
    pub fn logs(&self) -> Vec<LifeLog> {
        let mut logs = self.logs.clone();
        for (node, n) in self.nodes.iter().enumerate() {
            if let Some(recording) = n.process.as_ref().and_then(|p| p.recording.as_ref()) {
                logs.push(LifeLog { node, frames: recording.frames().to_vec() });
            }
        }
        logs
    }

    /// How often what was reached so far.
    #[must_use]
    pub const fn probes(&self) -> &Probes {
        &self.probes
    }

    /// The first invariant that broke; time stands still from then on.
    #[must_use]
    pub const fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// When both nodes first acted with one group's permission, were it on an assumption or a device's lie, for
    /// which [`broken`](Self::broken) excuses them.
    #[must_use]
    pub fn twice_active(&self) -> Option<Duration> {
        self.twice_active.map(Duration::from_nanos)
    }

    /// True time since the start.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    /// The durable record of `node` (0 or 1) as a restart would read it.
    #[must_use]
    pub fn record(&self, node: usize) -> Option<&NodeRecord> {
        self.nodes.get(node).map(|n| &n.record)
    }

    /// Which node acts with the group's token at this instant.
    #[must_use]
    pub fn actor(&self, group: GroupId) -> Option<usize> {
        (0..2).find(|n| self.acting(*n, usize::from(group.0)).is_some())
    }

    /// How many messages of a mirrored group were acknowledged to clients.
    #[must_use]
    pub fn acknowledged(&self, group: GroupId) -> usize {
        self.mirrors.get(usize::from(group.0)).and_then(Option::as_ref).map_or(0, |m| m.acknowledged.len())
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Beat { to, link, beat } => self.beat_arrives(to, link, beat),
            Event::Notice { to, notice } => self.notice_arrives(to, *notice),
            Event::Wake { node, life } => self.wake(node, life),
            Event::Persisted { node, life } => self.persisted(node, life),
            Event::OpDone { node, life, op } => self.op_done(node, life, op),
            Event::FenceAct { by, life, op, shoot, ordered } => self.fence_acts(by, life, op, shoot, ordered),
            Event::FenceAnswer { by, life, op, answer } => self.fence_answers(by, life, op, answer),
            Event::ArbiterActs { by, life, op, group, request } => {
                self.arbiter_acts(by, life, op, group, request);
            }
            Event::ArbiterAnswers { by, life, op, answer } => {
                self.feed(by, life, crate::engine::Input::Arbiter { op, answer });
            }
            Event::ArbiterForgets { swaps, tries } => self.arbiter_forgets(swaps, tries),
            Event::Report { node, life, group } => self.report(node, life, group),
            Event::MirrorCheck { group } => self.mirror_check(group),
            Event::Append { group, session, from, records } => {
                self.append_arrives(group, session, from, records);
            }
            Event::StandbyDurable { group, session } => self.standby_durable(group, session),
            Event::PeerAck { group, session, upto } => self.peer_ack(group, session, upto),
            Event::OwnerDurable { group, node, life, upto } => self.owner_durable(group, node, life, upto),
            Event::CatchUp { group, session } => self.catch_up(group, session),
            Event::Client { group } => self.client(group),
            Event::FeedMissed { node, life, pause } => self.feed_missed(node, life, pause),
            Event::GuardianGone { node, life } => self.guardian_gone(node, life),
            Event::Undone { node, cycle, of } => self.undone(node, cycle, *of),
            Event::Restart { node, cycle } => self.restart(node, cycle),
            Event::PowerOn { node, cycle } => self.power_on(node, cycle),
            Event::MoveRecordAway { node } => self.move_record_away(node),
            Event::Resume { node, pause } => self.resume(node, pause),
            Event::AddressLapses { node, cycle, life } => self.address_lapses(node, cycle, life),
            Event::Fault(fault) => self.fault(fault),
            Event::Mend { healing, what } => self.mend(healing, what),
            Event::Operator => self.operator(),
            Event::Answer { node, command, cycle } => self.give_answer(node, command, cycle),
            Event::Trust { node } => self.trust_fence(node),
            Event::Mended { node, group } => {
                self.command(node, Command::ClearFailures(group));
                self.end_policies(node);
            }
            Event::Heal => self.heal(),
            Event::Poll { task } => self.poll_agent(task),
        }
    }

    pub(super) fn after(&mut self, delay: u64, event: Event) {
        self.queue.push(self.now + delay, event);
    }

    pub(super) fn say(&mut self, node: Option<usize>, text: impl Into<String>) {
        self.timeline.add(self.now, node, What::World(text.into()));
    }

    pub(super) fn check(&mut self, verdict: Verdict) {
        if let Err(broken) = verdict
            && self.broken.is_none()
        {
            self.timeline.add(self.now, None, What::World(format!("*** {broken}")));
            self.broken = Some(broken);
        }
    }

    pub(super) fn local(&self, node: usize) -> Instant {
        self.nodes[node].clock.local(self.now)
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("seed", &self.scenario.seed)
            .field("now", &self.elapsed())
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 4)
}
