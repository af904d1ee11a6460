//! One of the devices behind a fencing order.

use super::duration;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A device that an order tries, with what it promises.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DeviceConfig {
    /// Its name, unique among the devices.
    pub name: String,
    /// Longest time of one attempt, its verification included.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Attempts after the first one.
    #[serde(default)]
    pub retries: u8,
    /// It only asks the victim to end itself (a poison pill on a disk): its word rests on the victim's watchdog.
    #[serde(default)]
    pub needs_watchdog: bool,
}

impl DeviceConfig {
    /// A device with one attempt.
    #[must_use]
    pub fn new(name: &str, timeout: Duration) -> Self {
        Self { name: name.into(), timeout, retries: 0, needs_watchdog: false }
    }

    /// All its attempts at their longest.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.timeout.saturating_mul(u32::from(self.retries) + 1)
    }
}
