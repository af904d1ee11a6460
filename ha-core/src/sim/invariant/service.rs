//! I5 and I10: with faults gone, every group is served or a question stands.

use super::{Broken, Invariant, Verdict};
use crate::GroupId;
use crate::engine::{Question, RoleName};

/// What is found of one group on both nodes.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The role on each running node.
    pub roles: [Option<RoleName>; 2],
    /// The question that each asks.
    pub questions: [Option<Question>; 2],
    /// Both nodes run, and a proof can be had: only a question of data excuses.
    pub proof_obtainable: bool,
    /// The group is mirrored and should be fully protected by now, but is not.
    pub unprotected: bool,
}

const fn about_data(question: Question) -> bool {
    matches!(
        question,
        Question::Diverged
            | Question::NotInitialised
            | Question::FailedEverywhere
            | Question::NotCurrent
            | Question::PeerAbsent
            | Question::TimingMismatch
    )
}

/// Checks one group after the recovery time.
///
/// # Errors
/// I5, or I10 if the run had a total power loss.
pub fn served_or_asked(group: GroupId, found: &Found, total_loss: bool) -> Verdict {
    let active = found.roles.contains(&Some(RoleName::Active));
    let asked = found.questions.iter().flatten().any(|q| !found.proof_obtainable || about_data(*q));
    if asked || (active && !found.unprotected) {
        return Ok(());
    }
    let what = if active { "is served, but its data is not protected by both" } else { "is not served" };
    Err(Broken::new(
        if total_loss { Invariant::I10 } else { Invariant::I5 },
        format!(
            "group {group} {what} long after the last fault: roles {:?}, questions {:?}",
            found.roles, found.questions
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_on_silence_and_on_a_question_that_a_proof_would_answer() {
        let group = GroupId(0);
        let mut found = Found { proof_obtainable: true, ..Found::default() };
        assert_eq!(served_or_asked(group, &found, false).unwrap_err().invariant, Invariant::I5);
        assert_eq!(served_or_asked(group, &found, true).unwrap_err().invariant, Invariant::I10);
        found.questions[0] = Some(Question::NoStopProof);
        assert!(served_or_asked(group, &found, false).is_err());
        found.questions[0] = Some(Question::Diverged);
        assert!(served_or_asked(group, &found, false).is_ok());
        found.questions[0] = None;
        found.roles[1] = Some(RoleName::Active);
        assert!(served_or_asked(group, &found, false).is_ok());
        found.unprotected = true;
        assert!(served_or_asked(group, &found, false).is_err());
    }
}
