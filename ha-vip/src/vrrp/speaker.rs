//! A speaker: built, spawned, held.

use super::socket::{index_of, source_towards};
use super::status::events;
use super::worker::{Command, Permission, Post, Worker};
use super::{
    AddressList, Admission, AdvertInterval, Audience, GROUP_V4, GROUP_V6, HOP_LIMIT, Ipv4Checksum, Machine,
    MachineConfig, Preempt, Priority, Vrid, VrrpError, VrrpEvent, VrrpEvents, VrrpStatus,
};
use ha_core::TokenCell;
use rustix::event::{EventfdFlags, eventfd};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fmt;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// How a speaker is to be. See [`VrrpSpeaker::builder`].
#[derive(Debug)]
#[must_use]
pub struct VrrpBuilder {
    vrid: u8,
    interface: String,
    addresses: Vec<IpAddr>,
    priority: u8,
    interval: Duration,
    preempt: Preempt,
    checksum: Ipv4Checksum,
    peers: Option<Vec<IpAddr>>,
    least_hop_limit: u8,
    same_addresses: bool,
    source: Option<IpAddr>,
    namespace: Option<OwnedFd>,
}

impl VrrpBuilder {
    /// The virtual router's addresses, in the order of the message; all speakers list the same ones. Over IPv6 the
    /// first should be a link-local one.
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.addresses.extend(addresses);
        self
    }

    /// The priority, 1..=255; 100 unless set. 255 is for the router that has the addresses as its own.
    pub const fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// The time between advertisements, in whole centiseconds up to 40.95 s; 1 s unless set.
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Whether it takes over from a speaker that ranks lower; at once unless set.
    pub const fn preempt(mut self, preempt: Preempt) -> Self {
        self.preempt = preempt;
        self
    }

    /// What the checksum over IPv4 covers in what is sent; both are understood.
    pub const fn checksum(mut self, covers: Ipv4Checksum) -> Self {
        self.checksum = covers;
        self
    }

    /// Speaks to these addresses only, and listens to nobody else, instead of the multicast group.
    pub fn unicast(mut self, peers: impl IntoIterator<Item = IpAddr>) -> Self {
        self.peers.get_or_insert_default().extend(peers);
        self
    }

    /// The least hop limit accepted from unicast peers; 255 unless set, which keeps out all that is not on the link.
    pub const fn least_hop_limit(mut self, limit: u8) -> Self {
        self.least_hop_limit = limit;
        self
    }

    /// Listens to speakers that list other addresses, too.
    pub const fn any_addresses(mut self) -> Self {
        self.same_addresses = false;
        self
    }

    /// The address to speak from; the one that the kernel would choose unless set.
    pub const fn source(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// The network namespace to speak in (a descriptor of `/run/netns/…` or `/proc/…/ns/net`). Takes CAP_SYS_ADMIN.
    pub fn namespace(mut self, namespace: OwnedFd) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// Opens its sockets and begins to listen, on a thread of its own. It is silent until it is permitted to speak.
    ///
    /// # Errors
    /// [`VrrpError`]. Raw sockets take CAP_NET_RAW.
    pub fn spawn(self) -> Result<VrrpSpeaker, VrrpError> {
        self.check()?;
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC);
        let wake = Arc::new(wake.map_err(|e| VrrpError::Thread { source: e.into() })?);
        let (commands, orders) = mpsc::channel();
        let (opened, outcome) = mpsc::sync_channel(1);
        let (events, theirs) = (events(), Arc::clone(&wake));
        let to_worker = events.clone();
        let name = format!("vrrp-{}", self.vrid);
        let thread = Builder::new().name(name).spawn(move || match self.open(orders, theirs, to_worker) {
            Ok((worker, status)) => {
                if opened.send(Ok(status)).is_ok() {
                    worker.run();
                }
            }
            Err(error) => drop(opened.send(Err(error))),
        });
        let thread = thread.map_err(|source| VrrpError::Thread { source })?;
        let gone = || VrrpError::Thread { source: std::io::ErrorKind::BrokenPipe.into() };
        let status = outcome.recv().map_err(|_| gone())??;
        Ok(VrrpSpeaker { commands, wake, status, events: events.downgrade(), thread: Some(thread) })
    }

    fn check(&self) -> Result<(), VrrpError> {
        let addresses = AddressList::new(&self.addresses);
        let addresses = addresses.ok_or(VrrpError::Addresses { count: self.addresses.len() })?;
        Vrid::new(self.vrid).ok_or(VrrpError::Vrid)?;
        if self.priority == 0 {
            return Err(VrrpError::Priority);
        }
        AdvertInterval::from_duration(self.interval).ok_or(VrrpError::Interval { found: self.interval })?;
        if self.peers.as_ref().is_some_and(Vec::is_empty) {
            return Err(VrrpError::NoPeers);
        }
        let mut speakers = self.peers.iter().flatten().chain(&self.source);
        match speakers.find(|at| at.is_ipv6() != addresses.is_ipv6()) {
            Some(found) => Err(VrrpError::Family { found: *found }),
            None => Ok(()),
        }
    }

    /// In the new thread.
    fn open(
        self,
        commands: mpsc::Receiver<Command>,
        wake: Arc<OwnedFd>,
        events: broadcast::Sender<VrrpEvent>,
    ) -> Result<(Worker, watch::Receiver<VrrpStatus>), VrrpError> {
        if let Some(namespace) = &self.namespace {
            self.enter(namespace)?;
        }
        let admission = self.admission()?;
        let interval = AdvertInterval::from_duration(self.interval).unwrap_or(AdvertInterval::DEFAULT);
        let (source, priority) = (admission.source, Priority(self.priority));
        let machine = Machine::new(MachineConfig { source, priority, interval, preempt: self.preempt });
        let (status, shown) = watch::channel(VrrpStatus::new(source, priority));
        let (interface, checksum) = (self.interface, self.checksum);
        let post = Post { interface, admission, checksum, interval, commands, wake, status, events };
        Ok((Worker::open(post, machine)?, shown))
    }

    fn enter(&self, namespace: &OwnedFd) -> Result<(), VrrpError> {
        let entered = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
        entered.map_err(|error| match error {
            rustix::io::Errno::PERM => {
                VrrpError::Capability { what: "enter a network namespace", capability: "CAP_SYS_ADMIN" }
            }
            error => VrrpError::Socket {
                what: "enter the network namespace",
                interface: self.interface.clone(),
                source: error.into(),
            },
        })
    }

    fn admission(&self) -> Result<Admission, VrrpError> {
        let addresses = AddressList::new(&self.addresses);
        let addresses = addresses.ok_or(VrrpError::Addresses { count: self.addresses.len() })?;
        let group = if addresses.is_ipv6() { IpAddr::V6(GROUP_V6) } else { IpAddr::V4(GROUP_V4) };
        let index = index_of(&self.interface)?;
        let first = self.peers.iter().flatten().next().copied().unwrap_or(group);
        let source = match self.source {
            Some(source) => source,
            None => source_towards(first, &self.interface, index)?,
        };
        let audience = match &self.peers {
            Some(peers) => Audience::Unicast { peers: peers.clone(), least_hop_limit: self.least_hop_limit },
            None => Audience::Group,
        };
        let vrid = Vrid::new(self.vrid).ok_or(VrrpError::Vrid)?;
        Ok(Admission { vrid, source, audience, addresses, same_addresses: self.same_addresses })
    }
}

/// A running speaker. Dropping it is a clean stop: an active one says that it leaves.
pub struct VrrpSpeaker {
    commands: mpsc::Sender<Command>,
    wake: Arc<OwnedFd>,
    status: watch::Receiver<VrrpStatus>,
    events: broadcast::WeakSender<VrrpEvent>,
    thread: Option<JoinHandle<()>>,
}

impl VrrpSpeaker {
    /// A speaker of virtual router `vrid` (1..=255) on `interface`.
    ///
    /// ```no_run
    /// use ha_vip::vrrp::VrrpSpeaker;
    /// use std::time::Duration;
    /// # fn main() -> Result<(), ha_vip::vrrp::VrrpError> {
    /// let speaker = VrrpSpeaker::builder(7, "lan0")
    ///     .addresses(["10.77.0.100".parse().unwrap()])
    ///     .priority(150)
    ///     .interval(Duration::from_millis(100))
    ///     .spawn()?;
    /// speaker.permit(true); // it may be active when it is its turn
    /// # Ok(()) }
    /// ```
    pub fn builder(vrid: u8, interface: &str) -> VrrpBuilder {
        VrrpBuilder {
            vrid,
            interface: interface.into(),
            addresses: Vec::new(),
            priority: Priority::DEFAULT.0,
            interval: AdvertInterval::DEFAULT.duration(),
            preempt: Preempt::After(Duration::ZERO),
            checksum: Ipv4Checksum::default(),
            peers: None,
            least_hop_limit: HOP_LIMIT,
            same_addresses: true,
            source: None,
            namespace: None,
        }
    }

    fn order(&self, command: Command) {
        // Neither fails while the thread runs, and after its end there is nobody to give orders to.
        let _gone = self.commands.send(command);
        let _full_means_awake = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }

    /// Whether it may be the active speaker. Taken back from an active one, it leaves with priority 0.
    pub fn permit(&self, permitted: bool) {
        self.order(Command::Permit(Permission::Fixed(permitted)));
    }

    /// It may be the active speaker as long as `token` permits, which it checks itself before each advertisement.
    pub fn permit_while(&self, token: TokenCell) {
        self.order(Command::Permit(Permission::Token(token)));
    }

    /// Another priority; 0 is taken for 1.
    pub fn set_priority(&self, priority: Priority) {
        self.order(Command::Priority(priority));
    }

    /// Whether something that it depends on is broken. Its own interface it watches itself.
    pub fn set_fault(&self, broken: bool) {
        self.order(Command::Fault(broken));
    }

    /// The speaker at `source` is proven to be stopped: its time need not be waited for. Not to be guessed.
    pub fn stopped(&self, source: IpAddr) {
        self.order(Command::Stopped(source));
    }

    /// How it is now.
    #[must_use]
    pub fn status(&self) -> VrrpStatus {
        self.status.borrow().clone()
    }

    /// Its status as soon as `wanted` holds of it; `None` if it ended before.
    pub async fn until(&self, wanted: impl FnMut(&VrrpStatus) -> bool) -> Option<VrrpStatus> {
        let mut status = self.status.clone();
        status.wait_for(wanted).await.ok().map(|status| status.clone())
    }

    /// What happens to it from now on.
    #[must_use]
    pub fn events(&self) -> VrrpEvents {
        let sender = self.events.upgrade().unwrap_or_else(events);
        VrrpEvents { receiver: sender.subscribe(), lost: 0 }
    }

    /// Leaves: an active one says so. Returns when its thread has ended.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.order(Command::Stop);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the VRRP speaker's thread panicked");
        }
    }
}

impl Drop for VrrpSpeaker {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for VrrpSpeaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VrrpSpeaker").field("status", &self.status()).finish_non_exhaustive()
    }
}
