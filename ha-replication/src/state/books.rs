//! What is known of records: their chains, keys, aborts, and the files as they will be.

use super::{InFlight, Leader, Role, State};
use crate::ops::RelPath;
use crate::peering::Standing;
use crate::record::{Body, Chain, Record, RuleSeen};
use crate::store::Facts;
use ha_core::engine::AckRule;
use ha_core::{Epoch, Lsn, NodeId};

/// Aborted transactions that are remembered.
const ABORTED_KEPT: usize = 1024;

impl State {
    /// The chain at `lsn`, if that is known without a disk.
    pub(crate) fn chain_at(&self, lsn: Lsn) -> Option<Chain> {
        match lsn {
            Lsn(0) => Some(Chain::start(self.cfg.mirror)),
            l if l == self.sequenced => Some(self.chain),
            l if l == self.durable => Some(self.durable_chain),
            l if l > self.applied => self.in_flight(l).map(|f| f.record.head.chain),
            l if l == self.applied && !self.memory.is_empty() => None,
            _ => None,
        }
    }

    pub(crate) fn in_flight(&self, lsn: Lsn) -> Option<&InFlight> {
        let index = lsn.0.checked_sub(self.applied.0 + 1)?;
        self.memory.get(usize::try_from(index).ok()?)
    }

    /// Where this copy stands, for the other one.
    pub(crate) fn standing(&self) -> Standing {
        let lead = self.leader().map(|l| l.epoch);
        let newest = self.history.newest().map_or(Epoch(0), |e| e.epoch);
        Standing {
            lead,
            highest: newest.max(self.heard).max(self.granted),
            // All that a leader gave out will be durable, or its session ends.
            end: if lead.is_some() { self.sequenced } else { self.durable },
            acked: self.acked,
            wants_copy: self.surrendered && lead.is_none(),
            oldest: self.oldest,
            history: self.history.clone(),
            failed: matches!(self.role, Role::Failed(_)),
        }
    }

    pub(crate) const fn leader(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            _ => None,
        }
    }

    /// Keeps the books of a record that got its place, here or at the leader.
    pub(super) fn note(&mut self, record: &Record, body: &Body) {
        let lsn = record.head.lsn;
        self.epoch = record.head.epoch;
        if let Some(key) = record.head.key {
            self.keys.insert(key, lsn);
            self.keys_by_lsn.insert(lsn, key);
            while self.keys_by_lsn.len() > self.cfg.limits.max_keys {
                if let Some((old, key)) = self.keys_by_lsn.pop_first()
                    && self.keys.get(&key) == Some(&old)
                {
                    self.keys.remove(&key);
                }
            }
        }
        match body {
            Body::Tx(_) => {}
            Body::Abort { target } => self.note_abort(*target, lsn),
            Body::EpochStart(start) => {
                self.history.push(record.head.epoch, lsn);
                self.rules.push(RuleSeen { node: start.node, rule: start.rule, at: lsn });
            }
            Body::Rule(seen) => self.rules.push(*seen),
        }
    }

    fn note_abort(&mut self, target: Lsn, by: Lsn) {
        self.aborted.insert(target, by);
        self.open_aborts.push((target, by));
        if let Some(key) = self.keys_by_lsn.remove(&target)
            && self.keys.get(&key) == Some(&target)
        {
            self.keys.remove(&key);
        }
        while self.aborted.len() > ABORTED_KEPT
            && self.aborted.first_key_value().is_some_and(|(t, _)| *t <= self.applied)
        {
            self.aborted.pop_first();
        }
    }

    /// Files as they will be after the transaction `lsn`.
    pub(crate) fn overlay_tx(&mut self, lsn: Lsn, effects: impl IntoIterator<Item = (RelPath, Option<u64>)>) {
        for (path, length) in effects {
            let mut dir = path.parent();
            while let Some(d) = dir.filter(|d| length.is_some() && !self.dirs.contains(*d)) {
                self.dirs.insert(d.to_owned());
                dir = d.rsplit_once('/').map(|(up, _)| up);
            }
            self.overlay.insert(path, (length, lsn));
        }
    }

    /// Builds the overlay anew from what is in flight: after a promotion, and after an abort.
    pub(crate) fn rebuild_overlay(&mut self) {
        self.overlay.clear();
        self.dirs.clear();
        let effects: Vec<_> = self
            .memory
            .iter()
            .filter(|f| !self.aborted.contains_key(&f.record.head.lsn))
            .filter_map(|f| match f.record.body() {
                Ok(Body::Tx(ops)) => Some((f.record.head.lsn, ops)),
                _ => None,
            })
            .collect();
        for (lsn, ops) in effects {
            for op in &ops {
                let after = crate::sequencer::after(op, |p| self.overlay.get(p).and_then(|(len, _)| *len));
                self.overlay_tx(lsn, after);
            }
        }
    }

    /// Whether this copy may lack what the other one acknowledged alone.
    pub(crate) fn went_alone(&self) -> Option<RuleSeen> {
        let newest = self.rules.iter().max_by_key(|r| r.at)?;
        let other = NodeId(1 - self.cfg.me.0);
        (newest.node == other && matches!(newest.rule, AckRule::Alone(_))).then_some(*newest)
    }

    /// What a checkpoint keeps; as of now, cut at `at`.
    pub(crate) fn facts(&self, at: Lsn) -> Facts {
        Facts {
            commit: self.commit,
            acked: self.acked,
            floor: self.floor,
            rule: self.rules.iter().filter(|r| r.at <= at).max_by_key(|r| r.at).copied(),
            history: {
                let mut history = self.history.clone();
                history.cut(at);
                history
            },
            aborted: self.aborted.iter().map(|(t, by)| (*t, *by)).collect(),
            keys: self.keys_by_lsn.range(..=at).map(|(lsn, key)| (*key, *lsn)).collect(),
        }
    }
}
