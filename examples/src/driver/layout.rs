//! Where everything of a run is: addresses of its own block of 127.0.0.0/8, directories, files, configuration.

use super::options::Options;
use crate::chassis::{ChassisConfig, FenceMode};
use crate::node::{
    ADDRESS, Data, Disk, GROUP, MAIL, MIRROR_LINK, MirrorAddresses, Mode, NodeSettings, SIDECAR, Sabotage,
    SharedPlace,
};
use crate::relay::{DatagramPath, OutsidePath, RelayConfig, StreamPath};
use ha_core::config::{
    ArbiterConfig, ArbiterKind, Config, FenceConfig, GroupConfig, GroupPolicy, LinkConfig, OutsidePolicy,
    ResourceConfig, TimingConfig,
};
use ha_core::store::{FileStateStore, medium::RealMedium};
use ha_core::{InitId, StoreId};
use ha_heartbeat::LinkAddress;
use ha_storage_shared::{AcceptStaleReads, DiskArbiter, DiskError, Initialisation};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The nodes' names.
pub(crate) const NODES: [&str; 2] = ["n1", "n2"];
/// The datagram links.
pub(crate) const DATAGRAMS: [&str; 2] = ["udp0", "udp1"];
/// The serial link.
pub(crate) const SERIAL: &str = "serial";
const BAUD: u32 = 115_200;
/// All ports of a run; below the range from which the kernel takes ports by itself.
const LOCK_PORT: u16 = 24_990;
const UDP_PORT: u16 = 24_900;
const MIRROR_PORT: u16 = 24_920;
const BMC_PORT: u16 = 24_930;
const OUTSIDE_PORT: u16 = 24_940;
pub(crate) const SMTP_PORT: u16 = 2525;
/// The longest path of a unix socket that the kernel takes.
const SOCKET_PATH_BYTES: usize = 107;

/// How long the mirror's stream may be silent before the live peer is asked for its consent.
const MIRROR_STALL: Duration = Duration::from_millis(100);

/// The owner's lease on the shared disk. Nothing rests on its end here (no host's pauses are trusted): it is how long the
/// disk's word that the owner lives counts. The renewals, a fifth of it apart, are when an owner that was replaced
/// behind its back learns of it.
const LEASE: Duration = Duration::from_secs(3);
/// How long one answer of the disk may take.
const DISK_ANSWER: Duration = Duration::from_millis(200);
/// How long the other node must reach more of the outside before the mail moves there. Mail goes on meanwhile.
const OUTSIDE_HOLD_OFF: Duration = Duration::from_millis(200);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The place of one run. Its block of addresses is taken for as long as this lives.
pub(crate) struct Layout {
    pub(crate) dir: PathBuf,
    block: [u8; 2],
    pub(crate) config: Config,
    pub(crate) mode: Mode,
    init: InitId,
    /// The one store, in shared mode.
    shared: Option<SharedPlace>,
    sabotage: Option<Sabotage>,
    disk: Disk,
    _taken: TcpListener,
}

impl Layout {
    pub(crate) fn new(options: &Options, dir: &Path) -> io::Result<Self> {
        let dir = fs::canonicalize(dir)?;
        let longest = dir.join("relay.sock");
        if longest.as_os_str().len() > SOCKET_PATH_BYTES {
            let text = format!("{} is too long for a unix socket; choose a shorter --dir", longest.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let (block, taken) = free_block()?;
        let (mode, init) = (options.mode, InitId(u128::from_le_bytes(random()?)));
        let shared = match mode {
            Mode::Mirror => None,
            Mode::Shared => Some(make_shared(&dir.join("shared"), init)?),
        };
        let (sabotage, disk) = (options.sabotage, options.disk());
        Ok(Self { dir, block, config: pair(mode), mode, init, shared, sabotage, disk, _taken: taken })
    }

    /// What is worth knowing about the arbiter's file.
    pub(crate) fn notice(&self) -> Option<String> {
        let place = self.shared.as_ref().filter(|place| !place.direct)?;
        Some(format!(
            "{} gives no direct I/O: both nodes read this machine's one page cache, which only one machine has",
            place.arbiter.display()
        ))
    }

    fn at(&self, host: u8, port: u16) -> SocketAddr {
        SocketAddr::new(address(self.block, host), port)
    }

    fn node_at(&self, node: usize, port: u16) -> SocketAddr {
        self.at(if node == 0 { 1 } else { 2 }, port)
    }

    /// A socket of the relay that serves node `node`.
    fn relay_at(&self, node: usize, port: u16) -> SocketAddr {
        self.at(if node == 0 { 11 } else { 12 }, port)
    }

    /// Where clients deliver.
    pub(crate) fn service(&self) -> SocketAddr {
        self.at(100, SMTP_PORT)
    }

    /// Where the driver echoes for the outside.
    pub(crate) fn echo(&self) -> SocketAddr {
        self.at(20, OUTSIDE_PORT)
    }

    pub(crate) fn node_dir(&self, node: usize) -> PathBuf {
        self.dir.join(NODES[node])
    }

    pub(crate) fn node_control(&self, node: usize) -> PathBuf {
        self.dir.join(format!("{}.sock", NODES[node]))
    }

    pub(crate) fn events(&self, node: usize) -> PathBuf {
        self.node_dir(node).join("events.jsonl")
    }

    /// The mail that a node stores, as readers see it: in shared mode the same for both.
    pub(crate) fn tree(&self, node: usize) -> PathBuf {
        match &self.shared {
            Some(place) => place.store.clone(),
            None => self.node_dir(node).join("mirror").join("root"),
        }
    }

    pub(crate) fn relay(&self) -> RelayConfig {
        let udp = (0u16..).zip(DATAGRAMS).map(|(n, name)| DatagramPath {
            name: name.into(),
            from: [self.relay_at(0, UDP_PORT + n), self.relay_at(1, UDP_PORT + n)],
            to: [self.node_at(0, UDP_PORT + n), self.node_at(1, UDP_PORT + n)],
        });
        RelayConfig {
            control: self.dir.join("relay.sock"),
            udp: udp.collect(),
            stream: StreamPath {
                name: MIRROR_LINK.into(),
                listen: self.relay_at(1, MIRROR_PORT),
                answers: self.node_at(0, MIRROR_PORT),
            },
            outside: OutsidePath {
                from: [self.relay_at(0, OUTSIDE_PORT), self.relay_at(1, OUTSIDE_PORT)],
                echo: self.echo(),
            },
        }
    }

    pub(crate) fn chassis(&self, node: usize, mode: FenceMode) -> ChassisConfig {
        let dir = self.node_dir(node);
        let fence = self.config.fence.as_ref().map_or(Duration::ZERO, |f| f.timeout);
        ChassisConfig {
            node: NODES[node].into(),
            command: vec!["__node".into(), dir.join("settings.json").display().to_string()],
            log: dir.join("node.log"),
            bmc: self.node_at(node, BMC_PORT),
            control: self.dir.join(format!("{}.power", NODES[node])),
            mode,
            slow_ms: u64::try_from(fence.as_millis()).unwrap_or(0) * 6 / 10,
        }
    }

    /// Makes the directories, the key, both stores with one common id, and the settings of both nodes.
    pub(crate) fn install(&self, ttys: &[PathBuf; 2]) -> io::Result<()> {
        let mut key = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.key())?;
        key.write_all(&random::<32>()?)?;
        for (node, tty) in ttys.iter().enumerate() {
            let dir = self.node_dir(node);
            fs::create_dir_all(dir.join("state"))?;
            let store = StoreId(u128::from_le_bytes(random()?));
            let medium = Arc::new(RealMedium::create(dir.join("state"))?);
            drop(FileStateStore::initialise(medium, self.init, store).map_err(io::Error::other)?);
            let settings = serde_json::to_string_pretty(&self.settings(node, tty))?;
            fs::write(dir.join("settings.json"), settings)?;
        }
        Ok(())
    }

    fn key(&self) -> PathBuf {
        self.dir.join("pair.key")
    }

    fn settings(&self, node: usize, tty: &Path) -> NodeSettings {
        let udp = (0u16..).zip(DATAGRAMS).map(|(n, _)| LinkAddress::Udp {
            bind: self.node_at(node, UDP_PORT + n),
            peer: self.relay_at(node, UDP_PORT + n),
        });
        let serial = LinkAddress::Serial { path: tty.into(), baud: BAUD };
        NodeSettings {
            me: u8::try_from(node).unwrap_or(0),
            config: self.config.clone(),
            dir: self.node_dir(node),
            key: self.key(),
            links: udp.chain([serial]).collect(),
            data: self.data(node),
            service: self.service(),
            control: self.node_control(node),
            peer_bmc: self.node_at(1 - node, BMC_PORT),
            outside: self.relay_at(node, OUTSIDE_PORT),
            sabotage: self.sabotage,
        }
    }

    fn data(&self, node: usize) -> Data {
        if let Some(place) = &self.shared {
            return Data::Shared(place.clone());
        }
        let addresses =
            MirrorAddresses { listen: self.node_at(node, MIRROR_PORT), peer: self.relay_at(1, MIRROR_PORT) };
        Data::Mirror { addresses, disk: self.disk }
    }
}

/// Makes the one store's directory, and the arbiter's file beside it: past the page cache where that is possible.
fn make_shared(dir: &Path, init: InitId) -> io::Result<SharedPlace> {
    fs::create_dir_all(dir)?;
    let arbiter = dir.join("arbiter");
    let wanted = Initialisation::new(init, [GROUP]);
    let direct = match DiskArbiter::initialise(&arbiter, &wanted) {
        Ok(()) => true,
        Err(DiskError::NoDirectIo { .. }) => {
            let buffered = wanted.overwrite().buffered(AcceptStaleReads);
            DiskArbiter::initialise(&arbiter, &buffered).map_err(io::Error::other)?;
            false
        }
        Err(error) => return Err(io::Error::other(error)),
    };
    Ok(SharedPlace { store: dir.join("mail"), arbiter, init, direct })
}

/// The pair's configuration, the same on both nodes.
fn pair(mode: Mode) -> Config {
    let mail = GroupConfig::new(GROUP)
        .then(ResourceConfig::new(ADDRESS))
        .then(ResourceConfig::new(SIDECAR))
        .then(ResourceConfig::new(MAIL));
    let config = Config::pair("mail-pair", NODES[0], NODES[1])
        .link(LinkConfig::datagram(DATAGRAMS[0], ms(20), ms(200)))
        .link(LinkConfig::datagram(DATAGRAMS[1], ms(20), ms(200)))
        .link(LinkConfig::serial(SERIAL, ms(40), ms(250), BAUD))
        .fence(FenceConfig::new(ms(200)));
    let config = match mode {
        Mode::Mirror => {
            config.link(LinkConfig::evidence(MIRROR_LINK, ms(60), ms(250))).group(mail.mirrored())
        }
        Mode::Shared => {
            let outside = OutsidePolicy::new(1, OUTSIDE_HOLD_OFF);
            let mut mail = mail.shared();
            mail.policy = GroupPolicy::default().with_outside(Some(outside));
            let disk = ArbiterConfig::new(ArbiterKind::Disk, LEASE).with_answer_timeout(DISK_ANSWER);
            config.group(mail).arbiter(disk)
        }
    };
    let timing = TimingConfig::for_links(&config.links, config.fence.as_ref());
    config.timing(timing.with_mirror_stall(MIRROR_STALL))
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

pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_proven_safe() {
        for mode in [Mode::Mirror, Mode::Shared] {
            let proof = ha_core::timing::prove(&pair(mode)).unwrap();
            assert!(proof.outages.iter().all(|o| o.total.is_some()), "{mode:?}: {proof}");
        }
    }

    #[test]
    fn the_configuration_of_shared_mode_holds_under_random_faults() {
        let found = ha_core::sim::Cluster::from_config(pair(Mode::Shared)).run(0..150).unwrap();
        assert!(found.is_sound() && found.faults > 1000, "{found}");
    }

    #[test]
    fn two_runs_do_not_meet() {
        let (first, _held) = free_block().unwrap();
        assert!(take(first).is_err());
        let (second, _held) = free_block().unwrap();
        assert_ne!(first, second);
    }
}
