//! Whether two nodes ever served at once, judged from outside: by what clients were told, and when.

use std::collections::BTreeMap;

/// Something that only the owner may do, as a client received it: a `220`, or the `250` after the final dot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Act {
    /// Who did it.
    pub(crate) node: String,
    /// In which grant.
    pub(crate) epoch: u64,
    /// When its permission was checked, on the boot clock, in nanoseconds.
    pub(crate) at_ns: u64,
    /// When a client received it, on the same clock.
    pub(crate) received_ns: u64,
}

/// How late an act may be received after its permission was checked, beyond what stalls explain: one hop through
/// the kernel of this machine.
pub(crate) const KERNEL_HOP_NS: u64 = 1_000_000;

/// The longest time for which an older grant was acted in after a newer one had begun to act, in nanoseconds.
/// Also two nodes that act in one grant count: from the later one's first act to the end of the earlier one's.
///
/// `stall` gives the longest stall that independent probes saw between two instants. `redelivered` says of an act that was
/// received late that the network had kept it, and not its node: then its check alone counts.
pub(crate) fn dual_active_ns(
    acts: &[Act],
    stall: impl Fn(u64, u64) -> u64,
    redelivered: impl Fn(&Act) -> bool,
) -> u64 {
    let mut first: BTreeMap<(u64, &str), u64> = BTreeMap::new();
    for act in acts {
        let at = first.entry((act.epoch, &act.node)).or_insert(act.at_ns);
        *at = (*at).min(act.at_ns);
    }
    let overlaps = acts.iter().filter_map(|act| {
        let (acted, received) = overlap(act, &first, &stall)?;
        Some(if received > acted && redelivered(act) { acted } else { acted.max(received) })
    });
    overlaps.max().unwrap_or(0)
}

/// For how long after a newer grant's first act this one was done, and for how long after it was received.
fn overlap(
    act: &Act,
    first: &BTreeMap<(u64, &str), u64>,
    stall: &impl Fn(u64, u64) -> u64,
) -> Option<(u64, u64)> {
    let own = first.get(&(act.epoch, act.node.as_str())).copied()?;
    // Who began later in the same grant is the intruder; its own acts are not counted again.
    let newer = first.iter().filter(|((epoch, node), at)| {
        *epoch > act.epoch
            || (*epoch == act.epoch && *node != act.node && (**at, *node) > (own, act.node.as_str()))
    });
    let begun = newer.map(|(_, at)| *at).min()?;
    let acted = act.at_ns.saturating_sub(begun);
    let received = if act.received_ns > begun {
        let allowed = KERNEL_HOP_NS + stall(begun.min(act.at_ns), act.received_ns);
        (act.received_ns - begun).saturating_sub(allowed)
    } else {
        0
    };
    Some((acted, received))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(node: &str, epoch: u64, at_ms: u64, received_ms: u64) -> Act {
        let ns = |ms| ms * 1_000_000;
        Act { node: node.into(), epoch, at_ns: ns(at_ms), received_ns: ns(received_ms) }
    }

    fn dual_ms(acts: &[Act]) -> u64 {
        dual_active_ns(acts, |_, _| 0, |_| false) / 1_000_000
    }

    #[test]
    fn a_clean_takeover_is_not_twice_active() {
        let acts = [act("n1", 1, 10, 10), act("n1", 1, 20, 20), act("n2", 2, 30, 30), act("n2", 2, 40, 41)];
        assert_eq!(dual_ms(&acts), 0);
        assert_eq!(dual_ms(&[]), 0);
    }

    #[test]
    fn an_act_checked_after_the_newer_grant_acted_counts() {
        let acts = [act("n1", 1, 10, 10), act("n2", 2, 30, 30), act("n1", 1, 75, 75)];
        assert_eq!(dual_ms(&acts), 45);
    }

    #[test]
    fn an_act_checked_before_and_received_long_after_counts() {
        let acts = [act("n1", 1, 29, 80), act("n2", 2, 30, 30)];
        assert_eq!(dual_ms(&acts), 49, "one hop is allowed");
        let stalled = |from, to| if (from, to) == (29_000_000, 80_000_000) { 60_000_000 } else { 0 };
        assert_eq!(dual_active_ns(&acts, stalled, |_| false), 0, "the machine stood still meanwhile");
    }

    #[test]
    fn of_an_act_that_the_network_kept_only_the_check_counts() {
        let kept = |acts: &[Act]| dual_active_ns(acts, |_, _| 0, |act| act.node == "n1") / 1_000_000;
        assert_eq!(kept(&[act("n1", 1, 29, 3000), act("n2", 2, 30, 30)]), 0);
        assert_eq!(kept(&[act("n1", 1, 75, 3000), act("n2", 2, 30, 30)]), 45);
    }

    #[test]
    fn an_act_under_way_when_the_newer_grant_began_is_one_hop_late() {
        assert_eq!(dual_ms(&[act("n1", 1, 29, 31), act("n2", 2, 30, 30)]), 0);
    }

    #[test]
    fn two_nodes_in_one_grant_count() {
        let acts = [act("n1", 3, 10, 10), act("n2", 3, 20, 20), act("n1", 3, 50, 50), act("n2", 3, 60, 60)];
        assert_eq!(dual_ms(&acts), 30);
    }

    #[test]
    fn the_order_of_receipt_does_not_matter() {
        let mut acts = vec![act("n1", 1, 10, 10), act("n2", 2, 30, 30), act("n1", 1, 75, 75)];
        acts.reverse();
        assert_eq!(dual_ms(&acts), 45);
    }
}
