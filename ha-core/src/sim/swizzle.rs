//! Swizzle-clog: a random subset of the paths is clogged one after the other, and freed one after the other in
//! another order. Named and first used by `FoundationDB`; it finds what a clean cut does not, because what was held
//! back arrives late, all at once, and in the order of the freeing.

use super::fault::{Cut, Fault};
use super::rng::Rng;
use super::scenario::Scenario;
use crate::config::Config;
use std::time::Duration;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Rounds of clogging in a run.
const ROUNDS: u64 = 5;
/// From one round to the next.
const ROUND: u64 = 5500;

impl Scenario {
    /// Five rounds of clogged and cut paths of `config`, each path held by itself, on top of one node's loss now and
    /// then.
    #[must_use]
    pub fn swizzle_clog(seed: u64, config: Config) -> Self {
        let mut rng = Rng::new(seed ^ 0x5_1122_1e00);
        let mut scenario = Self::quiet(seed, config);
        scenario.operator = true;
        scenario.recover_after(Duration::from_secs(32));
        for round in 0..ROUNDS {
            let begin = 4000 + round * ROUND;
            clog_round(&mut rng, &mut scenario, begin);
            if rng.chance(300) {
                let fault = match rng.range(0, 3) {
                    0 => Fault::KillEngine(rng.node()),
                    1 => Fault::PauseTree(rng.node(), ms(rng.range(100, 1500))),
                    _ => Fault::Switchover(0),
                };
                scenario.faults.push((ms(begin + rng.range(0, 3000)), fault));
            }
        }
        scenario.faults.sort_by_key(|(at, _)| *at);
        scenario
    }
}

/// The order of clogging and the order of freeing are drawn apart: each path has its own two instants.
fn clog_round(rng: &mut Rng, scenario: &mut Scenario, begin: u64) {
    let config = scenario.configs[0].clone();
    let links = (0u8..).take(config.links.len()).filter(|l| !config.links[usize::from(*l)].evidence_only);
    let mirrored = config.groups.iter().any(|g| g.mirrored);
    let paths: Vec<Option<u8>> = links.map(Some).chain(mirrored.then_some(None)).collect();
    let share = rng.range(300, 1001);
    for path in paths {
        if !rng.chance(share) {
            continue;
        }
        let (clogged, freed) = (rng.range(0, 1500), rng.range(1600, 5000));
        let span = ms(freed - clogged);
        let cut = [Cut::Both, Cut::Both, Cut::From(0), Cut::From(1)][rng.index(4)];
        let fault = match (path, rng.chance(700)) {
            (Some(link), true) => Fault::Clog(link, cut, span),
            (Some(link), false) => Fault::CutLink(link, cut, span),
            (None, true) => Fault::ClogMirror(cut, span),
            (None, false) => Fault::CutMirror(cut, span),
        };
        scenario.faults.push((ms(begin + clogged), fault));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{GroupConfig, LinkConfig};

    #[test]
    fn paths_are_freed_in_another_order_than_they_were_clogged() {
        let config = Config::pair("c", "a", "b")
            .link(LinkConfig::datagram("n", ms(50), ms(200)))
            .link(LinkConfig::datagram("m", ms(50), ms(200)))
            .group(GroupConfig::new("g").mirrored());
        let (mut same, mut other) = (0, 0);
        for seed in 0..50 {
            let s = Scenario::swizzle_clog(seed, config.clone());
            let span = |f: &Fault| match f {
                Fault::Clog(_, _, d) | Fault::CutLink(_, _, d) => Some(*d),
                Fault::ClogMirror(_, d) | Fault::CutMirror(_, d) => Some(*d),
                _ => None,
            };
            let spans: Vec<_> = s.faults.iter().filter_map(|(at, f)| Some((*at, *at + span(f)?))).collect();
            for pair in spans.windows(2).filter(|p| p[1].0 < p[0].1) {
                if pair[0].1 < pair[1].1 { same += 1 } else { other += 1 }
            }
            assert!(s.faults.iter().all(|(at, _)| Some(*at) < s.heal_at));
        }
        assert!(same > 50 && other > 50, "{same} {other}");
    }
}
