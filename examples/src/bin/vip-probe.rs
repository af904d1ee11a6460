//! Opens a new TCP connection every 2 ms and reports, as JSON, who answered and for how long nobody did.

use clap::Parser;
use ha_examples::vip::probe::{self, Record, Settings};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Probes a service that says which node it is on (`vip-echo`) until its time is over or its standard input ends, then
/// prints one JSON object: longest gap, answers of each node, whether two nodes answered in turn, and the longest stall of
/// this machine itself.
#[derive(Parser)]
#[command(name = "vip-probe", version)]
struct Options {
    /// Address and port.
    target: SocketAddr,
    /// From one connection to the next.
    #[arg(long, default_value = "2ms", value_parser = humantime::parse_duration)]
    interval: Duration,
    /// After which a connection without an answer is given up.
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// Connections under way at most.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    under_way: u16,
    /// How long to probe; until standard input ends unless said.
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration)]
    during: Option<Duration>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut settings = Settings::new(options.target);
    (settings.interval, settings.patience) = (options.interval, options.patience);
    settings.under_way = options.under_way.into();
    let (record, over) = (Arc::new(Mutex::new(Record::default())), Arc::new(AtomicBool::new(false)));
    let stop = Arc::clone(&over);
    std::thread::spawn(move || {
        match options.during {
            Some(during) => std::thread::sleep(during),
            None => drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink())),
        }
        stop.store(true, Ordering::Relaxed);
    });
    let probed = probe::run_watched(&settings, &record, &over);
    let report = match probed {
        Ok(window) => window.report(&record.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(error) => {
            eprintln!("vip-probe: {error}");
            return ExitCode::FAILURE;
        }
    };
    match serde_json::to_string_pretty(&report) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("vip-probe: {error}"),
    }
    ExitCode::SUCCESS
}
