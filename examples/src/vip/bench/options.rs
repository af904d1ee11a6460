//! The command line.

use super::event::Events;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Measures how long an address does not answer, and for how long it is on both nodes, from a client behind a router in a data
/// centre of network namespaces: for Debian's keepalived and for pair-node, the same events, interleaved.
///
/// Needs root or permitted user namespaces, ip, nft, and keepalived for the comparison.
///
/// Exit status: 0, all was measured; 3, some trials could not be (they are listed); 1, nothing could.
#[derive(Parser, Debug)]
#[command(name = "vip-bench", version, args_conflicts_with_subcommands = true)]
pub(super) struct Options {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    /// Trials of each event with each software
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) trials: u32,
    /// Which events: a list of power-loss, kill, kill-all, switchover, freeze-300ms, freeze-1s, freeze-3s, heartbeat-cut
    #[arg(long, default_value_t = Events::default(), value_name = "LIST")]
    pub(super) events: Events,
    /// Which software
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Which::Keepalived, Which::PairNode])]
    pub(super) software: Vec<Which>,
    /// What pair-node's takeovers rest on
    #[arg(long, value_enum, default_value_t = Proof::Fence)]
    pub(super) proof: Proof,
    /// Time between two heartbeats of pair-node
    #[arg(long, default_value = "20ms", value_parser = humantime::parse_duration)]
    pub(super) beat: Duration,
    /// Silence after which pair-node calls its peer dead
    #[arg(long, default_value = "150ms", value_parser = humantime::parse_duration)]
    pub(super) dead: Duration,
    /// Time between two adverts of keepalived, which takes over after three of them and some
    #[arg(long, default_value = "50ms", value_parser = humantime::parse_duration)]
    pub(super) advert: Duration,
    /// How long the fence device waits, beside what switching off and verifying take
    #[arg(long, default_value = "5ms", value_parser = humantime::parse_duration)]
    pub(super) fence_delay: Duration,
    /// More flags for pair-node run
    #[arg(long = "pair-node-flag", value_name = "FLAG", allow_hyphen_values = true)]
    pub(super) pair_node_flags: Vec<String>,
    /// The pair-node to measure; the one beside this program otherwise
    #[arg(long, value_name = "FILE")]
    pub(super) pair_node: Option<PathBuf>,
    /// The keepalived to measure
    #[arg(long, value_name = "FILE", default_value = "keepalived")]
    pub(super) keepalived: PathBuf,
    /// Keep logs of every trial in this directory
    #[arg(long, value_name = "DIR")]
    pub(super) keep: Option<PathBuf>,
    /// Print every trial as JSON instead of the table
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// The fence command of the bed's nodes: asks a running vip-bench to switch a host.
    FenceHelper(FenceOptions),
}

/// `off` exits with 0 only when the node is verified off: no process, links down. `status`: 0 on, 2 off.
#[derive(Args, Debug)]
pub(super) struct FenceOptions {
    /// Where vip-bench listens
    #[arg(long)]
    pub(super) socket: PathBuf,
    /// What to do
    #[arg(value_enum)]
    pub(super) action: Action,
    /// To which node
    pub(super) node: String,
}

/// What a fence device can do.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub(super) enum Action {
    /// Switch off, and verify.
    Off,
    /// On or off?
    Status,
    /// Switch on.
    On,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub(super) enum Which {
    /// Debian's keepalived with one VRRP instance
    Keepalived,
    /// This project's
    PairNode,
}

/// What takeovers rest on.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub(super) enum Proof {
    /// The bed's power switch
    Fence,
    /// A lease in a file that both nodes reach
    Lease,
    /// Nothing: both may be active
    SplitBrain,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
        let helper = Options::parse_from(["vip-bench", "fence-helper", "--socket", "/s", "off", "n1"]);
        assert!(
            matches!(helper.command, Some(Command::FenceHelper(f)) if f.action == Action::Off && f.node == "n1")
        );
    }
}
