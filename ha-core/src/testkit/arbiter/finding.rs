//! What the check has to say.

use std::fmt;

/// One thing that is checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Check {
    /// Of a group that nobody ever named there is no record, no lease, and its revision is zero.
    UnknownGroup,
    /// A record reads back, field by field, at every node, under a new revision, with its lease taken.
    RecordReadsBack,
    /// A swap at another revision changes nothing and shows what stands.
    LostShowsWhatStands,
    /// Groups whose names resemble each other share nothing.
    GroupsAreApart,
    /// Of all swaps at one revision exactly one is done.
    OneWinner,
    /// Whatever was done before a reading began is in it; to no reader does an epoch fall.
    ReadsAreLinear,
    /// Every renewal shows as a new number and changes nothing else.
    RenewalShows,
    /// Nobody but the owner's life at its epoch renews, and a vain try leaves no trace.
    OnlyTheOwnerRenews,
    /// A release gives up one's own lease, for good, and leaves others' alone.
    ReleaseTouchesOnlyItsOwn,
    /// A lease that was not renewed in time is renewed no more, and is never called free too early.
    LeaseRunsOut,
    /// A call that is dropped midway takes effect wholly or not at all, and never after a later swap.
    DroppedCalls,
}

impl Check {
    /// Every check, in the order in which they run.
    pub const ALL: &[Self] = &[
        Self::UnknownGroup,
        Self::RecordReadsBack,
        Self::LostShowsWhatStands,
        Self::GroupsAreApart,
        Self::OneWinner,
        Self::ReadsAreLinear,
        Self::RenewalShows,
        Self::OnlyTheOwnerRenews,
        Self::ReleaseTouchesOnlyItsOwn,
        Self::LeaseRunsOut,
        Self::DroppedCalls,
    ];
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownGroup => "an unknown group is empty",
            Self::RecordReadsBack => "a record reads back",
            Self::LostShowsWhatStands => "a lost swap shows what stands",
            Self::GroupsAreApart => "groups are apart",
            Self::OneWinner => "one winner per revision",
            Self::ReadsAreLinear => "reads are linear",
            Self::RenewalShows => "a renewal shows",
            Self::OnlyTheOwnerRenews => "only the owner renews",
            Self::ReleaseTouchesOnlyItsOwn => "a release touches only its own lease",
            Self::LeaseRunsOut => "a lease runs out",
            Self::DroppedCalls => "dropped calls are whole or nothing",
        })
    }
}

/// A breach of the contract.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Which check.
    pub check: Check,
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
    /// The arbiter's name.
    pub arbiter: String,
    /// The checks that found nothing wrong.
    pub passed: Vec<Check>,
    /// The checks that were left out, and why.
    pub skipped: Vec<(Check, String)>,
    /// Calls that were made.
    pub calls: u64,
    /// Of these, those that ended with an error in places where one is allowed.
    pub unanswered: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arbiter {}: {} calls, {} unanswered", self.arbiter, self.calls, self.unanswered)?;
        for check in &self.passed {
            write!(f, "\n  ok: {check}")?;
        }
        for (check, why) in &self.skipped {
            write!(f, "\n  skipped: {check} ({why})")?;
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
