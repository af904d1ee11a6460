use super::*;
use crate::api::{FrameSender, LinkDescription};
use crate::wire::PairKey;
use crate::{Incarnation, NodeId};
use async_trait::async_trait;
use std::net::SocketAddr;

struct Udp {
    here: std::net::UdpSocket,
    there: SocketAddr,
}

struct Open(tokio::net::UdpSocket, SocketAddr);

#[async_trait]
impl LinkFactory for Udp {
    fn name(&self) -> &str {
        "lan"
    }
    async fn open(&self) -> io::Result<Box<dyn HeartbeatTransport>> {
        let socket = self.here.try_clone()?;
        socket.set_nonblocking(true)?;
        Ok(Box::new(Open(tokio::net::UdpSocket::from_std(socket)?, self.there)))
    }
    fn open_sender(&self) -> io::Result<Box<dyn FrameSender>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[async_trait]
impl HeartbeatTransport for Open {
    async fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.send_to(frame, self.1).await.map(drop)
    }
    async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buf).await
    }
    fn describe(&self) -> LinkDescription {
        LinkDescription { name: "udp".into(), kind: "udp", mtu_bytes: 1500, bits_per_second: None }
    }
}

fn session(me: u8) -> LinkSession {
    let key = PairKey::from_bytes(&[1; 32]).unwrap();
    LinkSession::new(&key, "post", LinkId(0), NodeId(me), Incarnation(u128::from(me) + 1), u64::from(me) + 40)
}

fn beat(me: u8, seq: u32) -> Beat {
    Beat { incarnation: Incarnation(u128::from(me) + 1), to: None, seq, echo: None, statements: Vec::new() }
}

/// The node's links and the plain socket of a peer.
async fn open() -> (Links, std::net::UdpSocket, Arc<LinkTraffic>) {
    let here = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.connect(here.local_addr().unwrap()).unwrap();
    let traffic = Arc::new(LinkTraffic::default());
    let there = peer.local_addr().unwrap();
    let unopened = Unopened {
        link: LinkId(0),
        factory: Arc::new(Udp { here, there }),
        session: session(0),
        traffic: traffic.clone(),
        interval: Duration::from_millis(1),
    };
    (Links::open(vec![unopened]).await.unwrap(), peer, traffic)
}

async fn poll(links: &mut Links) -> bool {
    poll_fn(|cx| Poll::Ready(links.poll(cx))).await
}

#[test]
fn what_lies_in_the_socket_is_heard_before_a_deadline_is_judged() {
    // As the control thread: the loop is the root of a current-thread runtime.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut links, peer, _) = open().await;
        assert!(!poll(&mut links).await);
        // The node is stopped while its peer goes on: tokio's driver has not looked at the socket since.
        let mut frame = Vec::new();
        session(1).encode(&beat(1, 1), &mut frame).unwrap();
        peer.send(&frame).unwrap();
        tokio::task::yield_now().await;
        assert!(poll(&mut links).await);
        let said = links.next_heard();
        assert!(matches!(said, Some(Input::Beat { beat, .. }) if beat.incarnation == Incarnation(2)));
    });
}

#[tokio::test]
async fn a_flood_of_rubbish_is_counted_and_leaves_room_for_everything_else() {
    let (mut links, peer, traffic) = open().await;
    for _ in 0..u64::from(FRAMES_PER_TURN) + 10 {
        peer.send(b"rubbish").unwrap();
    }
    tokio::task::yield_now().await;
    assert!(!poll(&mut links).await);
    assert!(traffic.rejected() <= u64::from(FRAMES_PER_TURN), "one turn took {}", traffic.rejected());
    while traffic.rejected() < u64::from(FRAMES_PER_TURN) + 10 {
        tokio::task::yield_now().await;
        poll(&mut links).await;
    }
    assert_eq!(traffic.received(), 0);
}

#[tokio::test]
async fn a_beat_that_waits_is_replaced_by_the_next_one() {
    let (mut links, peer, traffic) = open().await;
    links.send(LinkId(0), beat(0, 1));
    links.send(LinkId(0), beat(0, 2));
    links.flush().await;
    assert_eq!((traffic.sent(), traffic.replaced()), (1, 1));
    let mut buffer = [0; 1500];
    let length = peer.recv(&mut buffer).unwrap();
    assert!(session(1).decode(&buffer[..length]).is_ok());
}
