//! One `with_…` for every field that has a default, since the structs are open for new fields.

use super::{
    ArbiterConfig, Config, DeviceConfig, FenceConfig, GroupConfig, LinkConfig, NodeConfig, ReliabilityConfig,
    ResourceConfig, StoreReliability, TimingConfig, WatchdogConfig,
};
use crate::FenceScope;
use std::time::Duration;

macro_rules! setters {
    ($on:ty: $($name:ident => $field:ident: $kind:ty),+ $(,)?) => {
        impl $on {
            $(
                #[doc = concat!("The same with another [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $name(mut self, $field: $kind) -> Self {
                    self.$field = $field;
                    self
                }
            )+
        }
    };
}

setters!(LinkConfig:
    with_interval => interval: Duration,
    with_suspect => suspect: Duration,
    with_dead => dead: Duration,
    with_payload_bytes => payload_bytes: usize,
    with_bits_per_second => bits_per_second: Option<u32>,
);

setters!(GroupConfig:
    with_weight => weight: u16,
    with_promote_timeout => promote_timeout: Duration,
    with_demote_timeout => demote_timeout: Duration,
    with_address_lifetime => address_lifetime: Duration,
    with_announcement => announcement: Duration,
);

setters!(ResourceConfig:
    with_start_timeout => start_timeout: Duration,
    with_stop_timeout => stop_timeout: Duration,
    with_monitor_interval => monitor_interval: Duration,
    with_monitor_timeout => monitor_timeout: Duration,
    with_restart_limit => restart_limit: u8,
);

setters!(FenceConfig:
    with_timeout => timeout: Duration,
    with_effect => effect: Duration,
    with_scope => scope: FenceScope,
    with_devices => devices: Vec<DeviceConfig>,
);

setters!(ArbiterConfig:
    with_renew_interval => renew_interval: Duration,
    with_answer_timeout => answer_timeout: Duration,
    with_takeover_wait => takeover_wait: Option<Duration>,
    with_trusts_host_pauses => trusts_host_pauses: bool,
);

setters!(DeviceConfig:
    with_retries => retries: u8,
    with_needs_watchdog => needs_watchdog: bool,
);

setters!(ReliabilityConfig:
    with_store => store: Option<StoreReliability>,
    with_reprotection => reprotection: Duration,
    with_common_cause_ppm => common_cause_ppm: u32,
    with_switchovers_per_year => switchovers_per_year: u32,
);

setters!(WatchdogConfig:
    with_refresh => refresh: Option<Duration>,
);

setters!(TimingConfig:
    with_token_validity => token_validity: Duration,
    with_boot_wait => boot_wait: Duration,
    with_ask_deadline => ask_deadline: Duration,
    with_confirm_deadline => confirm_deadline: Duration,
    with_prepare_deadline => prepare_deadline: Duration,
    with_persist_deadline => persist_deadline: Duration,
    with_takeover_deadline => takeover_deadline: Duration,
    with_query_interval => query_interval: Duration,
    with_question_interval => question_interval: Duration,
    with_detached_limit => detached_limit: Duration,
    with_feed_limit => feed_limit: Duration,
    with_kill_grace => kill_grace: Duration,
    with_mirror_stall => mirror_stall: Duration,
    with_application_stall => application_stall: Duration,
    with_drift_ppm => drift_ppm: u32,
);

impl Config {
    /// The same with another [`outage_budget`](Self::outage_budget).
    #[must_use]
    pub const fn with_outage_budget(mut self, budget: Option<Duration>) -> Self {
        self.outage_budget = budget;
        self
    }

    /// The same with figures for an estimate of its availability.
    #[must_use]
    pub fn with_reliability(mut self, reliability: ReliabilityConfig) -> Self {
        self.reliability = Some(reliability);
        self
    }

    /// The same with a text for [`Config::unguarded`]. Only [`ACCEPT_SPLIT_BRAIN`](super::ACCEPT_SPLIT_BRAIN)
    /// passes the check.
    #[must_use]
    pub fn with_unguarded(mut self, text: &str) -> Self {
        self.unguarded = Some(text.into());
        self
    }
}

impl NodeConfig {
    /// A node called `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into() }
    }
}
