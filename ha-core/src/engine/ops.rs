//! Operations on resources and data: budgets, completions, late completions.

use super::machine::Engine;
use super::state::Role;
use super::{Action, EndReason, EventKind, Health, OpKind, OpResult, OpTarget, TimeoutEdge};
use crate::{GroupId, OpId};

impl Engine {
    pub(super) fn start_op(&mut self, group: GroupId, target: OpTarget, kind: OpKind) -> OpId {
        let op = self.op_id();
        let c = self.group_config(group);
        let budget = match (target, kind) {
            (_, OpKind::Promote(_)) => c.promote_timeout,
            (_, OpKind::Demote) => c.demote_timeout,
            (_, OpKind::Drain) => c.policy.drain,
            (OpTarget::Resource(r), OpKind::Resume) => c.resources[usize::from(r)].start_timeout,
            (OpTarget::Resource(r), OpKind::Start) => c.resources[usize::from(r)].start_timeout,
            (OpTarget::Resource(r), OpKind::Stop) => c.resources[usize::from(r)].stop_timeout,
            (OpTarget::Resource(r), OpKind::Monitor) => c.resources[usize::from(r)].monitor_timeout,
            (OpTarget::Data, OpKind::Start | OpKind::Stop | OpKind::Monitor | OpKind::Resume) => {
                c.demote_timeout
            }
        };
        let deadline = self.st.now + budget;
        let epoch = self.group(group).epoch;
        self.st.ops.insert(op, super::state::Op { group, target, kind, deadline, abandoned: false });
        self.outbox.push_back(Action::Op { op, group, target, kind, epoch, deadline });
        op
    }

    pub(super) fn abandon(&mut self, op: OpId) {
        if let Some(o) = self.st.ops.get_mut(&op) {
            o.abandoned = true;
            o.deadline = crate::Instant::FAR;
            self.outbox.push_back(Action::Cancel { op });
        }
    }

    pub(super) fn watch_ops(&mut self) {
        self.watch_write();
        let now = self.st.now;
        let late: Vec<_> =
            self.st.ops.iter().filter(|(_, o)| now >= o.deadline).map(|(id, o)| (*id, *o)).collect();
        for (id, op) in late {
            if self.st.ended {
                return;
            }
            if op.abandoned {
                self.end_self(EndReason::StopOverrun);
                return;
            }
            self.abandon(id);
            self.op_overran(id, op);
        }
    }

    fn op_overran(&mut self, id: OpId, op: super::state::Op) {
        let edge = match op.kind {
            OpKind::Promote(_) => TimeoutEdge::Promote,
            OpKind::Demote => TimeoutEdge::Demote,
            OpKind::Start | OpKind::Resume => TimeoutEdge::Start,
            OpKind::Drain => TimeoutEdge::Drain,
            OpKind::Stop => TimeoutEdge::Stop,
            OpKind::Monitor => TimeoutEdge::Monitor,
        };
        self.timed_out(edge);
        self.emit(EventKind::OpOverrun { group: op.group });
        let result = match op.kind {
            OpKind::Monitor => OpResult::Health(Health::Unknown),
            #[cfg(feature = "sabotage")]
            OpKind::Stop | OpKind::Demote if self.is_broken(super::Sabotage::StopOverrunIsDone) => {
                OpResult::Done { final_lsn: None }
            }
            _ => OpResult::Failed,
        };
        self.conclude(id, op, result, true);
    }

    pub(super) fn op_completed(&mut self, id: OpId, op: super::state::Op, result: OpResult) {
        if op.abandoned {
            self.undo_late(op);
        } else {
            self.conclude(id, op, result, false);
        }
    }

    /// A start that ended after it was given up is undone, unless the same thing runs again by now. One that
    /// failed may have begun something too.
    fn undo_late(&mut self, op: super::state::Op) {
        let started = matches!(op.kind, OpKind::Start | OpKind::Promote(_));
        let g = op.group;
        self.again = true;
        if started && matches!(self.group(g).role, Role::Stopping { .. }) {
            let step = match (self.group_config(g).mirrored, op.target) {
                (_, OpTarget::Data) => 1,
                (mirrored, OpTarget::Resource(r)) => r + 1 + u8::from(mirrored),
            };
            let gr = self.gr(g);
            gr.restop = gr.restop.max(step);
        } else if started && !self.group(g).is_owner() {
            let kind = if op.target == OpTarget::Data { OpKind::Demote } else { OpKind::Stop };
            self.start_op(g, op.target, kind);
        }
    }

    fn conclude(&mut self, id: OpId, op: super::state::Op, result: OpResult, overran: bool) {
        let g = op.group;
        self.again = true;
        if self.looked(g, id, result) {
            return;
        }
        match (op.kind, op.target) {
            (OpKind::Monitor, OpTarget::Resource(r)) => return self.monitored(g, r, id, result, overran),
            (OpKind::Drain, _) => return self.drained(g, id),
            (OpKind::Resume, target) => return self.resumed(g, target, result),
            _ => {}
        }
        if self.group(g).op != Some(id) {
            // The undoing of a late start: what cannot be stopped is ended by the guardian.
            if matches!(op.kind, OpKind::Stop | OpKind::Demote) && !matches!(result, OpResult::Done { .. }) {
                self.end_self(EndReason::StopOverrun);
            }
            return;
        }
        self.gr(g).op = None;
        match (self.group(g).role, result) {
            (Role::Starting { step }, OpResult::Done { .. }) => {
                self.gr(g).role = Role::Starting { step: step + 1 }
            }
            (Role::Starting { step }, _) => {
                let resource = step.saturating_sub(u8::from(self.group_config(g).mirrored));
                self.emit(EventKind::Resource { group: g, resource, health: Health::Failed });
                self.failed_at(g, step);
            }
            (Role::Stopping { why, step, floor }, OpResult::Done { final_lsn }) => {
                let gr = self.gr(g);
                if op.kind == OpKind::Demote {
                    gr.final_lsn = final_lsn;
                }
                gr.role = Role::Stopping { why, step: step.saturating_sub(1).max(floor), floor };
            }
            (Role::Stopping { .. }, _) => self.end_self(EndReason::StopOverrun),
            _ => {}
        }
    }
}
