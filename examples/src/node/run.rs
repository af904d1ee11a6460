//! Puts the node together and lives its life.

use super::data::Keeper;
use super::outside::Outside;
use super::sabotage::NoFence;
use super::sidecar::Sidecar;
use super::{GROUP, MAIL, NodeSettings, SIDECAR, Sabotage, address, control, events};
use crate::chassis::ChassisFence;
use crate::smtp::{Identity, Service};
use ha_core::guardian::GuardianClient;
use ha_core::runtime::{BootClock, Node, RecordOptions};
use ha_core::store::{FileStateStore, medium::RealMedium};
use ha_core::wire::PairKey;
use ha_core::{GroupId, NodeId, TokenCell};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long a stop waits for transactions in progress. With a live mirror they need a few milliseconds; with a cut one
/// they cannot end, and whoever takes over is kept waiting.
const DRAIN: Duration = Duration::from_millis(60);

/// What the operator's socket needs.
pub(super) struct Parts {
    pub(super) node: Arc<Node>,
    pub(super) data: Keeper,
}

pub(super) async fn run(settings: Arc<NodeSettings>, guardian: GuardianClient) -> Result<(), Box<dyn Error>> {
    // Before anything else, so that no stop is lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let state = Arc::new(RealMedium::create(settings.dir.join("state"))?);
    let store = FileStateStore::open(state)?;
    let address = address::open(&settings)?;
    let source = address.accept_source(settings.service.port())?;
    let who = Identity { node: settings.name().into(), incarnation: guardian.incarnation() };
    let key = PairKey::load(&settings.key)?;
    let token = TokenCell::new(GroupId(0));
    let data = Keeper::open(&settings, &who, token.clone(), key.clone())?;
    let mails = data.messages(who.clone());
    let service = Service::new(MAIL, source, who, mails, Arc::new(BootClock))
        .with_limits(crate::smtp::Limits { drain: DRAIN, ..crate::smtp::Limits::default() });
    // What the engine is fed and why it decides: `replay` reads it, and a full disk costs only the record.
    let record = RecordOptions::new(Arc::new(RealMedium::create(&settings.dir)?));
    let mut outside = Outside::new(settings.outside).await?;
    let mut builder = Node::builder(Arc::new(settings.config.clone()), NodeId(settings.me))
        .key(key)
        .token(GROUP, token)
        .store(Box::new(store))
        .guardian(guardian)
        .record(record)
        .outside(outside.first().await)
        .resource(GROUP, Arc::new(address.clone()))
        .resource(GROUP, Arc::new(Sidecar::new(SIDECAR)))
        .resource(GROUP, Arc::new(service));
    for link in settings.links() {
        builder = builder.link(link);
    }
    builder = data.join(builder, settings.sabotage);
    if settings.config.fence.is_some() {
        builder = builder.fence(match settings.sabotage {
            Some(Sabotage::NoFence) => Arc::new(NoFence),
            _ => Arc::new(ChassisFence::new(settings.peer_bmc.clone())),
        });
    }
    let node = Arc::new(builder.spawn().await?);
    let incarnation = node.status().borrow().incarnation.clone();
    tracing::info!(node = settings.name(), incarnation, "the node runs");
    let file = settings.dir.join("events.jsonl");
    let events = node.events();
    let recorder = tokio::spawn(async move { events::record(events, &file, incarnation, &address).await });
    tokio::spawn(outside.watch(Arc::clone(&node)));
    control::open(&settings.control, Arc::new(Parts { node: Arc::clone(&node), data }))?;
    let ended = tokio::select! {
        ended = node.ended() => ended,
        _ = terminate.recv() => node.shutdown().await,
    };
    let _ = recorder.await;
    tracing::info!(%ended, "the node ended");
    Ok(())
}
