//! Independent probes: how long this machine itself stood still.

use crate::start::boot_ns;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Shorter ones are no stalls.
const NOTED: Duration = Duration::from_millis(2);
const TIMER: Duration = Duration::from_millis(1);
/// Between two flushes, so that the probe does not become the load.
const FLUSH_PAUSE: Duration = Duration::from_millis(20);

/// One stall, on the boot clock in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stall {
    from: u64,
    to: u64,
}

#[derive(Clone, Default)]
pub(crate) struct Stalls(Arc<Mutex<Vec<Stall>>>);

impl Stalls {
    /// Notes that something which should have taken `expected` took from `from` to `to`.
    pub(crate) fn note(&self, from: u64, to: u64, expected: Duration) {
        let due = from.saturating_add(u64::try_from(expected.as_nanos()).unwrap_or(u64::MAX));
        if u128::from(to.saturating_sub(due)) >= NOTED.as_nanos() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Stall { from: due, to });
        }
    }

    /// The longest stall that touches the window, in nanoseconds.
    pub(crate) fn longest_ns(&self, from: u64, to: u64) -> u64 {
        let stalls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stalls.iter().filter(|s| s.to > from && s.from < to).map(|s| s.to - s.from).max().unwrap_or(0)
    }
}

/// The probes; they end when this is dropped.
pub(crate) struct Probes {
    pub(crate) stalls: Stalls,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Probes {
    /// Starts a 1 ms timer alone.
    pub(crate) fn timer() -> Self {
        let (stalls, over) = (Stalls::default(), Arc::new(AtomicBool::new(false)));
        let (noted, until) = (stalls.clone(), Arc::clone(&over));
        Self { stalls, over, threads: vec![std::thread::spawn(move || time(&noted, &until))] }
    }

    /// Starts a 1 ms timer and a loop of `fdatasync` in `dir`.
    pub(crate) fn start(dir: &Path) -> io::Result<Self> {
        let (stalls, over) = (Stalls::default(), Arc::new(AtomicBool::new(false)));
        let file = std::fs::File::create(dir.join("flush-probe"))?;
        let (of_timer, timer_over) = (stalls.clone(), Arc::clone(&over));
        let (of_disk, disk_over) = (stalls.clone(), Arc::clone(&over));
        let timer = std::thread::spawn(move || time(&of_timer, &timer_over));
        let disk = std::thread::spawn(move || flush(file, &of_disk, &disk_over));
        Ok(Self { stalls, over, threads: vec![timer, disk] })
    }
}

fn time(stalls: &Stalls, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let from = boot_ns();
        std::thread::sleep(TIMER);
        stalls.note(from, boot_ns(), TIMER);
    }
}

fn flush(mut file: std::fs::File, stalls: &Stalls, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let from = boot_ns();
        if file.write_all(&[0; 512]).and_then(|()| file.sync_data()).is_err() {
            return;
        }
        stalls.note(from, boot_ns(), Duration::ZERO);
        std::thread::sleep(FLUSH_PAUSE);
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_stall_of_a_window_is_found() {
        let stalls = Stalls::default();
        let ms = |n: u64| n * 1_000_000;
        stalls.note(ms(10), ms(12), TIMER);
        stalls.note(ms(20), ms(61), TIMER);
        stalls.note(ms(100), ms(110), Duration::ZERO);
        assert_eq!(stalls.longest_ns(0, ms(19)), 0, "one millisecond is none");
        assert_eq!(stalls.longest_ns(ms(50), ms(90)), ms(40));
        assert_eq!(stalls.longest_ns(ms(105), ms(200)), ms(10));
    }
}
