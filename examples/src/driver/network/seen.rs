//! Who had the service address on an interface, as the kernels of both nodes said.

use ha_vip::testbed::{Presence, Span};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Shorter times between two looks are not listed: an address may have been there for so long before it was seen.
const LOOK: Duration = Duration::from_millis(2);

/// Who had the service address, and when.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct AddressSeen {
    /// Nodes that had it at any time.
    pub(crate) held_by: Vec<String>,
    /// How long two had it at one instant, in all.
    pub(crate) on_both_ms: f64,
    pub(crate) looks: u64,
    /// The longest time between two looks: what was shorter may have been missed.
    pub(crate) longest_blind_ms: f64,
    /// From when to when at most, on the boot clock in nanoseconds.
    #[serde(skip)]
    pub(crate) held: BTreeMap<String, Vec<(u64, u64)>>,
}

impl AddressSeen {
    /// Whether `node` may have had it at some time from `from_ns` to `to_ns`.
    pub(crate) fn may_be_of(&self, node: &str, from_ns: u64, to_ns: u64) -> bool {
        self.held.get(node).is_some_and(|held| held.iter().any(|(from, to)| *from <= to_ns && *to >= from_ns))
    }
}

impl From<Presence> for AddressSeen {
    fn from(presence: Presence) -> Self {
        let in_ms = |span: Duration| span.as_secs_f64() * 1000.0;
        let (on_both, blind) = (presence.on_both(Duration::ZERO), presence.longest_blind(Duration::ZERO));
        let Presence { held, blind: blinds, looks, .. } = presence;
        let held: BTreeMap<_, _> = held
            .into_iter()
            .map(|(node, spans)| (node, spans.into_iter().map(|span| at_most(span, &blinds)).collect()))
            .collect();
        Self {
            held_by: held.keys().cloned().collect(),
            on_both_ms: in_ms(on_both),
            looks,
            longest_blind_ms: in_ms(blind),
            held,
        }
    }
}

/// A span ends with a look that did not find it any more, but begins with one that did: it came after the look before.
fn at_most((from, to): Span, blinds: &[Span]) -> (u64, u64) {
    let before =
        blinds.iter().find(|(_, end)| *end == from).map_or(from.saturating_sub(LOOK), |(start, _)| *start);
    let in_ns = |at: Duration| u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
    (in_ns(before), in_ns(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_come_right_after_the_look_before() {
        let at = Duration::from_millis;
        assert_eq!(at_most((at(50), at(80)), &[(at(30), at(41))]), (48_000_000, 80_000_000));
        assert_eq!(at_most((at(50), at(80)), &[(at(30), at(50))]), (30_000_000, 80_000_000));
    }

    #[test]
    fn whose_it_may_be_is_asked_of_a_time() {
        let held = BTreeMap::from([("n1".to_owned(), vec![(10, 20), (50, 60)])]);
        let seen = AddressSeen { held_by: vec![], on_both_ms: 0.0, looks: 9, longest_blind_ms: 1.0, held };
        assert!(seen.may_be_of("n1", 15, 15) && seen.may_be_of("n1", 20, 30) && seen.may_be_of("n1", 40, 50));
        assert!(!seen.may_be_of("n1", 21, 49) && !seen.may_be_of("n2", 15, 15));
    }
}
