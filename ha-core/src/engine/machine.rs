//! The engine's outer loop: take a fact, settle every consequence, emit what follows.

use super::agenda::Agenda;
use super::state::{Fence, Group, Link, Peer, State};
use super::{Action, Boot, Event, EventKind, Input, LinkState, OpResult, PeerState, TimeoutEdge};
use crate::config::Config;
use crate::{GroupId, Instant};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Bound on the rounds of one settlement: every round makes progress in some group's role, so more than this
/// means that two rules undo each other.
const ROUNDS_MAX: usize = 32;

/// Who wakes late has taken in what its sockets held by then, whether a tick came or not.
const DRAIN_MAX: Duration = Duration::from_millis(1);

/// How many of our own beats an echo may refer to, per link.
pub(super) const SENT_BEATS_MAX: usize = 64;

/// The state machine of one node. See the [module](super) for the caller's contract.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(super) cfg: Arc<Config>,
    pub(super) st: State,
    pub(super) outbox: VecDeque<Action>,
    /// Set when a consequence may have further consequences.
    pub(super) again: bool,
    pub(super) agenda: Agenda,
    /// Lists for the statements of the next beats, from beats that were heard.
    pub(super) spare: Vec<Vec<super::Statement>>,
    #[cfg(any(test, feature = "sim"))]
    pub(super) witnessed: bool,
    #[cfg(feature = "sabotage")]
    pub(super) broken: Option<super::Sabotage>,
}

impl Engine {
    /// An engine at the start of its life.
    #[must_use]
    pub fn boot(config: Arc<Config>, boot: Boot, now: Instant) -> Self {
        let links = config.links.iter().map(|_| Link::new(now)).collect();
        let groups = config.groups.iter().map(|g| Group::new(g.resources.len())).collect();
        let st = State {
            me: boot.me,
            incarnation: boot.incarnation,
            boot: boot.boot,
            predecessor: boot.predecessor,
            outside: boot.outside,
            now,
            started: now,
            wake: now,
            stall: Duration::ZERO,
            stall_at: now,
            drains: None,
            durable: boot.record.clone(),
            record: boot.record,
            write: None,
            links,
            peer: Peer::unknown(),
            fence: Fence::default(),
            groups,
            common: super::permit::Validity::NONE,
            ops: BTreeMap::new(),
            leaving: None,
            detaching: None,
            application_alive: true,
            ended: false,
            next_op: 1,
            next_write: 1,
            next_nonce: 1,
            last_urgent: Vec::new(),
        };
        let mut engine = Self {
            agenda: Agenda::new(&config),
            cfg: config,
            st,
            outbox: VecDeque::new(),
            again: false,
            spare: Vec::new(),
            #[cfg(any(test, feature = "sim"))]
            witnessed: false,
            #[cfg(feature = "sabotage")]
            broken: None,
        };
        engine.bind_after_boot();
        engine.find_detached();
        engine.refresh();
        engine
    }

    /// Breaks a safety rule, to prove that the simulator catches it.
    #[cfg(feature = "sabotage")]
    pub fn sabotage(&mut self, switch: super::Sabotage) {
        self.broken = Some(switch);
    }

    #[cfg(feature = "sabotage")]
    pub(super) fn is_broken(&self, switch: super::Sabotage) -> bool {
        self.broken == Some(switch)
    }

    /// Takes one input at `now`.
    pub fn handle(&mut self, now: Instant, input: Input) {
        #[cfg(any(test, feature = "sim"))]
        if self.witnessed {
            return self.handle_witnessed(now, input);
        }
        self.step(now, input);
    }

    pub(super) fn step(&mut self, now: Instant, input: Input) {
        if self.st.ended {
            return;
        }
        let now = now.max(self.st.now);
        self.note_own_gap(now);
        self.st.now = now;
        let draining = |woke: &Instant| input != Input::Tick && now.since(*woke) < DRAIN_MAX;
        self.st.drains = self.st.drains.filter(draining);
        self.note_due();
        self.expire_permissions();
        self.take(input);
        for _ in 0..ROUNDS_MAX {
            self.again = false;
            self.settle();
            if !self.again || self.st.ended {
                break;
            }
        }
        self.flush();
    }

    /// The next effect to carry out.
    pub fn next_action(&mut self) -> Option<Action> {
        self.outbox.pop_front()
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        self.st.wake
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Tick => {}
            Input::Beat { link, beat } => {
                self.take_beat(link, &beat);
                self.keep_storage(beat.statements);
            }
            Input::Released(notice) => self.take_notice(&notice),
            Input::Persisted { write, ok } => self.take_persisted(write, ok),
            Input::OpDone { op, result } => self.take_op(op, result),
            Input::Fence { op, answer } => self.take_fence(op, answer),
            Input::Arbiter { op, answer } => self.take_arbiter(op, answer),
            Input::Data { group, report } => {
                if self.knows(group) {
                    let now = self.st.now;
                    let gr = self.gr(group);
                    gr.data = report;
                    gr.stalled_since = report.stalled.then(|| gr.stalled_since.unwrap_or(now));
                }
            }
            Input::Outside { reachable } => self.st.outside = reachable,
            Input::Application { alive } => self.take_application(alive),
            Input::GuardianLost => self.leave(super::state::LeaveHow::Reborn),
            Input::Command(command) => self.take_command(command),
        }
    }

    fn settle(&mut self) {
        self.watch_links();
        self.watch_peer();
        self.watch_ops();
        self.run_fencing();
        self.heed_globals();
        let mut from = 0;
        while let Some(g) = self.agenda.next(from) {
            from = usize::from(g.0) + 1;
            self.agenda.begin(g);
            self.heed_third(g);
            self.advance(g);
        }
        self.run_leaving();
        self.run_detaching();
    }

    fn flush(&mut self) {
        if !self.st.ended {
            self.issue_write();
            self.consult_third_parties();
            self.renew_permissions();
            self.refresh();
            self.send_beats();
        }
        self.survey();
        self.st.wake = self.compute_wake();
    }

    pub(super) fn take_op(&mut self, id: crate::OpId, result: OpResult) {
        let Some(op) = self.st.ops.remove(&id) else { return };
        self.op_completed(id, op, result);
    }

    pub(super) fn group_ids(&self) -> impl Iterator<Item = GroupId> + use<> {
        (0..self.st.groups.len() as u16).map(GroupId)
    }

    pub(super) fn knows(&self, g: GroupId) -> bool {
        usize::from(g.0) < self.st.groups.len()
    }

    /// The group's state. `g` was checked by [`Self::knows`] or comes from [`Self::group_ids`].
    /// Whoever takes it to write is taken to change it.
    pub(super) fn gr(&mut self, g: GroupId) -> &mut Group {
        self.agenda.mark(g);
        &mut self.st.groups[usize::from(g.0)]
    }

    pub(super) fn group(&self, g: GroupId) -> &Group {
        &self.st.groups[usize::from(g.0)]
    }

    pub(super) fn group_config(&self, g: GroupId) -> &crate::config::GroupConfig {
        &self.cfg.groups[usize::from(g.0)]
    }

    pub(super) fn emit(&mut self, kind: EventKind) {
        let at = self.st.now;
        self.outbox.push_back(Action::Event(Event { at, kind }));
    }

    pub(super) fn timed_out(&mut self, edge: TimeoutEdge) {
        self.emit(EventKind::Timeout { edge });
    }

    pub(super) fn nonce(&mut self) -> crate::Nonce {
        self.st.next_nonce = self.st.next_nonce.wrapping_add(1).max(1);
        crate::Nonce(self.st.next_nonce)
    }

    pub(super) fn op_id(&mut self) -> crate::OpId {
        self.st.next_op += 1;
        crate::OpId(self.st.next_op)
    }
}

impl Link {
    fn new(now: Instant) -> Self {
        Self {
            state: LinkState::Silent,
            seq: 0,
            sent: VecDeque::new(),
            heard: None,
            last_heard: None,
            two_way: None,
            echoed: None,
            grace: Duration::ZERO,
            last_sent: None,
            next_send: now,
            cursor: 0,
            urgent_at: 0,
            news: super::telling::News::default(),
        }
    }
}

impl Peer {
    pub(super) const fn unknown() -> Self {
        Self {
            state: PeerState::Unknown,
            lives: Vec::new(),
            claims: super::group_map::GroupMap::new(),
            serves: BTreeMap::new(),
            store: None,
            knows_my_store: None,
            init: None,
            weight: 0,
            my_weight_there: None,
            outside: 0,
            health_count: 0,
            health_at: None,
            safety: None,
            lease: None,
            departing: false,
            mute_since: None,
        }
    }
}
