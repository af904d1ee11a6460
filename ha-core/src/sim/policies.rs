//! Policies for a share of the seeds: drawn apart from everything else, so that the other seeds stay what they were.

use super::fault::{Fault, ResourceFault};
use super::rng::Rng;
use super::scenario::Scenario;
use crate::config::{Config, Failback, GroupPolicy, HealthPolicy, OutsidePolicy, Reaction};
use crate::{GroupId, NodeId, PolicyScope};
use std::sync::Arc;
use std::time::Duration;

/// Of a thousand seeds so many have policies.
const SHARE_PER_MILLE: u64 = 150;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Gives the scenario of some seeds policies, and operators who use them.
pub(super) fn season(scenario: &mut Scenario) {
    let mut rng = Rng::new(scenario.seed ^ 0x0070_6f6c_6963_7900);
    if !rng.chance(SHARE_PER_MILLE) {
        return;
    }
    let drawn: Vec<_> = (0u8..)
        .zip(&scenario.configs[0].groups)
        .map(|(g, group)| (policy(&mut rng, g, group.mirrored), health(&mut rng)))
        .collect();
    for config in &mut scenario.configs {
        let config: &mut Config = Arc::make_mut(config);
        for (group, (policy, health)) in config.groups.iter_mut().zip(&drawn) {
            group.policy = policy.clone();
            group.resources.iter_mut().for_each(|r| r.health = *health);
        }
    }
    let groups = u64::try_from(drawn.len()).unwrap_or(1);
    for _ in 0..rng.range(4, 9) {
        let at = rng.range(4000, 33_000);
        for (later, fault) in orders(&mut rng, groups) {
            scenario.faults.push((ms(at + later), fault));
        }
    }
}

fn policy(rng: &mut Rng, group: u8, mirrored: bool) -> GroupPolicy {
    let failback = match rng.range(0, 3) {
        0 => Failback::Never,
        1 => Failback::Automatic,
        _ => Failback::After(ms(rng.range(200, 3000))),
    };
    let mut policy = GroupPolicy::default()
        .with_failback(failback)
        .with_restart_window(ms(rng.range(2000, 20_000)))
        .with_failure_memory(ms(rng.range(3000, 15_000)));
    if rng.chance(500) {
        policy.stickiness = ms(rng.range(300, 4000));
    }
    if rng.chance(600) {
        policy.drain = ms(rng.range(100, 600));
    }
    if rng.chance(600) {
        let difference = u8::try_from(rng.range(1, 3)).unwrap_or(1);
        policy.outside = Some(OutsidePolicy::new(difference, ms(rng.range(200, 2000))));
    }
    if group > 0 && !mirrored && rng.chance(500) {
        policy.with = Some(GroupId(0));
    }
    if group > 0 && rng.chance(700) {
        policy.after = vec![GroupId(0)];
        policy.order_wait = ms(rng.range(10, 500));
    }
    policy
}

fn health(rng: &mut Rng) -> HealthPolicy {
    let any = [Reaction::Restart, Reaction::Move, Reaction::Report, Reaction::Ignore];
    HealthPolicy::default()
        .with_on_failed(any[rng.index(2)])
        .with_on_stopped(any[rng.index(2)])
        .with_on_unknown(any[rng.index(4)])
        .with_unknown_limit(u8::try_from(rng.range(1, 3)).unwrap_or(1))
}

/// What operators do, and what goes wrong with it; with the milliseconds after its begin.
fn orders(rng: &mut Rng, groups: u64) -> Vec<(u64, Fault)> {
    let (node, span) = (rng.node(), ms(rng.range(500, 8000)));
    let group = u8::try_from(rng.range(0, groups)).unwrap_or(0);
    let place = u8::try_from(rng.range(0, 2)).unwrap_or(0);
    let broken = |what| (0, Fault::Resource(node, group, place, what));
    match rng.range(0, 8) {
        0 | 1 => vec![(0, Fault::Standby(node, span))],
        2 => vec![(0, Fault::Maintenance(scope(rng, node, group), span))],
        3 => vec![broken(ResourceFault::DrainHangs), (1, Fault::Switchover(group))],
        4 => {
            // The target vanishes while the owner drains.
            let away = ms(rng.range(1000, 4000));
            vec![
                broken(ResourceFault::DrainHangs),
                broken(ResourceFault::ResumeFails),
                (1, Fault::Switchover(group)),
                (rng.range(20, 300), Fault::PowerLoss(1 - node, away)),
            ]
        }
        5 => (0..rng.range(1, 4)).map(|_| broken(ResourceFault::MonitorHangs)).collect(),
        6 => vec![(0, Fault::NoOutside(node, span))],
        _ => vec![
            (0, Fault::Maintenance(scope(rng, node, group), span)),
            (rng.range(0, 1000), Fault::PowerLoss(node, ms(rng.range(800, 3000)))),
        ],
    }
}

fn scope(rng: &mut Rng, node: usize, group: u8) -> PolicyScope {
    match rng.range(0, 3) {
        0 => PolicyScope::Cluster,
        1 => PolicyScope::Node(NodeId(u8::try_from(node).unwrap_or(0))),
        _ => PolicyScope::Group(GroupId(group.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_seeds_have_policies_that_pass_the_check_and_most_have_none() {
        let seasoned = (0..1000)
            .map(Scenario::from_seed)
            .filter(|s| {
                let config = s.configs[0].clone();
                if let Err(problems) = (*config).clone().check() {
                    let ours = |p: &&crate::config::Problem| {
                        p.field.contains("policy") || p.field.contains("health")
                    };
                    assert_eq!(problems.as_slice().iter().find(ours), None, "seed {}", s.seed);
                }
                config.groups.iter().any(|g| g.policy != GroupPolicy::default())
            })
            .count();
        assert!((100..200).contains(&seasoned), "{seasoned}");
    }
}
