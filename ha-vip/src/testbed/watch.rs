//! Looks every millisecond which hosts have an address configured.

use super::door::Door;
use super::netlink::{DUMP, Request, Socket, attributes};
use super::presence::{Looks, Presence, boot_time};
use super::{Host, TestbedError};
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// Bytes of a `struct ifaddrmsg`.
const FIXED_BYTES: usize = 8;

/// Asks the kernels of several hosts, again and again, whether an address is configured. What they do with it while it
/// is there (drop it by a filter, answer for it though their processes are frozen) is [`AnswerWatch`](super::AnswerWatch)'s
/// matter.
#[derive(Debug)]
pub struct AddressWatch {
    over: Arc<AtomicBool>,
    looks: Arc<AtomicU64>,
    thread: Option<JoinHandle<Presence>>,
}

impl AddressWatch {
    /// Starts to look at `hosts` every `pause`. A host without power has no address; one that gets it back is looked at
    /// again.
    ///
    /// # Errors
    /// [`TestbedError::System`] if the thread cannot be started.
    pub fn start(hosts: &[Arc<Host>], address: IpAddr, pause: Duration) -> Result<Self, TestbedError> {
        let over = Arc::new(AtomicBool::new(false));
        let looks = Arc::new(AtomicU64::new(0));
        let (until, count, hosts) = (Arc::clone(&over), Arc::clone(&looks), hosts.to_vec());
        let watch = std::thread::Builder::new().name("address watch".to_owned());
        let thread = watch.spawn(move || look(&hosts, address, || next(pause, &count, &until)));
        let thread = thread.map_err(TestbedError::system("start the address watch", "the switch"))?;
        Ok(Self { over, looks, thread: Some(thread) })
    }

    /// How many looks it has taken: wait for some more to know that what is now was seen.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
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
struct Eye<'a> {
    host: &'a Host,
    opened: Option<(Weak<Door>, Socket)>,
}

impl Eye<'_> {
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

fn look(hosts: &[Arc<Host>], address: IpAddr, mut next: impl FnMut() -> bool) -> Presence {
    let names: Vec<&str> = hosts.iter().map(|host| host.name()).collect();
    let mut eyes: Vec<Eye<'_>> = hosts.iter().map(|host| Eye { host, opened: None }).collect();
    let mut looks = Looks::default();
    let many = |seen: &[bool]| seen.iter().filter(|has| **has).count() > 1;
    while next() {
        let mut seen: Vec<bool> = eyes.iter_mut().map(|eye| eye.sees(address)).collect();
        if many(&seen) {
            // It may have moved between two questions: those that had it must have it still.
            seen = eyes.iter_mut().zip(seen).map(|(eye, had)| had && eye.sees(address)).collect();
        }
        let both = many(&seen);
        looks.add(boot_time(), &names, seen, both);
    }
    looks.end()
}

/// Waits for the next look, unless it is over. What was looked at before counts from now on.
pub(super) fn next(pause: Duration, looks: &AtomicU64, over: &AtomicBool) -> bool {
    std::thread::sleep(pause);
    looks.fetch_add(1, Ordering::Relaxed);
    !over.load(Ordering::Relaxed)
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
        let mut of_entry = attributes(entry.get(FIXED_BYTES..).unwrap_or_default());
        found |= of_entry.any(|(kind, value)| matches!(kind, IFA_ADDRESS | IFA_LOCAL) && value == wanted);
    })?;
    Ok(found)
}
