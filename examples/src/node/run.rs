//! Puts the node together and lives its life.

use super::outside::Outside;
use super::sabotage::{NoExclusion, NoFence};
use super::sidecar::Sidecar;
use super::volatile::VolatileDisk;
use super::{
    ADDRESS, Disk, GROUP, MAIL, MIRROR_LINK, MirrorAddresses, NodeSettings, SIDECAR, Sabotage, control,
    events,
};
use crate::chassis::ChassisFence;
use crate::smtp::{Identity, MirrorStore, Service};
use ha_core::guardian::GuardianClient;
use ha_core::runtime::{BootClock, Node, RecordOptions};
use ha_core::store::{FileStateStore, medium::RealMedium};
use ha_core::wire::PairKey;
use ha_core::{GroupId, Incarnation, NodeId, TokenCell};
use ha_replication::{Limits, Mirror, MirrorConfig, MirrorId, OpenError};
use ha_vip::{Loopback, VirtualIp};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// What waiting clients hear when the address goes to the other node.
const FAREWELL: &str = "421 4.3.2 the service moves to the other node\r\n";

/// How long a stop waits for transactions in progress. With a live mirror they need a few milliseconds; with a cut one
/// they cannot end, and whoever takes over is kept waiting.
const DRAIN: Duration = Duration::from_millis(60);

/// What the operator's socket needs.
pub(super) struct Parts {
    pub(super) node: Arc<Node>,
    mirror: Mirror,
}

impl Parts {
    /// The mirror's state in words.
    pub(super) fn mirror_words(&self) -> String {
        let s = self.mirror.status();
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

pub(super) async fn run(settings: Arc<NodeSettings>, guardian: GuardianClient) -> Result<(), Box<dyn Error>> {
    // Before anything else, so that no stop is lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let state = Arc::new(RealMedium::create(settings.dir.join("state"))?);
    let store = FileStateStore::open(state)?;
    let backend = Arc::new(Loopback::new().with_farewell(FAREWELL));
    let address = VirtualIp::new(ADDRESS, settings.service.ip(), backend)?;
    let source = address.accept_source(settings.service.port())?;
    let who = Identity { node: settings.name().into(), incarnation: guardian.incarnation() };
    let key = PairKey::load(&settings.key)?;
    let token = TokenCell::new(GroupId(0));
    let mirror = open_mirror(&settings, guardian.incarnation(), token.clone(), key.clone())?;
    let mails = Arc::new(MirrorStore::new(mirror.clone(), who.clone()));
    let service = Service::new(MAIL, source, who, mails, Arc::new(BootClock))
        .with_limits(crate::smtp::Limits { drain: DRAIN, ..crate::smtp::Limits::default() });
    let data = match settings.sabotage {
        Some(Sabotage::NoExclusion) => Arc::new(NoExclusion::new(mirror.data_sync())),
        _ => mirror.data_sync(),
    };
    // What the engine is fed and why it decides: `replay` reads it, and a full disk costs only the record.
    let record = RecordOptions::new(Arc::new(RealMedium::create(&settings.dir)?));
    let mut outside = Outside::new(settings.outside).await?;
    let mut builder = Node::builder(Arc::new(settings.config.clone()), NodeId(settings.me))
        .key(key)
        .token(GROUP, token)
        .data(GROUP, data)
        .store(Box::new(store))
        .guardian(guardian)
        .record(record)
        .outside(outside.first().await)
        .resource(GROUP, Arc::new(address))
        .resource(GROUP, Arc::new(Sidecar::new(SIDECAR)))
        .resource(GROUP, Arc::new(service));
    for link in settings.links() {
        builder = builder.link(link);
    }
    builder = builder.link(mirror.evidence_link(MIRROR_LINK));
    if settings.config.fence.is_some() {
        builder = builder.fence(match settings.sabotage {
            Some(Sabotage::NoFence) => Arc::new(NoFence),
            _ => Arc::new(ChassisFence::new(settings.peer_bmc)),
        });
    }
    let node = Arc::new(builder.spawn().await?);
    let incarnation = node.status().borrow().incarnation.clone();
    tracing::info!(node = settings.name(), incarnation, "the node runs");
    let file = settings.dir.join("events.jsonl");
    let events = node.events();
    let recorder = tokio::spawn(async move { events::record(events, &file, incarnation).await });
    tokio::spawn(outside.watch(Arc::clone(&node)));
    control::open(&settings.control, Arc::new(Parts { node: Arc::clone(&node), mirror }))?;
    let ended = tokio::select! {
        ended = node.ended() => ended,
        _ = terminate.recv() => node.shutdown().await,
    };
    let _ = recorder.await;
    tracing::info!(%ended, "the node ended");
    Ok(())
}

/// This node's copy of the mail.
fn open_mirror(
    settings: &NodeSettings,
    incarnation: Incarnation,
    token: TokenCell,
    key: PairKey,
) -> Result<Mirror, OpenError> {
    let MirrorAddresses { listen, peer } = settings.mirror;
    // Acknowledgements that stop for longer than this are what the engine calls a stall.
    let silence = settings.config.timing.mirror_stall;
    let limits = Limits { silence, keepalive: silence / 3, ..Limits::default() };
    let mirror = MirrorId::from_name(&settings.config.cluster);
    let dir = settings.dir.join("mirror");
    let config = MirrorConfig::new(dir, mirror, NodeId(settings.me), incarnation, listen, peer, token)
        .with_key(key)
        .with_limits(limits);
    let config = match settings.sabotage {
        Some(Sabotage::NoFsyncWait) => config.with_sabotage(ha_replication::Sabotage::NoFsyncWait),
        _ => config,
    };
    match settings.disk {
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
