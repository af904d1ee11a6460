//! The command line.

use super::address::Address;
use super::link::LinkFlag;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ha_core::FenceScope;
use ha_core::agent::{CommandFence, CommandLine, CommandLineError};
use std::path::PathBuf;
use std::time::Duration;

/// One node of a pair that guards an address, from flags alone.
#[derive(Parser, Debug)]
#[command(name = "pair-node", version)]
pub(super) struct Options {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Runs a node until SIGTERM; then it hands over, releases the address and exits with 0.
    Run(Box<RunOptions>),
    /// Asks a running node.
    Ctl(CtlOptions),
    /// Makes a key for the pair: 32 random octets in a new file of mode 0600. Copy it to the other node.
    Key {
        /// The file. It must not exist.
        file: PathBuf,
    },
    /// Calls the fence command by hand, as a node would: try it before a pair relies on it.
    Fence(FenceOptions),
}

const RUN_HELP: &str = "\
Both nodes get the same flags, mirrored: --name and --peer exchanged, the two ends of each --link exchanged. Which node is
which follows from the names, and the durations from --beat and --dead. They are proven before anything runs; a
combination that is not safe is refused with both numbers and what would mend it.

EXIT STATUS
  0  SIGTERM or SIGINT came, everything was handed over
  1  it could not run, or ended for another reason (the sentence on standard error says which)
  2  the flags are wrong, or not safe together; nothing was started

THE FENCE COMMAND gets `off NODE`, `status NODE` or `on NODE` in the places of {action} and {node}.
  off     exits with 0 only when NODE was verified off: no process AND none of its addresses reachable.
          A command that ends only processes is declared with --fence-scope processes; then each
          takeover waits for the addresses' lifetime besides.
  status  exits with 0 if NODE is on, with 2 if it was verified off. 2 counts only if nothing was printed on
          standard error: interpreters exit with 2 when they cannot run a script, and complain there.
  Any other exit status, and no exit within --fence-timeout, proves nothing.

EXAMPLE (the other node: n2, n1, and both ends of the link exchanged)
  pair-node key /etc/pair.key
  pair-node run --name n1 --peer n2 --link udp:10.78.0.1:694,10.78.0.2:694 --link serial:/dev/ttyS0,115200 \\
      --address 10.77.0.100/24@lan0 --key-file /etc/pair.key --state-dir /var/lib/pair-node \\
      --beat 20ms --dead 150ms --fence-command '/usr/local/sbin/fence {action} {node}' \\
      --control /run/pair-node.sock";

/// A node's flags.
#[derive(Args, Debug)]
#[command(after_long_help = RUN_HELP)]
pub(super) struct RunOptions {
    /// This node's name.
    #[arg(long)]
    pub(super) name: String,
    /// The other node's name.
    #[arg(long)]
    pub(super) peer: String,
    /// The pair's name; two pairs that share a key need two.
    #[arg(long, default_value = "pair-node")]
    pub(super) cluster: String,
    /// A heartbeat path: udp:LOCAL,PEER or serial:TTY,BAUD, once for each; two of different kind are better than one.
    /// NAME=… names it: needed where the two nodes see different addresses (a relay, a wildcard).
    #[arg(long = "link", value_name = "[NAME=]LINK", required = true)]
    pub(super) links: Vec<LinkFlag>,
    /// An address that is guarded: ADDRESS/PREFIX@INTERFACE, once for each. Needs CAP_NET_ADMIN, but for 127.0.0.0/8, which
    /// is for trials on one machine.
    #[arg(long = "address", value_name = "ADDRESS/PREFIX@INTERFACE", required = true)]
    pub(super) addresses: Vec<Address>,
    /// The file with the pair's key, of mode 0600; `pair-node key FILE` makes one.
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: PathBuf,
    /// Where the node remembers what it granted; it must survive reboots. Made if it is missing.
    #[arg(long, value_name = "DIR")]
    pub(super) state_dir: PathBuf,
    /// Time between two heartbeats on each link (a slow serial line takes as long as it needs).
    #[arg(long, value_name = "SPAN", default_value = "20ms", value_parser = humantime::parse_duration)]
    pub(super) beat: Duration,
    /// Silence on all links after which the peer is called dead. That alone permits nothing.
    #[arg(long, value_name = "SPAN", default_value = "200ms", value_parser = humantime::parse_duration)]
    pub(super) dead: Duration,
    #[command(flatten)]
    pub(super) proof: ProofOptions,
    /// What the fence command's "off" covers.
    #[arg(long, value_enum, default_value_t = Scope::Incarnation, requires = "fence_command")]
    pub(super) fence_scope: Scope,
    /// How long one call of the fence command may take.
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = humantime::parse_duration, requires = "fence_command")]
    pub(super) fence_timeout: Duration,
    /// How long the owner's lease lives after a renewal.
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = humantime::parse_duration, requires = "lease")]
    pub(super) lease_duration: Duration,
    /// Use a lease file without direct I/O. Two machines may then read stale data and both own the address: for trials on
    /// one machine.
    #[arg(long, requires = "lease")]
    pub(super) i_accept_stale_reads: bool,
    /// How long the kernel keeps an address that is not renewed, at most: more than 1s.
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = humantime::parse_duration)]
    pub(super) address_lifetime: Duration,
    /// Let nothing in to the addresses, and answer nobody who asks for them, so long after the last renewal of the
    /// permission: 20ms to 10s. Needs nftables in the kernel.
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration)]
    pub(super) gate: Option<Duration>,
    /// A service of the active node: a command that stays in the foreground, split into words without a shell. Started
    /// after the addresses, once for each, in this order; stopped by SIGTERM, at last by SIGKILL; restarted if it ends.
    #[arg(long = "start", value_name = "COMMAND")]
    pub(super) start: Vec<CommandLine>,
    /// How long such a service may take to stop, before it is killed in the last quarter of it.
    #[arg(long, value_name = "SPAN", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(super) stop_timeout: Duration,
    /// The unix socket for `pair-node ctl`, made with mode 0600.
    #[arg(long, value_name = "SOCKET")]
    pub(super) control: PathBuf,
    /// Run without the parent process that cleans up after a death of the node and says so to the peer. Each death then
    /// needs the fence or the lease, and what --start started may be left.
    #[arg(long)]
    pub(super) no_guardian: bool,
    /// What is logged to standard error: error, warn, info, debug, trace, or directives such as ha_core=debug.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(super) log: String,
}

/// What a takeover rests on: exactly one.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct ProofOptions {
    /// Stops the peer and verifies it: a command with {action} and {node} in it (see below).
    #[arg(long, value_name = "COMMAND", value_parser = fence_command)]
    pub(super) fence_command: Option<CommandLine>,
    /// A file or block device that both nodes reach and that says who owns the address. A blank one is initialised by the
    /// node whose name sorts first. Assumes that pauses of the host are visible to the nodes' clocks.
    #[arg(long, value_name = "FILE_OR_DEVICE")]
    pub(super) lease: Option<PathBuf>,
    /// Take a silent peer for dead. BOTH NODES MAY HAVE THE ADDRESS AT ONCE.
    #[arg(long)]
    pub(super) accept_split_brain: bool,
}

fn fence_command(text: &str) -> Result<CommandLine, CommandLineError> {
    let line: CommandLine = text.parse()?;
    CommandFence::new(line.clone()).map(|_| line)
}

/// What an "off" covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Scope {
    /// No process of the node, and none of its addresses reachable.
    Incarnation,
    /// Its processes; its addresses may live until they expire.
    Processes,
}

impl From<Scope> for FenceScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Incarnation => Self::Incarnation,
            Scope::Processes => Self::Processes,
        }
    }
}

const CTL_HELP: &str = "\
EXIT STATUS
  0  done
  1  the node refused, or does not answer
  2  the flags are wrong

STATUS AS JSON (docs/PAIR-NODE.md has every field)
  node, incarnation   this node's name and life
  active              the groups that are active here: group, epoch, proof
  groups              every group: group, role, epoch, proof, viable, question
  peer                node, state, incarnation, and for each link: link, path, state, last_refusal
  token               for each group: epoch, valid, valid_for_ms
  decisions           the last ones, the newest last: at_ns, group, decision, rule, because";

/// What is asked of a running node.
#[derive(Args, Debug)]
#[command(after_long_help = CTL_HELP)]
pub(super) struct CtlOptions {
    /// The node's --control.
    #[arg(long, value_name = "SOCKET")]
    pub(super) control: PathBuf,
    #[command(subcommand)]
    pub(super) question: CtlQuestion,
}

#[derive(Clone, Copy, Subcommand, Debug)]
pub(super) enum CtlQuestion {
    /// Who is active, on which proof, and what is seen of the peer.
    Status {
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Moves the address to the other node; asked of the active one. Ends when it has moved, or why it has not.
    Switchover,
    /// Why the node decided as it did, oldest first.
    Explain {
        /// One JSON list.
        #[arg(long)]
        json: bool,
    },
}

/// A call of the fence command by hand.
#[derive(Args, Debug)]
#[command(after_long_help = "\
EXIT STATUS
  status: 0 it is on, 2 it was verified off, 1 nobody knows; off, on: 0 done, 1 not verified")]
pub(super) struct FenceOptions {
    /// The command, with {action} and {node} in it.
    #[arg(long, value_name = "COMMAND", value_parser = fence_command)]
    pub(super) fence_command: CommandLine,
    /// How long it may take.
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = humantime::parse_duration)]
    pub(super) fence_timeout: Duration,
    /// What it is asked.
    #[arg(value_enum)]
    pub(super) action: FenceAction,
    /// Of which node.
    pub(super) node: String,
}

/// What a fence command is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum FenceAction {
    /// Is it on or off?
    Status,
    /// Stop it, and verify.
    Off,
    /// Switch it on.
    On,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }
}
