//! One decision, explained.

use super::counterfactual::Counterfactual;
use super::decision::{Decision, Rule};
use super::words::kebab;
use crate::engine::{Evidence, GroupFacts, LinkFacts};
use crate::{GroupId, Incarnation, Instant};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a decision was taken. As text by `Display`, as JSON by `serde`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The life that decided.
    pub incarnation: Incarnation,
    /// The name of its node.
    pub node: String,
    /// When, on the boot clock of its node.
    pub at: Instant,
    /// The number of the step in the record of this life (or of its resumption), from 1.
    pub step: u64,
    /// The number of the group it is about.
    pub group: Option<GroupId>,
    /// Its name.
    pub group_name: Option<String>,
    /// What was decided.
    pub decision: Decision,
    /// In words.
    pub summary: String,
    /// The rule that it follows.
    pub rule: Rule,
    /// The input that brought it.
    pub because: String,
    /// The facts of that instant. Those of the group are from before the decision.
    pub evidence: Evidence,
    /// What else could have been done, and why it was not.
    pub rejected: Vec<Rejected>,
    /// What would have changed the decision, each verified by feeding the inputs again.
    pub counterfactuals: Vec<Counterfactual>,
    /// How many decisions like this one, just before it, are not explained: they came by the dozen.
    pub omitted: u32,
}

/// An alternative that was not taken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rejected {
    /// What.
    pub alternative: String,
    /// Why not.
    pub why: String,
}

impl Rejected {
    pub(super) fn new(alternative: impl Into<String>, why: impl Into<String>) -> Self {
        Self { alternative: alternative.into(), why: why.into() }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.at.as_nanos();
        write!(f, "{}.{:06} {}", ns / 1_000_000_000, ns / 1000 % 1_000_000, self.node)?;
        if let Some(group) = &self.group_name {
            write!(f, " {group}")?;
        }
        writeln!(f, ": {}", self.summary)?;
        writeln!(f, "    rule     {}: {}", self.rule.number, self.rule.name)?;
        writeln!(f, "    because  {}", self.because)?;
        let links: Vec<_> = self.evidence.links.iter().map(link).collect();
        writeln!(f, "    links    {}", links.join("; "))?;
        writeln!(f, "    peer     {}", peer(&self.evidence))?;
        if let Some(fence) = fence(&self.evidence) {
            writeln!(f, "    fence    {fence}")?;
        }
        if let Some(g) = &self.evidence.group {
            writeln!(f, "    group    {}", group(g))?;
        }
        for r in &self.rejected {
            writeln!(f, "    not      {}: {}", r.alternative, r.why)?;
        }
        for c in &self.counterfactuals {
            writeln!(f, "    else     {}", c.text)?;
        }
        if self.omitted > 0 {
            writeln!(f, "    ({} decisions like this one, just before it, are not told)", self.omitted)?;
        }
        Ok(())
    }
}

fn link(l: &LinkFacts) -> String {
    let LinkFacts { link, dead_ms, .. } = l;
    let state = kebab(&l.state);
    let heard = l
        .two_way_ms_ago
        .map_or_else(|| "never heard both ways".to_owned(), |ago| format!("heard both ways {ago:.1} ms ago"));
    let grace =
        if l.grace_ms > 0.0 { format!(" + {:.1} for our own gap", l.grace_ms) } else { String::new() };
    format!("{link} {state}, {heard}, dead after {dead_ms:.0} ms{grace}")
}

fn peer(e: &Evidence) -> String {
    let p = &e.peer;
    let mut words = format!("{} {}", p.node, kebab(&p.state));
    if let Some(incarnation) = p.incarnation {
        words += &format!(", life {incarnation}");
    }
    if let (Some(how), Some(ago)) = (&p.ended, p.ended_ms_ago) {
        words += &format!(", {how} {ago:.1} ms ago");
    }
    if let Some(mute) = p.mute_ms {
        words += &format!(", mute since {mute:.0} ms");
    }
    if p.outside != e.own.outside {
        words += &format!(", reaches {} outside targets, this node {}", p.outside, e.own.outside);
    }
    if e.own.gap_ms > 0.0 {
        words += &format!("; this node itself was late by {:.1} ms", e.own.gap_ms);
    }
    words
}

fn fence(e: &Evidence) -> Option<String> {
    let fence = &e.fence;
    let scope = fence.scope?;
    let mut words = format!("ends {}", kebab(&scope));
    if fence.lied {
        words += ", caught lying";
    }
    if fence.failures > 0 {
        words += &format!(", {} attempts in vain", fence.failures);
    }
    if fence.asking {
        words += ", being asked";
    }
    if fence.shooting {
        words += ", shooting";
    }
    if let (Some(slot), Some(into)) = (fence.slot, fence.slot_ms) {
        words += &format!(", slot {slot} since {into:.1} ms, own slot {}", fence.own_slot);
    }
    Some(words)
}

fn group(g: &GroupFacts) -> String {
    let mut words = kebab(&g.role);
    if g.epoch.0 > 0 {
        words += &format!(" in epoch {}", g.epoch);
    }
    words += &format!(", record granted {} floor {} {:?}", g.durable.granted, g.durable.floor, g.durable.set);
    if let Some(c) = &g.claim {
        words += &format!("; the peer says {:?} epoch {} {:?} lsn {}", c.state, c.epoch, c.set, c.lsn);
    }
    if let Some((_, epoch)) = g.owner {
        words += &format!("; it owned epoch {epoch}");
    }
    if g.mirrored {
        words += if g.member { "; this copy is a member" } else { "; this copy is no member" };
    }
    if let Some(data) = g.data {
        words += &format!(", durable {}", data.durable);
        words += if data.connected { ", stream up" } else { ", stream down" };
        words += if data.stalled { ", acknowledgements stopped" } else { "" };
    }
    if let Some(left) = g.permitted_ms {
        words += &format!("; permitted for {left:.1} ms more");
    }
    words
}
