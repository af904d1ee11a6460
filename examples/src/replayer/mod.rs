//! Replays the log of a node: a timeline of decisions with their reasons.

mod moment;
mod output;

use clap::Parser;
use ha_core::config::Config;
use ha_core::explain::{Explainer, Explanation};
use ha_core::replay::{LogReader, Player, Step, replay};
use moment::Moment;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Replays the log of a node's engine and shows what it decided, when, and why.
///
/// Every input in the log is fed to a fresh engine; what it decides is compared with what was decided then. Each
/// decision is shown with its facts, its rule, what else could have been done, and what would have changed it.
///
/// Exit status: 0 if everything replays to the same decisions (a torn end of the newest file is no fault), 1 if not or
/// if parts are damaged, 2 if it is no log that this program can replay.
#[derive(Parser, Clone, Debug)]
#[command(name = "replay", version)]
struct Options {
    /// The engine.log of a node, or the node's directory; older files (engine.log.1, …) are found beside it
    log: PathBuf,
    /// Only what was decided within half a second of this instant: seconds of the boot clock ("1234.567"), or
    /// seconds since the life began ("+12.5")
    #[arg(long, value_name = "INSTANT")]
    at: Option<Moment>,
    /// Only decisions about this group (and about the whole node)
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Only one line for each decision
    #[arg(long)]
    brief: bool,
    /// Compare the log's configuration with this one (JSON, or the settings.json of a mail-pair node)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON object: lives, damage, and every decision with all its facts
    #[arg(long)]
    json: bool,
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("replay: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<bool, Box<dyn std::error::Error>> {
    let expected = options.config.as_deref().map(read_config).transpose()?;
    let log = LogReader::open(&options.log)?;
    let mut watcher = Watcher::default();
    let verdict = replay(&log, |player, step| watcher.watch(player, step))?;
    if let Some(expected) = expected {
        verdict.check_config(&expected)?;
    }
    let shown: Vec<_> = watcher.explained.iter().filter(|e| options.wants(e, &verdict)).collect();
    let text = if options.json {
        output::json(&verdict, &shown)
    } else {
        output::text(&verdict, &shown, options.brief, log.bytes())
    };
    output::print(&text)?;
    Ok(verdict.is_whole())
}

impl Options {
    fn wants(&self, e: &Explanation, verdict: &ha_core::replay::ReplayVerdict) -> bool {
        let group = self.group.as_ref().is_none_or(|g| e.group_name.as_ref().is_none_or(|name| name == g));
        let life = verdict.lives.iter().find(|l| l.incarnation == e.incarnation);
        group && self.at.is_none_or(|at| life.is_some_and(|l| at.is_near(e.at, l.from)))
    }
}

/// Explains the decisions of each life.
#[derive(Default)]
struct Watcher {
    explainer: Option<Explainer>,
    explained: Vec<Explanation>,
}

impl Watcher {
    fn watch(&mut self, player: &Player, step: &Step) {
        if player.steps() == 1 {
            self.explainer = Some(Explainer::new(player.begun()));
        }
        if let Some(explainer) = &mut self.explainer {
            self.explained.extend(explainer.observe(player.engine(), step));
        }
    }
}

/// A configuration as JSON, or the settings of a node that hold one.
fn read_config(file: &Path) -> Result<Config, Box<dyn std::error::Error>> {
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
    let text = std::fs::read_to_string(file).map_err(|e| failed(&e))?;
    let settings: serde_json::Value = serde_json::from_str(&text).map_err(|e| failed(&e))?;
    let config = settings.get("config").cloned().unwrap_or(settings);
    Ok(serde_json::from_value(config).map_err(|e| failed(&e))?)
}
