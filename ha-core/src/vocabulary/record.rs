//! What a node must remember through a power loss.

use crate::{BootId, Epoch, Generation, GroupId, Incarnation, InitId, PolicyRecord, StoreId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A mirror's in-sync set as one node durably knows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetRecord {
    /// No set was ever formed.
    #[default]
    Never,
    /// Both copies are members. Says nothing at boot: it can only disqualify.
    Both {
        /// The generation in which both are members.
        generation: Generation,
    },
    /// This node alone is a member: it may acknowledge alone, and is current at boot.
    Alone {
        /// The grant in which it went alone.
        epoch: Epoch,
        /// The generation in which it is alone.
        generation: Generation,
    },
    /// This node consented to its exclusion: not current until it is admitted again.
    Out {
        /// The owner's grant it consented under.
        epoch: Epoch,
        /// The generation it was excluded from.
        generation: Generation,
    },
}

impl SetRecord {
    /// The generation named in the record; zero before the first.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        match self {
            Self::Never => Generation(0),
            Self::Both { generation } | Self::Alone { generation, .. } | Self::Out { generation, .. } => {
                *generation
            }
        }
    }

    /// Whether the node may acknowledge alone.
    #[must_use]
    pub const fn is_alone(&self) -> bool {
        matches!(self, Self::Alone { .. })
    }
}

/// Services that run on without an engine, from a life that left them running to the one that takes them over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Detachment {
    /// The grant under which they were started.
    pub epoch: Epoch,
    /// The life that left.
    pub incarnation: Incarnation,
    /// The kernel's boot in which they run: another one ended them.
    pub boot: BootId,
}

/// What a node durably knows of one group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct GroupRecord {
    /// The newest grant of this node itself; zero if it never owned the group.
    pub granted: Epoch,
    /// The newest epoch this node meant to be granted. Means nothing at boot, but is never reused.
    pub intent: Epoch,
    /// No grant of this node may use an epoch up to here: promises given, grants heard of, amnesia jumps.
    pub floor: Epoch,
    /// The newest grant that a third party is known to have made: told by it, or heard of its owner. It has forgotten
    /// if it tells of an older one. Zero without a third party.
    #[serde(default)]
    pub witnessed: Epoch,
    /// The mirror's in-sync set.
    pub set: SetRecord,
    /// An owner without its arbiter may act on this node's promise: after a boot no lease is judged before a whole
    /// takeover wait (rule 13).
    #[serde(default)]
    pub promised: bool,
    /// What this node was granted last waits for the other one's address to expire: a later life that is granted it on an
    /// earlier one's word waits again.
    #[serde(default)]
    pub awaits_address: bool,
    /// This node's services that run, or are about to run, without an engine.
    #[serde(default)]
    pub detached: Option<Detachment>,
    /// The peer's, which this node promised to leave alone: no proof that the peer's restart produces ends them.
    #[serde(default)]
    pub spares: Option<Detachment>,
}

impl GroupRecord {
    /// The highest epoch that this record knows of.
    #[must_use]
    pub fn highest(&self) -> Epoch {
        self.granted.max(self.intent).max(self.floor).max(self.witnessed)
    }

    /// Whether nothing was ever granted, intended, promised or mirrored.
    #[must_use]
    pub fn is_pristine(&self) -> bool {
        *self == Self::default()
    }
}

/// The node's small durable memory, written whole.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The life of this store.
    pub store: StoreId,
    /// Set if the store was explicitly initialised, with the same value on both nodes.
    pub init: Option<InitId>,
    /// The peer's store as last admitted; another one is amnesiac.
    pub peer_store: Option<StoreId>,
    /// One record a group.
    pub groups: BTreeMap<GroupId, GroupRecord>,
    /// Standby and maintenance, as operators ordered them.
    #[serde(default)]
    pub policy: PolicyRecord,
}

impl NodeRecord {
    /// A blank record of a new store.
    #[must_use]
    pub const fn blank(store: StoreId, init: Option<InitId>) -> Self {
        Self { store, init, peer_store: None, groups: BTreeMap::new(), policy: PolicyRecord::SILENT }
    }

    /// The record of `group`; a pristine one if none was written.
    #[must_use]
    pub fn group(&self, group: GroupId) -> GroupRecord {
        self.groups.get(&group).copied().unwrap_or_default()
    }
}
