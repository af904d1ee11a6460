//! The configured names behind the engine's numbers.

use crate::config::Config;
use crate::{GroupId, LinkId, NodeId};
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

    pub(super) fn find_group(&self, name: &str) -> Option<GroupId> {
        self.0.groups().find(|(_, g)| g.name == name).map(|(id, _)| id)
    }

    pub(super) fn groups(&self) -> String {
        let names: Vec<_> = self.0.groups.iter().map(|g| format!("\"{}\"", g.name)).collect();
        names.join(", ")
    }
}
