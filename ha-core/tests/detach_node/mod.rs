//! A whole node under its guardian, whose service is a process in a session of its own.

use crate::runtime_support::{config, ms, open_store, udp_between};
use async_trait::async_trait;
use ha_core::api::{Ctx, Resource, ResourceError};
use ha_core::config::{Config, TimingConfig};
use ha_core::engine::Health;
use ha_core::guardian::{Entered, GuardianClient, GuardianConfig, enter, process_group_undo};
use ha_core::runtime::{EventItem, Node};
use ha_core::store::{FileStateStore, medium::RealMedium};
use ha_core::wire::PairKey;
use ha_core::{GroupId, InitId, NodeId, StoreId};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio::sync::mpsc;

const LINK: &str = "lan";

fn pair_config() -> Config {
    let mut config = config();
    config.links.retain(|l| l.name == LINK);
    config.groups[0].resources[0].outlives_engine = true;
    config.groups[0].resources[0].monitor_interval = ms(200);
    config.timing = TimingConfig::for_links(&config.links, config.fence.as_ref());
    config
}

pub fn initialise(dir: &Path, me: u8) {
    let medium = Arc::new(RealMedium::create(dir.join("state")).unwrap());
    drop(FileStateStore::initialise(medium, InitId(7), StoreId(u128::from(me) + 1)).unwrap());
}

/// Whether the process is there and not a zombie.
pub fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z'))
}

fn append(path: &Path, line: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    writeln!(file, "{line}").unwrap();
}

/// A process that is found by what is written of it, not by a handle.
struct Sleeper {
    dir: PathBuf,
    guardian: GuardianClient,
}

impl Sleeper {
    fn running(&self) -> Option<u32> {
        let pid = std::fs::read_to_string(self.dir.join("service.pid")).ok()?.trim().parse().ok()?;
        lives(pid).then_some(pid)
    }

    /// Held back until its undo step is stored.
    #[allow(clippy::zombie_processes, reason = "it outlives this process, and is the guardian's to reap")]
    fn begin(&self) -> Result<u32, String> {
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let mut held = Command::new("setsid")
            .args(["sh", "-c", "echo up; read go; exec sleep 1000 <&- >&-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| text(&e))?;
        let mut line = String::new();
        BufReader::new(held.stdout.take().unwrap()).read_line(&mut line).map_err(|e| text(&e))?;
        let undo = process_group_undo(held.id()).map_err(|e| text(&e))?;
        self.guardian.remember(undo, Some(GroupId(0))).map_err(|e| text(&e))?;
        std::fs::write(self.dir.join("service.pid"), held.id().to_string()).map_err(|e| text(&e))?;
        held.stdin.take().unwrap().write_all(b"go\n").map_err(|e| text(&e))?;
        Ok(held.id())
    }
}

#[async_trait]
impl Resource for Sleeper {
    fn name(&self) -> &str {
        "smtp"
    }
    fn outlives_engine(&self) -> bool {
        true
    }
    async fn start(&self, _: &Ctx) -> Result<(), ResourceError> {
        append(&self.dir.join("calls"), "start");
        self.begin().map(drop).map_err(|e| ResourceError::new("smtp", e))
    }
    async fn stop(&self, _: &Ctx) -> Result<(), ResourceError> {
        append(&self.dir.join("calls"), "stop");
        if let Some(pid) = self.running() {
            let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
            while lives(pid) {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
    async fn monitor(&self, _: &Ctx) -> Health {
        if self.running().is_some() { Health::Running } else { Health::Stopped }
    }
}

/// `main` of the node: directory, number, both ports.
pub fn main(arguments: &[String]) -> ! {
    let [dir, me, left, right] = arguments else { panic!("expected four arguments") };
    let (dir, me) = (PathBuf::from(dir), me.parse::<u8>().unwrap());
    let mut ports: [u16; 2] = [left.parse().unwrap(), right.parse().unwrap()];
    ports.rotate_left(usize::from(me));
    let reports = dir.join("reports");
    let guardian = GuardianConfig::new(dir.join("run"))
        .feed_limit(pair_config().timing.feed_limit)
        .reporter(move |report| append(&reports, &report.to_string()));
    let Entered::Child(client) = enter(guardian).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(serve(client, dir, me, ports));
    std::process::exit(0)
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

fn listen() -> mpsc::UnboundedReceiver<String> {
    let (send, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| send.send(line))
    });
    lines
}

async fn serve(client: GuardianClient, dir: PathBuf, me: u8, ports: [u16; 2]) {
    let service = Sleeper { dir: dir.clone(), guardian: client.clone() };
    let node = Node::builder(pair_config().check().unwrap().arc(), NodeId(me))
        .key(PairKey::from_bytes(&[9; 32]).unwrap())
        .resource("mail", Arc::new(service))
        .guardian(client)
        .store(Box::new(open_store(&dir.join("state"))))
        .link(udp_between(LINK, ports[0], ports[1]))
        .spawn()
        .await
        .unwrap();
    let mut lines = listen();
    say(&format!("ready {}", std::process::id()));
    let mut status = node.status();
    let mut said = String::new();
    loop {
        let group = status.borrow_and_update().group("mail").cloned().unwrap();
        let now = format!("role {} {}", group.role, group.epoch);
        if now != said {
            say(&now);
            said = now;
        }
        tokio::select! {
            ended = node.ended() => return say(&format!("ended {ended}")),
            _ = status.changed() => {}
            line = lines.recv() => obey(&node, line.as_deref()).await,
        }
    }
}

async fn obey(node: &Node, line: Option<&str>) {
    match line {
        Some("maintain") => node.maintain_node("left", true).unwrap(),
        Some("detach") => detach(node).await,
        Some("abort") => std::process::abort(),
        Some("leave") | None => {
            node.shutdown().await;
        }
        Some(other) => panic!("unknown command {other}"),
    }
}

/// Until it is not refused: the order of maintenance may not be durable yet.
async fn detach(node: &Node) {
    let mut events = node.events();
    while events.take().is_some() {}
    node.detach().unwrap();
    while let Some(item) = events.recv().await {
        match item {
            EventItem::Event(e) if e.kind == "refused" => {
                say(&e.message);
                node.detach().unwrap();
            }
            EventItem::Event(e) if e.kind == "detach" && e.fields["step"] == "left" => return,
            _ => {}
        }
    }
}
