//! Steps as bytes, in two halves: what goes in before the engine is fed, what came out after it was drained.

use super::checkpoint::Checkpoint;
use super::digest::Digest;
use super::entry::{EntryRef, LifeStart};
use super::frame;
use crate::config::Config;
use crate::engine::{Action, Beat, EngineSnapshot, Input};
use crate::{Instant, LinkId};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Encodes one life. The caller owns the bytes:
///
/// 1. [`StepEncoder::life`] once;
/// 2. for each input [`StepEncoder::input`] **before** the engine takes it, [`StepEncoder::action`] for each
///    action it gives, [`StepEncoder::finish`] when it is drained;
/// 3. [`StepEncoder::skip`] instead for a step that finds no room, and [`StepEncoder::resume`] after the last of them.
#[derive(Clone, Debug)]
pub struct StepEncoder {
    at: Instant,
    digest: Digest,
    /// The newest beat of each link that a reader knows too.
    beats: Vec<Option<Beat>>,
    open: Option<Open>,
    steps: u64,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    start: usize,
    at: Instant,
}

impl StepEncoder {
    /// Begins a life: its first entry is appended to `out`.
    #[must_use]
    pub fn life(life: &LifeStart, out: &mut Vec<u8>) -> Self {
        frame::append(out, &EntryRef::Life(life));
        let beats = vec![None; life.config.links.len()];
        Self { at: life.at, digest: Digest::default(), beats, open: None, steps: 0 }
    }

    /// The engine is about to be fed `input` at `now`.
    pub fn input(&mut self, now: Instant, input: &Input, out: &mut Vec<u8>) {
        let start = frame::begin(out);
        let after_ns = u64::try_from(now.since(self.at).as_nanos()).unwrap_or(u64::MAX);
        match self.repeated(input) {
            Some((link, seq, echo)) => frame::payload(out, &EntryRef::Again { after_ns, link, seq, echo }),
            None => frame::payload(out, &EntryRef::Step { after_ns, input }),
        }
        self.open = Some(Open { start, at: self.at.max(now) });
        self.note(input);
    }

    /// The engine is about to be fed something that is not recorded.
    pub fn skip(&mut self, now: Instant) {
        self.at = self.at.max(now);
        self.steps += 1;
    }

    /// The engine decided.
    pub fn action(&mut self, action: &Action) {
        action.hash(&mut self.digest);
    }

    /// The engine is drained. True if a step ended with it.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(open) = self.open.take() else { return false };
        out.extend(self.digest.finish().to_le_bytes());
        frame::end(out, open.start);
        self.at = open.at;
        self.steps += 1;
        true
    }

    /// The state after the last step; `engine` is drained.
    #[must_use]
    pub fn checkpoint(&self, config: Arc<Config>, engine: EngineSnapshot) -> Checkpoint {
        let digest = self.digest.finish().to_le_bytes();
        Checkpoint { config, engine, at: self.at, digest, beats: self.beats.clone(), steps: self.steps }
    }

    /// Goes on from the state after the last step, for a reader that lacks what is before.
    pub fn resume(&self, lost: u64, config: Arc<Config>, engine: EngineSnapshot, out: &mut Vec<u8>) {
        self.checkpoint(config, engine).resumption(lost, out);
    }

    /// The digest of every action so far.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// A beat that says nothing new: its link, and by how much both numbers grew.
    fn repeated(&self, input: &Input) -> Option<(LinkId, u32, u32)> {
        let Input::Beat { link, beat } = input else { return None };
        let before = self.beats.get(usize::from(link.0))?.as_ref()?;
        let (old, new) = (before.echo?, beat.echo?);
        let same = before.incarnation == beat.incarnation
            && before.to == beat.to
            && before.statements == beat.statements;
        same.then(|| (*link, beat.seq.wrapping_sub(before.seq), new.wrapping_sub(old)))
    }

    fn note(&mut self, input: &Input) {
        let Input::Beat { link, beat } = input else { return };
        match self.beats.get_mut(usize::from(link.0)) {
            Some(Some(kept)) => {
                (kept.incarnation, kept.to, kept.seq, kept.echo) =
                    (beat.incarnation, beat.to, beat.seq, beat.echo);
                if kept.statements != beat.statements {
                    kept.statements.clone_from(&beat.statements);
                }
            }
            Some(empty) => *empty = Some(beat.clone()),
            None => {}
        }
    }
}
