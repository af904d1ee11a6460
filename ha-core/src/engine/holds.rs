//! Standby and maintenance: operators' words that both nodes know and keep, and what they hold back.
//!
//! They hold back what policy would do: starting, stopping, moving, shooting. No safety rule asks for them: a
//! permission expires, a superseded owner stops and a stop that overruns ends the node as ever.

use super::boot_table::Verdict;
use super::machine::Engine;
use super::{EventKind, PeerState, Question, Refusal};
use crate::config::Config;
use crate::{GroupId, NodeId, PolicyFlags, PolicyScope};
use serde::{Deserialize, Serialize};

/// What keeps a node from starting a group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Hold {
    /// The node stands by.
    Standby,
    /// The cluster is in maintenance.
    Cluster,
    /// The node is in maintenance.
    Node,
    /// The group is in maintenance.
    Group,
}

impl Engine {
    fn flags(&self, scope: PolicyScope) -> PolicyFlags {
        self.st.record.policy.get(scope)
    }

    fn is_scope(&self, scope: PolicyScope) -> bool {
        match scope {
            PolicyScope::Cluster => true,
            PolicyScope::Node(n) => n.0 < 2,
            PolicyScope::Group(g) => self.knows(g),
        }
    }

    pub(super) fn order_standby(&mut self, node: NodeId, on: bool) {
        self.order_policy(PolicyScope::Node(node), |flags| flags.standby = on);
    }

    pub(super) fn order_maintenance(&mut self, scope: PolicyScope, on: bool) {
        self.order_policy(scope, |flags| flags.maintenance = on);
    }

    fn order_policy(&mut self, scope: PolicyScope, change: impl FnOnce(&mut PolicyFlags)) {
        if !self.is_scope(scope) {
            self.emit(EventKind::Refused { why: Refusal::UnknownScope });
            return;
        }
        let before = self.flags(scope);
        let mut after = before;
        change(&mut after);
        if after != before {
            after.stamp = before.stamp.saturating_add(1);
            self.keep_policy(scope, after);
        }
    }

    /// The peer's newest word. It may be newer, older, or given at the same time as ours.
    pub(super) fn take_policy(&mut self, scope: PolicyScope, theirs: PolicyFlags) {
        if !self.is_scope(scope) || theirs.stamp == 0 {
            return;
        }
        let ours = self.flags(scope);
        let merged = ours.merged(theirs);
        if merged != ours {
            self.keep_policy(scope, merged);
        }
    }

    fn keep_policy(&mut self, scope: PolicyScope, flags: PolicyFlags) {
        self.st.record.policy.set(scope, flags);
        self.agenda.record_taken = true;
        self.agenda.mark_all();
        self.emit(EventKind::Policy { scope, standby: flags.standby, maintenance: flags.maintenance });
        self.hasten_beats();
        self.again = true;
    }

    pub(super) fn is_standing_by(&self, node: NodeId) -> bool {
        self.flags(PolicyScope::Node(node)).standby
    }

    fn is_maintained(&self, node: NodeId, g: GroupId) -> Option<Hold> {
        let on = |scope| self.flags(scope).maintenance;
        if on(PolicyScope::Cluster) {
            Some(Hold::Cluster)
        } else if on(PolicyScope::Node(node)) {
            Some(Hold::Node)
        } else if on(PolicyScope::Group(g)) {
            Some(Hold::Group)
        } else {
            None
        }
    }

    /// Whether policy leaves the group alone on this node.
    pub(super) fn in_maintenance(&self, g: GroupId) -> bool {
        self.is_maintained(self.st.me, g).is_some()
    }

    /// Why this node does not start the group, if it does not.
    pub(super) fn hold(&self, g: GroupId) -> Option<Hold> {
        let own = self.flags(PolicyScope::Node(self.st.me));
        if self.is_detached_too_long(g) && !own.maintenance && !own.standby {
            return None;
        }
        // Rule 12: what the target could not run comes back, once.
        let standby = self.is_standing_by(self.st.me) && !self.failed_there(g);
        self.is_maintained(self.st.me, g).or(standby.then_some(Hold::Standby))
    }

    /// Whether the peer would not start the group.
    pub(super) fn is_held_there(&self, g: GroupId) -> bool {
        self.is_standing_by(Config::peer_of(self.st.me)) || self.is_maintained_there(g)
    }

    pub(super) fn is_maintained_there(&self, g: GroupId) -> bool {
        self.is_maintained(Config::peer_of(self.st.me), g).is_some()
    }

    /// A node in maintenance is not shot, and shoots nobody; in a maintained cluster nobody is shot at all.
    pub(super) fn shots_are_held(&self) -> bool {
        let on = |scope| self.flags(scope).maintenance;
        if self.maybe_spared().any(|g| self.is_detached_too_long(g)) {
            return on(PolicyScope::Node(self.st.me));
        }
        let nodes = self.st.record.policy.nodes.iter().any(|flags| flags.maintenance);
        nodes || on(PolicyScope::Cluster) || self.spares_in_maintenance()
    }

    /// A group that nobody owns and that this node may not start: promise it to the peer, or ask. True if held.
    pub(super) fn rest_held(&mut self, g: GroupId) -> bool {
        if self.hold(g).is_none() {
            if self.group(g).question == Some(Question::HeldByPolicy) && self.lead_serves_here(g) {
                self.unask(g);
            }
            return false;
        }
        self.want_no_more(g);
        self.answer_want(g);
        if let Some(r) = self.group(g).released {
            self.watch_successor(g, r.since, r.overdue);
        }
        let unserved = match self.st.peer.state {
            PeerState::Unknown => self.boot_wait_over(),
            PeerState::Suspect => false,
            PeerState::Dead | PeerState::Gone => true,
            PeerState::Alive | PeerState::Unreachable => {
                self.is_held_there(g)
                    || matches!(self.verdict(g), Some(Verdict::Win | Verdict::WinAlone | Verdict::Ask(_)))
            }
        };
        // Given up a moment ago: its successor is on the way.
        let handed_over = self.group(g).released.is_some_and(|r| !r.overdue);
        if unserved && !handed_over {
            self.ask_operator(g, Question::HeldByPolicy);
        } else if self.group(g).question == Some(Question::HeldByPolicy) {
            self.unask(g);
        }
        true
    }

    /// A follower whose lead does not serve here is not started here. Its lead's question speaks for both; it asks by
    /// itself where only its copy is current and the lead cannot come.
    pub(super) fn wait_for_lead(&mut self, g: GroupId) {
        self.want_no_more(g);
        self.answer_want(g);
        if let Some(r) = self.group(g).released {
            self.watch_successor(g, r.since, r.overdue);
        }
        let lead_asks = self.lead(g).is_some_and(|lead| self.group(lead).question.is_some());
        if lead_asks || self.is_left_behind(g) {
            self.ask_operator(g, Question::HeldByPolicy);
        } else {
            self.unask(g);
        }
    }
}
