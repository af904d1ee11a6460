//! One takeover path as data: both sides, addend by addend.

use super::danger::Danger;
use super::violation::in_ms;
use serde::{Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// A span as a number of milliseconds.
pub(super) fn as_ms<S: Serializer>(span: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_f64(span.as_secs_f64() * 1000.0)
}

/// One term of a sum.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Addend {
    /// What takes that long.
    pub what: &'static str,
    /// How long, at the extreme that counts on its side.
    #[serde(rename = "ms", serialize_with = "as_ms")]
    pub span: Duration,
}

impl Addend {
    pub(super) const fn new(what: &'static str, span: Duration) -> Self {
        Self { what, span }
    }
}

pub(super) fn sum(addends: &[Addend]) -> Duration {
    addends.iter().fold(Duration::ZERO, |sum, addend| sum.saturating_add(addend.span))
}

/// On what a path's order rests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Basis {
    /// On clocks: the survivor's sum must exceed the victim's.
    Clock,
    /// On a proof: the survivor waits for the word that the victim's last act is over, however long that takes.
    /// Its sum says when that word can come at the earliest.
    Proof,
}

/// *What must be over* against *what must not begin earlier*, both counted from one common instant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Inequality {
    /// The path.
    pub name: &'static str,
    /// Of which link, group, resource or device it speaks, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Why it matters, in a sentence.
    pub why: &'static str,
    /// What may come of it if it does not hold.
    pub danger: Danger,
    /// On what it rests.
    pub basis: Basis,
    /// The victim's latest action: the terms at their longest.
    pub victim: Vec<Addend>,
    /// The survivor's earliest action: the terms at their shortest.
    pub survivor: Vec<Addend>,
    /// The survivor's sum less the victim's. Positive on every path that rests on clocks.
    #[serde(rename = "holds_by_ms", serialize_with = "as_ms")]
    pub holds_by: Duration,
    /// The place of that link, group or device in the configuration.
    #[serde(skip)]
    pub(super) place: usize,
}

impl Inequality {
    pub(super) fn clock(
        name: &'static str,
        why: &'static str,
        victim: Vec<Addend>,
        survivor: Vec<Addend>,
    ) -> Self {
        let holds_by = sum(&survivor).saturating_sub(sum(&victim));
        let danger = Danger::TwiceActive;
        Self { name, of: None, why, danger, basis: Basis::Clock, victim, survivor, holds_by, place: 0 }
    }

    pub(super) fn proof(name: &'static str, why: &'static str, both: Vec<Addend>) -> Self {
        Self {
            name,
            of: None,
            why,
            danger: Danger::TwiceActive,
            basis: Basis::Proof,
            victim: both.clone(),
            survivor: both,
            holds_by: Duration::ZERO,
            place: 0,
        }
    }

    /// The same of a lesser danger than two active nodes.
    pub(super) const fn risking(mut self, danger: Danger) -> Self {
        self.danger = danger;
        self
    }

    /// The same of one of several.
    pub(super) fn of(mut self, place: usize, name: &str) -> Self {
        self.place = place;
        self.of = Some(name.into());
        self
    }

    /// Whether it holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        match self.basis {
            Basis::Clock => !self.holds_by.is_zero(),
            Basis::Proof => true,
        }
    }

    /// When the victim's last action is over, at the latest.
    #[must_use]
    pub fn victim_latest(&self) -> Duration {
        sum(&self.victim)
    }

    /// When the survivor's first action begins, at the earliest.
    #[must_use]
    pub fn survivor_earliest(&self) -> Duration {
        sum(&self.survivor)
    }
}

pub(super) fn write_sum(f: &mut fmt::Formatter<'_>, addends: &[Addend]) -> fmt::Result {
    for (place, addend) in addends.iter().enumerate() {
        let plus = if place == 0 { "" } else { " + " };
        write!(f, "{plus}{} {}", addend.what, in_ms(addend.span))?;
    }
    if addends.len() > 1 { write!(f, " = {}", in_ms(sum(addends))) } else { Ok(()) }
}

impl fmt::Display for Inequality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.of {
            Some(of) => writeln!(f, "{} of \"{of}\": {}", self.name, self.why)?,
            None => writeln!(f, "{}: {}", self.name, self.why)?,
        }
        write!(f, "  over by    ")?;
        write_sum(f, &self.victim)?;
        match self.basis {
            Basis::Clock => {
                write!(f, "\n  before     ")?;
                write_sum(f, &self.survivor)?;
                write!(f, "\n  holds by   {}", in_ms(self.holds_by))
            }
            Basis::Proof => {
                write!(f, "\n  holds by   proof: nothing begins before the word that this is over")
            }
        }
    }
}
