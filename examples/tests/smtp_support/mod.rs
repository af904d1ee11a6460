//! A real server behind a real address, with a permission that the test holds.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "test support")]

use async_trait::async_trait;
use bytes::Bytes;
use ha_core::api::{Clock, Ctx, Resource};
use ha_core::runtime::{BootClock, Unguarded};
use ha_core::{Epoch, GroupId, Incarnation, Instant, TokenCell};
use ha_examples::smtp::{
    Delivery, Envelope, Identity, Limits, LocalMaildir, MessageStore, Permit, Service, without_trace,
};
use ha_vip::{Loopback, VirtualIp};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;

pub const WHO: &str = "n1";

/// An address of this process alone, and a port of this test alone: parallel tests never share connections.
pub fn own_address() -> SocketAddr {
    static PORT: AtomicU16 = AtomicU16::new(2500);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, 64 | (high & 63), middle, low.max(1));
    SocketAddr::new(ip.into(), PORT.fetch_add(1, Ordering::Relaxed))
}

pub fn identity() -> Identity {
    Identity { node: WHO.into(), incarnation: Incarnation(0x1a2b_3c4d << 96) }
}

/// A store that does what the test says, and forwards to a real one otherwise.
pub struct Scripted {
    pub inner: LocalMaildir,
    pub next: Mutex<Option<Delivery>>,
    /// Each delivery takes one.
    pub gate: Semaphore,
    pub waiting: tokio::sync::watch::Sender<usize>,
    /// Each wait for what outlived its client takes one.
    pub settled: Semaphore,
    pub settling: tokio::sync::Notify,
}

#[async_trait]
impl MessageStore for Scripted {
    async fn deliver(&self, permit: &Permit, envelope: &Envelope, message: Bytes) -> Delivery {
        self.waiting.send_modify(|n| *n += 1);
        self.gate.acquire().await.unwrap().forget();
        let scripted = self.next.lock().unwrap().take();
        match scripted {
            Some(delivery) => delivery,
            None => self.inner.deliver(permit, envelope, message).await,
        }
    }

    async fn settle(&self) {
        self.settling.notify_one();
        self.settled.acquire().await.unwrap().forget();
        self.inner.settle().await;
    }
}

/// A service on the active node of nobody's cluster.
pub struct Rig {
    pub at: SocketAddr,
    pub token: TokenCell,
    pub store: Arc<Scripted>,
    pub service: Arc<Service>,
    pub dir: TempDir,
    vip: VirtualIp,
}

impl Rig {
    pub async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        let at = own_address();
        let dir = tempfile::tempdir().unwrap();
        let inner = LocalMaildir::open(dir.path().join("mail"), identity()).unwrap();
        let (gate, waiting) = (Semaphore::new(10_000), tokio::sync::watch::Sender::new(0));
        let (settled, settling) = (Semaphore::new(10_000), tokio::sync::Notify::new());
        let store = Arc::new(Scripted { inner, next: Mutex::default(), gate, waiting, settled, settling });
        let backend = Arc::new(Loopback::new().with_farewell("421 4.3.2 going to the other node\r\n"));
        let vip = VirtualIp::new("address", at.ip(), backend).unwrap();
        let source = vip.accept_source(at.port()).unwrap();
        let service = Service::new("smtp", source, identity(), store.clone(), Arc::new(BootClock));
        let token = TokenCell::new(GroupId(0));
        token.set(Epoch(7), Instant::FAR);
        let service = Arc::new(service.with_limits(limits));
        let rig = Self { at, token, store, service, dir, vip };
        rig.vip.start(&rig.ctx()).await.unwrap();
        rig.service.start(&rig.ctx()).await.unwrap();
        rig
    }

    pub fn ctx(&self) -> Ctx {
        let deadline = BootClock.now() + Duration::from_secs(5);
        Ctx::new(Arc::new(Unguarded), Epoch(7), deadline, self.token.clone())
    }

    pub async fn stop(&self) {
        self.service.stop(&self.ctx()).await.unwrap();
        self.vip.stop(&self.ctx()).await.unwrap();
    }

    /// The token is suspended, as after a long pause.
    pub fn suspend(&self) {
        self.token.set(Epoch(7), Instant::from_nanos(1));
    }

    pub fn new_dir(&self) -> PathBuf {
        self.dir.path().join("mail/new")
    }

    /// The messages as their clients sent them, in the order of their names.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        let mut files: Vec<_> =
            std::fs::read_dir(self.new_dir()).unwrap().map(|f| f.unwrap().path()).collect();
        files.sort();
        files.iter().map(|f| without_trace(&std::fs::read(f).unwrap()).to_vec()).collect()
    }

    pub async fn connect(&self) -> Client {
        let mut client = self.connect_silently().await;
        let greeting = client.reply().await;
        assert!(greeting.starts_with("220 "), "{greeting}");
        client
    }

    pub async fn connect_silently(&self) -> Client {
        let (read, write) = TcpStream::connect(self.at).await.unwrap().into_split();
        Client { read: BufReader::new(read), write }
    }
}

/// A client that says whatever the test says.
pub struct Client {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

impl Client {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.write.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next reply with all its lines; empty if the connection was closed.
    pub async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(Duration::from_secs(20), self.read.read_line(&mut line)).await;
            let read = read.expect("a reply within 20 s").unwrap_or(0);
            reply.push_str(&line);
            if read == 0 || line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    pub async fn say(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n")).await;
        self.reply().await
    }

    pub async fn expect(&mut self, line: &str, code: &str) -> String {
        let reply = self.say(line).await;
        assert!(reply.starts_with(code), "{line}: expected {code}, found {reply}");
        reply
    }

    /// Up to where the message comes.
    pub async fn begin(&mut self) {
        self.expect("EHLO client.example", "250").await;
        self.expect("MAIL FROM:<a@example.org>", "250").await;
        self.expect("RCPT TO:<b@example.org>", "250").await;
        self.expect("DATA", "354").await;
    }

    /// What is left until the server closes.
    pub async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), self.read.read_to_end(&mut rest)).await;
        read.expect("a close within 20 s").ok();
        String::from_utf8_lossy(&rest).into_owned()
    }
}
