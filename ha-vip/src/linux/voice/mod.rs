//! What the network is told and asked about the addresses while they are held.
//!
//! One [`Voice`] a resource: it announces ([`announce`](crate::announce)), defends against foreign claims
//! ([`conflict`](crate::conflict)) and has the take verified from outside ([`verify`](crate::verify)). Everything that can be
//! opened and built before a take is prepared by [`Voice::prepare`], so that the take itself only sends.

mod outside;

use super::Announce;
use super::plan::Placed;
use crate::announce::{AnnounceError, Announcer, Schedule};
use crate::conflict::{
    Conflict, DefendWith, Policy, ProbeAnswer, ProbePlan, Verdict, Watcher, WatcherState, probe,
};
use crate::kernel::{NetNamespace, Rtnetlink};
use crate::packet::Namespace;
use crate::{MacAddress, Nic};
use ha_core::TokenCell;
use ha_core::api::Clock;
use ha_core::runtime::BootClock;
use outside::Outside;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Is told of foreign claims of an address that is held. Called on a thread of its own; must not wait.
pub type ConflictListener = Arc<dyn Fn(&Conflict) + Send + Sync>;

/// How loud the addresses are.
#[derive(Clone, Default)]
pub(crate) struct VoicePlan {
    pub(crate) schedule: Schedule,
    pub(crate) policy: Policy,
    pub(crate) witnesses: Vec<IpAddr>,
    pub(crate) listener: Option<ConflictListener>,
    pub(crate) probing: ProbePlan,
}

/// Speaks for the addresses of one resource.
pub(crate) struct Voice {
    plan: VoicePlan,
    namespace: NetNamespace,
    announcer: Arc<Announcer>,
    shared: Arc<Shared>,
    watchers: Mutex<BTreeMap<u32, Watcher>>,
    outside: Option<Outside>,
}

/// What the threads of a voice know.
#[derive(Default)]
struct Shared {
    /// For whom the addresses are held.
    token: Mutex<Option<TokenCell>>,
    /// Addresses that the policy gave up, and to whom.
    given_up: Mutex<BTreeMap<IpAddr, MacAddress>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Voice {
    /// Starts the announcer; opens nothing yet.
    ///
    /// # Errors
    /// [`AnnounceError::Thread`].
    pub(crate) fn start(plan: VoicePlan, namespace: &NetNamespace) -> Result<Self, AnnounceError> {
        let shared = Arc::new(Shared::default());
        let permitted = Arc::clone(&shared);
        let known = neighbours_in(namespace.clone());
        let announcer = Announcer::builder()
            .namespace(Arc::new(namespace.clone()))
            .schedule(plan.schedule.clone())
            .neighbours(Arc::new(known))
            .permit(Arc::new(move |_| permitted.permits()))
            .start()?;
        let announcer = Arc::new(announcer);
        let outside = (!plan.witnesses.is_empty())
            .then(|| Outside::start(namespace.clone(), plan.witnesses.clone(), Arc::clone(&announcer)));
        let outside = outside.transpose()?;
        let (namespace, watchers) = (namespace.clone(), Mutex::default());
        Ok(Self { plan, namespace, announcer, shared, watchers, outside })
    }

    /// Opens sockets, builds frames and begins to listen, long before a take.
    ///
    /// # Errors
    /// [`AnnounceError`]: above all a missing `CAP_NET_RAW`.
    pub(crate) fn prepare(&self, placed: &[Placed]) -> Result<(), AnnounceError> {
        for one in placed {
            self.announcer.prepare(&one.nic, one.address.address)?;
            self.watch(&one.nic)?;
        }
        Ok(())
    }

    /// The addresses are held for `token` from now on.
    pub(crate) fn speak_for(&self, token: &TokenCell) {
        *locked(&self.shared.token) = Some(token.clone());
        locked(&self.shared.given_up).clear();
    }

    /// The other owner has let the addresses go: nothing that it said may stay the last word.
    pub(crate) fn loser_released(&self) {
        self.announcer.loser_released();
    }

    /// Whether somebody else has one of the addresses: his link-layer address. Waits as long as the probes take.
    pub(crate) fn probe(&self, placed: &[Placed]) -> Option<(IpAddr, MacAddress)> {
        let own = own_macs(&self.namespace);
        let ask = |one: &Placed| {
            let answer = probe(&self.namespace, &one.nic, one.address.address, self.plan.probing, &own);
            (one.address.address, answer)
        };
        let answers: Vec<_> = std::thread::scope(|scope| {
            let begin = |one| {
                let asked =
                    std::thread::Builder::new().name("probe".into()).spawn_scoped(scope, move || ask(one));
                asked
                    .inspect_err(
                        |error| tracing::warn!(%error, "an address is not asked for before it is taken"),
                    )
                    .ok()
            };
            let asked: Vec<_> = placed.iter().filter_map(begin).collect();
            asked.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        for (address, answer) in &answers {
            if let ProbeAnswer::Unknown(why) = answer {
                tracing::warn!(%address, why, "whether somebody else has the address cannot be told");
            }
        }
        answers.into_iter().find_map(|(address, answer)| match answer {
            ProbeAnswer::TakenBy(mac) => Some((address, mac)),
            ProbeAnswer::Free | ProbeAnswer::Unknown(_) => None,
        })
    }

    /// What is wrong with an address that is held, as the network sees it: given up to somebody, or believed elsewhere.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        if let Some((address, mac)) = locked(&self.shared.given_up).first_key_value() {
            return Some(Trouble::GivenUp(format!("{address} was given up: {mac} claims it")));
        }
        let lost = |(_, watcher): (&u32, &Watcher)| match watcher.state() {
            WatcherState::Lost { reason } => Some(reason),
            _ => None,
        };
        if let Some(reason) = locked(&self.watchers).iter().find_map(lost) {
            return Some(Trouble::Doubted(format!("nobody listens for address conflicts: {reason}")));
        }
        self.outside.as_ref().and_then(Outside::contradiction).map(Trouble::Doubted)
    }

    fn watch(&self, nic: &Nic) -> Result<(), AnnounceError> {
        let mut watchers = locked(&self.watchers);
        let hears = watchers.get(&nic.index).is_some_and(|w| !matches!(w.state(), WatcherState::Lost { .. }));
        if !hears {
            let watcher = Watcher::start(
                &self.namespace,
                nic,
                self.plan.policy,
                &own_macs(&self.namespace),
                self.sink(),
            )?;
            // An interface that was made anew leaves a watcher behind that hears nothing any more.
            watchers.retain(|_, w| !matches!(w.state(), WatcherState::Lost { .. }));
            watchers.insert(nic.index, watcher);
        }
        Ok(())
    }

    fn sink(&self) -> Arc<DefendWith<impl Fn(&Conflict) + Send + Sync + 'static>> {
        let (shared, listener) = (Arc::clone(&self.shared), self.plan.listener.clone());
        let tell = move |conflict: &Conflict| {
            if conflict.verdict == Verdict::GivenUp {
                locked(&shared.given_up).insert(conflict.address, conflict.mac);
            }
            if let Some(listener) = &listener {
                listener(conflict);
            }
        };
        Arc::new(DefendWith { announcer: Arc::clone(&self.announcer), tell })
    }
}

/// What a health is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    /// The address is of no use here.
    GivenUp(String),
    /// It is held, and somebody doubts it.
    Doubted(String),
}

impl Announce for Voice {
    fn announce(&self, nic: &Nic, address: IpAddr) {
        self.announcer.announce(nic, address);
        if let Err(error) = self.watch(nic) {
            tracing::warn!(%address, interface = nic.name, %error, "foreign claims are not heard");
        }
        if let Some(watcher) = locked(&self.watchers).get(&nic.index) {
            watcher.hold(address);
        }
        if let Some(outside) = &self.outside {
            outside.taken(nic, address);
        }
    }

    fn withdraw(&self, nic: &Nic, address: IpAddr) {
        if let Some(watcher) = locked(&self.watchers).get(&nic.index) {
            watcher.release(address);
        }
        if let Some(outside) = &self.outside {
            outside.left(address);
        }
        self.announcer.withdraw(nic, address);
    }
}

impl Shared {
    fn permits(&self) -> bool {
        locked(&self.token).as_ref().is_some_and(|token| token.check(BootClock.now()).is_ok())
    }
}

impl Namespace for NetNamespace {
    fn packet_socket(&self) -> std::io::Result<std::os::fd::OwnedFd> {
        self.inside(crate::packet::packet_socket).map_err(std::io::Error::other)?
    }

    fn forwards_ipv6(&self, interface: &str) -> std::io::Result<bool> {
        self.inside(|| crate::packet::forwards_ipv6(interface)).map_err(std::io::Error::other)?
    }
}

/// Of every interface here: with two of them on one segment the kernel speaks for an address on either.
fn own_macs(namespace: &NetNamespace) -> Vec<MacAddress> {
    let links = Rtnetlink::open(namespace).and_then(|mut kernel| kernel.links());
    let links = links.unwrap_or_else(|error| {
        tracing::warn!(%error, "the node's other interfaces are not known: their words count as foreign claims");
        Vec::new()
    });
    links.into_iter().filter(|link| !link.is_loopback).map(|link| link.nic.mac).collect()
}

/// Those that the kernel knows on an interface, for announcements to each of them.
fn neighbours_in(namespace: NetNamespace) -> impl Fn(&Nic) -> Vec<(IpAddr, MacAddress)> + Send + Sync {
    let kernel: Mutex<Option<Rtnetlink>> = Mutex::new(None);
    move |nic| {
        let mut kernel = locked(&kernel);
        if kernel.is_none() {
            *kernel = Rtnetlink::open(&namespace).ok();
        }
        let Some(known) = kernel.as_mut().map(Rtnetlink::neighbours) else { return Vec::new() };
        let known = known.unwrap_or_else(|error| {
            tracing::debug!(interface = nic.name, %error, "the neighbours are not known");
            Vec::new()
        });
        let here = known.into_iter().filter(|n| n.index == nic.index && !n.has_failed);
        here.filter_map(|n| Some((n.address, n.mac?))).collect()
    }
}
