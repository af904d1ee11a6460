//! The few facts by which two instants of an engine are told apart, and what an imagined input would be.

use super::evidence::{StopWhy, stop_why};
use super::machine::Engine;
use super::status::role_name;
use super::{Beat, Input, PeerState, Question, RoleName, Statement};
use crate::{Epoch, GroupId, LinkId, SetRecord};

/// What an engine is, without why.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Outline {
    /// The peer as seen from here.
    pub peer: PeerState,
    /// The groups.
    pub groups: Vec<GroupOutline>,
}

/// A group in an [`Outline`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct GroupOutline {
    /// Its role.
    pub role: RoleName,
    /// Whether this node holds the grant.
    pub owner: bool,
    /// Whether its permission is suspended.
    pub suspended: bool,
    /// Why it is being stopped.
    pub stopping: Option<StopWhy>,
    /// What the operator is asked.
    pub question: Option<Question>,
    /// The epoch for which this node made way.
    pub promised: Option<Epoch>,
    /// The epoch that was given up.
    pub gave_up: Option<Epoch>,
    /// The in-sync set as it is wanted.
    pub set: SetRecord,
    /// Whether an operator's switchover is being prepared.
    pub switching: bool,
}

impl Engine {
    /// The outline of the state.
    #[must_use]
    pub fn outline(&self) -> Outline {
        let group = |g| {
            let gr = self.group(g);
            GroupOutline {
                role: role_name(gr),
                owner: gr.is_owner(),
                suspended: gr.suspended.is_some(),
                stopping: stop_why(gr.role),
                question: gr.question,
                promised: gr.promised.map(|p| p.epoch),
                gave_up: gr.released.map(|r| r.epoch),
                set: self.st.record.group(g).set,
                switching: gr.switching.is_some(),
            }
        };
        Outline { peer: self.st.peer.state, groups: self.group_ids().map(group).collect() }
    }

    /// The beat that the peer's present life would send next on `link`, echoing our newest one, with these
    /// statements. None before anything was heard of that life there.
    #[must_use]
    pub fn imagined_beat(&self, link: LinkId, statements: Vec<Statement>) -> Option<Input> {
        let path = self.st.links.get(usize::from(link.0))?;
        let incarnation = self.st.peer.incarnation()?;
        let (heard, seq) = path.heard?;
        let echo = path.sent.back().map(|(seq, _)| *seq);
        let to = Some(self.st.incarnation);
        let beat = Beat { incarnation, to, seq: seq.wrapping_add(1), echo, statements };
        (heard == incarnation).then_some(Input::Beat { link, beat })
    }

    /// What a peer that could take the group over at once would say of itself.
    #[must_use]
    pub fn imagined_viability(&self, group: GroupId) -> Option<Statement> {
        if !self.knows(group) {
            return None;
        }
        let claim = self.st.peer.claims.get(&group)?;
        let (set, state) = (self.st.durable.group(group).set, super::ClaimState::Standby { viable: true });
        Some(Statement::Claim {
            group,
            epoch: claim.epoch,
            state,
            set,
            lsn: claim.lsn,
            highest: claim.highest,
        })
    }
}

impl Engine {
    /// The write of the record that is under way.
    #[must_use]
    pub fn awaited_write(&self) -> Option<crate::WriteId> {
        self.st.write.as_ref().map(|w| w.id)
    }

    /// The stop that is under way and due first, with the name of what is stopped.
    #[must_use]
    pub fn awaited_stop(&self) -> Option<(crate::OpId, String)> {
        let stops =
            self.st.ops.iter().filter(|(_, o)| matches!(o.kind, super::OpKind::Stop | super::OpKind::Demote));
        let (id, op) = stops.min_by_key(|(_, o)| o.deadline)?;
        let resources = &self.group_config(op.group).resources;
        let name = match op.target {
            super::OpTarget::Data => "the data".to_owned(),
            super::OpTarget::Resource(r) => {
                resources.get(usize::from(r)).map(|c| c.name.clone()).unwrap_or_default()
            }
        };
        Some((*id, name))
    }
}
