//! Proves the durations of a pair's configuration, or says what is unsafe about them, before anything runs.

use clap::Parser;
use ha_core::config::{Checked, Config};
use ha_core::timing::{Proof, Range, Violations, for_outage_budget, prove, ranges};
use serde::Serialize;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

type Failure = Box<dyn Error + Send + Sync>;

/// Prints the proof that the survivor acts after the victim, with the worst outage of every fault; or every violation
/// with the smallest change that mends it.
///
/// Exit status: 0 proven, 1 refused, 2 the file cannot be read or is not right.
#[derive(Parser)]
#[command(name = "prove")]
struct Options {
    /// The configuration of the pair, in TOML.
    file: PathBuf,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Works backwards: prints a configuration whose every outage keeps within this, for example 500ms or 2s.
    #[arg(long, value_parser = humantime::parse_duration)]
    budget: Option<Duration>,
    /// Also prints what each duration may be while the others stay.
    #[arg(long)]
    ranges: bool,
}

/// What `--json` prints.
#[derive(Serialize, Default)]
struct Answer {
    proven: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<Proof>,
    #[serde(skip_serializing_if = "Option::is_none")]
    violations: Option<Violations>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ranges: Vec<Range>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Config>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => {
            eprintln!("{}: {failure}", options.file.display());
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<bool, Failure> {
    let text = fs::read_to_string(&options.file)?;
    let mut config = (*Checked::from_toml(&text)?).clone();
    let mut answer = Answer::default();
    if let Some(budget) = options.budget {
        match for_outage_budget(&config, budget) {
            Ok(found) => {
                config = found.clone();
                answer.config = Some(found);
            }
            Err(impossible) => answer.error = Some(impossible.to_string()),
        }
    }
    if answer.error.is_none() {
        match prove(&config) {
            Ok(proof) => answer.proof = Some(proof),
            Err(violations) => answer.violations = Some(violations),
        }
    }
    answer.proven = answer.proof.is_some();
    if options.ranges && answer.proven {
        answer.ranges = ranges(&config)?;
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&answer)?)
    } else {
        print(&answer)?
    }
    Ok(answer.proven)
}

fn print(answer: &Answer) -> Result<(), Failure> {
    if let Some(config) = &answer.config {
        println!("{}", toml::to_string(config)?);
    }
    if let Some(proof) = &answer.proof {
        println!("{proof}");
    }
    if !answer.ranges.is_empty() {
        println!("each duration, the others unchanged:");
    }
    for range in &answer.ranges {
        println!("  {range}");
    }
    if let Some(violations) = &answer.violations {
        println!("not proven:\n{violations}");
    }
    if let Some(error) = &answer.error {
        println!("not possible: {error}");
    }
    Ok(())
}
