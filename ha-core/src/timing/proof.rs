//! Proving a configuration, or saying what is unsafe about it.

use super::availability::{Availability, availability};
use super::danger::Danger;
use super::drift::{ceil_ms, floor_ms};
use super::inequality::Inequality;
use super::outage::{Outage, outages};
use super::rules::{Fix, Rule, rules};
use super::terms::Terms;
use super::violation::in_ms;
use super::{FaultKind, Notice, SafetyValues, Violation, Violations, budget};
use crate::FenceScope;
use crate::config::{Config, LinkConfig, problems};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Beats that a death should take, at least.
const ADVISED_BEATS: u32 = 5;

/// A configuration's durations are safe together, and this is why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Proof {
    /// Every path, with both sides.
    pub inequalities: Vec<Inequality>,
    /// The predicted worst outage of every fault, in the order of [`FaultKind::ALL`].
    pub outages: Vec<Outage>,
    /// What one may not expect.
    pub notices: Vec<Notice>,
    /// What the nodes tell each other of it.
    pub safety: SafetyValues,
    /// For how many turns of the fencing slots the drift bound keeps the nodes' slots apart; a fence device that
    /// failed so often needs an operator. Absent where only one node can have a reason to shoot.
    pub turns: Option<u32>,
    /// How much of a year the service is there, where figures are configured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub availability: Vec<Availability>,
}

/// How long two nodes may act at once, and why no longer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct DoubleActive {
    /// The longest time in which both nodes act. Zero in every proof.
    #[serde(rename = "longest_ms", serialize_with = "super::inequality::as_ms")]
    pub longest: Duration,
    /// The path on clocks that comes closest to it; absent if all of them rest on proofs.
    pub tightest: Option<&'static str>,
    /// When the victim's last act is over on that path, at the latest.
    #[serde(rename = "victim_latest_ms", serialize_with = "super::inequality::as_ms")]
    pub victim_latest: Duration,
    /// When the survivor's first act begins, at the earliest.
    #[serde(rename = "survivor_earliest_ms", serialize_with = "super::inequality::as_ms")]
    pub survivor_earliest: Duration,
}

impl fmt::Display for DoubleActive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "both nodes active at once: {}", in_ms(self.longest))?;
        match self.tightest {
            Some(name) => write!(
                f,
                ", since {} < {} on the tightest path, {name}",
                in_ms(self.victim_latest),
                in_ms(self.survivor_earliest)
            ),
            None => f.write_str(", since every path rests on a proof"),
        }
    }
}

impl Proof {
    /// The predicted outage of `fault`.
    #[must_use]
    pub fn outage(&self, fault: FaultKind) -> &Outage {
        &self.outages[fault as usize]
    }

    /// The window in which both nodes are active, as an inequality: zero, and the two numbers that come closest.
    #[must_use]
    pub fn double_active(&self) -> DoubleActive {
        let clocks = self
            .inequalities
            .iter()
            .filter(|path| path.basis == super::Basis::Clock && path.danger == Danger::TwiceActive);
        let tightest = clocks.min_by_key(|path| path.holds_by);
        let or_zero = |span: fn(&Inequality) -> Duration| tightest.map(span).unwrap_or_default();
        DoubleActive {
            longest: or_zero(|path| path.victim_latest().saturating_sub(path.survivor_earliest())),
            tightest: tightest.map(|path| path.name),
            victim_latest: or_zero(Inequality::victim_latest),
            survivor_earliest: or_zero(Inequality::survivor_earliest),
        }
    }

    /// The longest outage that anything but a service's own stop ends, and its fault; absent if one is unbounded.
    #[must_use]
    pub fn worst_outage(&self) -> Option<&Outage> {
        let counted = self.outages.iter().filter(|outage| budget::counts(outage.fault));
        if counted.clone().any(|outage| outage.total.is_none()) {
            None
        } else {
            counted.max_by_key(|o| o.total)
        }
    }

    /// The path called `name`.
    #[must_use]
    pub fn inequality(&self, name: &str) -> Option<&Inequality> {
        self.inequalities.iter().find(|inequality| inequality.name == name)
    }
}

/// Proves that the survivor acts after the victim on every path of `config`.
///
/// # Errors
/// [`Violations`]: every path on which it does not, with both numbers and the smallest change that mends it. A
/// configuration that would not pass [`Config::check`] is not proven either.
pub fn prove(config: &Config) -> Result<Proof, Violations> {
    let unchecked: Vec<_> = problems(config)
        .into_iter()
        .map(|problem| Violation {
            rule: "configuration",
            danger: None,
            of: None,
            found: format!("{} is {}, expected {}", problem.field, problem.found, problem.expected),
            field: problem.field,
            value: None,
            mend: problem.mend,
        })
        .collect();
    if !unchecked.is_empty() {
        return Err(Violations(unchecked));
    }
    let terms = Terms::of(config);
    let mut violations = scope(&terms);
    violations.extend(shared(&terms));
    let mut inequalities = Vec::new();
    for rule in rules() {
        for inequality in (rule.state)(&terms) {
            if inequality.holds() {
                inequalities.push(inequality);
            } else {
                violations.push(violation(config, rule, &inequality));
            }
        }
    }
    let outages = outages(&terms);
    violations.extend(budget::exceeded(config, &outages));
    if !violations.is_empty() {
        return Err(Violations(violations));
    }
    let turns = inequalities.iter().find(|path| path.name == "slots").map(|path| turns(&terms, path));
    let (notices, safety) = (notices(&terms), SafetyValues::of(config));
    let mut proof = Proof { inequalities, outages, notices, safety, turns, availability: Vec::new() };
    proof.availability = availability(config, &proof);
    Ok(proof)
}

/// Shared data needs the former owner ended, or its lease with a watchdog behind it.
fn shared(t: &Terms<'_>) -> Vec<Violation> {
    let ends = |group| t.device_ends(group) || t.lease_ends(group);
    let bare = t.config.groups().filter(|(_, group)| group.shared && !ends(group));
    let missing = match (&t.config.arbiter, &t.config.watchdog) {
        (None, _) => "there is neither a device that ends it nor an arbiter's lease",
        (Some(arbiter), _) if !arbiter.trusts_host_pauses => {
            "no device ends it, and the lease proves nothing without arbiter.trusts_host_pauses"
        }
        _ => "no device ends it, and behind the lease there is no watchdog",
    };
    bare.map(|(id, group)| Violation {
        rule: "shared",
        danger: Some(Danger::TwiceActive),
        of: Some(group.name.clone()),
        found: format!("group \"{}\" shares its data with an owner that nothing ends: {missing}", group.name),
        field: format!("groups[{}].shared", id.0),
        value: None,
        mend: "give the pair a fence device with scope \"incarnation\", or an arbiter with trusts_host_pauses = true and a watchdog".into(),
    })
    .collect()
}

/// A device that ends only access licenses no acknowledgement alone.
fn scope(t: &Terms<'_>) -> Vec<Violation> {
    let useless = t.scope() == Some(FenceScope::Access) && t.is_mirrored();
    let mend = "use a device with scope \"incarnation\" or \"processes\", or leave fence out";
    useless
        .then(|| Violation {
            rule: "scope",
            danger: Some(Danger::TwiceActive),
            of: None,
            found: "fence.scope is \"access\", which ends no incarnation, but a mirrored group needs that end proven"
                .into(),
            field: "fence.scope".into(),
            value: None,
            mend: mend.into(),
        })
        .into_iter()
        .collect()
}

fn violation(config: &Config, rule: &Rule, broken: &Inequality) -> Violation {
    let of = broken.of.as_ref().map(|of| format!("of \"{of}\", ")).unwrap_or_default();
    let found = format!(
        "{of}what must be over lasts {} ({}), but what must come after may begin at {} ({})",
        in_ms(broken.victim_latest()),
        names(broken.victim.iter()),
        in_ms(broken.survivor_earliest()),
        names(broken.survivor.iter()),
    );
    let (name, danger, place) = (broken.name, Some(broken.danger), broken.place);
    let of_name = broken.of.clone();
    for fix in rule.fixes {
        if let Some(value) = smallest_change(config, rule, fix, broken) {
            let field = (fix.field)(config, place);
            let verb = if fix.raise { "raise" } else { "lower" };
            let mend = format!("{verb} {field} from {} to {}", in_ms((fix.get)(config, place)), in_ms(value));
            return Violation { rule: name, danger, of: of_name, found, field, value: Some(value), mend };
        }
    }
    let field = "timing.drift_ppm".to_owned();
    let mend = format!("no single duration mends it: {}", broken.why);
    Violation { rule: name, danger, of: of_name, found, field, value: None, mend }
}

fn names<'a>(addends: impl Iterator<Item = &'a super::Addend>) -> String {
    addends.map(|addend| addend.what).collect::<Vec<_>>().join(" + ")
}

/// The whole millisecond nearest to the present value with which the rule holds and the fields are still valid.
fn smallest_change(config: &Config, rule: &Rule, fix: &Fix, broken: &Inequality) -> Option<Duration> {
    const MOST_MS: u64 = 3_600_000;
    let holds_with = |ms: u64| {
        let mut changed = config.clone();
        (fix.set)(&mut changed, broken.place, Duration::from_millis(ms));
        let stated = (rule.state)(&Terms::of(&changed));
        stated.iter().filter(|other| other.place == broken.place).all(Inequality::holds)
    };
    let is_valid = |ms: u64| {
        let mut changed = config.clone();
        (fix.set)(&mut changed, broken.place, Duration::from_millis(ms));
        problems(&changed).is_empty()
    };
    let present = (fix.get)(config, broken.place);
    let whole = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX).min(MOST_MS);
    let found = if fix.raise {
        first(whole(ceil_ms(present)), MOST_MS, holds_with)
    } else {
        let least = whole(floor_ms(present));
        first(0, least, |steps| holds_with(least - steps)).map(|steps| least - steps)
    };
    found.filter(|ms| is_valid(*ms)).map(Duration::from_millis)
}

/// The first number in `low..=high` from which on `holds`, by bisection.
fn first(mut low: u64, mut high: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    if !holds(high) {
        return None;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    Some(low)
}

fn turns(t: &Terms<'_>, slots: &Inequality) -> u32 {
    let turn = t.slot * 4;
    let lost = t.drift.longest(turn).saturating_sub(t.drift.shortest(turn));
    let more = slots.holds_by.as_nanos().checked_div(lost.as_nanos());
    more.map_or(u32::MAX, |more| u32::try_from(more + 1).unwrap_or(u32::MAX))
}

fn notices(t: &Terms<'_>) -> Vec<Notice> {
    let mut notices = Vec::new();
    if t.config.is_unguarded() {
        notices.push(Notice::Unguarded);
    } else if !t.has_fence() && !t.lease_proves() {
        notices.push(Notice::NoFence);
    }
    if t.config.arbiter.is_some() && !t.lease_proves() {
        notices.push(Notice::LeaseProvesNothing);
    }
    if t.scope() == Some(FenceScope::Access) {
        notices.push(Notice::AccessOnly);
    }
    let voting: Vec<_> = t.config.links.iter().filter(|link| !link.evidence_only).collect();
    if voting.len() == 1 {
        notices.push(Notice::SinglePath);
    }
    notices.extend(voting.iter().filter_map(|link| few_beats(link)));
    let slow = |link: &&&LinkConfig| link.suspect.saturating_add(link.interval) >= t.dead;
    notices.extend(voting.iter().filter(slow).map(|link| Notice::SlowDetector { link: link.name.clone() }));
    notices.extend(t.has_fence().then(|| fenced_instead(t)).flatten());
    notices
}

fn few_beats(link: &LinkConfig) -> Option<Notice> {
    let beats = u32::try_from(link.dead.as_nanos() / link.interval.as_nanos().max(1)).unwrap_or(u32::MAX);
    (beats < ADVISED_BEATS).then(|| Notice::FewBeats { link: link.name.clone(), beats })
}

/// The peer's earliest shot may come before the guardian's word of a frozen process.
pub(super) fn fenced_instead(t: &Terms<'_>) -> Option<Notice> {
    let (release, shot) = t.release_and_shot(t.config.timing.feed_limit, t.config.timing.kill_grace)?;
    (release >= shot).then_some(Notice::FencedInsteadOfReleased { release, shot })
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for notice in &self.notices {
            writeln!(f, "notice: {notice}")?;
        }
        writeln!(f, "the survivor acts after the victim on {} paths:", self.inequalities.len())?;
        for inequality in &self.inequalities {
            writeln!(f, "{inequality}")?;
        }
        if let Some(turns) = self.turns {
            writeln!(f, "fencing slots stay apart for {turns} turns at the configured drift")?;
        }
        writeln!(f, "{}", self.double_active())?;
        for estimate in &self.availability {
            writeln!(f, "estimated availability with a {estimate}")?;
        }
        write!(f, "predicted worst outages:")?;
        for outage in &self.outages {
            write!(f, "\n  {outage}")?;
        }
        Ok(())
    }
}
