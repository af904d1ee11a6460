//! A third party or a disk that decides who owns, and the hardware that ends a node which cannot end itself.

use super::duration;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ArbiterKind {
    /// A third machine or service.
    ThirdParty,
    /// Slots on a disk that both nodes reach.
    Disk,
}

/// The pair's arbiter. The same values on both nodes: a lease is safe only if both count it alike.
///
/// ```
/// use ha_core::config::{ArbiterConfig, ArbiterKind};
/// use std::time::Duration;
/// let arbiter = ArbiterConfig::new(ArbiterKind::Disk, Duration::from_secs(5));
/// assert_eq!(arbiter.renew_interval, Duration::from_secs(1));
/// assert!(!arbiter.trusts_host_pauses);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ArbiterConfig {
    /// What it is.
    pub kind: ArbiterKind,
    /// How long the owner's permission lives after a renewal, counted from before it was asked for. An arbiter that ends
    /// leases by its own clock does so no earlier than this after the renewal reached it.
    #[serde(with = "duration")]
    pub lease: Duration,
    /// Time between two renewals.
    #[serde(with = "duration")]
    pub renew_interval: Duration,
    /// Longest wait for one answer. No answer by then is none.
    #[serde(with = "duration")]
    pub answer_timeout: Duration,
    /// How long the taker must see no renewal, on its own clock, before it calls the lease expired. Absent: derived, as
    /// [`Config::takeover_wait`](super::Config::takeover_wait) says.
    #[serde(with = "duration::optional", default, skip_serializing_if = "Option::is_none")]
    pub takeover_wait: Option<Duration>,
    /// The named assumption without which an expired lease proves nothing: pauses of the host are visible to this
    /// machine's boot clock (bare metal, or a hypervisor that fences). Under any other hypervisor it is false.
    #[serde(default)]
    pub trusts_host_pauses: bool,
}

impl ArbiterConfig {
    /// An arbiter whose lease is renewed every fifth of it, with answers within a tenth.
    #[must_use]
    pub fn new(kind: ArbiterKind, lease: Duration) -> Self {
        Self {
            kind,
            lease,
            renew_interval: lease / 5,
            answer_timeout: lease / 10,
            takeover_wait: None,
            trusts_host_pauses: false,
        }
    }
}

/// A hardware watchdog: it ends the machine when nobody feeds it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct WatchdogConfig {
    /// What is asked of the driver.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Time between two feedings. Absent: a quarter of what the driver makes of the timeout.
    #[serde(with = "duration::optional", default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Duration>,
}

impl WatchdogConfig {
    /// A watchdog of `timeout`.
    #[must_use]
    pub const fn new(timeout: Duration) -> Self {
        Self { timeout, refresh: None }
    }

    /// What a driver makes of it: whole seconds, rounded up.
    ///
    /// ```
    /// use ha_core::config::WatchdogConfig;
    /// use std::time::Duration;
    /// assert_eq!(WatchdogConfig::new(Duration::from_millis(1500)).effective(), Duration::from_secs(2));
    /// ```
    #[must_use]
    pub const fn effective(&self) -> Duration {
        let more = if self.timeout.subsec_nanos() > 0 { 1 } else { 0 };
        Duration::from_secs(self.timeout.as_secs().saturating_add(more))
    }

    /// Time between two feedings.
    #[must_use]
    pub fn refresh_interval(&self) -> Duration {
        self.refresh.unwrap_or_else(|| self.effective() / 4)
    }
}
