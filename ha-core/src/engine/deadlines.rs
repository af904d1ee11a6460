//! The next deadline of each group, and the earliest of all, without memory for a change.

use crate::{GroupId, Instant};

/// A tournament: each node holds the earlier one of its two children, the leaves are the groups.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Deadlines {
    leaves: usize,
    tree: Vec<Instant>,
}

impl Deadlines {
    /// None has a deadline, of groups below `groups`.
    pub(super) fn new(groups: usize) -> Self {
        let leaves = groups.next_power_of_two();
        Self { leaves, tree: vec![Instant::FAR; 2 * leaves] }
    }

    pub(super) fn set(&mut self, g: GroupId, at: Instant) {
        let mut node = self.leaves + usize::from(g.0);
        if node >= self.tree.len() || self.tree[node] == at {
            return;
        }
        self.tree[node] = at;
        while node > 1 {
            node /= 2;
            let earlier = self.tree[2 * node].min(self.tree[2 * node + 1]);
            if std::mem::replace(&mut self.tree[node], earlier) == earlier {
                return;
            }
        }
    }

    /// The earliest of all.
    pub(super) fn first(&self) -> Instant {
        self.tree.get(1).copied().unwrap_or(Instant::FAR)
    }

    /// Calls `due` with each group whose deadline is not after `now`, in their order.
    pub(super) fn each_due(&self, now: Instant, due: &mut impl FnMut(GroupId)) {
        if self.first() <= now {
            self.walk(1, now, due);
        }
    }

    fn walk(&self, node: usize, now: Instant, due: &mut impl FnMut(GroupId)) {
        if node >= self.leaves {
            return due(GroupId((node - self.leaves) as u16));
        }
        for child in [2 * node, 2 * node + 1] {
            if self.tree[child] <= now {
                self.walk(child, now, due);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_earliest_and_all_that_are_due_are_found(
            size in 1usize..300,
            changes in prop::collection::vec((any::<u16>(), 0u64..50), 0..80),
            now in 0u64..60,
        ) {
            let (mut tree, mut model) = (Deadlines::new(size), vec![Instant::FAR; size]);
            for (n, at) in changes {
                let (n, at) = (usize::from(n) % size, Instant::from_nanos(at));
                tree.set(GroupId(n as u16), at);
                model[n] = at;
            }
            prop_assert_eq!(Some(tree.first()), model.iter().copied().min());
            let mut due = Vec::new();
            tree.each_due(Instant::from_nanos(now), &mut |g| due.push(usize::from(g.0)));
            let expected = (0..size).filter(|n| model[*n] <= Instant::from_nanos(now));
            prop_assert!(due.into_iter().eq(expected));
        }
    }
}
