//! What every process of `mail-pair` begins with.

use serde::de::DeserializeOwned;
use std::io;
use std::time::{Duration, Instant};

/// The configuration that the driver gave as the one argument, as JSON.
pub(crate) fn one_json_argument<T: DeserializeOwned>(arguments: &[String]) -> io::Result<T> {
    let [one] = arguments else {
        let text = format!("found {} arguments, expected one: the configuration as JSON", arguments.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    };
    serde_json::from_str(one).map_err(io::Error::from)
}

/// The instant `span` from now.
pub(crate) fn deadline(span: Duration) -> Instant {
    Instant::now() + span
}

/// The machine's boot clock in nanoseconds: the clock of all acts and events.
pub(crate) fn boot_ns() -> u64 {
    use ha_core::api::Clock;
    ha_core::runtime::BootClock.now().as_nanos()
}
