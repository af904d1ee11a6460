//! What the kernel refused, and what to do about it.

use super::capability::{Capability, Missing};
use rustix::io::Errno;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A call to the kernel's network configuration failed. `call` says what was asked, in words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A capability is missing.
    #[error("cannot {call}: {missing} (the kernel says: {said})")]
    Denied {
        /// What was asked.
        call: String,
        /// What the thread lacks.
        missing: Missing,
        /// The kernel's words.
        said: String,
    },
    /// There is no such interface (any more).
    #[error("cannot {call}: there is no interface {wanted}; create it, or correct its name")]
    NoInterface {
        /// What was asked.
        call: String,
        /// The interface's name or number.
        wanted: String,
    },
    /// It is there already.
    #[error("cannot {call}: it exists already ({said}); remove it first if it is not ours")]
    Exists {
        /// What was asked.
        call: String,
        /// The kernel's words.
        said: String,
    },
    /// It is not there (any more).
    #[error("cannot {call}: it is not there ({said})")]
    Absent {
        /// What was asked.
        call: String,
        /// The kernel's words.
        said: String,
    },
    /// Nothing routes to a destination.
    #[error("cannot {call}: {said}; add a route, or name the interface")]
    Unreachable {
        /// What was asked.
        call: String,
        /// The kernel's words.
        said: String,
    },
    /// The kernel had to drop answers: look at what is there before asking again.
    #[error(
        "cannot tell whether to {call} succeeded: the socket's buffer overran (ENOBUFS); look at what is there, then ask again"
    )]
    Overrun {
        /// What was asked.
        call: String,
    },
    /// The kernel does not know this.
    #[error("cannot {call}: this kernel does not support it ({said}); load the module or build it in")]
    Unsupported {
        /// What was asked.
        call: String,
        /// The kernel's words.
        said: String,
    },
    /// Anything else that the kernel refused.
    #[error("cannot {call}: the kernel refuses: {said}")]
    Refused {
        /// What was asked.
        call: String,
        /// Its error number (`errno(3)`).
        errno: i32,
        /// Its words.
        said: String,
    },
    /// It did not answer.
    #[error(
        "cannot {call}: the kernel did not answer within {waited:?}; look at what is there, then ask again"
    )]
    Unanswered {
        /// What was asked.
        call: String,
        /// How long was waited.
        waited: Duration,
    },
    /// Its answer makes no sense.
    #[error("cannot {call}: the kernel's answer is not understood: {found}")]
    Malformed {
        /// What was asked.
        call: String,
        /// What was found.
        found: String,
    },
    /// A network namespace cannot be entered.
    #[error("cannot enter the network namespace {at}: {reason}")]
    Namespace {
        /// Its file.
        at: PathBuf,
        /// Why not, and what to do.
        reason: String,
    },
    /// A setting under `/proc/sys/net` cannot be read or written.
    #[error(
        "cannot {what} {at}: {source}; expected it writable for a process with CAP_NET_ADMIN in this network namespace"
    )]
    Setting {
        /// Read or write.
        what: &'static str,
        /// The setting's file.
        at: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The socket failed.
    #[error("cannot {call}: {source}")]
    Socket {
        /// What was asked.
        call: String,
        /// Why not.
        source: io::Error,
    },
}

impl KernelError {
    /// The error for the kernel's `errno`, with the words that it added (possibly none).
    pub(crate) fn of(call: &str, errno: Errno, words: &str) -> Self {
        let call = call.to_owned();
        let plain = io::Error::from_raw_os_error(errno.raw_os_error());
        let said = if words.is_empty() { plain.to_string() } else { format!("{words}: {plain}") };
        match errno {
            Errno::PERM | Errno::ACCESS => {
                Self::Denied { call, missing: Missing::now(Capability::NetAdmin), said }
            }
            Errno::NODEV => Self::NoInterface { wanted: "of that number or name".into(), call },
            Errno::EXIST => Self::Exists { call, said },
            Errno::ADDRNOTAVAIL | Errno::NOENT | Errno::SRCH => Self::Absent { call, said },
            Errno::NETUNREACH | Errno::HOSTUNREACH => Self::Unreachable { call, said },
            Errno::NOBUFS => Self::Overrun { call },
            Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => Self::Unsupported { call, said },
            other => Self::Refused { call, errno: other.raw_os_error(), said },
        }
    }

    pub(crate) fn socket(call: &str, errno: Errno) -> Self {
        match errno {
            Errno::NOBUFS => Self::Overrun { call: call.into() },
            Errno::PERM | Errno::ACCESS => Self::of(call, errno, ""),
            errno => Self::Socket { call: call.into(), source: errno.into() },
        }
    }

    pub(crate) fn malformed(call: &str, found: impl Into<String>) -> Self {
        Self::Malformed { call: call.into(), found: found.into() }
    }

    /// Whether it says that the thing is not there: for a removal that is as good as done.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent { .. } | Self::NoInterface { .. })
    }

    /// Whether it leaves open what was done.
    #[must_use]
    pub const fn is_unclear(&self) -> bool {
        matches!(self, Self::Overrun { .. } | Self::Unanswered { .. } | Self::Malformed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_the_capability_and_the_user_namespace() {
        let error = KernelError::of("add 10.77.0.100/24 to lan0", Errno::PERM, "");
        let text = error.to_string();
        assert!(text.contains("add 10.77.0.100/24 to lan0"), "{text}");
        assert!(text.contains("CAP_NET_ADMIN"), "{text}");
        assert!(text.contains("user:["), "{text}");
    }

    #[test]
    fn each_refusal_says_what_it_is_and_what_to_do() {
        let of = |errno| KernelError::of("add 10.77.0.100/24 to lan0", errno, "").to_string();
        assert!(of(Errno::NOBUFS).contains("ENOBUFS"));
        assert!(of(Errno::EXIST).contains("exists already"));
        assert!(of(Errno::NODEV).contains("no interface"));
        assert!(of(Errno::INVAL).contains("Invalid argument"));
        assert!(
            KernelError::of("x", Errno::INVAL, "Invalid prefix length")
                .to_string()
                .contains("Invalid prefix length")
        );
        assert!(KernelError::of("x", Errno::ADDRNOTAVAIL, "").is_absent());
        assert!(KernelError::of("x", Errno::NOBUFS, "").is_unclear());
    }
}
