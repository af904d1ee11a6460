//! From flags to what both nodes must find alike: which node is which, the links' numbers, the configuration. Nothing is
//! touched here.

use super::GROUP;
use super::address::{Address, joint_name};
use super::link::{LinkError, NamedLink, in_order};
use super::options::RunOptions;
use ha_core::NodeId;
use ha_core::api::LinkFactory;
use ha_core::config::{
    ACCEPT_SPLIT_BRAIN, ArbiterConfig, ArbiterKind, Config, FenceConfig, GroupConfig, LinkConfig, Problems,
    ResourceConfig, TimingConfig,
};
use ha_core::timing::{Proof, Violations, prove};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How often a service is looked at.
const MONITOR: Duration = Duration::from_millis(100);
/// With less a busy disk would look like a lost one.
const SHORTEST_LEASE: Duration = Duration::from_millis(500);

/// Everything that follows from the flags alone.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) me: NodeId,
    pub(super) config: Arc<Config>,
    pub(super) links: Vec<NamedLink>,
    /// In the order of their acquisition.
    pub(super) addresses: Vec<Address>,
    pub(super) proof: Proof,
}

/// Why no node can be run by these flags.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    #[error(
        "--name and --peer are both \"{found}\"; expected this node's name and the other one's, the same two on both nodes"
    )]
    OneName { found: String },
    #[error("--address {found} stands there twice; expected each once")]
    SameAddress { found: String },
    #[error(
        "--dead is {dead:?} with --beat {beat:?}; expected more than twice the beat, as one lost beat is no death (five beats ride out a busy moment)"
    )]
    Deaf { beat: Duration, dead: Duration },
    #[error(
        "--lease-duration is {found:?}; expected at least 500ms: the place has a tenth of it for each answer"
    )]
    ShortLease { found: Duration },
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("{0}\n{FLAGS}")]
    Config(Problems),
    #[error("these durations are not safe together, so nothing was started:\n{0}\n{FLAGS}")]
    Unsafe(Violations),
}

const FLAGS: &str = "(where they come from: links[…] from --beat and --dead; fence from --fence-timeout and --fence-scope; \
                     arbiter from --lease-duration; address_lifetime from --address-lifetime; a resource's stop_timeout from --stop-timeout; timing from all of them)";

impl Plan {
    /// Works everything out, and proves it.
    pub(super) fn of(options: &RunOptions) -> Result<Self, PlanError> {
        if options.name == options.peer {
            return Err(PlanError::OneName { found: options.name.clone() });
        }
        let (beat, dead) = (options.beat, options.dead);
        if dead <= beat * 2 {
            return Err(PlanError::Deaf { beat, dead });
        }
        if options.proof.lease.is_some() && options.lease_duration < SHORTEST_LEASE {
            return Err(PlanError::ShortLease { found: options.lease_duration });
        }
        let links = in_order(&options.links)?;
        let addresses = sorted(&options.addresses)?;
        let config = config(options, &links, &addresses);
        let config = config.check().map_err(PlanError::Config)?.arc();
        let proof = prove(&config).map_err(PlanError::Unsafe)?;
        let me = NodeId(u8::from(options.name > options.peer));
        Ok(Self { me, config, links, addresses, proof })
    }

    /// The links as they are opened, in their order.
    pub(super) fn factories(&self) -> Vec<Arc<dyn LinkFactory>> {
        self.links
            .iter()
            .zip(&self.config.links)
            .map(|(link, config)| link.factory(config.interval))
            .collect()
    }
}

/// The same order on both nodes, whatever the order of the flags and the names of the interfaces.
fn sorted(addresses: &[Address]) -> Result<Vec<Address>, PlanError> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = addresses.iter().find(|address| !seen.insert(address.ip())) {
        return Err(PlanError::SameAddress { found: twice.name() });
    }
    let mut addresses = addresses.to_vec();
    addresses.sort_by_key(Address::ip);
    Ok(addresses)
}

/// The name of the service that the n-th `--start` runs, counted from 0.
pub(super) fn service_name(place: usize) -> String {
    format!("service-{}", place + 1)
}

/// The pair's configuration: equal on both nodes, which compare a tag of it.
fn config(options: &RunOptions, links: &[NamedLink], addresses: &[Address]) -> Config {
    let mut names = [options.name.as_str(), options.peer.as_str()];
    names.sort_unstable();
    let mut config = Config::pair(&options.cluster, names[0], names[1]);
    config.links =
        links.iter().map(|link| link.config(options.beat, options.dead)).collect::<Vec<LinkConfig>>();
    config.fence = options
        .proof
        .fence_command
        .as_ref()
        .map(|_| FenceConfig::new(options.fence_timeout).with_scope(options.fence_scope.into()));
    config.arbiter = options.proof.lease.as_ref().map(|_| {
        // A lease that proves nothing would never be followed by a takeover; what is assumed is said in the help.
        ArbiterConfig::new(ArbiterKind::Disk, options.lease_duration).with_trusts_host_pauses(true)
    });
    config.unguarded = options.proof.accept_split_brain.then(|| ACCEPT_SPLIT_BRAIN.to_owned());
    config.groups = vec![group(options, addresses)];
    config.timing = TimingConfig::for_links(&config.links, config.fence.as_ref());
    config
}

/// The resources that the addresses are: those of this machine alone each by itself, all others together.
pub(super) fn address_names(addresses: &[Address]) -> Vec<String> {
    let alone = addresses.iter().filter(|address| address.is_loopback()).map(Address::name);
    let others: Vec<&Address> = addresses.iter().filter(|address| !address.is_loopback()).collect();
    alone.chain(joint_name(&others)).collect()
}

fn group(options: &RunOptions, addresses: &[Address]) -> GroupConfig {
    let names = address_names(addresses);
    let addresses_of_kernel = addresses.iter().any(|address| !address.is_loopback());
    let lifetime = if addresses_of_kernel { options.address_lifetime } else { Duration::ZERO };
    let addresses = names.iter().map(|name| ResourceConfig::new(name).with_monitor_interval(MONITOR));
    let services = (0..options.start.len()).map(|place| {
        ResourceConfig::new(&service_name(place))
            .with_stop_timeout(options.stop_timeout)
            .with_monitor_interval(MONITOR)
    });
    let group = GroupConfig::new(GROUP).with_address_lifetime(lifetime);
    addresses.chain(services).fold(group, GroupConfig::then)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
