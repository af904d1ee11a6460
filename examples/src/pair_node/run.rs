//! The node's life.

use super::address::joint_name;
use super::control::{self, Asked};
use super::options::RunOptions;
use super::plan::{Plan, service_name};
use super::unguarded::Note;
use super::{Failure, GROUP, key, lease};
use crate::log::Log;
use ha_core::agent::{CommandFence, CommandService};
use ha_core::api::Resource;
use ha_core::guardian::{Entered, GuardianClient, GuardianConfig, enter};
use ha_core::runtime::{Ended, EventItem, EventReport, EventStream, Node, NodeBuilder, RecordOptions};
use ha_core::store::{FileStateStore, STATE_FILE, medium::RealMedium};
use ha_core::wire::PairKey;
use ha_core::{InitId, StoreId};
use ha_vip::{Loopback, VirtualIp};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// How long what still runs may hold up the end of the process, after everything was handed over.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Everything that may be refused is, before there is a second process or thread.
pub(super) fn main(options: &RunOptions) -> Result<ExitCode, Failure> {
    let plan = Plan::of(options).map_err(Failure::flags)?;
    let filter = EnvFilter::try_new(&options.log).map_err(|error| {
        Failure::flags(format!(
            "--log {:?}: {error}; expected error, warn, info, debug or trace",
            options.log
        ))
    })?;
    let key = key::load(&options.key_file)?;
    make_state_dir(&options.state_dir)?;
    let guardian = if options.no_guardian { None } else { Some(guarded(options, &plan)?) };
    let log = Log::start().map_err(Failure::failed)?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(move || log.clone())
        .init();
    for notice in &plan.proof.notices {
        tracing::warn!("{notice}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(Failure::failed)?;
    let life = Life { options, plan: Arc::new(plan), key, guardian };
    let ended = runtime.block_on(life.live());
    runtime.shutdown_timeout(LAST_WAIT);
    match ended? {
        Ended::Departed => Ok(ExitCode::SUCCESS),
        other => Err(Failure::failed(format!("the node ended: {other}"))),
    }
}

fn make_state_dir(dir: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
        let dir = dir.display();
        Failure::failed(format!(
            "--state-dir {dir}: {error}; expected a directory that this user can make or write to"
        ))
    })
}

/// Only the child comes back from here, and it is still single-threaded.
fn guarded(options: &RunOptions, plan: &Plan) -> Result<GuardianClient, Failure> {
    let mut config = GuardianConfig::new(options.state_dir.join("guardian"))
        .feed_limit(plan.config.timing.feed_limit)
        .links(plan.factories());
    for handler in ha_vip::undo_handlers() {
        config = config.handler(handler.kind, handler.undo, handler.verify);
    }
    let Entered::Child(guardian) = enter(config).map_err(Failure::failed)?;
    Ok(guardian)
}

type Resources = Vec<Arc<dyn Resource>>;

struct Life<'a> {
    options: &'a RunOptions,
    plan: Arc<Plan>,
    key: PairKey,
    guardian: Option<GuardianClient>,
}

impl Life<'_> {
    async fn live(self) -> Result<Ended, Failure> {
        // Before anything else, so that no stop is lost.
        let mut stops = Stops::new().map_err(Failure::failed)?;
        let (node, address) = tokio::select! {
            started = self.start() => started?,
            () = stops.next() => return Ok(Ended::Departed),
        };
        let node = Arc::new(node);
        let incarnation = node.status().borrow().incarnation.clone();
        tracing::info!(node = self.options.name, incarnation, "the node runs");
        let told = tokio::spawn(tell(node.events(), address));
        let asked = Asked { node: Arc::clone(&node), plan: Arc::clone(&self.plan) };
        let opened = control::open(&self.options.control, Arc::new(asked));
        let ended = match &opened {
            Err(_) => node.shutdown().await,
            Ok(()) => tokio::select! {
                ended = node.ended() => ended,
                () = stops.next() => node.shutdown().await,
            },
        };
        let _ = told.await;
        tracing::info!(%ended, "the node ended");
        if self.guardian.is_none() && ended == Ended::Departed {
            // Without the note the next life is only more careful.
            let noted = Note::of(&self.options.state_dir).and_then(|note| note.end());
            noted.unwrap_or_else(|error| tracing::warn!(%error, "the orderly end was not noted"));
        }
        opened.map(|()| ended)
    }

    async fn start(&self) -> Result<(Node, Option<VirtualIp>), Failure> {
        let (plan, init) = (&self.plan, self.installation());
        let (store, first) = open_store(&self.options.state_dir.join("state"), init)?;
        let mut builder = Node::builder(Arc::clone(&plan.config), plan.me)
            .key(self.key.clone())
            .store(Box::new(store))
            .record(RecordOptions::new(Arc::new(medium(&self.options.state_dir.join("record"))?)));
        builder = match &self.guardian {
            Some(guardian) => builder.guardian(guardian.clone()),
            None => {
                let note = Note::of(&self.options.state_dir).and_then(|note| note.begin(first));
                builder.predecessor(note.map_err(|error| Failure::failed(format!("--state-dir: {error}")))?)
            }
        };
        for link in plan.factories() {
            builder = builder.link(link);
        }
        let (resources, address) = self.resources()?;
        for resource in resources {
            builder = builder.resource(GROUP, resource);
        }
        builder = self.fence(builder)?;
        if let Some(arbiter) = lease::open(self.options, plan, init).await? {
            builder = builder.arbiter(arbiter);
        }
        Ok((builder.spawn().await.map_err(Failure::failed)?, address))
    }

    /// What makes two nodes one installation: the key and the names that both have. So their first start needs nobody who
    /// tells them, and what belongs to another pair is refused.
    fn installation(&self) -> InitId {
        let config = &self.plan.config;
        let names = config.nodes.iter().map(|node| node.name.as_bytes());
        let parts: Vec<&[u8]> = std::iter::once(config.cluster.as_bytes()).chain(names).collect();
        let derived = self.key.derive("pair-node installation", &parts);
        let [a, ..] = derived.as_chunks::<16>().0 else { return InitId(0) };
        InitId(u128::from_le_bytes(*a))
    }

    fn fence(&self, builder: NodeBuilder) -> Result<NodeBuilder, Failure> {
        let (Some(line), Some(config)) = (&self.options.proof.fence_command, &self.plan.config.fence) else {
            return Ok(builder);
        };
        let fence = CommandFence::new(line.clone()).map_err(Failure::flags)?;
        Ok(builder.fence(Arc::new(fence.with_timeout(config.timeout).with_scope(config.scope))))
    }

    /// The addresses, then the services; and the addresses that neighbours know.
    fn resources(&self) -> Result<(Resources, Option<VirtualIp>), Failure> {
        let mut resources = Resources::new();
        let mut announced = None;
        let loopback = Arc::new(Loopback::new());
        let (alone, others): (Vec<_>, Vec<_>) =
            self.plan.addresses.iter().partition(|address| address.is_loopback());
        for address in alone {
            let resource =
                VirtualIp::new(&address.name(), address.ip(), loopback.clone()).map_err(Failure::failed)?;
            resources.push(Arc::new(resource));
        }
        if let Some(name) = joint_name(&others) {
            let specs = others.iter().map(|address| address.spec.clone()).collect();
            let builder = VirtualIp::linux(&name, specs).lifetime(self.options.address_lifetime);
            let builder = match self.options.gate {
                Some(gate) => builder.gate(gate),
                None => builder,
            };
            let built = builder.build().map_err(|error| Failure::failed(format!("--address: {error}")))?;
            announced = Some(built.clone());
            resources.push(Arc::new(built));
        }
        for (place, line) in self.options.start.iter().enumerate() {
            resources.push(Arc::new(CommandService::new(&service_name(place), line.clone())));
        }
        Ok((resources, announced))
    }
}

fn medium(dir: &Path) -> Result<RealMedium, Failure> {
    RealMedium::create(dir)
        .map_err(|error| Failure::failed(format!("--state-dir: {}: {error}", dir.display())))
}

/// The node's memory, and whether it is new. A blank one belongs to the installation from its first start on. One that was
/// lost is noticed by the peer, which remembers the id of the one before.
fn open_store(dir: &Path, init: InitId) -> Result<(FileStateStore, bool), Failure> {
    let exists = dir.join(STATE_FILE).exists();
    let medium = Arc::new(medium(dir)?);
    if exists {
        return Ok((FileStateStore::open(medium).map_err(Failure::failed)?, false));
    }
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Failure::failed)?;
    let store = FileStateStore::initialise(medium, init, StoreId(u128::from_le_bytes(bytes)));
    Ok((store.map_err(Failure::failed)?, true))
}

/// SIGTERM and SIGINT.
struct Stops(Signal, Signal);

impl Stops {
    fn new() -> std::io::Result<Self> {
        Ok(Self(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// Logs every event, until the node ended. Once the peer has ended, nothing that it said of the address stays the last word.
async fn tell(mut events: EventStream, address: Option<VirtualIp>) {
    while let Some(item) = events.recv().await {
        match item {
            EventItem::Event(event) => {
                if let (Some(address), true) = (&address, is_end_of_peer(&event)) {
                    address.peer_released();
                }
                tracing::info!(target: "event", "{event}");
            }
            EventItem::Lost(count) => tracing::warn!(count, "events were lost"),
        }
    }
}

fn is_end_of_peer(event: &EventReport) -> bool {
    event.kind == "peer" && event.fields.get("state").is_some_and(|state| state == "gone")
}
