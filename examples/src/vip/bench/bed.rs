//! The data centre of one trial: two nodes with a service each, a router, a client.

use super::Failure;
use super::options::Options;
use ha_vip::testbed::{DataCentre, Host};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Where the service listens on both nodes, whether they have the address or not.
pub(super) const PORT: u16 = 7777;
const START: Duration = Duration::from_secs(20);

/// Everything of one trial; all of it ends when this is dropped.
pub(super) struct Bed {
    pub(super) centre: Arc<DataCentre>,
    /// The two nodes, the preferred one first.
    pub(super) hosts: (&'static str, &'static str),
    /// The address that moves.
    pub(super) address: Ipv4Addr,
    dir: Directory,
}

enum Directory {
    Passing(TempDir),
    Kept(PathBuf),
}

impl Bed {
    /// Builds it, with the service on both nodes and no address yet. `name` is of the directory for what is kept.
    pub(super) fn build(options: &Options, name: &str) -> Result<Self, Failure> {
        let centre = Arc::new(DataCentre::pair().neighbour("w1").client("c1").build()?);
        let dir = match &options.keep {
            None => Directory::Passing(tempfile::Builder::new().prefix("vip-bench-").tempdir()?),
            Some(keep) => {
                let dir = std::path::absolute(keep)?.join(name);
                std::fs::create_dir_all(&dir)?;
                Directory::Kept(dir)
            }
        };
        let bed = Self { centre, hosts: ("n1", "n2"), address: Ipv4Addr::new(10, 77, 0, 100), dir };
        for node in [bed.hosts.0, bed.hosts.1] {
            bed.serve(node)?;
        }
        Ok(bed)
    }

    fn serve(&self, node: &str) -> Result<(), Failure> {
        let mut command = Command::new(beside("vip-echo")?);
        command.args([node, &PORT.to_string()]).stdin(Stdio::null());
        let host = self.centre.host(node)?;
        host.spawn(command)?;
        let own = host.interface("lan0")?.v4;
        let end = Instant::now() + START;
        let client = self.client()?;
        while !client
            .run_in(|| TcpStream::connect_timeout(&(own, PORT).into(), Duration::from_secs(1)).is_ok())?
        {
            if Instant::now() > end {
                return Err(format!("the service on {node} does not listen after {START:?}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The host that the probe runs in.
    pub(super) fn client(&self) -> Result<Arc<Host>, Failure> {
        Ok(self.centre.host("c1")?)
    }

    /// Somebody else on the LAN.
    pub(super) fn bystander(&self) -> Result<Arc<Host>, Failure> {
        Ok(self.centre.host("w1")?)
    }

    /// Both nodes.
    pub(super) fn nodes(&self) -> Result<[Arc<Host>; 2], Failure> {
        Ok([self.centre.host(self.hosts.0)?, self.centre.host(self.hosts.1)?])
    }

    /// What the client connects to.
    pub(super) const fn target(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.address), PORT)
    }

    /// A file of this trial.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        match &self.dir {
            Directory::Passing(dir) => dir.path().join(name),
            Directory::Kept(dir) => dir.join(name),
        }
    }

    /// Where a node's output goes.
    pub(super) fn log(&self, node: &str) -> PathBuf {
        self.file(&format!("{node}.log"))
    }
}

/// A program in the directory of this one.
pub(super) fn beside(name: &str) -> Result<PathBuf, Failure> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        return Err(format!(
            "{} is missing; build it: cargo build --release -p ha-examples --bins",
            path.display()
        )
        .into());
    }
    Ok(path)
}
