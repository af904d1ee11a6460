//! Protection of the control thread against a busy or swapping machine, where asked and permitted.

use super::sys;
use rustix::mm::{MlockAllFlags, mlockall};
use std::io;

/// What is asked of the operating system for the control thread. Nothing by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RealtimeOptions {
    /// Run the control thread under `SCHED_RR` with this priority (1 to 99). Needs `CAP_SYS_NICE` or a
    /// sufficient `RLIMIT_RTPRIO`.
    pub priority: Option<u8>,
    /// Keep the whole process in memory. Needs `CAP_IPC_LOCK` or a sufficient `RLIMIT_MEMLOCK`.
    pub lock_memory: bool,
}

impl RealtimeOptions {
    /// Both, at a modest priority.
    #[must_use]
    pub const fn full() -> Self {
        Self { priority: Some(10), lock_memory: true }
    }

    /// Applies the options to the calling thread and its process. Returns one sentence for each refusal: the
    /// node runs on without.
    pub(super) fn apply(self) -> Vec<String> {
        let mut refusals = Vec::new();
        if let Some(priority) = self.priority
            && let Err(e) = sys::schedule_round_robin(i32::from(priority))
        {
            refusals.push(refusal("SCHED_RR for the control thread", "CAP_SYS_NICE or RLIMIT_RTPRIO", &e));
        }
        if self.lock_memory
            && let Err(e) = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE)
        {
            refusals.push(refusal("locked memory", "CAP_IPC_LOCK or RLIMIT_MEMLOCK", &e.into()));
        }
        refusals
    }
}

fn refusal(what: &str, needs: &str, e: &io::Error) -> String {
    format!("{what} was asked for and not permitted ({e}); grant {needs}, or a busy machine may delay beats")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_is_not_refused() {
        assert_eq!(RealtimeOptions::default().apply(), Vec::<String>::new());
    }

    #[test]
    fn an_impossible_priority_is_named() {
        let options = RealtimeOptions { priority: Some(200), lock_memory: false };
        let refusals = std::thread::spawn(move || options.apply()).join().unwrap();
        assert!(refusals.len() == 1 && refusals[0].contains("SCHED_RR"), "{refusals:?}");
    }
}
