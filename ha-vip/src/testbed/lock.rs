//! How long the kernel let nobody change any network.

use super::cable::set_link_up;
use super::netlink::Socket;
use super::presence::{Span, boot_time};
use super::{DataCentre, TestbedError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Shorter waits are not listed.
const LISTED: Duration = Duration::from_millis(2);

/// One lock (`rtnl_lock`) guards changes of the networks of *all* namespaces of a machine: while somebody else's namespace is
/// taken apart, nobody can add an address. Such a wait is a stall of the machine that a timer does not see. This watch
/// makes a change without effect every few milliseconds, and notes how long that took.
#[derive(Debug)]
pub struct NetworkLockWatch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Span>>>,
}

impl NetworkLockWatch {
    /// Starts to look every `pause`, in the switch of the data centre.
    ///
    /// # Errors
    /// [`TestbedError::System`].
    pub fn start(centre: &DataCentre, pause: Duration) -> Result<Self, TestbedError> {
        let failed = |source| TestbedError::system("watch the kernel's network lock", "the switch")(source);
        let socket = centre.switch.enter(Socket::route).and_then(|socket| socket).map_err(failed)?;
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let watch = std::thread::Builder::new().name("lock watch".to_owned());
        let thread = watch.spawn(move || look(&socket, pause, &until)).map_err(failed)?;
        Ok(Self { over, thread: Some(thread) })
    }

    /// Ends it. Waits of 2 ms and more.
    #[must_use]
    pub fn stop(mut self) -> Vec<Span> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for NetworkLockWatch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn look(socket: &Socket, pause: Duration, over: &AtomicBool) -> Vec<Span> {
    let mut waits = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let from = boot_time();
        // The loopback interface is up: nothing changes.
        if set_link_up(socket, "lo").is_err() {
            break;
        }
        let to = boot_time();
        if to.saturating_sub(from) >= LISTED {
            waits.push((from, to));
        }
        std::thread::sleep(pause);
    }
    waits
}
