//! A set of groups that takes no memory when it changes, and whose members are found without looking at the others.

use crate::GroupId;

const BITS: usize = 64;

/// A bit for each group, and a bit for each word of those that has any.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct GroupSet {
    groups: usize,
    words: Vec<u64>,
    filled: Vec<u64>,
}

impl GroupSet {
    /// Empty, for groups below `groups`.
    pub(super) fn new(groups: usize) -> Self {
        let words = groups.div_ceil(BITS);
        Self { groups, words: vec![0; words], filled: vec![0; words.div_ceil(BITS)] }
    }

    pub(super) fn insert(&mut self, g: GroupId) {
        let n = usize::from(g.0);
        let word = n / BITS;
        if let (Some(bits), Some(filled)) = (self.words.get_mut(word), self.filled.get_mut(word / BITS)) {
            *bits |= 1 << (n % BITS);
            *filled |= 1 << (word % BITS);
        }
    }

    pub(super) fn remove(&mut self, g: GroupId) {
        let n = usize::from(g.0);
        let word = n / BITS;
        if let (Some(bits), Some(filled)) = (self.words.get_mut(word), self.filled.get_mut(word / BITS)) {
            *bits &= !(1 << (n % BITS));
            if *bits == 0 {
                *filled &= !(1 << (word % BITS));
            }
        }
    }

    pub(super) fn set(&mut self, g: GroupId, member: bool) {
        if member { self.insert(g) } else { self.remove(g) }
    }

    pub(super) fn contains(&self, g: GroupId) -> bool {
        let n = usize::from(g.0);
        self.words.get(n / BITS).is_some_and(|bits| bits >> (n % BITS) & 1 == 1)
    }

    /// All groups.
    pub(super) fn fill(&mut self) {
        fill(&mut self.words, self.groups);
        fill(&mut self.filled, self.words.len());
    }

    pub(super) fn clear(&mut self) {
        for (at, filled) in self.filled.iter_mut().enumerate() {
            while *filled != 0 {
                let word = at * BITS + filled.trailing_zeros() as usize;
                self.words[word] = 0;
                *filled &= *filled - 1;
            }
        }
    }

    /// The first member from `from` on.
    pub(super) fn first_from(&self, from: usize) -> Option<GroupId> {
        let word = from / BITS;
        let here = *self.words.get(word)? & (u64::MAX << (from % BITS));
        if here != 0 {
            return Some(id(word, here));
        }
        let next = next_bit(&self.filled, word + 1)?;
        Some(id(next, self.words[next]))
    }

    /// The members in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = GroupId> + '_ {
        let mut from = 0;
        std::iter::from_fn(move || {
            let g = self.first_from(from)?;
            from = usize::from(g.0) + 1;
            Some(g)
        })
    }
}

fn fill(words: &mut [u64], bits: usize) {
    words.fill(u64::MAX);
    if let (Some(last), spare @ 1..) = (words.last_mut(), bits % BITS) {
        *last = (1 << spare) - 1;
    }
}

fn next_bit(words: &[u64], from: usize) -> Option<usize> {
    let first = from / BITS;
    let here = words.get(first)? & (u64::MAX << (from % BITS));
    if here != 0 {
        return Some(first * BITS + here.trailing_zeros() as usize);
    }
    let later = words.iter().enumerate().skip(first + 1);
    later.filter(|(_, w)| **w != 0).map(|(at, w)| at * BITS + w.trailing_zeros() as usize).next()
}

/// Groups are fewer than 65,536: the engine made their ids from 16 bits.
fn id(word: usize, bits: u64) -> GroupId {
    GroupId((word * BITS) as u16 + bits.trailing_zeros() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_the_set_that_it_stands_for(
            size in 1usize..9000,
            changes in prop::collection::vec((any::<u16>(), any::<bool>()), 0..60),
            from in 0usize..9000,
        ) {
            let (mut set, mut model) = (GroupSet::new(size), BTreeSet::new());
            for (n, member) in changes {
                let g = GroupId(n % size as u16);
                set.set(g, member);
                if member { model.insert(g); } else { model.remove(&g); }
                prop_assert_eq!(set.contains(g), member);
            }
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert_eq!(set.first_from(from), model.range(GroupId(from as u16)..).next().copied());
            set.clear();
            prop_assert_eq!(&set, &GroupSet::new(size));
            set.fill();
            prop_assert!(set.iter().eq((0..size as u16).map(GroupId)));
            set.clear();
            prop_assert_eq!(set, GroupSet::new(size));
        }
    }

    #[test]
    fn what_is_no_group_is_no_member() {
        let mut set = GroupSet::new(3);
        set.insert(GroupId(64));
        set.remove(GroupId(64));
        assert_eq!((set.contains(GroupId(64)), set.first_from(0), set.first_from(500)), (false, None, None));
        assert_eq!(GroupSet::new(0).first_from(0), None);
    }
}
