//! The driver of `mail-pair`: starts the pair, delivers mail, inflicts one fault after the other, checks.
//!
//! | file | what lives there |
//! |---|---|
//! | `fault`, `inflict` | the fault table; how each fault is inflicted and mended |
//! | `shared_table`, `inflict_shared` | the same where both nodes share one store, as far as it differs |
//! | `acts`, `writes`, `ledger`, `gaps` | the pure judgements: twice active (as clients saw it, as the store did), lost, paused |
//! | `client`, `message`, `stores` | the mail: delivered, made, found again |
//! | `cluster`, `layout` | processes, sockets, directories, configuration |
//! | `enclosure` | the chassis of both nodes |
//! | `network` | what is between the nodes: loopback and relays, or namespaces and real cables; and how it is cut |
//! | `place` | the directory of a run, and its end |
//! | `stall` | what this machine itself stood still |
//! | `report` | verdict, table, JSON |

mod acts;
mod client;
mod cluster;
mod echo;
mod enclosure;
mod fault;
pub(crate) mod gaps;
mod inflict;
mod inflict_shared;
mod layout;
mod ledger;
mod message;
mod network;
mod options;
mod place;
mod report;
mod shared_table;
pub(crate) mod stall;
mod stores;
mod writes;

use crate::chassis::FenceMode;
use crate::node::Sabotage;
use crate::start::boot_ns;
use clap::Parser;
use client::{Clients, Seen};
use cluster::{Cluster, DriveError, is_whole};
use fault::{Fault, Spans};
use ha_core::timing::{Proof, prove};
use inflict::{Inflicted, WHOLE, inflict};
use layout::Layout;
use message::Recipe;
use network::{AddressSeen, NetnsError, Network};
use options::Options;
use place::{Everybody, Place, interruption};
use report::{FaultReport, Report, Row, in_ms, judged};
use stall::Probes;
use std::error::Error;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use writes::WallClock;

/// Fault-free time before the first fault and between two.
const CALM: Duration = Duration::from_millis(1200);
/// How long the standby's files may take to show what is committed.
const SETTLE: Duration = Duration::from_secs(10);

/// Runs the demonstration. Exit code 0: everything held; 1: something did not; 2: it could not be run.
#[must_use]
pub fn main() -> ExitCode {
    let options = Options::parse();
    match demonstrate(&options) {
        Ok(report) if report.passed() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mail-pair: {error}");
            ExitCode::from(2)
        }
    }
}

fn demonstrate(options: &Options) -> Result<Report, Box<dyn Error>> {
    options.check()?;
    let faults = options.faults()?;
    if options.netns {
        // Before there is a second thread: an ordinary user gets a user namespace here.
        ha_vip::testbed::enter().map_err(NetnsError::of)?;
    }
    // Whoever loses its parent here comes to this process, and is ended with it.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let interrupted = interruption()?;
    let place = Place::make(options)?;
    let _everybody = Everybody;
    let layout = Layout::new(options, &place.path, Network::make(options)?)?;
    let proof = prove(&layout.config)?;
    if !options.json {
        introduce(&layout, &proof, &faults);
    }
    let report = run(options, &layout, &faults, &proof, &interrupted)?;
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report}");
    }
    place.end(options, &report);
    Ok(report)
}

fn introduce(layout: &Layout, proof: &Proof, faults: &[Fault]) {
    println!("mail is delivered to {}, everything is in {}", layout.service(), layout.dir.display());
    println!("network: {}", layout.network.in_words());
    for notice in proof.notices.iter().map(ToString::to_string).chain(layout.notice()) {
        println!("notice: {notice}");
    }
    println!("\npredicted longest pauses");
    for fault in faults {
        let kind = fault.name().parse().ok();
        match (fault, kind) {
            (Fault::FreezeShort, _) => {
                println!("  {}", ha_core::timing::Outage::freeze_short(fault::SHORT_FREEZE));
            }
            (_, Some(kind)) => println!("  {}", proof.outage(kind)),
            (_, None) => println!("  {:<20} until a proof, or an answer", fault.name()),
        }
    }
    println!();
}

/// Tells how it goes.
struct Progress {
    quiet: bool,
    live: bool,
}

impl Progress {
    fn say(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            self.clear();
            println!("{text}");
        }
    }

    /// A line that the next one replaces.
    fn doing(&self, text: impl std::fmt::Display) {
        if self.live {
            use std::io::Write;
            print!("\r\x1b[K{text} …");
            let _ = std::io::stdout().flush();
        }
    }

    fn clear(&self) {
        if self.live {
            print!("\r\x1b[K");
        }
    }
}

/// What a run has so far.
struct Run<'a> {
    options: &'a Options,
    layout: &'a Layout,
    proof: &'a Proof,
    spans: Spans,
    recipe: Recipe,
    probes: Probes,
    progress: Progress,
    started: Instant,
    wall_clock: WallClock,
    done: Vec<Inflicted>,
}

fn run(
    options: &Options,
    layout: &Layout,
    faults: &[Fault],
    proof: &Proof,
    interrupted: &AtomicBool,
) -> Result<Report, Box<dyn Error>> {
    let progress = Progress { quiet: options.json, live: !options.json && std::io::stdout().is_terminal() };
    let echo = layout.network.open_echo().map_err(|e| format!("the outside's echo: {e}"))?;
    let _outside = echo::Echo::start(echo)?;
    let probes = Probes::start(&layout.dir)?;
    progress.doing("starting the pair");
    let watch = layout.network.watch()?;
    let cluster = Cluster::start(layout, options.fence, interrupted)?;
    for node in 0..2 {
        cluster.order(node, crate::chassis::Order::On)?;
    }
    let recipe = Recipe { seed: options.seed, bytes: usize::try_from(options.message_size)? };
    let mut run = Run {
        options,
        layout,
        proof,
        spans: Spans::of(&layout.config),
        recipe,
        probes,
        progress,
        started: Instant::now(),
        wall_clock: WallClock::now(),
        done: Vec::new(),
    };
    cluster.wait("the pair to be whole after its start", WHOLE, is_whole)?;
    let (service, host) = (layout.service(), layout.network.of_clients());
    let clients = Clients::start(service, host, recipe, options.clients, run.probes.stalls.clone())?;
    let broken_off = run.all(&cluster, &clients, faults).err().map(|e| e.to_string());
    if broken_off.is_none() {
        run.progress.doing("the last messages");
    }
    let seen = clients.stop();
    let unsettled = if broken_off.is_none() { run.settle(&cluster).err() } else { None };
    // Both nodes end before their stores are read, unless they must be asked first.
    drop(cluster);
    let address = watch.map(|watch| AddressSeen::from(watch.stop()));
    run.judge(seen, address, broken_off.or(unsettled.map(|e| e.to_string())))
}

impl Run<'_> {
    fn all(&mut self, cluster: &Cluster<'_>, clients: &Clients, faults: &[Fault]) -> Result<(), DriveError> {
        self.first_mail(cluster, clients)?;
        let from = boot_ns();
        let mut random = self.options.seed | 1;
        for fault in faults {
            self.progress.doing(format!("calm before {}", fault.name()));
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            cluster.sleep(CALM + Duration::from_millis((random >> 33) % 200))?;
            self.progress.doing(fault.name());
            let fault = self.as_the_devices_are(*fault);
            let one = inflict(cluster, fault, self.options.fence)?;
            let report = self.judge_one(&one, &clients.seen(), from);
            self.progress.say(Row(&report));
            for difference in &report.differences {
                self.progress.say(format!("    {difference}"));
            }
            self.done.push(one);
            if fault == Fault::IsolationLying {
                // Both went on alone: only an operator can make this pair whole again.
                return Ok(());
            }
        }
        self.progress.doing("calm at the end");
        cluster.sleep(CALM)?;
        cluster.sleep(self.options.least_duration().saturating_sub(self.started.elapsed()))
    }

    /// What an isolation means depends on the devices.
    fn as_the_devices_are(&self, fault: Fault) -> Fault {
        if (fault, self.options.sabotage) == (Fault::Isolation, Some(Sabotage::NoFence)) {
            return Fault::IsolationLying;
        }
        match (fault, self.options.fence) {
            (Fault::Isolation, FenceMode::Dead) => Fault::IsolationNofence,
            (Fault::Isolation, FenceMode::Lying) => Fault::IsolationLying,
            _ => fault,
        }
    }

    fn first_mail(&self, cluster: &Cluster<'_>, clients: &Clients) -> Result<(), DriveError> {
        let limit = Duration::from_secs(10);
        let until = Instant::now() + limit;
        while clients.seen().acknowledged.is_empty() {
            if Instant::now() >= until {
                let saw = cluster::in_words(&cluster.statuses());
                return Err(DriveError::Waited { what: "the first 250".into(), limit, saw });
            }
            cluster.sleep(Duration::from_millis(10))?;
        }
        Ok(())
    }

    fn judge_one(&self, one: &Inflicted, seen: &Seen, from: u64) -> FaultReport {
        let mut times = seen.acknowledged.clone();
        times.sort_unstable();
        let gap = self.fault_free_gap(&times, Some(one), from);
        judged(one, &self.spans, self.proof, &times, gap, &self.probes.stalls)
    }

    fn fault_free_gap(&self, times: &[u64], newest: Option<&Inflicted>, from: u64) -> u64 {
        let begun = times.partition_point(|t| *t < from);
        let windows: Vec<_> = self.done.iter().chain(newest).map(|i| (i.from_ns, i.to_ns)).collect();
        gaps::longest_outside(times.get(begun..).unwrap_or_default(), &windows)
    }

    /// Waits until both trees show the same.
    fn settle(&self, cluster: &Cluster<'_>) -> Result<(), DriveError> {
        self.progress.doing("comparing the stores");
        if self.done.last().is_some_and(|one| one.fault == Fault::IsolationLying) {
            return Ok(());
        }
        cluster.wait("the pair to be whole at the end", WHOLE, is_whole)?;
        let until = Instant::now() + SETTLE;
        while self.trees()[0].as_ref().ok() != self.trees()[1].as_ref().ok() {
            if Instant::now() >= until {
                return Ok(());
            }
            cluster.sleep(Duration::from_millis(100))?;
        }
        Ok(())
    }

    fn trees(&self) -> [std::io::Result<stores::Tree>; 2] {
        [stores::read(&self.layout.tree(0)), stores::read(&self.layout.tree(1))]
    }

    fn judge(
        &self,
        mut seen: Seen,
        address: Option<AddressSeen>,
        broken_off: Option<String>,
    ) -> Result<Report, Box<dyn Error>> {
        self.progress.clear();
        let [first, second] = self.trees();
        let (first, second) = (first?, second?);
        let balance = seen
            .ledger
            .balance([&stores::copies(&first, &self.recipe), &stores::copies(&second, &self.recipe)]);
        seen.acknowledged.sort_unstable();
        let from = seen.acknowledged.first().copied().unwrap_or(0);
        let gap = self.fault_free_gap(&seen.acknowledged, None, from);
        let stalls = &self.probes.stalls;
        let stalled = |from, to| stalls.longest_ns(from, to);
        let kept = std::cell::Cell::new(0_u32);
        // A kernel sends nothing from an address that it does not have, and sends again what was not confirmed as soon as it
        // has it again: with a real address, "late" is not "acted late", unless both had it.
        let redelivered = |act: &acts::Act| {
            let left =
                act.received_ns.saturating_sub(acts::KERNEL_HOP_NS + stalled(act.at_ns, act.received_ns));
            let its = address.as_ref().is_some_and(|seen| seen.may_be_of(&act.node, left, act.received_ns));
            kept.set(kept.get() + u32::from(its));
            its
        };
        let dual = acts::dual_active_ns(&seen.acts, stalled, redelivered);
        let (written_at_once, note) = writes::judge(self.layout, self.wall_clock)?;
        let on_both = address.as_ref().map_or(0.0, |seen| seen.on_both_ms);
        let again = (kept.get() > 0).then(|| {
            format!(
                "{} replies of an older grant reached clients when their node had the address again",
                kept.get()
            )
        });
        let notes = note.into_iter().chain(again).chain(self.layout.notice()).collect();
        let faults =
            self.done.iter().map(|one| judged(one, &self.spans, self.proof, &seen.acknowledged, gap, stalls));
        let mut report = Report {
            verdict: "fail",
            mode: self.layout.mode.name(),
            network: self.layout.network.name(),
            dual_active_ms: in_ms(dual.max(written_at_once)).max(on_both),
            address,
            acknowledged: 0,
            present: 0,
            lost: 0,
            lost_in_both: 0,
            duplicates: 0,
            forbidden_duplicates: 0,
            damaged: 0,
            refused_attempts: seen.refused,
            epoch_first: seen.acts.iter().map(|a| a.epoch).min().unwrap_or(0),
            epoch_last: seen.acts.iter().map(|a| a.epoch).max().unwrap_or(0),
            stores_identical: first == second,
            longest_fault_free_gap_ms: in_ms(gap),
            longest_stall_ms: in_ms(stalls.longest_ns(0, u64::MAX)),
            seconds: self.started.elapsed().as_secs_f64(),
            faults: faults.collect(),
            failures: Vec::new(),
            notes,
        };
        report.count(&balance);
        if self.done.iter().any(|one| one.fault == Fault::IsolationLying) {
            let missing = report.lost_in_both;
            report.notes.push(format!("of what was answered 250, {missing} messages are in neither store"));
        }
        report.judge(self.options.strict, broken_off);
        write_details(&self.layout.dir, &balance, &seen.acts)?;
        Ok(report)
    }
}

/// For whoever looks into the kept directory.
fn write_details(dir: &Path, balance: &ledger::Balance, acts: &[acts::Act]) -> std::io::Result<()> {
    std::fs::write(dir.join("balance.txt"), format!("{balance:#?}\n"))?;
    let lines: String = acts
        .iter()
        .map(|a| format!("{} epoch {} checked {} received {}\n", a.node, a.epoch, a.at_ns, a.received_ns))
        .collect();
    std::fs::write(dir.join("acts.txt"), lines)
}
