//! What would have changed a decision: proposed by its kind, kept only if the changed run shows it.

use super::decision::Decision;
use super::imagine::{Change, History, Imagined};
use super::words;
use crate::config::Config;
use crate::engine::{EndReason, Engine, FenceAnswer, Input, OpResult, Refusal, Statement, StopWhy};
use crate::{FenceScope, GroupId, Instant, LinkId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How finely the edge of a span is looked for.
const HALVINGS: u32 = 5;
/// Instants inside of a span at which it is verified, besides its ends.
const SAMPLES: u32 = 3;
/// Changes that are tried for one decision.
const PROPOSALS_MAX: usize = 8;

/// Something that would have changed a decision: verified by feeding the recorded inputs with the change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counterfactual {
    /// In words.
    pub text: String,
    /// As a change of the inputs.
    pub change: Change,
    /// What would have been decided instead by that instant; `None`: it would not have been decided by then.
    pub instead: Option<Decision>,
}

/// What a proposal is about.
pub(super) struct Case<'a> {
    pub(super) config: &'a Config,
    pub(super) history: &'a History,
    pub(super) before: &'a Engine,
    pub(super) group: Option<GroupId>,
    pub(super) decision: Decision,
    pub(super) at: Instant,
    pub(super) input: &'a Input,
}

enum Proposal {
    /// An input at some instant within so long before the decision.
    Add(Imagined, Duration, String),
    Replace(u32, Input, String, Option<Decision>),
}

impl Case<'_> {
    /// Every change that was proposed and proved true.
    pub(super) fn counterfactuals(&self) -> Vec<Counterfactual> {
        let mut proposals = self.proposals();
        proposals.truncate(PROPOSALS_MAX);
        proposals.into_iter().filter_map(|p| self.verify(p)).collect()
    }

    fn verify(&self, proposal: Proposal) -> Option<Counterfactual> {
        match proposal {
            Proposal::Add(what, reach, text) => {
                let to = self.at - Duration::from_nanos(1);
                let earliest = (self.at - reach).max(self.history.began());
                let from = self.widest(&what, earliest, to)?;
                let span = words::seconds(self.at.since(from));
                let text = text.replace("{span}", &span);
                Some(Counterfactual { text, change: Change::Add { what, from, to }, instead: None })
            }
            Proposal::Replace(back, input, text, instead) => {
                let change = Change::Replace { back, input };
                let decided = self.history.imagine(&change, self.at)?.decided;
                let holds = match instead {
                    None => !self.is_among(&decided, self.decision),
                    Some(other) => self.is_among(&decided, other),
                };
                holds.then_some(Counterfactual { text, change, instead })
            }
        }
    }

    /// The earliest instant from which on the input, at any instant up to `to`, avoids the decision.
    fn widest(&self, what: &Imagined, earliest: Instant, to: Instant) -> Option<Instant> {
        if earliest >= to || !self.avoids(what, to) {
            return None;
        }
        let mut from = to;
        if self.avoids(what, earliest) {
            from = earliest;
        } else {
            let mut bad = earliest;
            for _ in 0..HALVINGS {
                let middle = bad + from.since(bad) / 2;
                if self.avoids(what, middle) { from = middle } else { bad = middle }
            }
        }
        // Inside of a span something else may happen: from there on it is no span.
        for n in 1..=SAMPLES {
            let sample = from + to.since(from) * n / (SAMPLES + 1);
            if !self.avoids(what, sample) {
                return None;
            }
        }
        Some(from)
    }

    fn avoids(&self, what: &Imagined, at: Instant) -> bool {
        let change = Change::Add { what: what.clone(), from: at, to: at };
        self.history.imagine(&change, at).is_some_and(|run| !self.is_among(&run.decided, self.decision))
    }

    fn is_among(&self, decided: &[(Option<GroupId>, Decision)], wanted: Decision) -> bool {
        decided.iter().any(|(group, d)| *group == self.group && d.is_like(&wanted))
    }

    fn proposals(&self) -> Vec<Proposal> {
        let mut proposals = Vec::new();
        self.of_trigger(&mut proposals);
        match self.decision {
            Decision::JudgeDead | Decision::Shoot | Decision::Claim { .. } | Decision::GoAlone { .. } => {
                self.beats(&mut proposals);
            }
            Decision::Ask { .. } => {
                self.device_s_word(&mut proposals);
                self.beats(&mut proposals);
            }
            Decision::Suspend => {
                let reach = self.config.timing.token_validity;
                let text = format!(
                    "{} if this node's control thread had run once in the last {{span}}",
                    self.would()
                );
                proposals.push(Proposal::Add(Imagined::Input(Input::Tick), reach, text));
            }
            Decision::Stop { why: StopWhy::Handover } => self.outside(&mut proposals),
            Decision::Refuse { why } => self.target(why, &mut proposals),
            Decision::EndSelf { reason } => self.in_time(reason, &mut proposals),
            _ => {}
        }
        proposals
    }

    fn would(&self) -> &'static str {
        match self.decision {
            Decision::Claim { .. }
            | Decision::Grant { .. }
            | Decision::JudgeDead
            | Decision::Shoot
            | Decision::GoAlone { .. } => "would have waited",
            Decision::Ask { .. } => "would not have asked",
            Decision::Suspend => "would have gone on",
            Decision::Stop { .. } | Decision::Release { .. } => "would have kept the group",
            Decision::Refuse { .. } => "would have done it",
            Decision::EndSelf { .. } => "would have lived on",
            _ => "would not have done so by then",
        }
    }

    /// What brought the decision, left out or otherwise.
    fn of_trigger(&self, proposals: &mut Vec<Proposal>) {
        let would = self.would();
        let mut other = |input: Input, text: String| proposals.push(Proposal::Replace(0, input, text, None));
        match self.input {
            Input::Tick | Input::Command(_) => {}
            Input::Fence { op, answer: FenceAnswer::Off { .. } } => {
                let input = Input::Fence { op: *op, answer: FenceAnswer::Failed };
                other(input, format!("{would} if the fence device had not answered \"off\""));
            }
            Input::Persisted { write, ok: false } => {
                let input = Input::Persisted { write: *write, ok: true };
                other(input, format!("{would} if the write of the record had succeeded"));
            }
            Input::OpDone { op, result: OpResult::Failed } => {
                let input = Input::OpDone { op: *op, result: OpResult::Done { final_lsn: None } };
                other(input, format!("{would} if that operation had succeeded"));
            }
            input => {
                let what = words::input(self.config, input);
                other(Input::Tick, format!("{would} if not for this: {what}"));
            }
        }
    }

    /// A sign of life on each link.
    fn beats(&self, proposals: &mut Vec<Proposal>) {
        for (link, c) in self.config.links() {
            let text =
                format!("{} if link {} had delivered a beat in the last {{span}}", self.would(), c.name);
            let what = Imagined::Beat { link, statements: Vec::new() };
            proposals.push(Proposal::Add(what, c.dead.max(self.config.latest_dead()), text));
        }
    }

    /// The device's last answer, had it been "off".
    fn device_s_word(&self, proposals: &mut Vec<Proposal>) {
        let Some(fence) = &self.config.fence else { return };
        let answers = self.history.backwards().find_map(|(back, _, input)| match input {
            Input::Fence { op, answer: FenceAnswer::On | FenceAnswer::Failed } => Some((back, *op)),
            _ => None,
        });
        let Some((back, op)) = answers else { return };
        let scope =
            if fence.scope == FenceScope::Access { FenceScope::Access } else { FenceScope::Incarnation };
        let input = Input::Fence { op, answer: FenceAnswer::Off { scope } };
        let proof = crate::StopProof::Fenced { scope };
        let text = "would have taken over if the fence device's last answer had been \"off\"".to_owned();
        proposals.push(Proposal::Replace(back, input, text, Some(Decision::Claim { proof })));
    }

    fn outside(&self, proposals: &mut Vec<Proposal>) {
        let evidence = self.before.evidence(None, self.at);
        let reachable = evidence.peer.outside;
        let text = format!(
            "{} if this node had reached {reachable} outside targets, as the peer does, in the last {{span}}",
            self.would()
        );
        let reach = self.config.latest_dead();
        proposals.push(Proposal::Add(Imagined::Input(Input::Outside { reachable }), reach, text));
    }

    /// What the target of a switchover lacked.
    fn target(&self, why: Refusal, proposals: &mut Vec<Proposal>) {
        let Some(group) = self.group else { return };
        let epoch = self.before.evidence(Some(group), self.at).group.map(|g| g.epoch);
        let said = match why {
            Refusal::TargetNotViable => self.before.imagined_viability(group),
            Refusal::TargetNotReady => epoch.map(|epoch| Statement::Ready { group, epoch }),
            _ => None,
        };
        let Some(said) = said else { return };
        let link = LinkId(0);
        let words = match why {
            Refusal::TargetNotReady => "that it is ready",
            _ => "that it could take over",
        };
        let text = format!("{} if the peer had said in the last {{span}} {words}", self.would());
        let what = Imagined::Beat { link, statements: vec![said] };
        proposals.push(Proposal::Add(what, self.config.latest_dead(), text));
    }

    /// What did not end in time.
    fn in_time(&self, reason: EndReason, proposals: &mut Vec<Proposal>) {
        if !matches!(self.input, Input::Tick) {
            return;
        }
        let would = self.would();
        let reach = self.config.timing.persist_deadline;
        match (reason, self.before.awaited_write()) {
            (EndReason::RecordNotDurable, Some(write)) => {
                let what = Imagined::Input(Input::Persisted { write, ok: true });
                let text = format!("{would} if the write of the record had ended in the last {{span}}");
                proposals.push(Proposal::Add(what, reach, text));
            }
            (EndReason::StopOverrun, _) => {
                if let Some((op, name)) = self.before.awaited_stop() {
                    let what =
                        Imagined::Input(Input::OpDone { op, result: OpResult::Done { final_lsn: None } });
                    let text = format!("{would} if the stop of {name} had ended in the last {{span}}");
                    proposals.push(Proposal::Add(what, reach, text));
                }
            }
            _ => {}
        }
    }
}
