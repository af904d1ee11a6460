//! `vip-bench`: the same events for keepalived and for `pair-node`, each in a fresh data centre of namespaces.
//!
//! A trial builds the data centre, starts both nodes and a client behind the router, waits until one node answers steadily,
//! lets the event happen, and waits until somebody answers steadily again. What is measured comes from the client's connections and
//! from the kernels of both nodes, never from the software under test.

mod bed;
mod event;
pub mod fence;
mod keepalived;
mod options;
mod pair_node;
mod software;
mod table;
mod trial;

use options::{Command, FenceOptions, Options, Which};
use software::Software;
use std::error::Error;
use std::process::ExitCode;
use trial::Trial;

type Failure = Box<dyn Error + Send + Sync>;

/// The whole program, from the command line on.
#[must_use]
pub fn main() -> ExitCode {
    use clap::Parser;
    let options = Options::parse();
    if let Some(Command::FenceHelper(question)) = &options.command {
        return helper(question);
    }
    // Before there is a second thread: an ordinary user gets a user namespace here.
    let result = ha_vip::testbed::enter().map_err(Failure::from).and_then(|()| measure(&options));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("vip-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn helper(question: &FenceOptions) -> ExitCode {
    match fence::ask(question) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("vip-bench fence-helper: {error}");
            ExitCode::FAILURE
        }
    }
}

/// All trials: each round has every event once for each software. Whether all of them could be measured.
fn measure(options: &Options) -> Result<bool, Failure> {
    let softwares = softwares(options)?;
    let mut trials: Vec<Trial> = Vec::new();
    for round in 0..options.trials {
        for event in &options.events.0 {
            for software in &softwares {
                let trial = trial::run(options, software.as_ref(), *event, round);
                let trial = trial.unwrap_or_else(|error| Trial::failed(software.name(), *event, &error));
                eprintln!("{}", trial.line(round + 1, options.trials));
                trials.push(trial);
            }
        }
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&trials)?);
    } else {
        print!("{}", table::markdown(&trials, &options.events.0));
    }
    Ok(trials.iter().all(|trial| trial.error.is_none()))
}

fn softwares(options: &Options) -> Result<Vec<Box<dyn Software>>, Failure> {
    let mut softwares: Vec<Box<dyn Software>> = Vec::new();
    for which in &options.software {
        softwares.push(match which {
            Which::Keepalived => Box::new(keepalived::Keepalived::find(options)?),
            Which::PairNode => Box::new(pair_node::PairNode::find(options)?),
        });
    }
    Ok(softwares)
}
