//! The one call that no safe wrapper offers: code between fork and exec.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets `wait` run in the child between fork and exec; the child executes its program only if it returns `Ok`.
///
/// `wait` must make plain system calls and nothing else: no allocation, no lock, no panic.
pub(super) fn before_exec(
    command: &mut Command,
    wait: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: the one caller (`held.rs`) passes a closure of raw, async-signal-safe system calls on descriptors that it
    // owns; it neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(wait);
    }
}
