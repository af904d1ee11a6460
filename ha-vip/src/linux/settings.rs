//! Settings under `/proc/sys/net` of a namespace, put back as they were.

use crate::kernel::{KernelError, NetNamespace};
use std::path::{Path, PathBuf};

const ROOT: &str = "/proc/sys/net";

/// Settings that were changed, each with its former value.
#[derive(Debug)]
pub(crate) struct Settings {
    namespace: NetNamespace,
    former: Vec<(String, String)>,
}

impl Settings {
    pub(crate) const fn new(namespace: NetNamespace) -> Self {
        Self { namespace, former: Vec::new() }
    }

    /// What was changed, each with its former value.
    pub(crate) fn former(&self) -> &[(String, String)] {
        &self.former
    }

    /// Sets one, and remembers what it was.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), KernelError> {
        let former = exchange(&self.namespace, name, value)?;
        if former != value && !self.former.iter().any(|(known, _)| known == name) {
            self.former.push((name.into(), former));
        }
        Ok(())
    }

    /// Puts everything back that is still there, the last change first.
    pub(crate) fn restore(&mut self) -> Result<(), KernelError> {
        while let Some((name, value)) = self.former.last() {
            put_back(&self.namespace, name, value)?;
            self.former.pop();
        }
        Ok(())
    }
}

/// Puts a former value back; a success if the interface is gone and took the setting with it.
pub(crate) fn put_back(namespace: &NetNamespace, name: &str, value: &str) -> Result<(), KernelError> {
    match exchange(namespace, name, value) {
        Err(KernelError::Setting { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map(drop),
    }
}

/// Writes a setting; its value before.
fn exchange(namespace: &NetNamespace, name: &str, value: &str) -> Result<String, KernelError> {
    let at = Path::new(ROOT).join(name);
    // Which namespace's settings the files show depends on the thread that opens them.
    namespace.inside(|| {
        let former = std::fs::read_to_string(&at).map_err(|e| failed("read", &at, e))?.trim().to_owned();
        if former != value {
            std::fs::write(&at, value).map_err(|e| failed("write", &at, e))?;
        }
        Ok(former)
    })?
}

fn failed(what: &'static str, at: &Path, source: std::io::Error) -> KernelError {
    KernelError::Setting { what, at: PathBuf::from(at), source }
}
