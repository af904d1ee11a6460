//! What rests on the fence devices behind one order.

use super::danger::Danger;
use super::inequality::{Addend, Inequality};
use super::rules::{FENCE_FIX, Fix, Rule};
use super::terms::Terms;
use crate::config::{Config, DeviceConfig};
use std::time::Duration;

/// Raises the promise of one device.
const DEVICE_FIX: Fix = Fix {
    field: |_, place| format!("fence.devices[{place}].timeout"),
    get: |config, place| device(config, place).map(|d| d.timeout).unwrap_or_default(),
    set: |config, place, value| {
        if let Some(device) = config.fence.as_mut().and_then(|fence| fence.devices.get_mut(place)) {
            device.timeout = value;
        }
    },
    raise: true,
};

fn device(config: &Config, place: usize) -> Option<&DeviceConfig> {
    config.fence.as_ref()?.devices.get(place)
}

pub(super) const RULES: &[Rule] =
    &[Rule { state: devices, fixes: &[FENCE_FIX] }, Rule { state: poison, fixes: &[DEVICE_FIX] }];

/// The fifth that an order allows beyond what its devices promise.
fn and_a_fifth(span: Duration) -> Duration {
    span.saturating_add(span / 5)
}

fn devices(t: &Terms<'_>) -> Vec<Inequality> {
    let Some(fence) = t.config.fence.as_ref().filter(|fence| !fence.devices.is_empty()) else {
        return Vec::new();
    };
    let all = fence.devices.iter().fold(Duration::ZERO, |sum, device| sum.saturating_add(device.longest()));
    let why = "every device of an order, with its retries, may answer before the order counts as failed";
    let order = Inequality::clock(
        "devices",
        why,
        vec![Addend::new("all devices with their retries, and a fifth", t.drift.longest(and_a_fifth(all)))],
        // The order itself is over a moment after the last device: equal is enough.
        vec![
            Addend::new("fence timeout", t.drift.longest(fence.timeout)),
            Addend::new("rounding", Duration::from_nanos(1)),
        ],
    );
    vec![order.risking(Danger::TooLong)]
}

fn poison(t: &Terms<'_>) -> Vec<Inequality> {
    let Some((fence, watchdog)) = t.config.fence.as_ref().zip(t.config.watchdog.as_ref()) else {
        return Vec::new();
    };
    let why = "a device that only asks the victim to end itself waits until its watchdog must have";
    let waits = fence.devices.iter().enumerate().filter(|(_, device)| device.needs_watchdog);
    let state = |(place, device): (usize, &DeviceConfig)| {
        Inequality::clock(
            "poison",
            why,
            vec![Addend::new(
                "twice the watchdog in whole seconds",
                t.drift.longest(watchdog.effective() * 2),
            )],
            vec![Addend::new("device's answer", t.drift.shortest(device.timeout))],
        )
        .of(place, &device.name)
    };
    waits.map(state).collect()
}
