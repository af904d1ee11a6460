//! What is unsafe about a configuration: one sentence, both numbers, the smallest change.

use std::fmt;
use std::time::Duration;

/// One thing that is unsafe.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Violation {
    /// The path or rule.
    pub rule: &'static str,
    /// What was found, with both numbers.
    pub found: String,
    /// The field to change, for example `timing.feed_limit`.
    pub field: String,
    /// The smallest change that mends it: the field's new value, where it is a duration.
    pub value: Option<Duration>,
    /// The same in words.
    pub mend: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.rule, self.found, self.mend)
    }
}

/// Everything that is unsafe about a configuration. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violations(pub(super) Vec<Violation>);

impl Violations {
    /// The violations.
    #[must_use]
    pub fn as_slice(&self) -> &[Violation] {
        &self.0
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
