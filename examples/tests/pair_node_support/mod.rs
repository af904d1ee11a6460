//! Two `pair-node` processes on this machine, and what injures them: everything from outside, by signals.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod serial_line;

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing here takes so long; a test that waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// In the environment of every process of a node, for the fence command and for the test.
const MARK: &str = "PAIR_NODE_TEST";
/// Long enough for a machine that runs other tests beside.
const SPANS: &[&str] = &["--beat", "50ms", "--dead", "1s"];

pub fn exe() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pair-node"))
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Kills every process of a node, and says "off" when several looks in a row found nobody.
const FENCE: &str = r#"
found() { grep -lzxF "PAIR_NODE_TEST=@ID@-$1" /proc/[0-9]*/environ 2>/dev/null | sed 's|/proc/||; s|/environ||'; }
case $1 in
status) for look in 1 2 3; do [ -z "$(found $2)" ] || exit 0; done; exit 2 ;;
off)
    looks=0
    while [ $looks -lt 3 ]; do
        pids=$(found $2)
        if [ -n "$pids" ]; then kill -9 $pids; looks=0; else looks=$((looks + 1)); fi
    done
    echo $2 >> @DIR@/fenced
    exit 0 ;;
esac
exit 1
"#;

/// A service that only one may run at a time: it holds a lock, and tells who could not get it.
const SERVICE: &str = r#"sh -c 'exec 9>@DIR@/lock; if ! flock -n 9; then echo @NODE@ >> @DIR@/twice; exit 1; fi; echo "@NODE@ $HA_EPOCH" >> @DIR@/served; exec sleep 10000'"#;

pub struct Pair {
    pub dir: TempDir,
    id: String,
    ends: [String; 2],
    address: String,
    service: bool,
    /// Where each node runs; none: where the test does.
    spaces: Option<Spaces>,
    proof: Vec<String>,
    nodes: [Option<Child>; 2],
}

pub fn name(node: usize) -> String {
    format!("n{}", node + 1)
}

impl Pair {
    /// A pair that proves by the fence command of this module.
    pub fn fenced() -> Self {
        let mut pair = Self::with(&[]);
        let fence = format!("sh {} {{action}} {{node}}", pair.path("fence.sh").display());
        pair.proof = vec!["--fence-command".into(), fence, "--fence-timeout".into(), "10s".into()];
        pair
    }

    /// A pair with a network namespace for each node, and a real address.
    pub fn in_spaces(proof: &[&str]) -> Self {
        let mut pair = Self::with(proof);
        let spaces = Spaces::new();
        pair.ends = ["10.78.0.1".into(), "10.78.0.2".into()];
        pair.address = format!("{ADDRESS}/24@lan0");
        pair.spaces = Some(spaces);
        pair
    }

    pub fn space(&self, node: usize) -> &str {
        &self.spaces.as_ref().unwrap().0[node]
    }

    /// Whether the node's kernel has the address.
    pub fn has_address(&self, node: usize) -> bool {
        ip(&format!("-n {} -o addr show dev lan0", self.space(node))).contains(&format!("{ADDRESS}/"))
    }

    /// A pair that proves by these flags.
    pub fn with(proof: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().unwrap();
        let id = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = dir.path().to_str().unwrap();
        fs::write(dir.path().join("fence.sh"), FENCE.replace("@DIR@", path).replace("@ID@", &id)).unwrap();
        let ends = free_ends();
        let address = format!("{}.100/8@lo", ends[0].rsplit_once('.').unwrap().0);
        let proof = proof.iter().map(|p| (*p).into()).collect();
        let pair = Self { id, ends, address, service: true, spaces: None, proof, nodes: [None, None], dir };
        let made = exe().arg("key").arg(pair.path("key")).output().unwrap();
        assert!(made.status.success(), "{}", text(&made));
        pair
    }

    /// Other flags for what proves.
    pub fn prove_by(&mut self, proof: &[&str]) {
        self.proof = proof.iter().map(|p| (*p).into()).collect();
    }

    /// Guards the address alone.
    pub fn without_service(&mut self) {
        self.service = false;
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The flags of one node, but for what proves.
    pub fn flags(&self, node: usize) -> Vec<String> {
        let (own, other) = (&self.ends[node], &self.ends[1 - node]);
        let service =
            SERVICE.replace("@DIR@", self.dir.path().to_str().unwrap()).replace("@NODE@", &name(node));
        let at = |file: String| self.path(&file).display().to_string();
        let mut flags = vec!["--name".into(), name(node), "--peer".into(), name(1 - node)];
        for port in [6941, 6940] {
            flags.extend(["--link".into(), format!("udp:{own}:{port},{other}:{port}")]);
        }
        flags.extend(["--address".into(), self.address.clone()]);
        flags.extend([
            "--key-file".into(),
            at("key".into()),
            "--state-dir".into(),
            at(format!("{}.state", name(node))),
        ]);
        flags.extend(["--control".into(), self.control(node)]);
        if self.service {
            flags.extend(["--start".into(), service]);
        }
        flags.extend(SPANS.iter().map(|s| (*s).into()));
        flags
    }

    fn control(&self, node: usize) -> String {
        self.path(&format!("{}.sock", name(node))).display().to_string()
    }

    pub fn start(&mut self, node: usize, more: &[&str]) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path(&format!("{}.log", name(node))))
            .unwrap();
        let program = match &self.spaces {
            None => exe(),
            Some(Spaces(names)) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &names[node], env!("CARGO_BIN_EXE_pair-node")]);
                command
            }
        };
        let child = { program }
            .arg("run")
            .args(self.flags(node))
            .args(&self.proof)
            .args(more)
            .env(MARK, format!("{}-{}", self.id, name(node)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.nodes[node] = Some(child);
    }

    pub fn start_both(&mut self) {
        self.start(0, &[]);
        self.start(1, &[]);
    }

    pub fn ctl(&self, node: usize, question: &[&str]) -> Output {
        exe().args(["ctl", "--control", &self.control(node)]).args(question).output().unwrap()
    }

    pub fn status(&self, node: usize) -> Option<Value> {
        let output = self.ctl(node, &["status", "--json"]);
        output
            .status
            .success()
            .then(|| serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output))))
    }

    /// Waits until the node's status is as wanted.
    pub fn await_status(&self, node: usize, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status(node);
            match status {
                Some(status) if wanted(&status) => return status,
                _ if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
                last => panic!("{}: {what} did not come about; last: {last:#?}\n{}", name(node), self.logs()),
            }
        }
    }

    /// Waits until the node is active in `epoch`; on what proof.
    pub fn await_active(&self, node: usize, epoch: u64) -> String {
        let is_active =
            |s: &Value| s["active"].as_array().is_some_and(|a| a.iter().any(|a| a["epoch"] == epoch));
        let status = self.await_status(node, &format!("active in epoch {epoch}"), is_active);
        self.await_line("served", &format!("{} {epoch}", name(node)));
        status["active"][0]["proof"].as_str().unwrap_or_default().to_owned()
    }

    pub fn await_standby(&self, node: usize) -> Value {
        self.await_status(node, "standby", |s| {
            s["groups"][0]["role"] == "standby" && s["peer"]["state"] == "alive"
        })
    }

    /// Moves the group away from `node`, as soon as that one has heard that the other can take it.
    pub fn switched_over(&self, node: usize) -> Output {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let moved = self.ctl(node, &["switchover"]);
            let early = text(&moved).contains("target-not-viable");
            assert!(moved.status.success() || early, "{}\n{}", text(&moved), self.logs());
            if moved.status.success() {
                return moved;
            }
            assert!(Instant::now() < deadline, "{}\n{}", text(&moved), self.logs());
        }
    }

    /// The first start: which node is active, and which stands by.
    pub fn await_first(&self) -> (usize, usize) {
        assert_eq!(self.await_active(0, 1), "NeverStarted");
        self.await_standby(1);
        (0, 1)
    }

    pub fn lines(&self, file: &str) -> Vec<String> {
        fs::read_to_string(self.path(file)).unwrap_or_default().lines().map(Into::into).collect()
    }

    pub fn await_line(&self, file: &str, line: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.lines(file).iter().any(|l| l == line) {
            assert!(
                Instant::now() < deadline,
                "no {line:?} in {file}: {:?}\n{}",
                self.lines(file),
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Nobody ever found the lock taken by another one.
    pub fn assert_never_twice(&self) {
        assert_eq!(self.lines("twice"), Vec::<String>::new(), "twice active\n{}", self.logs());
    }

    pub fn logs(&self) -> String {
        (0..2)
            .map(|n| format!("--- {}\n{}", name(n), self.lines(&format!("{}.log", name(n))).join("\n")))
            .collect()
    }

    /// The process that was started: the guardian where there is one.
    pub fn outer(&self, node: usize) -> u32 {
        self.nodes[node].as_ref().unwrap().id()
    }

    /// The node under its guardian.
    pub fn inner(&self, node: usize) -> u32 {
        let outer = self.outer(node);
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap();
        children.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Everybody of the node, at one instant as near as it gets.
    pub fn everybody(&self, node: usize) -> BTreeSet<u32> {
        let mark = format!("{MARK}={}-{}", self.id, name(node)).into_bytes();
        let pids = fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
        let has = |pid: &u32| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|env| env.split(|b| *b == 0).any(|v| v == mark))
        };
        pids.filter(has).collect()
    }

    /// Ends every process of the node, as a cut of its power would.
    pub fn cut_power(&mut self, node: usize) {
        // Everybody stands still before the first one dies: who saw another one die would say goodbye, or start anew.
        let mut stopped = BTreeSet::new();
        loop {
            let found = self.everybody(node);
            if found == stopped {
                break;
            }
            signal_all(&found, "STOP");
            stopped = found;
        }
        while !stopped.is_empty() {
            signal_all(&stopped, "KILL");
            stopped = self.everybody(node);
        }
        self.wait(node);
    }

    pub fn wait(&mut self, node: usize) -> ExitStatus {
        let mut child = self.nodes[node].take().unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match child.try_wait().unwrap() {
                Some(status) => return status,
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                None => {
                    self.nodes[node] = Some(child);
                    panic!("{} does not end\n{}", name(node), self.logs());
                }
            }
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for node in 0..2 {
            if self.nodes[node].is_some() {
                self.cut_power(node);
            }
        }
    }
}

pub fn signal(pid: u32, signal: &str) {
    signal_all(&BTreeSet::from([pid]), signal);
}

/// One order for all of them.
pub fn signal_all(pids: &BTreeSet<u32>, signal: &str) {
    let pids = pids.iter().map(u32::to_string);
    let _ = Command::new("kill").arg(format!("-{signal}")).args(pids).stderr(Stdio::null()).status();
}

/// An address of each node in a block of 127.0.0.0/8 in which the ports are free.
fn free_ends() -> [String; 2] {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    loop {
        let n = std::process::id().wrapping_mul(31).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let block = format!("127.{}.{}", 100 + n % 100, n / 100 % 250);
        let ends = [format!("{block}.1"), format!("{block}.2")];
        if ends
            .iter()
            .all(|ip| [6940, 6941].iter().all(|port| UdpSocket::bind(format!("{ip}:{port}")).is_ok()))
        {
            return ends;
        }
    }
}

/// What a file's mode is.
pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The address that a pair in namespaces guards.
pub const ADDRESS: &str = "10.77.0.100";

/// Two named network namespaces with two cables between them: `lan0` for the address, `hb0` for heartbeats.
pub struct Spaces([String; 2]);

impl Spaces {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("pn{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let spaces = Self([format!("{id}a"), format!("{id}b")]);
        let [one, two] = &spaces.0;
        ip(&format!("netns add {one}"));
        ip(&format!("netns add {two}"));
        for (nic, network) in [("lan0", "10.77.0"), ("hb0", "10.78.0")] {
            ip(&format!("-n {one} link add {nic} type veth peer name {nic} netns {two}"));
            for (host, space) in [(1, one), (2, two)] {
                ip(&format!("-n {space} addr add {network}.{host}/24 dev {nic}"));
                ip(&format!("-n {space} link set {nic} up"));
            }
        }
        for space in &spaces.0 {
            ip(&format!("-n {space} link set lo up"));
        }
        spaces
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        for space in &self.0 {
            let _ = Command::new("ip").args(["netns", "del", space]).status();
        }
    }
}

/// What `ip` prints.
pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", text(&output));
    text(&output)
}
