//! Makes records durable, and cuts a tail off.

use super::{BATCH_BYTES, next_work};
use crate::hub::Hub;
use crate::record::{Chain, Record};
use crate::state::{JournalJob, State};
use crate::store::{Journal, QuarantineReport};
use ha_core::Lsn;

enum JournalWork {
    Append(Vec<Record>),
    Cut(Lsn, Chain),
}

impl State {
    fn journal_work(&mut self) -> Option<JournalWork> {
        if let Some(JournalJob::Cut(after)) = self.journal_queue.front() {
            let after = *after;
            self.journal_queue.pop_front();
            let chain = self.accepting.map_or(self.chain, |p| p.chain);
            return Some(JournalWork::Cut(after, chain));
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(JournalJob::Append(record)) = self.journal_queue.front() {
            if !batch.is_empty() && bytes + record.bytes.len() > BATCH_BYTES {
                break;
            }
            bytes += record.bytes.len();
            batch.push(record.clone());
            self.journal_queue.pop_front();
        }
        (!batch.is_empty()).then_some(JournalWork::Append(batch))
    }

    fn cut_ended(&mut self, after: Lsn, chain: Chain, report: Option<QuarantineReport>) {
        self.cut_done(after, chain);
        if report.is_some() {
            self.quarantine = report;
        }
        self.follow();
        self.reply_position();
        self.effects.report = true;
    }
}

/// Makes records durable, all that wait at once.
pub(crate) fn run(hub: &Hub, journal: Journal) {
    let mut part = Some(journal);
    let fresh = |s: &mut State| s.parts.journal.take();
    while let Some(work) = next_work(hub, &hub.journal_wake, &mut part, fresh, State::journal_work) {
        // While the disk syncs, the tree's lane writes the same records ahead.
        hub.apply_wake.notify_one();
        let Some(journal) = part.as_mut() else { continue };
        let done = match work {
            JournalWork::Append(batch) => {
                journal.append(&batch).map(|(lsn, chain)| hub.with(|s| s.journal_done(lsn, chain)))
            }
            JournalWork::Cut(after, chain) => {
                journal.cut(after).map(|report| hub.with(|s| s.cut_ended(after, chain, report)))
            }
        };
        if let Err(e) = done {
            hub.with(|s| s.fail(&format!("journal: {e}")));
            return;
        }
    }
}
