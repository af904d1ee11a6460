//! How long mail may pause in each fault, addend by addend.

use super::inequality::{Addend, sum};
use super::proof::fenced_instead;
use super::terms::{Terms, detection};
use super::violation::{in_ms, some_ms};
use super::{FaultKind, allowance};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// The predicted worst outage of one fault, for the group that suffers longest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Outage {
    /// The fault.
    pub fault: FaultKind,
    /// What it is made of.
    pub addends: Vec<Addend>,
    /// The sum; absent if nothing ends the outage but the peer's return or an operator's answer.
    #[serde(rename = "total_ms", serialize_with = "some_ms")]
    pub total: Option<Duration>,
    /// The same if starts and promotion use up their whole budgets.
    #[serde(rename = "at_budgets_ms", serialize_with = "some_ms")]
    pub at_budgets: Option<Duration>,
}

impl Outage {
    fn of(fault: FaultKind, addends: Vec<Addend>, starts: Duration) -> Self {
        let total = sum(&addends);
        Self { fault, addends, total: Some(total), at_budgets: Some(total.saturating_add(starts)) }
    }

    fn unbounded(fault: FaultKind, addends: Vec<Addend>) -> Self {
        Self { fault, addends, total: None, at_budgets: None }
    }

    /// The outage of a freeze of `span`, shorter than `dead`.
    #[must_use]
    pub fn freeze_short(span: Duration) -> Self {
        let addends = vec![
            Addend::new("frozen", span),
            Addend::new("permission confirmed, clients retry (allowance)", allowance::RESUME),
        ];
        Self::of(FaultKind::FreezeShort, addends, Duration::ZERO)
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total =
            self.total.map_or_else(|| "until it returns or you answer".into(), |t| format!("≤ {}", in_ms(t)));
        if self.addends.is_empty() {
            return write!(f, "{:<20} {total}", self.fault);
        }
        write!(f, "{:<20} {total:<12}", self.fault)?;
        for (place, addend) in self.addends.iter().enumerate() {
            let sign = if place == 0 { " =" } else { " +" };
            write!(f, "{sign} {} {}", addend.what, in_ms(addend.span))?;
        }
        Ok(())
    }
}

/// The prediction for every kind of fault, in the table's order.
pub(super) fn outages(terms: &Terms<'_>) -> Vec<Outage> {
    FaultKind::ALL.iter().map(|fault| outage(terms, *fault)).collect()
}

fn outage(t: &Terms<'_>, fault: FaultKind) -> Outage {
    let takes_over = Addend::new("record, promotion, start (allowance)", allowance::TAKEOVER);
    match fault {
        FaultKind::PowerLossActive => by_end(t, fault, Duration::ZERO, takes_over),
        FaultKind::PowerLossStandby if !t.is_mirrored() => Outage::of(fault, Vec::new(), Duration::ZERO),
        FaultKind::PowerLossStandby => {
            by_end(t, fault, Duration::ZERO, Addend::new("record (allowance)", allowance::TAKEOVER))
        }
        FaultKind::GuardianThenChild | FaultKind::FreezeLong | FaultKind::Isolation => {
            by_end(t, fault, t.slot_wait(), takes_over)
        }
        FaultKind::ProcessKill => moved(
            t,
            fault,
            vec![Addend::new(
                "undo, release, record, promotion, start (allowance)",
                allowance::RELEASE_AND_TAKEOVER,
            )],
        ),
        FaultKind::FreezeChild => freeze_child(t, takes_over),
        FaultKind::GuardianKill => moved(
            t,
            fault,
            vec![Addend::new("handover: prepare, drain, stop (allowance)", allowance::HANDOVER), takes_over],
        ),
        FaultKind::FreezeShort => Outage::freeze_short(t.dead),
        FaultKind::HeartbeatCut if t.has_other_evidence() => Outage::of(fault, Vec::new(), Duration::ZERO),
        FaultKind::HeartbeatCut => by_end(t, fault, t.slot_wait(), takes_over),
        FaultKind::ReplicationCut => asking(t, fault, t.fastest_word, t.fastest_word),
        FaultKind::NetworkCut => {
            asking(t, fault, t.slowest_word, t.network_dead.saturating_sub(t.config.timing.mirror_stall))
        }
        FaultKind::NetworkCutActive => moved(
            t,
            fault,
            vec![
                // Who watches the outside notices its loss by then.
                Addend::new("the mirror notices", t.config.timing.mirror_stall),
                Addend::new("outside compared once more on the slowest link", t.slowest_word),
                // On a narrow line the next beat may be left to the status.
                Addend::new(
                    "release heard on the slowest link",
                    t.slowest_word.saturating_add(t.slowest_interval),
                ),
                takes_over,
            ],
        ),
        FaultKind::StopFails => moved(
            t,
            fault,
            vec![
                Addend::new("stop budgets", t.stop_budget()),
                Addend::new("kill, undo, verify", t.config.timing.kill_grace),
                takes_over,
            ],
        ),
        FaultKind::Switchover => moved(
            t,
            fault,
            vec![Addend::new("stop, release, record, start (allowance)", allowance::SWITCHOVER)],
        ),
        FaultKind::ServiceFails => service_fails(t, fault),
    }
}

/// An outage that ends with the group on the other node: the arbiter's swap and the network's view come on top.
fn moved(t: &Terms<'_>, fault: FaultKind, mut addends: Vec<Addend>) -> Outage {
    addends.extend(t.move_costs());
    Outage::of(fault, addends, t.start_budget())
}

/// By the guardian's word; where the peer may shoot before that, the guardian may be gone before it speaks.
fn freeze_child(t: &Terms<'_>, takes_over: Addend) -> Outage {
    let fault = FaultKind::FreezeChild;
    let released = vec![
        Addend::new("feed limit", t.config.timing.feed_limit),
        Addend::new("kill, undo, release, record, promotion, start (allowance)", allowance::TAKEOVER),
    ];
    let released = moved(t, fault, released);
    let may_be_shot = t.has_fence() && fenced_instead(t).is_some();
    let fenced = may_be_shot.then(|| by_end(t, fault, t.slot_wait(), takes_over));
    fenced.filter(|f| f.total > released.total).unwrap_or(released)
}

/// The resource that may fail longest unnoticed.
fn service_fails(t: &Terms<'_>, fault: FaultKind) -> Outage {
    let resources = t.config.groups.iter().flat_map(|group| &group.resources);
    let slowest = resources.max_by_key(|resource| sum(&detection(resource)));
    let mut addends: Vec<Addend> = slowest.map(|resource| detection(resource).into()).unwrap_or_default();
    if !addends.is_empty() {
        addends.push(Addend::new("restart in place (allowance)", allowance::TAKEOVER));
    }
    let budgets = t.stop_budget().saturating_add(t.start_budget());
    Outage::of(fault, addends, budgets)
}

/// An outage that the end of the other node's life ends: by a fence device, or else by its lease.
fn by_end(t: &Terms<'_>, fault: FaultKind, slot: Duration, rest: Addend) -> Outage {
    let mut addends = vec![Addend::new("dead", t.dead)];
    let is_exclusion = fault == FaultKind::PowerLossStandby;
    let excluded_by_arbiter = is_exclusion && t.config.arbiter.is_some();
    if t.config.groups.iter().all(|group| t.device_ends(group)) {
        if !slot.is_zero() {
            addends.push(Addend::new("slot", slot));
        }
        addends.push(Addend::new("fence", t.fence));
        if !t.address_wait().is_zero() {
            addends.push(Addend::new("addresses of the fenced processes expire", t.address_wait()));
        }
    } else if excluded_by_arbiter || t.config.is_unguarded() {
    } else if t.config.groups.iter().all(|group| t.device_ends(group) || t.lease_ends(group)) {
        addends = lease_runs_out(t);
    } else {
        return Outage::unbounded(fault, addends);
    }
    addends.push(rest);
    if is_exclusion {
        addends.extend(t.swap_cost());
        return Outage::of(fault, addends, Duration::ZERO);
    }
    moved(t, fault, addends)
}

/// The last renewal came just before the end, and is seen by the next reading; so is its absence.
fn lease_runs_out(t: &Terms<'_>) -> Vec<Addend> {
    let Some(arbiter) = &t.config.arbiter else { return Vec::new() };
    let reading = arbiter.renew_interval.saturating_add(arbiter.answer_timeout);
    vec![
        Addend::new("the last renewal is read", reading),
        Addend::new("takeover wait", t.config.takeover_wait().unwrap_or_default()),
        Addend::new("its absence is read", reading),
    ]
}

/// An outage that the live peer's consent ends.
/// `judged`: until the beats say whether the network failed as well.
fn asking(t: &Terms<'_>, fault: FaultKind, word: Duration, judged: Duration) -> Outage {
    if !t.is_mirrored() {
        return Outage::of(fault, Vec::new(), Duration::ZERO);
    }
    let addends = vec![
        Addend::new("the mirror notices", t.config.timing.mirror_stall),
        Addend::new("beats on the network pass, or are missed", judged),
        Addend::new("question and answer", word.saturating_mul(2)),
        Addend::new("records on both nodes (allowance)", allowance::DURABLE.saturating_mul(2)),
    ];
    Outage::of(fault, addends, Duration::ZERO)
}
