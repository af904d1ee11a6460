//! What arbiter, watchdog, devices, budget and figures must satisfy by themselves.

use super::{Findings, MAX_BUDGET, MAX_TRAVELLING};
use crate::config::{Config, DeviceConfig};
use std::time::Duration;

/// No figure of a reliability is larger.
const MAX_LIFE: Duration = Duration::from_hours(24 * 365 * 1000);

impl Findings {
    pub(super) fn arbiter(&mut self, config: &Config) {
        if let Some(arbiter) = &config.arbiter {
            self.span("arbiter.lease", arbiter.lease, MAX_BUDGET);
            self.span("arbiter.renew_interval", arbiter.renew_interval, MAX_BUDGET);
            self.span("arbiter.answer_timeout", arbiter.answer_timeout, MAX_BUDGET);
            if let Some(wait) = arbiter.takeover_wait {
                self.span("arbiter.takeover_wait", wait, MAX_BUDGET * 24);
            }
        }
        if let Some(watchdog) = &config.watchdog {
            self.span("watchdog.timeout", watchdog.timeout, MAX_BUDGET);
            if let Some(refresh) = watchdog.refresh {
                self.span("watchdog.refresh", refresh, MAX_BUDGET);
            }
        }
    }

    pub(super) fn shared(&mut self, config: &Config) {
        for (place, group) in
            config.groups.iter().enumerate().filter(|(_, group)| group.shared && group.mirrored)
        {
            self.add(
                format!("groups[{place}].shared"),
                format_args!("true, with mirrored = true, in group \"{}\"", group.name),
                "one of the two",
                "shared data has one copy, a mirror has two",
                format_args!("leave groups[{place}].shared or groups[{place}].mirrored out"),
            );
        }
    }

    pub(super) fn devices(&mut self, config: &Config, devices: &[DeviceConfig]) {
        self.names("fence.devices", devices.iter().map(|device| device.name.as_str()));
        for (place, device) in devices.iter().enumerate() {
            self.span(&format!("fence.devices[{place}].timeout"), device.timeout, MAX_TRAVELLING);
            if device.needs_watchdog && config.watchdog.is_none() {
                self.add(
                    format!("fence.devices[{place}].needs_watchdog"),
                    "true, without a watchdog",
                    "a watchdog",
                    "the device's word would rest on a watchdog that nobody configured",
                    "describe the watchdog, or set needs_watchdog to false",
                );
            }
        }
    }

    pub(super) fn budget(&mut self, config: &Config) {
        if let Some(budget) = config.outage_budget {
            self.span("outage_budget", budget, MAX_BUDGET);
        }
        if let Some(figures) = &config.reliability {
            for (name, span) in figures.spans() {
                self.span(&format!("reliability.{name}"), span, MAX_LIFE);
            }
            self.at_most("reliability.reprotection", figures.reprotection, MAX_LIFE);
        }
    }
}
