//! Durations that belong to no single link, group or device.

use super::duration;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Durations that belong to no single link, group or device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TimingConfig {
    /// How long a role token lives after its last renewal.
    #[serde(with = "duration")]
    pub token_validity: Duration,
    /// How long a booting node listens before it may act on its own record.
    #[serde(with = "duration")]
    pub boot_wait: Duration,
    /// How long a live peer has to consent to its exclusion before it is asked again; twice makes it mute.
    #[serde(with = "duration")]
    pub ask_deadline: Duration,
    /// How long a suspended owner waits for the confirmation of its token before its own evidence decides.
    #[serde(with = "duration")]
    pub confirm_deadline: Duration,
    /// How long a switchover's target has to get ready.
    #[serde(with = "duration")]
    pub prepare_deadline: Duration,
    /// How long a record may take to become durable. A node whose record does not ends itself.
    #[serde(with = "duration")]
    pub persist_deadline: Duration,
    /// How long a released group waits for its new owner before it is arbitrated again.
    #[serde(with = "duration")]
    pub takeover_deadline: Duration,
    /// Time between two questions to a fence device, and between two attempts of it.
    #[serde(with = "duration")]
    pub query_interval: Duration,
    /// Time between two repetitions of an operator's question.
    #[serde(with = "duration")]
    pub question_interval: Duration,
    /// The guardian's patience with the control thread; at least the latest `dead`.
    #[serde(with = "duration")]
    pub feed_limit: Duration,
    /// The guardian's budget to kill, undo and verify.
    #[serde(with = "duration")]
    pub kill_grace: Duration,
    /// How long acknowledgements of a mirror may stop before its data reports *stalled* and the peer is asked.
    #[serde(with = "duration")]
    pub mirror_stall: Duration,
    /// How long the application runtime may stall before the role is suspended.
    #[serde(with = "duration")]
    pub application_stall: Duration,
    /// How long a node whose services run on without an engine may be silent before the peer may shoot it although it
    /// is maintained; zero: never. What runs there ends with it.
    #[serde(with = "duration")]
    pub detached_limit: Duration,
    /// Bound on the relative drift of two boot clocks, in parts per million.
    pub drift_ppm: u32,
}

impl Default for TimingConfig {
    /// What [`TimingConfig::for_links`] derives for the reference pair: two datagram links of 20 ms / dead 200 ms,
    /// a serial line of 50 ms / dead 250 ms at 115,200 baud, a fence device that answers within 200 ms.
    fn default() -> Self {
        Self {
            token_validity: ms(100),
            boot_wait: ms(1000),
            ask_deadline: ms(1000),
            confirm_deadline: ms(150),
            prepare_deadline: ms(500),
            persist_deadline: ms(1500),
            takeover_deadline: ms(2000),
            query_interval: ms(20),
            question_interval: ms(10_000),
            feed_limit: ms(275),
            kill_grace: ms(150),
            mirror_stall: ms(60),
            application_stall: ms(5000),
            detached_limit: Duration::ZERO,
            drift_ppm: 200,
        }
    }
}
