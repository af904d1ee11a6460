//! What operators and programs read: the engine's snapshot and events with names instead of numbers.

use super::names::Names;
use super::policy::{OrderReport, PolicyReport};
use crate::engine::{ArbiterState, Event, EventKind, GroupStatus, Status};
use crate::explain::{Answer, OpenQuestion};
use crate::{Instant, SetRecord};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A snapshot of a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StatusReport {
    /// The cluster's name.
    pub cluster: String,
    /// This node's name.
    pub node: String,
    /// This node's life, 32 hexadecimal digits.
    pub incarnation: String,
    /// The other node as seen from here.
    pub peer: PeerReport,
    /// The groups, in the order of the configuration.
    pub groups: Vec<GroupReport>,
    /// What operators ordered about standby and maintenance, as this node knows it.
    #[serde(default)]
    pub orders: Vec<OrderReport>,
}

/// The other node in a [`StatusReport`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PeerReport {
    /// Its name.
    pub node: String,
    /// `unknown`, `alive`, `suspect`, `dead`, `unreachable` or `gone`.
    pub state: String,
    /// Its life, 32 hexadecimal digits, if one was accepted.
    pub incarnation: Option<String>,
    /// The links, in the order of the configuration.
    pub links: Vec<LinkReport>,
    /// Whether its fence device was caught lying: it proves nothing until an operator trusts it again.
    pub fence_lied: bool,
}

/// A link in a [`StatusReport`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LinkReport {
    /// Its name.
    pub link: String,
    /// `silent`, `half-open`, `up`, `suspect` or `dead`.
    pub state: String,
    /// Why the last frame that was not believed was refused, or that both nodes are configured differently; none if
    /// nothing was refused yet.
    #[serde(default)]
    pub last_refusal: Option<String>,
}

/// A group in a [`StatusReport`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GroupReport {
    /// Its name.
    pub group: String,
    /// `waiting`, `standby`, `claiming`, `starting`, `active`, `suspended`, `stopping` or `blocked`.
    pub role: String,
    /// The epoch: of the grant where this node owns the group, else the highest known.
    pub epoch: u64,
    /// The proof on which the present grant rests.
    pub proof: Option<String>,
    /// The proof on which it acknowledges alone.
    pub exclusion: Option<String>,
    /// `none`, `full`, `catching-up` or `standalone`.
    pub protection: String,
    /// Whether this node could take over at once.
    pub viable: bool,
    /// The durable in-sync set.
    pub set: SetRecord,
    /// What the operator is asked, if anything.
    pub question: Option<QuestionReport>,
    /// Why it is where it is.
    #[serde(default)]
    pub policy: PolicyReport,
}

/// An open question in a [`GroupReport`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QuestionReport {
    /// A short name, for example `no-stop-proof`.
    pub kind: String,
    /// One sentence.
    pub text: String,
    /// Why the node does not decide it by itself: each way, and what is missing for it.
    #[serde(default)]
    pub missing: Vec<String>,
    /// What can be answered (see [`Node::answer`](super::Node::answer)), what each answer does and what it risks.
    #[serde(default)]
    pub answers: Vec<Answer>,
}

impl QuestionReport {
    fn new(question: crate::engine::Question, open: Option<&OpenQuestion>) -> Self {
        let (missing, answers) = open.map(|o| (o.missing.clone(), o.answers.clone())).unwrap_or_default();
        Self { kind: kebab(&question), text: question.to_string(), missing, answers }
    }
}

impl StatusReport {
    /// `refusals`: the last one of each link, or none. `questions`: those of the groups that have one.
    pub(super) fn new(
        cluster: &str,
        names: &Names,
        status: &Status,
        refusals: &[Option<String>],
        questions: &[OpenQuestion],
    ) -> Self {
        let links = (0u8..).map(crate::LinkId).zip(&status.peer.links);
        let peer = PeerReport {
            node: names.node(crate::config::Config::peer_of(status.me)),
            state: kebab(&status.peer.state),
            incarnation: status.peer.incarnation.map(|i| format!("{:032x}", i.0)),
            links: links
                .map(|(id, state)| LinkReport {
                    link: names.link(id),
                    state: kebab(state),
                    last_refusal: refusals.get(usize::from(id.0)).cloned().flatten(),
                })
                .collect(),
            fence_lied: status.peer.fence_lied,
        };
        Self {
            cluster: cluster.into(),
            node: names.node(status.me),
            incarnation: format!("{:032x}", status.incarnation.0),
            peer,
            orders: super::policy::orders(names, status),
            groups: status.groups.iter().map(|g| GroupReport::new(names, g, questions)).collect(),
        }
    }

    /// The group of that name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&GroupReport> {
        self.groups.iter().find(|g| g.group == name)
    }
}

impl GroupReport {
    fn new(names: &Names, g: &GroupStatus, questions: &[OpenQuestion]) -> Self {
        let open = questions.iter().find(|q| q.group == g.group);
        Self {
            group: names.group(g.group),
            role: kebab(&g.role),
            epoch: g.epoch.0,
            proof: g.proof.map(|p| p.to_string()),
            exclusion: g.exclusion.map(|p| p.to_string()),
            protection: kebab(&g.protection),
            viable: g.viable,
            set: g.set,
            policy: PolicyReport::new(names, g.group, &g.policy),
            question: g.question.map(|q| QuestionReport::new(q, open)),
        }
    }
}

/// Something that happened or was decided, with its reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventReport {
    /// Its number in this life of the node, from 0, without gaps.
    pub sequence: u64,
    /// When, in nanoseconds of this machine's boot clock.
    pub at_ns: u64,
    /// What kind, for example `granted`. Kinds that begin with `runtime-` come from the shell around the engine.
    pub kind: String,
    /// The group it concerns.
    pub group: Option<String>,
    /// One sentence.
    pub message: String,
    /// The same as data.
    pub fields: BTreeMap<String, String>,
}

impl EventReport {
    /// A report of the shell itself.
    pub(super) fn note(at: Instant, kind: &str, group: Option<String>, message: String) -> Self {
        let kind = format!("runtime-{kind}");
        Self { sequence: 0, at_ns: at.as_nanos(), kind, group, message, fields: BTreeMap::new() }
    }

    /// A report of the engine.
    pub(super) fn new(names: &Names, event: &Event) -> Self {
        let (kind, group, message, fields) = describe(names, &event.kind);
        let fields = fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        let group = group.map(|g| names.group(g));
        Self { sequence: 0, at_ns: event.at.as_nanos(), kind: kind.into(), group, message, fields }
    }
}

impl fmt::Display for EventReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, us) = (self.at_ns / 1_000_000_000, self.at_ns / 1000 % 1_000_000);
        write!(f, "{s}.{us:06} #{} {}: ", self.sequence, self.kind)?;
        if let Some(group) = &self.group {
            write!(f, "{group}: ")?;
        }
        f.write_str(&self.message)
    }
}

type Description = (&'static str, Option<crate::GroupId>, String, Vec<(&'static str, String)>);

fn describe(names: &Names, kind: &EventKind) -> Description {
    match *kind {
        EventKind::Link { link, state } => {
            let (link, state) = (names.link(link), kebab(&state));
            ("link", None, format!("link {link} is {state}"), vec![("link", link), ("state", state)])
        }
        EventKind::Peer { incarnation, state } => {
            let state = kebab(&state);
            let mut fields = vec![("state", state.clone())];
            fields.extend(incarnation.map(|i| ("incarnation", i.to_string())));
            ("peer", None, format!("the peer is {state}"), fields)
        }
        EventKind::Shoot => ("shoot", None, "the peer is being fenced".into(), vec![]),
        EventKind::FenceLied { incarnation } => {
            let text = format!(
                "the fence device said off, and its victim {incarnation} was heard afterwards; it proves nothing until an operator trusts it again"
            );
            ("fence-lied", None, text, vec![("incarnation", incarnation.to_string())])
        }
        EventKind::Refused { why } => {
            let why = kebab(&why);
            ("refused", None, format!("the command was refused: {why}"), vec![("why", why)])
        }
        EventKind::Timeout { edge } => {
            let edge = kebab(&edge);
            ("timeout", None, format!("a wait ended: {edge}"), vec![("edge", edge)])
        }
        EventKind::Late { gap_ms } => (
            "late",
            None,
            format!("this node itself was late by {gap_ms} ms"),
            vec![("gap_ms", gap_ms.to_string())],
        ),
        ref of_group => describe_of_group(names, of_group),
    }
}

fn describe_of_group(names: &Names, kind: &EventKind) -> Description {
    match *kind {
        EventKind::Role { group, role, epoch } => {
            let (role, epoch) = (kebab(&role), epoch.to_string());
            ("role", Some(group), format!("{role} in epoch {epoch}"), vec![("role", role), ("epoch", epoch)])
        }
        EventKind::Proof { group, proof } => {
            let fields = vec![("proof", proof.to_string()), ("evidence", format!("{proof:?}"))];
            ("proof", Some(group), format!("the previous owner can no longer act: {proof}"), fields)
        }
        EventKind::Granted { group, epoch, proof } => {
            let fields = vec![("epoch", epoch.to_string()), ("proof", proof.to_string())];
            ("granted", Some(group), format!("granted in epoch {epoch} on {proof}"), fields)
        }
        EventKind::Alone { group, generation, proof } => {
            let fields = vec![("generation", generation.to_string()), ("proof", proof.to_string())];
            (
                "alone",
                Some(group),
                format!("acknowledges alone from generation {generation} on {proof}"),
                fields,
            )
        }
        EventKind::Full { group, generation } => {
            let text = format!("both copies are members in generation {generation}");
            ("full", Some(group), text, vec![("generation", generation.to_string())])
        }
        EventKind::Asked { group, question } => {
            ("asked", Some(group), question.to_string(), vec![("question", kebab(&question))])
        }
        EventKind::Unasked { group } => {
            ("unasked", Some(group), "the question no longer stands".into(), vec![])
        }
        EventKind::Resource { group, resource, health } => {
            let (resource, health) = (names.resource(group, resource), kebab(&health));
            let text = format!("resource {resource} is {health}");
            ("resource", Some(group), text, vec![("resource", resource), ("health", health)])
        }
        EventKind::Arbiter { group, state } => {
            let text = match state {
                ArbiterState::Answers => "the arbiter answers",
                ArbiterState::Silent => "the arbiter gives no answer",
                ArbiterState::Forgot => "the arbiter lost its memory; nothing acts on its word",
            };
            ("arbiter", Some(group), text.into(), vec![("state", kebab(&state))])
        }
        EventKind::OpOverrun { group } => {
            ("op-overrun", Some(group), "an operation overran its budget".into(), vec![])
        }
        EventKind::Found { group, resource, health, cause } => {
            let (resource, health, cause) = (names.resource(group, resource), kebab(&health), kebab(&cause));
            let text = format!("resource {resource} is found {health} ({cause})");
            let fields = vec![("resource", resource), ("health", health), ("cause", cause)];
            ("found", Some(group), text, fields)
        }
        EventKind::Moving { group, reason } => {
            let reason = kebab(&reason);
            ("moving", Some(group), format!("is to be handed over: {reason}"), vec![("reason", reason)])
        }
        EventKind::Quarantined { group } => {
            let text = "failed here too often, and is not started here again until that is forgotten";
            ("quarantined", Some(group), text.into(), vec![])
        }
        EventKind::FailuresFaded { group } => {
            ("failures-faded", Some(group), "its failures here are forgotten".into(), vec![])
        }
        EventKind::Policy { scope, standby, maintenance } => {
            let (kind, name) = names.scope(scope);
            let what = match (standby, maintenance) {
                (false, false) => "is under policy again",
                (true, false) => "stands by",
                (false, true) => "is in maintenance",
                (true, true) => "stands by, in maintenance",
            };
            let name = name.map(|n| format!(" {n}")).unwrap_or_default();
            ("policy", None, format!("the {kind}{name} {what}"), vec![("scope", kind.into())])
        }
        EventKind::Detach { group, step } => {
            let step = kebab(&step);
            ("detach", Some(group), format!("running without an engine: {step}"), vec![("step", step)])
        }
        ref other => ("other", None, format!("{other:?}"), vec![]),
    }
}

/// The name of a variant without data, as it is written in JSON: `HalfOpen` becomes `half-open`.
pub(super) fn kebab(value: &impl fmt::Debug) -> String {
    let camel = format!("{value:?}");
    let mut name = String::with_capacity(camel.len() + 4);
    for (i, c) in camel.chars().take_while(|c| c.is_alphanumeric()).enumerate() {
        if c.is_uppercase() && i > 0 {
            name.push('-');
        }
        name.extend(c.to_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, GroupConfig, LinkConfig};
    use crate::engine::{LinkState, PeerState, PeerStatus, Protection, Question, RoleName};
    use crate::{Epoch, GroupId, Incarnation, LinkId, NodeId, StopProof};
    use std::sync::Arc;
    use std::time::Duration;

    fn names() -> Names {
        let link = LinkConfig::datagram("lan", Duration::from_millis(20), Duration::from_millis(200));
        Names::new(Arc::new(Config::pair("post", "left", "right").link(link).group(GroupConfig::new("mail"))))
    }

    #[test]
    fn a_status_carries_names_and_survives_json() {
        let group = GroupStatus {
            group: GroupId(0),
            role: RoleName::Blocked,
            epoch: Epoch(7),
            proof: Some(StopProof::NeverStarted),
            exclusion: None,
            protection: Protection::CatchingUp,
            viable: false,
            set: SetRecord::Never,
            question: Some(Question::NoStopProof),
            policy: crate::engine::PolicyStatus::default(),
        };
        let peer = PeerStatus {
            state: PeerState::Alive,
            incarnation: None,
            links: vec![LinkState::HalfOpen],
            fence_lied: false,
        };
        let policy = crate::PolicyRecord::default();
        let status = Status { me: NodeId(0), incarnation: Incarnation(5), peer, groups: vec![group], policy };
        let report = StatusReport::new("post", &names(), &status, &[Some("noise".into())], &[]);
        assert_eq!((report.node.as_str(), report.peer.node.as_str()), ("left", "right"));
        assert_eq!(
            report.peer.links[0],
            LinkReport { link: "lan".into(), state: "half-open".into(), last_refusal: Some("noise".into()) }
        );
        let mail = report.group("mail").unwrap();
        assert_eq!((mail.role.as_str(), mail.protection.as_str()), ("blocked", "catching-up"));
        assert_eq!(mail.question.as_ref().unwrap().kind, "no-stop-proof");
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<StatusReport>(&json).unwrap(), report);
    }

    #[test]
    fn an_event_says_what_happened_in_a_sentence_and_as_data() {
        let kind = EventKind::Granted { group: GroupId(0), epoch: Epoch(3), proof: StopProof::AssumedDead };
        let event = EventReport::new(&names(), &Event { at: Instant::from_nanos(1_002_003_000), kind });
        assert_eq!(event.to_string(), "1.002003 #0 granted: mail: granted in epoch 3 on AssumedDead");
        assert_eq!(event.fields["proof"], "AssumedDead");
        let kind = EventKind::Link { link: LinkId(0), state: LinkState::Dead };
        assert_eq!(
            EventReport::new(&names(), &Event { at: Instant::ZERO, kind }).message,
            "link lan is dead"
        );
    }
}
