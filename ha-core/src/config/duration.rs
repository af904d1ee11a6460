//! Durations as text with a unit (`"200ms"`), for serde.

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};
use std::time::Duration;

pub(super) fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&humantime::format_duration(*d).to_string())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(d)?;
    humantime::parse_duration(&text).map_err(|e| {
        D::Error::custom(format!("found \"{text}\", expected a duration with a unit such as \"200ms\": {e}"))
    })
}
