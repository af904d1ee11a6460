//! A client that opens a new connection again and again, and notes who answers when.
//!
//! Each connection is ended with a reset as soon as it was answered, so that no port lingers. One that is not answered within a limit is
//! given up; how many are under way at once is bounded.

mod attempt;
mod record;

pub(crate) use record::ms;
pub use record::{Answer, Gap, Record, Report, Run};

use attempt::Attempt;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the timer is called among the events; attempts are called by their place.
const TIMER: u64 = u64::MAX;

/// How to probe.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whom to connect to.
    pub target: SocketAddr,
    /// From one connection to the next.
    pub interval: Duration,
    /// After which a connection without an answer is given up.
    pub patience: Duration,
    /// How many connections are under way at most. When they are used up, no new one is opened.
    pub under_way: usize,
}

impl Settings {
    /// Every 2 ms, given up after 1 s, at most 600 at once.
    #[must_use]
    pub const fn new(target: SocketAddr) -> Self {
        Self { target, interval: Duration::from_millis(2), patience: Duration::from_secs(1), under_way: 600 }
    }
}

/// What a running probe has noted so far.
pub type SharedRecord = Arc<Mutex<Record>>;

/// Probes in the network of the calling thread until `over`, and notes everything in `record`.
///
/// # Errors
/// If the machine has no timer or descriptors for it. What happens to connections is noted, not an error.
pub fn run(settings: &Settings, record: &SharedRecord, over: &AtomicBool) -> io::Result<()> {
    let mut probe = Probe::new(settings, record)?;
    while !over.load(Ordering::Relaxed) {
        probe.turn()?;
    }
    Ok(())
}

struct Probe<'a> {
    settings: &'a Settings,
    record: &'a SharedRecord,
    epoll: OwnedFd,
    timer: OwnedFd,
    events: Vec<epoll::Event>,
    attempts: Vec<Option<Attempt>>,
    free: Vec<usize>,
    /// Places of attempts in the order in which they began, with their number.
    ages: VecDeque<(usize, u64)>,
    begun: u64,
}

impl<'a> Probe<'a> {
    fn new(settings: &'a Settings, record: &'a SharedRecord) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let every = Timespec::try_from(settings.interval).map_err(io::Error::other)?;
        let every = Itimerspec { it_interval: every, it_value: every };
        rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &every)?;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        Ok(Self {
            settings,
            record,
            epoll,
            timer,
            events: Vec::with_capacity(64),
            attempts: (0..settings.under_way).map(|_| None).collect(),
            free: (0..settings.under_way).rev().collect(),
            ages: VecDeque::new(),
            begun: 0,
        })
    }

    fn note(&self, note: impl FnOnce(&mut Record)) {
        note(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits for something, and handles what there is.
    fn turn(&mut self) -> io::Result<()> {
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in std::mem::take(&mut self.events) {
            match event.data.u64() {
                TIMER => self.tick()?,
                place => self.advance(usize::try_from(place).unwrap_or(usize::MAX)),
            }
        }
        self.events.reserve(64);
        Ok(())
    }

    fn tick(&mut self) -> io::Result<()> {
        let mut times = [0; 8];
        rustix::io::read(&self.timer, &mut times)?;
        self.give_up();
        // What was missed by a stall of this machine is not made up for: a burst would measure something else.
        let missed = u64::from_ne_bytes(times).saturating_sub(1);
        let Some(place) = self.free.pop() else {
            self.note(|record| record.skipped += 1 + missed);
            return Ok(());
        };
        self.note(|record| {
            record.attempts += 1;
            record.skipped += missed;
        });
        match Attempt::begin(self.settings.target, &self.epoll, place) {
            Ok(attempt) => {
                self.begun += 1;
                self.ages.push_back((place, self.begun));
                self.put(place, Some(attempt.numbered(self.begun)));
            }
            Err(error) => {
                self.free.push(place);
                self.note(|record| record.failed(&error));
            }
        }
        Ok(())
    }

    fn put(&mut self, place: usize, attempt: Option<Attempt>) -> Option<Attempt> {
        let slot = self.attempts.get_mut(place)?;
        std::mem::replace(slot, attempt)
    }

    fn advance(&mut self, place: usize) {
        let Some(Some(attempt)) = self.attempts.get_mut(place) else { return };
        let (outcome, began) = (attempt.read(), attempt.began());
        match outcome {
            Ok(None) => return,
            Ok(Some(node)) => self.note(|record| record.answered(node, began)),
            Err(error) => self.note(|record| record.failed(&error)),
        }
        self.put(place, None);
        self.free.push(place);
    }

    fn give_up(&mut self) {
        let now = record::now();
        while let Some((place, number)) = self.ages.front().copied() {
            let waiting = self
                .attempts
                .get(place)
                .and_then(Option::as_ref)
                .filter(|attempt| attempt.number() == number);
            if let Some(attempt) = waiting {
                if now.saturating_sub(attempt.began()) < self.settings.patience {
                    return;
                }
                self.put(place, None);
                self.free.push(place);
                self.note(|record| record.unanswered += 1);
            }
            self.ages.pop_front();
        }
    }
}

/// When a probe ran, and how this machine stood still meanwhile.
#[derive(Debug)]
pub struct Window {
    from: Duration,
    to: Duration,
    stall: Duration,
}

impl Window {
    /// What the record says of it.
    #[must_use]
    pub fn report(&self, record: &Record) -> Report {
        Report { stall_ms: ms(self.stall), ..record.report(self.from, self.to) }
    }
}

/// As [`run`], with a watch beside it that tells the machine's own stalls.
///
/// # Errors
/// As of [`run`].
pub fn run_watched(settings: &Settings, record: &SharedRecord, over: &AtomicBool) -> io::Result<Window> {
    let watch = crate::driver::stall::Probes::timer();
    let from = record::now();
    run(settings, record, over)?;
    let to = record::now();
    let nanos = |at: Duration| u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
    let stall = watch.stalls.longest_ns(nanos(from), nanos(to));
    Ok(Window { from, to, stall: Duration::from_nanos(stall) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;
    use std::time::Instant;

    /// Probes until the record satisfies `enough`, which a failure never does.
    fn probe(settings: &Settings, enough: impl Fn(&Record) -> bool) -> Record {
        let (record, over) = (SharedRecord::default(), AtomicBool::new(false));
        let end = Instant::now() + Duration::from_secs(20);
        std::thread::scope(|scope| {
            let probing = scope.spawn(|| run(settings, &record, &over));
            while !enough(&record.lock().unwrap()) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            over.store(true, Ordering::Relaxed);
            probing.join().unwrap().unwrap();
        });
        let record = record.lock().unwrap().clone();
        assert!(enough(&record), "{record:?}");
        record
    }

    #[test]
    fn every_answer_is_noted_with_its_node_and_times() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                // Cut in two: it is read until the line is whole.
                let _ = stream.write_all(b"n").and_then(|()| stream.write_all(b"1\n"));
            }
        });
        let record = probe(&Settings::new(target), |record| record.answers.len() >= 50);
        assert!(record.answers.iter().all(|answer| answer.node == "n1" && answer.began <= answer.came));
        assert!(record.failures.is_empty(), "{:?}", record.failures);
    }

    #[test]
    fn connections_without_an_answer_are_bounded_and_given_up() {
        // The kernel accepts them; nobody answers.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut settings = Settings::new(listener.local_addr().unwrap());
        (settings.patience, settings.under_way) = (Duration::from_millis(100), 3);
        let record = probe(&settings, |record| record.unanswered >= 6);
        assert!(record.skipped > 0 && record.answers.is_empty(), "{record:?}");
        assert!(record.attempts <= record.unanswered + 3, "more than three were under way: {record:?}");
    }

    #[test]
    fn a_refusal_is_noted_as_one() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let record = probe(&Settings::new(closed), |record| record.failures.values().sum::<u64>() >= 5);
        assert!(record.failures.contains_key("connection refused"), "{:?}", record.failures);
    }
}
