//! Both nodes on this machine's one network: a block of addresses of 127.0.0.0/8, relays between them.

use super::{DATAGRAMS, MIRROR_PORT, OUTSIDE_PORT, SMTP_PORT, UDP_PORT};
use crate::driver::layout::random;
use crate::node::{MIRROR_LINK, MirrorAddresses, OutsideProbe};
use crate::relay::{DatagramPath, OutsidePath, RelayConfig, StreamPath};
use ha_heartbeat::LinkAddress;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

const LOCK_PORT: u16 = 24_990;
const BMC_PORT: u16 = 24_930;

/// A block of addresses that no other run has. It is taken for as long as this lives.
pub(crate) struct Block {
    number: [u8; 2],
    _taken: TcpListener,
}

impl Block {
    pub(super) fn free() -> io::Result<Self> {
        let (number, taken) = free_block()?;
        Ok(Self { number, _taken: taken })
    }

    fn at(&self, host: u8, port: u16) -> SocketAddr {
        SocketAddr::new(address(self.number, host), port)
    }

    fn node_at(&self, node: usize, port: u16) -> SocketAddr {
        self.at(if node == 0 { 1 } else { 2 }, port)
    }

    /// A socket of the relay that serves node `node`.
    fn relay_at(&self, node: usize, port: u16) -> SocketAddr {
        self.at(if node == 0 { 11 } else { 12 }, port)
    }

    pub(super) fn service(&self) -> SocketAddr {
        self.at(100, SMTP_PORT)
    }

    pub(super) fn echo(&self) -> SocketAddr {
        self.at(20, OUTSIDE_PORT)
    }

    pub(super) fn links(&self, node: usize) -> [LinkAddress; 2] {
        [UDP_PORT, UDP_PORT + 1]
            .map(|port| LinkAddress::Udp { bind: self.node_at(node, port), peer: self.relay_at(node, port) })
    }

    pub(super) fn mirror(&self, node: usize) -> MirrorAddresses {
        MirrorAddresses { listen: self.node_at(node, MIRROR_PORT), peer: self.relay_at(1, MIRROR_PORT) }
    }

    pub(super) fn bmc(&self, node: usize) -> SocketAddr {
        self.node_at(node, BMC_PORT)
    }

    pub(super) fn outside(&self, node: usize) -> OutsideProbe {
        let echo = self.relay_at(node, OUTSIDE_PORT);
        OutsideProbe { from: echo.ip(), echo }
    }

    pub(super) fn relay(&self, control: &Path) -> RelayConfig {
        let udp = (0u16..).zip(DATAGRAMS).map(|(n, name)| DatagramPath {
            name: name.into(),
            from: [self.relay_at(0, UDP_PORT + n), self.relay_at(1, UDP_PORT + n)],
            to: [self.node_at(0, UDP_PORT + n), self.node_at(1, UDP_PORT + n)],
        });
        RelayConfig {
            control: control.into(),
            udp: udp.collect(),
            stream: Some(StreamPath {
                name: MIRROR_LINK.into(),
                listen: self.relay_at(1, MIRROR_PORT),
                answers: self.node_at(0, MIRROR_PORT),
            }),
            outside: Some(OutsidePath {
                from: [self.relay_at(0, OUTSIDE_PORT), self.relay_at(1, OUTSIDE_PORT)],
                echo: self.echo(),
            }),
        }
    }
}

fn address(block: [u8; 2], host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, block[0], block[1], host))
}

/// A block of addresses that no other run has, and what keeps it taken.
fn free_block() -> io::Result<([u8; 2], TcpListener)> {
    let mut last = io::Error::other("no block was tried");
    for _ in 0..64 {
        let [a, b] = random::<2>()?;
        // 127.0.0.0/16 holds what other programs use.
        let block = [a.max(1), b];
        match take(block) {
            Ok(taken) => return Ok((block, taken)),
            Err(error) => last = error,
        }
    }
    let text =
        format!("no free block of addresses in 127.0.0.0/8 was found; the last one failed with: {last}");
    Err(io::Error::new(last.kind(), text))
}

fn take(block: [u8; 2]) -> io::Result<TcpListener> {
    let taken = TcpListener::bind((address(block, 1), LOCK_PORT))?;
    // Somebody who listens on all addresses has the port in every block.
    for (host, port) in [(100, SMTP_PORT), (1, BMC_PORT), (2, BMC_PORT), (1, MIRROR_PORT), (12, MIRROR_PORT)]
    {
        TcpListener::bind((address(block, host), port))?;
    }
    for (host, port) in [(1, UDP_PORT), (2, UDP_PORT), (11, UDP_PORT), (12, UDP_PORT), (20, OUTSIDE_PORT)] {
        UdpSocket::bind((address(block, host), port))?;
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_do_not_meet() {
        let (first, _held) = free_block().unwrap();
        assert!(take(first).is_err());
        let (second, _held) = free_block().unwrap();
        assert_ne!(first, second);
    }
}
