//! `pair-node fence`: the fence command called by hand.

use super::Failure;
use super::options::{FenceAction, FenceOptions};
use ha_core::agent::CommandFence;
use ha_core::engine::FenceAnswer;
use std::process::ExitCode;

pub(super) fn main(options: &FenceOptions) -> Result<ExitCode, Failure> {
    let fence = CommandFence::new(options.fence_command.clone()).map_err(Failure::flags)?;
    let fence = fence.with_timeout(options.fence_timeout);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    let node = options.node.as_str();
    let answer = match options.action {
        FenceAction::Status => runtime.block_on(fence.ask(node)),
        FenceAction::Off => runtime.block_on(fence.turn_off(node)),
        FenceAction::On => runtime.block_on(fence.turn_on(node)).map(|()| FenceAnswer::On),
    };
    match (answer.map_err(Failure::failed)?, options.action) {
        (FenceAnswer::Off { .. }, action) => {
            println!("{node} was verified off");
            Ok(ExitCode::from(if action == FenceAction::Status { 2 } else { 0 }))
        }
        (FenceAnswer::On, _) => {
            println!("{node} is on");
            Ok(ExitCode::SUCCESS)
        }
        (FenceAnswer::Failed, _) => Err(Failure::failed("no answer")),
    }
}
