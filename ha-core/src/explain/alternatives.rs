//! What else could have been done, and why it was not: from the same facts.

use super::decision::Decision;
use super::explanation::Rejected;
use super::words::kebab;
use crate::engine::{ClaimState, Evidence, GroupFacts, PeerState, Question, Refusal, StopWhy};
use crate::{FenceScope, SetRecord, StopProof};

/// The alternatives to `decision`. `e` is from the instant of the decision, its group from before it.
pub(super) fn rejected(decision: Decision, e: &Evidence) -> Vec<Rejected> {
    let mut list = Vec::new();
    match decision {
        Decision::JudgeDead => judge_dead(e, &mut list),
        Decision::Shoot => shoot(e, &mut list),
        Decision::Claim { proof } => claim(proof, e, &mut list),
        Decision::Grant { .. } => {
            list.push(Rejected::new(
                "act before the grant was durable",
                "a crash would let the epoch be used twice",
            ));
        }
        Decision::Abandon => {
            list.push(Rejected::new(
                "go on with the claim",
                "its proof was disproved, or the peer owns a higher epoch",
            ));
        }
        Decision::Follow => {
            list.push(Rejected::new(
                "claim the group",
                "the living peer owns it, and nothing proves that it stopped",
            ));
        }
        Decision::Yield { .. } => yield_to_peer(e, &mut list),
        Decision::GoAlone { proof, .. } => {
            list.push(Rejected::new(
                "go on waiting for the other copy",
                format!("{proof} proves that it can never be promoted without this one, so nobody is harmed"),
            ));
        }
        Decision::Admit { .. } => {
            list.push(Rejected::new(
                "stay alone",
                "the other copy holds everything that was acknowledged, durably",
            ));
        }
        Decision::Consent { .. } => consent(e, &mut list),
        Decision::Suspend => suspend(e, &mut list),
        Decision::Confirm => {
            list.push(Rejected::new(
                "stop the group",
                "its ownership is confirmed, or only this node's end could have ended it",
            ));
        }
        Decision::Prepare => {
            list.push(Rejected::new(
                "stop at once",
                "the peer first makes its intent durable, so that the gap is short",
            ));
        }
        Decision::Stop { why } => stop(why, e, &mut list),
        Decision::Release { .. } => {
            list.push(Rejected::new(
                "keep the epoch",
                "everything of the group is stopped; the peer may act only on this word",
            ));
        }
        Decision::Ask { question } => ask(question, e, &mut list),
        Decision::Refuse { why } => refuse(why, e, &mut list),
        Decision::Distrust => {
            list.push(Rejected::new(
                "believe the device again",
                "it said off of a life that answered afterwards; only an operator can tell why",
            ));
        }
        Decision::EndSelf { .. } => {
            list.push(Rejected::new(
                "wait longer",
                "the budget is over, and the peer's takeover is computed with it",
            ));
            list.push(Rejected::new(
                "go on without",
                "what cannot be stopped or remembered must not act: the guardian finishes it",
            ));
        }
        Decision::Depart | Decision::Reborn => {
            list.push(Rejected::new("stay", "everything is handed over or was given its time"));
        }
    }
    list
}

fn heard(e: &Evidence) -> String {
    let newest = e.links.iter().filter_map(|l| l.two_way_ms_ago).fold(f64::INFINITY, f64::min);
    if newest.is_finite() {
        format!("the newest beat that echoed us is {newest:.1} ms old")
    } else {
        "it was never heard both ways".into()
    }
}

fn judge_dead(e: &Evidence, list: &mut Vec<Rejected>) {
    let dead =
        e.links.iter().filter(|l| !l.evidence_only).map(|l| l.dead_ms + l.grace_ms).fold(0.0, f64::max);
    let why = format!(
        "every link that was up has passed its deadline ({}; the latest deadline is {dead:.0} ms)",
        heard(e)
    );
    list.push(Rejected::new("wait for another beat", why));
    let veto: Vec<_> = e
        .links
        .iter()
        .filter(|l| l.evidence_only)
        .map(|l| format!("{} is {}", l.link, kebab(&l.state)))
        .collect();
    if !veto.is_empty() {
        list.push(Rejected::new("let other evidence veto it", format!("there is none: {}", veto.join(", "))));
    }
}

fn shoot(e: &Evidence, list: &mut Vec<Rejected>) {
    let f = &e.fence;
    let slot = if f.contested {
        format!(
            "the peer may have the same reason; this is this node's own slot {} ({:.1} ms into it)",
            f.own_slot,
            f.slot_ms.unwrap_or_default()
        )
    } else {
        "by its last word the peer has no reason to shoot, so no slot is kept".into()
    };
    list.push(Rejected::new("wait for a slot", slot));
    list.push(Rejected::new(
        "take over without it",
        format!("nothing proves that the peer stopped: {}", no_proof(e)),
    ));
    let why = match e.peer.mute_ms {
        Some(mute) => format!("it is heard, but let the question pass twice ({mute:.0} ms ago)"),
        None => format!("nobody answers: {}", heard(e)),
    };
    list.push(Rejected::new("ask the peer instead", why));
}

/// Why there is no stop proof, kind by kind.
fn no_proof(e: &Evidence) -> String {
    let mut missing = Vec::new();
    if e.group.as_ref().is_none_or(|g| g.released.is_none()) {
        missing.push("no release was heard".to_owned());
    }
    if e.peer.ended.is_none() {
        missing.push("its life is not known to have ended".into());
    }
    missing.push(match (e.fence.scope, e.fence.lied) {
        (None, _) => "no fence device is configured".into(),
        (Some(_), true) => "the fence device lied before".into(),
        (Some(_), false) if e.fence.failures > 0 => {
            format!("the fence device was tried {} times in vain", e.fence.failures)
        }
        (Some(_), false) => "the fence device has not said off".into(),
    });
    if let Some(g) = &e.group
        && g.mirrored
        && !g.durable.set.is_alone()
    {
        missing.push("the own record does not say alone".into());
    }
    missing.join(", ")
}

fn claim(proof: StopProof, e: &Evidence, list: &mut Vec<Rejected>) {
    list.push(Rejected::new(
        "leave the group unserved",
        format!("{proof} proves that the owner can no longer act, and this node may use its data"),
    ));
    let unneeded = match proof {
        StopProof::Released { .. } => "the owner gave the group up by itself",
        StopProof::Fenced { .. } => "the device has said off already",
        StopProof::Rebooted { .. } => "the owner's life is over: it came back as another one",
        StopProof::Yielded { .. } | StopProof::NeverStarted => "the living peer made way",
        StopProof::StillAlone { .. } => "the own record says that nobody else can have gone on",
        StopProof::OperatorConfirmed { .. } => "an operator said that the peer is off",
        _ => "the configuration accepts a takeover without proof",
    };
    list.push(Rejected::new("fence the peer", unneeded));
    if let Some(g) = e.group.as_ref().filter(|g| g.mirrored) {
        let why = if g.member {
            "it is a member of the in-sync set".to_owned()
        } else {
            format!("{proof} needs no membership, or an operator chose it ({:?})", g.durable.set)
        };
        list.push(Rejected::new("ask an operator whether this copy is current", why));
    }
}

fn yield_to_peer(e: &Evidence, list: &mut Vec<Rejected>) {
    let why = e.group.as_ref().and_then(|g| Some((g, g.claim.as_ref()?))).map_or_else(
        || "the boot table lets the peer win".to_owned(),
        |(g, c)| {
            format!(
                "the boot table lets the peer win: it has {:?} granted {} lsn {}, this node {:?} granted {} lsn {}",
                c.set, c.epoch, c.lsn, g.durable.set, g.durable.granted, g.data.map_or(0, |d| d.durable.0)
            )
        },
    );
    list.push(Rejected::new("claim the group", why));
}

fn consent(e: &Evidence, list: &mut Vec<Rejected>) {
    list.push(Rejected::new(
        "refuse",
        "then the owner could acknowledge nothing until this node answers or is proven off",
    ));
    let heard = heard(e);
    list.push(Rejected::new("take the group over", format!("its owner lives: {heard}")));
}

fn suspend(e: &Evidence, list: &mut Vec<Rejected>) {
    let why = if e.own.application_alive {
        format!(
            "the permission ran out (this node itself was late by {:.1} ms); somebody may have taken over meanwhile",
            e.own.gap_ms
        )
    } else {
        "the application makes no progress, so its permission must not be used".into()
    };
    list.push(Rejected::new("go on", why));
    list.push(Rejected::new("stop the group", "the peer can confirm it within one round trip"));
}

fn stop(why: StopWhy, e: &Evidence, list: &mut Vec<Rejected>) {
    let viable = match e.group.as_ref().map(|g| g.peer_viable) {
        Some(true) => "the peer is alive, current and willing",
        _ => "the peer is not viable, and another owner must not wait",
    };
    list.push(match why {
        StopWhy::Restart => {
            Rejected::new("move the group", "restarts in place are left, or the peer could not take it")
        }
        StopWhy::Switchover => {
            Rejected::new("keep the group", format!("an operator asked for it, and {viable}"))
        }
        StopWhy::Handover => Rejected::new(
            "ask for consent and go on alone",
            format!(
                "the peer reaches {} outside targets and this node {}: clients would not come",
                e.peer.outside, e.own.outside
            ),
        ),
        StopWhy::Failed => {
            Rejected::new("restart in place again", format!("the limit is reached, and {viable}"))
        }
        StopWhy::Leaving => Rejected::new("keep the group", "this node ends"),
        StopWhy::Superseded => {
            Rejected::new("go on", "of two owners the higher epoch goes on; this store is kept untouched")
        }
        StopWhy::Overtaken => Rejected::new(
            "go on in this epoch",
            "the other copy takes nothing of it, and would stay apart for ever",
        ),
        StopWhy::Lapsed => Rejected::new(
            "go on suspended",
            "after the lease's end the peer may be granted the group, and both would reach the same data",
        ),
    });
}

fn ask(question: Question, e: &Evidence, list: &mut Vec<Rejected>) {
    match question {
        Question::NoStopProof | Question::TimingMismatch | Question::PeerAbsent => {
            list.push(Rejected::new("take over", no_proof(e)));
        }
        Question::NotCurrent => list.push(Rejected::new("take over", not_current(e))),
        Question::NoExclusionProof => {
            list.push(Rejected::new(
                "acknowledge alone",
                "the other copy may be promoted, and would lack what was acknowledged",
            ));
        }
        Question::Unconfirmed => {
            list.push(Rejected::new(
                "go on",
                "somebody may have taken over, and nobody can say that nobody has",
            ));
        }
        _ => list.push(Rejected::new(
            "go on",
            "every choice would lose something, and none is this node's to make",
        )),
    }
    if matches!(question, Question::NoStopProof | Question::NoExclusionProof | Question::TimingMismatch) {
        list.push(Rejected::new("fence the peer", not_fenced(e)));
    }
    if matches!(e.peer.state, PeerState::Dead | PeerState::Gone) {
        list.push(Rejected::new("ask the peer", heard(e)));
    }
}

fn not_fenced(e: &Evidence) -> String {
    match e.fence.scope {
        None => "no fence device is configured".into(),
        Some(_) if e.fence.lied => {
            "the device lied, and proves nothing until an operator trusts it again".into()
        }
        Some(_) if !e.peer.timing_fits => "the two nodes' timings do not fit, so both could shoot".into(),
        Some(FenceScope::Access) => "the device ends only its access, not its life".into(),
        Some(_) => format!("the device was tried {} times in vain", e.fence.failures),
    }
}

fn not_current(e: &Evidence) -> String {
    let Some(g) = &e.group else { return "this copy may lack data".into() };
    let diverged = g.data.is_some_and(|d| d.diverged);
    match g.durable.set {
        _ if g.failed_here => "the service failed to start here".into(),
        _ if diverged => "this copy has a tail of its own".into(),
        _ if !e.own.application_alive => "the application makes no progress".into(),
        SetRecord::Out { generation, .. } => {
            format!("this copy consented to leave generation {generation}, so its owner may have gone on")
        }
        SetRecord::Never => "this copy was never a member".into(),
        SetRecord::Both { generation } => {
            format!("this life of it was not admitted to generation {generation} by the owner's last life")
        }
        SetRecord::Alone { .. } => "another grant is newer than its own".into(),
    }
}

fn refuse(why: Refusal, e: &Evidence, list: &mut Vec<Rejected>) {
    let Some(g) = &e.group else {
        list.push(Rejected::new("do it", "nothing was asked"));
        return;
    };
    let what = match why {
        Refusal::NotOwner => format!("this node is {}", kebab(&g.role)),
        Refusal::TargetNotViable => unviable(e, g),
        Refusal::TargetNotReady => "its intent was not durable in time; the service stays where it is".into(),
        Refusal::NotAsked => match g.question {
            Some(question) => format!(
                "the standing question is {}, or the peer is heard, or another life of it was named",
                kebab(&question)
            ),
            None => "no question stands".into(),
        },
        #[allow(unreachable_patterns, reason = "refusals may grow")]
        other => kebab(&other),
    };
    list.push(Rejected::new("do it", what));
}

/// What the peer lacks to take a group over.
fn unviable(e: &Evidence, g: &GroupFacts) -> String {
    let mut lacks = Vec::new();
    if !matches!(e.peer.state, PeerState::Alive | PeerState::Unreachable) {
        lacks.push(format!("the peer is {}", kebab(&e.peer.state)));
    }
    if e.peer.departing {
        lacks.push("it leaves".into());
    }
    match &g.claim {
        None => lacks.push("it has not said what it is".into()),
        Some(c) => {
            if c.state != (ClaimState::Standby { viable: true }) {
                lacks.push(format!("it says {:?}", c.state));
            }
            if g.mirrored && c.set != g.durable.set {
                lacks.push(format!("its in-sync set is {:?}, ours {:?}", c.set, g.durable.set));
            }
            if g.mirrored && !matches!(c.set, SetRecord::Both { .. }) {
                lacks.push("its copy is no member".into());
            }
        }
    }
    if lacks.is_empty() { "no link is up both ways".into() } else { lacks.join(", ") }
}
