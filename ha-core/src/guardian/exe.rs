//! Executing this very binary again, also after its file was replaced.

use rustix::fs::{CWD, Mode, OFlags, openat};
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A command that runs this binary with the same arguments. The descriptor must live until it was started.
pub(super) fn command() -> io::Result<(Command, OwnedFd)> {
    let exe = openat(CWD, "/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let mut command = Command::new(format!("/proc/self/fd/{}", exe.as_raw_fd()));
    let mut arguments = std::env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments);
    Ok((command, exe))
}

/// Gives the process its name back: one that was executed by descriptor is called after a number.
pub(super) fn restore_name() {
    let name = std::env::args_os().next().unwrap_or_else(|| OsString::from("node"));
    let name = Path::new(&name).file_name().map(|name| CString::new(name.as_bytes()));
    if let Some(Ok(name)) = name {
        // For `ps` alone; a refusal changes nothing.
        let _ = rustix::thread::set_name(&name);
    }
}
