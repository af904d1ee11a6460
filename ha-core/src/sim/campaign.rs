//! Your own pair under thousands of seeds: your configuration, your agents, your conditions.

use super::invariant::{Broken, Invariant};
use super::report::Report;
use super::{Cluster, Failure, Options, Probes, Scenario};
use crate::GroupId;
use crate::api::Resource;
use crate::config::{Config, Problems};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at your conditions.
const LOOK: Duration = Duration::from_millis(100);
/// So many failures are kept whole.
const FAILURES_KEPT: usize = 8;

type Maker = Arc<dyn Fn(usize) -> Arc<dyn Resource>>;
type Condition = Box<dyn Fn(&Cluster) -> Result<(), String>>;
type Reset = Box<dyn Fn(u64)>;

/// Many runs of one configuration. See [`Cluster::from_config`].
pub struct Campaign {
    config: Config,
    agents: Vec<(String, Maker)>,
    conditions: Vec<Condition>,
    resets: Vec<Reset>,
    plan: Box<dyn Fn(u64, Config) -> Scenario>,
    options: Options,
}

/// The campaign cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CampaignError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] Problems),
    /// No group has a resource of that name, or several have.
    #[error("resource \"{name}\" names {found} resources, expected exactly one of {known}")]
    Resource {
        /// The name that was asked for.
        name: String,
        /// How many carry it.
        found: usize,
        /// All names, as `group/resource`.
        known: String,
    },
}

/// What a campaign found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// How many seeds were run.
    pub runs: u64,
    /// How many of them failed.
    pub failed: u64,
    /// The first failures, whole.
    pub failures: Vec<Failure>,
    /// How many faults were injected.
    pub faults: u64,
    /// How many events were handled.
    pub events: u64,
    /// How many messages were acknowledged to clients of mirrored groups.
    pub acknowledged: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Real time.
    pub wall: Duration,
    /// The longest time from the healing until all was well.
    pub slowest_recovery: Duration,
    /// What was reached, and how often.
    pub probes: Probes,
}

impl Cluster {
    /// Begins a campaign: many runs of *your* pair, each with faults of its own, all from their seeds.
    ///
    /// 1. give it your agents by the names of their resources, and your conditions;
    /// 2. [`Campaign::run`] the seeds and print the [`Summary`];
    /// 3. [`Campaign::replay`] a seed that failed, and read its [`Cluster::timeline`].
    ///
    /// ```
    /// use ha_core::config::{Config, FenceConfig, GroupConfig, LinkConfig, ResourceConfig};
    /// use ha_core::sim::Cluster;
    /// use std::time::Duration;
    /// let ms = Duration::from_millis;
    /// let config = Config::pair("mail", "a", "b")
    ///     .link(LinkConfig::datagram("lan", ms(50), ms(250)))
    ///     .group(GroupConfig::new("mail").then(ResourceConfig::new("smtp")))
    ///     .fence(FenceConfig::new(ms(200)));
    /// let found = Cluster::from_config(config).run(0..3)?;
    /// assert!(found.is_sound(), "{found}");
    /// # Ok::<(), ha_core::sim::CampaignError>(())
    /// ```
    #[must_use]
    pub fn from_config(config: Config) -> Campaign {
        Campaign {
            config,
            agents: Vec::new(),
            conditions: Vec::new(),
            resets: Vec::new(),
            plan: Box::new(Scenario::random),
            options: Options::default(),
        }
    }
}

impl Campaign {
    /// Runs your agent as the resource called `name` (or `group/name`). `make` is called with the node (0 or 1) in
    /// each life of its process, as your program would make it anew.
    #[must_use]
    pub fn with_resource(mut self, name: &str, make: impl Fn(usize) -> Arc<dyn Resource> + 'static) -> Self {
        self.agents.push((name.into(), Arc::new(make)));
        self
    }

    /// A condition of yours, looked at every 100 ms of simulated time and at the end. What it says when it fails
    /// is the failure.
    #[must_use]
    pub fn expecting(mut self, condition: impl Fn(&Cluster) -> Result<(), String> + 'static) -> Self {
        self.conditions.push(Box::new(condition));
        self
    }

    /// Called with the seed before each run: to empty what your agents and conditions share.
    #[must_use]
    pub fn before_each(mut self, reset: impl Fn(u64) + 'static) -> Self {
        self.resets.push(Box::new(reset));
        self
    }

    /// Other runs than [`Scenario::random`]: for example [`Scenario::swizzle_clog`].
    #[must_use]
    pub fn planned_by(mut self, plan: impl Fn(u64, Config) -> Scenario + 'static) -> Self {
        self.plan = Box::new(plan);
        self
    }

    /// How runs are made.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Runs every seed once.
    ///
    /// # Errors
    /// The configuration is refused, or an agent's name is not that of one resource. What a run finds is no
    /// error: it is in the [`Summary`].
    pub fn run(&self, seeds: Range<u64>) -> Result<Summary, CampaignError> {
        #[expect(clippy::disallowed_types, reason = "real time is printed, nothing is decided by it")]
        let began = std::time::Instant::now();
        let mut summary = Summary::none();
        for seed in seeds {
            let cluster = self.replay(seed)?;
            summary.add(cluster);
        }
        summary.wall = began.elapsed();
        Ok(summary)
    }

    /// Runs one seed to its end, or to the instant at which something broke, and gives the world as it is then.
    ///
    /// # Errors
    /// As [`Campaign::run`].
    pub fn replay(&self, seed: u64) -> Result<Cluster, CampaignError> {
        self.resets.iter().for_each(|reset| reset(seed));
        let mut cluster = self.cluster(seed)?;
        let length = cluster.scenario.length;
        while cluster.broken.is_none() && cluster.elapsed() < length {
            cluster.run_for(LOOK.min(length - cluster.elapsed()));
            self.look(&mut cluster);
        }
        if cluster.broken.is_none() {
            cluster.run_to_end();
            self.look(&mut cluster);
        }
        Ok(cluster)
    }

    fn look(&self, cluster: &mut Cluster) {
        for condition in &self.conditions {
            if let Err(detail) = condition(cluster) {
                cluster.check(Err(Broken { invariant: Invariant::Own, detail }));
            }
        }
    }

    fn cluster(&self, seed: u64) -> Result<Cluster, CampaignError> {
        self.config.clone().check()?;
        let scenario = (self.plan)(seed, self.config.clone());
        let mut cluster = Cluster::new(scenario, self.options.clone());
        cluster.own = true;
        for (name, make) in &self.agents {
            let (group, place) = self.place_of(name)?;
            let make = make.clone();
            cluster = cluster.with_resource(group, place, move |node| make(node));
        }
        Ok(cluster)
    }

    fn place_of(&self, name: &str) -> Result<(GroupId, u8), CampaignError> {
        let all = self.config.groups().flat_map(|(id, group)| {
            let places = (0u8..).zip(&group.resources);
            places.map(move |(place, r)| (id, place, format!("{}/{}", group.name, r.name), r.name.as_str()))
        });
        let all: Vec<_> = all.collect();
        let found: Vec<_> = all.iter().filter(|(.., full, short)| full == name || *short == name).collect();
        match found[..] {
            [(group, place, ..)] => Ok((*group, *place)),
            _ => Err(CampaignError::Resource {
                name: name.into(),
                found: found.len(),
                known: all.iter().map(|(.., full, _)| full.as_str()).collect::<Vec<_>>().join(", "),
            }),
        }
    }
}

impl fmt::Debug for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let agents: Vec<_> = self.agents.iter().map(|(name, _)| name).collect();
        f.debug_struct("Campaign").field("agents", &agents).finish_non_exhaustive()
    }
}

impl Summary {
    /// A summary of nothing, for others to be added to.
    #[must_use]
    pub fn none() -> Self {
        Self {
            runs: 0,
            failed: 0,
            failures: Vec::new(),
            faults: 0,
            events: 0,
            acknowledged: 0,
            simulated: Duration::ZERO,
            wall: Duration::ZERO,
            slowest_recovery: Duration::ZERO,
            probes: Probes::default(),
        }
    }

    /// Whether nothing failed.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.failed == 0
    }

    /// Simulated time per real time.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.simulated.as_secs_f64() / self.wall.as_secs_f64().max(1e-9)
    }

    /// Injected faults per second of real time.
    #[must_use]
    pub fn faults_per_second(&self) -> f64 {
        self.faults as f64 / self.wall.as_secs_f64().max(1e-9)
    }

    fn add(&mut self, cluster: Cluster) {
        self.simulated += cluster.elapsed();
        self.slowest_recovery =
            self.slowest_recovery.max(cluster.recovered_after().unwrap_or(Duration::ZERO));
        let report: Report = cluster.into_report();
        self.runs += 1;
        self.faults += report.faults;
        self.events += report.events;
        self.acknowledged += report.acknowledged as u64;
        self.probes.absorb(&report.probes);
        if let Some(failure) = report.failure {
            self.failed += 1;
            if self.failures.len() < FAILURES_KEPT {
                self.failures.push(*failure);
            }
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.simulated.as_secs_f64() / 3600.0;
        writeln!(
            f,
            "{} runs, {} failed: {hours:.2} h simulated in {:.2} s ({:.0} × real time), {} faults ({:.0}/s), \
             {} messages acknowledged, all well at most {:.1} s after the last fault",
            self.runs,
            self.failed,
            self.wall.as_secs_f64(),
            self.speed(),
            self.faults,
            self.faults_per_second(),
            self.acknowledged,
            self.slowest_recovery.as_secs_f64(),
        )?;
        for failure in &self.failures {
            writeln!(f, "\n{failure}")?;
        }
        Ok(())
    }
}
