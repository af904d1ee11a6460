//! What takes effects back: one handler a kind, registered in `main` before anything runs.

use super::group;
use super::undo_list::Outstanding;
use crate::Incarnation;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

type UndoFn = dyn Fn(u16, &[u8]) -> Result<(), String> + Send + Sync;
type VerifyFn = dyn Fn(u16, &[u8]) -> Result<bool, String> + Send + Sync;

#[derive(Clone)]
struct Handler {
    undo: Arc<UndoFn>,
    verify: Arc<VerifyFn>,
}

/// The registered handlers.
#[derive(Clone)]
pub(super) struct Handlers(BTreeMap<String, Handler>);

impl Default for Handlers {
    fn default() -> Self {
        let mut handlers = Self(BTreeMap::new());
        handlers.register(group::KIND, group::undo, group::verify);
        handlers
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// How one step ended: its life, its number, and what is wrong if it is not verified.
pub(super) type Outcome = (Incarnation, u64, Result<(), String>);

impl Handlers {
    pub(super) fn register(
        &mut self,
        kind: &str,
        undo: impl Fn(u16, &[u8]) -> Result<(), String> + Send + Sync + 'static,
        verify: impl Fn(u16, &[u8]) -> Result<bool, String> + Send + Sync + 'static,
    ) {
        self.0.insert(kind.into(), Handler { undo: Arc::new(undo), verify: Arc::new(verify) });
    }

    pub(super) fn knows(&self, kind: &str) -> bool {
        self.0.contains_key(kind)
    }

    /// The registered kinds, for messages.
    pub(super) fn kinds(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Undoes and verifies one step. A panic is a failure like any other.
    fn take_back(&self, step: &Outstanding) -> Result<(), String> {
        let handler = self.0.get(&step.undo.kind).ok_or("no handler for this kind is registered")?;
        let (version, bytes) = (step.undo.version, step.undo.bytes.as_slice());
        catch_unwind(AssertUnwindSafe(|| {
            // What counts is the verification: an undo may fail because there is nothing left to undo.
            let undone = (handler.undo)(version, bytes);
            match (handler.verify)(version, bytes) {
                Ok(true) => Ok(()),
                Ok(false) => Err(undone.err().unwrap_or_else(|| "the effect is still there".into())),
                Err(error) => Err(error),
            }
        }))
        .unwrap_or_else(|_| Err("its handler panicked".into()))
    }

    /// Takes `steps` back in reverse order, telling `outcome` of each. False if they were not done within
    /// `budget`: a handler hangs, and may still act as long as this process lives.
    pub(super) fn take_all_back(
        &self,
        steps: &[Outstanding],
        budget: Duration,
        mut outcome: impl FnMut(Outcome),
    ) -> bool {
        if steps.is_empty() {
            return true;
        }
        let (told, outcomes) = channel();
        let (handlers, steps) = (self.clone(), steps.to_vec());
        std::thread::spawn(move || {
            for step in steps.iter().rev() {
                if told.send((step.incarnation, step.id, handlers.take_back(step))).is_err() {
                    return;
                }
            }
        });
        let deadline = super::process::boot_now() + budget;
        loop {
            match outcomes.recv_timeout(deadline.since(super::process::boot_now())) {
                Ok(one) => outcome(one),
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Undo;
    use std::sync::Mutex;

    fn step(id: u64, kind: &str) -> Outstanding {
        let undo = Undo { kind: kind.into(), version: 1, bytes: vec![id as u8] };
        Outstanding { incarnation: Incarnation(1), id, undo, group: None }
    }

    fn run(handlers: &Handlers, steps: &[Outstanding]) -> Vec<(u64, Result<(), String>)> {
        let mut outcomes = Vec::new();
        assert!(handlers.take_all_back(steps, Duration::from_secs(60), |(_, id, r)| outcomes.push((id, r))));
        outcomes
    }

    #[test]
    fn steps_are_taken_back_in_reverse_order_and_only_verified_ones_count() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut handlers = Handlers::default();
        let seen = Arc::clone(&order);
        handlers.register(
            "good",
            move |_, bytes| {
                seen.lock().unwrap().push(bytes[0]);
                Ok(())
            },
            |_, _| Ok(true),
        );
        handlers.register("gone-already", |_, _| Err("not there".into()), |_, _| Ok(true));
        handlers.register("stays", |_, _| Ok(()), |_, _| Ok(false));
        handlers.register("panics", |_, _| panic!("on purpose"), |_, _| Ok(true));
        let steps = [
            step(1, "good"),
            step(2, "gone-already"),
            step(3, "stays"),
            step(4, "good"),
            step(5, "panics"),
            step(6, "unknown"),
        ];
        let outcomes = run(&handlers, &steps);
        let verified: Vec<_> = outcomes.iter().map(|(id, r)| (*id, r.is_ok())).collect();
        assert_eq!(verified, [(6, false), (5, false), (4, true), (3, false), (2, true), (1, true)]);
        assert_eq!(*order.lock().unwrap(), [4, 1]);
    }

    #[test]
    fn a_handler_that_hangs_uses_up_the_budget() {
        let (release, held) = channel::<()>();
        let held = Mutex::new(held);
        let mut handlers = Handlers::default();
        handlers.register(
            "hangs",
            move |_, _| {
                let _ = held.lock().unwrap().recv();
                Ok(())
            },
            |_, _| Ok(true),
        );
        assert!(!handlers.take_all_back(&[step(1, "hangs")], Duration::from_millis(1), |_| ()));
        drop(release);
    }
}
