//! What the control thread needs of the guardian behind this process.

use crate::api::{Undo, UndoError};
use crate::wire::Testament;
use crate::{Epoch, GroupId};

/// The guardian as the runtime uses it.
pub(super) trait Seat: Send + Sync {
    /// Says that the control thread runs, and which groups this node owns.
    fn feed(&self, owned: &[(GroupId, Epoch)]);
    /// Hands over what it needs to speak for this life on a link.
    fn testament(&self, link: &str, testament: &Testament);
    /// Stores an undo step. Blocks until it is stored.
    fn remember(&self, undo: Undo) -> Result<(), UndoError>;
}
