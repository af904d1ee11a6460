//! The thread that sends what follows the first announcement.

use super::{Answering, Course, Neighbours, Permit, Progress, Round, Schedule, frames};
use crate::packet::{Namespace, PacketError, PacketSender};
use crate::{MacAddress, Nic};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Neighbours told one by one in a round; more are told by the frames to all.
const MAX_DIRECTED: usize = 256;

pub(super) struct Inner {
    pub(super) namespace: Arc<dyn Namespace>,
    pub(super) schedule: Arc<Schedule>,
    pub(super) answering: Answering,
    pub(super) neighbours: Option<Neighbours>,
    pub(super) permit: Permit,
    pub(super) origin: Instant,
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) places: BTreeMap<IpAddr, Place>,
    stopped: bool,
}

/// An address at its interface, ready to be announced.
pub(super) struct Place {
    pub(super) socket: Arc<PacketSender>,
    address: IpAddr,
    router: bool,
    to_all: Vec<Vec<u8>>,
    /// Present while it is announced.
    pub(super) course: Option<Course>,
    pub(super) progress: Progress,
}

impl Inner {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

impl State {
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.places.clear();
    }

    fn next(&self) -> Option<Duration> {
        self.places.values().filter_map(|place| place.course.as_ref()?.next()).min()
    }
}

impl Place {
    pub(super) fn new(socket: Arc<PacketSender>, address: IpAddr, router: bool) -> Self {
        let to_all = frames::to_all(socket.nic(), address, router);
        Self { socket, address, router, to_all, course: None, progress: Progress::default() }
    }

    pub(super) fn nic(&self) -> &Nic {
        self.socket.nic()
    }

    /// Takes socket and frames of `ready`; what is being announced goes on with them.
    pub(super) fn replace(&mut self, ready: Self) {
        let (course, progress) = (self.course.take(), std::mem::take(&mut self.progress));
        *self = Self { course, progress, ..ready };
    }

    pub(super) fn send_to_all(&mut self, round: Round) -> Result<(), PacketError> {
        self.progress.rounds += 1;
        self.progress.answers += u64::from(round == Round::Answer);
        let frames = std::mem::take(&mut self.to_all);
        let sent = self.send(&frames);
        self.to_all = frames;
        sent
    }

    fn send(&mut self, frames: &[Vec<u8>]) -> Result<(), PacketError> {
        let mut result = Ok(());
        for frame in frames {
            match self.socket.send(frame) {
                Ok(()) => {
                    self.progress.frames += 1;
                    self.progress.last_error.clear();
                }
                Err(error) => {
                    self.progress.failed += 1;
                    self.note(&error);
                    result = result.and(Err(error));
                }
            }
        }
        result
    }

    /// Logs a failure once, not in each round.
    fn note(&mut self, error: &PacketError) {
        let said = error.to_string();
        if self.progress.last_error != said {
            tracing::warn!(address = %self.address, %error, "an announcement was not sent");
            self.progress.last_error = said;
        }
    }

    fn set_router(&mut self, router: bool) -> Result<(), PacketError> {
        if self.address.is_ipv4() || self.router == router {
            return Ok(());
        }
        self.router = router;
        self.to_all = frames::to_all(self.socket.nic(), self.address, router);
        let now = std::mem::take(&mut self.to_all);
        let sent = self.send(&now);
        self.to_all = now;
        sent
    }
}

/// Whether the node forwards what arrives at `nic`. If that cannot be read it says "no router", which is what a host
/// says.
pub(super) fn forwards(inner: &Inner, nic: &Nic) -> bool {
    inner.namespace.forwards_ipv6(&nic.name).unwrap_or_else(|error| {
        tracing::debug!(interface = nic.name, %error, "cannot tell whether IPv6 is forwarded");
        false
    })
}

pub(super) fn run(inner: &Inner) {
    loop {
        let rounds = {
            let Some(mut state) = wait(inner) else { return };
            broadcast(inner, &mut state)
        };
        for (nic, addresses) in rounds {
            direct(inner, &nic, &addresses);
        }
    }
}

/// Waits until something is due. `None`: to be stopped.
fn wait(inner: &Inner) -> Option<MutexGuard<'_, State>> {
    let mut state = inner.state();
    loop {
        if state.stopped {
            return None;
        }
        let now = inner.now();
        state = match state.next() {
            Some(due) if due <= now => return Some(state),
            Some(due) => {
                let waited = inner.changed.wait_timeout(state, due.saturating_sub(now));
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => inner.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

/// Sends what is due to all; returns, by interface, what goes to neighbours one by one afterwards.
fn broadcast(inner: &Inner, state: &mut State) -> Vec<(Nic, Vec<IpAddr>)> {
    let now = inner.now();
    let mut directed: Vec<(Nic, Vec<IpAddr>)> = vec![];
    for (&address, place) in &mut state.places {
        let Some(round) = place.course.as_mut().and_then(|course| course.due(now)) else { continue };
        if !(inner.permit)(address) {
            place.progress.refused += 1;
            continue;
        }
        let _counted = place.send_to_all(round);
        if round.is_directed() {
            match directed.iter_mut().find(|(nic, _)| nic == place.nic()) {
                Some((_, addresses)) => addresses.push(address),
                None => directed.push((place.nic().clone(), vec![address])),
            }
        }
    }
    directed
}

/// Tells the neighbours of `nic` one by one. The list is fetched without the lock; each frame is sent with it, so that a
/// withdrawal between two of them holds.
fn direct(inner: &Inner, nic: &Nic, addresses: &[IpAddr]) {
    let neighbours = inner.neighbours.as_ref().map(|list| list(nic)).unwrap_or_default();
    let router = addresses.iter().any(IpAddr::is_ipv6).then(|| forwards(inner, nic));
    for &address in addresses {
        let same_family = |(at, _): &&(IpAddr, MacAddress)| at.is_ipv4() == address.is_ipv4();
        update_router(inner, address, router);
        for &neighbour in neighbours.iter().filter(same_family).take(MAX_DIRECTED) {
            let mut state = inner.state();
            let held =
                state.places.get_mut(&address).filter(|place| place.course.is_some() && place.nic() == nic);
            let Some(place) = held.filter(|_| (inner.permit)(address)) else { break };
            let _counted = place.send(&frames::to_one(nic, address, place.router, neighbour));
        }
    }
}

/// The router flag must say what the host does now (RFC 4861 section 7.2.5: hosts drop a router that says it is none).
fn update_router(inner: &Inner, address: IpAddr, router: Option<bool>) {
    let mut state = inner.state();
    let held = state.places.get_mut(&address).filter(|place| place.course.is_some());
    if let (Some(place), Some(router)) = (held, router)
        && (inner.permit)(address)
    {
        let _counted = place.set_router(router);
    }
}
