//! The one system call that no safe wrapper offers.
#![allow(unsafe_code)]

use std::io;

/// Schedules the calling thread round-robin before all ordinary threads.
pub(super) fn schedule_round_robin(priority: i32) -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: priority };
    // SAFETY: 0 names the calling thread; `parameter` outlives the call, which only reads it.
    let refused = unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &raw const parameter) } != 0;
    if refused { Err(io::Error::last_os_error()) } else { Ok(()) }
}
