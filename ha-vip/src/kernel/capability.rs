//! Which capability is missing, and in which user namespace.

use rustix::thread::{CapabilitySet, capabilities};
use std::fmt;

/// A capability that a part of this crate needs (`capabilities(7)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Capability {
    /// `CAP_NET_ADMIN`: addresses, links, routes, packet filters.
    NetAdmin,
    /// `CAP_NET_RAW`: announcements and probes.
    NetRaw,
    /// `CAP_SYS_ADMIN`: entering another network namespace.
    SysAdmin,
}

impl Capability {
    const fn set(self) -> CapabilitySet {
        match self {
            Self::NetAdmin => CapabilitySet::NET_ADMIN,
            Self::NetRaw => CapabilitySet::NET_RAW,
            Self::SysAdmin => CapabilitySet::SYS_ADMIN,
        }
    }

    /// Whether this thread has it in effect. Unknown counts as yes: the kernel says no itself then.
    #[must_use]
    pub fn is_held(self) -> bool {
        capabilities(None).map_or(true, |sets| sets.effective.contains(self.set()))
    }

    /// Refuses if this thread does not have it.
    ///
    /// # Errors
    /// [`Missing`], which says what to do.
    pub fn require(self) -> Result<(), Missing> {
        if self.is_held() { Ok(()) } else { Err(Missing::now(self)) }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetRaw => "CAP_NET_RAW",
            Self::SysAdmin => "CAP_SYS_ADMIN",
        })
    }
}

/// What a thread lacked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// It does not have the capability at all.
    #[error(
        "{capability} is missing in this thread's effective set (user namespace {user_namespace}); grant it, for example AmbientCapabilities={capability} in the systemd unit, or setcap {capability}+ep on the program"
    )]
    NotEffective {
        /// The capability.
        capability: Capability,
        /// The thread's user namespace, as in `user:[4026531837]`.
        user_namespace: String,
    },
    /// It has it, but not over the user namespace that owns this network namespace.
    #[error(
        "{capability} is held in the user namespace {user_namespace}, but the network namespace belongs to another one; start the program in the user namespace that owns it"
    )]
    ElsewhereOnly {
        /// The capability.
        capability: Capability,
        /// The thread's user namespace.
        user_namespace: String,
    },
}

impl Missing {
    /// Why the kernel refuses `capability` to this thread, read now.
    pub(crate) fn now(capability: Capability) -> Self {
        let user_namespace = std::fs::read_link("/proc/thread-self/ns/user")
            .map_or_else(|_| "unknown".into(), |link| link.to_string_lossy().into_owned());
        if capability.is_held() {
            Self::ElsewhereOnly { capability, user_namespace }
        } else {
            Self::NotEffective { capability, user_namespace }
        }
    }
}
