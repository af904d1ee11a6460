//! A second engine that takes the recorded steps again where a decision is to be explained. An idle node decides
//! nothing, and its steps are only kept for a while: they are the past that an explanation looks back on.

use crate::Instant;
use crate::explain::{Explainer, Explanation};
use crate::replay::{Checkpoint, Entry, Player, ReplayError, Step, entries};
use std::collections::VecDeque;
use std::time::Duration;

/// Steps that were handed over at once, and the state before the first of them.
pub(super) struct Stretch {
    /// None: the beginning of a life, which the first entry tells.
    pub(super) start: Option<Checkpoint>,
    pub(super) frames: Vec<u8>,
}

/// What is relived of one life.
#[derive(Default)]
pub(super) struct Reliving {
    /// The newest stretches, no older than what an explanation may look back on.
    kept: VecDeque<Stretch>,
    /// Present while the newest stretch is relived.
    player: Option<Player>,
    explainer: Option<Explainer>,
    /// When the newest stretch with a decision ended.
    decided: Instant,
    diverged: bool,
    explained: Vec<Explanation>,
    found: Vec<String>,
}

impl Reliving {
    /// Takes the next stretch, which ends in `end`. `decided`: a decision may be in it. Gives explanations, and what is wrong
    /// with the record.
    pub(super) fn take(
        &mut self,
        stretch: Stretch,
        decided: bool,
        end: Option<&Checkpoint>,
    ) -> (Vec<Explanation>, Vec<String>) {
        let at = end.map_or(Instant::FAR, Checkpoint::at);
        if decided || is_news(stretch.start.as_ref(), end) {
            self.catch_up();
            self.relive(&stretch);
            self.decided = at;
        } else if self.player.is_some() && at.since(self.decided) < self.horizon() {
            self.relive(&stretch);
        } else if self.player.take().is_some() {
            let decided = self.decided;
            self.kept.retain(|s| s.start.as_ref().is_some_and(|c| c.at() >= decided));
        }
        self.kept.push_back(stretch);
        self.forget(at);
        (std::mem::take(&mut self.explained), std::mem::take(&mut self.found))
    }

    fn horizon(&self) -> Duration {
        self.explainer.as_ref().map_or(Duration::ZERO, Explainer::horizon)
    }

    fn forget(&mut self, now: Instant) {
        let horizon = self.horizon();
        let needless = |s: &Stretch| s.start.as_ref().is_some_and(|c| now.since(c.at()) >= horizon);
        while self.kept.get(1).is_some_and(needless) {
            self.kept.pop_front();
        }
    }

    /// Relives what was only kept.
    fn catch_up(&mut self) {
        if self.player.is_some() {
            return;
        }
        for stretch in std::mem::take(&mut self.kept) {
            self.relive(&stretch);
            self.kept.push_back(stretch);
        }
    }

    fn relive(&mut self, stretch: &Stretch) {
        if self.player.is_none()
            && let Some(start) = &stretch.start
        {
            self.begin(Player::go_on(start), start.steps());
        }
        let steps = stretch.start.as_ref().map_or(0, Checkpoint::steps);
        for entry in entries(&stretch.frames) {
            match entry {
                Ok(entry @ (Entry::Life(_) | Entry::Resume(_))) => self.begin(Player::begin(&entry), steps),
                Ok(entry) => self.step(&entry),
                Err(e) => self.found.push(format!("the record cannot be read back: {e}")),
            }
        }
    }

    fn begin(&mut self, player: Result<Player, ReplayError>, steps: u64) {
        match player {
            Ok(player) => {
                match &mut self.explainer {
                    Some(explainer) => explainer.go_on(player.engine(), steps),
                    None => self.explainer = Some(Explainer::new(player.engine())),
                }
                self.player = Some(player);
            }
            Err(e) => self.lost(&e),
        }
    }

    fn step(&mut self, entry: &Entry) {
        let (Some(player), Some(explainer)) = (&mut self.player, &mut self.explainer) else { return };
        let step: Step = match player.step(entry) {
            Ok(step) => step,
            Err(e) => return self.lost(&e),
        };
        if !step.same && !std::mem::replace(&mut self.diverged, true) {
            let what = "the engine, fed its own record, decided otherwise: please report this";
            self.found.push(what.into());
        }
        self.explained.extend(explainer.observe(player.engine(), &step));
    }

    fn lost(&mut self, e: &ReplayError) {
        self.player = None;
        self.found.push(format!("the record cannot be relived: {e}"));
    }
}

/// Whether the engine stands otherwise at the end than at the start, as far as anybody asks why.
fn is_news(start: Option<&Checkpoint>, end: Option<&Checkpoint>) -> bool {
    let (Some(start), Some(end)) = (start, end) else { return true };
    start.outline() != end.outline()
}

#[cfg(test)]
#[path = "reliving_tests.rs"]
mod tests;
