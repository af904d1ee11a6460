//! What operators told the pair to leave alone: standby and maintenance, known to both nodes and kept by both.

use crate::{GroupId, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an operator's word is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum PolicyScope {
    /// Both nodes and every group.
    Cluster,
    /// One node, with whatever it runs.
    Node(NodeId),
    /// One group, wherever it is.
    Group(GroupId),
}

/// The newest word about one scope. A higher stamp is newer; of two words with one stamp, given on two nodes that
/// did not hear each other, both count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct PolicyFlags {
    /// Counts the words about this scope; zero: never any.
    pub stamp: u32,
    /// Nothing is started here, and what runs moves to a viable target. Of a node only.
    pub standby: bool,
    /// Nothing is started, stopped, moved or fenced by policy; monitors go on.
    pub maintenance: bool,
}

impl PolicyFlags {
    const NONE: Self = Self { stamp: 0, standby: false, maintenance: false };

    /// What both words together say.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        match self.stamp.cmp(&other.stamp) {
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Greater => self,
            std::cmp::Ordering::Equal => Self {
                stamp: self.stamp,
                standby: self.standby || other.standby,
                maintenance: self.maintenance || other.maintenance,
            },
        }
    }
}

/// Every word that was ever given, by scope.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// About everything.
    pub cluster: PolicyFlags,
    /// About each node.
    pub nodes: [PolicyFlags; 2],
    /// About groups of which something was said.
    pub groups: BTreeMap<GroupId, PolicyFlags>,
}

impl PolicyRecord {
    /// No word was ever given.
    pub(crate) const SILENT: Self =
        Self { cluster: PolicyFlags::NONE, nodes: [PolicyFlags::NONE; 2], groups: BTreeMap::new() };

    /// The newest word about `scope`.
    #[must_use]
    pub fn get(&self, scope: PolicyScope) -> PolicyFlags {
        match scope {
            PolicyScope::Cluster => self.cluster,
            PolicyScope::Node(n) => self.nodes.get(usize::from(n.0)).copied().unwrap_or_default(),
            PolicyScope::Group(g) => self.groups.get(&g).copied().unwrap_or_default(),
        }
    }

    /// Keeps `flags` as the newest word about `scope`.
    pub fn set(&mut self, scope: PolicyScope, flags: PolicyFlags) {
        match scope {
            PolicyScope::Cluster => self.cluster = flags,
            PolicyScope::Node(n) => {
                if let Some(node) = self.nodes.get_mut(usize::from(n.0)) {
                    *node = flags;
                }
            }
            PolicyScope::Group(g) => {
                self.groups.insert(g, flags);
            }
        }
    }

    /// Every scope about which a word was given.
    pub fn said(&self) -> impl Iterator<Item = (PolicyScope, PolicyFlags)> + '_ {
        let nodes = (0u8..).map(|n| PolicyScope::Node(NodeId(n))).zip(self.nodes);
        let groups = self.groups.iter().map(|(g, flags)| (PolicyScope::Group(*g), *flags));
        std::iter::once((PolicyScope::Cluster, self.cluster))
            .chain(nodes)
            .chain(groups)
            .filter(|(_, flags)| flags.stamp > 0)
    }

    /// Whether no word was ever given.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.said().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flags() -> impl Strategy<Value = PolicyFlags> {
        (0u32..4, any::<bool>(), any::<bool>()).prop_map(|(stamp, standby, maintenance)| PolicyFlags {
            stamp,
            standby,
            maintenance,
        })
    }

    proptest! {
        /// Two nodes that heard the same words in any order, each any number of times, agree.
        #[test]
        fn words_merge_alike_in_every_order(a in flags(), b in flags(), c in flags()) {
            prop_assert_eq!(a.merged(b), b.merged(a));
            prop_assert_eq!(a.merged(b).merged(c), a.merged(b.merged(c)));
            prop_assert_eq!(a.merged(a), a);
            prop_assert!(a.merged(b).stamp >= a.stamp);
        }
    }

    #[test]
    fn what_was_set_is_found_and_said_once() {
        let mut record = PolicyRecord::default();
        assert!(record.is_silent());
        let on = PolicyFlags { stamp: 2, standby: true, maintenance: false };
        for scope in [PolicyScope::Cluster, PolicyScope::Node(NodeId(1)), PolicyScope::Group(GroupId(3))] {
            record.set(scope, on);
            assert_eq!(record.get(scope), on);
        }
        record.set(PolicyScope::Node(NodeId(9)), on);
        assert_eq!(record.get(PolicyScope::Node(NodeId(9))), PolicyFlags::default(), "no such node");
        assert_eq!(record.said().count(), 3);
    }
}
