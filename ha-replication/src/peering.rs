//! Two copies meet: who follows whom, from where on. Pure; both sides compute it and must agree.

use crate::history::{Fork, History};
use ha_core::{Epoch, Lsn};

/// What a copy says of itself when a session or a role begins.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Standing {
    /// The epoch it leads in.
    pub lead: Option<Epoch>,
    /// The highest epoch it ever heard of.
    pub highest: Epoch,
    /// The end of its log: what is durable, for a leader what it gave out.
    pub end: Lsn,
    /// The highest transaction that may have been acknowledged by what its journal shows.
    pub acked: Lsn,
    /// The oldest transaction that its journal still holds.
    pub oldest: Lsn,
    /// Its epochs, oldest first.
    pub history: History,
    /// Its disk failed.
    pub failed: bool,
    /// Its operator gave its own tail up, and that tail is in its tree: it needs the whole tree of the other.
    pub wants_copy: bool,
}

/// What follows from two standings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Nobody leads: stay in touch.
    NoLeader,
    /// Both lead: the one of the lower epoch suspends.
    BothLead,
    /// The follower knows a newer leader.
    LowerEpoch { found: Epoch, known: Epoch },
    /// The follower's disk failed.
    Failed,
    /// Both hold acknowledged transactions that the other lacks after `fork`.
    Diverged { fork: Lsn },
    /// The follower takes the records after `after`; with `cut` it first gives up what it has above.
    Stream { after: Lsn, cut: bool },
    /// The follower takes a copy of the whole tree; with `cut` it first gives up what it has above `after`.
    Copy { after: Lsn, cut: bool },
}

/// What is to be done between a leader and the other copy.
pub(crate) fn decide(leader: &Standing, follower: &Standing) -> Verdict {
    let Some(lead) = leader.lead else { return Verdict::NoLeader };
    if follower.lead.is_some() {
        return Verdict::BothLead;
    }
    if follower.highest > lead {
        return Verdict::LowerEpoch { found: lead, known: follower.highest };
    }
    if follower.failed {
        return Verdict::Failed;
    }
    if follower.wants_copy {
        return Verdict::Copy { after: Lsn(0), cut: false };
    }
    let Some(fork) = fork(leader, follower) else { return Verdict::Diverged { fork: Lsn(0) } };
    let cut = follower.end > fork;
    if cut && follower.acked > fork {
        return Verdict::Diverged { fork };
    }
    let after = fork.min(follower.end);
    if after.0 + 1 < leader.oldest.0 { Verdict::Copy { after, cut } } else { Verdict::Stream { after, cut } }
}

/// The end of what both hold alike; `None` if that cannot be told any more.
pub(crate) fn fork(a: &Standing, b: &Standing) -> Option<Lsn> {
    match a.history.fork(a.end, &b.history, b.end) {
        Fork::At(lsn) => Some(lsn),
        Fork::Nothing => (starts_at_one(a) && starts_at_one(b)).then_some(Lsn(0)),
    }
}

/// Nothing of its history was forgotten.
fn starts_at_one(s: &Standing) -> bool {
    s.history.entries().first().is_some_and(|e| e.first == Lsn(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every history of up to three epochs, at most one of each number, and up to four transactions.
    fn copies() -> Vec<Standing> {
        let mut all = vec![Standing { oldest: Lsn(1), ..Standing::default() }];
        let mut grow = all.clone();
        while let Some(s) = grow.pop() {
            if s.end == Lsn(4) {
                continue;
            }
            let end = Lsn(s.end.0 + 1);
            let newest = s.history.newest().map_or(0, |e| e.epoch.0);
            for epoch in newest.max(1)..=3 {
                let mut next = s.clone();
                next.history.push(Epoch(epoch), end);
                next.end = end;
                next.highest = Epoch(epoch);
                all.push(next.clone());
                grow.push(next);
            }
        }
        all
    }

    /// The writer of each transaction: what is the same at the same place is the same transaction.
    fn writers(s: &Standing) -> Vec<u64> {
        (1..=s.end.0).map(|l| s.history.epoch_at(Lsn(l)).map_or(0, |e| e.0)).collect()
    }

    /// An epoch has one writer: the same entry in both means that all before it is the same.
    fn possible(a: &Standing, b: &Standing) -> bool {
        let (a, b) = (a.history.entries(), b.history.entries());
        a.iter().enumerate().all(|(i, e)| !b.contains(e) || b.get(..=i) == a.get(..=i))
    }

    fn common(a: &Standing, b: &Standing) -> u64 {
        let (a, b) = (writers(a), writers(b));
        // Equal writers of a whole prefix: the histories are one as long as each epoch began alike.
        a.iter().zip(&b).take_while(|(x, y)| x == y).count() as u64
    }

    #[test]
    fn no_pair_of_histories_leads_to_a_loss() {
        let all = copies();
        let mut seen = [0_u32; 3];
        for l in &all {
            for f in all.iter().filter(|f| possible(l, f)) {
                for acked in 0..=f.end.0 {
                    let leader = Standing { lead: Some(Epoch(4)), ..l.clone() };
                    let follower = Standing { acked: Lsn(acked), ..f.clone() };
                    let common = common(l, f);
                    match decide(&leader, &follower) {
                        Verdict::Stream { after, cut } => {
                            assert!(after.0 <= common, "streams past unequal history: {l:?} {f:?}");
                            assert!(acked <= after.0, "cuts an acknowledged transaction");
                            assert_eq!(cut, f.end > after);
                            seen[0] += 1;
                        }
                        Verdict::Diverged { fork } => {
                            assert!(acked > fork.0 && f.end > fork, "a false alarm: {l:?} {f:?}");
                            seen[1] += 1;
                        }
                        other => panic!("{other:?}"),
                    }
                    assert_eq!(fork(&leader, &follower), fork(&follower, &leader));
                    seen[2] += 1;
                }
            }
        }
        assert!(seen.iter().all(|n| *n > 100), "{seen:?}");
    }

    #[test]
    fn a_trimmed_journal_leads_to_a_copy() {
        let mut history = History::default();
        history.push(Epoch(1), Lsn(1));
        let leader = Standing {
            lead: Some(Epoch(1)),
            highest: Epoch(1),
            end: Lsn(9),
            acked: Lsn(9),
            oldest: Lsn(5),
            history: history.clone(),
            ..Standing::default()
        };
        let blank = Standing::default();
        assert_eq!(decide(&leader, &blank), Verdict::Copy { after: Lsn(0), cut: false });
        let behind = Standing { end: Lsn(4), highest: Epoch(1), history, ..Standing::default() };
        assert_eq!(decide(&leader, &behind), Verdict::Stream { after: Lsn(4), cut: false });
    }

    #[test]
    fn roles_come_before_histories() {
        let idle = Standing::default();
        let lead = |e| Standing { lead: Some(Epoch(e)), highest: Epoch(e), ..Standing::default() };
        assert_eq!(decide(&idle, &idle), Verdict::NoLeader);
        assert_eq!(decide(&lead(1), &lead(2)), Verdict::BothLead);
        let knows = Standing { highest: Epoch(3), ..Standing::default() };
        assert_eq!(decide(&lead(2), &knows), Verdict::LowerEpoch { found: Epoch(2), known: Epoch(3) });
        assert_eq!(decide(&lead(2), &Standing { failed: true, ..idle }), Verdict::Failed);
    }
}
