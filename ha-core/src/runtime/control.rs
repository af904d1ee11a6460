//! The control loop: one thread that owns the engine and all links, and waits for nothing but its inputs.
//!
//! # One turn
//!
//! 1. Sleep until something arrives or the earliest deadline comes. The timer is only an alarm clock: what is due
//!    is decided by reading the boot clock.
//! 2. If the engine is about to judge by time, let the tokio driver look at the sockets once more.
//! 3. Feed, in this order: everything that the sockets held, completions and changes from other threads,
//!    requests of the program, what the shell itself noticed (fence timeouts, application stall), and at last
//!    the tick. So a node that was stopped hears what waited for it before it judges anybody.
//! 4. After each input, carry out its actions: permissions first, then the guardian's knowledge of them, then
//!    acknowledgement rules, then the rest.
//! 5. Send, publish the status, feed the guardian.

use super::agents::Agents;
use super::alarm::Alarm;
use super::arbiter::ArbiterLane;
use super::arrivals::{Arrival, ArrivalReceiver, Request};
use super::data_slot::DataSlot;
use super::durable::DurableLane;
use super::ending::Ended;
use super::events::EventLog;
use super::fencing::{FenceLane, FenceOrder};
use super::links::Links;
use super::liveness::Liveness;
use super::names::Names;
use super::operations::{Operations, Order};
use super::recorder::Recorder;
use super::report::{EventReport, StatusReport};
use crate::api::Clock;
use crate::config::Config;
use crate::engine::{Action, ArbiterAnswer, Engine, Event, FenceAnswer, Input, Permission, Status};
use crate::explain::OpenQuestion;
use crate::guardian::GuardianClient;
use crate::{Epoch, GroupId, Instant, OpId};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// The longest sleep, should nothing be due.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);
/// How old a published status may be when something was heard that no event spoke of.
const STATUS_AGE: Duration = Duration::from_millis(100);
/// How long the last beats may take to leave.
const FAREWELL: Duration = Duration::from_millis(50);
/// Arrivals and requests that are taken in one turn, so that beats are looked at in between.
const TAKEN_PER_TURN: usize = 64;

/// Everything that the control thread works with.
pub(super) struct Control {
    pub(super) config: Arc<Config>,
    pub(super) names: Names,
    pub(super) engine: Engine,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) alarm: Alarm,
    pub(super) links: Links,
    pub(super) agents: Arc<Agents>,
    pub(super) data: Vec<Option<Arc<DataSlot>>>,
    pub(super) operations: Operations,
    pub(super) durable: DurableLane,
    pub(super) fence: Option<FenceLane>,
    pub(super) arbiter: Option<ArbiterLane>,
    pub(super) liveness: Liveness,
    pub(super) guardian: Option<GuardianClient>,
    pub(super) arrivals: ArrivalReceiver,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) recorder: Recorder,
    pub(super) log: EventLog,
    pub(super) status: watch::Sender<StatusReport>,
    pub(super) turn: Turn,
}

/// What one turn leaves for the next.
pub(super) struct Turn {
    /// The newest reading of the clock: it never goes backwards towards the engine.
    now: Instant,
    /// When the previous turn began.
    previous: Instant,
    arrived: VecDeque<Arrival>,
    requested: VecDeque<Request>,
    actions: Vec<Action>,
    /// The grant that each group's permission is for.
    held: BTreeMap<GroupId, Option<Epoch>>,
    /// What the guardian has to release should this process die now.
    owned: Vec<(GroupId, Epoch)>,
    published: Option<Status>,
    /// The engine's revision that it shows.
    revision: u64,
    refusals: Vec<Option<String>>,
    questions: Vec<OpenQuestion>,
    published_at: Instant,
    status_stale: bool,
    fed_at: Instant,
    feed_interval: Duration,
    ended: Option<Ended>,
}

impl Turn {
    pub(super) fn new(now: Instant, feed_limit: Duration) -> Self {
        Self {
            now,
            previous: now,
            arrived: VecDeque::new(),
            requested: VecDeque::new(),
            actions: Vec::new(),
            held: BTreeMap::new(),
            owned: Vec::new(),
            published: None,
            revision: 0,
            refusals: Vec::new(),
            questions: Vec::new(),
            published_at: now,
            status_stale: true,
            fed_at: Instant::ZERO,
            feed_interval: (feed_limit / 6).clamp(Duration::from_millis(5), Duration::from_millis(50)),
            ended: None,
        }
    }
}

impl Control {
    /// Runs until the node ends. Gives back the lane whose store is still open.
    pub(super) async fn run(mut self) -> (Ended, DurableLane) {
        loop {
            self.carry_out_pending();
            self.publish();
            self.hand_over_record();
            self.feed_guardian();
            if let Some(ended) = self.turn.ended {
                self.say_farewell(ended).await;
                return (ended, self.durable);
            }
            self.wait().await;
            self.take_turn().await;
        }
    }

    async fn wait(&mut self) {
        let span = self.next_wake().since(self.clock.now()).min(LONGEST_SLEEP);
        if let Err(e) = self.alarm.set(span) {
            let what = format!("the kernel's timer refused {span:?}: {e}");
            self.note("timer", what);
            return self.end(Ended::Crashed);
        }
        poll_fn(|cx| {
            let heard = self.links.poll(cx);
            let arrived = self.poll_queues(cx);
            let due = self.alarm.poll(cx).is_ready();
            if heard || arrived || due { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn poll_queues(&mut self, cx: &mut Context<'_>) -> bool {
        let turn = &mut self.turn;
        while turn.arrived.len() < TAKEN_PER_TURN
            && let Poll::Ready(Some(arrival)) = self.arrivals.poll_recv(cx)
        {
            turn.arrived.push_back(arrival);
        }
        while turn.requested.len() < TAKEN_PER_TURN
            && let Poll::Ready(Some(request)) = self.requests.poll_recv(cx)
        {
            turn.requested.push_back(request);
        }
        !turn.arrived.is_empty() || !turn.requested.is_empty()
    }

    fn next_wake(&self) -> Instant {
        let fence = self.fence.as_ref().map_or(Instant::FAR, FenceLane::next_deadline);
        let fed = self.guardian.as_ref().map(|_| self.turn.fed_at + self.turn.feed_interval);
        let feed = fed.unwrap_or(Instant::FAR);
        self.engine.next_deadline().min(fence).min(feed).min(self.liveness.next_deadline())
    }

    async fn take_turn(&mut self) {
        if self.now() >= self.engine.next_judgement() {
            // Tokio knows only of datagrams that its driver saw; this makes it look before anybody is judged.
            tokio::task::yield_now().await;
            poll_fn(|cx| {
                self.links.poll(cx);
                self.poll_queues(cx);
                Poll::Ready(())
            })
            .await;
        }
        while let Some(input) = self.links.next_heard() {
            self.feed(input);
        }
        while let Some(arrival) = self.turn.arrived.pop_front() {
            self.take_arrival(arrival);
        }
        while let Some(request) = self.turn.requested.pop_front() {
            self.feed(match request {
                Request::Command(command) => Input::Command(command),
                Request::Outside(reachable) => Input::Outside { reachable },
            });
        }
        self.look_around();
        if self.now() >= self.engine.next_deadline() {
            self.feed(Input::Tick);
        }
    }

    fn take_arrival(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Persisted { write, ok } => self.feed(Input::Persisted { write, ok }),
            Arrival::OpDone { op, result } => {
                if let Some(result) = self.operations.completed(op, result) {
                    self.feed(Input::OpDone { op, result });
                }
            }
            Arrival::Fence { op, answer } => {
                let answer = self.fence.as_mut().map_or(Some(answer), |f| f.answered(op, answer));
                if let Some(answer) = answer {
                    self.feed(Input::Fence { op, answer });
                }
            }
            Arrival::Arbiter { op, answer } => self.feed(Input::Arbiter { op, answer }),
            Arrival::Data { group } => {
                let slot = self.data.get(usize::from(group.0)).and_then(Option::as_ref);
                if let Some(report) = slot.and_then(|s| s.take()) {
                    self.feed(Input::Data { group, report });
                }
            }
            Arrival::GuardianLost => {
                self.note("guardian-lost", "the guardian is gone; this node hands everything over".into());
                self.feed(Input::GuardianLost);
            }
            Arrival::Halt => self.end(Ended::Halted),
        }
    }

    fn look_around(&mut self) {
        let now = self.now();
        while let Some(op) = self.fence.as_mut().and_then(|f| f.overdue(now)) {
            self.note("fence-timeout", "the fence device gave no answer in time; that is a failure".into());
            self.feed(Input::Fence { op, answer: FenceAnswer::Failed });
        }
        let previous = std::mem::replace(&mut self.turn.previous, now);
        if let Some(alive) = self.liveness.judge(now, previous) {
            let text =
                if alive { "makes progress again" } else { "makes no progress: the role is suspended" };
            self.note("application", format!("the application's runtime {text}"));
            self.feed(Input::Application { alive });
        }
    }

    /// The clock, never backwards.
    fn now(&mut self) -> Instant {
        self.turn.now = self.turn.now.max(self.clock.now());
        self.turn.now
    }

    /// Gives one input to the engine and carries out what follows from it.
    fn feed(&mut self, input: Input) {
        if self.turn.ended.is_some() {
            return;
        }
        let now = self.now();
        self.recorder.input(now, &input);
        self.engine.handle(now, input);
        self.carry_out_pending();
    }

    fn hand_over_record(&mut self) {
        let now = self.now();
        self.recorder.hand_over(now, &self.engine);
    }

    fn carry_out_pending(&mut self) {
        let mut actions = std::mem::take(&mut self.turn.actions);
        let mut moved = false;
        while let Some(action) = self.engine.next_action() {
            self.recorder.action(&action);
            match action {
                Action::Token { group, permission } => moved |= self.permit(group, permission),
                Action::Renew { until } => self.agents.renew(until),
                other => actions.push(other),
            }
        }
        self.recorder.finish();
        if moved {
            // Before any effect of the new role begins, the guardian must know what it would have to release.
            self.refresh_status();
            self.feed_guardian();
        }
        // An admission must bind the owner's acknowledgements before the peer hears of it.
        for action in &actions {
            self.instruct_data(action);
        }
        for action in actions.drain(..) {
            self.turn.status_stale |= !matches!(action, Action::SendBeat { .. });
            self.carry_out(action);
        }
        self.turn.actions = actions;
    }

    fn instruct_data(&self, action: &Action) {
        let data = |group| self.agents.group(group).and_then(|g| g.data.as_ref());
        match *action {
            Action::Acknowledge { group, epoch, rule } => {
                if let Some(data) = data(group) {
                    data.acknowledge(epoch, rule);
                }
            }
            Action::ForceData { group } => {
                if let Some(data) = data(group) {
                    data.force_current();
                }
            }
            Action::SurrenderData { group } => {
                if let Some(data) = data(group) {
                    data.surrender();
                }
            }
            _ => {}
        }
    }

    /// Sets a permission. True if it is more than the renewal of the one before.
    fn permit(&mut self, group: GroupId, permission: Permission) -> bool {
        let Some(agents) = self.agents.group(group) else { return false };
        let held = match permission {
            Permission::Valid { epoch, until } => {
                agents.token.set(epoch, until);
                Some(epoch)
            }
            Permission::Common { epoch } => {
                agents.token.set_common(epoch);
                Some(epoch)
            }
            Permission::Suspended { epoch } => {
                agents.token.set(epoch, Instant::ZERO);
                Some(epoch)
            }
            Permission::Revoked => {
                agents.token.revoke();
                None
            }
        };
        self.turn.held.insert(group, held) != Some(held)
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::SendBeat { link, beat } => self.links.send(link, beat),
            Action::Persist { write, record } => {
                if !self.durable.order(write, record) {
                    self.turn.arrived.push_back(Arrival::Persisted { write, ok: false });
                }
            }
            Action::Op { op, group, target, kind, epoch, deadline } => {
                let proof = self.engine.proof(group);
                self.operations.begin(Order { op, group, target, kind, epoch, deadline, proof });
            }
            Action::Cancel { op } => self.operations.cancel(op),
            Action::FenceQuery { op, .. } => self.order_fence(op, FenceOrder::Query),
            Action::FenceShoot { op, .. } => self.order_fence(op, FenceOrder::Shoot),
            Action::Arbiter { op, group, request } => {
                if !self.arbiter.as_ref().is_some_and(|lane| lane.order(op, group, request)) {
                    let answer = ArbiterAnswer::Unavailable;
                    self.turn.arrived.push_back(Arrival::Arbiter { op, answer });
                }
            }
            Action::EndSelf { reason } => self.end(Ended::of(reason)),
            Action::Reborn => self.end(Ended::Reborn),
            Action::Departed => self.end(Ended::Departed),
            Action::Detached { groups } => self.leave_running(&groups),
            Action::Event(event) => self.report(&event),
            // Carried out already.
            Action::Token { .. }
            | Action::Renew { .. }
            | Action::Acknowledge { .. }
            | Action::ForceData { .. }
            | Action::SurrenderData { .. } => {}
        }
    }

    /// What the guardian does not learn it undoes: the next life then starts those services anew.
    fn leave_running(&mut self, groups: &[(GroupId, Epoch)]) {
        if let Some(Err(e)) = self.guardian.as_ref().map(|guardian| guardian.detach(groups)) {
            self.note("detach", format!("the guardian could not be told what runs on, and ends it: {e}"));
        }
        self.end(Ended::Detached);
    }

    fn order_fence(&mut self, op: OpId, order: FenceOrder) {
        let now = self.now();
        match &mut self.fence {
            Some(fence) => fence.order(now, op, order),
            None => self.turn.arrived.push_back(Arrival::Fence { op, answer: FenceAnswer::Failed }),
        }
    }

    fn end(&mut self, ended: Ended) {
        self.turn.ended.get_or_insert(ended);
    }

    fn report(&self, event: &Event) {
        let report = EventReport::new(&self.names, event);
        tracing::info!(target: "ha_core", kind = report.kind, group = report.group, "{}", report.message);
        self.log.write(report);
    }

    fn note(&mut self, kind: &str, message: String) {
        tracing::warn!(target: "ha_core", kind, "{message}");
        self.log.write(EventReport::note(self.turn.now, kind, None, message));
    }

    /// Shows the guardian that this thread runs and what it owns. A guardian that is late or gone says so by
    /// itself ([`Arrival::GuardianLost`]); neither is waited for.
    fn feed_guardian(&mut self) {
        let Some(guardian) = self.guardian.clone() else { return };
        for (link, testament) in self.links.new_testaments() {
            if let Err(e) = guardian.set_testament(link, &testament) {
                tracing::warn!(target: "ha_core", link, error = %e, "the guardian could not speak on the link");
            }
        }
        let now = self.now();
        // A turn that comes for another reason feeds early, so that none comes for this one.
        if now >= self.turn.fed_at + self.turn.feed_interval / 2 {
            self.turn.fed_at = now;
            let _ = guardian.feed(&self.turn.owned);
        }
    }

    fn publish(&mut self) {
        let now = self.now();
        if self.turn.status_stale || now.since(self.turn.published_at) >= STATUS_AGE {
            self.refresh_status();
        }
    }

    fn refresh_status(&mut self) {
        let now = self.now();
        (self.turn.status_stale, self.turn.published_at) = (false, now);
        let refusals = self.links.refusals();
        let revision = std::mem::replace(&mut self.turn.revision, self.engine.revision());
        if revision == self.turn.revision && self.config.arbiter.is_none() && self.shows(&refusals) {
            return;
        }
        let status = self.engine.status();
        let asked = status.groups.iter().filter(|g| g.question.is_some());
        let questions: Vec<_> = asked.filter_map(|g| self.engine.open_question(g.group, now)).collect();
        let unchanged = self.turn.refusals == refusals && self.turn.questions == questions;
        if unchanged && self.turn.published.as_ref() == Some(&status) {
            return;
        }
        let owned = self.engine.owned();
        if owned != self.turn.owned {
            self.turn.owned = owned;
            self.turn.fed_at = Instant::ZERO;
        }
        let report = StatusReport::new(&self.config.cluster, &self.names, &status, &refusals, &questions);
        self.status.send_replace(report);
        (self.turn.published, self.turn.refusals, self.turn.questions) = (Some(status), refusals, questions);
    }

    /// Whether what was published still shows what may change without a change of any group.
    fn shows(&self, refusals: &[Option<String>]) -> bool {
        let turn = &self.turn;
        let peer = turn.published.as_ref().map(|status| &status.peer);
        turn.questions.is_empty() && turn.refusals == refusals && peer == Some(&self.engine.peer_status())
    }

    /// Ends the node in order: permissions first, then the last beats.
    async fn say_farewell(&mut self, ended: Ended) {
        self.agents.revoke_all();
        self.operations.cancel_all();
        let message = format!("the node ended: {ended}");
        self.note("ended", message);
        if matches!(ended, Ended::Departed | Ended::Reborn) {
            let _ = tokio::time::timeout(FAREWELL, self.links.flush()).await;
        }
    }
}
