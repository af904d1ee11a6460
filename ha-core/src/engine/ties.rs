//! What the configuration alone says of groups that belong together, worked out once.

use crate::GroupId;
use crate::config::Config;

/// Groups that look at each other, directly or through others: what changes in one may matter to all of them.
#[derive(Debug, Default)]
pub(super) struct Ties {
    /// Of each group its place in `tied`; absent for one that stands alone.
    place: Vec<Option<usize>>,
    tied: Vec<Vec<GroupId>>,
    /// Of each group whether others start after it.
    awaited: Vec<bool>,
    pub(super) any_mirrored: bool,
}

impl Ties {
    pub(super) fn of(config: &Config) -> Self {
        let count = config.groups.len();
        let mut root: Vec<usize> = (0..count).collect();
        let mut awaited = vec![false; count];
        for (n, c) in config.groups.iter().enumerate() {
            for after in &c.policy.after {
                if let Some(awaited) = awaited.get_mut(usize::from(after.0)) {
                    *awaited = true;
                }
            }
            for other in c.policy.after.iter().chain(&c.policy.with).map(|g| usize::from(g.0)) {
                if other < count {
                    let (a, b) = (find(&mut root, n), find(&mut root, other));
                    root[a.max(b)] = a.min(b);
                }
            }
        }
        let mut members: Vec<Vec<GroupId>> = vec![Vec::new(); count];
        for n in 0..count {
            members[find(&mut root, n)].push(GroupId(n as u16));
        }
        let mut ties = Self {
            place: vec![None; count],
            tied: Vec::new(),
            awaited,
            any_mirrored: config.groups.iter().any(|c| c.mirrored),
        };
        for tied in members.into_iter().filter(|m| m.len() > 1) {
            tied.iter().for_each(|g| ties.place[usize::from(g.0)] = Some(ties.tied.len()));
            ties.tied.push(tied);
        }
        ties
    }

    /// The groups that are tied to `g`, itself among them, in their order; none for one that stands alone.
    pub(super) fn tied(&self, g: GroupId) -> &[GroupId] {
        self.place.get(usize::from(g.0)).copied().flatten().map_or(&[], |at| &self.tied[at])
    }

    pub(super) fn is_awaited(&self, g: GroupId) -> bool {
        self.awaited.get(usize::from(g.0)).copied().unwrap_or(false)
    }
}

fn find(root: &mut [usize], n: usize) -> usize {
    let mut at = n;
    while root[at] != at {
        root[at] = root[root[at]];
        at = root[at];
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{GroupConfig, GroupPolicy};

    #[test]
    fn who_is_with_or_after_another_is_tied_to_all_that_are() {
        let with = |lead| GroupPolicy::default().with_lead(Some(GroupId(lead)));
        let after = |first| GroupPolicy::default().with_after(vec![GroupId(first)]);
        let policies = [GroupPolicy::default(), GroupPolicy::default(), with(0), after(2), after(900)];
        let mut config = Config::pair("mail", "a", "b");
        for (n, policy) in policies.into_iter().enumerate() {
            let mut group = GroupConfig::new(&format!("g{n}"));
            group.policy = policy;
            config = config.group(group);
        }
        let ties = Ties::of(&config);
        let expected = [GroupId(0), GroupId(2), GroupId(3)];
        for g in expected {
            assert_eq!(ties.tied(g), expected);
        }
        assert!(ties.tied(GroupId(1)).is_empty() && ties.tied(GroupId(4)).is_empty());
        let awaited: Vec<_> = (0..6).map(|g| ties.is_awaited(GroupId(g))).collect();
        assert_eq!(awaited, [false, false, true, false, false, false]);
        assert!(!ties.any_mirrored);
    }
}
