//! How much of a year the service is there: an estimate from figures, next to the proof that rests on none.
//!
//! Failures and repairs are taken as memoryless. Two answers, because the usual one flatters: the *simple* one counts two
//! machines of which one suffices, the *honest* one adds what a takeover takes, that a returned mirror protects nobody
//! until it is current, that both halves of a pair fail together, and the store that both share.

use super::proof::Proof;
use super::{FaultKind, violation::in_ms};
use crate::config::{Config, ReliabilityConfig};
use serde::{Serialize, Serializer};
use std::fmt;
use std::time::Duration;

const YEAR: f64 = 365.25 * 86_400.0;

/// Where the data are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DataPlace {
    /// A copy on either node.
    Mirror,
    /// One store that both nodes reach.
    SharedDisk,
}

/// One part of a year's downtime.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Downtime {
    /// What it comes from.
    pub what: &'static str,
    /// How much of a year, in the mean.
    #[serde(rename = "seconds_per_year", serialize_with = "seconds")]
    pub per_year: Duration,
}

fn seconds<S: Serializer>(span: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_f64(span.as_secs_f64())
}

/// The estimate for one place of the data.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Availability {
    /// Where the data are.
    pub data: DataPlace,
    /// Downtime a year by `1 − (1 − a)²`, times the store: two machines of which one suffices, changed over in no time.
    #[serde(rename = "simple_seconds_per_year", serialize_with = "seconds")]
    pub simple: Duration,
    /// Downtime a year with everything in `parts`.
    #[serde(rename = "honest_seconds_per_year", serialize_with = "seconds")]
    pub honest: Duration,
    /// What the honest one is made of.
    pub parts: Vec<Downtime>,
}

impl Availability {
    /// The share of time in which the service is there, by the simple formula.
    #[must_use]
    pub fn simple_share(&self) -> f64 {
        1.0 - self.simple.as_secs_f64() / YEAR
    }

    /// The same by the honest one.
    #[must_use]
    pub fn honest_share(&self) -> f64 {
        1.0 - self.honest.as_secs_f64() / YEAR
    }
}

/// The estimates for a configuration with figures: the mirror, the shared disk, or both to compare them if a store's
/// figures are given and a mirror is configured.
pub(super) fn availability(config: &Config, proof: &Proof) -> Vec<Availability> {
    let Some(figures) = &config.reliability else { return Vec::new() };
    let is_mirrored = config.groups.iter().any(|group| group.mirrored);
    let mut estimates = Vec::new();
    if is_mirrored {
        estimates.push(estimate(figures, proof, DataPlace::Mirror));
    }
    if !is_mirrored || figures.store.is_some() {
        estimates.push(estimate(figures, proof, DataPlace::SharedDisk));
    }
    estimates
}

/// One machine's share of time.
fn alone(mtbf: Duration, mttr: Duration) -> f64 {
    let (up, down) = (mtbf.as_secs_f64(), mttr.as_secs_f64());
    up / (up + down).max(f64::MIN_POSITIVE)
}

fn estimate(figures: &ReliabilityConfig, proof: &Proof, data: DataPlace) -> Availability {
    let a = alone(figures.node_mtbf, figures.node_mttr);
    let store =
        figures.store.filter(|_| data == DataPlace::SharedDisk).map_or(1.0, |s| alone(s.mtbf, s.mttr));
    let simple = per_year(1.0 - (1.0 - (1.0 - a).powi(2)) * store);
    let states = Shares::of(figures, data);
    let mut parts = takeovers(figures, proof, data, states.protected);
    parts.push(Downtime { what: "both nodes away", per_year: per_year(states.both_away) });
    if data == DataPlace::Mirror {
        let what = "the current copy away, the other not current";
        parts.push(Downtime { what, per_year: per_year(states.stale) });
    }
    if store < 1.0 {
        parts.push(Downtime { what: "the shared store away", per_year: per_year(1.0 - store) });
    }
    let honest = parts.iter().fold(Duration::ZERO, |sum, part| sum.saturating_add(part.per_year));
    Availability { data, simple, honest, parts }
}

/// What single failures and planned moves cost, each for as long as the proof says at most.
fn takeovers(figures: &ReliabilityConfig, proof: &Proof, data: DataPlace, protected: f64) -> Vec<Downtime> {
    let single = 1.0 - f64::from(figures.common_cause_ppm.min(1_000_000)) / 1e6;
    let failures = YEAR / figures.node_mtbf.as_secs_f64().max(1.0) * protected * single;
    let mut parts = Vec::new();
    let mut add = |what: &'static str, times: f64, each: Option<Duration>| {
        let each = each.unwrap_or(figures.node_mttr).as_secs_f64();
        parts.push(Downtime { what, per_year: span(times * each) });
    };
    let total = |fault| proof.outage(fault).total;
    add("takeovers from a lost active node", failures, total(FaultKind::PowerLossActive));
    if data == DataPlace::Mirror {
        add("going alone after a lost standby", failures, total(FaultKind::PowerLossStandby));
    }
    add("planned moves", f64::from(figures.switchovers_per_year), total(FaultKind::Switchover));
    parts
}

/// How much of the time the pair spends in which state.
struct Shares {
    protected: f64,
    both_away: f64,
    stale: f64,
}

impl Shares {
    fn of(figures: &ReliabilityConfig, data: DataPlace) -> Self {
        let rate = |span: Duration| 1.0 / span.as_secs_f64().max(1e-3);
        let (fails, repaired) = (rate(figures.node_mtbf), rate(figures.node_mttr));
        let both = f64::from(figures.common_cause_ppm.min(1_000_000)) / 1e6;
        match data {
            DataPlace::Mirror => mirror(fails, repaired, rate(figures.reprotection), both),
            DataPlace::SharedDisk => shared(fails, repaired, both),
        }
    }
}

/// Protected, one away, both away: whichever returns first serves.
fn shared(fails: f64, repaired: f64, both: f64) -> Shares {
    let mut flow = Flow::<3>::default();
    let [protected, single, away] = [0, 1, 2];
    flow.at(protected, single, 2.0 * fails * (1.0 - both));
    flow.at(protected, away, 2.0 * fails * both);
    flow.at(single, protected, repaired);
    flow.at(single, away, fails);
    flow.at(away, single, 2.0 * repaired);
    let share = flow.shares();
    Shares { protected: share[protected], both_away: share[away], stale: 0.0 }
}

/// The same for two copies: a returned one must catch up, and after a loss of both only the current one may serve.
fn mirror(fails: f64, repaired: f64, caught_up: f64, both: f64) -> Shares {
    let mut flow = Flow::<6>::default();
    let [protected, single, behind, stale, away, together] = [0, 1, 2, 3, 4, 5];
    flow.at(protected, single, 2.0 * fails * (1.0 - both));
    flow.at(protected, together, 2.0 * fails * both);
    flow.at(single, behind, repaired);
    flow.at(single, away, fails);
    flow.at(behind, protected, caught_up);
    flow.at(behind, single, fails);
    flow.at(behind, stale, fails);
    // The node with the current copy is away, the other one is there and may not serve.
    flow.at(stale, behind, repaired);
    flow.at(stale, away, fails);
    flow.at(away, single, repaired);
    flow.at(away, stale, repaired);
    // Lost together, either may have gone on: they wait for each other. The second of two repairs takes one and a half.
    flow.at(together, protected, repaired / 1.5);
    let share = flow.shares();
    Shares { protected: share[protected], both_away: share[away] + share[together], stale: share[stale] }
}

/// Rates from state to state.
struct Flow<const N: usize>([[f64; N]; N]);

impl<const N: usize> Default for Flow<N> {
    fn default() -> Self {
        Self([[0.0; N]; N])
    }
}

impl<const N: usize> Flow<N> {
    fn at(&mut self, from: usize, to: usize, rate: f64) {
        self.0[from][to] += rate;
        self.0[from][from] -= rate;
    }

    /// The share of time in each state: the balance of all flows, by eliminating one state after the other
    /// (Grassmann, Taksar, Heyman), which subtracts nothing and so loses no digits.
    fn shares(mut self) -> [f64; N] {
        for last in (1..N).rev() {
            let out: f64 = self.0[last][..last].iter().sum();
            for from in 0..last {
                self.0[from][last] /= out.max(f64::MIN_POSITIVE);
                for to in (0..last).filter(|to| *to != from) {
                    self.0[from][to] += self.0[from][last] * self.0[last][to];
                }
            }
        }
        let mut share = [0.0; N];
        share[0] = 1.0;
        for state in 1..N {
            share[state] = (0..state).map(|from| share[from] * self.0[from][state]).sum();
        }
        let all: f64 = share.iter().sum();
        share.map(|part| part / all)
    }
}

fn per_year(share: f64) -> Duration {
    span(share * YEAR)
}

fn span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

/// A downtime for a reader: whole minutes, or less.
fn readable(span: Duration) -> String {
    if span < Duration::from_secs(1) {
        return in_ms(span);
    }
    let seconds = span.as_secs_f64();
    if seconds < 600.0 { format!("{seconds:.1} s") } else { format!("{:.1} min", seconds / 60.0) }
}

impl fmt::Display for Availability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.data {
            DataPlace::Mirror => "mirror",
            DataPlace::SharedDisk => "shared disk",
        };
        write!(
            f,
            "{place}: {:.6} % ({} a year) by the simple formula, {:.6} % ({} a year) with",
            self.simple_share() * 100.0,
            readable(self.simple),
            self.honest_share() * 100.0,
            readable(self.honest)
        )?;
        for (at, part) in self.parts.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma} {} {}", part.what, readable(part.per_year))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FenceConfig, GroupConfig, LinkConfig, StoreReliability};
    use crate::timing::prove;

    const HOUR: Duration = Duration::from_secs(3600);

    fn pair(figures: ReliabilityConfig) -> Config {
        let ms = Duration::from_millis;
        Config::pair("mail", "a", "b")
            .link(LinkConfig::datagram("lan", ms(20), ms(200)))
            .fence(FenceConfig::new(ms(200)))
            .group(GroupConfig::new("smtp").mirrored())
            .with_reliability(figures)
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= expected.abs() * 1e-3, "found {found}, expected {expected}");
    }

    #[test]
    fn the_simple_formula_is_the_one_from_the_books() {
        let proof = prove(&pair(ReliabilityConfig::new(HOUR * 990, HOUR * 10))).unwrap();
        let [mirror] = proof.availability.as_slice() else { panic!() };
        close(mirror.simple.as_secs_f64(), 0.01 * 0.01 * YEAR);
    }

    #[test]
    fn two_nodes_without_common_cause_are_both_away_as_often_as_chance_has_it() {
        let (fails, repaired) = (1.0 / 990.0, 1.0 / 10.0);
        close(shared(fails, repaired, 0.0).both_away, 0.01 * 0.01);
        let fails = 1.0 / 99_990.0;
        // One copy that catches up at once is like a shared disk, but that the right one must return first.
        let caught_up = mirror(fails, repaired, 1e9, 0.0);
        close(caught_up.both_away + caught_up.stale, shared(fails, repaired, 0.0).both_away * 2.0);
    }

    #[test]
    fn every_balance_is_kept() {
        let mut flow = Flow::<3>::default();
        flow.at(0, 1, 2.0);
        flow.at(1, 2, 3.0);
        flow.at(2, 0, 6.0);
        let share = flow.shares();
        for (state, part) in [0.5, 1.0 / 3.0, 1.0 / 6.0].into_iter().enumerate() {
            close(share[state], part);
        }
    }

    #[test]
    fn catching_up_common_causes_and_takeovers_cost_something() {
        let plain = ReliabilityConfig::new(HOUR * 8766, HOUR * 4);
        let honest = |figures| prove(&pair(figures)).unwrap().availability[0].honest;
        let base = honest(plain.clone());
        assert!(honest(plain.clone().with_reprotection(HOUR * 10)) > base);
        assert!(honest(plain.clone().with_common_cause_ppm(50_000)) > base * 2);
        let moved = honest(plain.clone().with_switchovers_per_year(12));
        close((moved - base).as_secs_f64(), 12.0 * 0.05);
        let proof = prove(&pair(plain)).unwrap();
        close(proof.availability[0].parts[0].per_year.as_secs_f64(), 0.6);
    }

    #[test]
    fn a_store_is_a_single_point_of_failure_and_a_missing_fence_costs_the_repair() {
        let figures = ReliabilityConfig::new(HOUR * 8766, HOUR * 4)
            .with_store(Some(StoreReliability::new(HOUR * 8766 * 5, HOUR * 10)));
        let proof = prove(&pair(figures.clone())).unwrap();
        let [mirror, disk] = proof.availability.as_slice() else { panic!("{:?}", proof.availability) };
        assert!(disk.honest > mirror.honest, "{mirror}\n{disk}");
        assert!(disk.parts.iter().any(|part| part.what == "the shared store away" && part.per_year > HOUR));
        let mut config = pair(figures);
        config.fence = None;
        let without = prove(&config).unwrap();
        assert!(without.availability[0].honest > HOUR * 7, "{}", without.availability[0]);
        let text = without.to_string();
        assert!(text.contains("mirror: 99.9") && text.contains("by the simple formula"), "{text}");
    }
}
