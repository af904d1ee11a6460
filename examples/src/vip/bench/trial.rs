//! One event, from a fresh data centre to steady answers again.

use super::Failure;
use super::bed::Bed;
use super::event::Event;
use super::options::Options;
use super::software::{Pair, Software};
use crate::vip::probe::{self, Record, Settings, SharedRecord, ms};
use ha_vip::testbed::{AddressWatch, AnswerWatch, NetworkLockWatch, boot_time};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks at the nodes' addresses.
const LOOK: Duration = Duration::from_millis(1);
/// Between two looks at the kernel's network lock, each of which takes it for some microseconds.
const LOCK_LOOK: Duration = Duration::from_millis(5);
/// One node answers, without a longer pause, for so long: then it is called steady.
const STEADY: Duration = Duration::from_millis(700);
const PAUSE: Duration = Duration::from_millis(100);
/// How long that may take at the start, and after the event.
const PATIENCE: Duration = Duration::from_secs(30);
/// Events come at another phase of the nodes' timers in each round.
const PHASE: Duration = Duration::from_micros(7_300);

/// What was measured.
#[derive(Clone, Serialize, Debug)]
pub(super) struct Trial {
    pub(super) software: String,
    pub(super) event: String,
    /// Who answered before, and after; none if nobody did.
    pub(super) before: String,
    pub(super) after: Option<String>,
    /// The longest time without an answer, from the event on.
    pub(super) outage_ms: f64,
    /// How long both nodes had the address configured.
    pub(super) both_ms: f64,
    /// How long both nodes answered ARP requests for it.
    pub(super) both_answered_ms: f64,
    /// How long connections went now to one node, now to the other.
    pub(super) interleaved_ms: f64,
    /// The longest stall of this machine meanwhile, and the longest time between two looks at the addresses.
    pub(super) stall_ms: f64,
    pub(super) blind_ms: f64,
    /// The longest time for which the kernel let nobody change a network: others' namespaces were being made or taken apart.
    pub(super) lock_ms: f64,
    /// Why it could not be measured.
    pub(super) error: Option<String>,
}

impl Trial {
    pub(super) fn failed(software: String, event: Event, error: &Failure) -> Self {
        Self {
            software,
            event: event.to_string(),
            before: String::new(),
            after: None,
            outage_ms: 0.0,
            both_ms: 0.0,
            both_answered_ms: 0.0,
            interleaved_ms: 0.0,
            stall_ms: 0.0,
            blind_ms: 0.0,
            lock_ms: 0.0,
            error: Some(error.to_string()),
        }
    }

    /// For those who wait.
    pub(super) fn line(&self, round: u32, rounds: u32) -> String {
        let what = format!("{round}/{rounds} {}: {}", self.event, self.software);
        match &self.error {
            Some(error) => format!("{what}: {error}"),
            None => format!(
                "{what}: outage {:.1} ms, on both {:.1} ms (answered {:.1}), {} -> {}, stall {:.1} ms, network lock {:.1} ms",
                self.outage_ms,
                self.both_ms,
                self.both_answered_ms,
                self.before,
                self.after.as_deref().unwrap_or("nobody"),
                self.stall_ms,
                self.lock_ms
            ),
        }
    }
}

pub(super) fn run(
    options: &Options,
    software: &dyn Software,
    event: Event,
    round: u32,
) -> Result<Trial, Failure> {
    let bed = Bed::build(options, &format!("{round}-{event}-{}", software.name().replace([' ', ','], "")))?;
    let pair = software.start(&bed)?;
    let client = Client::start(&bed)?;
    let watch = AddressWatch::start(&bed.nodes()?, bed.address.into(), LOOK)?;
    let ears = AnswerWatch::start(&*bed.bystander()?, &bed.nodes()?, "lan0", bed.address, LOOK)?;
    let lock = NetworkLockWatch::start(&bed.centre, LOCK_LOOK)?;
    let before = ready(&bed, pair.as_ref(), &client)?;
    std::thread::sleep(PHASE * (round % 16));
    let from = boot_time();
    event.happen(&bed, pair.as_ref(), &before)?;
    std::thread::sleep(event.aftermath());
    let after = client.steady(PATIENCE);
    let to = boot_time();
    let lock = lock.stop().iter().map(|(begun, ended)| ended.saturating_sub((*begun).max(from))).max();
    let (presence, answers) = (watch.stop(), ears.stop());
    let (record, stall) = client.stop(from, to)?;
    if options.keep.is_some() {
        std::fs::write(bed.file("probe.json"), serde_json::to_string_pretty(&record.report(from, to))?)?;
    }
    Ok(Trial {
        software: software.name(),
        event: event.to_string(),
        before,
        after,
        outage_ms: ms(record.longest_gap(from, to)),
        both_ms: ms(presence.on_both(from)),
        both_answered_ms: ms(answers.on_both(from)),
        interleaved_ms: ms(record.interleaved(from)),
        stall_ms: ms(stall),
        blind_ms: ms(presence.longest_blind(from).max(answers.longest_blind(from))),
        lock_ms: ms(lock.unwrap_or_default()),
        error: None,
    })
}

/// Waits until one node answers steadily and the other could take over.
fn ready(bed: &Bed, pair: &dyn Pair, client: &Client) -> Result<String, Failure> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let able = pair.ready(bed)?;
        if let Some(node) = client.steady(Duration::from_secs(1)).filter(|_| able) {
            return Ok(node);
        }
    }
    Err(format!("no node answered steadily within {PATIENCE:?} beside one that could take over").into())
}

/// The probe in the client's network, and a watch over this machine.
struct Client {
    record: SharedRecord,
    over: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), Failure>>,
    stalls: crate::driver::stall::Probes,
}

impl Client {
    fn start(bed: &Bed) -> Result<Self, Failure> {
        let (record, over) = (SharedRecord::default(), Arc::new(AtomicBool::new(false)));
        let (host, settings) = (bed.client()?, Settings::new(bed.target()));
        let (noted, until) = (Arc::clone(&record), Arc::clone(&over));
        let thread =
            std::thread::Builder::new().name("probe".to_owned()).spawn(move || -> Result<(), Failure> {
                host.run_in(|| probe::run(&settings, &noted, &until))??;
                Ok(())
            })?;
        Ok(Self { record, over, thread, stalls: crate::driver::stall::Probes::timer() })
    }

    /// The node that has answered for a while without a long pause, as soon as one has.
    fn steady(&self, patience: Duration) -> Option<String> {
        let end = Instant::now() + patience;
        loop {
            if let Some(node) = steady_in(&lock(&self.record), boot_time()) {
                return Some(node);
            }
            if Instant::now() > end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(self, from: Duration, to: Duration) -> Result<(Record, Duration), Failure> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the probe panicked")??;
        let nanos = |at: Duration| u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        let stall = Duration::from_nanos(self.stalls.stalls.longest_ns(nanos(from), nanos(to)));
        Ok((lock(&self.record).clone(), stall))
    }
}

fn lock(record: &Mutex<Record>) -> std::sync::MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

fn steady_in(record: &Record, now: Duration) -> Option<String> {
    let last = record.last()?;
    let since = now.saturating_sub(STEADY);
    let tail = record.answers.iter().rev().take_while(|answer| answer.came >= since);
    let (mut newer, mut oldest) = (now, now);
    for answer in tail {
        if answer.node != last.node || newer.saturating_sub(answer.came) > PAUSE {
            return None;
        }
        (newer, oldest) = (answer.came, answer.came);
    }
    (oldest.saturating_sub(since) <= PAUSE).then(|| last.node.clone())
}
