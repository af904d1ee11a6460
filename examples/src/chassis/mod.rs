//! The chassis of a node: its power switch and board controller, and never part of it.
//!
//! Where nodes share one network it is a process that adopts every descendant that loses its parent, so "off" can be
//! verified: no child is left (`power`). Where each node is a host of the test bed, the bed is the power (`host`). The
//! peer's fence device talks to the board controller; the driver has a socket of its own, which is always honest.

mod bmc;
mod fence;
mod host;
mod orders;
mod place;
pub(crate) mod power;
mod processes;
mod switch;

pub use fence::ChassisFence;
pub(crate) use host::HostPower;
pub(crate) use orders::Order;
pub use place::BmcPlace;
pub(crate) use switch::Switch;

use crate::start::{deadline, one_json_argument};
use bmc::Bmc;
use power::Power;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How the board controller answers orders to power off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum FenceMode {
    /// Kills, verifies, says so.
    Ok,
    /// Accepts connections and never answers.
    Dead,
    /// Answers late, but within the configured timeout.
    Slow,
    /// Says off and does nothing.
    Lying,
}

/// What a chassis is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ChassisConfig {
    /// The node's name.
    pub(crate) node: String,
    /// Arguments of this binary that start the node under its guardian.
    pub(crate) command: Vec<String>,
    /// Where standard error of the node goes.
    pub(crate) log: PathBuf,
    /// Where the peer's fence device finds the board controller.
    pub(crate) bmc: BmcPlace,
    /// The driver's own socket.
    pub(crate) control: PathBuf,
    /// How the board controller behaves.
    pub(crate) mode: FenceMode,
    /// How late a slow one answers, in milliseconds.
    pub(crate) slow_ms: u64,
}

/// What the chassis process says on standard output when it can be ordered.
pub(crate) const CHASSIS_READY: &str = "ready";

/// The chassis process. Its one argument is its configuration as JSON. It ends, and the node with it, when its
/// standard input does: whoever started it is gone then.
#[must_use]
pub fn main(arguments: &[String]) -> ExitCode {
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chassis: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> io::Result<()> {
    let config: ChassisConfig = one_json_argument(arguments)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let power: Arc<dyn Switch> = Arc::new(Power::new(config.command.clone(), config.log.clone()));
    open(&config, &power)?;
    println!("{CHASSIS_READY}");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    power.off(deadline(Duration::from_secs(10))).map_err(io::Error::other)
}

/// Lets the board controller and the driver reach `power`, for as long as the process lives.
pub(crate) fn open(config: &ChassisConfig, power: &Arc<dyn Switch>) -> io::Result<()> {
    let bmc = Arc::new(Bmc::new(config, Arc::clone(power)));
    let bmc_socket = config.bmc.listen()?;
    let control = std::os::unix::net::UnixListener::bind(&config.control)
        .map_err(|e| io::Error::new(e.kind(), format!("control socket {}: {e}", config.control.display())))?;
    let (of_bmc, of_driver) = (Arc::clone(&bmc), Arc::clone(power));
    std::thread::spawn(move || of_bmc.serve(&bmc_socket));
    std::thread::spawn(move || orders::serve(&control, &of_driver, &bmc));
    Ok(())
}
