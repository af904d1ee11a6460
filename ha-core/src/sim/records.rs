//! A node's record between its disk and its processes.

use super::cluster::{Cluster, Event, MS};
use super::disk::RecordDisk;
use crate::{NodeRecord, StoreId};

impl Cluster {
    /// Opens the record for a process that starts. False if it cannot be read: nothing starts until an operator
    /// moved it away.
    pub(super) fn read_record(&mut self, node: usize) -> bool {
        match self.nodes[node].disk.open() {
            Ok(record) => {
                self.nodes[node].record = record;
                true
            }
            Err(error) => {
                self.refuse_record(node, &error.to_string());
                false
            }
        }
    }

    fn refuse_record(&mut self, node: usize, why: &str) {
        if !std::mem::replace(&mut self.nodes[node].unreadable, true) {
            self.probes.hit("disk", "record refused");
            self.say(Some(node), format!("does not start: {why}"));
            let patience = self.rng.range(1000, 4000) * MS;
            self.after(patience, Event::MoveRecordAway { node });
        }
    }

    /// An operator moves an unreadable record away: the node boots as one without a past.
    pub(super) fn move_record_away(&mut self, node: usize) {
        if std::mem::take(&mut self.nodes[node].unreadable) {
            self.say(Some(node), "an operator moves the unreadable record away");
            self.blank_record(node);
            self.restart_after(node, 100 * MS);
        }
    }

    /// A new, blank store.
    pub(super) fn blank_record(&mut self, node: usize) {
        self.disk_replaced = true;
        let store = StoreId(self.rng.id());
        let chance = self.rng.fork();
        let n = &mut self.nodes[node];
        n.disk = RecordDisk::new(store, None, chance);
        n.record = NodeRecord::blank(store, None);
        n.blank = true;
        n.unreadable = false;
        self.epochs.iter_mut().for_each(|e| e.forget(node));
    }

    /// What a restart would read after a process ended or the power was lost.
    pub(super) fn reread_record(&mut self, node: usize) {
        let n = &mut self.nodes[node];
        if n.disk.is_lying() {
            // To read is to write again and sync: only a process does that.
            return;
        }
        if let Ok(record) = n.disk.open() {
            n.record = record;
        }
        n.disk.process_ended(None);
        if std::mem::take(&mut n.disk.lost_a_promise) {
            self.probes.hit("disk", "lost a promise");
            self.say(Some(node), "its disk lost a record that it had called durable");
            // The rules rest on durable records; what is still asserted is the union of both stores.
            self.tainted.fill(true);
            self.deceived = true;
        }
    }

    /// The disk of `node` is mended.
    pub(super) fn mend_disk(&mut self, node: usize) {
        let disk = &mut self.nodes[node].disk;
        disk.fill(false);
        disk.lie(false);
    }
}
