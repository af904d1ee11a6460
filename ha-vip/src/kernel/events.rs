//! What happens to interfaces and addresses, told by the kernel as it happens.

use super::message::Message;
use super::socket::{NetlinkSocket, ROUTE, Reply};
use super::{Address, KernelError, Link, NetNamespace, Rtnetlink, address, link};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const RTMGRP_LINK: u32 = 1;
const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;

/// A flood of events must not keep their reader from its other work.
const DATAGRAMS_AT_ONCE: usize = 256;

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// An interface appeared or changed: its state, its name, its address.
    Link(Link),
    /// An interface is gone.
    LinkGone(Link),
    /// An address was added or changed.
    Address(Address),
    /// An address is gone.
    AddressGone(Address),
    /// Events were lost (`ENOBUFS`): everything as it is now.
    Resync {
        /// All interfaces.
        links: Vec<Link>,
        /// All addresses.
        addresses: Vec<Address>,
    },
}

/// A subscription to the events of a network namespace.
pub struct Events {
    socket: NetlinkSocket,
    state: Rtnetlink,
}

impl Events {
    /// Subscribes. What happens from now on is not missed.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn open(namespace: &NetNamespace) -> Result<Self, KernelError> {
        let groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
        Ok(Self {
            socket: NetlinkSocket::open(namespace, ROUTE, groups)?,
            state: Rtnetlink::open(namespace)?,
        })
    }

    /// Readable when something happened.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What the kernel has told so far; call it when the descriptor is readable.
    ///
    /// # Errors
    /// [`KernelError`] if not even a fresh look at everything was possible.
    pub fn read(&mut self) -> Result<Vec<Event>, KernelError> {
        let mut events = Vec::new();
        for _ in 0..DATAGRAMS_AT_ONCE {
            match self.socket.receive_queued(|message| events.extend(event(&message))) {
                Ok(()) => {}
                Err(Errno::NOBUFS) => events.push(self.resync()?),
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(KernelError::socket("read the kernel's events", errno)),
            }
        }
        Ok(events)
    }

    /// Everything as it is now.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn resync(&mut self) -> Result<Event, KernelError> {
        Ok(Event::Resync { links: self.state.links()?, addresses: self.state.addresses()? })
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

fn event(message: &Message<'_>) -> Option<Event> {
    let reply = Reply { kind: message.kind, body: message.body.to_vec() };
    if let Some((is_there, link)) = link::news(&reply) {
        return Some(if is_there { Event::Link(link) } else { Event::LinkGone(link) });
    }
    let (is_there, address) = address::news(&reply)?;
    Some(if is_there { Event::Address(address) } else { Event::AddressGone(address) })
}

/// Rouses a thread that sleeps in [`sleep`].
#[derive(Clone, Debug)]
pub(crate) struct Waker(Arc<OwnedFd>);

impl Waker {
    pub(crate) fn new() -> Result<Self, KernelError> {
        let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        Ok(Self(Arc::new(made.map_err(|errno| KernelError::socket("make a wake-up descriptor", errno))?)))
    }

    pub(crate) fn wake(&self) {
        // Only a full counter refuses, and that wakes as well.
        let _full = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

/// Sleeps until `waker` is woken, `events` has something, or `longest` has passed; whether there are events.
pub(crate) fn sleep(waker: &Waker, events: Option<&Events>, longest: Duration) -> bool {
    let seconds = i64::try_from(longest.as_secs()).unwrap_or(i64::MAX);
    let timeout = Timespec { tv_sec: seconds, tv_nsec: longest.subsec_nanos().into() };
    let mut fds = vec![PollFd::new(&*waker.0, PollFlags::IN)];
    let events = events.map(Events::as_fd);
    fds.extend(events.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
    // A signal ends the sleep early, which does no harm.
    let _interrupted = poll(&mut fds, Some(&timeout));
    let readable = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
    let (woken, told) = (readable(0), readable(1));
    if woken {
        let _empty = rustix::io::read(waker.0.as_fd(), &mut [0; 8]);
    }
    told
}

/// A thread that hands each event to a function, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts watching. The first event is a [`Event::Resync`] with what is there.
    ///
    /// # Errors
    /// [`KernelError`] if it cannot subscribe.
    pub fn start(
        namespace: &NetNamespace,
        mut each: impl FnMut(Event) + Send + 'static,
    ) -> Result<Self, KernelError> {
        let mut events = Events::open(namespace)?;
        let (stop, waker) = (Arc::new(AtomicBool::new(false)), Waker::new()?);
        let (stopped, sleeper) = (Arc::clone(&stop), waker.clone());
        each(events.resync()?);
        let watching = move || {
            while !stopped.load(Ordering::Acquire) {
                if !sleep(&sleeper, Some(&events), Duration::from_secs(3600)) {
                    continue;
                }
                match events.read() {
                    Ok(all) => all.into_iter().for_each(&mut each),
                    Err(error) => {
                        tracing::error!(%error, "interfaces are no longer watched");
                        return;
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("ha-vip watch".into()).spawn(watching);
        let thread =
            thread.map_err(|source| KernelError::Socket { call: "start a thread".into(), source })?;
        Ok(Self { stop, waker, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watching thread panicked");
        }
    }
}
