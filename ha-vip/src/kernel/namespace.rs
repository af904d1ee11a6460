//! Network namespaces, entered by short-lived threads so that nobody else is moved.

use super::{Capability, KernelError};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// The network namespace in which an address lives.
///
/// Sockets are opened inside by a thread that enters it and ends; what they do happens there ever after, wherever their
/// user is. Entering another namespace needs `CAP_SYS_ADMIN` (`setns(2)`); the process's own needs nothing.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct NetNamespace(Option<PathBuf>);

impl NetNamespace {
    /// The one that the process is in.
    #[must_use]
    pub const fn own() -> Self {
        Self(None)
    }

    /// The one that `ip netns add` made under this name (`/run/netns/NAME`), or the file at this path if it has a slash.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let path = if name.contains('/') { name.into() } else { Path::new("/run/netns").join(name) };
        Self(Some(path))
    }

    /// Its file, if it is not the process's own.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.as_deref()
    }

    /// Runs `work` inside. In another namespace than the process's own it runs on a thread of its own.
    ///
    /// # Errors
    /// [`KernelError::Namespace`] if it cannot be entered.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, KernelError> {
        let Some(at) = &self.0 else { return Ok(work()) };
        let file = File::open(at).map_err(|source| refused(at, &source))?;
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("ha-vip netns".into());
            let entered = thread.spawn_scoped(scope, || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok::<T, io::Error>(work())
            });
            match entered.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(Ok(done))) => Ok(done),
                Ok(Ok(Err(source))) | Err(source) => Err(refused(at, &source)),
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
            }
        })
    }
}

fn refused(at: &Path, source: &io::Error) -> KernelError {
    let reason = match source.kind() {
        io::ErrorKind::NotFound => "there is no such file; create it with ip netns add".into(),
        io::ErrorKind::PermissionDenied => match Capability::SysAdmin.require() {
            Err(missing) => format!("{source}: {missing}"),
            Ok(()) => format!("{source}: it belongs to another user namespace"),
        },
        io::ErrorKind::InvalidInput => format!("{source}: the file is no network namespace"),
        _ => source.to_string(),
    };
    KernelError::Namespace { at: at.into(), reason }
}

impl fmt::Display for NetNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("the process's own network namespace"),
            Some(path) => write!(f, "the network namespace {}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_is_not_there_is_named() {
        let error = NetNamespace::named("ha-vip-nowhere").inside(|| ()).unwrap_err();
        assert!(error.to_string().contains("/run/netns/ha-vip-nowhere: there is no such file"), "{error}");
        assert_eq!(NetNamespace::own().inside(|| 7).unwrap(), 7);
    }
}
