//! Puts a node together and starts it.

use super::agents::{Agents, Offered, check_links, match_agents};
use super::alarm::Alarm;
use super::arbiter::ArbiterLane;
use super::arrivals::{Arrival, ArrivalReceiver, ArrivalSender, Request};
use super::clock::BootClock;
use super::control::{Control, Turn};
use super::data_slot::DataSlot;
use super::durable::DurableLane;
use super::ending::{EndHook, EndProcess, Ended};
use super::environment::Surroundings;
use super::error::{NodeError, Problem, Problems};
use super::events::EventLog;
use super::explanations::Explanations;
use super::fencing::FenceLane;
use super::identity;
use super::links::{LinkTraffic, Links, Unopened};
use super::liveness::Liveness;
use super::names::Names;
use super::node::Node;
use super::operations::Operations;
use super::realtime::RealtimeOptions;
use super::recorder::Recorder;
use super::recorder_lane::{RecordOptions, RecorderLane};
use super::recorder_slot::SlotEnd;
use super::report::{EventReport, StatusReport};
use crate::api::{Arbiter, Clock, DataSync, FenceDevice, LinkFactory, Resource, StateStore};
use crate::config::Config;
use crate::engine::{Boot, Engine, Predecessor};
use crate::guardian::GuardianClient;
use crate::replay::LifeStart;
use crate::timing;
use crate::wire::{LinkSession, PairKey, WireTerms};
use crate::{LinkId, NodeId, TokenCell};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

/// Commands that may wait for the control thread.
pub const COMMANDS_WAITING: usize = 64;

/// How long a process that must end waits for its last steps to be recorded. Its permissions are revoked by then.
const RECORD_SETTLES: Duration = Duration::from_millis(5);

/// How long a node that ends in order waits for its record to be written.
const RECORD_ENDS: Duration = Duration::from_secs(1);

/// Collects the parts of a node. Every part is matched by name with the configuration; [`NodeBuilder::spawn`]
/// names all that do not fit, at once.
#[must_use = "a builder does nothing until spawn()"]
pub struct NodeBuilder {
    config: Arc<Config>,
    me: NodeId,
    key: Option<PairKey>,
    links: Vec<Arc<dyn LinkFactory>>,
    fence: Option<Arc<dyn FenceDevice>>,
    arbiter: Option<Arc<dyn Arbiter>>,
    offered: Offered,
    store: Option<Box<dyn StateStore>>,
    clock: Arc<dyn Clock>,
    realtime: RealtimeOptions,
    hook: Option<Arc<dyn EndHook>>,
    predecessor: Predecessor,
    outside: u8,
    guardian: Option<GuardianClient>,
    record: Option<RecordOptions>,
}

impl NodeBuilder {
    pub(super) fn new(config: Arc<Config>, me: NodeId) -> Self {
        Self {
            config,
            me,
            key: None,
            links: Vec::new(),
            fence: None,
            arbiter: None,
            offered: Offered::default(),
            store: None,
            clock: Arc::new(BootClock),
            realtime: RealtimeOptions::default(),
            hook: None,
            predecessor: Predecessor::Leftovers,
            outside: 0,
            guardian: None,
            record: None,
        }
    }

    /// The secret that both nodes share. Required.
    pub fn key(mut self, key: PairKey) -> Self {
        self.key = Some(key);
        self
    }

    /// The next heartbeat path, in the order of the configuration.
    pub fn link(mut self, link: Arc<dyn LinkFactory>) -> Self {
        self.links.push(link);
        self
    }

    /// The way to stop the peer. Required if the configuration has one.
    pub fn fence(mut self, device: Arc<dyn FenceDevice>) -> Self {
        self.fence = Some(device);
        self
    }

    /// The third party that decides. Required if the configuration has one, with the configured lease.
    pub fn arbiter(mut self, arbiter: Arc<dyn Arbiter>) -> Self {
        self.arbiter = Some(arbiter);
        self
    }

    /// The data of a mirrored group.
    pub fn data(mut self, group: &str, data: Arc<dyn DataSync>) -> Self {
        self.offered.data.push((group.into(), data));
        self
    }

    /// A resource of a group. Its order comes from the configuration, where it is found by its name.
    pub fn resource(mut self, group: &str, resource: Arc<dyn Resource>) -> Self {
        self.offered.resources.push((group.into(), resource));
        self
    }

    /// The cell in which the node keeps the group's permission, for parts that need it before the node runs, such
    /// as a mirror. Made with the group's number in the configuration; without this call the node makes one.
    pub fn token(mut self, group: &str, cell: TokenCell) -> Self {
        self.offered.tokens.push((group.into(), cell));
        self
    }

    /// The node's durable memory. Required.
    pub fn store(mut self, store: Box<dyn StateStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// The guardian behind this process. It names this life and knows whether anything of an earlier one is left.
    pub fn guardian(mut self, guardian: GuardianClient) -> Self {
        self.guardian = Some(guardian);
        self
    }

    /// Another clock than [`BootClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What is asked of the operating system for the control thread. A refusal is an event, not an error.
    pub const fn realtime(mut self, options: RealtimeOptions) -> Self {
        self.realtime = options;
        self
    }

    /// How the process ends, instead of [`EndProcess`]. For several nodes in one process only.
    pub fn end_hook(mut self, hook: Arc<dyn EndHook>) -> Self {
        self.hook = Some(hook);
        self
    }

    /// Whether the caller **verified** that nothing of an earlier life of this node is left. A guardian knows by
    /// itself; without one and without this call *leftovers* is assumed, which proves nothing to the peer.
    pub const fn predecessor(mut self, predecessor: Predecessor) -> Self {
        self.predecessor = predecessor;
        self
    }

    /// How many outside targets are reachable, as first measured. See [`Node::report_outside`].
    pub const fn outside(mut self, reachable: u8) -> Self {
        self.outside = reachable;
        self
    }

    /// Keeps what the engine is fed, and why it decides as it does, in bounded files: see
    /// [`replay`](crate::replay) and [`Node::explain`]. Without this call explanations are kept in memory only.
    pub fn record(mut self, options: RecordOptions) -> Self {
        self.record = Some(options);
        self
    }

    /// Starts the node. Must be called inside the application's tokio runtime (with time enabled), on which the
    /// node's resources and data will run. Resolves when the durable record is read and all links are open.
    ///
    /// # Errors
    /// [`NodeError`]: nothing of the node runs then.
    pub async fn spawn(mut self) -> Result<Node, NodeError> {
        let handle = Handle::try_current().map_err(|_| NodeError::NoRuntime)?;
        let mut problems = Vec::new();
        if let Some(store) = &mut self.store {
            store.make_room(self.config.groups.len())?;
        }
        self.check(&mut problems);
        let agents = match_agents(&self.config, std::mem::take(&mut self.offered), &mut problems);
        let (Some(key), Some(store), true) = (self.key.take(), self.store.take(), problems.is_empty()) else {
            return Err(NodeError::Parts(Problems(problems)));
        };
        timing::prove(&self.config)?;
        let (arrivals, arrived) = mpsc::unbounded_channel();
        let (durable, loaded) = DurableLane::start(store, arrivals.clone())?;
        let gone = |_| lane_gone("read the durable record");
        let record = loaded.await.map_err(gone)??;
        let boot = Boot {
            me: self.me,
            incarnation: match &self.guardian {
                Some(guardian) => guardian.incarnation(),
                None => identity::incarnation()?,
            },
            boot: identity::boot_id()?,
            record,
            predecessor: self.guardian.as_ref().map_or(self.predecessor, GuardianClient::predecessor),
            guarded: self.guardian.is_some(),
            outside: self.outside,
        };
        let fence = self.start_fence(&arrivals)?;
        let arbiter = self.start_arbiter(&arrivals)?;
        let links = self.unopened_links(&key, &boot)?;
        let parts = Parts { boot, durable, fence, arbiter, links, agents: Arc::new(agents), handle };
        self.start_control(parts, arrivals, arrived).await
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        let config = &self.config;
        if usize::from(self.me.0) >= config.nodes.len() {
            let expected = format!("a place in nodes (0 to {})", config.nodes.len().saturating_sub(1));
            problems.push(Problem::new("me", format!("node {}", self.me), expected));
        }
        if self.key.is_none() {
            problems.push(Problem::new("key", "none", "the pair's key, by .key(…)"));
        }
        if self.store.is_none() {
            problems.push(Problem::new("store", "none", "the node's durable memory, by .store(…)"));
        }
        if let Some(room) =
            self.store.as_ref().map(|s| s.room_for_groups()).filter(|n| *n < config.groups.len())
        {
            let found = format!("room for {room} groups in the store");
            problems.push(Problem::new("store", found, format!("room for all {}", config.groups.len())));
        }
        match (&config.fence, &self.fence) {
            (Some(_), None) => {
                problems.push(Problem::new(
                    "fence",
                    "no device",
                    "the configured fence device, by .fence(…)",
                ));
            }
            (None, Some(device)) => {
                let found = format!("device \"{}\" and no [fence] in the configuration", device.name());
                problems.push(Problem::new(
                    "fence",
                    found,
                    "both or neither: its timeout is part of the proof",
                ));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        self.check_arbiter(problems);
        check_links(config, &self.links, problems);
    }

    fn check_arbiter(&self, problems: &mut Vec<Problem>) {
        match (&self.config.arbiter, &self.arbiter) {
            (Some(_), None) => {
                problems.push(Problem::new("arbiter", "none", "the configured arbiter, by .arbiter(…)"));
            }
            (None, Some(arbiter)) => {
                let found = format!("\"{}\" and no [arbiter] in the configuration", arbiter.name());
                problems.push(Problem::new(
                    "arbiter",
                    found,
                    "both or neither: its lease is part of the proof",
                ));
            }
            (Some(config), Some(arbiter)) if config.lease != arbiter.lease() => {
                let found = format!("\"{}\" with a lease of {:?}", arbiter.name(), arbiter.lease());
                let expected =
                    format!("the configured lease of {:?}, which the timing was proven with", config.lease);
                problems.push(Problem::new("arbiter", found, expected));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    fn end_hook_or_default(&self) -> Arc<dyn EndHook> {
        let through_guardian = || self.guardian.clone().map(EndProcess::through).unwrap_or_default();
        self.hook.clone().unwrap_or_else(|| Arc::new(through_guardian()))
    }

    fn start_fence(&mut self, arrivals: &ArrivalSender) -> Result<Option<FenceLane>, NodeError> {
        let (Some(device), Some(config)) = (self.fence.take(), &self.config.fence) else { return Ok(None) };
        let peer = Config::peer_of(self.me);
        let target = Names::new(self.config.clone()).node(peer);
        FenceLane::start(device, target, config, arrivals.clone()).map(Some)
    }

    fn start_arbiter(&mut self, arrivals: &ArrivalSender) -> Result<Option<ArbiterLane>, NodeError> {
        let (Some(arbiter), Some(config)) = (self.arbiter.take(), &self.config.arbiter) else {
            return Ok(None);
        };
        let names = self.config.groups().map(|(id, group)| (id, group.name.clone())).collect();
        ArbiterLane::start(arbiter, names, config.answer_timeout, arrivals.clone()).map(Some)
    }

    fn unopened_links(&self, key: &PairKey, boot: &Boot) -> Result<Vec<Unopened>, NodeError> {
        let open =
            |((link, config), factory): ((LinkId, &crate::config::LinkConfig), &Arc<dyn LinkFactory>)| {
                let nonce = u64::from_le_bytes(identity::random()?);
                let session =
                    LinkSession::new(key, &self.config.cluster, link, self.me, boot.incarnation, nonce)
                        .with_terms(WireTerms::of(&self.config));
                let traffic = Arc::new(LinkTraffic::default());
                Ok(Unopened { link, factory: factory.clone(), session, traffic, interval: config.interval })
            };
        self.config.links().zip(&self.links).map(open).collect()
    }

    async fn start_control(
        self,
        parts: Parts,
        arrivals: ArrivalSender,
        arrived: ArrivalReceiver,
    ) -> Result<Node, NodeError> {
        let names = Names::new(self.config.clone());
        let traffic = parts.links.iter().map(|u| u.traffic.clone()).collect();
        let (agents, log, explanations) = (parts.agents.clone(), EventLog::new(), Explanations::default());
        let (requests, requested) = mpsc::channel(COMMANDS_WAITING);
        let (ended, how) = watch::channel(None);
        let (started, start) = oneshot::channel();
        let (control_log, control_names, to_self) = (log.clone(), names.clone(), arrivals.clone());
        let (recording, slot) =
            RecorderLane::start(self.record.clone(), explanations.clone(), control_log.clone())?;
        let body = move || {
            let seed = Seed { builder: self, parts, names: control_names, log: control_log, requested, slot };
            run_control(seed, recording, to_self, arrived, started, &ended);
        };
        let failed = |source| NodeError::System { what: "start the control thread", source };
        std::thread::Builder::new().name("ha-control".into()).spawn(body).map_err(failed)?;
        let mut abandoned = HaltIfAbandoned(Some(arrivals.clone()));
        let status = start.await.map_err(|_| lane_gone("start the control thread"))??;
        abandoned.0 = None;
        Ok(Node { names, agents, arrivals, requests, status, log, explanations, ended: how, traffic })
    }
}

fn lane_gone(what: &'static str) -> NodeError {
    NodeError::System { what, source: std::io::Error::other("its thread panicked") }
}

/// What was started before the control thread.
struct Parts {
    boot: Boot,
    durable: DurableLane,
    fence: Option<FenceLane>,
    arbiter: Option<ArbiterLane>,
    links: Vec<Unopened>,
    agents: Arc<Agents>,
    handle: Handle,
}

/// What the control thread grows from.
struct Seed {
    builder: NodeBuilder,
    parts: Parts,
    names: Names,
    log: EventLog,
    requested: mpsc::Receiver<Request>,
    slot: SlotEnd,
}

type Started = oneshot::Sender<Result<watch::Receiver<StatusReport>, NodeError>>;

/// The body of the control thread.
fn run_control(
    seed: Seed,
    recording: RecorderLane,
    arrivals: ArrivalSender,
    arrived: ArrivalReceiver,
    started: Started,
    ended: &watch::Sender<Option<Ended>>,
) {
    let (agents, hook) = (seed.parts.agents.clone(), seed.builder.end_hook_or_default());
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            let _ = started.send(Err(NodeError::System { what: "start the control runtime", source }));
            return;
        }
    };
    let running = Cell::new(false);
    let life = async {
        match seed.grow(arrivals, arrived).await {
            Ok((control, status)) => {
                // Whoever asked for the node may have gone meanwhile.
                started.send(Ok(status)).ok()?;
                running.set(true);
                Some(control.run().await)
            }
            Err(e) => {
                let _ = started.send(Err(e));
                None
            }
        }
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(life)));
    agents.revoke_all();
    drop(runtime);
    let (how, lane) = match outcome {
        Ok(Some((how, lane))) => (how, Some(lane)),
        Ok(None) => return,
        Err(_) if running.get() => (Ended::Crashed, None),
        Err(_) => return,
    };
    recording.settle(RECORD_SETTLES);
    hook.end(how);
    // Before anybody hears of the end, so that who starts the next life finds ports and store free. A process
    // that must end does not wait for a disk that may be why.
    if let Some(lane) = lane.filter(|_| !how.must_end_process()) {
        lane.close();
        recording.close(RECORD_ENDS);
    }
    ended.send_replace(Some(how));
}

impl Seed {
    /// Runs on the control thread, so that every socket belongs to its runtime.
    async fn grow(
        self,
        arrivals: ArrivalSender,
        arrived: ArrivalReceiver,
    ) -> Result<(Control, watch::Receiver<StatusReport>), NodeError> {
        let Self { builder, parts, names, log, requested, slot } = self;
        let Parts { boot, durable, fence, arbiter, links, agents, handle } = parts;
        let NodeBuilder { config, clock, realtime, guardian, .. } = builder;
        for refusal in realtime.apply() {
            tracing::warn!(target: "ha_core", "{refusal}");
            log.write(EventReport::note(clock.now(), "realtime", None, refusal));
        }
        let links = Links::open(links).await.map_err(|(link, source)| NodeError::Link { link, source })?;
        let data = agents
            .iter()
            .map(|(id, g)| g.data.as_ref().map(|d| DataSlot::subscribe(id, d.as_ref(), arrivals.clone())))
            .collect();
        let around =
            Surroundings { clock: clock.clone(), handle: handle.clone(), guardian: guardian.clone() };
        let operations = Operations::new(around, agents.clone(), arrivals.clone());
        if let Some(guardian) = guardian.clone() {
            tokio::spawn(async move {
                guardian.lost().await;
                let _ = arrivals.send(Arrival::GuardianLost);
            });
        }
        let liveness = Liveness::start(&handle, clock.clone(), config.timing.application_stall);
        let now = clock.now();
        let life = life_start(&config, &boot, now);
        let recorder = Recorder::new(config.clone(), &life, slot);
        let engine = Engine::boot(config.clone(), boot, now);
        let first = StatusReport::new(&config.cluster, &names, &engine.status(), &[], &[]);
        let (status, watched) = watch::channel(first);
        let turn = Turn::new(now, config.timing.feed_limit);
        let control = Control {
            config,
            names,
            engine,
            clock,
            alarm: Alarm::new()
                .map_err(|source| NodeError::System { what: "make the control thread's timer", source })?,
            links,
            agents,
            data,
            operations,
            durable,
            fence,
            arbiter,
            liveness,
            guardian,
            arrivals: arrived,
            requests: requested,
            recorder,
            log,
            status,
            turn,
        };
        Ok((control, watched))
    }
}

#[expect(
    clippy::disallowed_types,
    reason = "a log tells its readers the wall clock's time; nothing is decided by it"
)]
fn life_start(config: &Config, boot: &Boot, at: crate::Instant) -> LifeStart {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
    let program = env!("CARGO_PKG_VERSION").into();
    LifeStart { config: config.clone(), boot: boot.clone(), at, wall_ms, program }
}

/// Ends a node whose `spawn` was dropped before it resolved.
struct HaltIfAbandoned(Option<ArrivalSender>);

impl Drop for HaltIfAbandoned {
    fn drop(&mut self) {
        if let Some(arrivals) = &self.0 {
            halt(arrivals);
        }
    }
}

/// Ends the node that the sender belongs to, without a handover.
pub(super) fn halt(arrivals: &ArrivalSender) {
    let _ = arrivals.send(Arrival::Halt);
}
