//! What a check has to say.

use std::fmt;

/// A breach of a contract.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Which check.
    pub check: &'static str,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}; expected {}", self.check, self.found, self.expected)
    }
}

/// What was done.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Report {
    /// What was checked.
    pub subject: String,
    /// The checks that found nothing wrong.
    pub passed: Vec<&'static str>,
    /// The checks that were left out, and what they would need.
    pub skipped: Vec<(&'static str, &'static str)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.subject)?;
        for check in &self.passed {
            write!(f, "\n  ok: {check}")?;
        }
        for (check, needs) in &self.skipped {
            write!(f, "\n  skipped: {check} (needs {needs})")?;
        }
        Ok(())
    }
}

/// Everything that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Failed {
    /// What was found, at most one per check.
    pub failures: Vec<Failure>,
    /// What else was done.
    pub report: Report,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.report)?;
        for failure in &self.failures {
            write!(f, "\n  WRONG: {failure}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failed {}

/// How one check ended: what was found and what was expected, or nothing wrong.
pub(super) type Outcome = Result<(), Wrong>;

/// What was found, and what was expected.
#[derive(Debug)]
pub(super) struct Wrong {
    pub found: String,
    pub expected: String,
}

pub(super) fn wrong<T>(found: impl fmt::Display, expected: impl fmt::Display) -> Result<T, Wrong> {
    Err(Wrong { found: found.to_string(), expected: expected.to_string() })
}

/// Notes one check after the other.
pub(super) struct Notes {
    report: Report,
    failures: Vec<Failure>,
}

impl Notes {
    pub(super) fn new(subject: impl fmt::Display) -> Self {
        let report = Report { subject: subject.to_string(), ..Report::default() };
        Self { report, failures: Vec::new() }
    }

    pub(super) fn note(&mut self, check: &'static str, outcome: Outcome) {
        match outcome {
            Ok(()) => self.report.passed.push(check),
            Err(Wrong { found, expected }) => self.failures.push(Failure { check, found, expected }),
        }
    }

    pub(super) fn skip(&mut self, check: &'static str, needs: &'static str) {
        self.report.skipped.push((check, needs));
    }

    pub(super) fn finish(self) -> Result<Report, Box<Failed>> {
        if self.failures.is_empty() {
            return Ok(self.report);
        }
        Err(Box::new(Failed { failures: self.failures, report: self.report }))
    }
}
