//! The durable record: one write at a time, always the whole record; whoever waits looks at what is durable.

use super::machine::Engine;
use super::state::{AskedConsent, Write};
use super::{Action, EndReason, TimeoutEdge};
use crate::{Generation, GroupId, GroupRecord, SetRecord, WriteId};

impl Engine {
    pub(super) fn issue_write(&mut self) {
        if self.st.write.is_some() || self.st.record == self.st.durable {
            return;
        }
        self.st.next_write += 1;
        let id = WriteId(self.st.next_write);
        let record = self.st.record.clone();
        let deadline = self.st.now + self.cfg.timing.persist_deadline;
        self.st.write = Some(Write { id, record: record.clone(), deadline });
        self.outbox.push_back(Action::Persist { write: id, record });
    }

    pub(super) fn take_persisted(&mut self, id: WriteId, ok: bool) {
        let Some(write) = self.st.write.take_if(|w| w.id == id) else { return };
        if ok {
            self.st.durable = write.record;
            self.again = true;
        } else {
            self.end_self(EndReason::RecordNotDurable);
        }
    }

    /// A node that cannot remember ends itself: the peer then has its guardian's word (rule 2).
    pub(super) fn watch_write(&mut self) {
        if self.st.write.as_ref().is_some_and(|w| self.st.now >= w.deadline) {
            self.timed_out(TimeoutEdge::Persist);
            self.end_self(EndReason::RecordNotDurable);
        }
    }

    pub(super) fn end_self(&mut self, reason: EndReason) {
        for g in self.group_ids() {
            if self.group(g).is_owner() {
                self.outbox.push_back(Action::Token { group: g, permission: super::Permission::Revoked });
            }
        }
        self.outbox.push_back(Action::EndSelf { reason });
        self.st.ended = true;
    }

    pub(super) fn rec(&mut self, g: GroupId) -> &mut GroupRecord {
        self.st.record.groups.entry(g).or_default()
    }

    /// Whether the consent that was asked for is durable.
    pub(super) fn has_consented(&self, g: GroupId, q: AskedConsent) -> bool {
        self.st.durable.group(g).set == SetRecord::Out { epoch: q.epoch, generation: q.generation }
    }

    pub(super) fn is_durably_both(&self, g: GroupId, generation: Generation) -> bool {
        self.st.durable.group(g).set == SetRecord::Both { generation }
    }
}
