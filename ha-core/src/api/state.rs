//! The node's small durable memory.

use crate::NodeRecord;

/// The node's small durable memory. Blocking; called on its own thread.
pub trait StateStore: Send {
    /// The newest durable record.
    ///
    /// # Errors
    /// [`StateError`]; a missing store is [`StateError::Missing`], a damaged one [`StateError::Corrupt`].
    fn load(&mut self) -> Result<NodeRecord, StateError>;
    /// Makes `record` durable before it returns. After an error the store is unusable: the node ends itself.
    ///
    /// # Errors
    /// [`StateError::Io`]; whether the record became durable is then unknown.
    fn save(&mut self, record: &NodeRecord) -> Result<(), StateError>;
    /// Makes room for so many groups, where that is possible. Called once, before [`StateStore::load`], by whoever
    /// starts the node.
    ///
    /// # Errors
    /// [`StateError::Io`]; the record is then as it was.
    fn make_room(&mut self, groups: usize) -> Result<(), StateError> {
        let _ = groups;
        Ok(())
    }
    /// For how many groups there is room, whatever their numbers are. A node with more does not start on it.
    fn room_for_groups(&self) -> usize {
        usize::MAX
    }
}

/// A state store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// There is no store at that place yet.
    #[error("no state store at {place}; initialise it once with a common id on both nodes")]
    Missing {
        /// Where it was looked for.
        place: String,
    },
    /// There is a store already; only a missing one is initialised.
    #[error("there is a state store at {place} already; to start over, stop both nodes and move it away")]
    Exists {
        /// Where.
        place: String,
    },
    /// Another process has the store open.
    #[error("state store at {place} is in use{}; expected one node for one store", pid.map(|p| format!(" by process {p}")).unwrap_or_default())]
    InUse {
        /// Where.
        place: String,
        /// Who, if that is known.
        pid: Option<u32>,
    },
    /// No slot holds a whole record.
    #[error("state store at {place} is damaged: {found}; expected {expected}")]
    Corrupt {
        /// Where.
        place: String,
        /// What was read.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// The operating system refused.
    #[error("state store at {place}: {source}")]
    Io {
        /// Where.
        place: String,
        /// Why.
        source: std::io::Error,
    },
}
