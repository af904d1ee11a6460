//! Something of each group, found at its place: a look costs the same whatever the number of groups.

use crate::GroupId;
use serde::{Deserialize, Serialize};

/// A map from groups that grows to the highest of them. Equal contents are equal, as nothing is ever removed alone.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct GroupMap<V>(Vec<Option<V>>);

impl<V> GroupMap<V> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn get(&self, g: &GroupId) -> Option<&V> {
        self.0.get(usize::from(g.0)).and_then(Option::as_ref)
    }

    pub(super) fn get_mut(&mut self, g: &GroupId) -> Option<&mut V> {
        self.0.get_mut(usize::from(g.0)).and_then(Option::as_mut)
    }

    pub(super) fn contains_key(&self, g: &GroupId) -> bool {
        self.get(g).is_some()
    }

    /// Puts `value` in the group's place. What was there.
    pub(super) fn insert(&mut self, g: GroupId, value: V) -> Option<V> {
        let place = usize::from(g.0);
        if place >= self.0.len() {
            self.0.resize_with(place + 1, || None);
        }
        self.0[place].replace(value)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_the_map_that_it_stands_for(changes in prop::collection::vec((0u16..300, any::<u8>()), 0..60)) {
            let (mut map, mut model) = (GroupMap::new(), BTreeMap::new());
            for (n, value) in &changes {
                let g = GroupId(*n);
                prop_assert_eq!(map.insert(g, *value), model.insert(g, *value));
                prop_assert_eq!(map.get_mut(&g).copied(), Some(*value));
            }
            for g in (0..400).map(GroupId) {
                prop_assert_eq!(map.get(&g), model.get(&g));
                prop_assert_eq!(map.contains_key(&g), model.contains_key(&g));
            }
            let mut other = GroupMap::new();
            for (g, value) in model.iter().rev() {
                other.insert(*g, *value);
            }
            prop_assert_eq!(&map, &other);
            map.clear();
            prop_assert_eq!(map, GroupMap::new());
        }
    }
}
