//! What is unsafe about a configuration: one sentence, both numbers, the smallest change.

use super::danger::Danger;
use serde::{Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// One thing that is unsafe.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Violation {
    /// The path or rule.
    pub rule: &'static str,
    /// What may come of it; absent where the configuration itself is not right.
    pub danger: Option<Danger>,
    /// Of which link, group, resource or device it speaks, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// What was found, with both numbers.
    pub found: String,
    /// The field to change, for example `timing.feed_limit`.
    pub field: String,
    /// The smallest change that mends it: the field's new value, where it is a duration.
    #[serde(rename = "value_ms", serialize_with = "some_ms")]
    pub value: Option<Duration>,
    /// The same in words.
    pub mend: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.danger {
            Some(danger) => write!(f, "{}: {}, so that {danger}; {}", self.rule, self.found, self.mend),
            None => write!(f, "{}: {}; {}", self.rule, self.found, self.mend),
        }
    }
}

/// A span in milliseconds, or nothing.
pub(super) fn some_ms<S: Serializer>(span: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
    match span {
        Some(span) => super::inequality::as_ms(span, s),
        None => s.serialize_none(),
    }
}

/// Everything that is unsafe about a configuration. Never empty.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct Violations(pub(super) Vec<Violation>);

impl Violations {
    /// The violations.
    #[must_use]
    pub fn as_slice(&self) -> &[Violation] {
        &self.0
    }

    /// Whether more than comfort is at stake: two active nodes, or a shot that must not be.
    #[must_use]
    pub fn are_unsafe(&self) -> bool {
        self.0.iter().any(|violation| violation.danger.is_none_or(Danger::is_unsafe))
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, violation) in self.0.iter().enumerate() {
            let newline = if place == 0 { "" } else { "\n" };
            write!(f, "{newline}{violation}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}

/// A span in milliseconds with at most two decimals, so that both sides of an inequality read alike.
pub(super) fn in_ms(span: Duration) -> String {
    let text = format!("{:.2}", span.as_secs_f64() * 1000.0);
    format!("{} ms", text.trim_end_matches('0').trim_end_matches('.'))
}
