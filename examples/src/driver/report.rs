//! What came out: judged, as a table, and as one JSON object.

use super::fault::{Pause, Spans};
use super::inflict::Inflicted;
use super::layout::NODES;
use super::ledger::Balance;
use super::network::AddressSeen;
use super::{gaps, stall::Stalls};
use crate::node::Mode;
use ha_core::timing::Proof;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// One fault, judged.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct FaultReport {
    pub(crate) kind: &'static str,
    pub(crate) outage_ms: f64,
    pub(crate) predicted_ms: Option<f64>,
    pub(crate) limit_ms: Option<f64>,
    pub(crate) stall_ms: f64,
    pub(crate) owner_before: &'static str,
    pub(crate) owner_after: &'static str,
    pub(crate) epoch_before: u64,
    pub(crate) epoch_after: u64,
    /// The proof of the grant, or of the exclusion where there was no grant.
    pub(crate) proof: Option<String>,
    pub(crate) exclusion: Option<String>,
    pub(crate) fenced: Vec<&'static str>,
    pub(crate) within: Within,
    /// Everything in which it differs from the table.
    pub(crate) differences: Vec<String>,
}

/// Whether the pause kept its limit.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Within {
    /// Without any allowance.
    Limit,
    /// Only with what the machine itself stood still, and the longest fault-free gap.
    Allowance,
    Broken,
    /// There is no limit.
    Unlimited,
}

/// How a pause of `outage` is judged.
fn judge(outage: u64, pause: Pause, gap: u64, stall: u64) -> Within {
    let Pause::AtMost(limit) = pause else { return Within::Unlimited };
    let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    if outage <= limit.max(gap) {
        Within::Limit
    } else if outage <= limit.saturating_add(gap).saturating_add(stall) {
        Within::Allowance
    } else {
        Within::Broken
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds for people, rounded to microseconds")]
pub(crate) fn in_ms(ns: u64) -> f64 {
    (ns / 1000) as f64 / 1000.0
}

fn span_ms(span: Duration) -> f64 {
    in_ms(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

/// Judges one fault. `gap` is the longest fault-free gap of the run.
pub(crate) fn judged(
    one: &Inflicted,
    spans: &Spans,
    proof: &Proof,
    acknowledged: &[u64],
    gap: u64,
    stalls: &Stalls,
) -> FaultReport {
    let expected = one.fault.expected(spans, one.owner_after != one.owner_before);
    let outage = gaps::longest_in(acknowledged, one.from_ns, one.to_ns);
    let stall = stalls.longest_ns(one.from_ns, one.to_ns);
    let within = judge(outage, expected.pause, gap, stall);
    let mut differences = expected.differences(&one.found);
    differences.extend(one.wrong.iter().cloned());
    let limit = match expected.pause {
        Pause::AtMost(limit) => Some(limit),
        Pause::Unbounded => None,
    };
    if let (Within::Broken, Some(limit)) = (within, limit) {
        differences.push(format!(
            "mail paused {:.1} ms, expected at most {:.0} + {:.1} (longest fault-free gap) + {:.1} (longest stall)",
            in_ms(outage),
            span_ms(limit),
            in_ms(gap),
            in_ms(stall)
        ));
    }
    FaultReport {
        kind: one.fault.asked_for().name(),
        outage_ms: in_ms(outage),
        predicted_ms: one.fault.predicted(proof).map(span_ms),
        limit_ms: limit.map(span_ms),
        stall_ms: in_ms(stall),
        owner_before: NODES[one.owner_before],
        owner_after: NODES[one.owner_after],
        epoch_before: one.found.epoch_before,
        epoch_after: one.found.epoch_after,
        proof: one.found.grants.last().or(one.found.exclusions.first()).cloned(),
        exclusion: one.found.exclusions.first().cloned(),
        fenced: one.fenced.clone(),
        within,
        differences,
    }
}

/// The whole run.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Report {
    pub(crate) verdict: &'static str,
    pub(crate) mode: &'static str,
    /// What is between the nodes: `loopback` or `netns`.
    pub(crate) network: &'static str,
    /// Who had the service address, where it is a real one.
    pub(crate) address: Option<AddressSeen>,
    pub(crate) acknowledged: u64,
    pub(crate) present: u64,
    pub(crate) lost: usize,
    /// Acknowledged and in neither store.
    pub(crate) lost_in_both: usize,
    pub(crate) duplicates: u64,
    pub(crate) forbidden_duplicates: usize,
    pub(crate) damaged: usize,
    pub(crate) refused_attempts: u64,
    pub(crate) dual_active_ms: f64,
    /// The epochs of the first and of the last reply: equal if the service never moved.
    pub(crate) epoch_first: u64,
    pub(crate) epoch_last: u64,
    /// Trivially true where there is one store.
    pub(crate) stores_identical: bool,
    pub(crate) longest_fault_free_gap_ms: f64,
    pub(crate) longest_stall_ms: f64,
    pub(crate) seconds: f64,
    pub(crate) faults: Vec<FaultReport>,
    /// Why the verdict is `fail`.
    pub(crate) failures: Vec<String>,
    /// What is worth knowing although it fails nothing.
    pub(crate) notes: Vec<String>,
}

impl Report {
    /// Fills in what the balance says.
    pub(crate) fn count(&mut self, balance: &Balance) {
        self.acknowledged = balance.acknowledged;
        self.present = balance.present;
        self.lost = balance.lost.len();
        self.lost_in_both = balance.lost_everywhere.len();
        self.duplicates = balance.duplicates;
        self.forbidden_duplicates = balance.forbidden_duplicates.len();
        self.damaged = balance.damaged.len();
    }

    /// Gives the verdict. `broken_off` is why the run ended early, if it did.
    pub(crate) fn judge(&mut self, strict: bool, broken_off: Option<String>) {
        let mut failures: Vec<String> = broken_off.into_iter().collect();
        let mut must = |good: bool, text: String| {
            if !good {
                failures.push(text);
            }
        };
        must(self.lost == 0, format!("{} messages that were answered 250 are missing", self.lost));
        must(
            self.dual_active_ms == 0.0,
            format!("two nodes served at once for {:.3} ms", self.dual_active_ms),
        );
        if let Some(address) = &self.address {
            must(
                address.on_both_ms == 0.0,
                format!("the service address was on both nodes for {:.3} ms", address.on_both_ms),
            );
            must(!address.held_by.is_empty(), "no node was seen to have the service address".into());
        }
        must(
            self.forbidden_duplicates == 0,
            format!("{} messages are stored more often than they may be", self.forbidden_duplicates),
        );
        must(self.damaged == 0, format!("{} stored messages differ from what was sent", self.damaged));
        must(self.stores_identical, "the two stores differ".into());
        for fault in &self.faults {
            for difference in &fault.differences {
                must(false, format!("{}: {difference}", fault.kind));
            }
            if fault.within == Within::Allowance {
                let text = format!(
                    "{}: {:.1} ms keep their limit only with what this machine stood still",
                    fault.kind, fault.outage_ms
                );
                self.notes.push(text.clone());
                must(!strict, text);
            }
        }
        self.verdict = if failures.is_empty() { "pass" } else { "fail" };
        self.failures = failures;
    }

    pub(crate) fn passed(&self) -> bool {
        self.failures.is_empty() && self.verdict == "pass"
    }
}

/// One line of the table.
pub(crate) struct Row<'a>(pub(crate) &'a FaultReport);

/// The table's head.
pub(crate) const HEAD: &str = "fault                 owner     epoch      proof             outage   predicted     limit  fenced  table";

fn maybe(ms: Option<f64>) -> String {
    ms.map_or_else(|| "-".into(), |ms| format!("{ms:.0} ms"))
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = self.0;
        let owner = format!("{} → {}", one.owner_before, one.owner_after);
        let epoch = format!("{} → {}", one.epoch_before, one.epoch_after);
        let fenced = if one.fenced.is_empty() { "-".into() } else { one.fenced.join(",") };
        let table = match (one.differences.is_empty(), one.within) {
            (true, Within::Allowance) => "holds (stall)",
            (true, _) => "holds",
            (false, _) => "BROKEN",
        };
        write!(
            f,
            "{:<21} {owner:<9} {epoch:<10} {:<17} {:>6.1} ms  {:>8}  {:>8}  {fenced:<6}  {table}",
            one.kind,
            one.proof.as_deref().unwrap_or("-"),
            one.outage_ms,
            maybe(one.predicted_ms),
            maybe(one.limit_ms),
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.faults.is_empty() {
            writeln!(f, "\n{HEAD}")?;
        }
        for fault in &self.faults {
            writeln!(f, "{}", Row(fault))?;
        }
        writeln!(
            f,
            "\nacknowledged {}, present {} {}, lost {}, duplicates {} (allowed), twice active {:.3} ms, stores {}",
            self.acknowledged,
            if self.mode == Mode::Shared.name() { "in the one store" } else { "on both" },
            self.present,
            self.lost,
            self.duplicates,
            self.dual_active_ms,
            if self.stores_identical { "identical" } else { "DIFFERENT" }
        )?;
        writeln!(
            f,
            "longest gap without a fault {:.1} ms, longest stall of this machine {:.1} ms, {:.1} s",
            self.longest_fault_free_gap_ms, self.longest_stall_ms, self.seconds
        )?;
        if let Some(address) = &self.address {
            writeln!(
                f,
                "service address on {}, on both at once {:.3} ms ({} looks, longest time without one {:.1} ms)",
                address.held_by.join(" and "),
                address.on_both_ms,
                address.looks,
                address.longest_blind_ms
            )?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        for failure in &self.failures {
            writeln!(f, "FAILED: {failure}")?;
        }
        write!(f, "verdict: {}", self.verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const fn ms(n: u64) -> u64 {
        n * 1_000_000
    }

    #[test]
    fn a_limit_is_checked_with_and_without_its_allowances() {
        let limit = Pause::AtMost(Duration::from_millis(100));
        assert_eq!(judge(ms(99), limit, ms(20), ms(5)), Within::Limit);
        assert_eq!(judge(ms(125), limit, ms(20), ms(5)), Within::Allowance);
        assert_eq!(judge(ms(126), limit, ms(20), ms(5)), Within::Broken);
        assert_eq!(judge(ms(19), Pause::AtMost(Duration::ZERO), ms(20), 0), Within::Limit);
        assert_eq!(judge(ms(9999), Pause::Unbounded, 0, 0), Within::Unlimited);
    }

    fn report() -> Report {
        Report {
            verdict: "fail",
            mode: "mirror",
            network: "loopback",
            address: None,
            acknowledged: 3,
            present: 3,
            lost: 0,
            lost_in_both: 0,
            duplicates: 0,
            forbidden_duplicates: 0,
            damaged: 0,
            refused_attempts: 0,
            dual_active_ms: 0.0,
            epoch_first: 1,
            epoch_last: 1,
            stores_identical: true,
            longest_fault_free_gap_ms: 6.0,
            longest_stall_ms: 0.0,
            seconds: 1.0,
            faults: vec![],
            failures: vec![],
            notes: vec![],
        }
    }

    #[test]
    fn only_a_clean_run_passes() {
        let judged = |change: &dyn Fn(&mut Report), broken_off: Option<String>| {
            let mut report = report();
            change(&mut report);
            report.judge(false, broken_off);
            report.passed()
        };
        assert!(judged(&|_: &mut Report| (), None));
        assert!(!judged(&|r: &mut Report| r.lost = 1, None));
        assert!(!judged(&|r: &mut Report| r.dual_active_ms = 0.001, None));
        assert!(!judged(&|r: &mut Report| r.stores_identical = false, None));
        assert!(!judged(&|r: &mut Report| r.forbidden_duplicates = 1, None));
        assert!(!judged(&|r: &mut Report| r.damaged = 1, None));
        let seen = |held_by: &[&str], on_both_ms| {
            let held_by = held_by.iter().map(|host| (*host).to_owned()).collect();
            Some(AddressSeen { held_by, on_both_ms, looks: 1, longest_blind_ms: 0.0, held: BTreeMap::new() })
        };
        assert!(judged(&|r: &mut Report| r.address = seen(&["n1", "n2"], 0.0), None));
        assert!(!judged(&|r: &mut Report| r.address = seen(&["n1", "n2"], 1.0), None));
        assert!(
            !judged(&|r: &mut Report| r.address = seen(&[], 0.0), None),
            "a watch that saw nothing proves nothing"
        );
        assert!(!judged(&|_: &mut Report| (), Some("interrupted".into())));
    }
}
