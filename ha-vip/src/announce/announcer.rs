//! Sends announcements: the first in the caller's slot, the others from a thread.

use super::thread::{self, Inner, Place, State};
use super::{Announce, AnnounceError, Answering, Course, Schedule, frames};
use crate::packet::{Here, Namespace, PacketError, PacketSender};
use crate::{MacAddress, Nic};
use std::collections::btree_map::Entry;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Addresses that one announcer takes.
const MAX_ADDRESSES: usize = 1024;

/// Lists the neighbours that the node knows on an interface. Called on the announcer's thread without a lock; it may
/// take its time, which delays only what goes to neighbours one by one, and later rounds.
pub type Neighbours = Arc<dyn Fn(&Nic) -> Vec<(IpAddr, MacAddress)> + Send + Sync>;

/// Whether this node may act for an address at this instant. Asked immediately before each frame, with a lock held: it
/// must be quick, and must not call the announcer.
pub type Permit = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// What became of the announcements of an address since it was taken.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Progress {
    /// Rounds, the first included.
    pub rounds: u64,
    /// Of these, answers to somebody else's claim.
    pub answers: u64,
    /// Frames that were accepted by the kernel.
    pub frames: u64,
    /// Frames that were not.
    pub failed: u64,
    /// Rounds that were not sent as this node may not act.
    pub refused: u64,
    /// Why the last failed frame was not accepted; empty if the last one was.
    pub last_error: String,
}

/// How an [`Announcer`] works.
#[derive(Clone)]
pub struct AnnouncerBuilder {
    namespace: Arc<dyn Namespace>,
    schedule: Schedule,
    answering: Answering,
    neighbours: Option<Neighbours>,
    permit: Permit,
}

impl AnnouncerBuilder {
    /// Opens sockets in this namespace. Default: the calling thread's.
    #[must_use]
    pub fn namespace(mut self, namespace: Arc<dyn Namespace>) -> Self {
        self.namespace = namespace;
        self
    }

    /// When addresses are announced.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// How foreign claims are answered.
    #[must_use]
    pub const fn answering(mut self, answering: Answering) -> Self {
        self.answering = answering;
        self
    }

    /// Tells these neighbours one by one as well (at most 256 of the family a round).
    #[must_use]
    pub fn neighbours(mut self, neighbours: Neighbours) -> Self {
        self.neighbours = Some(neighbours);
        self
    }

    /// Sends nothing while this says no. Default: always yes.
    #[must_use]
    pub fn permit(mut self, permit: Permit) -> Self {
        self.permit = permit;
        self
    }

    /// Starts its thread.
    ///
    /// # Errors
    /// [`AnnounceError::Thread`].
    pub fn start(self) -> Result<Announcer, AnnounceError> {
        let inner = Arc::new(Inner {
            namespace: self.namespace,
            schedule: Arc::new(self.schedule),
            answering: self.answering,
            neighbours: self.neighbours,
            permit: self.permit,
            origin: std::time::Instant::now(),
            state: std::sync::Mutex::new(State::default()),
            changed: std::sync::Condvar::new(),
        });
        let shared = Arc::clone(&inner);
        let thread =
            std::thread::Builder::new().name("announce".into()).spawn(move || thread::run(&shared))?;
        Ok(Announcer { inner, thread: Some(thread) })
    }
}

/// Announces addresses.
///
/// [`prepare`](Self::prepare) opens the socket and builds the frames, before anybody knows whether the address will be
/// taken; [`announce_now`](Self::announce_now) then only sends them. Dropping it stops at
/// once, after the frame that is being sent (and the list of neighbours, if that is being fetched).
///
/// A frame is sent under the lock that [`withdraw`](Announce::withdraw) takes, after a look at the permission: when
/// `withdraw` has returned none goes out. A process that is frozen between look and send may send one frame after its
/// time; the new owner hears it and speaks again.
pub struct Announcer {
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

impl Announcer {
    /// An announcer with the defaults, to be changed.
    #[must_use]
    pub fn builder() -> AnnouncerBuilder {
        AnnouncerBuilder {
            namespace: Arc::new(Here),
            schedule: Schedule::default(),
            answering: Answering::default(),
            neighbours: None,
            permit: Arc::new(|_| true),
        }
    }

    /// Opens a socket for `nic` and builds the frames of `address`. Announces nothing. May be repeated, and must be when
    /// the interface was made anew or has another link-layer address; an address that is being announced goes on.
    ///
    /// # Errors
    /// [`AnnounceError::NotOfOneNode`], [`AnnounceError::TooMany`], [`AnnounceError::Packet`].
    pub fn prepare(&self, nic: &Nic, address: IpAddr) -> Result<(), AnnounceError> {
        frames::check(address)?;
        let socket = self.socket(nic)?;
        let router = address.is_ipv6() && thread::forwards(&self.inner, nic);
        let ready = Place::new(socket, address, router);
        let mut state = self.inner.state();
        let found = state.places.len();
        match state.places.entry(address) {
            Entry::Occupied(mut known) => known.get_mut().replace(ready),
            Entry::Vacant(_) if found >= MAX_ADDRESSES => {
                return Err(AnnounceError::TooMany { limit: MAX_ADDRESSES });
            }
            Entry::Vacant(new) => drop(new.insert(ready)),
        }
        Ok(())
    }

    /// Sends the first announcement of `address` before it returns, and has the others follow. Only sends if it was
    /// [prepared](Self::prepare) for this very interface, and prepares it otherwise.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare); [`AnnounceError::NotPermitted`]: nothing follows. If a frame could not be sent the
    /// others follow nevertheless; [`AnnounceError::ThreadEnded`]: none does.
    pub fn announce_now(&self, nic: &Nic, address: IpAddr) -> Result<(), AnnounceError> {
        if !self.inner.state().places.get(&address).is_some_and(|place| place.nic() == nic) {
            self.prepare(nic, address)?;
        }
        let now = self.inner.now();
        let mut state = self.inner.state();
        let Some(place) = state.places.get_mut(&address) else {
            return Err(AnnounceError::NotPermitted { address }); // forgotten in this very moment
        };
        if !(self.inner.permit)(address) {
            place.course = None;
            return Err(AnnounceError::NotPermitted { address });
        }
        let mut course = Course::new(Arc::clone(&self.inner.schedule), self.inner.answering, now);
        place.progress = Progress::default();
        let sent = course.due(now).map_or(Ok(()), |round| place.send_to_all(round));
        place.course = Some(course);
        drop(state);
        self.inner.changed.notify_all();
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(AnnounceError::ThreadEnded);
        }
        Ok(sent?)
    }

    /// Somebody else claimed `address`: says again that it is ours, at once, and twice more when he has been silent for a
    /// while. Does nothing if it is not being announced.
    pub fn conflict_heard(&self, address: IpAddr) {
        self.with_course(|at, course, now| {
            if at == address {
                course.conflict_heard(now);
            }
        });
    }

    /// The other owner has let all addresses go (its release was acknowledged, it was fenced): announces all that are held
    /// anew, as nothing it said may stay the last word.
    pub fn loser_released(&self) {
        self.with_course(|_, course, now| course.loser_released(now));
    }

    /// Forgets `address` and its frames; its socket goes with the last address of the interface.
    pub fn forget(&self, address: IpAddr) {
        self.inner.state().places.remove(&address);
    }

    /// What became of the announcements of `address`; `None` if it was not prepared.
    #[must_use]
    pub fn progress(&self, address: IpAddr) -> Option<Progress> {
        self.inner.state().places.get(&address).map(|place| place.progress.clone())
    }

    fn with_course(&self, mut change: impl FnMut(IpAddr, &mut Course, std::time::Duration)) {
        let now = self.inner.now();
        for (&address, place) in &mut self.inner.state().places {
            if let Some(course) = &mut place.course {
                change(address, course, now);
            }
        }
        self.inner.changed.notify_all();
    }

    /// The socket of another address of the same interface, if it is still good, or a new one.
    fn socket(&self, nic: &Nic) -> Result<Arc<PacketSender>, PacketError> {
        let known =
            self.inner.state().places.values().map(|place| &place.socket).find(|s| s.nic() == nic).cloned();
        match known {
            Some(socket) if socket.check().is_ok() => Ok(socket),
            _ => PacketSender::open(&*self.inner.namespace, nic).map(Arc::new),
        }
    }
}

impl Announce for Announcer {
    fn announce(&self, nic: &Nic, address: IpAddr) {
        if let Err(error) = self.announce_now(nic, address) {
            tracing::warn!(%address, interface = nic.name, %error, "the first announcement failed");
        }
    }

    fn withdraw(&self, _: &Nic, address: IpAddr) {
        if let Some(place) = self.inner.state().places.get_mut(&address) {
            place.course = None;
        }
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.inner.state().stop();
        self.inner.changed.notify_all();
        let thread = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id());
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the announcing thread had panicked");
        }
    }
}

impl fmt::Debug for Announcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcer").field("places", &self.inner.state().places.len()).finish_non_exhaustive()
    }
}
