//! The board controller: how the peer's fence device talks to the power switch.
//!
//! Lines: `status NODE` → `on` | `off`; `off NODE` → `off` (verified) | `failed WHY`; `on NODE` → `on` | `failed WHY`.

use super::place::BmcListener;
use super::switch::Switch;
use super::{ChassisConfig, FenceMode};
use crate::start::deadline;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long killing may take before the order failed.
const KILL_BUDGET: Duration = Duration::from_secs(2);
/// The longest line of the protocol.
const LINE_BYTES: u64 = 256;

pub(crate) struct Bmc {
    node: String,
    mode: Mutex<FenceMode>,
    slow: Duration,
    power: Arc<dyn Switch>,
    /// Orders to power off that found the power on.
    shots: AtomicU64,
    lied: AtomicBool,
}

impl Bmc {
    pub(crate) fn new(config: &ChassisConfig, power: Arc<dyn Switch>) -> Self {
        Self {
            node: config.node.clone(),
            mode: Mutex::new(config.mode),
            slow: Duration::from_millis(config.slow_ms),
            power,
            shots: AtomicU64::new(0),
            lied: AtomicBool::new(false),
        }
    }

    fn mode(&self) -> FenceMode {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Behaves like `mode` from now on. What was lied about before is forgotten.
    pub(crate) fn behave(&self, mode: FenceMode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
        self.lied.store(false, Ordering::SeqCst);
    }

    /// How often the node was shot.
    pub(crate) fn shots(&self) -> u64 {
        self.shots.load(Ordering::SeqCst)
    }

    /// Answers for as long as the process lives, one thread a connection: a hanging one must not delay a shot.
    pub(crate) fn serve(self: Arc<Self>, listener: &BmcListener) {
        match listener {
            BmcListener::Tcp(listener) => {
                for stream in listener.incoming().flatten() {
                    let bmc = Arc::clone(&self);
                    std::thread::spawn(move || stream.set_nodelay(true).and_then(|()| bmc.talk(&stream)));
                }
            }
            BmcListener::Unix(listener) => {
                for stream in listener.incoming().flatten() {
                    let bmc = Arc::clone(&self);
                    std::thread::spawn(move || bmc.talk(&stream));
                }
            }
        }
    }

    fn talk<S>(&self, stream: &S) -> io::Result<()>
    where
        for<'a> &'a S: Read + Write,
    {
        let mut lines = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if Read::take(&mut lines, LINE_BYTES).read_line(&mut line)? == 0 {
                return Ok(());
            }
            if self.mode() == FenceMode::Dead {
                continue;
            }
            let answer = self.answer(line.trim_end());
            let mut stream = stream;
            writeln!(stream, "{answer}")?;
        }
    }

    fn answer(&self, line: &str) -> String {
        let (verb, node) = line.split_once(' ').unwrap_or((line, ""));
        if node != self.node {
            return format!("failed this is the chassis of {}, the order names \"{node}\"", self.node);
        }
        match verb {
            "status" => self.status(),
            "off" => self.off(),
            "on" => self.power.on().map_or_else(|e| format!("failed {e}"), |()| "on".into()),
            _ => format!("failed \"{verb}\" is no order; expected status, off or on"),
        }
    }

    fn status(&self) -> String {
        match self.power.is_on() {
            _ if self.lied.load(Ordering::SeqCst) => "off".into(),
            Ok(true) => "on".into(),
            Ok(false) => "off".into(),
            Err(error) => format!("failed {error}"),
        }
    }

    fn off(&self) -> String {
        if self.power.is_on().unwrap_or(true) {
            self.shots.fetch_add(1, Ordering::SeqCst);
        }
        if self.mode() == FenceMode::Lying {
            self.lied.store(true, Ordering::SeqCst);
            return "off".into();
        }
        let done = self.power.off(deadline(KILL_BUDGET));
        if self.mode() == FenceMode::Slow {
            std::thread::sleep(self.slow);
        }
        done.map_or_else(|e| format!("failed {e}"), |()| "off".into())
    }
}
