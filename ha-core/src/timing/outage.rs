//! How long mail may pause in each fault, addend by addend.

use super::inequality::{Addend, as_ms, sum};
use super::terms::Terms;
use super::violation::in_ms;
use super::{FaultKind, allowance};
use crate::FenceScope;
use serde::{Serialize, Serializer};
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

fn some_ms<S: Serializer>(span: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
    match span {
        Some(span) => as_ms(span, s),
        None => s.serialize_none(),
    }
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
    let starts = t.start_budget();
    match fault {
        FaultKind::PowerLossActive => by_fence(t, fault, Duration::ZERO, takes_over),
        FaultKind::PowerLossStandby if !t.is_mirrored() => Outage::of(fault, Vec::new(), Duration::ZERO),
        FaultKind::PowerLossStandby => {
            by_fence(t, fault, Duration::ZERO, Addend::new("record (allowance)", allowance::TAKEOVER))
        }
        FaultKind::GuardianThenChild | FaultKind::FreezeLong | FaultKind::Isolation => {
            by_fence(t, fault, t.slot_wait(), takes_over)
        }
        FaultKind::ProcessKill => Outage::of(
            fault,
            vec![Addend::new(
                "undo, release, record, promotion, start (allowance)",
                allowance::RELEASE_AND_TAKEOVER,
            )],
            starts,
        ),
        FaultKind::FreezeChild => Outage::of(
            fault,
            vec![
                Addend::new("feed limit", t.config.timing.feed_limit),
                Addend::new("kill, undo, release, record, promotion, start (allowance)", allowance::TAKEOVER),
            ],
            starts,
        ),
        FaultKind::GuardianKill => Outage::of(
            fault,
            vec![Addend::new("handover: prepare, drain, stop (allowance)", allowance::HANDOVER), takes_over],
            starts,
        ),
        FaultKind::FreezeShort => Outage::freeze_short(t.dead),
        FaultKind::HeartbeatCut if t.has_other_evidence() => Outage::of(fault, Vec::new(), Duration::ZERO),
        FaultKind::HeartbeatCut => by_fence(t, fault, t.slot_wait(), takes_over),
        FaultKind::ReplicationCut => asking(t, fault, t.fastest_word, t.fastest_word),
        FaultKind::NetworkCut => {
            asking(t, fault, t.slowest_word, t.network_dead.saturating_sub(t.config.timing.mirror_stall))
        }
        FaultKind::NetworkCutActive => Outage::of(
            fault,
            vec![
                Addend::new("outside compared twice on the slowest link", t.slowest_word.saturating_mul(2)),
                Addend::new("release heard on the slowest link", t.slowest_word),
                takes_over,
            ],
            starts,
        ),
        FaultKind::StopFails => Outage::of(
            fault,
            vec![
                Addend::new("stop budgets", t.stop_budget()),
                Addend::new("kill, undo, verify", t.config.timing.kill_grace),
                takes_over,
            ],
            starts,
        ),
        FaultKind::Switchover => Outage::of(
            fault,
            vec![Addend::new("stop, release, record, start (allowance)", allowance::SWITCHOVER)],
            starts,
        ),
    }
}

/// An outage that a fence device ends.
fn by_fence(t: &Terms<'_>, fault: FaultKind, slot: Duration, rest: Addend) -> Outage {
    let mut addends = vec![Addend::new("dead", t.dead)];
    if !t.has_fence() || (t.scope() == Some(FenceScope::Access) && t.is_mirrored()) {
        if !t.config.is_unguarded() {
            return Outage::unbounded(fault, addends);
        }
    } else {
        if !slot.is_zero() {
            addends.push(Addend::new("slot", slot));
        }
        addends.push(Addend::new("fence", t.fence));
        if !t.address_wait().is_zero() {
            addends.push(Addend::new("addresses of the fenced processes expire", t.address_wait()));
        }
    }
    addends.push(rest);
    let starts = if fault == FaultKind::PowerLossStandby { Duration::ZERO } else { t.start_budget() };
    Outage::of(fault, addends, starts)
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
