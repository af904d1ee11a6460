//! The power switch of the bed's hosts, and the command by which nodes reach it.

use super::Failure;
use super::options::{Action, FenceOptions};
use ha_vip::testbed::DataCentre;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// How long a command waits for the switch.
const PATIENCE: Duration = Duration::from_secs(10);

/// The power switch of a data centre. It listens until it is dropped.
pub struct PowerSwitch {
    orders: Orders,
    socket: PathBuf,
    over: Arc<AtomicBool>,
}

/// Orders that were carried out, with their answers.
type Orders = Arc<Mutex<Vec<String>>>;

impl PowerSwitch {
    /// Listens at `socket` for orders, one line each, and waits so long before each.
    ///
    /// # Errors
    /// If it cannot listen there.
    pub fn listen(centre: &Arc<DataCentre>, socket: PathBuf, delay: Duration) -> Result<Self, Failure> {
        let listener = UnixListener::bind(&socket)?;
        let (orders, over) = (Orders::default(), Arc::new(AtomicBool::new(false)));
        let (centre, noted, until) = (Arc::downgrade(centre), Arc::clone(&orders), Arc::clone(&over));
        std::thread::Builder::new().name("power switch".to_owned()).spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if until.load(Ordering::Relaxed) {
                    return;
                }
                let (centre, noted) = (Weak::clone(&centre), Arc::clone(&noted));
                // Two nodes may give orders at once, and one of them may be dead before it reads the answer.
                std::thread::spawn(move || drop(serve(&stream, &centre, &noted, delay)));
            }
        })?;
        Ok(Self { orders, socket, over })
    }

    /// What it was told, and what it answered.
    #[must_use]
    pub fn orders(&self) -> Vec<String> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for PowerSwitch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes it up.
        let _ = UnixStream::connect(&self.socket);
    }
}

fn serve(stream: &UnixStream, centre: &Weak<DataCentre>, noted: &Orders, delay: Duration) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    std::thread::sleep(delay);
    let answer = centre.upgrade().map_or("failed", |centre| carry_out(&centre, line.trim()));
    noted.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{} -> {answer}", line.trim()));
    let mut stream = stream;
    writeln!(stream, "{answer}")
}

/// `off` is answered only when nothing of the host can act: nothing enters or leaves it, and no process is left.
fn carry_out(centre: &DataCentre, order: &str) -> &'static str {
    let Some((verb, node)) = order.split_once(' ') else { return "failed" };
    let state = |node: &str| match centre.host(node) {
        Ok(host) if host.is_on() => "on",
        Ok(host) if host.is_dead() => "off",
        Ok(_) | Err(_) => "failed",
    };
    match verb {
        "off" => match centre.power_off(node) {
            Ok(()) => state(node),
            Err(_) => "failed",
        },
        "on" => match centre.power_on(node) {
            Ok(()) => state(node),
            Err(_) => "failed",
        },
        "status" => state(node),
        _ => "failed",
    }
}

/// The command's side: asks, and returns its exit status.
pub(super) fn ask(question: &FenceOptions) -> Result<u8, Failure> {
    let verb = match question.action {
        Action::Off => "off",
        Action::Status => "status",
        Action::On => "on",
    };
    let mut stream = UnixStream::connect(&question.socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    writeln!(stream, "{verb} {}", question.node)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(match (question.action, answer.trim()) {
        (Action::Off, "off") | (Action::On | Action::Status, "on") => 0,
        (Action::Status, "off") => 2,
        _ => 1,
    })
}
