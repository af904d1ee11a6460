//! Real datagrams on the loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use ha_core::api::{HeartbeatTransport, LinkFactory};
use ha_heartbeat::UdpLink;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A link that receives at a port of the kernel's choice and sends to `peer`.
async fn open(name: &str, peer: SocketAddr) -> (Box<dyn HeartbeatTransport>, SocketAddr) {
    let transport = UdpLink::new(name, loopback(), peer).open().await.unwrap();
    let name = transport.describe().name;
    let bound = name.strip_prefix("udp ").and_then(|n| n.split(" -> ").next()).unwrap();
    let bound = bound.parse().unwrap();
    (transport, bound)
}

async fn next(transport: &dyn HeartbeatTransport) -> Vec<u8> {
    let mut buf = [0; 2000];
    let received = tokio::time::timeout(Duration::from_secs(20), transport.recv(&mut buf)).await;
    let len = received.expect("a frame in time").expect("no error");
    buf[..len].to_vec()
}

#[tokio::test]
async fn frames_arrive_from_the_peer_its_guardian_and_anyone() {
    let (receiver, at) = open("a", "127.0.0.1:9".parse().unwrap()).await;
    let (sender, _) = open("b", at).await;
    sender.send(b"the very first frame, before the runtime's first turn").await.unwrap();
    assert_eq!(next(&*receiver).await, b"the very first frame, before the runtime's first turn");
    let mut guardian = UdpLink::new("b", loopback(), at).open_sender().unwrap();
    guardian.send(b"last word").unwrap();
    assert_eq!(next(&*receiver).await, b"last word");
    UdpSocket::bind(loopback()).unwrap().send_to(b"anyone", at).unwrap();
    assert_eq!(next(&*receiver).await, b"anyone");
}

#[tokio::test]
async fn a_guardian_has_a_socket_of_its_own_beside_the_open_link() {
    let (receiver, at) = open("a", "127.0.0.1:9".parse().unwrap()).await;
    let (_open, bound) = open("b", at).await;
    let mut guardian = UdpLink::new("b", bound, at).open_sender().unwrap();
    guardian.send(b"x").unwrap();
    assert_eq!(next(&*receiver).await, b"x");
}

#[tokio::test]
async fn a_peer_that_is_down_costs_nothing() {
    let gone = UdpSocket::bind(loopback()).unwrap().local_addr().unwrap();
    let (transport, at) = open("a", gone).await;
    for _ in 0..20 {
        transport.send(b"beat").await.unwrap();
    }
    UdpSocket::bind(loopback()).unwrap().send_to(b"back", at).unwrap();
    assert_eq!(next(&*transport).await, b"back");
}

#[tokio::test]
async fn a_flood_costs_frames_and_not_memory() {
    let (transport, at) = open("a", "127.0.0.1:9".parse().unwrap()).await;
    let flood = UdpSocket::bind(loopback()).unwrap();
    for _ in 0..20_000 {
        flood.send_to(&[0xff; 1000], at).unwrap();
    }
    let mut kept = 0;
    let mut buf = [0; 2000];
    while let Ok(received) = tokio::time::timeout(Duration::from_millis(100), transport.recv(&mut buf)).await
    {
        received.unwrap();
        kept += 1;
    }
    assert!((1..2000).contains(&kept), "{kept} of 20000 kept");
    flood.send_to(b"beat", at).unwrap();
    assert_eq!(next(&*transport).await, b"beat");
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let busy = UdpSocket::bind(loopback()).unwrap();
    let at = busy.local_addr().unwrap();
    let error = UdpLink::new("net-a", at, "127.0.0.1:9".parse().unwrap()).open().await.err().unwrap();
    let said = error.to_string();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(
        said.contains("net-a") && said.contains(&at.to_string()) && said.contains("another port"),
        "{said}"
    );
}

#[tokio::test]
async fn a_frame_that_no_datagram_holds_is_an_error() {
    let (transport, _) = open("a", "127.0.0.1:9".parse().unwrap()).await;
    assert!(transport.send(&vec![0; 70_000]).await.is_err());
}
