//! Puts the node together and lives its life.

use super::outside::Outside;
use super::sidecar::Sidecar;
use super::{ADDRESS, GROUP, MAIL, NodeSettings, SIDECAR, control, events};
use crate::chassis::ChassisFence;
use crate::smtp::{Identity, LocalMaildir, MessageStore, Service};
use ha_core::NodeId;
use ha_core::guardian::GuardianClient;
use ha_core::runtime::{BootClock, Node};
use ha_core::store::{FileStateStore, medium::RealMedium};
use ha_core::wire::PairKey;
use ha_vip::{Loopback, VirtualIp};
use std::error::Error;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// What waiting clients hear when the address goes to the other node.
const FAREWELL: &str = "421 4.3.2 the service moves to the other node\r\n";

/// What the operator's socket needs.
pub(super) struct Parts {
    pub(super) node: Arc<Node>,
}

impl Parts {
    /// The mirror's state in words.
    pub(super) fn mirror_words(&self) -> String {
        String::new()
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
    let mails = shared_maildir(&settings, &who)?;
    let service = Service::new(MAIL, source, who, mails, Arc::new(BootClock));
    let mut outside = Outside::new(settings.outside).await?;
    let mut builder = Node::builder(Arc::new(settings.config.clone()), NodeId(settings.me))
        .key(PairKey::load(&settings.key)?)
        .store(Box::new(store))
        .guardian(guardian)
        .outside(outside.first().await)
        .resource(GROUP, Arc::new(address))
        .resource(GROUP, Arc::new(Sidecar::new(SIDECAR)))
        .resource(GROUP, Arc::new(service));
    for link in settings.links() {
        builder = builder.link(link);
    }
    if settings.config.fence.is_some() {
        builder = builder.fence(Arc::new(ChassisFence::new(settings.peer_bmc)));
    }
    let node = Arc::new(builder.spawn().await?);
    let incarnation = node.status().borrow().incarnation.clone();
    tracing::info!(node = settings.name(), incarnation, "the node runs");
    let file = settings.dir.join("events.jsonl");
    let events = node.events();
    let recorder = tokio::spawn(async move { events::record(events, &file, incarnation).await });
    tokio::spawn(outside.watch(Arc::clone(&node)));
    control::open(&settings.control, Arc::new(Parts { node: Arc::clone(&node) }))?;
    let ended = tokio::select! {
        ended = node.ended() => ended,
        _ = terminate.recv() => node.shutdown().await,
    };
    let _ = recorder.await;
    tracing::info!(%ended, "the node ended");
    Ok(())
}

/// One Maildir that both nodes see, as on a shared disk.
fn shared_maildir(settings: &NodeSettings, who: &Identity) -> Result<Arc<dyn MessageStore>, Box<dyn Error>> {
    let shared = settings.dir.parent().unwrap_or(&settings.dir).join("shared");
    Ok(Arc::new(LocalMaildir::open(shared, who.clone())?))
}
