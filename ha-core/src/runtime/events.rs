//! The event stream: bounded, numbered, with a memory, and honest about what a slow reader lost.

use super::report::EventReport;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// How many events are kept for readers that come late or read slowly.
pub const EVENTS_KEPT: usize = 1024;

/// Where events are written; cheap to clone.
#[derive(Clone)]
pub(super) struct EventLog {
    shared: Arc<Shared>,
}

struct Shared {
    kept: Mutex<Kept>,
    /// The number of the next event: it changes with every event, and closes with the log.
    next: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    next: u64,
    events: VecDeque<Arc<EventReport>>,
}

impl EventLog {
    pub(super) fn new() -> Self {
        let kept = Mutex::new(Kept { next: 0, events: VecDeque::with_capacity(EVENTS_KEPT) });
        Self { shared: Arc::new(Shared { kept, next: watch::Sender::new(0) }) }
    }

    /// Numbers the event and keeps it; the oldest one makes room.
    pub(super) fn write(&self, mut event: EventReport) {
        let mut kept = self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
        event.sequence = kept.next;
        kept.next += 1;
        if kept.events.len() == EVENTS_KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(Arc::new(event));
        let next = kept.next;
        drop(kept);
        self.shared.next.send_replace(next);
    }

    pub(super) fn reader(&self, ended: watch::Receiver<Option<super::Ended>>) -> EventStream {
        EventStream { log: self.clone(), at: 0, next: self.shared.next.subscribe(), ended }
    }
}

/// What a reader gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EventItem {
    /// The next event.
    Event(Arc<EventReport>),
    /// The reader was too slow: so many events are gone. The next item is the oldest one that is kept.
    Lost(u64),
}

/// A reader of a node's events. Starts with the oldest event that is kept.
pub struct EventStream {
    log: EventLog,
    at: u64,
    next: watch::Receiver<u64>,
    ended: watch::Receiver<Option<super::Ended>>,
}

impl EventStream {
    /// The next event; `None` when the node ended and everything was read. Safe to drop before it resolves.
    pub async fn recv(&mut self) -> Option<EventItem> {
        loop {
            self.next.mark_unchanged();
            let over = self.ended.borrow().is_some();
            if let Some(item) = self.take() {
                return Some(item);
            }
            if over {
                return None;
            }
            tokio::select! {
                _ = self.next.changed() => {}
                _ = self.ended.changed() => {}
            }
        }
    }

    /// The next event that is there already.
    pub fn take(&mut self) -> Option<EventItem> {
        let kept = self.log.shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = kept.next - kept.events.len() as u64;
        if self.at < oldest {
            let lost = oldest - self.at;
            self.at = oldest;
            return Some(EventItem::Lost(lost));
        }
        let event = kept.events.get(usize::try_from(self.at - oldest).ok()?)?.clone();
        self.at += 1;
        Some(EventItem::Event(event))
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").field("at", &self.at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(events: usize) -> (EventLog, EventStream, watch::Sender<Option<super::super::Ended>>) {
        let log = EventLog::new();
        let (end, ended) = watch::channel(None);
        let reader = log.reader(ended);
        for n in 0..events {
            log.write(EventReport::note(crate::Instant::ZERO, "test", None, n.to_string()));
        }
        (log, reader, end)
    }

    #[tokio::test]
    async fn a_reader_gets_every_event_in_order_and_then_the_end() {
        let (log, mut reader, end) = log_of(3);
        for n in 0..3 {
            let Some(EventItem::Event(e)) = reader.recv().await else { panic!("event {n} is missing") };
            assert_eq!((e.sequence, e.message.as_str()), (n, n.to_string().as_str()));
        }
        log.write(EventReport::note(crate::Instant::ZERO, "test", None, "last".into()));
        end.send_replace(Some(super::super::Ended::Halted));
        assert!(matches!(reader.recv().await, Some(EventItem::Event(e)) if e.message == "last"));
        assert_eq!(reader.recv().await, None);
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_how_much_it_lost() {
        let (_log, mut reader, _end) = log_of(EVENTS_KEPT + 7);
        assert_eq!(reader.recv().await, Some(EventItem::Lost(7)));
        assert!(matches!(reader.recv().await, Some(EventItem::Event(e)) if e.sequence == 7));
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken_by_the_next_event() {
        let (log, mut reader, _end) = log_of(0);
        let waiting = tokio::spawn(async move { reader.recv().await });
        tokio::task::yield_now().await;
        log.write(EventReport::note(crate::Instant::ZERO, "test", None, "woken".into()));
        assert!(matches!(waiting.await.unwrap(), Some(EventItem::Event(e)) if e.message == "woken"));
    }
}
