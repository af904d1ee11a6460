//! What counts as a decision, and which rule of the design it follows.

use crate::engine::{
    Action, Command, EndReason, EventKind, GroupOutline, Input, Outline, PeerState, Question, Refusal,
    RoleName, StopWhy,
};
use crate::{Epoch, ExclusionProof, Generation, GroupId, StopProof};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that the engine chose to do, or not to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Decision {
    /// The peer is taken for dead.
    JudgeDead,
    /// A fencing order is given.
    Shoot,
    /// A proof is used: the group is claimed.
    Claim {
        /// The proof.
        proof: StopProof,
    },
    /// The grant is durable: this node owns the group.
    Grant {
        /// The epoch.
        epoch: Epoch,
        /// The proof.
        proof: StopProof,
    },
    /// A claim is given up before it was acted on.
    Abandon,
    /// The peer owns the group: stand by.
    Follow,
    /// Way is made for the peer's grant.
    Yield {
        /// The epoch.
        epoch: Epoch,
    },
    /// Acknowledge alone from now on.
    GoAlone {
        /// The generation in which it is alone.
        generation: Generation,
        /// The proof.
        proof: ExclusionProof,
    },
    /// Both copies are members again.
    Admit {
        /// The generation.
        generation: Generation,
    },
    /// This copy leaves the in-sync set because its owner asked for it.
    Consent {
        /// The generation left.
        generation: Generation,
    },
    /// The permission ended: suspended.
    Suspend,
    /// The permission is renewed after a suspension.
    Confirm,
    /// An operator's switchover is prepared.
    Prepare,
    /// The group's resources are stopped.
    Stop {
        /// Why.
        why: StopWhy,
    },
    /// The group is given up.
    Release {
        /// The epoch.
        epoch: Epoch,
    },
    /// An operator is asked.
    Ask {
        /// What is missing.
        question: Question,
    },
    /// A command is refused.
    Refuse {
        /// Why.
        why: Refusal,
    },
    /// The fence device lied: it proves nothing any more.
    Distrust,
    /// The process ends itself.
    EndSelf {
        /// Why.
        reason: EndReason,
    },
    /// Everything was handed over: the node leaves.
    Depart,
    /// Everything was handed over after the loss of the guardian.
    Reborn,
}

impl Decision {
    /// Whether both are the same kind of decision, whatever the details.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// The rule that it follows.
    #[must_use]
    pub fn rule(&self) -> Rule {
        Rule::numbered(match self {
            Self::JudgeDead => 10,
            Self::Shoot => 11,
            Self::Claim {
                proof: StopProof::Yielded { .. } | StopProof::NeverStarted | StopProof::StillAlone { .. },
            }
            | Self::Yield { .. } => 7,
            Self::Claim { .. } | Self::Abandon | Self::Follow | Self::Release { .. } | Self::Distrust => 1,
            Self::Grant { .. } => 4,
            Self::GoAlone { .. } | Self::Admit { .. } | Self::Consent { .. } => 2,
            Self::Suspend | Self::Confirm => 5,
            Self::Stop { why: StopWhy::Handover } => 10,
            Self::Stop { why: StopWhy::Superseded | StopWhy::Overtaken } => 4,
            Self::Stop { why: StopWhy::Lapsed } => 5,
            Self::Stop { .. } | Self::Prepare | Self::Depart => 12,
            Self::Ask { question } => rule_of_question(*question),
            Self::Refuse { why: Refusal::NotAsked } => 14,
            Self::Refuse { .. } => 12,
            Self::EndSelf { reason: EndReason::RecordNotDurable } => 4,
            Self::EndSelf { .. } | Self::Reborn => 8,
        })
    }
}

fn rule_of_question(question: Question) -> u8 {
    match question {
        Question::NoStopProof => 1,
        Question::NoExclusionProof => 2,
        Question::NotCurrent => 3,
        Question::Unconfirmed => 5,
        Question::TimingMismatch => 6,
        Question::PeerAbsent | Question::NotInitialised => 7,
        Question::FailedEverywhere => 12,
        _ => 14,
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JudgeDead => f.write_str("takes the peer for dead"),
            Self::Shoot => f.write_str("fences the peer"),
            Self::Claim { proof } => write!(f, "claims the group on {proof}"),
            Self::Grant { epoch, proof } => write!(f, "owns the group in epoch {epoch}, on {proof}"),
            Self::Abandon => f.write_str("gives its claim up"),
            Self::Follow => f.write_str("stands by"),
            Self::Yield { epoch } => write!(f, "makes way for epoch {epoch} of the peer"),
            Self::GoAlone { generation, proof } => {
                write!(f, "acknowledges alone from generation {generation} on, on {proof}")
            }
            Self::Admit { generation } => {
                write!(f, "counts on both copies again, in generation {generation}")
            }
            Self::Consent { generation } => {
                write!(f, "consents to leave the in-sync set of generation {generation}")
            }
            Self::Suspend => f.write_str("suspends the group"),
            Self::Confirm => f.write_str("resumes the group: its permission is confirmed"),
            Self::Prepare => f.write_str("prepares the switchover that was asked for"),
            Self::Stop { why } => f.write_str(match why {
                StopWhy::Restart => "stops what failed, to start it again",
                StopWhy::Switchover => "stops the group for the switchover",
                StopWhy::Handover => "stops the group, to hand it to the peer that sees more",
                StopWhy::Failed => "stops the group, for the peer to run it",
                StopWhy::Leaving => "stops the group, because this node leaves",
                StopWhy::Superseded => "stops the group, because the peer owns a higher epoch",
                StopWhy::Lapsed => "stops the group, because its lease ran out and nobody renews it",
                StopWhy::Overtaken => {
                    "stops the group, to start it in an epoch above the one that the other copy knows"
                }
            }),
            Self::Release { epoch } => write!(f, "releases epoch {epoch}"),
            Self::Ask { question } => write!(f, "asks the operator: {question}"),
            Self::Refuse { why } => f.write_str(match why {
                Refusal::NotOwner => "refuses: this node does not own the group",
                Refusal::TargetNotViable => "refuses: the peer could not take the group over",
                Refusal::TargetNotReady => "keeps the group: the peer did not get ready in time",
                Refusal::NotAsked => "refuses: no question stands to which this is an answer",
                #[allow(unreachable_patterns, reason = "refusals may grow")]
                _ => "refuses",
            }),
            Self::Distrust => {
                f.write_str("believes the fence device no more: it said off, and its victim was heard")
            }
            Self::EndSelf { reason } => f.write_str(match reason {
                EndReason::StopOverrun => "ends itself: a stop failed or overran",
                EndReason::RecordNotDurable => "ends itself: its record did not become durable",
                #[allow(unreachable_patterns, reason = "reasons may grow")]
                _ => "ends itself",
            }),
            Self::Depart => f.write_str("leaves: everything is handed over"),
            Self::Reborn => f.write_str("becomes a new guardian: everything is handed over"),
        }
    }
}

/// A rule of the design (`docs/SAFETY.md`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// 1 to 14.
    pub number: u8,
    /// Its name.
    pub name: String,
}

impl Rule {
    /// The rule of that number.
    #[must_use]
    pub fn numbered(number: u8) -> Self {
        let name = match number {
            1 => "no takeover without a proof that the owner stopped",
            2 => "nothing is acknowledged alone without a proof that the other copy is excluded",
            3 => "a standby whose stream ended is current only if the owner cannot have gone on without it",
            4 => "one epoch a grant, durable before it is acted on",
            5 => "permission expires by itself: suspend, then confirm",
            6 => "timing is proven, not advised",
            7 => "boot means not current",
            8 => "stop or be stopped",
            9 => "a late observer accuses itself first",
            10 => "a beat counts only if it echoes us",
            11 => "never both shoot, and never in vain",
            12 => "stop voluntarily only towards a viable target",
            13 => "the arbiter's absence harms nobody alone",
            _ => "nothing is discarded silently, every wait ends, every decision is explained",
        };
        Self { number, name: name.into() }
    }
}

/// What was decided in one step, with the group it is about.
#[must_use]
pub fn decisions(
    before: &Outline,
    after: &Outline,
    input: &Input,
    actions: &[Action],
) -> Vec<(Option<GroupId>, Decision)> {
    let mut found = Vec::new();
    if after.peer == PeerState::Dead && before.peer != PeerState::Dead && before.peer != PeerState::Unknown {
        found.push((None, Decision::JudgeDead));
    }
    for action in actions {
        of_action(action, input, before, after, &mut found);
    }
    for (n, (b, a)) in (0u16..).zip(before.groups.iter().zip(&after.groups)) {
        let released = actions.iter().any(|a| claims(a, GroupId(n)));
        of_group(GroupId(n), b, a, released, &mut found);
    }
    found
}

type Found = Vec<(Option<GroupId>, Decision)>;

fn of_action(action: &Action, input: &Input, before: &Outline, after: &Outline, found: &mut Found) {
    match action {
        Action::EndSelf { reason } => found.push((None, Decision::EndSelf { reason: *reason })),
        Action::Departed => found.push((None, Decision::Depart)),
        Action::Reborn => found.push((None, Decision::Reborn)),
        Action::Event(event) => match event.kind {
            EventKind::Shoot => found.push((None, Decision::Shoot)),
            EventKind::FenceLied { .. } => found.push((None, Decision::Distrust)),
            EventKind::Proof { group, proof } => found.push((Some(group), Decision::Claim { proof })),
            EventKind::Granted { group, epoch, proof } => {
                found.push((Some(group), Decision::Grant { epoch, proof }));
            }
            EventKind::Alone { group, generation, proof } => {
                found.push((Some(group), Decision::GoAlone { generation, proof }));
            }
            EventKind::Full { group, generation } => {
                found.push((Some(group), Decision::Admit { generation }))
            }
            EventKind::Refused { why } => {
                found.push((refused(input, before, after), Decision::Refuse { why }))
            }
            _ => {}
        },
        _ => {}
    }
}

/// Which group a refusal is about.
fn refused(input: &Input, before: &Outline, after: &Outline) -> Option<GroupId> {
    if let Input::Command(command) = input {
        return match command {
            Command::Switchover(group) | Command::ClearFailures(group) => Some(*group),
            Command::ConfirmPeerOff { group, .. }
            | Command::ForceCurrent { group, .. }
            | Command::Surrender { group } => Some(*group),
            _ => None,
        };
    }
    let ended = before.groups.iter().zip(&after.groups).position(|(b, a)| b.switching && !a.switching);
    ended.and_then(|n| u16::try_from(n).ok()).map(GroupId)
}

fn claims(action: &Action, g: GroupId) -> bool {
    matches!(action, Action::Event(e) if matches!(e.kind, EventKind::Proof { group, .. } if group == g))
}

fn of_group(g: GroupId, before: &GroupOutline, after: &GroupOutline, claimed: bool, found: &mut Found) {
    let mut add = |decision| found.push((Some(g), decision));
    if let (Some(question), true) = (after.question, after.question != before.question) {
        add(Decision::Ask { question });
    }
    if after.switching && !before.switching {
        add(Decision::Prepare);
    }
    match (before.suspended && before.owner, after.suspended && after.owner) {
        (false, true) => add(Decision::Suspend),
        (true, false) if after.owner => add(Decision::Confirm),
        _ => {}
    }
    if let (Some(why), true) = (after.stopping, after.stopping != before.stopping) {
        add(Decision::Stop { why });
    }
    if let (Some(epoch), true) = (after.gave_up, after.gave_up != before.gave_up) {
        add(Decision::Release { epoch });
    }
    if let (Some(epoch), true) = (after.promised, after.promised != before.promised) {
        add(Decision::Yield { epoch });
    }
    let standing_by = after.role == RoleName::Standby;
    if standing_by && before.role == RoleName::Claiming {
        add(Decision::Abandon);
    } else if standing_by && matches!(before.role, RoleName::Waiting | RoleName::Blocked) {
        add(Decision::Follow);
    }
    let idle = !before.owner && !after.owner && !claimed && before.role != RoleName::Claiming;
    if let (crate::SetRecord::Out { generation, .. }, true, true) = (after.set, idle, after.set != before.set)
        && after.promised == before.promised
    {
        add(Decision::Consent { generation });
    }
}
