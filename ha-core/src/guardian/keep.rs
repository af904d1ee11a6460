//! What a child left running on purpose: no undo step of these groups is carried out, and no process that such a
//! step names is killed, until the next life is there to answer for them.

use super::group;
use super::undo_list::Outstanding;
use crate::GroupId;
use std::collections::BTreeSet;
use std::io;

/// The steps that are carried out although `detached` runs on. A step of no group speaks of no service.
pub(super) fn without_kept(steps: &[Outstanding], detached: &[GroupId]) -> Vec<Outstanding> {
    steps.iter().filter(|s| !is_kept(s, detached)).cloned().collect()
}

fn is_kept(step: &Outstanding, detached: &[GroupId]) -> bool {
    step.group.is_some_and(|g| detached.contains(&g))
}

/// The process groups of everything that is left running.
#[derive(Default)]
pub(super) struct Kept(Vec<group::Group>);

impl Kept {
    pub(super) fn of(steps: &[Outstanding], detached: &[GroupId]) -> Self {
        let kept = steps.iter().filter(|s| is_kept(s, detached));
        Self(kept.filter_map(|s| group::Group::of(&s.undo)).collect())
    }

    /// Who belongs to them now.
    pub(super) fn members(&self) -> io::Result<BTreeSet<u32>> {
        let mut found = BTreeSet::new();
        for group in &self.0 {
            found.extend(group.members()?.iter().map(|p| p.id.pid));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Incarnation, Undo};
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    fn step(id: u64, undo: Undo, group: Option<GroupId>) -> Outstanding {
        Outstanding { incarnation: Incarnation(1), id, undo, group }
    }

    fn note() -> Undo {
        Undo { kind: "note".into(), version: 1, bytes: vec![] }
    }

    #[test]
    fn only_the_steps_and_processes_of_groups_that_run_on_are_kept() {
        let mut children = [0, 1].map(|_| Command::new("sleep").arg("100").process_group(0).spawn().unwrap());
        let of = |i: usize| group::process_group_undo(children[i].id()).unwrap();
        let steps = [
            step(1, note(), None),
            step(2, note(), Some(GroupId(0))),
            step(3, of(0), Some(GroupId(0))),
            step(4, of(1), Some(GroupId(1))),
        ];
        let left: Vec<u64> = without_kept(&steps, &[GroupId(0)]).iter().map(|s| s.id).collect();
        assert_eq!(left, [1, 4]);
        let kept = Kept::of(&steps, &[GroupId(0)]).members().unwrap();
        assert_eq!(kept, BTreeSet::from([children[0].id()]));
        assert!(Kept::of(&steps, &[]).members().unwrap().is_empty());
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
