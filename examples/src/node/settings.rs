//! What the driver tells a node.

use crate::chassis::BmcPlace;
use ha_core::InitId;
use ha_core::api::LinkFactory;
use ha_core::config::Config;
use ha_heartbeat::{LinkAddress, SerialLink};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The group of the demonstration.
pub(crate) const GROUP: &str = "mail";
/// Its resources, in the order of their start.
pub(crate) const ADDRESS: &str = "address";
pub(crate) const SIDECAR: &str = "sidecar";
pub(crate) const MAIL: &str = "smtp";
/// The link inside the mirror's stream.
pub(crate) const MIRROR_LINK: &str = "mirror";

/// Where the mail is kept, and who decides about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A copy on each node; the pair decides.
    #[default]
    Mirror,
    /// One store that both nodes reach; an arbiter on its disk decides.
    Shared,
}

impl Mode {
    /// Its name on the command line and in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Mirror => "mirror",
            Self::Shared => "shared",
        }
    }
}

/// Which promise is broken on purpose, to see the checks fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Sabotage {
    /// Takes over without a proof that the other stopped.
    NoFence,
    /// Acknowledges alone without a proof that the other copy is excluded.
    NoExclusion,
    /// Acknowledges before the journal is durable.
    NoFsyncWait,
}

/// What a power loss takes from a node's journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Disk {
    /// Nothing that was written: a killed process leaves its page cache to the machine.
    #[default]
    Cached,
    /// Everything that was not synced. A sync takes 17 ms, as on a turning disk; the pause limits assume a quicker one.
    Volatile,
}

/// Everything that one node needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeSettings {
    /// Its place in the configuration.
    pub(crate) me: u8,
    /// The pair's configuration, the same on both nodes.
    pub(crate) config: Config,
    /// Where everything of this node lives.
    pub(crate) dir: PathBuf,
    /// The pair's key.
    pub(crate) key: PathBuf,
    /// Where the heartbeat links run, in the configured order; the mirror's own is not among them.
    pub(crate) links: Vec<LinkAddress>,
    /// Where the mail is kept.
    pub(crate) data: Data,
    /// Where clients deliver mail.
    pub(crate) service: SocketAddr,
    /// The interface that the service address comes and goes on, such as `10.77.0.100/24@lan0`; none: it is one of
    /// 127.0.0.0/8, which are always there.
    pub(crate) interface: Option<String>,
    /// The operator's socket.
    pub(crate) control: PathBuf,
    /// The board controller of the peer's chassis.
    pub(crate) peer_bmc: BmcPlace,
    /// How it is found out whether the outside is reachable.
    pub(crate) outside: OutsideProbe,
    /// What is broken on purpose.
    pub(crate) sabotage: Option<Sabotage>,
}

/// An echo, and the address from which it is asked.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutsideProbe {
    pub(crate) from: IpAddr,
    pub(crate) echo: SocketAddr,
}

/// Where the mail is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Data {
    /// A copy on each node.
    Mirror {
        /// Where the stream between them runs.
        addresses: MirrorAddresses,
        /// What a power loss takes from the journal.
        disk: Disk,
    },
    /// One store for both.
    Shared(SharedPlace),
}

/// The one store, and the arbiter beside it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SharedPlace {
    /// The Maildir.
    pub(crate) store: PathBuf,
    /// The arbiter's file.
    pub(crate) arbiter: PathBuf,
    /// The installation that it belongs to.
    pub(crate) init: InitId,
    /// Whether the file is used past the page cache. Without direct I/O both nodes of this one machine read one cache.
    pub(crate) direct: bool,
}

/// Where the mirror's stream runs on one node.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MirrorAddresses {
    pub(crate) listen: SocketAddr,
    pub(crate) peer: SocketAddr,
}

impl NodeSettings {
    /// Reads them.
    pub(crate) fn load(file: &Path) -> io::Result<Self> {
        let failed = |e: io::Error| io::Error::new(e.kind(), format!("settings {}: {e}", file.display()));
        let text = std::fs::read_to_string(file).map_err(failed)?;
        serde_json::from_str(&text).map_err(|e| failed(e.into()))
    }

    /// The heartbeat links, for the node and for its guardian.
    pub(crate) fn links(&self) -> Vec<Arc<dyn LinkFactory>> {
        self.config
            .links
            .iter()
            .zip(&self.links)
            .map(|(link, address)| {
                let factory: Arc<dyn LinkFactory> = match address {
                    // A beat may wait one interval behind others: then the next one is due.
                    LinkAddress::Serial { path, baud } => {
                        Arc::new(SerialLink::new(&link.name, path, *baud).waiting(link.interval))
                    }
                    other => Arc::from(other.factory(&link.name)),
                };
                factory
            })
            .collect()
    }

    /// This node's name.
    pub(crate) fn name(&self) -> &str {
        self.config.nodes.get(usize::from(self.me)).map_or("?", |node| &node.name)
    }
}
