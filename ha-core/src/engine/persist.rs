//! The durable record: one write at a time, always the whole record; whoever waits looks at what is durable.

use super::machine::Engine;
use super::state::{AskedConsent, Write};
use super::{Action, EndReason, TimeoutEdge};
use crate::{Generation, GroupId, GroupRecord, SetRecord, WriteId};

impl Engine {
    pub(super) fn issue_write(&mut self) {
        if self.st.write.is_some() || self.is_saved() {
            return;
        }
        self.st.next_write += 1;
        let id = WriteId(self.st.next_write);
        let record = self.st.record.clone();
        let deadline = self.st.now + self.cfg.timing.persist_deadline;
        self.st.write = Some(Write { id, record: record.clone(), deadline });
        self.outbox.push_back(Action::Persist { write: id, record });
        let agenda = &mut self.agenda;
        std::mem::swap(&mut agenda.saving, &mut agenda.unsaved);
        agenda.unsaved.clear();
    }

    /// Whether what is durable is what is wanted. The whole records are compared only after one was changed.
    pub(super) fn is_saved(&mut self) -> bool {
        if self.agenda.record_taken || self.agenda.dense {
            self.agenda.record_taken = self.st.record != self.st.durable;
        }
        !self.agenda.record_taken
    }

    pub(super) fn take_persisted(&mut self, id: WriteId, ok: bool) {
        let Some(write) = self.st.write.take_if(|w| w.id == id) else { return };
        if ok {
            self.st.durable = write.record;
            self.note_saved();
            self.again = true;
        } else {
            self.end_self(EndReason::RecordNotDurable);
        }
    }

    fn note_saved(&mut self) {
        self.agenda.record_taken = true;
        #[cfg(feature = "sabotage")]
        if self.agenda.forgets == Some(super::Forgotten::Durable) {
            return;
        }
        let mut from = 0;
        while let Some(g) = self.agenda.saving.first_from(from) {
            from = usize::from(g.0) + 1;
            self.agenda.mark(g);
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
        let owned: Vec<_> = self.maybe_owned().collect();
        for g in owned {
            if self.group(g).is_owner() {
                self.outbox.push_back(Action::Token { group: g, permission: super::Permission::Revoked });
            }
        }
        self.outbox.push_back(Action::EndSelf { reason });
        self.st.ended = true;
    }

    pub(super) fn rec(&mut self, g: GroupId) -> &mut GroupRecord {
        self.agenda.mark(g);
        self.agenda.unsaved.insert(g);
        self.agenda.record_taken = true;
        self.st.record.groups.entry(g).or_default()
    }

    /// The peer's store, as it will be remembered.
    pub(super) fn know_store(&mut self, store: crate::StoreId) {
        if self.st.record.peer_store.replace(store) != Some(store) {
            self.agenda.record_taken = true;
            self.agenda.mark_all();
        }
    }

    /// Whether the consent that was asked for is durable.
    pub(super) fn has_consented(&self, g: GroupId, q: AskedConsent) -> bool {
        self.st.durable.group(g).set == SetRecord::Out { epoch: q.epoch, generation: q.generation }
    }

    pub(super) fn is_durably_both(&self, g: GroupId, generation: Generation) -> bool {
        self.st.durable.group(g).set == SetRecord::Both { generation }
    }
}
