//! Before a planned move: resources finish their work, within a deadline; a move that is given up takes it back.

use super::machine::Engine;
use super::policy_state::Draining;
use super::state::Role;
use super::{OpKind, OpResult, OpTarget};
use crate::{GroupId, OpId};

impl Engine {
    /// Whether everything of the group finished its work, or had its time to. Begins with the first question.
    pub(super) fn is_drained(&mut self, g: GroupId) -> bool {
        if self.group_config(g).policy.drain.is_zero() {
            return true;
        }
        if self.group(g).policy.draining.is_none() {
            let left = (0..self.group_config(g).resources.len() as u8)
                .map(|r| self.start_op(g, OpTarget::Resource(r), OpKind::Drain))
                .collect();
            self.gr(g).policy.draining = Some(Draining { left });
        }
        self.group(g).policy.draining.as_ref().is_some_and(|d| d.left.is_empty())
    }

    /// One resource finished, or its time is over: either way it is waited for no longer.
    pub(super) fn drained(&mut self, g: GroupId, id: OpId) {
        if let Some(d) = &mut self.gr(g).policy.draining {
            d.left.retain(|left| *left != id);
        }
    }

    /// The move was given up: what stopped accepting work accepts it again.
    pub(super) fn take_back_drain(&mut self, g: GroupId) {
        if self.group(g).policy.draining.is_none() {
            return;
        }
        self.gr(g).policy.draining = None;
        self.give_up_drain_ops(g);
        if self.group(g).role == Role::Active {
            for r in 0..self.group_config(g).resources.len() as u8 {
                self.start_op(g, OpTarget::Resource(r), OpKind::Resume);
            }
        }
    }

    pub(super) fn end_drain(&mut self, g: GroupId) {
        self.gr(g).policy.draining = None;
        self.give_up_drain_ops(g);
    }

    fn give_up_drain_ops(&mut self, g: GroupId) {
        let under_way: Vec<OpId> = self
            .st
            .ops
            .iter()
            .filter(|(_, o)| o.group == g && !o.abandoned && matches!(o.kind, OpKind::Drain | OpKind::Resume))
            .map(|(id, _)| *id)
            .collect();
        for op in under_way {
            self.abandon(op);
        }
    }

    /// What does not accept work again is restarted.
    pub(super) fn resumed(&mut self, g: GroupId, target: OpTarget, result: OpResult) {
        let OpTarget::Resource(r) = target else { return };
        if !matches!(result, OpResult::Done { .. }) && self.group(g).role == Role::Active {
            self.failed_at(g, r + u8::from(self.group_config(g).mirrored));
        }
    }
}
