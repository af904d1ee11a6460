//! A node's permissions as whatever carries out its engine's actions keeps them.

use crate::engine::{Action, Permission};
use crate::{Epoch, Instant, TokenCell};

/// The permission of each group, and the end that the common ones share.
#[derive(Clone, Debug)]
pub(super) struct Permits {
    groups: Vec<Permission>,
    until: Instant,
}

impl Permits {
    /// Nothing is permitted, of so many groups.
    pub(super) fn none(groups: usize) -> Self {
        Self { groups: vec![Permission::Revoked; groups], until: Instant::ZERO }
    }

    /// Takes what the action says of permissions to heart. The groups whose permission it changes.
    pub(super) fn take(&mut self, action: &Action) -> Vec<usize> {
        match action {
            Action::Token { group, permission } => {
                self.groups[usize::from(group.0)] = *permission;
                vec![usize::from(group.0)]
            }
            Action::Renew { until } => {
                self.until = *until;
                self.common().collect()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::none(self.groups.len());
    }

    /// The grant in which the group may act, and until when; that may have passed.
    pub(super) fn valid(&self, group: usize) -> Option<(Epoch, Instant)> {
        match *self.groups.get(group)? {
            Permission::Valid { epoch, until } => Some((epoch, until)),
            Permission::Common { epoch } => Some((epoch, self.until)),
            Permission::Suspended { .. } | Permission::Revoked => None,
        }
    }

    /// The grant in which the group may act at `now`.
    pub(super) fn at(&self, group: usize, now: Instant) -> Option<Epoch> {
        self.valid(group).filter(|(_, until)| *until > now).map(|(epoch, _)| epoch)
    }

    /// Says it in the cell that agents check.
    pub(super) fn tell(&self, group: usize, cell: &TokenCell) {
        match self.groups.get(group) {
            Some(Permission::Valid { epoch, until }) => cell.set(*epoch, *until),
            Some(Permission::Common { epoch }) => cell.set(*epoch, self.until),
            Some(Permission::Suspended { epoch }) => cell.set(*epoch, Instant::ZERO),
            Some(Permission::Revoked) | None => cell.revoke(),
        }
    }

    /// Whether the group is not granted to this node.
    pub(super) fn is_revoked(&self, group: usize) -> bool {
        self.groups.get(group).is_none_or(|p| *p == Permission::Revoked)
    }

    fn common(&self) -> impl Iterator<Item = usize> + '_ {
        let common = |p: &Permission| matches!(p, Permission::Common { .. });
        self.groups.iter().enumerate().filter(move |(_, p)| common(p)).map(|(g, _)| g)
    }
}
