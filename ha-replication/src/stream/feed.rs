//! The leader's side of a plan: decide it, then send what the follower lacks.

use super::message::{CopyHead, Message, Plan, Refusal};
use crate::hub::Hub;
use crate::outcome::UnknownReason;
use crate::peering::{Verdict, decide};
use crate::record::Chain;
use crate::state::{Feed, State, Stream};
use crate::store::{Reader, StoreError};
use ha_core::{Epoch, Lsn};
use std::collections::VecDeque;
use std::sync::Arc;

/// Read from the journal at once.
const PIECE: usize = 256 << 10;
/// Of a copied file, in one frame.
const COPY_PIECE: usize = 192 << 10;

enum Next {
    Wait,
    Plan { verdict: Verdict, epoch: Epoch, serial: u32, answers: u32 },
    Read { from: Lsn, to: Lsn, serial: u32 },
    Copy { serial: u32 },
    Over,
}

/// Feeds the other copy as long as the session lives.
pub(crate) async fn run(hub: Arc<Hub>, session: u64) {
    let Some(wake) = hub.lock().session.as_ref().filter(|s| s.id == session).map(|s| s.feed_wake.clone())
    else {
        return;
    };
    loop {
        let next = hub.with(|s| s.next_of_feed(session));
        let done = match next {
            Next::Over => return,
            Next::Wait => {
                wake.notified().await;
                Ok(())
            }
            Next::Plan { verdict, epoch, serial, answers } => {
                plan(&hub, session, verdict, epoch, serial, answers).await
            }
            Next::Read { from, to, serial } => read(&hub, session, from, to, serial).await,
            Next::Copy { serial } => copy(&hub, session, serial).await,
        };
        if let Err(e) = done {
            tracing::warn!(target: "ha_replication", error = %e, "the journal cannot feed the other copy");
            hub.with(|s| {
                s.refusal = Some(e.to_string());
                if let Some(live) = &s.session {
                    live.outbox.close();
                }
            });
            return;
        }
    }
}

async fn on_disk<T: Send + 'static>(
    hub: &Hub,
    work: impl FnOnce(Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let Some(reader) = hub.reader() else { return Err(StoreError::Failed) };
    match tokio::task::spawn_blocking(move || work(reader)).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::Failed),
    }
}

async fn plan(
    hub: &Hub,
    session: u64,
    verdict: Verdict,
    epoch: Epoch,
    serial: u32,
    answers: u32,
) -> Result<(), StoreError> {
    let (after, cut, copy) = match verdict {
        Verdict::Stream { after, cut } => (after, cut, false),
        Verdict::Copy { after, cut } => (after, cut, true),
        other => {
            hub.with(|s| s.no_plan(other, epoch));
            return Ok(());
        }
    };
    let known = hub.lock().chain_at(after);
    let chain = match known {
        Some(chain) => Some(chain),
        None => on_disk(hub, move |reader| reader.chain_at(after)).await?,
    };
    let copy = copy || chain.is_none();
    let chain = chain.unwrap_or_else(|| Chain::start(hub.cfg.mirror));
    let plan = Plan { epoch, answers, copy, cut, after, chain };
    hub.with(|s| s.begin_stream(session, serial, plan));
    Ok(())
}

async fn read(hub: &Hub, session: u64, from: Lsn, to: Lsn, serial: u32) -> Result<(), StoreError> {
    while hub.outbox().is_some_and(|o| o.waiting() > 4 << 20) {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let records = on_disk(hub, move |reader| reader.read(from, to, PIECE)).await?;
    hub.with(|s| {
        let (commit, now) = (s.commit, s.cfg.clock.now());
        let Some((outbox, stream)) = s.stream_of(session, serial) else { return };
        let Some(last) = records.last() else {
            // Trimmed meanwhile: a new plan finds that a copy is needed.
            s.oldest = s.oldest.max(Lsn(from.0 + 1));
            s.role_changed();
            return;
        };
        let next = Lsn(last.head.lsn.0 + 1);
        records.iter().for_each(|r| stream.push(&outbox, r, commit, now));
        stream.feed = Feed::CatchUp { next };
    });
    Ok(())
}

/// Sends the whole tree as of now, while commits go on; then the journal from there on.
async fn copy(hub: &Arc<Hub>, session: u64, serial: u32) -> Result<(), StoreError> {
    hub.with(|s| {
        s.copy_rotated = None;
        s.copy_rotate = true;
        s.effects.apply = true;
    });
    let far = hub.now() + std::time::Duration::from_secs(10);
    let Some((at, facts, source)) = hub
        .wait(far, |s| {
            let rotated = s.copy_rotated.take()?;
            Some((rotated.0, rotated.1, rotated.2))
        })
        .await
    else {
        return Ok(());
    };
    let epoch = hub.lock().leader().map_or(Epoch(0), |l| l.epoch);
    let head = CopyHead {
        epoch,
        start: at.lsn,
        chain: at.chain,
        history: facts.history,
        rule: facts.rule,
        keys: facts.keys,
        aborted: facts.aborted,
    };
    let Some(outbox) = hub.with(|s| s.stream_of(session, serial).map(|(outbox, _)| outbox)) else {
        return Ok(());
    };
    let bytes = head.encode();
    let parts: Vec<&[u8]> = bytes.chunks(COPY_PIECE).collect();
    for (i, part) in parts.iter().enumerate() {
        let more = i + 1 < parts.len();
        outbox.push(&Message::CopyBegin { more, part: bytes::Bytes::copy_from_slice(part) });
    }
    let mut source = source;
    let (mut files, mut total) = (0, 0);
    loop {
        let (back, chunk) = on_disk(hub, move |_| {
            let chunk = source.next(COPY_PIECE)?;
            Ok((source, chunk))
        })
        .await?;
        source = back;
        let Some(chunk) = chunk else { break };
        files += u64::from(chunk.hash.is_some());
        total += chunk.data.len() as u64;
        outbox.push(&Message::CopyFile(chunk));
        while outbox.waiting() > 1 << 20 {
            if hub.with(|s| s.stream_of(session, serial).is_none()) {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
    hub.with(|s| {
        let until = s.applied.max(at.lsn);
        let Some((outbox, stream)) = s.stream_of(session, serial) else { return };
        outbox.push(&Message::CopyEnd { files, bytes: total, until });
        (stream.after, stream.chain) = (at.lsn, at.chain);
        stream.feed = Feed::CatchUp { next: Lsn(at.lsn.0 + 1) };
        stream.source = Some(source);
    });
    Ok(())
}

impl State {
    fn next_of_feed(&mut self, id: u64) -> Next {
        let leads = self.leader().map(|l| l.epoch);
        let (applied, sequenced, window) = (self.applied, self.sequenced, self.cfg.limits.inflight_bytes);
        let permitted = self.cfg.token.check(self.cfg.clock.now()).is_ok();
        let Some(session) = self.session.as_mut().filter(|s| s.id == id) else { return Next::Over };
        let Some(epoch) = leads else { return Next::Wait };
        let serial = session.serial;
        if session.to_plan {
            let (Some(said), Some(heard)) = (&session.said, &session.heard) else {
                session.to_plan = false;
                return Next::Wait;
            };
            // A copy that holds nothing may have forgotten a later grant with its disk. The tick looks again.
            if !permitted && heard.standing.end == Lsn(0) {
                return Next::Wait;
            }
            session.to_plan = false;
            return Next::Plan {
                verdict: decide(said, &heard.standing),
                epoch,
                serial,
                answers: heard.serial,
            };
        }
        let Some(stream) = &mut session.stream else { return Next::Wait };
        match stream.feed {
            Feed::Live => Next::Wait,
            Feed::Copy => Next::Copy { serial },
            // The follower cuts first; its first acknowledgement says that it listens.
            Feed::CatchUp { .. } if !stream.confirmed && stream.source.is_none() => Next::Wait,
            Feed::CatchUp { .. } if stream.unacked > window && stream.source.is_none() => Next::Wait,
            Feed::CatchUp { next } if next > applied => {
                let outbox = session.outbox.clone();
                stream.feed = Feed::Live;
                stream.mark = Some(sequenced);
                let (commit, now) = (self.commit, self.cfg.clock.now());
                for f in self.memory.iter().filter(|f| f.record.head.lsn >= next) {
                    stream.push(&outbox, &f.record, commit, now);
                }
                if next > sequenced && stream.after == sequenced && stream.confirmed {
                    self.caught_up_without_a_record(id, epoch);
                }
                Next::Wait
            }
            Feed::CatchUp { next } => Next::Read { from: next, to: applied, serial },
        }
    }

    /// The follower had everything before the stream went live.
    fn caught_up_without_a_record(&mut self, id: u64, epoch: Epoch) {
        let Some(session) = self.session.as_ref().filter(|s| s.id == id) else { return };
        let incarnation = session.incarnation;
        if self.caught_up.is_none() && self.peer == Some(self.sequenced) {
            self.caught_up = Some(ha_core::engine::CaughtUp { epoch, incarnation });
            self.effects.report = true;
        }
    }

    fn stream_of(&mut self, id: u64, serial: u32) -> Option<(Arc<super::outbox::Outbox>, &mut Stream)> {
        let session = self.session.as_mut().filter(|s| s.id == id && s.serial == serial)?;
        let outbox = session.outbox.clone();
        session.stream.as_mut().map(|stream| (outbox, stream))
    }

    fn begin_stream(&mut self, id: u64, serial: u32, plan: Plan) {
        if self.leader().map(|l| l.epoch) != Some(plan.epoch) {
            return;
        }
        let Some(session) = self.session.as_mut().filter(|s| s.id == id && s.serial == serial) else {
            return;
        };
        let feed = if plan.copy { Feed::Copy } else { Feed::CatchUp { next: Lsn(plan.after.0 + 1) } };
        session.stream = Some(Stream {
            epoch: plan.epoch,
            after: plan.after,
            chain: plan.chain,
            feed,
            mark: None,
            sent: VecDeque::new(),
            unacked: 0,
            confirmed: false,
            source: None,
        });
        session.outbox.push(&Message::Plan(plan));
        self.peer = None;
        self.withdraw_caught_up();
        self.diverged = None;
        self.effects.report = true;
    }

    /// The copies do not go together.
    fn no_plan(&mut self, verdict: Verdict, epoch: Epoch) {
        let (why, fork) = match verdict {
            Verdict::Diverged { fork } => {
                self.diverged = Some(fork);
                (Refusal::Diverged, fork)
            }
            Verdict::LowerEpoch { .. } => (Refusal::LowerEpoch, Lsn(0)),
            Verdict::Failed => (Refusal::Failed, Lsn(0)),
            _ => return,
        };
        self.refusal = Some(format!("no plan with the other copy: {verdict:?}"));
        if let Some(session) = &self.session {
            session.outbox.push(&Message::Refuse { why, epoch, fork });
        }
        if let Verdict::LowerEpoch { known, .. } = verdict {
            self.overtaken = Some(known);
            self.step_down(UnknownReason::Demoted);
        }
        self.effects.report = true;
    }
}
