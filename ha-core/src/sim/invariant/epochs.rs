//! I2: epochs are granted once, upwards, and no write of an older one is accepted after a newer grant.
//!
//! A group without data has nothing that tells a node, alone after its boot, which epochs an absent peer was
//! granted; there an epoch is only never granted twice to one node.

use super::{Broken, Invariant, Verdict};
use crate::{Epoch, GroupId};

/// The grants of one group in the whole world.
#[derive(Clone, Debug, Default)]
pub struct Epochs {
    newest: Epoch,
    by: usize,
    own: [Epoch; 2],
    chosen: bool,
}

impl Epochs {
    /// Takes note of a grant that became durable; `mirrored` tells whether the group has data on both nodes.
    ///
    /// # Errors
    /// I2 if this or a newer epoch was granted before.
    pub fn granted(&mut self, group: GroupId, node: usize, epoch: Epoch, mirrored: bool) -> Verdict {
        let (before, by) = if mirrored { (self.newest, self.by) } else { (self.own[node], node) };
        self.own[node] = self.own[node].max(epoch);
        if std::mem::take(&mut self.chosen) {
            (self.newest, self.by) = (epoch, node);
            return Ok(());
        }
        if epoch <= before {
            return Err(Broken::new(
                Invariant::I2,
                format!(
                    "epoch {epoch} of group {group} was granted to node {node} after {before} to node {by}"
                ),
            ));
        }
        (self.newest, self.by) = (epoch, node);
        Ok(())
    }

    /// The node's store was lost, and with it what it knew of its own grants.
    pub fn forget(&mut self, node: usize) {
        self.own[node] = Epoch(0);
    }

    /// An operator chose a copy: its grant begins a new history, whatever an absent store may hold.
    pub fn choose(&mut self) {
        self.chosen = true;
    }

    /// Checks a write that was accepted or acknowledged in `epoch`.
    ///
    /// # Errors
    /// I2 if a newer epoch was granted before.
    pub fn write(&self, group: GroupId, node: usize, epoch: Epoch) -> Verdict {
        if epoch < self.newest {
            return Err(Broken::new(
                Invariant::I2,
                format!(
                    "node {node} acknowledged a write of epoch {epoch} of group {group} after epoch {} was granted to node {}",
                    self.newest, self.by
                ),
            ));
        }
        Ok(())
    }

    /// The newest epoch ever granted.
    #[must_use]
    pub const fn newest(&self) -> Epoch {
        self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_on_a_reused_epoch_and_on_a_late_write() {
        let mut epochs = Epochs::default();
        assert!(epochs.granted(GroupId(0), 0, Epoch(1), true).is_ok());
        assert!(epochs.write(GroupId(0), 0, Epoch(1)).is_ok());
        assert!(epochs.granted(GroupId(0), 1, Epoch(2), true).is_ok());
        assert_eq!(epochs.granted(GroupId(0), 0, Epoch(2), true).unwrap_err().invariant, Invariant::I2);
        assert_eq!(epochs.write(GroupId(0), 0, Epoch(1)).unwrap_err().invariant, Invariant::I2);
    }
}
