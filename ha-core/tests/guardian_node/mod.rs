//! The guarded program of the guardian's tests: it does what its standard input says.

use ha_core::api::{FrameSender, HeartbeatTransport, LinkFactory};
use ha_core::engine::Beat;
use ha_core::guardian::{Entered, GuardianClient, GuardianConfig, RestartPolicy, enter, process_group_undo};
use ha_core::wire::{FrameError, LinkSession, PairKey, Received};
use ha_core::{Epoch, GroupId, Incarnation, LinkId, NodeId, Undo};
use std::fs::OpenOptions;
use std::io::{self, BufRead, Write};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub const FEED_LIMIT: Duration = Duration::from_millis(600);
pub const RESTARTS: u32 = 2;

/// One side of a link, as the runtime would drive it.
pub struct Side {
    pub session: LinkSession,
    incarnation: Incarnation,
    seq: u32,
    to: Option<Incarnation>,
}

impl Side {
    pub fn new(node: u8, incarnation: Incarnation) -> Self {
        let key = PairKey::from_bytes(b"a key of more than 32 bytes for the tests").unwrap();
        let nonce = incarnation.0 as u64 ^ 77;
        let session = LinkSession::new(&key, "mail", LinkId(0), NodeId(node), incarnation, nonce);
        Self { session, incarnation, seq: 0, to: None }
    }

    pub fn speak(&mut self) -> Vec<u8> {
        self.seq += 1;
        let (incarnation, to, seq) = (self.incarnation, self.to, self.seq);
        let mut frame = Vec::new();
        let beat = Beat { incarnation, to, seq, echo: None, statements: vec![] };
        self.session.encode(&beat, &mut frame).unwrap();
        frame
    }

    pub fn hear(&mut self, frame: &[u8]) -> Result<Received, FrameError> {
        let received = self.session.decode(frame);
        if let Ok(Received::Greeting(beat) | Received::Beat(beat)) = &received {
            self.to = Some(beat.incarnation);
        }
        received
    }
}

pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// A link that only speaks.
struct Udp(u16);

struct UdpSender(UdpSocket);

impl FrameSender for UdpSender {
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.0.send(frame).map(drop)
    }
}

#[async_trait::async_trait]
impl LinkFactory for Udp {
    fn name(&self) -> &str {
        "udp"
    }

    async fn open(&self) -> io::Result<Box<dyn HeartbeatTransport>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open_sender(&self) -> io::Result<Box<dyn FrameSender>> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(("127.0.0.1", self.0))?;
        Ok(Box::new(UdpSender(socket)))
    }
}

fn append(path: PathBuf, line: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    writeln!(file, "{line}").unwrap();
}

fn config(dir: &Path, port: u16, behaviour: &str) -> GuardianConfig {
    let (undone, reports) = (dir.join("undone"), dir.join("reports"));
    let config = GuardianConfig::new(dir.join("run"))
        .feed_limit(FEED_LIMIT)
        .end_budget(Duration::from_secs(20))
        .restart(RestartPolicy {
            first: Duration::from_millis(60),
            limit: RESTARTS,
            ..RestartPolicy::default()
        })
        .links([Arc::new(Udp(port)) as Arc<dyn LinkFactory>])
        .reporter(move |report| append(reports.clone(), &report.to_string()));
    if behaviour == "forgetful" {
        return config;
    }
    config
        .handler(
            "note",
            move |_, bytes| {
                append(undone.clone(), &String::from_utf8_lossy(bytes));
                Ok(())
            },
            |_, _| Ok(true),
        )
        .handler("stuck", |_, _| Ok(()), |_, _| Ok(false))
}

/// `main` of the guarded program: directory, UDP port, behaviour.
pub fn main(arguments: &[String]) -> ! {
    let [dir, port, behaviour] = arguments else { panic!("expected three arguments") };
    let config = config(Path::new(dir), port.parse().unwrap(), behaviour);
    let entered = if behaviour == "inside" {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async { enter(config) })
    } else {
        enter(config)
    };
    match entered {
        Ok(Entered::Child(client)) => serve(&client, Path::new(dir), behaviour),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(2)
        }
    }
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

fn serve(client: &GuardianClient, dir: &Path, behaviour: &str) -> ! {
    match behaviour {
        "refuses" => std::process::exit(7),
        "crashes" => std::process::abort(),
        _ => {}
    }
    let stops = Arc::new(AtomicU32::new(0));
    if behaviour == "patient" {
        count_stops(Arc::clone(&stops));
    }
    let mut side = Side::new(0, client.incarnation());
    feed(client.clone());
    watch_guardian(client.clone(), behaviour == "reborn");
    let life = client.incarnation().0;
    say(&format!("ready {} {life:032x} {:?}", std::process::id(), client.predecessor()));
    for line in io::stdin().lock().lines() {
        obey(client, &mut side, dir, &stops, &line.unwrap());
    }
    client.goodbye();
    std::process::exit(0)
}

fn feed(client: GuardianClient) {
    let groups = [(GroupId(0), Epoch(5)), (GroupId(1), Epoch(9))];
    client.feed(&groups).unwrap();
    std::thread::spawn(move || {
        loop {
            #[expect(clippy::disallowed_methods, reason = "a feed is periodic")]
            std::thread::sleep(FEED_LIMIT / 10);
            let _ = client.feed(&groups);
        }
    });
}

fn watch_guardian(client: GuardianClient, reborn: bool) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(client.lost());
        say("lost");
        if reborn {
            panic!("{}", client.reborn());
        }
    });
}

fn count_stops(stops: Arc<AtomicU32>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (told, listening) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate()).unwrap();
            let mut interrupt = signal(SignalKind::interrupt()).unwrap();
            told.send(()).unwrap();
            loop {
                tokio::select! {
                    _ = terminate.recv() => (),
                    _ = interrupt.recv() => (),
                }
                stops.fetch_add(1, Ordering::SeqCst);
                say("stop");
            }
        });
    });
    listening.recv().unwrap();
}

#[allow(clippy::zombie_processes, reason = "what it starts is the guardian's to reap")]
fn obey(client: &GuardianClient, side: &mut Side, dir: &Path, stops: &AtomicU32, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let undo = |kind: &str, text: &str| Undo { kind: kind.into(), version: 1, bytes: text.into() };
    match words.as_slice() {
        ["remember", kind, text, group] => {
            let group = group.parse().ok().map(GroupId);
            match client.remember(undo(kind, text), group) {
                Ok(_) => say("stored"),
                Err(error) => say(&format!("error {error}")),
            }
        }
        ["hear", frame] => {
            let _ = side.hear(&from_hex(frame));
            if let Some(testament) = side.session.testament() {
                client.set_testament("udp", &testament).unwrap();
            }
            say(&to_hex(&side.speak()));
        }
        // What was acknowledged must be in the file, whatever happens to the guardian next.
        ["remember-and-read", text] => {
            client.remember(undo("note", text), None).unwrap();
            let list = std::fs::read_dir(dir.join("run")).unwrap().map(|entry| entry.unwrap().path());
            let list = list.into_iter().find(|p| p.extension().is_some_and(|e| e == "list")).unwrap();
            let found = std::fs::read(list).unwrap().windows(text.len()).any(|w| w == text.as_bytes());
            say(&format!("in the file: {found}"));
        }
        // A round trip through the guardian.
        ["ping"] => {
            let id = client.remember(undo("note", "ping"), None).unwrap();
            client.undone(id).unwrap();
            say(&format!("pong {}", std::process::id()));
        }
        // Loses its parent and its session.
        ["daemon"] => {
            let script = "setsid sleep 300 >/dev/null 2>&1 & echo $!";
            let output = Command::new("sh").args(["-c", script]).output().unwrap();
            say(&format!("daemon {}", String::from_utf8(output.stdout).unwrap().trim()));
        }
        // In a session and group of its own, known by an undo step before it does anything.
        ["service", group] => {
            let script = "echo up; read go; exec sleep 300 <&- >&-";
            let mut held = Command::new("setsid");
            held.args(["sh", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut held = held.spawn().unwrap();
            let mut up = String::new();
            io::BufReader::new(held.stdout.take().unwrap()).read_line(&mut up).unwrap();
            let undo = process_group_undo(held.id()).unwrap();
            client.remember(undo, Some(GroupId(group.parse().unwrap()))).unwrap();
            held.stdin.take().unwrap().write_all(b"go\n").unwrap();
            say(&format!("service {}", held.id()));
        }
        ["detach", group] => {
            client.detach(&[(GroupId(group.parse().unwrap()), Epoch(5))]).unwrap();
            say("detached");
        }
        ["grandchild"] => {
            let output = Command::new(std::env::current_exe().unwrap()).arg("grandchild").output().unwrap();
            say(&String::from_utf8(output.stdout).unwrap());
        }
        ["environment", name] => say(&std::env::var(name).unwrap_or_default()),
        ["notify", text] => client.sd_notify(text).unwrap(),
        ["notify-directly", text] => {
            let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
            socket.send_to(text.as_bytes(), std::env::var("NOTIFY_SOCKET").unwrap()).unwrap();
        }
        ["stops"] => say(&format!("stops {}", stops.load(Ordering::SeqCst))),
        ["end-me"] => client.end_me("as told"),
        ["exit", code] => std::process::exit(code.parse().unwrap()),
        ["goodbye", code] => {
            client.goodbye();
            std::process::exit(code.parse().unwrap())
        }
        _ => panic!("unknown command {line}"),
    }
}

/// `main` of a program that a guarded one runs: has anything leaked into it?
pub fn grandchild() {
    let marker = std::env::var_os("HA_GUARDIAN_SOCKET").is_some();
    let sockets = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count();
    print!("marker {marker}, sockets {sockets}");
}
