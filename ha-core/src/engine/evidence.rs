//! The facts on which an engine decides, as values for people: every age measured at the instant of asking.

use super::machine::Engine;
use super::state::{EndedHow, Role, Why};
use super::status::role_name;
use super::{ClaimState, DataReport, LinkState, PeerState, Question, RoleName};
use crate::config::Config;
use crate::{
    Epoch, ExclusionProof, FenceScope, GroupId, GroupRecord, Incarnation, Instant, Lsn, SetRecord, StopProof,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What an engine knows at an instant. Durations are in milliseconds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// This node.
    pub own: OwnFacts,
    /// The other one.
    pub peer: PeerFacts,
    /// The heartbeat paths, in the order of the configuration.
    pub links: Vec<LinkFacts>,
    /// The fence device.
    pub fence: FenceFacts,
    /// The group that the question is about.
    pub group: Option<GroupFacts>,
}

/// This node in [`Evidence`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OwnFacts {
    /// Its name.
    pub node: String,
    /// Its life.
    pub incarnation: Incarnation,
    /// The age of this life.
    pub up_ms: f64,
    /// The sum of weights of the groups that it owns (rule 11).
    pub weight: u16,
    /// How many outside targets it reaches.
    pub outside: u8,
    /// The longest gap of its control thread within the last second.
    pub gap_ms: f64,
    /// Whether the application makes progress.
    pub application_alive: bool,
    /// Whether it is handing everything over.
    pub leaving: bool,
    /// Whether something of an earlier life may be left.
    pub leftovers: bool,
    /// Whether the configuration accepts takeovers without proof.
    pub unguarded: bool,
    /// Whether a write of the record is under way, and since when it is late if it is.
    pub writing: bool,
}

/// The other node in [`Evidence`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PeerFacts {
    /// Its name.
    pub node: String,
    /// Its state.
    pub state: PeerState,
    /// Its life, if one was accepted.
    pub incarnation: Option<Incarnation>,
    /// How that life was proven to have ended.
    pub ended: Option<String>,
    /// How long ago.
    pub ended_ms_ago: Option<f64>,
    /// Whether it said goodbye.
    pub departing: bool,
    /// Since when it lets questions pass unanswered.
    pub mute_ms: Option<f64>,
    /// The weight that it says it has.
    pub weight: u16,
    /// The weight that it last heard of this node.
    pub knows_weight: Option<u16>,
    /// How many outside targets it reaches.
    pub outside: u8,
    /// Whether its timings fit ours.
    pub timing_fits: bool,
    /// How long ago our newest beat known to be echoed was sent.
    pub echoed_ms_ago: Option<f64>,
}

/// A heartbeat path in [`Evidence`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LinkFacts {
    /// Its name.
    pub link: String,
    /// Its state.
    pub state: LinkState,
    /// The age of the newest beat heard.
    pub heard_ms_ago: Option<f64>,
    /// The age of the newest beat that echoed one of ours.
    pub two_way_ms_ago: Option<f64>,
    /// The silence after which it is suspect.
    pub suspect_ms: f64,
    /// The silence after which it is dead.
    pub dead_ms: f64,
    /// By how much this node's own gaps extend both.
    pub grace_ms: f64,
    /// Whether it can only veto a death.
    pub evidence_only: bool,
}

/// The fence device in [`Evidence`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FenceFacts {
    /// What the device ends; none is configured if absent.
    pub scope: Option<FenceScope>,
    /// Whether it was caught lying.
    pub lied: bool,
    /// How often it was tried in vain since the peer died.
    pub failures: u32,
    /// Whether it is being asked.
    pub asking: bool,
    /// Whether a shot is under way.
    pub shooting: bool,
    /// The slot of rule 11 at this instant, from zero on.
    pub slot: Option<u64>,
    /// How far into it.
    pub slot_ms: Option<f64>,
    /// This node's own slot that has come, or comes next.
    pub own_slot: u64,
    /// Whether the peer may have a reason to shoot too, by its last word.
    pub contested: bool,
}

/// A group in [`Evidence`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GroupFacts {
    /// Its name.
    pub group: String,
    /// Whether its data is mirrored.
    pub mirrored: bool,
    /// Its role here.
    pub role: RoleName,
    /// Why it is being stopped, if it is.
    pub stopping: Option<StopWhy>,
    /// The grant of this node, zero if it does not own the group.
    pub epoch: Epoch,
    /// The proof on which that rests.
    pub proof: Option<StopProof>,
    /// The proof on which this node acknowledges alone.
    pub exclusion: Option<ExclusionProof>,
    /// The record as it is wanted.
    pub record: GroupRecord,
    /// The record as it is durable.
    pub durable: GroupRecord,
    /// How long the permission is still valid.
    pub permitted_ms: Option<f64>,
    /// Since when it is suspended.
    pub suspended_ms: Option<f64>,
    /// What the peer says of itself.
    pub claim: Option<ClaimFacts>,
    /// The life of the peer that owned last, and its grant.
    pub owner: Option<(Incarnation, Epoch)>,
    /// The grant that the peer gave up.
    pub released: Option<Epoch>,
    /// The grant that this node gave up, and waits for a successor.
    pub gave_up: Option<Epoch>,
    /// Whether this copy is a member of the in-sync set by the life that owned last.
    pub member: bool,
    /// Whether this node could take over at once.
    pub viable: bool,
    /// Whether the peer could.
    pub peer_viable: bool,
    /// Whether it failed here.
    pub failed_here: bool,
    /// The epoch for which this node made way.
    pub promised: Option<Epoch>,
    /// The state of the mirrored data.
    pub data: Option<DataReport>,
    /// Since when the live peer is asked for its consent, and how often it let that pass.
    pub asking_ms: Option<f64>,
    /// What the operator is asked.
    pub question: Option<Question>,
}

/// The peer's own word in [`GroupFacts`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClaimFacts {
    /// Its newest grant.
    pub epoch: Epoch,
    /// What it is.
    pub state: ClaimState,
    /// Its durable in-sync set.
    pub set: SetRecord,
    /// The last transaction in its copy.
    pub lsn: Lsn,
}

/// Why an owner stops its resources.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StopWhy {
    /// To start them again in place.
    Restart,
    /// An operator asked for a switchover, and the target is ready.
    Switchover,
    /// The peer sees more of the outside.
    Handover,
    /// They failed here, and the peer can run them.
    Failed,
    /// This node leaves.
    Leaving,
    /// The peer owns a higher epoch.
    Superseded,
    /// The lease of shared data ran out, and nobody renews it.
    Lapsed,
    /// The other copy knows an epoch above this one's.
    Overtaken,
}

impl Engine {
    /// What this engine knows at `now`, in general and of `group`.
    #[must_use]
    pub fn evidence(&self, group: Option<GroupId>, now: Instant) -> Evidence {
        let group = group.filter(|g| self.knows(*g)).map(|g| self.group_facts(g, now));
        Evidence {
            own: self.own_facts(now),
            peer: self.peer_facts(now),
            links: self.link_facts(now),
            fence: self.fence_facts(),
            group,
        }
    }

    fn node_name(&self, id: crate::NodeId) -> String {
        self.cfg.nodes.get(usize::from(id.0)).map_or_else(|| id.to_string(), |n| n.name.clone())
    }

    fn own_facts(&self, now: Instant) -> OwnFacts {
        let st = &self.st;
        let recent = now.since(st.stall_at) <= Duration::from_secs(1);
        OwnFacts {
            node: self.node_name(st.me),
            incarnation: st.incarnation,
            up_ms: ms(now.since(st.started)),
            weight: self.weight(),
            outside: st.outside,
            gap_ms: if recent { ms(st.stall) } else { 0.0 },
            application_alive: st.application_alive,
            leaving: st.leaving.is_some(),
            leftovers: st.predecessor == super::Predecessor::Leftovers,
            unguarded: self.cfg.is_unguarded(),
            writing: st.write.is_some(),
        }
    }

    fn peer_facts(&self, now: Instant) -> PeerFacts {
        let peer = &self.st.peer;
        let ended = peer.current().and_then(|l| l.ended);
        PeerFacts {
            node: self.node_name(Config::peer_of(self.st.me)),
            state: peer.state,
            incarnation: peer.incarnation(),
            ended: ended.map(|e| how_ended(e.how)),
            ended_ms_ago: ended.map(|e| ms(now.since(e.at))),
            departing: peer.departing,
            mute_ms: peer.mute_since.map(|at| ms(now.since(at))),
            weight: peer.weight,
            knows_weight: peer.my_weight_there,
            outside: peer.outside,
            timing_fits: self.timing_fits(),
            echoed_ms_ago: self.last_echoed().map(|at| ms(now.since(at))),
        }
    }

    fn link_facts(&self, now: Instant) -> Vec<LinkFacts> {
        let ago = |at: Option<Instant>| at.map(|at| ms(now.since(at)));
        let links = self.st.links.iter().zip(&self.cfg.links);
        let facts = links.map(|(l, c)| LinkFacts {
            link: c.name.clone(),
            state: l.state,
            heard_ms_ago: ago(l.last_heard),
            two_way_ms_ago: ago(l.two_way),
            suspect_ms: ms(c.suspect),
            dead_ms: ms(c.dead),
            grace_ms: ms(l.grace),
            evidence_only: c.evidence_only,
        });
        facts.collect()
    }

    fn fence_facts(&self) -> FenceFacts {
        let fence = &self.st.fence;
        let slot = self.slot_now();
        FenceFacts {
            scope: self.cfg.fence.as_ref().map(|f| f.scope),
            lied: fence.liar,
            failures: fence.failures,
            asking: fence.query.is_some(),
            shooting: fence.shot.is_some(),
            slot: slot.map(|(slot, _)| slot),
            slot_ms: slot.map(|(_, into)| ms(into)),
            own_slot: self.own_slot(),
            contested: self.group_ids().any(|g| self.peer_may_have_reason(g)),
        }
    }

    fn group_facts(&self, g: GroupId, now: Instant) -> GroupFacts {
        let (gr, c) = (self.group(g), self.group_config(g));
        let claim = self.st.peer.claims.get(&g);
        GroupFacts {
            group: c.name.clone(),
            mirrored: c.mirrored,
            role: role_name(gr),
            stopping: stop_why(gr.role),
            epoch: gr.epoch,
            proof: gr.proof,
            exclusion: gr.exclusion,
            record: self.st.record.group(g),
            durable: self.st.durable.group(g),
            permitted_ms: gr.is_permitted().then(|| ms(self.valid_until(gr).since(now))),
            suspended_ms: gr.suspended.map(|s| ms(now.since(s.since))),
            claim: claim.map(|c| ClaimFacts { epoch: c.epoch, state: c.state, set: c.set, lsn: c.lsn }),
            owner: gr.owner,
            released: gr.release.map(|r| r.epoch),
            gave_up: gr.released.map(|r| r.epoch),
            member: self.is_member(g),
            viable: self.is_viable(g),
            peer_viable: self.peer_is_viable(g),
            failed_here: gr.failed_here,
            promised: gr.promised.map(|p| p.epoch),
            data: c.mirrored.then_some(gr.data),
            asking_ms: gr.ask.map(|a| ms(now.since(a.since))),
            question: gr.question,
        }
    }
}

pub(super) const fn stop_why(role: Role) -> Option<StopWhy> {
    match role {
        Role::Stopping { why, .. } => Some(match why {
            Why::Restart => StopWhy::Restart,
            Why::Switchover => StopWhy::Switchover,
            Why::Handover => StopWhy::Handover,
            Why::Failed => StopWhy::Failed,
            Why::Leaving => StopWhy::Leaving,
            Why::Superseded => StopWhy::Superseded,
            Why::Lapsed => StopWhy::Lapsed,
            Why::Overtaken => StopWhy::Overtaken,
        }),
        Role::Waiting | Role::Standby | Role::Claiming { .. } | Role::Starting { .. } | Role::Active => None,
    }
}

fn how_ended(how: EndedHow) -> String {
    match how {
        EndedHow::Fenced(scope) => format!("fenced ({scope:?})"),
        EndedHow::Guardian => "ended by its guardian".into(),
        EndedHow::Departed => "departed".into(),
        EndedHow::Rebooted(incarnation) => format!("came back as {incarnation}"),
        EndedHow::Operator => "off, says an operator".into(),
    }
}

/// Milliseconds, to the microsecond.
fn ms(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}
