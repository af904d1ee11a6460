//! One node of the pair: mail service, address, data, heartbeat and engine, under a guardian.
//!
//! It contains no fault switch: what happens to it happens from outside, by signals and through the cables.

mod address;
mod control;
mod data;
mod events;
mod outside;
mod run;
mod sabotage;
mod settings;
mod sidecar;
mod volatile;

pub(crate) use control::{NodeStatus, Question};
pub(crate) use events::Line as EventLine;
pub(crate) use settings::{
    ADDRESS, Data, GROUP, MAIL, MIRROR_LINK, MirrorAddresses, NodeSettings, OutsideProbe, SIDECAR,
    SharedPlace,
};
pub use settings::{Disk, Mode, Sabotage};
pub use sidecar::{Sidecar, main as sidecar_main};

use ha_core::guardian::{Entered, GuardianConfig, enter};
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// The node process. Its one argument is the file with its settings.
#[must_use]
pub fn main(arguments: &[String]) -> ExitCode {
    match guarded(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("node[{}]: {error}", std::process::id());
            ExitCode::FAILURE
        }
    }
}

fn guarded(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [file] = arguments else {
        return Err("expected one argument: the file with the node's settings".into());
    };
    let settings = NodeSettings::load(Path::new(file))?;
    let mut guardian = GuardianConfig::new(settings.dir.join("guardian"))
        .feed_limit(settings.config.timing.feed_limit)
        .links(settings.links());
    for handler in ha_vip::undo_handlers() {
        guardian = guardian.handler(handler.kind, handler.undo, handler.verify);
    }
    let Entered::Child(guardian) = enter(guardian)?;
    // Only the child comes here; it is still single-threaded.
    let filter = tracing_subscriber::EnvFilter::try_from_env("MAIL_PAIR_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = crate::log::Log::start()?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(move || log.clone())
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(run::run(Arc::new(settings), guardian));
    // A blocked disk must not keep a node that handed everything over.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    ended
}
