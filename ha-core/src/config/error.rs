//! What is wrong with a configuration, in the words of a compiler: where, what was found, what would be right.

use std::fmt;

/// One finding about one field.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Problem {
    /// The field's path, for example `links[1].suspect`.
    pub field: String,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub expected: String,
    /// Why.
    pub why: &'static str,
    /// The smallest change that mends it.
    pub mend: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error in {}: found {}, expected {}", self.field, self.found, self.expected)?;
        writeln!(f, "  = why: {}", self.why)?;
        write!(f, "  = mend: {}", self.mend)
    }
}

/// Everything that is wrong with a configuration, found at once. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problems(pub(super) Vec<Problem>);

impl Problems {
    /// The findings, in the order of the fields.
    #[must_use]
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let count = self.0.len();
        write!(f, "{count} problem{} in the configuration", if count == 1 { "" } else { "s" })
    }
}

impl std::error::Error for Problems {}

/// A configuration could not be read, or is not right.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is not a configuration: bad TOML, an unknown key, a missing key or a value of the wrong kind.
    #[error("line {line}, column {column}: {message}")]
    Text {
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What was found, and what was expected.
        message: String,
    },
    /// The values are readable but not right.
    #[error(transparent)]
    Problems(#[from] Problems),
}
