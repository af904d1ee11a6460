//! Looks every millisecond which hosts have an address.

use super::door::Door;
use super::netlink::{DUMP, Request, Socket, attributes};
use super::{Host, TestbedError};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// Bytes of a `struct ifaddrmsg`.
const FIXED_BYTES: usize = 8;

/// This machine's boot clock. All processes of all hosts read the same one.
#[must_use]
pub fn boot_time() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Asks the kernels of several hosts, again and again, whether an address is configured. What they do with it while it
/// is there (drop it by a filter, answer for it though their processes are frozen) is not asked.
#[derive(Debug)]
pub struct AddressWatch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Presence>>,
}

/// Where an address was, and when. Stamps are of [`boot_time`].
#[derive(Clone, Default, Debug)]
#[non_exhaustive]
pub struct Presence {
    /// For each host, by name, the times from the first look that found the address to the first that did not.
    pub held: BTreeMap<String, Vec<(Duration, Duration)>>,
    /// Times in which two hosts had it.
    pub both: Vec<(Duration, Duration)>,
    /// Looks taken.
    pub looks: u64,
    /// The longest time between two looks: what is shorter may have been missed.
    pub blind: Duration,
}

impl Presence {
    /// How long two hosts had it, in all.
    #[must_use]
    pub fn on_both(&self) -> Duration {
        self.both.iter().map(|(from, to)| to.saturating_sub(*from)).sum()
    }
}

impl AddressWatch {
    /// Starts to look at `hosts` every `pause`. A host without power has no address; one that gets it back is looked at
    /// again.
    ///
    /// # Errors
    /// [`TestbedError::System`] if the thread cannot be started.
    pub fn start(hosts: &[Arc<Host>], address: IpAddr, pause: Duration) -> Result<Self, TestbedError> {
        let over = Arc::new(AtomicBool::new(false));
        let (until, hosts) = (Arc::clone(&over), hosts.to_vec());
        let watch = std::thread::Builder::new().name("address watch".to_owned());
        let thread =
            watch.spawn(move || look(hosts.into_iter().map(Eye::new).collect(), address, pause, &until));
        let thread = thread.map_err(TestbedError::system("start the address watch", "the switch"))?;
        Ok(Self { over, thread: Some(thread) })
    }

    /// Ends it, and tells what it saw.
    #[must_use]
    pub fn stop(mut self) -> Presence {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for AddressWatch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// One host, and a socket in its present network.
struct Eye {
    host: Arc<Host>,
    opened: Option<(Weak<Door>, Socket)>,
}

impl Eye {
    const fn new(host: Arc<Host>) -> Self {
        Self { host, opened: None }
    }

    fn sees(&mut self, address: IpAddr) -> bool {
        let Ok(door) = self.host.door() else {
            self.opened = None;
            return false;
        };
        let current = self.opened.as_ref().is_some_and(|(of, _)| of.ptr_eq(&Arc::downgrade(&door)));
        if !current {
            let socket = door.netns().enter(Socket::route);
            self.opened = socket.and_then(|socket| socket).ok().map(|socket| (Arc::downgrade(&door), socket));
        }
        self.opened.as_ref().is_some_and(|(_, socket)| has(socket, address).unwrap_or(false))
    }
}

fn look(mut eyes: Vec<Eye>, address: IpAddr, pause: Duration, over: &AtomicBool) -> Presence {
    let mut presence = Presence::default();
    let mut before = (boot_time(), vec![false; eyes.len()]);
    while !over.load(Ordering::Relaxed) {
        let mut seen: Vec<bool> = eyes.iter_mut().map(|eye| eye.sees(address)).collect();
        if seen.iter().filter(|has| **has).count() > 1 {
            // It may have moved between two questions: those that had it must have it still.
            seen = eyes.iter_mut().zip(seen).map(|(eye, had)| had && eye.sees(address)).collect();
        }
        let now = boot_time();
        for (eye, (has, had)) in eyes.iter().zip(seen.iter().zip(&before.1)) {
            if *has || *had {
                note(presence.held.entry(eye.host.name().to_owned()).or_default(), now, *had);
            }
        }
        let many = |seen: &[bool]| seen.iter().filter(|has| **has).count() > 1;
        if many(&seen) || many(&before.1) {
            note(&mut presence.both, now, many(&before.1));
        }
        presence.looks += 1;
        presence.blind = presence.blind.max(now.saturating_sub(before.0));
        before = (now, seen);
        std::thread::sleep(pause);
    }
    presence
}

/// Makes the last time longer, or begins a new one at this look.
fn note(times: &mut Vec<(Duration, Duration)>, now: Duration, goes_on: bool) {
    match times.last_mut() {
        Some((_, to)) if goes_on => *to = now,
        Some(_) | None => times.push((now, now)),
    }
}

/// Whether an address is configured in the network of the socket.
fn has(socket: &Socket, address: IpAddr) -> io::Result<bool> {
    let (family, wanted) = match address {
        IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
    };
    let mut fixed = [0; FIXED_BYTES];
    fixed[0] = u8::try_from(family).unwrap_or(0);
    let mut request = Request::default();
    request.message(RTM_GETADDR, DUMP, &fixed, |_| {});
    let mut found = false;
    socket.dump(&request, |entry| {
        let of_entry = attributes(entry.get(FIXED_BYTES..).unwrap_or_default());
        found |= of_entry
            .into_iter()
            .any(|(kind, value)| matches!(kind, IFA_ADDRESS | IFA_LOCAL) && value == wanted);
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lasts_to_the_first_look_that_finds_nothing() {
        let at = Duration::from_millis;
        let mut times = Vec::new();
        note(&mut times, at(1), false);
        note(&mut times, at(2), true);
        note(&mut times, at(3), true);
        note(&mut times, at(9), false);
        assert_eq!(times, [(at(1), at(3)), (at(9), at(9))]);
    }

    #[test]
    fn the_clock_goes_on() {
        assert!(boot_time() <= boot_time());
    }
}
