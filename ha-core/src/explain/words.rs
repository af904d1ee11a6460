//! Inputs, links and spans in words.

use crate::config::Config;
use crate::engine::{Command, FenceAnswer, Input, OpResult, Statement};
use crate::{GroupId, LinkId};
use std::time::Duration;

pub(super) fn link(config: &Config, id: LinkId) -> String {
    config.links.get(usize::from(id.0)).map_or_else(|| format!("link {id}"), |l| l.name.clone())
}

pub(super) fn group(config: &Config, id: GroupId) -> String {
    config.groups.get(usize::from(id.0)).map_or_else(|| format!("group {id}"), |g| g.name.clone())
}

pub(super) fn seconds(span: Duration) -> String {
    format!("{:.3} s", span.as_secs_f64())
}

/// What the engine was fed.
pub(super) fn input(config: &Config, input: &Input) -> String {
    match input {
        Input::Tick => "nothing was heard, and time passed".into(),
        Input::Beat { link: id, beat } => {
            let said: Vec<_> = beat.statements.iter().filter_map(urgent).collect();
            let link = link(config, *id);
            if said.is_empty() {
                format!("a beat on link {link}")
            } else {
                format!("a beat on link {link}: {}", said.join(", "))
            }
        }
        Input::Released(notice) => {
            format!("the guardian of the peer's life {} spoke for it", notice.incarnation)
        }
        Input::Persisted { ok: true, .. } => "the record became durable".into(),
        Input::Persisted { ok: false, .. } => "the record could not be written".into(),
        Input::OpDone { result: OpResult::Failed, .. } => "an operation failed".into(),
        Input::OpDone { .. } => "an operation ended".into(),
        Input::Fence { answer: FenceAnswer::Off { scope }, .. } => {
            format!("the fence device answered: off ({})", kebab(scope))
        }
        Input::Fence { answer: FenceAnswer::On, .. } => "the fence device answered: on".into(),
        Input::Fence { answer: FenceAnswer::Failed, .. } => "the fence device gave no verified answer".into(),
        Input::Data { group: id, report } => format!(
            "the mirror of {} reported: durable {}, {}{}",
            group(config, *id),
            report.durable,
            if report.connected { "connected" } else { "not connected" },
            if report.stalled { ", acknowledgements stopped" } else { "" }
        ),
        Input::Outside { reachable } => format!("{reachable} outside targets are reached"),
        Input::Application { alive: true } => "the application makes progress again".into(),
        Input::Application { alive: false } => "the application makes no progress".into(),
        Input::GuardianLost => "the guardian is gone".into(),
        Input::Command(command) => format!("an operator's command: {}", words_of(config, *command)),
        #[allow(unreachable_patterns, reason = "inputs may grow")]
        other => format!("{other:?}"),
    }
}

fn words_of(config: &Config, command: Command) -> String {
    match command {
        Command::Switchover(g) => format!("switchover of {}", group(config, g)),
        Command::Shutdown => "shutdown".into(),
        Command::ConfirmPeerOff { .. } => "the peer is off".into(),
        Command::ForceCurrent { .. } => "use this copy".into(),
        Command::Surrender { .. } => "give this copy's own tail up".into(),
        Command::TrustFence => "the fence device can be trusted".into(),
        Command::ClearFailures(g) => format!("forget the failures of {}", group(config, g)),
        #[allow(unreachable_patterns, reason = "commands may grow")]
        other => format!("{other:?}"),
    }
}

/// What a beat says beyond its status.
fn urgent(statement: &Statement) -> Option<&'static str> {
    Some(match statement {
        Statement::Ask { .. } => "may I go alone?",
        Statement::Consent { .. } => "you may go alone",
        Statement::Admit { .. } => "you are admitted",
        Statement::Confirm { .. } => "am I still the owner?",
        Statement::Confirmed { .. } => "you are still the owner",
        Statement::Prepare { .. } => "a switchover is coming",
        Statement::Ready { .. } => "I am ready",
        Statement::Released { .. } => "I gave the group up",
        Statement::Want { .. } => "may I own the group?",
        Statement::Yielded { .. } => "you may own the group",
        Statement::Departing => "goodbye",
        _ => return None,
    })
}

/// The name of a variant without data, as it is written in JSON.
pub(super) fn kebab(value: &impl std::fmt::Debug) -> String {
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
