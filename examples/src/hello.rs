//! What `hello-failover` stands on: two "machines" inside one process, each with a disk, a power switch and a
//! network port, and real UDP between them.
//!
//! What is real: engine, runtime, heartbeat links over UDP, durable state files, the TCP service. What is not: cutting a machine's
//! power here ends its node and closes its port within this process. `mail-pair` does the same to real process trees.

use async_trait::async_trait;
use ha_core::api::{Ctx, FenceDevice, LinkFactory, Resource, ResourceError};
use ha_core::engine::{FenceAnswer, Health};
use ha_core::runtime::Node;
use ha_core::store::{FileStateStore, medium::RealMedium};
use ha_core::{FenceScope, InitId, StoreId};
use ha_heartbeat::UdpLink;
use std::error::Error;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Both ends of a heartbeat path over UDP, between two free ports of 127.0.0.1.
///
/// # Errors
/// What the operating system said.
pub fn udp_path(name: &str) -> io::Result<[Arc<dyn LinkFactory>; 2]> {
    // Both are held until both are known, so that they differ.
    let (one, two) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    let (one, two) = (one.local_addr()?, two.local_addr()?);
    Ok([Arc::new(UdpLink::new(name, one, two)), Arc::new(UdpLink::new(name, two, one))])
}

/// A service that answers every TCP connection with its machine's name. Only one machine can hold the port.
pub struct Greeter {
    machine: &'static str,
    at: SocketAddr,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Greeter {
    fn task(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when the port is closed.
    async fn end(&self) {
        let task = self.task().take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
    }
}

#[async_trait]
impl Resource for Greeter {
    fn name(&self) -> &str {
        "greeter"
    }

    async fn start(&self, _: &Ctx) -> Result<(), ResourceError> {
        let failed = |e| ResourceError::new("greeter", format!("cannot listen at {}: {e}", self.at));
        let (listener, machine) = (TcpListener::bind(self.at).await.map_err(failed)?, self.machine);
        let serve = async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let _ = client.write_all(format!("hello from {machine}").as_bytes()).await;
            }
        };
        *self.task() = Some(tokio::spawn(serve));
        Ok(())
    }

    async fn stop(&self, _: &Ctx) -> Result<(), ResourceError> {
        self.end().await;
        Ok(())
    }

    async fn monitor(&self, _: &Ctx) -> Health {
        match &*self.task() {
            None => Health::Stopped,
            Some(task) if task.is_finished() => Health::Failed,
            Some(_) => Health::Running,
        }
    }
}

/// Two machines, and the address of their service.
pub type Installed = Result<([Arc<Machine>; 2], SocketAddr), Box<dyn Error>>;

/// A machine: what a power switch acts on.
pub struct Machine {
    disk: TempDir,
    greeter: Arc<Greeter>,
    /// The node while there is power. Held during a cut, so that nobody calls it done before it is.
    power: tokio::sync::Mutex<Option<Node>>,
}

impl Machine {
    /// Two machines, blank and initialised together, without power; and the address of their service.
    ///
    /// # Errors
    /// What the operating system or the state store said.
    pub fn pair() -> Installed {
        let at = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let machine = |name, id| -> Result<Arc<Self>, Box<dyn Error>> {
            let disk = tempfile::tempdir()?;
            FileStateStore::initialise(Arc::new(RealMedium::create(disk.path())?), InitId(1), StoreId(id))?;
            let greeter = Arc::new(Greeter { machine: name, at, task: Mutex::default() });
            Ok(Arc::new(Self { disk, greeter, power: tokio::sync::Mutex::default() }))
        };
        Ok(([machine("left", 1)?, machine("right", 2)?], at))
    }

    /// The node's durable memory on this machine's disk.
    ///
    /// # Errors
    /// What the state store said.
    pub fn store(&self) -> Result<Box<FileStateStore>, Box<dyn Error>> {
        Ok(Box::new(FileStateStore::open(Arc::new(RealMedium::create(self.disk.path())?))?))
    }

    /// The service as installed on this machine.
    #[must_use]
    pub fn service(&self) -> Arc<Greeter> {
        self.greeter.clone()
    }

    /// The switch that cuts this machine's power; it belongs to the other one.
    #[must_use]
    pub fn power_switch(self: &Arc<Self>) -> Arc<PowerSwitch> {
        Arc::new(PowerSwitch(self.clone()))
    }

    /// The machine runs `node` from now on.
    pub async fn power_on(&self, node: Node) {
        *self.power.lock().await = Some(node);
    }

    /// Everything on the machine ends at once; nothing is handed over. Resolves when nothing of it is left.
    pub async fn cut_power(&self) {
        let mut power = self.power.lock().await;
        if let Some(node) = &*power {
            node.halt().await;
            self.greeter.end().await;
        }
        *power = None;
    }

    /// Waits until this machine's node has `role` in its only group; epoch and proof of it.
    ///
    /// # Errors
    /// The machine has no power, or the node ended first.
    pub async fn reached(&self, role: &str) -> Result<(u64, String), Box<dyn Error>> {
        let status = self.power.lock().await.as_ref().map(Node::status);
        let mut status = status.ok_or("the machine has no power")?;
        let there = status.wait_for(|s| s.groups.iter().any(|g| g.role == role)).await?;
        let group = there.groups.first().ok_or("the node has no group")?;
        Ok((group.epoch, group.proof.clone().unwrap_or_default()))
    }
}

/// The power switch of a machine.
pub struct PowerSwitch(Arc<Machine>);

#[async_trait]
impl FenceDevice for PowerSwitch {
    fn name(&self) -> &str {
        "power switch"
    }

    async fn status(&self, _: &str) -> FenceAnswer {
        match *self.0.power.lock().await {
            Some(_) => FenceAnswer::On,
            None => FenceAnswer::Off { scope: FenceScope::Incarnation },
        }
    }

    async fn fence(&self, _: &str) -> FenceAnswer {
        self.0.cut_power().await;
        FenceAnswer::Off { scope: FenceScope::Incarnation }
    }
}

/// What a client of the service hears.
///
/// # Errors
/// Nobody serves.
pub async fn ask(at: SocketAddr) -> io::Result<String> {
    let mut answer = String::new();
    TcpStream::connect(at).await?.read_to_string(&mut answer).await?;
    Ok(answer)
}
