//! The decisions of one speaker (RFC 9568 section 6.4). Pure: time comes in with each input.

use super::transition::{Action, Cause, Input, VrrpEvent, VrrpState};
use super::{AdvertInterval, Heard, Priority};
use ha_core::Instant;
use std::net::IpAddr;
use std::time::Duration;

/// Answers to lower speakers are at least this far apart, whatever is sent at us: the protocol's shortest interval.
const ANSWER_GAP: Duration = Duration::from_millis(10);

/// Whether a speaker takes over from one that ranks lower.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preempt {
    /// It waits until the other one leaves.
    Never,
    /// It does, this long after it first heard the lower one, and the usual silence on top. Zero is RFC 9568.
    After(Duration),
}

/// How one speaker decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MachineConfig {
    /// Its own address: the larger one wins among equals.
    pub source: IpAddr,
    /// Its priority. [`Priority::RELEASE`] is taken for [`Priority::LOWEST`].
    pub priority: Priority,
    /// Its own interval.
    pub interval: AdvertInterval,
    /// Whether it takes over from a lower one.
    pub preempt: Preempt,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Initialize,
    /// The wait ends at `down_at`; `None` when it ended without a permission.
    Backup {
        since: Instant,
        down_at: Option<Instant>,
        /// Until then a lower speaker is put up with.
        bear_until: Option<Instant>,
    },
    Active {
        sent_at: Instant,
        next_at: Instant,
        /// The lower speaker that the next advertisement answers, if one does.
        answers: Option<Heard>,
    },
    Fault,
}

/// One speaker's state. Feed it with [`handle`](Self::handle), call it again at [`deadline`](Self::deadline).
///
/// Without permission ([`Input::Permit`]) it never becomes active and says nothing. A permission makes it eligible, no
/// more: it still waits for its turn. That it became active, or that others are silent, proves nothing about them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    config: MachineConfig,
    permitted: bool,
    phase: Phase,
    /// The interval of the speaker that is followed; our own until one was heard.
    active_interval: AdvertInterval,
    last: Option<Heard>,
    yielded_to: Option<Heard>,
}

impl Machine {
    /// A speaker that is not started and not permitted.
    #[must_use]
    pub fn new(mut config: MachineConfig) -> Self {
        config.priority = config.priority.max(Priority::LOWEST);
        let active_interval = config.interval;
        let phase = Phase::Initialize;
        Self { config, permitted: false, phase, active_interval, last: None, yielded_to: None }
    }

    /// Its state.
    #[must_use]
    pub const fn state(&self) -> VrrpState {
        match self.phase {
            Phase::Initialize => VrrpState::Initialize,
            Phase::Backup { .. } => VrrpState::Backup,
            Phase::Active { .. } => VrrpState::Active,
            Phase::Fault => VrrpState::Fault,
        }
    }

    /// The last advertisement of another speaker.
    #[must_use]
    pub const fn last_heard(&self) -> Option<Heard> {
        self.last
    }

    /// The higher speaker that told it to yield since it was permitted or active, if one did.
    #[must_use]
    pub const fn outranked_by(&self) -> Option<Heard> {
        self.yielded_to
    }

    /// Whether it may become active.
    #[must_use]
    pub const fn is_permitted(&self) -> bool {
        self.permitted
    }

    /// Its own priority.
    #[must_use]
    pub const fn priority(&self) -> Priority {
        self.config.priority
    }

    /// When it wants an [`Input::Tick`].
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Initialize | Phase::Fault => None,
            Phase::Backup { down_at, .. } => down_at,
            Phase::Active { next_at, .. } => Some(next_at),
        }
    }

    /// How long a backup waits: three intervals of the active speaker and its own skew.
    #[must_use]
    pub fn down_interval(&self) -> Duration {
        self.active_interval.down(self.config.priority)
    }

    /// What is to be done about `input`, which happened at `now`. `now` never goes backwards.
    #[must_use]
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Action> {
        let mut todo = Vec::new();
        self.notice_long_sleep(now, &mut todo);
        match input {
            Input::Start => self.start(now, &mut todo),
            Input::Stop => self.stop(&mut todo),
            Input::Tick => self.tick(now, &mut todo),
            Input::Heard(heard) => self.hear(now, heard, &mut todo),
            Input::Permit(permitted) => self.permit(now, permitted, &mut todo),
            Input::Priority(priority) => self.change_priority(priority),
            Input::Fault(broken) => self.fault(now, broken, &mut todo),
            Input::Stopped(source) => self.forget(now, source, &mut todo),
        }
        todo
    }

    /// If I was silent for longer than any other one waits, I am the active one no more.
    fn notice_long_sleep(&mut self, now: Instant, todo: &mut Vec<Action>) {
        let Phase::Active { sent_at, .. } = self.phase else { return };
        let silent = now.since(sent_at);
        if silent >= self.config.interval.down(Priority::HIGHEST_BACKUP) {
            self.become_backup(now, Cause::Overslept { silent }, todo);
        }
    }

    fn start(&mut self, now: Instant, todo: &mut Vec<Action>) {
        if self.phase == Phase::Initialize {
            self.listen(now, Cause::Started, todo);
        }
    }

    fn listen(&mut self, now: Instant, cause: Cause, todo: &mut Vec<Action>) {
        self.become_backup(now, cause, todo);
        self.claim_as_owner(now, todo);
    }

    fn claim_as_owner(&mut self, now: Instant, todo: &mut Vec<Action>) {
        if self.config.priority == Priority::OWNER && self.permitted {
            self.become_active(now, Cause::Owner, todo);
        }
    }

    fn stop(&mut self, todo: &mut Vec<Action>) {
        if self.phase == Phase::Initialize {
            return;
        }
        self.release(todo);
        self.enter(Phase::Initialize, Cause::Stopped, todo);
        (self.active_interval, self.last, self.yielded_to) = (self.config.interval, None, None);
    }

    fn tick(&mut self, now: Instant, todo: &mut Vec<Action>) {
        match self.phase {
            Phase::Active { next_at, answers, .. } if now >= next_at => {
                self.advertise(now, todo);
                todo.extend(answers.map(|by| Action::Report(VrrpEvent::Contested { by })));
            }
            Phase::Backup { down_at: Some(down_at), .. } if now >= down_at => {
                self.notice_silence(now, now.since(down_at), todo);
            }
            _ => {}
        }
    }

    fn notice_silence(&mut self, now: Instant, late: Duration, todo: &mut Vec<Action>) {
        // By then even the least wanting backup is active, and what it says may have been lost while I slept.
        if late > self.active_interval.duration() {
            self.wait(now);
            todo.push(Action::Report(VrrpEvent::WokeLate { late }));
        } else if self.permitted {
            self.become_active(now, Cause::Silence, todo);
        } else {
            self.set_down_at(None);
            todo.push(Action::Report(VrrpEvent::Withheld { last: self.last }));
        }
    }

    fn permit(&mut self, now: Instant, permitted: bool, todo: &mut Vec<Action>) {
        self.permitted = permitted;
        self.yielded_to = self.yielded_to.filter(|_| permitted);
        match self.phase {
            Phase::Active { .. } if !permitted => {
                self.release(todo);
                self.become_backup(now, Cause::NotPermitted, todo);
            }
            Phase::Backup { down_at: None, .. } if permitted => {
                self.become_active(now, Cause::Permitted, todo);
            }
            Phase::Backup { .. } if permitted => self.claim_as_owner(now, todo),
            _ => {}
        }
    }

    fn change_priority(&mut self, priority: Priority) {
        self.config.priority = priority.max(Priority::LOWEST);
        let down = self.down_interval();
        if let Phase::Backup { since, down_at: Some(down_at), .. } = &mut self.phase {
            *down_at = *since + down;
        }
    }

    fn fault(&mut self, now: Instant, broken: bool, todo: &mut Vec<Action>) {
        match (self.phase, broken) {
            (Phase::Backup { .. } | Phase::Active { .. }, true) => {
                self.release(todo);
                self.enter(Phase::Fault, Cause::Fault, todo);
            }
            (Phase::Fault, false) => self.listen(now, Cause::Repaired, todo),
            _ => {}
        }
    }

    fn forget(&mut self, now: Instant, source: IpAddr, todo: &mut Vec<Action>) {
        let follows = self.last.is_some_and(|heard| heard.source == source);
        if follows && matches!(self.phase, Phase::Backup { down_at: Some(_), .. }) {
            self.set_down_at(Some(now));
            self.tick(now, todo);
        }
    }

    fn hear(&mut self, now: Instant, heard: Heard, todo: &mut Vec<Action>) {
        match self.phase {
            Phase::Initialize | Phase::Fault => return,
            Phase::Active { sent_at, .. } => self.hear_as_active(now, sent_at, heard, todo),
            Phase::Backup { .. } => self.hear_as_backup(now, heard, todo),
        }
        self.last = Some(heard);
    }

    fn hear_as_active(&mut self, now: Instant, sent_at: Instant, heard: Heard, todo: &mut Vec<Action>) {
        if self.yields_to(&heard) {
            self.active_interval = heard.interval;
            self.become_backup(now, Cause::Outranked(heard), todo);
            self.report_outranked(heard, todo);
        } else if now.since(sent_at) >= ANSWER_GAP {
            self.advertise(now, todo);
            todo.push(Action::Report(VrrpEvent::Contested { by: heard }));
        } else if let Phase::Active { next_at, answers, .. } = &mut self.phase {
            *next_at = sent_at + ANSWER_GAP.min(next_at.since(sent_at));
            *answers = Some(heard);
        }
    }

    /// An owner yields to nobody but another owner (a mistake of somebody's, and one of them must give way).
    fn yields_to(&self, heard: &Heard) -> bool {
        (heard.priority, heard.source) > (self.config.priority, self.config.source)
    }

    fn hear_as_backup(&mut self, now: Instant, heard: Heard, todo: &mut Vec<Action>) {
        if heard.priority == Priority::RELEASE {
            self.hasten(now, heard, todo);
        } else if heard.priority >= self.config.priority {
            self.follow(now, heard, None);
            if self.permitted {
                self.report_outranked(heard, todo);
            }
        } else if let Some(bear_until) = self.bears_lower(now) {
            self.follow(now, heard, Some(bear_until));
        }
        // Else it is lower and will be preempted: the wait goes on as if it had said nothing.
    }

    /// Until when a lower speaker is put up with; `None` if not (any longer).
    fn bears_lower(&self, now: Instant) -> Option<Instant> {
        let Phase::Backup { bear_until, .. } = self.phase else { return None };
        let until = match self.config.preempt {
            Preempt::Never => Instant::FAR,
            Preempt::After(delay) => bear_until.unwrap_or(now + delay),
        };
        (now < until).then_some(until)
    }

    /// A leaving speaker shortens the wait to the skew. It never lengthens it, so that repeating it holds up nothing.
    fn hasten(&mut self, now: Instant, heard: Heard, todo: &mut Vec<Action>) {
        let soon = now + self.active_interval.skew(self.config.priority);
        if let Phase::Backup { down_at: Some(down_at), .. } = &mut self.phase
            && soon < *down_at
        {
            *down_at = soon;
            todo.push(Action::Report(VrrpEvent::Released { by: heard }));
        }
    }

    fn follow(&mut self, now: Instant, heard: Heard, bear_until: Option<Instant>) {
        self.active_interval = heard.interval;
        let down_at = Some(now + self.down_interval());
        self.phase = Phase::Backup { since: now, down_at, bear_until };
    }

    fn wait(&mut self, now: Instant) {
        let down_at = Some(now + self.down_interval());
        self.phase = Phase::Backup { since: now, down_at, bear_until: None };
    }

    fn set_down_at(&mut self, at: Option<Instant>) {
        if let Phase::Backup { down_at, .. } = &mut self.phase {
            *down_at = at;
        }
    }

    fn report_outranked(&mut self, by: Heard, todo: &mut Vec<Action>) {
        if self.yielded_to.replace(by).map(|before| before.source) != Some(by.source) {
            todo.push(Action::Report(VrrpEvent::Outranked { by }));
        }
    }

    fn become_active(&mut self, now: Instant, cause: Cause, todo: &mut Vec<Action>) {
        self.yielded_to = None;
        self.active_interval = self.config.interval;
        self.advertise(now, todo);
        todo.push(Action::Report(VrrpEvent::Entered { state: VrrpState::Active, cause }));
    }

    fn become_backup(&mut self, now: Instant, cause: Cause, todo: &mut Vec<Action>) {
        self.wait(now);
        todo.push(Action::Report(VrrpEvent::Entered { state: VrrpState::Backup, cause }));
    }

    fn enter(&mut self, phase: Phase, cause: Cause, todo: &mut Vec<Action>) {
        self.phase = phase;
        todo.push(Action::Report(VrrpEvent::Entered { state: self.state(), cause }));
    }

    fn advertise(&mut self, now: Instant, todo: &mut Vec<Action>) {
        let next_at = now + self.config.interval.duration();
        self.phase = Phase::Active { sent_at: now, next_at, answers: None };
        todo.push(Action::Advertise(self.config.priority));
    }

    /// The last word of an active speaker.
    fn release(&self, todo: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Active { .. }) {
            todo.push(Action::Advertise(Priority::RELEASE));
        }
    }
}
