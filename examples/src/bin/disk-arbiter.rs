//! Makes a disk an arbiter, and shows what one says.
//!
//! `cargo run -p ha-examples --bin disk-arbiter -- init --installation 1f00… --group mail /dev/disk/by-id/…`

use clap::{Parser, Subcommand};
use ha_core::api::{Arbiter, ArbiterView, Lease, Swap};
use ha_core::{Epoch, Incarnation, InitId, NodeId};
use ha_storage_shared::{AcceptStaleReads, DiskArbiter, GroupReading, Initialisation, Inspection};
use serde_json::{Value, json};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

type Failure = Box<dyn Error + Send + Sync>;

/// Initialises, shows and measures a disk arbiter (file or block device).
#[derive(Parser)]
#[command(name = "disk-arbiter")]
struct Options {
    #[command(subcommand)]
    command: Command,
    /// One JSON object instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// Do without direct I/O. Two machines may then read stale data and both own a group: for trials on one machine.
    #[arg(long, global = true)]
    i_accept_stale_reads: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a blank file or device an arbiter. No node may be using it, on any machine.
    Init {
        /// The installation's id, 1 to 32 hexadecimal digits.
        #[arg(long)]
        installation: String,
        /// A group; once for each.
        #[arg(long = "group", required = true)]
        groups: Vec<String>,
        /// Bytes of a sector, 512 or 4096; the device's own unless said.
        #[arg(long)]
        sector: Option<u32>,
        /// Overwrite whatever the device holds.
        #[arg(long)]
        overwrite: bool,
        /// The file or device.
        file: PathBuf,
    },
    /// Shows records, leases and both nodes' slots, without writing.
    Show {
        /// The file or device.
        file: PathBuf,
    },
    /// Checks that the device serves as node 0 and node 1 and measures it, in a group that nobody owns. Both nodes must be
    /// stopped.
    Check {
        /// The group to measure in; the first one unless said.
        #[arg(long)]
        group: Option<String>,
        /// Calls of each kind.
        #[arg(long, default_value_t = 200)]
        calls: usize,
        /// The file or device.
        file: PathBuf,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if options.json {
                println!("{}", json!({"ok": false, "error": error.to_string()}));
            }
            eprintln!("disk-arbiter: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Failure> {
    let buffered = options.i_accept_stale_reads.then_some(AcceptStaleReads);
    let value = match &options.command {
        Command::Init { installation, groups, sector, overwrite, file } => {
            initialise(file, installation, groups, *sector, *overwrite, buffered)?;
            let found = DiskArbiter::inspect(file, buffered)?;
            if !options.json {
                show(&found);
            }
            serde_json::to_value(shown(&found))?
        }
        Command::Show { file } => {
            let found = DiskArbiter::inspect(file, buffered)?;
            if !options.json {
                show(&found);
            }
            serde_json::to_value(shown(&found))?
        }
        Command::Check { group, calls, file } => {
            let mut measured = check(file, group.as_deref(), (*calls).max(1), buffered).await?;
            if !options.json {
                measured.print();
            }
            measured.report()
        }
    };
    if options.json {
        println!("{value}");
    }
    Ok(())
}

fn initialise(
    file: &Path,
    installation: &str,
    groups: &[String],
    sector: Option<u32>,
    overwrite: bool,
    buffered: Option<AcceptStaleReads>,
) -> Result<(), Failure> {
    let id = u128::from_str_radix(installation, 16)
        .map_err(|_| format!("\"{installation}\" is no installation id: 1 to 32 hexadecimal digits are"))?;
    let mut wanted = Initialisation::new(InitId(id), groups);
    if let Some(bytes) = sector {
        wanted = wanted.sector(bytes);
    }
    if overwrite {
        wanted = wanted.overwrite();
    }
    if let Some(accepted) = buffered {
        wanted = wanted.buffered(accepted);
    }
    Ok(DiskArbiter::initialise(file, &wanted)?)
}

/// Identities as the digits that `init` takes: JSON numbers cannot hold them.
fn shown(found: &Inspection) -> Value {
    let groups: Vec<Value> = found.groups.iter().map(shown_group).collect();
    json!({
        "ok": true,
        "installation": format!("{:032x}", found.init.0),
        "device": format!("{:032x}", found.device),
        "sector": found.sector,
        "alignment": found.alignment,
        "groups": groups,
    })
}

fn shown_group(group: &GroupReading) -> Value {
    let record = group.record.map(|record| {
        json!({
            "epoch": record.epoch.0,
            "owner": record.owner.map(|node| node.0),
            "incarnation": format!("{:032x}", record.incarnation.0),
            "generation": record.generation.0,
            "in_sync": record.in_sync,
        })
    });
    let renewal = match group.lease {
        Lease::Held { renewal, .. } => Some(renewal),
        _ => None,
    };
    let nodes: Vec<Value> = group
        .nodes
        .iter()
        .map(|node| {
            json!({
                "node": node.node,
                "block": node.block,
                "damaged_copies": node.damaged_copies,
                "life": node.liveness.map(|liveness| format!("{:016x}", liveness.life)),
                "renewals": node.liveness.map(|liveness| liveness.renewals),
            })
        })
        .collect();
    json!({
        "name": group.name, "revision": group.revision, "record": record, "lease_held": renewal.is_some(),
        "renewal": renewal, "pending": group.pending, "nodes": nodes,
    })
}

fn show(found: &Inspection) {
    println!("installation {:032x}, device {:032x}", found.init.0, found.device);
    println!("sectors of {} bytes, direct I/O in multiples of {}", found.sector, found.alignment);
    for group in &found.groups {
        let owner = match group.record {
            Some(record) => match record.owner {
                Some(node) => format!("node {node} (life {}), epoch {}", record.incarnation, record.epoch),
                None => format!("nobody, epoch {}", record.epoch),
            },
            None => "nobody ever".into(),
        };
        let lease = match group.lease {
            Lease::Held { renewal, .. } => format!("held (renewal {renewal:#x})"),
            _ => "free".into(),
        };
        let pending = if group.pending { ", a proposal is under way" } else { "" };
        println!(
            "group \"{}\": revision {}, owner {owner}, lease {lease}{pending}",
            group.name, group.revision
        );
        for node in &group.nodes {
            let life =
                node.liveness.map_or("unreadable".into(), |liveness| format!("{:016x}", liveness.life));
            let renewals = node.liveness.map_or(0, |liveness| liveness.renewals);
            match node.block {
                Some(block) => println!(
                    "  node {}: life {life}, {renewals} renewals; write {}, knows revision {}, ballot {}, accepted {}, \
                     {} damaged copies",
                    node.node,
                    block.sequence,
                    block.revision,
                    block.ballot,
                    block.accepted,
                    node.damaged_copies
                ),
                None => println!("  node {}: life {life}; NO WHOLE COPY of its block", node.node),
            }
        }
    }
}

/// Microseconds of each call.
struct Measured {
    kinds: Vec<(&'static str, Vec<f64>)>,
}

impl Measured {
    fn rows(&mut self) -> Vec<(&'static str, f64, f64)> {
        self.kinds
            .iter_mut()
            .map(|(kind, times)| {
                times.sort_by(f64::total_cmp);
                let at = |share: usize| times.get(times.len() * share / 100).or(times.last()).copied();
                (*kind, at(50).unwrap_or_default(), at(99).unwrap_or_default())
            })
            .collect()
    }

    fn print(&mut self) {
        for (kind, median, slow) in self.rows() {
            println!("{kind:<8} median {median:>8.0} µs   99 % {slow:>8.0} µs");
        }
    }

    fn report(&mut self) -> Value {
        let rows: Vec<Value> = self
            .rows()
            .into_iter()
            .map(|(kind, median, slow)| json!({"call": kind, "median_us": median, "p99_us": slow}))
            .collect();
        json!({"ok": true, "calls": rows})
    }
}

/// Writes: the group's epoch goes on, and it ends without an owner as it began.
async fn check(
    file: &Path,
    group: Option<&str>,
    calls: usize,
    buffered: Option<AcceptStaleReads>,
) -> Result<Measured, Failure> {
    let found = DiskArbiter::inspect(file, buffered)?;
    let reading = match group {
        Some(name) => found.groups.iter().find(|group| group.name == name),
        None => found.groups.first(),
    };
    let reading = reading.ok_or("no such group on the device")?;
    if reading.record.is_some_and(|record| record.owner.is_some()) {
        return Err(format!("group \"{}\" has an owner: stop it first", reading.name).into());
    }
    let open = |node: u8| {
        let mut builder = DiskArbiter::builder(file, NodeId(node), found.init);
        if let Some(accepted) = buffered {
            builder = builder.buffered(accepted);
        }
        builder.lease(Duration::from_secs(60)).deadline(Duration::from_secs(10)).open()
    };
    let nodes = [open(0)?, open(1)?];
    measure(&nodes, &reading.name, found.init, calls).await
}

async fn measure(
    nodes: &[DiskArbiter; 2],
    group: &str,
    init: InitId,
    calls: usize,
) -> Result<Measured, Failure> {
    let [zero, one] = nodes;
    let life = Incarnation(u128::from(std::process::id()));
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    let [reads, renewals, swaps] = &mut times;
    let mut view = one.read(group).await?;
    for round in 0..calls {
        // Both nodes in turn, so that each one finds what the other left.
        let (id, node) = if round % 2 == 0 { (NodeId(0), zero) } else { (NodeId(1), one) };
        let began = Instant::now();
        view = node.read(group).await?;
        reads.push(micros(began));
        let mut record = ha_core::api::OwnerRecord::new(init, life);
        record.epoch = view.record.map_or(Epoch(1), |record| record.epoch.next());
        record.owner = Some(id);
        let began = Instant::now();
        swap(node, group, &view, record).await?;
        swaps.push(micros(began));
        let began = Instant::now();
        if !node.renew(group, life, record.epoch).await? {
            return Err("a renewal was refused: somebody else uses the group".into());
        }
        renewals.push(micros(began));
        view = node.read(group).await?;
    }
    if let Some(mut record) = view.record {
        record.owner = None;
        swap(zero, group, &view, record).await?;
    }
    let [reads, renewals, swaps] = times;
    Ok(Measured { kinds: vec![("read", reads), ("renew", renewals), ("swap", swaps)] })
}

async fn swap(
    node: &DiskArbiter,
    group: &str,
    view: &ArbiterView,
    record: ha_core::api::OwnerRecord,
) -> Result<(), Failure> {
    match node.swap(group, view.revision, record).await? {
        Swap::Done { .. } => Ok(()),
        _ => Err("a swap was lost: somebody else uses the group".into()),
    }
}

fn micros(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e6
}
