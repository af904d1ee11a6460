//! A replay as text or as JSON.

use ha_core::explain::Explanation;
use ha_core::replay::{LifeVerdict, ReplayVerdict};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{self, Write};

pub(super) fn text(verdict: &ReplayVerdict, shown: &[&Explanation], brief: bool, bytes: usize) -> String {
    let mut text = String::new();
    for life in &verdict.lives {
        let _ = writeln!(text, "{}", head(life));
        for e in shown.iter().filter(|e| e.incarnation == life.incarnation) {
            let since = e.at.since(life.from).as_secs_f64();
            let whole = e.to_string();
            let told = if brief { whole.lines().next().unwrap_or_default() } else { whole.trim_end() };
            let _ = writeln!(text, "  +{since:.6}  {told}");
        }
    }
    for damage in &verdict.damage {
        let _ = writeln!(text, "{damage}");
    }
    let steps: u64 = verdict.lives.iter().map(|l| l.steps).sum();
    let actions: u64 = verdict.lives.iter().map(|l| l.actions).sum();
    let same = if verdict.lives.iter().all(|l| l.divergence.is_none()) {
        "every one as it was recorded"
    } else {
        "NOT all as they were recorded"
    };
    let _ = writeln!(
        text,
        "{} lives, {steps} steps, {actions} actions decided again, {same}; {bytes} bytes of log",
        verdict.lives.len()
    );
    text
}

fn head(life: &LifeVerdict) -> String {
    let names = &life.config.nodes;
    let name = names.get(usize::from(life.node.0)).map_or("?", |n| n.name.as_str());
    let mut head = format!(
        "node {name}, life {}, {} steps in {:.3} s",
        life.incarnation,
        life.steps,
        life.to.since(life.from).as_secs_f64()
    );
    if life.wall_ms.is_none() {
        head += "; its beginning is not in the log any more";
    }
    if life.lost > 0 {
        let _ = write!(head, "; {} steps were not recorded", life.lost);
    }
    if let Some(d) = &life.divergence {
        let _ = write!(head, "\n  DIVERGES at step {} ({:?}): {}", d.step, d.at, d.what);
    }
    head
}

pub(super) fn json(verdict: &ReplayVerdict, shown: &[&Explanation]) -> String {
    let lives: Vec<_> = verdict.lives.iter().map(life).collect();
    let all = json!({
        "same": verdict.lives.iter().all(|l| l.divergence.is_none()),
        "whole": verdict.is_whole(),
        "lives": lives,
        "damage": verdict.damage,
        "decisions": shown,
    });
    format!("{all}\n")
}

fn life(life: &LifeVerdict) -> Value {
    json!({
        "node": life.config.nodes.get(usize::from(life.node.0)).map(|n| &n.name),
        "incarnation": format!("{:032x}", life.incarnation.0),
        "from_ns": life.from.as_nanos(),
        "to_ns": life.to.as_nanos(),
        "wall_ms": life.wall_ms,
        "steps": life.steps,
        "actions": life.actions,
        "lost_steps": life.lost,
        "diverges": life.divergence.as_ref().map(|d| json!({ "step": d.step, "at_ns": d.at.as_nanos(), "what": d.what })),
    })
}

/// Prints; a reader that has seen enough is no error.
pub(super) fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
