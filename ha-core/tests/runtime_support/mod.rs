//! Two real nodes in one process: real UDP sockets on loopback, real files, a service that holds a real port.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "test support")]

use async_trait::async_trait;
use ha_core::api::{
    Arbiter, Ctx, FenceDevice, FrameSender, HeartbeatTransport, LinkDescription, LinkFactory, Resource,
    ResourceError, StateStore,
};
use ha_core::config::{Config, FenceConfig, GroupConfig, LinkConfig, ResourceConfig, TimingConfig};
use ha_core::engine::{FenceAnswer, Health, Predecessor};
use ha_core::runtime::{
    EndHook, Ended, EventItem, EventReport, GroupReport, Node, NodeBuilder, NodeError, RecordOptions,
};
use ha_core::store::{FileStateStore, medium::RealMedium};
use ha_core::wire::PairKey;
use ha_core::{FenceScope, InitId, NodeId, StoreId};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A heartbeat path over an own UDP socket.
pub struct Udp {
    name: &'static str,
    here: SocketAddr,
    there: SocketAddr,
}

struct OpenUdp(tokio::net::UdpSocket, String);

#[async_trait]
impl LinkFactory for Udp {
    fn name(&self) -> &str {
        self.name
    }
    async fn open(&self) -> io::Result<Box<dyn HeartbeatTransport>> {
        let socket = tokio::net::UdpSocket::bind(self.here)
            .await
            .map_err(|e| io::Error::new(e.kind(), format!("bind {}: {e}", self.here)))?;
        socket.connect(self.there).await?;
        Ok(Box::new(OpenUdp(socket, format!("udp {} -> {}", self.here, self.there))))
    }
    fn open_sender(&self) -> io::Result<Box<dyn FrameSender>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[async_trait]
impl HeartbeatTransport for OpenUdp {
    async fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.send(frame).await.map(drop)
    }
    async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buf).await
    }
    fn describe(&self) -> LinkDescription {
        LinkDescription { name: self.1.clone(), kind: "udp", mtu_bytes: 1500, bits_per_second: None }
    }
}

/// Both ends of a path between two free ports.
pub fn udp(name: &'static str) -> [Arc<dyn LinkFactory>; 2] {
    let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let (a, b) = (a.local_addr().unwrap(), b.local_addr().unwrap());
    [Arc::new(Udp { name, here: a, there: b }), Arc::new(Udp { name, here: b, there: a })]
}

/// One end of a path between two ports of this machine.
pub fn udp_between(name: &'static str, here: u16, there: u16) -> Arc<dyn LinkFactory> {
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Arc::new(Udp { name, here: at(here), there: at(there) })
}

/// A service that holds one TCP port: two owners cannot both hold it.
pub struct Service {
    port: SocketAddr,
    held: Mutex<Option<TcpListener>>,
    pub panics: AtomicBool,
    /// The next monitor blocks its thread on this.
    pub blocker: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

impl Service {
    pub fn is_running(&self) -> bool {
        self.held.lock().unwrap().is_some()
    }
    pub fn pull_the_plug(&self) {
        self.held.lock().unwrap().take();
    }
}

#[async_trait]
impl Resource for Service {
    fn name(&self) -> &str {
        "smtp"
    }
    async fn start(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        assert!(!self.panics.load(Ordering::SeqCst), "the agent has a bug");
        ctx.token().check(ctx.now()).map_err(|e| ResourceError::new("smtp", e))?;
        let listener = TcpListener::bind(self.port).map_err(|e| ResourceError::new("smtp", e))?;
        *self.held.lock().unwrap() = Some(listener);
        Ok(())
    }
    async fn stop(&self, _: &Ctx) -> Result<(), ResourceError> {
        self.pull_the_plug();
        Ok(())
    }
    async fn monitor(&self, _: &Ctx) -> Health {
        // Blocks the application's runtime for as long as a test wants it.
        let blocker = self.blocker.lock().unwrap().take();
        if let Some(blocker) = blocker {
            let _ = blocker.recv();
        }
        if self.is_running() { Health::Running } else { Health::Stopped }
    }
}

/// Keeps what the end of the process would have been.
#[derive(Default)]
pub struct Hook(pub Mutex<Vec<Ended>>);

impl EndHook for Hook {
    fn end(&self, ended: Ended) {
        self.0.lock().unwrap().push(ended);
    }
}

/// One machine: what a power switch acts on.
pub struct Machine {
    pub service: Arc<Service>,
    pub hook: Arc<Hook>,
    pub node: Mutex<Option<Arc<Node>>>,
    power: AtomicBool,
}

impl Machine {
    pub fn node(&self) -> Arc<Node> {
        self.node.lock().unwrap().clone().expect("the machine is on")
    }

    /// Everything stops; true when that is verified.
    pub async fn power_off(&self) {
        let node = self.node.lock().unwrap().take();
        if let Some(node) = node {
            node.halt().await;
        }
        self.service.pull_the_plug();
        self.power.store(false, Ordering::SeqCst);
    }

    pub fn is_on(&self) -> bool {
        self.power.load(Ordering::SeqCst)
    }
}

/// The power switch of the other machine.
pub struct PowerSwitch(pub Arc<Machine>);

#[async_trait]
impl FenceDevice for PowerSwitch {
    fn name(&self) -> &str {
        "power switch"
    }
    async fn status(&self, _: &str) -> FenceAnswer {
        if self.0.is_on() { FenceAnswer::On } else { FenceAnswer::Off { scope: FenceScope::Incarnation } }
    }
    async fn fence(&self, _: &str) -> FenceAnswer {
        self.0.power_off().await;
        FenceAnswer::Off { scope: FenceScope::Incarnation }
    }
}

/// A pair, with all that outlives its nodes.
pub struct Pair {
    pub config: Arc<Config>,
    pub machines: [Arc<Machine>; 2],
    links: Vec<[Arc<dyn LinkFactory>; 2]>,
    /// The third party that both nodes are given.
    pub arbiter: Option<Arc<dyn Arbiter>>,
    pub dirs: [TempDir; 2],
}

pub const LINKS: [&str; 2] = ["lan", "cross"];

pub fn config() -> Config {
    let link = |name| LinkConfig::datagram(name, ms(20), ms(600));
    let mail = GroupConfig::new("mail").then(ResourceConfig::new("smtp"));
    LINKS.into_iter().fold(Config::pair("post", "left", "right"), |c, name| c.link(link(name))).group(mail)
}

impl Pair {
    /// Two installed machines, switched off.
    pub fn new(mut config: Config) -> Self {
        config.timing = TimingConfig::for_links(&config.links, config.fence.as_ref());
        let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = reserved.local_addr().unwrap();
        let machine = || {
            let service = Service {
                port,
                held: Mutex::default(),
                panics: AtomicBool::new(false),
                blocker: Mutex::default(),
            };
            Arc::new(Machine {
                service: Arc::new(service),
                hook: Arc::default(),
                node: Mutex::default(),
                power: AtomicBool::new(false),
            })
        };
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for (n, dir) in dirs.iter().enumerate() {
            let medium = Arc::new(RealMedium::create(dir.path()).unwrap());
            drop(FileStateStore::initialise(medium, InitId(7), StoreId(n as u128 + 1)).unwrap());
        }
        let links = LINKS.into_iter().map(udp).collect();
        Self { config: Arc::new(config), machines: [machine(), machine()], links, arbiter: None, dirs }
    }

    pub fn fenced() -> Self {
        Self::new(config().fence(FenceConfig::new(ms(1000))))
    }

    /// A builder with every part but the store.
    pub fn parts(&self, me: u8) -> NodeBuilder {
        let machine = &self.machines[usize::from(me)];
        let mut builder = Node::builder(self.config.clone(), NodeId(me))
            .key(PairKey::from_bytes(&[9; 32]).unwrap())
            .resource("mail", machine.service.clone())
            .predecessor(Predecessor::Gone)
            .end_hook(machine.hook.clone())
            .record(RecordOptions::new(Arc::new(RealMedium::create(self.record(me)).unwrap())));
        for link in &self.links {
            builder = builder.link(link[usize::from(me)].clone());
        }
        if let Some(arbiter) = &self.arbiter {
            builder = builder.arbiter(arbiter.clone());
        }
        if self.config.fence.is_some() {
            builder = builder.fence(Arc::new(PowerSwitch(self.machines[usize::from(1 - me)].clone())));
        }
        builder
    }

    /// Where a node keeps its record.
    pub fn record(&self, me: u8) -> std::path::PathBuf {
        self.dirs[usize::from(me)].path().join("record")
    }

    pub fn store(&self, me: u8) -> FileStateStore {
        open_store(self.dirs[usize::from(me)].path())
    }

    pub async fn power_on_with(&self, me: u8, store: Box<dyn StateStore>) -> Result<Arc<Node>, NodeError> {
        let machine = &self.machines[usize::from(me)];
        machine.power.store(true, Ordering::SeqCst);
        let node = Arc::new(self.parts(me).store(store).spawn().await?);
        *machine.node.lock().unwrap() = Some(node.clone());
        Ok(node)
    }

    pub async fn power_on(&self, me: u8) -> Arc<Node> {
        self.power_on_with(me, Box::new(self.store(me))).await.unwrap()
    }

    pub async fn both_on(&self) -> [Arc<Node>; 2] {
        [self.power_on(0).await, self.power_on(1).await]
    }
}

pub fn open_store(dir: &Path) -> FileStateStore {
    FileStateStore::open(Arc::new(RealMedium::create(dir).unwrap())).unwrap()
}

/// Waits until the group "mail" of `node` satisfies `wanted`; says what it is if it never does.
pub async fn until(node: &Node, what: &str, wanted: impl Fn(&GroupReport) -> bool) -> GroupReport {
    let mut status = node.status();
    let reached = status.wait_for(|s| s.group("mail").is_some_and(&wanted));
    match tokio::time::timeout(Duration::from_secs(30), reached).await {
        Ok(Ok(s)) => s.group("mail").unwrap().clone(),
        other => {
            drop(other);
            panic!("{what} was not reached: {:#?}\n{}", node.status().borrow(), story(node))
        }
    }
}

pub async fn until_role(node: &Node, role: &str) -> GroupReport {
    until(node, role, |g| g.role == role).await
}

pub async fn until_viable(node: &Node) -> GroupReport {
    until(node, "a viable standby", |g| g.role == "standby" && g.viable).await
}

/// Asks for a switchover until it is not refused: the owner may not have heard yet that its peer is viable.
pub async fn switch_over(owner: &Node) {
    let mut reader = owner.events();
    while reader.take().is_some() {}
    owner.switchover("mail").unwrap();
    loop {
        let next = tokio::time::timeout(Duration::from_secs(30), reader.recv()).await;
        match next {
            Ok(Some(EventItem::Event(e))) if e.kind == "refused" => owner.switchover("mail").unwrap(),
            Ok(Some(EventItem::Event(e))) if e.kind == "role" && e.fields["role"] == "stopping" => return,
            Ok(Some(_)) => {}
            other => panic!("{other:?}: {}", story(owner)),
        }
    }
}

/// Every event that is kept.
pub fn events(node: &Node) -> Vec<Arc<EventReport>> {
    let mut reader = node.events();
    let mut events = Vec::new();
    while let Some(item) = reader.take() {
        if let EventItem::Event(event) = item {
            events.push(event);
        }
    }
    events
}

/// The events as text.
pub fn story(node: &Node) -> String {
    events(node).iter().map(|e| format!("{e}\n")).collect()
}
