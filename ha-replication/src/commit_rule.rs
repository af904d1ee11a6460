//! Which transactions may be acknowledged: pure.

use ha_core::Lsn;

/// What the commit rule looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// Durable here.
    pub durable: Lsn,
    /// Durable at the copy that follows in this epoch.
    pub peer: Option<Lsn>,
    /// The record that lets this copy acknowledge alone, if the rule says so.
    pub alone_from: Option<Lsn>,
    /// The peer may count as equal: nothing is acknowledged without it, whatever the rule.
    pub caught_up: bool,
    /// Aborted transactions and the records that abort them, neither acknowledged yet.
    pub aborts: &'a [(Lsn, Lsn)],
    /// What is acknowledged already.
    pub commit: Lsn,
}

/// The last transaction that may be acknowledged.
pub(crate) fn commit(f: &Facts<'_>) -> Lsn {
    let both = f.durable.min(f.peer.unwrap_or(Lsn(0)));
    let target = match f.alone_from {
        Some(from) if !f.caught_up && f.durable >= from => f.durable,
        _ => both,
    };
    f.commit.max(below_aborts(target, f.aborts))
}

/// Whoever applies an aborted transaction must have heard of its abort.
fn below_aborts(mut target: Lsn, aborts: &[(Lsn, Lsn)]) -> Lsn {
    while let Some((aborted, _)) = aborts.iter().find(|(t, by)| *t <= target && target < *by) {
        target = Lsn(aborted.0 - 1);
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(durable: u64, peer: Option<u64>) -> Facts<'static> {
        Facts {
            durable: Lsn(durable),
            peer: peer.map(Lsn),
            alone_from: None,
            caught_up: false,
            aborts: &[],
            commit: Lsn(0),
        }
    }

    #[test]
    fn both_must_hold_it() {
        assert_eq!(commit(&facts(5, None)), Lsn(0));
        assert_eq!(commit(&facts(5, Some(3))), Lsn(3));
        assert_eq!(commit(&facts(3, Some(5))), Lsn(3));
    }

    #[test]
    fn alone_counts_from_the_record_that_says_so() {
        let f = Facts { alone_from: Some(Lsn(6)), ..facts(5, Some(2)) };
        assert_eq!(commit(&f), Lsn(2));
        assert_eq!(commit(&Facts { durable: Lsn(6), ..f }), Lsn(6));
    }

    #[test]
    fn nothing_is_acknowledged_alone_while_the_peer_counts_as_equal() {
        let f = Facts { alone_from: Some(Lsn(1)), caught_up: true, ..facts(9, Some(4)) };
        assert_eq!(commit(&f), Lsn(4));
    }

    #[test]
    fn an_aborted_transaction_waits_for_its_abort() {
        let aborts = [(Lsn(3), Lsn(7)), (Lsn(2), Lsn(4))];
        for (peer, expected) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2), (7, 7), (9, 9)] {
            let f = Facts { aborts: &aborts, ..facts(9, Some(peer)) };
            // 4..=6 lies between 3 and its abort 7, and 2 between 2 and its abort 4.
            let expected = if (4..7).contains(&peer) { 1 } else { expected };
            assert_eq!(commit(&f), Lsn(expected), "peer at {peer}");
        }
    }

    #[test]
    fn it_never_goes_back() {
        let f = Facts { commit: Lsn(4), ..facts(9, None) };
        assert_eq!(commit(&f), Lsn(4));
    }
}
