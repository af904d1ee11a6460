//! Which groups a step looks at: those of which a fact changed or a deadline is due, and those on their way.
//!
//! The rules are level-triggered, so looking at a group whose facts are those of the last look changes nothing.
//! Facts of one group are marked where they change: whoever takes a group or its record to write marks it, and
//! those tied to it; claims are marked as they are heard. Facts of the node are compared as a whole
//! ([`Globals`]): a change marks every group. That the rest indeed changes nothing is checked in simulations by
//! an engine that looks at all ([`witness`](super::witness)).

use super::Statement;
use super::deadlines::Deadlines;
use super::globals::Globals;
use super::group_set::GroupSet;
use super::machine::Engine;
use super::permit::Permit;
use super::state::{Group, Life, Role};
use super::ties::Ties;
use crate::config::Config;
use crate::{GroupId, Instant};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of all groups without looking at them. No part of the state: it follows from it.
#[derive(Clone, Debug)]
pub(super) struct Agenda {
    groups: usize,
    pub(super) ties: Arc<Ties>,
    /// Looked at in the next round.
    marked: GroupSet,
    /// What is kept of them here is out of date.
    touched: GroupSet,
    /// Looked at in every round.
    busy: GroupSet,
    pub(super) owned: GroupSet,
    /// Permitted, and until when that is: until all of them, or until their lease's end.
    pub(super) common: GroupSet,
    pub(super) leased: GroupSet,
    /// The sum of the owned groups' weights.
    weight: u16,
    /// With services that the peer left running, which this node promised to leave alone.
    spared: GroupSet,
    /// With a request to the third party under way.
    pub(super) asking: GroupSet,
    /// Owned and active, and others start after them.
    pub(super) serving: GroupSet,
    /// Their record was taken to write since the last write was issued; and while that one is under way.
    pub(super) unsaved: GroupSet,
    pub(super) saving: GroupSet,
    /// Whether the record may differ from the durable one.
    pub(super) record_taken: bool,
    pub(super) deadlines: Deadlines,
    /// What is claimed of each group.
    pub(super) claimed: Vec<Option<Statement>>,
    /// Storage for the node's own statements.
    pub(super) node_said: Vec<Statement>,
    speaking: GroupSet,
    urgent: BTreeMap<GroupId, Vec<Statement>>,
    said: Vec<Statement>,
    scratch: Vec<Statement>,
    pub(super) globals: Option<Globals>,
    pub(super) lives: Vec<Life>,
    /// Moves with every change of any group or of the node.
    version: u64,
    survey: Option<(u64, Survey)>,
    /// This node's dead, slot and feed limit as they travel.
    pub(super) safety: (u16, u16, u16),
    /// Looks at everything in every step, as a witness does.
    pub(super) dense: bool,
    #[cfg(feature = "sabotage")]
    pub(super) forgets: Option<super::Forgotten>,
}

/// Whether any group is a reason for what the fencing rules ask of all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Survey {
    pub would_act: bool,
    pub would_shoot: bool,
    pub starts_on_absence: bool,
    pub contested: bool,
}

impl Agenda {
    /// Nothing is known: everything is to be looked at.
    pub(super) fn new(config: &Config) -> Self {
        let groups = config.groups.len();
        let set = || GroupSet::new(groups);
        let safety = crate::timing::SafetyValues::of(config);
        let mut agenda = Self {
            groups,
            ties: Arc::new(Ties::of(config)),
            marked: set(),
            touched: set(),
            busy: set(),
            owned: set(),
            common: set(),
            leased: set(),
            weight: 0,
            spared: set(),
            asking: set(),
            serving: set(),
            unsaved: set(),
            saving: set(),
            record_taken: true,
            deadlines: Deadlines::new(groups),
            claimed: vec![None; groups],
            node_said: Vec::new(),
            speaking: set(),
            urgent: BTreeMap::new(),
            said: Vec::new(),
            scratch: Vec::new(),
            globals: None,
            lives: Vec::new(),
            version: 0,
            survey: None,
            safety: (safety.dead_ms, safety.slot_ms, safety.feed_ms),
            dense: false,
            #[cfg(feature = "sabotage")]
            forgets: None,
        };
        agenda.mark_all();
        agenda.unsaved.fill();
        agenda.saving.fill();
        agenda
    }

    pub(super) const fn revision(&self) -> u64 {
        self.version
    }

    /// A fact of the group changed, or may change: whoever looks at it is looked at too.
    pub(super) fn mark(&mut self, g: GroupId) {
        self.version += 1;
        self.touched.insert(g);
        #[cfg(feature = "sabotage")]
        if self.forgets == Some(super::Forgotten::Changes) {
            return;
        }
        self.marked.insert(g);
        #[cfg(feature = "sabotage")]
        if self.forgets == Some(super::Forgotten::Ties) {
            return;
        }
        for h in self.ties.tied(g) {
            self.marked.insert(*h);
            self.touched.insert(*h);
        }
    }

    /// A fact of the group changed that no rule reads: only what is kept of it here is out of date.
    pub(super) fn touch(&mut self, g: GroupId) {
        self.touched.insert(g);
    }

    pub(super) fn mark_all(&mut self) {
        self.version += 1;
        self.marked.fill();
        self.touched.fill();
    }

    fn mark_due(&mut self, now: Instant) {
        let (marked, touched) = (&mut self.marked, &mut self.touched);
        self.deadlines.each_due(now, &mut |g| {
            marked.insert(g);
            touched.insert(g);
        });
    }

    /// The next group to look at, from `from` on. Groups may be marked in between.
    pub(super) fn next(&self, from: usize) -> Option<GroupId> {
        if self.dense {
            return (from < self.groups).then_some(GroupId(from as u16));
        }
        earlier(self.marked.first_from(from), self.busy.first_from(from))
    }

    /// The group is looked at now.
    pub(super) fn begin(&mut self, g: GroupId) {
        self.marked.remove(g);
        self.touched.insert(g);
    }

    /// The next group from `from` on of which something may have changed in this step.
    pub(super) fn next_touched(&self, from: usize) -> Option<GroupId> {
        if self.dense {
            return (from < self.groups).then_some(GroupId(from as u16));
        }
        self.touched.first_from(from)
    }

    /// The next group from `from` on that may be owned.
    fn next_owned(&self, from: usize) -> Option<GroupId> {
        earlier(self.owned.first_from(from), self.touched.first_from(from))
    }

    fn next_busy(&self, from: usize) -> Option<GroupId> {
        if self.dense {
            return (from < self.groups).then_some(GroupId(from as u16));
        }
        earlier(self.busy.first_from(from), self.touched.first_from(from))
    }

    /// The next group from `from` on that may have a permission of the kind.
    pub(super) fn next_common(&self, from: usize) -> Option<GroupId> {
        earlier(self.common.first_from(from), self.touched.first_from(from))
    }

    pub(super) fn next_leased(&self, from: usize) -> Option<GroupId> {
        earlier(self.leased.first_from(from), self.touched.first_from(from))
    }

    fn next_spared(&self, from: usize) -> Option<GroupId> {
        earlier(self.spared.first_from(from), self.touched.first_from(from))
    }

    /// The survey, if nothing changed since. Where services run without an engine, time alone changes it.
    pub(super) fn fresh_survey(&self) -> Option<Survey> {
        let timeless = self.spared.first_from(0).is_none();
        self.survey
            .filter(|(version, _)| *version == self.version && timeless && !self.dense)
            .map(|(_, survey)| survey)
    }

    pub(super) fn keep_survey(&mut self, survey: Survey) {
        self.survey = Some((self.version, survey));
    }

    /// The configuration's check keeps the sum of all weights within 16 bits.
    fn own(&mut self, g: GroupId, owned: bool, weight: u16) {
        if owned != self.owned.contains(g) {
            self.owned.set(g, owned);
            let weigh = if owned { u16::saturating_add } else { u16::saturating_sub };
            self.weight = weigh(self.weight, weight);
        }
    }

    /// What was said of one group is said otherwise now.
    fn say(&mut self, g: GroupId) -> bool {
        let spoke = self.speaking.contains(g);
        if self.scratch.is_empty() && !spoke {
            return false;
        }
        if spoke && self.urgent.get(&g) == Some(&self.scratch) {
            return false;
        }
        self.speaking.set(g, !self.scratch.is_empty());
        if self.scratch.is_empty() {
            self.urgent.remove(&g);
        } else {
            self.urgent.insert(g, self.scratch.clone());
        }
        true
    }

    fn gather(&mut self) {
        self.said.clear();
        self.said.extend(self.urgent.values().flatten());
    }
}

fn earlier(a: Option<GroupId>, b: Option<GroupId>) -> Option<GroupId> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

impl Engine {
    /// Deadlines of groups that are over, at the beginning of a step.
    pub(super) fn note_due(&mut self) {
        #[cfg(feature = "sabotage")]
        if self.agenda.forgets == Some(super::Forgotten::Deadlines) {
            return;
        }
        self.agenda.mark_due(self.st.now);
    }

    /// Brings up to date what is kept of the groups that were looked at.
    pub(super) fn refresh(&mut self) {
        self.heed_globals();
        let mut from = 0;
        let mut news = false;
        while let Some(g) = self.agenda.next_touched(from) {
            from = usize::from(g.0) + 1;
            let gr = self.group(g);
            let (busy, owned, asking) = (self.is_busy(g, gr), gr.is_owner(), gr.third.request.is_some());
            let permit = if gr.is_permitted() { gr.permit } else { Permit::None };
            let weight = self.group_config(g).weight;
            let spared = self.spared(g).is_some();
            let serving = gr.role == Role::Active && self.agenda.ties.is_awaited(g);
            let deadline = self.deadline_of(g);
            let mut said = std::mem::take(&mut self.agenda.scratch);
            said.clear();
            self.group_urgent(g, &mut said);
            let agenda = &mut self.agenda;
            agenda.scratch = said;
            agenda.busy.set(g, busy);
            agenda.own(g, owned, weight);
            agenda.common.set(g, permit == Permit::Common);
            agenda.leased.set(g, matches!(permit, Permit::Leased(_)));
            agenda.spared.set(g, spared);
            agenda.asking.set(g, asking);
            agenda.deadlines.set(g, deadline);
            news |= agenda.say(g);
            self.note_serving(g, serving);
            self.note_own_claim(g);
        }
        self.agenda.touched.clear();
        if news {
            self.agenda.gather();
        }
    }

    /// A group that is not looked at only when something changes: it is on its way, or waits for what is no fact
    /// of its own. An owner at rest is not.
    fn is_busy(&self, g: GroupId, gr: &Group) -> bool {
        match gr.role {
            Role::Waiting | Role::Standby => {
                gr.detach.is_under_way() || self.spared(g).is_some() || gr.detach.unspare.is_some()
            }
            // Until its operation ends, which its deadline sees to, nothing but that goes on.
            Role::Starting { .. } => {
                gr.op.is_none()
                    || self.has_arbiter()
                    || self.group_config(g).mirrored
                    || gr.suspended.is_some()
                    || gr.question.is_some()
                    || gr.switching.is_some()
                    || gr.detach.is_under_way()
                    || gr.detach.unspare.is_some()
            }
            Role::Claiming { .. } | Role::Stopping { .. } => true,
            Role::Active => {
                let admits = gr
                    .data
                    .caught_up
                    .is_some_and(|c| gr.admitting.is_none_or(|a| a.incarnation != c.incarnation) || !gr.full);
                self.has_arbiter()
                    || gr.suspended.is_some()
                    || gr.switching.is_some()
                    || gr.policy.better.is_some()
                    || gr.policy.draining.is_some()
                    || gr.question.is_some()
                    || gr.data.stalled
                    || gr.ask.is_some()
                    || admits
                    || gr.detach.is_under_way()
                    || gr.detach.unspare.is_some()
            }
        }
    }

    /// What the peer waits for, or what we wait for.
    pub(super) fn urgent_said(&mut self) -> Vec<Statement> {
        std::mem::take(&mut self.agenda.said)
    }

    /// Gives the storage of [`Self::urgent_said`] back.
    pub(super) fn urgent_unsaid(&mut self, said: Vec<Statement>) {
        self.agenda.said = said;
    }

    /// The groups that this node owns, and perhaps others: all that may be owned.
    pub(super) fn maybe_owned(&self) -> impl Iterator<Item = GroupId> + '_ {
        let mut from = 0;
        std::iter::from_fn(move || {
            let g = self.agenda.next_owned(from)?;
            from = usize::from(g.0) + 1;
            Some(g)
        })
    }

    /// The sum of the weights of the groups that this node owns (rule 11).
    pub(super) fn weight(&self) -> u16 {
        let mut weight = self.agenda.weight;
        for g in self.agenda.touched.iter() {
            let (was, is) = (self.agenda.owned.contains(g), self.group(g).is_owner());
            if was != is {
                let weigh = if is { u16::saturating_add } else { u16::saturating_sub };
                weight = weigh(weight, self.group_config(g).weight);
            }
        }
        weight
    }

    /// The groups on their way, and perhaps others: all that may be.
    pub(super) fn maybe_busy(&self) -> impl Iterator<Item = GroupId> + '_ {
        let mut from = 0;
        std::iter::from_fn(move || {
            let g = self.agenda.next_busy(from)?;
            from = usize::from(g.0) + 1;
            Some(g)
        })
    }

    /// The groups with services that the peer left running, and perhaps others.
    pub(super) fn maybe_spared(&self) -> impl Iterator<Item = GroupId> + '_ {
        let mut from = 0;
        std::iter::from_fn(move || {
            let g = self.agenda.next_spared(from)?;
            from = usize::from(g.0) + 1;
            Some(g)
        })
    }

    /// The first of [`Self::maybe_owned`] from `from` on.
    pub(super) fn next_maybe_owned(&self, from: usize) -> Option<GroupId> {
        self.agenda.next_owned(from)
    }

    /// The groups that are tied to `g`, itself among them, in their order.
    pub(super) fn tied(&self, g: GroupId) -> impl Iterator<Item = GroupId> + '_ {
        let tied = self.agenda.ties.tied(g);
        tied.iter().copied().chain(tied.is_empty().then_some(g))
    }
}
