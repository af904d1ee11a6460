//! The loopback backend with real sockets: who answers, who swallows, who is refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

use futures::future::BoxFuture;
use ha_core::api::{Ctx, Environment, Resource, UndoError};
use ha_core::engine::Health;
use ha_core::{Epoch, GroupId, Instant, TokenCell, Undo};
use ha_vip::{AcceptError, AddressBackend, AddressError, Holding, Loopback, VirtualIp};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A port of `address` that nobody has. Another process may take it before we do; then the test says so.
fn free(address: [u8; 4]) -> SocketAddr {
    std::net::TcpListener::bind(SocketAddr::from((address, 0))).unwrap().local_addr().unwrap()
}

struct Real;

impl Environment for Real {
    fn now(&self) -> Instant {
        Instant::from_nanos(1)
    }
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
    fn remember_undo(&self, undo: Undo) -> Result<(), UndoError> {
        panic!("a socket needs no undo, found {undo:?}")
    }
}

fn ctx(granted: bool) -> Ctx {
    let token = TokenCell::new(GroupId(0));
    if granted {
        token.set(Epoch(1), Instant::FAR);
    }
    Ctx::new(Arc::new(Real), Epoch(1), Instant::FAR, token)
}

/// The loopback backend does not look at it.
fn token() -> TokenCell {
    TokenCell::new(GroupId(0))
}

async fn refused(at: SocketAddr) -> bool {
    matches!(TcpStream::connect(at).await, Err(e) if e.kind() == ErrorKind::ConnectionRefused)
}

#[tokio::test]
async fn a_prepared_address_refuses_until_it_is_acquired_and_after_its_release_and_again() {
    let at = free([127, 0, 0, 11]);
    let backend = Loopback::new();
    let source = backend.accept_source(at).unwrap();
    for _ in 0..3 {
        assert!(refused(at).await);
        assert_eq!(backend.holding(&[at.ip()]).await, Holding::NotHeld);
        backend.acquire(&[at.ip()], &token()).await.unwrap();
        backend.acquire(&[at.ip()], &token()).await.unwrap();
        assert_eq!(backend.holding(&[at.ip()]).await, Holding::Held);
        let mut client = TcpStream::connect(at).await.unwrap();
        let (mut stream, _) = source.accept().await.unwrap();
        stream.write_all(b"220").await.unwrap();
        let mut greeting = [0; 3];
        client.read_exact(&mut greeting).await.unwrap();
        backend.release(&[at.ip()]).await.unwrap();
        backend.release(&[at.ip()]).await.unwrap();
        // An accepted connection outlives the release.
        client.write_all(b"QUIT").await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
    }
    assert!(refused(at).await);
}

#[tokio::test]
async fn two_owners_coexist_and_connections_are_spread_over_both() {
    let at = free([127, 0, 0, 12]);
    let (one, two) = (Loopback::new(), Loopback::new());
    let (from_one, from_two) = (one.accept_source(at).unwrap(), two.accept_source(at).unwrap());
    one.acquire(&[at.ip()], &token()).await.unwrap();
    two.acquire(&[at.ip()], &token()).await.unwrap();
    let (mut to_one, mut to_two) = (0, 0);
    for _ in 0..200 {
        let _client = TcpStream::connect(at).await.unwrap();
        tokio::select! {
            accepted = from_one.accept() => { accepted.unwrap(); to_one += 1 }
            accepted = from_two.accept() => { accepted.unwrap(); to_two += 1 }
        }
    }
    assert!(to_one > 0 && to_two > 0, "{to_one} to one, {to_two} to the other");
}

#[tokio::test]
async fn an_owner_that_never_accepts_swallows_its_share_of_the_connections() {
    let at = free([127, 0, 0, 13]);
    let (frozen, active) = (Loopback::new(), Loopback::new());
    let _never_polled = frozen.accept_source(at).unwrap();
    let source = active.accept_source(at).unwrap();
    frozen.acquire(&[at.ip()], &token()).await.unwrap();
    active.acquire(&[at.ip()], &token()).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = source.accept().await {
            stream.write_all(b"220").await.unwrap();
        }
    });
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(TcpStream::connect(at).await.unwrap());
    }
    // All are connected, but nobody hears from the frozen one. That it is ended tells its clients so.
    drop(frozen);
    let (mut served, mut swallowed) = (0, 0);
    for mut client in clients {
        let mut greeting = [0; 3];
        match client.read_exact(&mut greeting).await {
            Ok(_) => served += 1,
            Err(_) => swallowed += 1,
        }
    }
    assert!(served > 0 && swallowed > 0, "{served} served, {swallowed} swallowed");
}

#[tokio::test]
async fn a_client_of_a_frozen_owner_is_connected_and_hears_nothing() {
    let at = free([127, 0, 0, 22]);
    let frozen = Loopback::new();
    let _never_polled = frozen.accept_source(at).unwrap();
    frozen.acquire(&[at.ip()], &token()).await.unwrap();
    let mut client = TcpStream::connect(at).await.unwrap();
    client.write_all(b"EHLO client\r\n").await.unwrap();
    let mut nothing = [0; 1];
    assert!(futures::poll!(Box::pin(client.read(&mut nothing))).is_pending());
    frozen.release(&[at.ip()]).await.unwrap();
    assert_eq!(client.read(&mut nothing).await.unwrap(), 0, "the release ends it in good order");
}

#[tokio::test]
async fn a_release_says_farewell_to_those_who_wait_and_loses_none_silently() {
    let at = free([127, 0, 0, 14]);
    let backend = Loopback::new().with_farewell("421 bye\r\n");
    let _source = backend.accept_source(at).unwrap();
    backend.acquire(&[at.ip()], &token()).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = TcpStream::connect(at).await.unwrap();
        client.write_all(b"EHLO too early\r\n").await.unwrap();
        clients.push(client);
    }
    backend.release(&[at.ip()]).await.unwrap();
    for mut client in clients {
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "421 bye\r\n");
    }
    assert!(refused(at).await);
}

#[tokio::test]
async fn a_waiting_service_gets_connections_of_every_later_takeover_and_hears_of_the_end() {
    let at = free([127, 0, 0, 15]);
    let backend = Loopback::new();
    let source = backend.accept_source(at).unwrap();
    let (heard, mut hears) = tokio::sync::mpsc::channel(1);
    let service = tokio::spawn(async move {
        loop {
            match source.accept().await {
                Ok((_, peer)) => heard.send(peer).await.unwrap(),
                Err(end) => return end,
            }
        }
    });
    for _ in 0..5 {
        backend.acquire(&[at.ip()], &token()).await.unwrap();
        let client = TcpStream::connect(at).await.unwrap();
        assert_eq!(hears.recv().await, Some(client.local_addr().unwrap()));
        backend.release(&[at.ip()]).await.unwrap();
        assert!(refused(at).await);
    }
    drop(backend);
    assert!(matches!(service.await.unwrap(), AcceptError::Gone { .. }));
}

#[tokio::test]
async fn a_duplicate_listener_ends_with_the_release() {
    let at = free([127, 0, 0, 16]);
    let backend = Loopback::new();
    let _source = backend.accept_source(at).unwrap();
    assert!(matches!(backend.listener(at), Err(AddressError::NotHeld { .. })));
    backend.acquire(&[at.ip()], &token()).await.unwrap();
    let own = backend.listener(at).unwrap();
    let _client = TcpStream::connect(at).await.unwrap();
    own.accept().unwrap();
    backend.release(&[at.ip()]).await.unwrap();
    assert!(refused(at).await);
    assert_eq!(own.accept().unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_port_of_somebody_who_does_not_share_is_named() {
    let stranger = std::net::TcpListener::bind("127.0.0.17:0").unwrap();
    let at = stranger.local_addr().unwrap();
    let backend = Loopback::new();
    let error = backend.accept_source(at).unwrap_err();
    assert!(matches!(error, AddressError::Busy { at: busy } if busy == at), "{error}");
    assert!(error.to_string().contains("does not share it"), "{error}");
    drop(stranger);
    backend.accept_source(at).unwrap();
}

#[tokio::test]
async fn a_port_that_a_stranger_took_since_it_was_prepared_fails_the_takeover_and_leaves_nothing() {
    let (at, mut other) = (free([127, 0, 0, 23]), free([127, 0, 0, 23]));
    while other == at {
        other = free([127, 0, 0, 23]);
    }
    let backend = Loopback::new();
    let _sources = [backend.accept_source(at).unwrap(), backend.accept_source(other).unwrap()];
    let stranger = std::net::TcpListener::bind(at).unwrap();
    let error = backend.acquire(&[at.ip()], &token()).await.unwrap_err();
    assert!(matches!(error, AddressError::Busy { at: busy } if busy == at), "{error}");
    assert_eq!(backend.holding(&[at.ip()]).await, Holding::NotHeld);
    assert!(refused(other).await);
    drop(stranger);
    backend.acquire(&[at.ip()], &token()).await.unwrap();
    assert_eq!(backend.holding(&[at.ip()]).await, Holding::Held);
}

#[tokio::test]
async fn other_addresses_and_port_0_are_refused_and_nothing_is_done_for_them() {
    let backend = Arc::new(Loopback::new());
    for address in [IpAddr::from([192, 0, 2, 1]), Ipv6Addr::LOCALHOST.into(), IpAddr::from([0, 0, 0, 0])] {
        let error = VirtualIp::new("address", address, backend.clone()).unwrap_err();
        assert!(error.to_string().contains("expected an address of 127.0.0.0/8"), "{error}");
        assert!(matches!(backend.acquire(&[address], &token()).await, Err(AddressError::Foreign { .. })));
        assert!(matches!(backend.accept_source((address, 25).into()), Err(AddressError::Foreign { .. })));
        assert_eq!(backend.holding(&[address]).await, Holding::NotHeld);
    }
    let address = VirtualIp::new("address", [127, 0, 0, 18].into(), backend).unwrap();
    assert!(matches!(address.accept_source(0), Err(AddressError::AnyPort { .. })));
}

#[tokio::test]
async fn as_a_resource_it_starts_is_seen_and_stops() {
    let at = free([127, 0, 0, 19]);
    let address = VirtualIp::new("address", at.ip(), Arc::new(Loopback::new())).unwrap();
    let source = address.accept_source(at.port()).unwrap();
    let ctx = ctx(true);
    assert_eq!(address.monitor(&ctx).await, Health::Stopped);
    address.stop(&ctx).await.unwrap();
    address.start(&ctx).await.unwrap();
    assert_eq!(address.monitor(&ctx).await, Health::Running);
    // A service that starts later finds who came meanwhile.
    let client = TcpStream::connect(at).await.unwrap();
    assert_eq!(source.accept().await.unwrap().1, client.local_addr().unwrap());
    address.stop(&ctx).await.unwrap();
    assert_eq!(address.monitor(&ctx).await, Health::Stopped);
    assert!(refused(at).await);
}

#[tokio::test]
async fn without_permission_or_when_given_up_nothing_listens() {
    let at = free([127, 0, 0, 20]);
    let address = VirtualIp::new("address", at.ip(), Arc::new(Loopback::new())).unwrap();
    let _source = address.accept_source(at.port()).unwrap();
    let error = address.start(&ctx(false)).await.unwrap_err();
    assert_eq!(error.to_string(), "address: the group is not granted to this node");
    let given_up = ctx(true);
    given_up.cancel();
    address.start(&given_up).await.unwrap_err();
    assert!(refused(at).await);
    assert_eq!(address.monitor(&given_up).await, Health::Stopped);
}

#[tokio::test]
async fn a_listener_that_was_closed_behind_our_back_is_seen_as_failed_and_mended_by_a_start() {
    let at = free([127, 0, 0, 21]);
    let backend = Arc::new(Loopback::new());
    let address = VirtualIp::new("address", at.ip(), backend.clone()).unwrap();
    let _source = address.accept_source(at.port()).unwrap();
    let ctx = ctx(true);
    address.start(&ctx).await.unwrap();
    let own: socket2::Socket = backend.listener(at).unwrap().into();
    own.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(address.monitor(&ctx).await, Health::Failed);
    address.start(&ctx).await.unwrap();
    assert_eq!(address.monitor(&ctx).await, Health::Running);
    drop(TcpStream::connect(at).await.unwrap());
}
