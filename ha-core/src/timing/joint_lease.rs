//! Two nodes may carry different leases. A taker may call its peer's lease expired only after a wait that outlasts
//! the *peer's* lease and the *peer's* stops, and only if the peer binds itself by its lease at all.

use super::joint::Mismatch;
use super::lease::shortest_wait;
use super::terms::Terms;
use crate::config::Config;
use crate::engine::Statement;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a node tells the other of its lease, as it travels in [`Statement::Lease`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LeaseValues {
    /// The shortest wait that outlasts this node as an owner, in milliseconds, rounded up.
    pub outlasted_ms: u32,
    /// How long this node waits as a taker, in milliseconds, rounded down.
    pub waits_ms: u32,
    /// Whether its permission ends with its lease ([`trusts_host_pauses`](crate::config::ArbiterConfig)).
    pub is_bound: bool,
    /// Whether a watchdog stands behind it, as shared data needs.
    pub has_watchdog: bool,
}

impl LeaseValues {
    /// The values of a checked configuration; none without an arbiter.
    ///
    /// ```
    /// use ha_core::config::{ArbiterConfig, ArbiterKind, Config, GroupConfig, LinkConfig};
    /// use ha_core::timing::{LeaseValues, Mismatch, joint_lease};
    /// use std::time::Duration;
    /// let ms = Duration::from_millis;
    /// let pair = |lease| Config::pair("mail", "a", "b")
    ///     .link(LinkConfig::datagram("lan", ms(20), ms(200)))
    ///     .group(GroupConfig::new("smtp").mirrored())
    ///     .arbiter(ArbiterConfig::new(ArbiterKind::ThirdParty, ms(lease)).with_trusts_host_pauses(true));
    /// let (short, long) = (LeaseValues::of(&pair(1000)).unwrap(), LeaseValues::of(&pair(5000)).unwrap());
    /// assert_eq!(joint_lease(&long, &short, false), Ok(()));
    /// assert!(matches!(joint_lease(&short, &long, false), Err(Mismatch::Lease { .. })));
    /// ```
    #[must_use]
    pub fn of(config: &Config) -> Option<Self> {
        let arbiter = config.arbiter.as_ref()?;
        let wait = config.takeover_wait()?;
        let whole = |nanos: u128| u32::try_from(nanos / 1_000_000).unwrap_or(u32::MAX);
        let up = |span: Duration| whole(span.as_nanos().saturating_add(999_999));
        Some(Self {
            outlasted_ms: up(shortest_wait(&Terms::of(config))),
            waits_ms: whole(wait.as_nanos()),
            is_bound: arbiter.trusts_host_pauses,
            has_watchdog: config.watchdog.is_some(),
        })
    }
}

impl From<LeaseValues> for Statement {
    fn from(v: LeaseValues) -> Self {
        let LeaseValues { outlasted_ms, waits_ms, is_bound, has_watchdog } = v;
        Self::Lease { outlasted_ms, waits_ms, is_bound, has_watchdog }
    }
}

/// Whether `taker` may take over from `owner` when that one's lease ran out; `shared`: a group of shared data. Not
/// symmetric: of two leases the node with the longer wait may still follow the other one.
///
/// # Errors
/// The [`Mismatch`] for which an expired lease proves nothing.
pub const fn joint_lease(taker: &LeaseValues, owner: &LeaseValues, shared: bool) -> Result<(), Mismatch> {
    if !owner.is_bound || shared && !owner.has_watchdog {
        return Err(Mismatch::Unbound);
    }
    if taker.waits_ms < owner.outlasted_ms {
        return Err(Mismatch::Lease { waits: taker.waits_ms, outlasted: owner.outlasted_ms });
    }
    Ok(())
}
