//! Who may own a group that nobody owns: one pure table (safety rule 7).
//!
//! Order: granted epoch, alone flag, data position, preferred node, node id. A copy that consented to its
//! exclusion never competes; two copies that went on alone are a question, not a contest.

use super::event::Question;
use crate::{Epoch, Lsn, NodeId, SetRecord};

/// One side of the contest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub node: NodeId,
    pub granted: Epoch,
    pub set: SetRecord,
    pub lsn: Lsn,
    /// Its store was never used for this group and was explicitly initialised with the other one.
    pub never_started: bool,
    /// Its store is not the one the other side remembers, or was never initialised: no vote.
    pub amnesiac: bool,
    /// It failed to start the group, or is leaving.
    pub unwilling: bool,
    /// Standby, maintenance or the place of its lead keep it from starting the group.
    pub held: bool,
}

/// What the table says to one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Ask the other one to yield, then own.
    Win,
    /// Own at once on the own alone record; the other one has no vote.
    WinAlone,
    /// Wait for the other one to ask.
    Lose,
    /// Neither may.
    Ask(Question),
}

pub(super) fn judge(mirrored: bool, preferred: NodeId, me: &Candidate, other: &Candidate) -> Verdict {
    if mirrored && are_equal(me, other) {
        match (me.held, other.held) {
            (true, false) if !other.unwilling => return Verdict::Lose,
            (false, true) if !me.unwilling => return Verdict::Win,
            _ => {}
        }
    }
    // Without data nothing but the will decides.
    match (me.unwilling || !mirrored && me.held, other.unwilling || !mirrored && other.held) {
        (true, true) => return Verdict::Ask(Question::FailedEverywhere),
        (true, false) if !mirrored => return Verdict::Lose,
        (false, true) if !mirrored => return Verdict::Win,
        _ => {}
    }
    if me.amnesiac && other.amnesiac {
        return Verdict::Ask(Question::NotInitialised);
    }
    if !mirrored {
        return match (me.amnesiac, other.amnesiac) {
            (true, false) => Verdict::Lose,
            (false, true) => Verdict::Win,
            _ => by_order(me, other, preferred),
        };
    }
    if me.never_started && other.never_started {
        return by_order(me, other, preferred);
    }
    match (me.set.is_alone(), other.set.is_alone()) {
        (true, true) => return Verdict::Ask(Question::Diverged),
        (true, false) if other.amnesiac && !me.unwilling => return Verdict::WinAlone,
        (false, true) if me.amnesiac => return Verdict::Lose,
        _ => {}
    }
    match (can_lead(me), can_lead(other)) {
        (true, true) if me.unwilling => Verdict::Lose,
        (true, true) if other.unwilling => Verdict::Win,
        (true, true) => by_order(me, other, preferred),
        (true, false) if me.unwilling => Verdict::Ask(Question::FailedEverywhere),
        // A member whose partner lost its memory cannot know whether that partner had gone on alone.
        (true, false) if other.amnesiac && !me.set.is_alone() => Verdict::Ask(Question::NotCurrent),
        (true, false) => Verdict::Win,
        (false, true) if me.amnesiac && !other.set.is_alone() => Verdict::Ask(Question::NotCurrent),
        (false, true) => Verdict::Lose,
        (false, false) if me.set == SetRecord::Never && other.set == SetRecord::Never => {
            Verdict::Ask(Question::NotInitialised)
        }
        (false, false) => Verdict::Ask(Question::NotCurrent),
    }
}

/// Whether each copy holds whatever was acknowledged: members of one generation, which nobody ever left, or blank.
/// Only then may anything but the data decide.
fn are_equal(me: &Candidate, other: &Candidate) -> bool {
    let members = me.set == other.set && matches!(me.set, SetRecord::Both { .. });
    members && !me.amnesiac && !other.amnesiac || me.never_started && other.never_started
}

fn can_lead(c: &Candidate) -> bool {
    !c.amnesiac && matches!(c.set, SetRecord::Both { .. } | SetRecord::Alone { .. })
}

fn by_order(me: &Candidate, other: &Candidate, preferred: NodeId) -> Verdict {
    let key = |c: &Candidate| (c.granted, c.set.is_alone(), c.lsn, c.node == preferred, u8::MAX - c.node.0);
    if key(me) > key(other) { Verdict::Win } else { Verdict::Lose }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Generation;

    fn candidate(node: u8) -> Candidate {
        Candidate {
            node: NodeId(node),
            granted: Epoch(3),
            set: SetRecord::Both { generation: Generation(2) },
            lsn: Lsn(10),
            never_started: false,
            amnesiac: false,
            unwilling: false,
            held: false,
        }
    }

    fn both(a: &Candidate, b: &Candidate) -> (Verdict, Verdict) {
        (judge(true, NodeId(0), a, b), judge(true, NodeId(0), b, a))
    }

    #[test]
    fn every_pair_of_records_has_at_most_one_winner() {
        let sets = [
            SetRecord::Never,
            SetRecord::Both { generation: Generation(2) },
            SetRecord::Alone { epoch: Epoch(3), generation: Generation(3) },
            SetRecord::Out { epoch: Epoch(3), generation: Generation(2) },
        ];
        let mut seen = 0;
        for (sa, sb) in sets.iter().flat_map(|a| sets.iter().map(move |b| (*a, *b))) {
            for bits in 0u32..1 << 12 {
                let bit = |n: u32| bits >> n & 1 == 1;
                let make = |node: u8, set, o: u32| Candidate {
                    granted: Epoch(3 + u64::from(bit(o))),
                    lsn: Lsn(10 + u64::from(bit(o + 1))),
                    never_started: bit(o + 2) && set == SetRecord::Never,
                    amnesiac: bit(o + 3),
                    unwilling: bit(o + 4),
                    held: bit(10 + u32::from(node)),
                    set,
                    ..candidate(node)
                };
                let (a, b) = (make(0, sa, 0), make(1, sb, 5));
                for mirrored in [true, false] {
                    let (va, vb) = (judge(mirrored, NodeId(0), &a, &b), judge(mirrored, NodeId(0), &b, &a));
                    let wins = |v| matches!(v, Verdict::Win | Verdict::WinAlone);
                    assert!(!(wins(va) && wins(vb)), "two winners: {a:?} {b:?} {va:?} {vb:?}");
                    assert!(!(va == Verdict::Lose && vb == Verdict::Lose), "nobody: {a:?} {b:?}");
                    if !are_equal(&a, &b) {
                        let free = |c: &Candidate| Candidate { held: false, ..*c };
                        let unheld = judge(true, NodeId(0), &free(&a), &free(&b));
                        assert_eq!(judge(true, NodeId(0), &a, &b), unheld, "data decide: {a:?} {b:?}");
                    }
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 16 * 4096 * 2);
    }

    #[test]
    fn the_copy_that_was_alone_leads_and_two_of_them_are_a_question() {
        let alone = Candidate {
            set: SetRecord::Alone { epoch: Epoch(3), generation: Generation(3) },
            ..candidate(0)
        };
        let out =
            Candidate { set: SetRecord::Out { epoch: Epoch(3), generation: Generation(2) }, ..candidate(1) };
        assert_eq!(both(&alone, &out), (Verdict::Win, Verdict::Lose));
        let other = Candidate { node: NodeId(1), ..alone };
        assert_eq!(both(&alone, &other).0, Verdict::Ask(Question::Diverged));
    }

    #[test]
    fn a_node_that_stands_by_makes_way_only_for_a_copy_that_is_as_good() {
        let held = Candidate { granted: Epoch(9), held: true, ..candidate(0) };
        assert_eq!(both(&held, &candidate(1)), (Verdict::Lose, Verdict::Win));
        let alone = SetRecord::Alone { epoch: Epoch(9), generation: Generation(3) };
        let held = Candidate { set: alone, ..held };
        assert_eq!(
            both(&held, &candidate(1)),
            (Verdict::Win, Verdict::Lose),
            "it asks, and nobody else serves"
        );
        let newer = Candidate { set: SetRecord::Both { generation: Generation(4) }, ..held };
        assert_eq!(both(&newer, &candidate(1)), (Verdict::Win, Verdict::Lose));
    }

    #[test]
    fn the_last_owner_leads_then_the_longer_copy_then_the_preferred_node() {
        let (a, b) = (candidate(0), Candidate { granted: Epoch(4), ..candidate(1) });
        assert_eq!(both(&a, &b), (Verdict::Lose, Verdict::Win));
        let b = Candidate { lsn: Lsn(11), ..candidate(1) };
        assert_eq!(both(&a, &b), (Verdict::Lose, Verdict::Win));
        assert_eq!(both(&a, &candidate(1)), (Verdict::Win, Verdict::Lose));
    }

    #[test]
    fn a_member_does_not_lead_over_a_partner_without_memory() {
        let b = Candidate { amnesiac: true, set: SetRecord::Never, ..candidate(1) };
        assert_eq!(both(&candidate(0), &b).0, Verdict::Ask(Question::NotCurrent));
    }
}
