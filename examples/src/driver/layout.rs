//! Where everything of a run is: network, directories, files, configuration.

use super::network::{DATAGRAMS, Network, SERIAL};
use super::options::Options;
use crate::chassis::{ChassisConfig, FenceMode};
use crate::node::{
    ADDRESS, Data, Disk, GROUP, MAIL, MIRROR_LINK, Mode, NodeSettings, SIDECAR, Sabotage, SharedPlace,
};
use crate::relay::RelayConfig;
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
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The nodes' names.
pub(crate) const NODES: [&str; 2] = ["n1", "n2"];
const BAUD: u32 = 115_200;
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

/// The place of one run.
pub(crate) struct Layout {
    pub(crate) dir: PathBuf,
    pub(crate) network: Network,
    pub(crate) config: Config,
    pub(crate) mode: Mode,
    init: InitId,
    /// The one store, in shared mode.
    shared: Option<SharedPlace>,
    sabotage: Option<Sabotage>,
    disk: Disk,
}

impl Layout {
    pub(crate) fn new(options: &Options, dir: &Path, network: Network) -> io::Result<Self> {
        let dir = fs::canonicalize(dir)?;
        let longest = dir.join("relay.sock");
        if longest.as_os_str().len() > SOCKET_PATH_BYTES {
            let text = format!("{} is too long for a unix socket; choose a shorter --dir", longest.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let (mode, init) = (options.mode, InitId(u128::from_le_bytes(random()?)));
        let shared = match mode {
            Mode::Mirror => None,
            Mode::Shared => Some(make_shared(&dir.join("shared"), init)?),
        };
        let (sabotage, disk) = (options.sabotage, options.disk());
        let lifetime = network.interface().map_or(Duration::ZERO, |(_, lifetime)| lifetime);
        Ok(Self { dir, network, config: pair(mode, lifetime), mode, init, shared, sabotage, disk })
    }

    /// What is worth knowing about the arbiter's file.
    pub(crate) fn notice(&self) -> Option<String> {
        let place = self.shared.as_ref().filter(|place| !place.direct)?;
        Some(format!(
            "{} gives no direct I/O: both nodes read this machine's one page cache, which only one machine has",
            place.arbiter.display()
        ))
    }

    /// Where clients deliver.
    pub(crate) fn service(&self) -> SocketAddr {
        self.network.service()
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
        self.network.relay(&self.dir.join("relay.sock"))
    }

    pub(crate) fn chassis(&self, node: usize, mode: FenceMode) -> ChassisConfig {
        let dir = self.node_dir(node);
        let fence = self.config.fence.as_ref().map_or(Duration::ZERO, |f| f.timeout);
        ChassisConfig {
            node: NODES[node].into(),
            command: vec!["__node".into(), dir.join("settings.json").display().to_string()],
            log: dir.join("node.log"),
            bmc: self.network.bmc(node, &self.dir),
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
        let serial = LinkAddress::Serial { path: tty.into(), baud: BAUD };
        NodeSettings {
            me: u8::try_from(node).unwrap_or(0),
            config: self.config.clone(),
            dir: self.node_dir(node),
            key: self.key(),
            links: self.network.links(node).into_iter().chain([serial]).collect(),
            data: self.data(node),
            service: self.service(),
            interface: self.network.interface().map(|(address, _)| address),
            control: self.node_control(node),
            peer_bmc: self.network.bmc(1 - node, &self.dir),
            outside: self.network.outside(node),
            sabotage: self.sabotage,
        }
    }

    fn data(&self, node: usize) -> Data {
        if let Some(place) = &self.shared {
            return Data::Shared(place.clone());
        }
        Data::Mirror { addresses: self.network.mirror(node), disk: self.disk }
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

/// The pair's configuration, the same on both nodes. `lifetime` is the service address's own, where it has one.
fn pair(mode: Mode, lifetime: Duration) -> Config {
    let mail = GroupConfig::new(GROUP)
        .with_address_lifetime(lifetime)
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
            let [without, with] = [Duration::ZERO, ms(2000)].map(|lifetime| {
                let proof = ha_core::timing::prove(&pair(mode, lifetime)).unwrap();
                assert!(proof.outages.iter().all(|o| o.total.is_some()), "{mode:?}: {proof}");
                proof
            });
            // The device ends a node with its addresses: nobody waits for them.
            assert_eq!(without.outages, with.outages);
        }
    }

    #[test]
    fn the_configuration_of_shared_mode_holds_under_random_faults() {
        let found =
            ha_core::sim::Cluster::from_config(pair(Mode::Shared, Duration::ZERO)).run(0..150).unwrap();
        assert!(found.is_sound() && found.faults > 1000, "{found}");
    }
}
