//! The one system call without a safe wrapper: locks on byte ranges that belong to the open file.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Locks `length` bytes from `start` for this open file, or says that another one holds some of them. The kernel lets go
/// when the last thread that may still be writing through the file is gone.
pub(crate) fn lock_range(file: &File, start: i64, length: i64) -> io::Result<bool> {
    match set(file, libc::F_WRLCK as _, start, length) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        result => result.map(|()| true),
    }
}

/// Gives all locks of this open file back, though a process that is just being started may still hold a copy of it.
pub(crate) fn unlock(file: &File) -> io::Result<()> {
    set(file, libc::F_UNLCK as _, 0, 0)
}

fn set(file: &File, kind: libc::c_short, start: i64, length: i64) -> io::Result<()> {
    // SAFETY: `flock` is plain old data; all zeros is a valid value of it.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind;
    range.l_whence = libc::SEEK_SET as _;
    range.l_start = start;
    range.l_len = length;
    // SAFETY: the descriptor is open for the length of the call, and `range` outlives it.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const range) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
