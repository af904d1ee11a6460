//! Calls that wait for a device, and the thread that tells them when it takes too long: the device's own may hang in the
//! kernel.

use super::Reply;
use crate::error::DiskError;
use futures::channel::oneshot;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

type Outcome = Result<Reply, DiskError>;

#[derive(Default)]
struct Waiting {
    next: u64,
    open: BTreeMap<u64, (Instant, oneshot::Sender<Outcome>)>,
    closed: bool,
}

/// The calls that wait.
#[derive(Default)]
pub(super) struct Pending {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more; it is answered [`DiskError::Late`] after `within`.
    pub(super) fn add(&self, within: Duration) -> (u64, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        waiting.next += 1;
        let id = waiting.next;
        waiting.open.insert(id, (Instant::now() + within, sender));
        self.changed.notify_one();
        (id, receiver)
    }

    /// Whether anybody still waits for the answer.
    pub(super) fn wanted(&self, id: u64) -> bool {
        self.lock().open.get(&id).is_some_and(|(at, sender)| !sender.is_canceled() && Instant::now() < *at)
    }

    pub(super) fn answer(&self, id: u64, outcome: Outcome) {
        let entry = self.lock().open.remove(&id);
        if let Some((_, sender)) = entry {
            // Whoever asked may have gone.
            let _gone = sender.send(outcome);
        }
    }

    /// Ends the watch; what still waits is told so.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        let open = std::mem::take(&mut waiting.open);
        drop(waiting);
        for (_, sender) in open.into_values() {
            let _gone = sender.send(Err(DiskError::Closed));
        }
        self.changed.notify_all();
    }

    /// Answers those whose time has come, until closed.
    pub(super) fn watch(self: &Arc<Self>) {
        let mut waiting = self.lock();
        while !waiting.closed {
            let now = Instant::now();
            let late: Vec<u64> =
                waiting.open.iter().filter(|(_, (at, _))| *at <= now).map(|(id, _)| *id).collect();
            let senders: Vec<_> = late.iter().filter_map(|id| waiting.open.remove(id)).collect();
            for (_, sender) in senders {
                let _gone = sender.send(Err(DiskError::Late));
            }
            let next = waiting.open.values().map(|(at, _)| *at).min();
            waiting = match next {
                None => self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let span = at.saturating_duration_since(now);
                    self.changed.wait_timeout(waiting, span).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::thread;

    /// Waits for the watch, not for a time: the receiver gets its answer by itself.
    fn outcome(mut receiver: oneshot::Receiver<Outcome>) -> Outcome {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            assert!(Instant::now() < until, "nobody answers");
            if let Some(answer) = (&mut receiver).now_or_never() {
                return answer.unwrap();
            }
            thread::yield_now();
        }
    }

    #[test]
    fn a_device_that_hangs_is_answered_for() {
        let pending = Arc::new(Pending::default());
        let watched = Arc::clone(&pending);
        let watch = thread::spawn(move || watched.watch());
        let (slow, answer) = pending.add(Duration::from_millis(5));
        let (_open, other) = pending.add(Duration::from_secs(3600));
        assert!(matches!(outcome(answer), Err(DiskError::Late)));
        assert!(!pending.wanted(slow), "what comes later is not wanted");
        pending.answer(slow, Ok(Reply::Released));
        pending.close();
        assert!(matches!(outcome(other), Err(DiskError::Closed)));
        watch.join().unwrap();
    }

    #[test]
    fn a_call_that_comes_while_the_watch_sleeps_is_answered_for() {
        let pending = Arc::new(Pending::default());
        let watched = Arc::clone(&pending);
        let watch = thread::spawn(move || watched.watch());
        // After each answer nothing is open: the watch sleeps until it is told of the next.
        for _ in 0..3 {
            let (_, answer) = pending.add(Duration::from_millis(5));
            assert!(matches!(outcome(answer), Err(DiskError::Late)));
        }
        pending.close();
        watch.join().unwrap();
    }

    #[test]
    fn a_call_that_nobody_waits_for_is_not_wanted() {
        let pending = Pending::default();
        let (id, answer) = pending.add(Duration::from_secs(3600));
        assert!(pending.wanted(id));
        drop(answer);
        assert!(!pending.wanted(id));
    }

    #[test]
    fn an_answer_in_time_is_delivered_once() {
        let pending = Pending::default();
        let (id, answer) = pending.add(Duration::from_secs(3600));
        pending.answer(id, Ok(Reply::Renewed(true)));
        assert!(matches!(outcome(answer), Ok(Reply::Renewed(true))));
        assert!(!pending.wanted(id));
    }
}
