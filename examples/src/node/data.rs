//! Where this node keeps the mail: its copy of the mirror, or the store that both nodes share.

use super::sabotage::NoExclusion;
use super::volatile::VolatileDisk;
use super::{Data, Disk, GROUP, MIRROR_LINK, MirrorAddresses, NodeSettings, Sabotage, SharedPlace};
use crate::smtp::{Identity, LocalMaildir, MessageStore, MirrorStore};
use ha_core::runtime::NodeBuilder;
use ha_core::store::medium::RealMedium;
use ha_core::wire::PairKey;
use ha_core::{NodeId, TokenCell};
use ha_replication::{Limits, Mirror, MirrorConfig, MirrorId, OpenError};
use ha_storage_shared::{AcceptStaleReads, DiskArbiter};
use std::error::Error;
use std::sync::Arc;

/// The data of the mail group, opened.
pub(super) enum Keeper {
    /// A copy of its own.
    Mirror(Mirror),
    /// The one store, and the disk that says whose it is.
    Shared { store: LocalMaildir, arbiter: Arc<DiskArbiter>, words: String },
}

impl Keeper {
    /// Opens what the settings name. Blocking.
    pub(super) fn open(
        settings: &NodeSettings,
        who: &Identity,
        token: TokenCell,
        key: PairKey,
    ) -> Result<Self, Box<dyn Error>> {
        match &settings.data {
            Data::Mirror { addresses, disk } => {
                Ok(Self::Mirror(open_mirror(settings, who, *addresses, *disk, token, key)?))
            }
            Data::Shared(place) => {
                let store = LocalMaildir::open(&place.store, who.clone())?;
                let arbiter = Arc::new(open_arbiter(settings, place)?);
                let words = format!("shared in {}", place.store.display());
                Ok(Self::Shared { store, arbiter, words })
            }
        }
    }

    /// Where the mail server delivers.
    pub(super) fn messages(&self, who: Identity) -> Arc<dyn MessageStore> {
        match self {
            Self::Mirror(mirror) => Arc::new(MirrorStore::new(mirror.clone(), who)),
            Self::Shared { store, .. } => Arc::new(store.clone()),
        }
    }

    /// Makes it the group's data. After the other links: the mirror's own is the last one configured.
    pub(super) fn join(&self, node: NodeBuilder, sabotage: Option<Sabotage>) -> NodeBuilder {
        match (self, sabotage) {
            (Self::Shared { arbiter, .. }, _) => node.arbiter(Arc::clone(arbiter) as _),
            (Self::Mirror(mirror), Some(Sabotage::NoExclusion)) => node
                .data(GROUP, Arc::new(NoExclusion::new(mirror.data_sync())))
                .link(mirror.evidence_link(MIRROR_LINK)),
            (Self::Mirror(mirror), _) => {
                node.data(GROUP, mirror.data_sync()).link(mirror.evidence_link(MIRROR_LINK))
            }
        }
    }

    /// Its state in words.
    pub(super) fn words(&self) -> String {
        let s = match self {
            Self::Mirror(mirror) => mirror.status(),
            Self::Shared { words, .. } => return words.clone(),
        };
        format!(
            "{} epoch {:?} durable {} peer {:?} commit {} applied {} session {} current {} refusal {:?} quarantine {:?}",
            s.role,
            s.epoch,
            s.durable,
            s.peer,
            s.commit,
            s.applied,
            s.session,
            s.current,
            s.last_refusal,
            s.last_quarantine
        )
    }
}

/// This node's use of the arbiter on the shared disk.
fn open_arbiter(settings: &NodeSettings, place: &SharedPlace) -> Result<DiskArbiter, Box<dyn Error>> {
    let config = settings.config.arbiter.as_ref().ok_or("shared data without an [arbiter]")?;
    let builder = DiskArbiter::builder(&place.arbiter, NodeId(settings.me), place.init)
        .lease(config.lease)
        .deadline(config.answer_timeout);
    // One machine has one page cache: what is risked with two does not arise here.
    let builder = if place.direct { builder } else { builder.buffered(AcceptStaleReads) };
    Ok(builder.open()?)
}

/// This node's copy of the mail.
fn open_mirror(
    settings: &NodeSettings,
    who: &Identity,
    MirrorAddresses { listen, peer }: MirrorAddresses,
    disk: Disk,
    token: TokenCell,
    key: PairKey,
) -> Result<Mirror, OpenError> {
    // Acknowledgements that stop for longer than this are what the engine calls a stall.
    let silence = settings.config.timing.mirror_stall;
    let limits = Limits { silence, keepalive: silence / 3, ..Limits::default() };
    let mirror = MirrorId::from_name(&settings.config.cluster);
    let dir = settings.dir.join("mirror");
    let config = MirrorConfig::new(dir, mirror, NodeId(settings.me), who.incarnation, listen, peer, token)
        .with_key(key)
        .with_limits(limits);
    let config = match settings.sabotage {
        Some(Sabotage::NoFsyncWait) => config.with_sabotage(ha_replication::Sabotage::NoFsyncWait),
        _ => config,
    };
    match disk {
        Disk::Cached => Mirror::open(config),
        Disk::Volatile => {
            let failed = |source| OpenError::Io { place: config.dir.display().to_string(), source };
            let real = RealMedium::create(&config.dir).map_err(failed)?;
            let log = settings.dir.join("unsynced.log");
            let disk = VolatileDisk::after_power_loss(real, &log).map_err(failed)?;
            Mirror::open_on(Arc::new(disk), config)
        }
    }
}
