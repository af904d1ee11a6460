//! The parts that a program hands over, matched by name with the configuration.

use super::error::Problem;
use crate::api::{DataSync, LinkFactory, Resource};
use crate::config::{Config, GroupConfig};
use crate::engine::OpTarget;
use crate::{CommonEnd, GroupId, Instant, TokenCell};
use std::sync::Arc;
use std::time::Duration;

/// One group's agents.
pub(super) struct GroupAgents {
    pub(super) token: TokenCell,
    pub(super) data: Option<Arc<dyn DataSync>>,
    pub(super) resources: Vec<Arc<dyn Resource>>,
    stop_timeouts: Vec<Duration>,
    demote_timeout: Duration,
}

/// An agent as the target of an operation.
#[derive(Clone)]
pub(super) enum Agent {
    Data(Arc<dyn DataSync>),
    Resource(Arc<dyn Resource>),
}

/// Every group's agents, in the order of the configuration.
pub(super) struct Agents {
    groups: Vec<GroupAgents>,
    /// Until when every permission lasts that is common: one, and those of cells that an earlier node had.
    ends: Vec<CommonEnd>,
}

impl Agents {
    fn new(groups: Vec<GroupAgents>) -> Self {
        let mut ends = vec![CommonEnd::default()];
        for group in &groups {
            let end = group.token.join(&ends[0]);
            if !ends.contains(&end) {
                ends.push(end);
            }
        }
        Self { groups, ends }
    }

    /// Every common permission lasts until then.
    pub(super) fn renew(&self, until: Instant) {
        self.ends.iter().for_each(|end| end.set(until));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (GroupId, &GroupAgents)> {
        (0u16..).map(GroupId).zip(&self.groups)
    }

    pub(super) fn group(&self, id: GroupId) -> Option<&GroupAgents> {
        self.groups.get(usize::from(id.0))
    }

    pub(super) fn find(&self, id: GroupId, target: OpTarget) -> Option<Agent> {
        let group = self.group(id)?;
        match target {
            OpTarget::Data => group.data.clone().map(Agent::Data),
            OpTarget::Resource(place) => {
                group.resources.get(usize::from(place)).cloned().map(Agent::Resource)
            }
        }
    }

    /// The budget for taking an operation on `target` back.
    pub(super) fn undo_timeout(&self, id: GroupId, target: OpTarget) -> Duration {
        let Some(group) = self.group(id) else { return Duration::ZERO };
        match target {
            OpTarget::Data => group.demote_timeout,
            OpTarget::Resource(place) => {
                group.stop_timeouts.get(usize::from(place)).copied().unwrap_or_default()
            }
        }
    }

    pub(super) fn revoke_all(&self) {
        for group in &self.groups {
            group.token.revoke();
        }
    }
}

/// What a program handed over, by the name of its group.
#[derive(Default)]
pub(super) struct Offered {
    pub(super) tokens: Vec<(String, TokenCell)>,
    pub(super) data: Vec<(String, Arc<dyn DataSync>)>,
    pub(super) resources: Vec<(String, Arc<dyn Resource>)>,
}

/// Puts every agent in its configured place; notes everything that is missing, doubled or unknown.
pub(super) fn match_agents(config: &Config, offered: Offered, problems: &mut Vec<Problem>) -> Agents {
    for (group, found) in stray(config, &offered) {
        let expected = config.groups.iter().map(|g| g.name.as_str()).collect::<Vec<_>>().join(", ");
        problems.push(Problem::new(
            "groups",
            format!("{found} for group \"{group}\""),
            format!("one of: {expected}"),
        ));
    }
    let Offered { tokens, mut data, mut resources } = offered;
    let groups = config.groups().map(|(id, group)| {
        let (of_group, others) = std::mem::take(&mut data).into_iter().partition(|(g, _)| *g == group.name);
        data = others;
        let data = match_data(id, group, of_group, problems);
        let (of_group, others) =
            std::mem::take(&mut resources).into_iter().partition(|(g, _)| *g == group.name);
        resources = others;
        GroupAgents {
            token: token_of(id, group, &tokens, problems),
            data,
            resources: match_resources(id, group, of_group, problems),
            stop_timeouts: group.resources.iter().map(|r| r.stop_timeout).collect(),
            demote_timeout: group.demote_timeout,
        }
    });
    Agents::new(groups.collect())
}

fn stray(config: &Config, offered: &Offered) -> Vec<(String, String)> {
    let unknown = |name: &str| config.groups.iter().all(|g| g.name != name);
    let data = offered.data.iter().filter(|(g, _)| unknown(g)).map(|(g, _)| (g.clone(), "data".into()));
    let resources = offered.resources.iter().filter(|(g, _)| unknown(g));
    let tokens =
        offered.tokens.iter().filter(|(g, _)| unknown(g)).map(|(g, _)| (g.clone(), "a token".into()));
    data.chain(tokens)
        .chain(resources.map(|(g, r)| (g.clone(), format!("resource \"{}\"", r.name()))))
        .collect()
}

/// The cell that the program brought for the group, or a new one.
fn token_of(
    id: GroupId,
    group: &GroupConfig,
    offered: &[(String, TokenCell)],
    problems: &mut Vec<Problem>,
) -> TokenCell {
    let mut of_group = offered.iter().filter(|(name, _)| *name == group.name);
    let (first, more) = (of_group.next(), of_group.count());
    if more > 0 {
        let field = format!("groups[{id}] \"{}\".token", group.name);
        problems.push(Problem::new(field, format!("{} cells", more + 1), "at most 1"));
    }
    if let Some((_, cell)) = first
        && cell.group() != id
    {
        let field = format!("groups[{id}] \"{}\".token", group.name);
        problems.push(Problem::new(
            field,
            format!("a cell of group {}", cell.group()),
            format!("one of group {id}"),
        ));
    }
    first.map_or_else(|| TokenCell::new(id), |(_, cell)| cell.clone())
}

fn match_data(
    id: GroupId,
    group: &GroupConfig,
    mut offered: Vec<(String, Arc<dyn DataSync>)>,
    problems: &mut Vec<Problem>,
) -> Option<Arc<dyn DataSync>> {
    let expected = usize::from(group.mirrored);
    if offered.len() != expected {
        let field = format!("groups[{id}] \"{}\".mirrored", group.name);
        let found = format!("{} calls of .data(\"{}\", …)", offered.len(), group.name);
        let because = if group.mirrored { "1, as the group is mirrored" } else { "0, as it is not mirrored" };
        problems.push(Problem::new(field, found, because));
    }
    offered.pop().map(|(_, data)| data)
}

fn match_resources(
    id: GroupId,
    group: &GroupConfig,
    offered: Vec<(String, Arc<dyn Resource>)>,
    problems: &mut Vec<Problem>,
) -> Vec<Arc<dyn Resource>> {
    let configured = || group.resources.iter().map(|r| r.name.as_str()).collect::<Vec<_>>().join(", ");
    for (_, extra) in offered.iter().filter(|(_, o)| group.resources.iter().all(|r| r.name != o.name())) {
        let field = format!("groups[{id}] \"{}\".resources", group.name);
        let found = format!("an agent called \"{}\"", extra.name());
        problems.push(Problem::new(field, found, format!("one of: {}", configured())));
    }
    let mut matched = Vec::new();
    for (place, resource) in group.resources.iter().enumerate() {
        let mut of_name = offered.iter().filter(|(_, o)| o.name() == resource.name);
        let (first, more) = (of_name.next(), of_name.count());
        matched.extend(first.map(|(_, agent)| agent.clone()));
        if let Some((_, agent)) = first.filter(|(_, a)| resource.outlives_engine && !a.outlives_engine()) {
            let field = format!("groups[{id}] \"{}\".resources[{place}].outlives_engine", group.name);
            let found = format!("true, but the agent \"{}\" ends with the engine", agent.name());
            problems.push(Problem::new(field, found, "false, or an agent whose outlives_engine() is true"));
        }
        if first.is_none() || more > 0 {
            let field = format!("groups[{id}] \"{}\".resources[{place}]", group.name);
            let found =
                format!("{} agents called \"{}\"", usize::from(first.is_some()) + more, resource.name);
            problems.push(Problem::new(field, found, "exactly 1"));
        }
    }
    matched
}

/// Notes every link that is missing, surplus or in the wrong place.
pub(super) fn check_links(config: &Config, links: &[Arc<dyn LinkFactory>], problems: &mut Vec<Problem>) {
    for place in 0..config.links.len().max(links.len()) {
        let expected = config.links.get(place).map_or("no link".into(), |l| format!("\"{}\"", l.name));
        let found = links.get(place).map_or("no link".into(), |l| format!("\"{}\"", l.name()));
        if found != expected {
            problems.push(Problem::new(
                format!("links[{place}]"),
                found,
                format!("{expected}, in the configured order"),
            ));
        }
    }
}

#[cfg(test)]
#[path = "agents_tests.rs"]
mod tests;
