//! Hears foreign claims on an interface, on a thread of its own.

use super::budget::{Budget, WINDOW};
use super::{Conflict, ConflictSink, Policy, Watch};
use crate::frame::read;
use crate::packet::{Arrival, Listener, Namespace, PacketError, Waker, Wanted};
use crate::{MacAddress, Nic};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it looks, when nothing is heard, whether the interface still exists.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whether a [`Watcher`] hears.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WatcherState {
    /// It does.
    Watching,
    /// The interface went down; it hears again when it is up.
    LinkDown,
    /// It hears nothing any more and must be started anew: the interface is gone, or is another one.
    Lost {
        /// Why.
        reason: String,
    },
}

/// Hears foreign claims of the addresses that a node holds on one interface. Dropping it ends its thread.
///
/// At most 10,000 frames a second are looked at; what comes beyond is dropped by the kernel, and counted as a flood once
/// in the log. A claim that is lost so is made good by the slow repetition of the announcement.
pub struct Watcher {
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    inner: Mutex<Inner>,
    sink: Arc<dyn ConflictSink>,
    interface: String,
}

struct Inner {
    watch: Watch,
    state: WatcherState,
    frames: u64,
    rests: u64,
    stopped: bool,
}

impl Watcher {
    /// Watches `nic`. Frames of the `own` link-layer addresses (that of `nic` always counts) are ours.
    ///
    /// # Errors
    /// [`PacketError`].
    pub fn start(
        namespace: &dyn Namespace,
        nic: &Nic,
        policy: Policy,
        own: &[MacAddress],
        sink: Arc<dyn ConflictSink>,
    ) -> Result<Self, PacketError> {
        let listener = Listener::open(namespace, nic, &[Wanted::Arp, Wanted::NeighbourDiscovery])?;
        let watch = Watch::new(policy, &[own, &[nic.mac]].concat());
        let inner = Inner { watch, state: WatcherState::Watching, frames: 0, rests: 0, stopped: false };
        let shared = Arc::new(Shared { inner: Mutex::new(inner), sink, interface: nic.name.clone() });
        let (waker, theirs) = (listener.waker(), Arc::clone(&shared));
        let started =
            std::thread::Builder::new().name("conflict".into()).spawn(move || run(listener, &theirs));
        let thread = started.map_err(|source| {
            let what = "start a thread that watches";
            PacketError::Io { what, interface: nic.name.clone(), source }
        })?;
        Ok(Self { shared, waker, thread: Some(thread) })
    }

    /// `address` is held from now on.
    pub fn hold(&self, address: IpAddr) {
        self.shared.lock().watch.hold(address);
    }

    /// `address` is held no more: nothing that is heard from now on defends it.
    pub fn release(&self, address: IpAddr) {
        self.shared.lock().watch.release(address);
    }

    /// Whether it hears.
    #[must_use]
    pub fn state(&self) -> WatcherState {
        match self.shared.lock().state.clone() {
            lost @ WatcherState::Lost { .. } => lost,
            _ if self.thread.as_ref().is_none_or(JoinHandle::is_finished) => {
                WatcherState::Lost { reason: "its thread has ended: the sink panicked".into() }
            }
            state => state,
        }
    }

    /// How many frames were looked at, and how often it rested as there were too many.
    #[must_use]
    pub fn load(&self) -> (u64, u64) {
        let inner = self.shared.lock();
        (inner.frames, inner.rests)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, conflict: &Conflict) {
        let Conflict { address, mac, sent_by, kind, count, verdict } = conflict;
        tracing::warn!(%address, %mac, %sent_by, ?kind, count, ?verdict, interface = self.interface, "address conflict");
        self.sink.conflict(conflict);
    }

    fn heard(&self, now: Duration, frame: &[u8]) {
        let Ok(heard) = read(frame) else { return };
        // Told after the lock is gone: the sink may call back.
        let reaction = self.lock().watch.heard(now, &heard);
        if let Some(address) = reaction.defend {
            self.sink.defend(address);
        }
        if let Some(conflict) = reaction.event {
            self.tell(&conflict);
        }
    }

    fn set_state(&self, state: WatcherState) {
        let mut inner = self.lock();
        if inner.state != state {
            tracing::info!(interface = self.interface, ?state, "watching for address conflicts");
            inner.state = state;
        }
    }
}

fn run(mut listener: Listener, shared: &Shared) {
    if let Err(error) = listen(&mut listener, shared) {
        tracing::warn!(interface = shared.interface, %error, "no longer watching for address conflicts");
        shared.set_state(WatcherState::Lost { reason: error.to_string() });
    }
}

/// Ends well when it is stopped.
fn listen(listener: &mut Listener, shared: &Shared) -> Result<(), PacketError> {
    let (origin, mut budget, mut looked) = (Instant::now(), Budget::default(), Duration::ZERO);
    // Counted from later than zero, so that nothing seems to have been told just now.
    let now = || origin.elapsed() + Duration::from_secs(3600);
    while !shared.lock().stopped {
        let rest = match listener.next(LOOK_EVERY)? {
            Arrival::Frame(frame) => {
                shared.lock().frames += 1;
                shared.heard(now(), frame);
                budget.spend(now())
            }
            Arrival::LinkDown => {
                shared.set_state(WatcherState::LinkDown);
                None
            }
            Arrival::Quiet | Arrival::Woken => None,
        };
        if let Some(rest) = rest {
            shared.lock().rests += 1;
            tracing::debug!(interface = shared.interface, "a flood of frames: resting");
            listener.rest(rest.min(WINDOW))?;
        }
        if now().saturating_sub(looked) >= LOOK_EVERY {
            looked = now();
            look(listener, shared, looked)?;
        }
    }
    Ok(())
}

/// What is done once a second.
fn look(listener: &Listener, shared: &Shared, now: Duration) -> Result<(), PacketError> {
    listener.check()?;
    if listener.is_up()? {
        shared.set_state(WatcherState::Watching);
    }
    let overdue = shared.lock().watch.overdue(now);
    overdue.iter().for_each(|conflict| shared.tell(conflict));
    Ok(())
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.waker.wake();
        // Not when the sink drops it, on this very thread.
        let thread = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id());
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the watching thread had panicked");
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interface = &self.shared.interface;
        f.debug_struct("Watcher")
            .field("interface", interface)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
