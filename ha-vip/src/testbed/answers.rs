//! Asks every millisecond, over the wire, which hosts answer for an address.

use super::plan::Interface;
use super::presence::{Looks, Presence, boot_time};
use super::watch::next;
use super::{Host, TestbedError, sys};
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// An ARP frame over Ethernet, without padding.
const FRAME_BYTES: usize = 42;
const REQUEST: u8 = 1;
const REPLY: u8 = 2;

/// Sends an ARP request for an address to each of several hosts, by their hardware addresses, again and again, from a
/// bystander. So it sees what everybody on the LAN would: a host whose filter drops requests does not have the address,
/// one whose processes are frozen may have it still.
#[derive(Debug)]
pub struct AnswerWatch {
    over: Arc<AtomicBool>,
    looks: Arc<AtomicU64>,
    thread: Option<JoinHandle<Presence>>,
}

impl AnswerWatch {
    /// Starts to ask `hosts` from `bystander` every `pause`, all of them on `network`.
    ///
    /// Two hosts count as answering at once only if both answered in two rounds one after the other: between two answers
    /// of one round the address may have moved.
    ///
    /// # Errors
    /// [`TestbedError::NoInterface`], [`TestbedError::Off`], [`TestbedError::System`].
    pub fn start(
        bystander: &Host,
        hosts: &[Arc<Host>],
        network: &str,
        address: Ipv4Addr,
        pause: Duration,
    ) -> Result<Self, TestbedError> {
        let own = bystander.interface(network)?.clone();
        let named = hosts.iter().map(|host| Ok((host.name().to_owned(), host.interface(network)?.mac)));
        let asked: Vec<(String, [u8; 6])> = named.collect::<Result<_, TestbedError>>()?;
        let failed = |source| TestbedError::system("open an ARP socket", bystander.name())(source);
        let socket = bystander.run_in(|| -> io::Result<OwnedFd> {
            let any = std::net::UdpSocket::bind("0.0.0.0:0")?;
            sys::arp_socket(rustix::net::netdevice::name_to_index(&any, &own.name)?)
        })?;
        let socket = socket.map_err(failed)?;
        let over = Arc::new(AtomicBool::new(false));
        let looks = Arc::new(AtomicU64::new(0));
        let (until, count) = (Arc::clone(&over), Arc::clone(&looks));
        let watch = std::thread::Builder::new().name("answer watch".to_owned());
        let thread = watch
            .spawn(move || ask(&socket, &own, &asked, address, || next(pause, &count, &until)))
            .map_err(failed)?;
        Ok(Self { over, looks, thread: Some(thread) })
    }

    /// How many looks it has taken: wait for some more to know that what is now was seen.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    /// Ends it, and tells what it heard.
    #[must_use]
    pub fn stop(mut self) -> Presence {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for AnswerWatch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn ask(
    socket: &OwnedFd,
    own: &Interface,
    asked: &[(String, [u8; 6])],
    address: Ipv4Addr,
    mut next: impl FnMut() -> bool,
) -> Presence {
    let names: Vec<&str> = asked.iter().map(|(name, _)| name.as_str()).collect();
    let (mut looks, mut were_both) = (Looks::default(), false);
    // The answers to the last questions are read after a pause.
    let mut goes_on = true;
    while goes_on {
        for (_, mac) in asked {
            // A frame that cannot be sent is a question without an answer.
            let _ = rustix::net::send(socket, &request(own, *mac, address), SendFlags::empty());
        }
        goes_on = next();
        let answered = answers(socket, address);
        let has: Vec<bool> = asked.iter().map(|(_, mac)| answered.contains(mac)).collect();
        let both = has.iter().filter(|has| **has).count() > 1;
        looks.add(boot_time(), &names, has, both && were_both);
        were_both = both;
    }
    looks.end()
}

fn request(own: &Interface, to: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let ethernet = [&to[..], &own.mac, &[0x08, 0x06]].concat();
    let kinds = [0, 1, 0x08, 0, 6, 4, 0, REQUEST];
    [&ethernet[..], &kinds, &own.mac, &own.v4.octets(), &[0; 6], &address.octets()].concat()
}

/// Who has answered for the address since the last call.
fn answers(socket: &OwnedFd, address: Ipv4Addr) -> Vec<[u8; 6]> {
    let mut heard = Vec::new();
    let mut frame = [0; 64];
    while let Ok((length, _)) = rustix::net::recv(socket, &mut frame, RecvFlags::empty()) {
        heard.extend(frame.get(..length).and_then(|frame| answerer(frame, address)));
    }
    heard
}

/// The sender of an ARP reply for the address.
fn answerer(frame: &[u8], address: Ipv4Addr) -> Option<[u8; 6]> {
    let is_reply = frame.len() >= FRAME_BYTES && frame.get(20..22)? == [0, REPLY];
    (is_reply && frame.get(28..32)? == address.octets()).then(|| frame.get(22..28)?.try_into().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_and_a_reply_is_understood() {
        let own = Interface {
            name: "lan0".into(),
            mac: [2, 0x77, 0, 0, 0, 3],
            v4: [10, 77, 0, 3].into(),
            v4_prefix: 24,
            v6: None,
            v6_prefix: 0,
            port: "w1.lan0".into(),
        };
        let address = Ipv4Addr::new(10, 77, 0, 100);
        let mut frame = request(&own, [2, 0x77, 0, 0, 0, 1], address);
        assert_eq!(frame.len(), FRAME_BYTES);
        assert_eq!(answerer(&frame, address), None, "a request is no reply");
        frame[21] = REPLY;
        frame[28..32].fill(0);
        assert_eq!(answerer(&frame, address), None, "of another address");
        frame[28..32].copy_from_slice(&address.octets());
        assert_eq!(answerer(&frame, address), Some(own.mac));
        assert_eq!(answerer(&frame[..41], address), None, "cut short");
    }
}
