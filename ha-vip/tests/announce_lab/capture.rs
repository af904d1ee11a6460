//! Sees every frame of a namespace, with a packet socket that has nothing to do with the ones under test.

use super::{Host, until};
use ha_vip::MacAddress;
use ha_vip::frame::{Heard, read};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{ErrorKind, Read};
use std::net::IpAddr;

/// ETH_P_ALL in network byte order, as socket(2) wants it.
const EVERYTHING: i32 = 0x0003_u16.to_be() as i32;

pub struct Capture {
    socket: Socket,
    frames: Vec<Vec<u8>>,
}

impl Capture {
    pub fn at(host: &Host) -> Self {
        let socket =
            host.space().inside(|| Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(EVERYTHING))));
        let socket = socket.unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, frames: vec![] }
    }

    fn drain(&mut self) {
        let mut buffer = [0; 2048];
        loop {
            match (&self.socket).read(&mut buffer) {
                Ok(length) => self.frames.push(buffer[..length].to_vec()),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => panic!("cannot capture: {e}"),
            }
        }
    }

    /// All frames so far in which `mac` claims `address`.
    pub fn claims(&mut self, address: IpAddr, mac: MacAddress) -> Vec<Vec<u8>> {
        self.drain();
        let claims = |frame: &&Vec<u8>| claimed(frame, address) == Some(mac);
        self.frames.iter().filter(claims).cloned().collect()
    }

    /// Who claimed `address` last.
    pub fn last_word(&mut self, address: IpAddr) -> Option<MacAddress> {
        self.drain();
        self.frames.iter().rev().find_map(|frame| claimed(frame, address))
    }

    /// Waits until `count` claims were captured, and gives them.
    #[track_caller]
    pub fn wait_for(&mut self, count: usize, address: IpAddr, mac: MacAddress) -> Vec<Vec<u8>> {
        until("frames arrive", || self.claims(address, mac).len() >= count);
        self.claims(address, mac)
    }

    pub fn forget(&mut self) {
        self.drain();
        self.frames.clear();
    }
}

/// What the frame claims of `address`, by a decoder that trusts it: any of ARP's senders, any advertisement's target.
fn claimed(frame: &[u8], address: IpAddr) -> Option<MacAddress> {
    match read(frame).ok()? {
        Heard::Arp(_, arp) if IpAddr::from(arp.sender) == address => Some(arp.sender_mac),
        Heard::Advertisement(_, told) if IpAddr::from(told.target) == address => told.mac,
        _ => None,
    }
}
