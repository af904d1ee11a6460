//! A transaction: built, committed once, and answered truthfully.

use crate::hub::{Hub, SHARE_BYTES};
use crate::mirror::Mirror;
use crate::ops::{Op, RelPath, Target};
use crate::outcome::{CommitOutcome, RejectReason, TxId, UnknownReason};
use crate::record::{Body, Draft, DraftError, KeyHash};
use crate::state::{Resolution, Role, State};
use crate::store::{Entry, Lookup};
use bytes::Bytes;
use ha_core::{Epoch, Lsn, NodeId};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

const MAX_OPS: usize = crate::ops::MAX_OPS;
const KEY_BYTES: std::ops::RangeInclusive<usize> = 1..=256;

/// Changes that happen together or not at all. Built by its methods; nothing happens before
/// [`Transaction::commit`] is polled.
#[must_use = "nothing happens before it is committed"]
pub struct Transaction {
    mirror: Mirror,
    ops: Vec<Op>,
    key: Option<KeyHash>,
    fault: Option<RejectReason>,
}

enum Sequenced {
    Wait {
        lsn: Lsn,
        repeated: bool,
        waiter: oneshot::Receiver<Resolution>,
    },
    Done {
        lsn: Lsn,
    },
    /// What exists changed since the transaction was encoded.
    Stale,
}

impl Transaction {
    pub(crate) const fn new(mirror: Mirror) -> Self {
        Self { mirror, ops: Vec::new(), key: None, fault: None }
    }

    /// Makes or replaces a file.
    pub fn put(self, path: &str, bytes: impl Into<Bytes>) -> Self {
        let data = bytes.into();
        self.with(path, |path| Op::Put { path, target: Target::default(), data })
    }

    /// Makes a file; refused if the name is taken.
    pub fn put_new(self, path: &str, bytes: impl Into<Bytes>) -> Self {
        let data = bytes.into();
        let target = Target { new: true, was_absent: true };
        self.with(path, |path| Op::Put { path, target, data })
    }

    /// Adds to a file that has exactly `expected_offset` bytes; at zero it may be missing.
    pub fn append(self, path: &str, expected_offset: u64, bytes: impl Into<Bytes>) -> Self {
        let data = bytes.into();
        self.with(path, |path| Op::Append { path, target: Target::default(), offset: expected_offset, data })
    }

    /// Moves an existing file, replacing `to`.
    pub fn rename(self, from: &str, to: &str) -> Self {
        self.moving(from, to, Target::default())
    }

    /// Moves an existing file to a free name.
    pub fn rename_new(self, from: &str, to: &str) -> Self {
        self.moving(from, to, Target { new: true, was_absent: true })
    }

    /// Removes an existing file.
    pub fn remove(self, path: &str) -> Self {
        self.with(path, |path| Op::Remove { path })
    }

    /// A second transaction with the same key is not executed: it gets the result of the first.
    pub fn idempotency_key(mut self, key: &[u8]) -> Self {
        if KEY_BYTES.contains(&key.len()) {
            self.key = Some(KeyHash::of(key));
        } else {
            self.fault = self.fault.or(Some(RejectReason::BadKey));
        }
        self
    }

    fn with(mut self, path: &str, op: impl FnOnce(RelPath) -> Op) -> Self {
        match RelPath::new(path) {
            Ok(path) => self.ops.push(op(path)),
            Err(why) => self.fault = self.fault.or(Some(RejectReason::BadPath { path: path.into(), why })),
        }
        self
    }

    fn moving(mut self, from: &str, to: &str, target: Target) -> Self {
        match RelPath::new(to) {
            Ok(to) => self.with(from, |from| Op::Rename { from, to, target }),
            Err(why) => {
                self.fault = self.fault.or(Some(RejectReason::BadPath { path: to.into(), why }));
                self
            }
        }
    }

    /// Commits it: atomic, in order, durable where the rule demands it before it is visible or answered.
    ///
    /// Dropping the future once it was polled cancels nothing: the transaction may still be committed.
    pub async fn commit(mut self) -> CommitOutcome {
        let hub = self.mirror.hub().clone();
        if let Some(why) = self.fault.take() {
            return CommitOutcome::Rejected { why };
        }
        let share = match self.share(&hub).await {
            Ok(share) => share,
            Err(why) => return CommitOutcome::Rejected { why },
        };
        match self.place(&hub, share) {
            Ok((epoch, sequenced)) => answer(&hub, epoch, sequenced).await,
            Err(why) => CommitOutcome::Rejected { why },
        }
    }

    /// Its part of the window: at most `inflight_bytes` are under way.
    async fn share(&self, hub: &Arc<Hub>) -> Result<OwnedSemaphorePermit, RejectReason> {
        let bytes = crate::ops::encoded_len(&self.ops);
        let max = hub.cfg.limits.max_transaction_bytes;
        match self.ops.len() {
            0 => return Err(RejectReason::Empty),
            found if found > MAX_OPS => return Err(RejectReason::TooManyOps { found, max: MAX_OPS }),
            _ if bytes > max => return Err(RejectReason::TooLarge { found: bytes, max }),
            _ => {}
        }
        // Nobody waits for room in a mirror that takes nothing.
        hub.with(|s| ready(s))?;
        let shares = u32::try_from(bytes.div_ceil(SHARE_BYTES)).unwrap_or(u32::MAX);
        let failed = |_| RejectReason::Failed { why: "the mirror is closed".into() };
        hub.window.clone().acquire_many_owned(shares).await.map_err(failed)
    }

    /// Encodes it and gives it its number.
    fn place(&mut self, hub: &Hub, share: OwnedSemaphorePermit) -> Result<(Epoch, Sequenced), RejectReason> {
        let closed = || RejectReason::Failed { why: "the mirror is closed".into() };
        let lookup = hub.lookup().ok_or_else(closed)?;
        let mut share = Some(share);
        let mut known: Option<Vec<bool>> = None;
        loop {
            // A first look without the lock warms the names; under it the look is repeated.
            let absent = known.take().unwrap_or_else(|| self.look(&lookup));
            self.mark(&absent);
            let draft =
                Draft::tx(&self.ops, self.key, hub.cfg.limits.max_transaction_bytes).map_err(reject)?;
            let token = hub.cfg.token.check(hub.now()).map_err(RejectReason::Token)?;
            let placed = hub.with(|s| {
                let epoch = ready(s)?;
                if token.epoch != epoch {
                    return Err(RejectReason::NotPrimary);
                }
                if let Some(lsn) = s.known_key(self.key) {
                    return Ok((epoch, join(s, lsn, true)));
                }
                has_space(s)?;
                let checked = s.check(&self.ops, &lookup)?;
                if checked.absent != absent {
                    known = Some(checked.absent);
                    return Ok((epoch, Sequenced::Stale));
                }
                let lsn = s.sequence(draft, share.take());
                s.overlay_tx(lsn, checked.effects);
                Ok((epoch, join(s, lsn, false)))
            })?;
            if !matches!(placed.1, Sequenced::Stale) {
                return Ok(placed);
            }
        }
    }

    fn look(&self, lookup: &Lookup) -> Vec<bool> {
        let absent = |op: &Op| {
            if let Op::Rename { from, .. } = op {
                // Only so that nobody waits for a disk when it is looked up under the lock.
                let _ = lookup.file_len(from);
            }
            !matches!(lookup.file_len(op.path()), Ok(Entry::File(_)))
        };
        self.ops.iter().map(|op| absent(op) && !matches!(op, Op::Remove { .. })).collect()
    }

    fn mark(&mut self, absent: &[bool]) {
        for (op, absent) in self.ops.iter_mut().zip(absent) {
            if let Op::Put { target, .. } | Op::Append { target, .. } | Op::Rename { target, .. } = op {
                target.was_absent = *absent;
            }
        }
    }
}

fn reject(e: DraftError) -> RejectReason {
    match e {
        DraftError::Empty => RejectReason::Empty,
        DraftError::TooManyOps { found, max } => RejectReason::TooManyOps { found, max },
        DraftError::TooLarge { found, max } => RejectReason::TooLarge { found, max },
    }
}

fn ready(s: &State) -> Result<Epoch, RejectReason> {
    match &s.role {
        Role::Leader(leader) if !leader.closing => Ok(leader.epoch),
        Role::Failed(why) => Err(RejectReason::Failed { why: why.clone() }),
        _ => Err(RejectReason::NotPrimary),
    }
}

fn has_space(s: &State) -> Result<(), RejectReason> {
    let me = s.cfg.me;
    match (s.low_space, s.peer_low_space && s.connected()) {
        (true, _) => Err(RejectReason::NoSpace { whose: me }),
        (false, true) => Err(RejectReason::NoSpace { whose: NodeId(1 - me.0) }),
        _ => Ok(()),
    }
}

fn join(s: &mut State, lsn: Lsn, repeated: bool) -> Sequenced {
    if lsn <= s.applied {
        return Sequenced::Done { lsn };
    }
    let (tell, waiter) = oneshot::channel();
    s.waiters.entry(lsn).or_default().push(tell);
    Sequenced::Wait { lsn, repeated, waiter }
}

async fn answer(hub: &Hub, epoch: Epoch, sequenced: Sequenced) -> CommitOutcome {
    let (lsn, repeated) = match sequenced {
        Sequenced::Done { lsn } => (lsn, true),
        Sequenced::Stale => return CommitOutcome::Rejected { why: RejectReason::NotPrimary },
        Sequenced::Wait { lsn, repeated, mut waiter } => {
            let waited = tokio::time::timeout(hub.cfg.limits.commit_timeout, &mut waiter).await;
            let resolution = match waited {
                Ok(resolution) => resolution.ok(),
                Err(_) if repeated => Some(Resolution::Unknown(UnknownReason::GaveUp)),
                Err(_) => {
                    hub.with(|s| s.give_up_tx(lsn));
                    waiter.await.ok()
                }
            };
            let tx_id = TxId { epoch: hub.lock().history.epoch_at(lsn).unwrap_or(epoch), lsn };
            match resolution {
                Some(Resolution::Applied) => {}
                Some(Resolution::Unknown(why)) => return CommitOutcome::Unknown { tx_id, why },
                None => return CommitOutcome::Unknown { tx_id, why: UnknownReason::Failed },
            }
            (lsn, repeated)
        }
    };
    let checked_at = hub.now();
    match hub.cfg.token.check(checked_at) {
        Ok(token) if token.epoch == epoch => CommitOutcome::Committed { lsn, epoch, checked_at, repeated },
        _ => {
            let tx_id = TxId { epoch: hub.lock().history.epoch_at(lsn).unwrap_or(epoch), lsn };
            CommitOutcome::Unknown { tx_id, why: UnknownReason::TokenExpired }
        }
    }
}

impl State {
    /// A commit waited too long: it is aborted, with everything after it that rests on the same files.
    fn give_up_tx(&mut self, lsn: Lsn) {
        if lsn <= self.commit || self.leader().is_none() || self.aborted.contains_key(&lsn) {
            return;
        }
        for target in self.resting_on(lsn) {
            self.sequence(Draft::abort(target), None);
            for waiter in self.waiters.remove(&target).into_iter().flatten() {
                self.effects.resolved.push((waiter, Resolution::Unknown(UnknownReason::GaveUp)));
            }
        }
        self.rebuild_overlay();
        self.advance();
    }

    /// `lsn`, and the later transactions that were checked on top of it.
    fn resting_on(&self, lsn: Lsn) -> Vec<Lsn> {
        let mut touched: Vec<String> = Vec::new();
        let mut targets = Vec::new();
        for f in self.memory.iter().filter(|f| f.record.head.lsn >= lsn) {
            let at = f.record.head.lsn;
            let Ok(Body::Tx(ops)) = f.record.body() else { continue };
            if self.aborted.contains_key(&at) {
                continue;
            }
            let paths: Vec<String> = ops
                .iter()
                .flat_map(|op| match op {
                    Op::Rename { from, to, .. } => vec![from.to_string(), to.to_string()],
                    _ => vec![op.path().to_string()],
                })
                .collect();
            if at == lsn || paths.iter().any(|p| touched.iter().any(|t| related(p, t))) {
                touched.extend(paths);
                targets.push(at);
            }
        }
        targets
    }
}

/// The same file, or one inside of the other.
fn related(a: &str, b: &str) -> bool {
    let below = |x: &str, y: &str| x.strip_prefix(y).is_some_and(|r| r.is_empty() || r.starts_with('/'));
    below(a, b) || below(b, a)
}
