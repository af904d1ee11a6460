//! The configured names behind the engine's numbers.

use super::error::NodeError;
use crate::config::Config;
use crate::{GroupId, LinkId, NodeId, PolicyScope};
use std::sync::Arc;

/// Looks names up; an unknown number is shown as it is.
#[derive(Clone)]
pub(super) struct Names(Arc<Config>);

impl Names {
    pub(super) const fn new(config: Arc<Config>) -> Self {
        Self(config)
    }

    pub(super) fn node(&self, id: NodeId) -> String {
        self.0.nodes.get(usize::from(id.0)).map_or_else(|| format!("node {id}"), |n| n.name.clone())
    }

    pub(super) fn link(&self, id: LinkId) -> String {
        self.0.links.get(usize::from(id.0)).map_or_else(|| format!("link {id}"), |l| l.name.clone())
    }

    pub(super) fn group(&self, id: GroupId) -> String {
        self.0.groups.get(usize::from(id.0)).map_or_else(|| format!("group {id}"), |g| g.name.clone())
    }

    pub(super) fn resource(&self, group: GroupId, place: u8) -> String {
        let resource =
            self.0.groups.get(usize::from(group.0)).and_then(|g| g.resources.get(usize::from(place)));
        resource.map_or_else(|| format!("resource {place}"), |r| r.name.clone())
    }

    /// What a scope is, and its name if it has one.
    pub(super) fn scope(&self, scope: PolicyScope) -> (&'static str, Option<String>) {
        match scope {
            PolicyScope::Cluster => ("cluster", None),
            PolicyScope::Node(n) => ("node", Some(self.node(n))),
            PolicyScope::Group(g) => ("group", Some(self.group(g))),
        }
    }

    pub(super) fn find_node(&self, name: &str) -> Result<NodeId, NodeError> {
        let place = (0u8..).zip(&self.0.nodes).find(|(_, n)| n.name == name);
        place.map(|(place, _)| NodeId(place)).ok_or_else(|| {
            let names: Vec<_> = self.0.nodes.iter().map(|n| format!("\"{}\"", n.name)).collect();
            NodeError::UnknownNode { found: name.into(), expected: names.join(", ") }
        })
    }

    pub(super) fn find_group(&self, name: &str) -> Option<GroupId> {
        self.0.groups().find(|(_, g)| g.name == name).map(|(id, _)| id)
    }

    pub(super) fn groups(&self) -> String {
        let names: Vec<_> = self.0.groups.iter().map(|g| format!("\"{}\"", g.name)).collect();
        names.join(", ")
    }
}
