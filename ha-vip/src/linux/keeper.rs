//! The thread that renews the addresses and hears what happens to them.

use super::LinuxError;
use super::core::Core;
use crate::kernel::{Events, sleep};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

/// Runs until it is dropped.
pub(crate) struct Keeper {
    core: Arc<Core>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(crate) fn start(core: &Arc<Core>, events: Events) -> Result<Self, LinuxError> {
        let own = Arc::clone(core);
        let builder = std::thread::Builder::new().name("ha-vip keeper".into());
        let thread = builder.spawn(move || keep(&own, events)).map_err(LinuxError::Thread)?;
        Ok(Self { core: Arc::clone(core), thread: Some(thread) })
    }
}

fn keep(core: &Core, events: Events) {
    let mut events = Some(events);
    while !core.has_ended() {
        let quiet = core.turn();
        if !sleep(&core.waker, events.as_ref(), quiet) {
            continue;
        }
        match events.as_mut().map(Events::read) {
            Some(Ok(heard)) => core.heard(&heard),
            Some(Err(error)) => {
                // Renewal goes on; what is removed comes back with the next one.
                tracing::error!(resource = core.plan.name, %error, "events are no longer heard");
                events = None;
            }
            None => {}
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.core.ended.store(true, Ordering::Release);
        self.core.waker.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the keeper of {} panicked", self.core.plan.name);
        }
    }
}
