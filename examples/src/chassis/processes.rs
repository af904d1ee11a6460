//! What `/proc` says about this process's descendants.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeMap;
use std::fs;
use std::io;

/// One descendant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Descendant {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// Its arguments, the program's name first. Empty for a zombie.
    pub(crate) arguments: Vec<String>,
}

impl Descendant {
    /// Whether it was started with `word` as its first argument.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.arguments.get(1).is_some_and(|first| first == word)
    }
}

/// Every living descendant of this process, parents before their children.
pub(crate) fn descendants() -> io::Result<Vec<Descendant>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let (mut found, mut next) = (Vec::new(), vec![me]);
    while let Some(parent) = next.pop() {
        for pid in children.remove(&parent).unwrap_or_default() {
            found.push(Descendant { pid, parent, arguments: arguments_of(pid) });
            next.push(pid);
        }
    }
    Ok(found)
}

/// The parent of a living process; none for a zombie, which can do nothing any more.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") { None } else { fields.next()?.parse().ok() }
}

fn arguments_of(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words: Vec<String> =
        bytes.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into()).collect();
    words.pop();
    words
}

/// Signals a process that was found as a descendant, and no other that got its number since.
pub(crate) fn signal(found: &Descendant, signal: Signal) -> io::Result<bool> {
    let Some(pid) = Pid::from_raw(found.pid) else { return Ok(false) };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(false) };
    // Held open, the number cannot be given away any more: who it is can be checked now.
    let same = arguments_of(found.pid) == found.arguments && parent_of(found.pid).is_some();
    if !same {
        return Ok(false);
    }
    match pidfd_send_signal(handle, signal) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
