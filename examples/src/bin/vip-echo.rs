//! A TCP server on every address of its host that answers each connection with its node's name, for measurements.

use clap::Parser;
use std::process::ExitCode;

/// Answers every connection with one line: the node's name.
#[derive(Parser)]
#[command(name = "vip-echo", version)]
struct Options {
    /// What it answers.
    name: String,
    /// Where it listens, on all addresses.
    #[arg(default_value_t = 7777)]
    port: u16,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match ha_examples::vip::echo::serve(&options.name, options.port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vip-echo: cannot listen on port {}: {error}", options.port);
            ExitCode::FAILURE
        }
    }
}
