//! What a node says of itself: the schema of `ctl status --json`, in `docs/PAIR-NODE.md` too.

use super::plan::Plan;
use ha_core::api::Clock;
use ha_core::explain::Explanation;
use ha_core::runtime::{BootClock, GroupReport, Node, StatusReport};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How many decisions are told.
const DECISIONS: usize = 10;

/// A node as it sees itself and its peer. Fields may be added, none is removed or changes its meaning.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Status {
    /// This node's name.
    pub(super) node: String,
    /// Its life, 32 hexadecimal digits.
    pub(super) incarnation: String,
    /// The groups that are active here.
    pub(super) active: Vec<Active>,
    /// Every group.
    pub(super) groups: Vec<Group>,
    /// The other node as seen from here.
    pub(super) peer: Peer,
    /// The permission of each group.
    pub(super) token: Vec<Token>,
    /// The last decisions, the newest last.
    pub(super) decisions: Vec<Decision>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Active {
    pub(super) group: String,
    /// The grant.
    pub(super) epoch: u64,
    /// What it rests on, for example `Fenced`.
    pub(super) proof: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) group: String,
    /// `waiting`, `standby`, `claiming`, `starting`, `active`, `suspended`, `stopping` or `blocked`.
    pub(super) role: String,
    /// Of the grant where this node owns the group, else the highest known.
    pub(super) epoch: u64,
    pub(super) proof: Option<String>,
    /// Whether this node could take over at once.
    pub(super) viable: bool,
    /// What an operator is asked, if anything.
    pub(super) question: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Peer {
    pub(super) node: String,
    /// `unknown`, `alive`, `suspect`, `dead`, `unreachable` or `gone`.
    pub(super) state: String,
    pub(super) incarnation: Option<String>,
    /// In the order in which both nodes number them.
    pub(super) links: Vec<Link>,
    /// Its fence command said "off", and it was heard afterwards.
    pub(super) fence_lied: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Link {
    pub(super) link: String,
    /// As `--link` says it on this node.
    pub(super) path: String,
    /// `silent`, `half-open`, `up`, `suspect` or `dead`.
    pub(super) state: String,
    /// Why the last frame that was not believed was refused, or that the other node's flags differ.
    pub(super) last_refusal: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Token {
    pub(super) group: String,
    /// The grant that it is for; none without a valid permission.
    pub(super) epoch: Option<u64>,
    /// Whether this node may act now.
    pub(super) valid: bool,
    /// For how long if it is not renewed, in milliseconds.
    pub(super) valid_for_ms: f64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Decision {
    /// When, in nanoseconds of this machine's boot clock.
    pub(super) at_ns: u64,
    pub(super) group: Option<String>,
    pub(super) decision: String,
    /// The rule that it follows, with its number in the safety rules.
    pub(super) rule: String,
    /// The input that brought it.
    pub(super) because: String,
}

impl Status {
    pub(super) fn of(node: &Node, plan: &Plan) -> Self {
        let report = node.status().borrow().clone();
        let explanations = node.explain();
        let oldest = explanations.len().saturating_sub(DECISIONS);
        Self {
            active: report.groups.iter().filter(|g| g.role == "active").map(Active::of).collect(),
            groups: report.groups.iter().map(Group::of).collect(),
            peer: Peer::of(&report, plan),
            token: report.groups.iter().map(|g| Token::of(node, &g.group)).collect(),
            decisions: explanations.iter().skip(oldest).map(|e| Decision::of(e)).collect(),
            node: report.node,
            incarnation: report.incarnation,
        }
    }
}

impl Active {
    fn of(group: &GroupReport) -> Self {
        Self { group: group.group.clone(), epoch: group.epoch, proof: group.proof.clone() }
    }
}

impl Group {
    fn of(g: &GroupReport) -> Self {
        Self {
            group: g.group.clone(),
            role: g.role.clone(),
            epoch: g.epoch,
            proof: g.proof.clone(),
            viable: g.viable,
            question: g.question.as_ref().map(|q| format!("{}: {}", q.kind, q.text)),
        }
    }
}

impl Peer {
    fn of(report: &StatusReport, plan: &Plan) -> Self {
        let path = |name: &str| {
            plan.links.iter().find(|link| link.name == name).map(|link| link.address.to_string())
        };
        let links = report.peer.links.iter().map(|l| Link {
            link: l.link.clone(),
            path: path(&l.link).unwrap_or_default(),
            state: l.state.clone(),
            last_refusal: l.last_refusal.clone(),
        });
        Self {
            node: report.peer.node.clone(),
            state: report.peer.state.clone(),
            incarnation: report.peer.incarnation.clone(),
            links: links.collect(),
            fence_lied: report.peer.fence_lied,
        }
    }
}

impl Token {
    fn of(node: &Node, group: &str) -> Self {
        let now = BootClock.now();
        let permitted = node.token(group).ok().and_then(|cell| cell.check(now).ok());
        Self {
            group: group.into(),
            epoch: permitted.map(|token| token.epoch.0),
            valid: permitted.is_some(),
            valid_for_ms: permitted.map_or(0.0, |token| token.valid_until.since(now).as_secs_f64() * 1000.0),
        }
    }
}

impl Decision {
    fn of(e: &Explanation) -> Self {
        Self {
            at_ns: e.at.as_nanos(),
            group: e.group_name.clone(),
            decision: e.summary.clone(),
            rule: format!("{}: {}", e.rule.number, e.rule.name),
            because: e.because.clone(),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "node {}, life {}", self.node, self.incarnation)?;
        for g in &self.groups {
            let proof = g.proof.as_ref().map(|proof| format!(" on {proof}")).unwrap_or_default();
            let viable = if g.viable { ", could take over at once" } else { "" };
            writeln!(f, "group {}: {} in epoch {}{proof}{viable}", g.group, g.role, g.epoch)?;
            if let Some(question) = &g.question {
                writeln!(f, "  asks: {question}")?;
            }
        }
        for token in &self.token {
            let word =
                if token.valid { format!("valid for {:.0} ms", token.valid_for_ms) } else { "none".into() };
            writeln!(f, "  permission: {word}")?;
        }
        writeln!(f, "peer {}: {}", self.peer.node, self.peer.state)?;
        for link in &self.peer.links {
            writeln!(f, "  {} ({}): {}", link.link, link.path, link.state)?;
            if let Some(refusal) = &link.last_refusal {
                writeln!(f, "    refused: {refusal}")?;
            }
        }
        for d in &self.decisions {
            writeln!(f, "{:.3} s: {} (rule {})", d.at_ns as f64 / 1e9, d.decision, d.rule)?;
        }
        Ok(())
    }
}
