//! The thread of one speaker: sockets and clock in, state machine, sockets and events out.

use super::socket::{VrrpSocket, encoder};
use super::{
    Action, Admission, AdvertInterval, Arrival, Input, Ipv4Checksum, Machine, Priority, Refusal, VrrpError,
    VrrpEvent, VrrpState, VrrpStatus,
};
use ha_core::{Instant, TokenCell};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// Messages taken in before timers and commands have their turn, however many more wait.
const BATCH: usize = 64;
/// Refusals are logged no more often than this.
const LOG_GAP: Duration = Duration::from_secs(1);

/// On what the permission rests.
pub(super) enum Permission {
    Fixed(bool),
    Token(TokenCell),
}

/// What the handle asks for.
pub(super) enum Command {
    Permit(Permission),
    Priority(Priority),
    Fault(bool),
    Stopped(IpAddr),
    Stop,
}

/// What the thread is given.
pub(super) struct Post {
    pub(super) interface: String,
    pub(super) admission: Admission,
    pub(super) checksum: Ipv4Checksum,
    pub(super) interval: AdvertInterval,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) wake: Arc<OwnedFd>,
    pub(super) status: watch::Sender<VrrpStatus>,
    pub(super) events: broadcast::Sender<VrrpEvent>,
}

pub(super) struct Worker {
    post: Post,
    socket: VrrpSocket,
    machine: Machine,
    permission: Permission,
    now: VrrpStatus,
    fault_declared: bool,
    link_failed: bool,
    look_at: Instant,
    logged_at: Instant,
    stopping: bool,
}

/// The boot clock: it counts through suspend, so that a speaker that slept notices.
fn clock() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Instant::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

const fn is_rise(action: &Action) -> bool {
    matches!(action, Action::Report(VrrpEvent::Entered { state: VrrpState::Active, .. }))
}

impl Worker {
    /// Opens the sockets in the calling thread's network namespace.
    pub(super) fn open(post: Post, machine: Machine) -> Result<Self, VrrpError> {
        let socket = VrrpSocket::open(&post.interface, &post.admission)?;
        let now = post.status.borrow().clone();
        Ok(Self {
            post,
            socket,
            machine,
            permission: Permission::Fixed(false),
            now,
            fault_declared: false,
            link_failed: false,
            look_at: Instant::ZERO,
            logged_at: Instant::ZERO,
            stopping: false,
        })
    }

    /// Speaks until it is told to stop.
    pub(super) fn run(mut self) {
        self.feed(Input::Start);
        while !self.stopping {
            self.obey();
            self.take_in();
            self.check_permission();
            self.look_at_link();
            self.feed(Input::Tick);
            self.publish();
            if !self.stopping {
                self.wait();
            }
        }
        self.publish();
    }

    fn feed(&mut self, input: Input) {
        let mut todo = self.machine.handle(clock(), input);
        todo.reverse();
        while let Some(action) = todo.pop() {
            match action {
                Action::Advertise(priority) if self.advertise(priority).is_err() => {
                    // It is not active if that could not be said: nobody is told that it was.
                    todo.retain(|action| !is_rise(action));
                    todo.splice(..0, self.link_fault());
                }
                Action::Advertise(_) => {}
                Action::Report(event) => self.report(event),
            }
        }
    }

    /// What is to be done about it, last first.
    fn link_fault(&mut self) -> Vec<Action> {
        self.link_failed = true;
        self.look_at = clock() + self.post.interval.duration();
        let mut todo = self.machine.handle(clock(), Input::Fault(true));
        todo.retain(|action| matches!(action, Action::Report(_)));
        todo.reverse();
        todo
    }

    fn advertise(&mut self, priority: Priority) -> io::Result<()> {
        let encode = encoder(&self.post.admission, priority, self.post.interval, self.post.checksum);
        match self.socket.send(encode) {
            Ok(()) => {
                self.now.sent += 1;
                Ok(())
            }
            Err(error) => {
                self.now.unsent += 1;
                tracing::warn!(%error, %priority, interface = %self.post.interface, "advertisement not sent");
                let full =
                    error.kind() == ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS);
                if full { Ok(()) } else { Err(error) }
            }
        }
    }

    fn report(&self, event: VrrpEvent) {
        let vrid = self.post.admission.vrid;
        if let VrrpEvent::Entered { state, cause } = event {
            tracing::info!(%vrid, %state, ?cause, "VRRP state");
        } else {
            tracing::debug!(%vrid, ?event, "VRRP event");
        }
        let _nobody_reads = self.post.events.send(event);
    }

    fn obey(&mut self) {
        while let Ok(command) = self.post.commands.try_recv() {
            match command {
                Command::Permit(permission) => self.permission = permission,
                Command::Priority(priority) => self.feed(Input::Priority(priority)),
                Command::Fault(broken) => {
                    self.fault_declared = broken;
                    self.feed(Input::Fault(broken || self.link_failed));
                }
                Command::Stopped(source) => self.feed(Input::Stopped(source)),
                Command::Stop => {
                    self.feed(Input::Stop);
                    self.stopping = true;
                    return;
                }
            }
        }
    }

    fn check_permission(&mut self) {
        let permitted = match &self.permission {
            Permission::Fixed(permitted) => *permitted,
            Permission::Token(token) => token.check(clock()).is_ok(),
        };
        if permitted != self.machine.is_permitted() && !self.stopping {
            self.feed(Input::Permit(permitted));
        }
    }

    /// Everything that waits, before any timer: a silence is only one if nothing is in the queue.
    fn take_in(&mut self) {
        for _ in 0..BATCH {
            let admitted = match self.socket.receive() {
                Ok(Some(arrival)) => {
                    arrival.and_then(|arrival: Arrival<'_>| self.post.admission.admit(&arrival))
                }
                Ok(None) => return,
                Err(error) => {
                    // ENETDOWN and the like are told once; the look at the link finds out what is the matter.
                    tracing::debug!(%error, "cannot receive");
                    return;
                }
            };
            match admitted {
                Ok(heard) => {
                    self.now.heard += 1;
                    self.feed(Input::Heard(heard));
                }
                Err(Refusal::Vrid { .. }) => self.now.of_other_routers += 1,
                Err(refusal) => self.refuse(refusal),
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.now.refused += 1;
        let now = clock();
        if now.since(self.logged_at) >= LOG_GAP {
            self.logged_at = now;
            tracing::warn!(%refusal, refused = self.now.refused, "VRRP message refused");
        }
        self.now.last_refusal = Some(refusal);
    }

    /// Before each decision that time makes, and once an interval: an interface that is down is silent, too.
    fn look_at_link(&mut self) {
        let now = clock();
        let due = self.machine.deadline().is_some_and(|at| now >= at);
        if self.stopping || (now < self.look_at && !due) {
            return;
        }
        self.look_at = now + self.post.interval.duration();
        let failed = !self.socket.can_speak();
        if self.link_failed && !failed && !self.reopen() {
            return;
        }
        if failed != self.link_failed {
            self.link_failed = failed;
            self.feed(Input::Fault(failed || self.fault_declared));
        }
    }

    /// The interface may be another one of the same name by now.
    fn reopen(&mut self) -> bool {
        match VrrpSocket::open(&self.post.interface, &self.post.admission) {
            Ok(socket) => self.socket = socket,
            Err(error) => {
                tracing::warn!(%error, "the interface is back, but cannot be used");
                return false;
            }
        }
        true
    }

    fn publish(&mut self) {
        self.now.state = self.machine.state();
        self.now.permitted = self.machine.is_permitted();
        self.now.priority = self.machine.priority();
        self.now.last_heard = self.machine.last_heard();
        self.now.outranked_by = self.machine.outranked_by();
        let now = &self.now;
        self.post.status.send_if_modified(|shown| {
            let changed = shown != now;
            if changed {
                shown.clone_from(now);
            }
            changed
        });
    }

    fn wait(&self) {
        let now = clock();
        let token_ends = match &self.permission {
            Permission::Token(token) => token.check(now).map_or(Instant::FAR, |token| token.valid_until),
            Permission::Fixed(_) => Instant::FAR,
        };
        let until = self.machine.deadline().unwrap_or(Instant::FAR).min(self.look_at).min(token_ends);
        let span = until.since(now);
        let timeout = Timespec {
            tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(span.subsec_nanos()),
        };
        let readable = self.socket.readable();
        let mut sources =
            [PollFd::new(&readable, PollFlags::IN), PollFd::new(&*self.post.wake, PollFlags::IN)];
        if let Err(error) = poll(&mut sources, Some(&timeout)) {
            tracing::debug!(%error, "waiting was interrupted");
        }
        let _nothing_to_read = rustix::io::read(&*self.post.wake, &mut [0u8; 8]);
    }
}
