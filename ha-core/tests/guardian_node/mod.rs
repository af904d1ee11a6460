//! The guarded program of the guardian's tests: it does what its standard input says.

use ha_core::api::{FrameSender, HeartbeatTransport, LinkFactory};
use ha_core::guardian::{Entered, GuardianClient, GuardianConfig, RestartPolicy, enter};
use ha_core::{Epoch, GroupId, Undo};
use std::fs::OpenOptions;
use std::io::{self, BufRead, Write};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub const FEED_LIMIT: Duration = Duration::from_millis(600);
pub const RESTARTS: u32 = 2;

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
        .encoder(|testament, notice| {
            // The testament counts the frames, as a real one counts its sequence numbers.
            let count = testament.pop().unwrap() + 1;
            testament.push(count);
            let session = String::from_utf8_lossy(&testament[..testament.len() - 1]);
            let groups: Vec<_> = notice.groups.iter().map(|(g, e)| format!("{g}@{e}")).collect();
            let life = notice.incarnation.0;
            let frame = format!("{session} {count} {life:032x} [{}] {}", groups.join(","), notice.complete);
            vec![frame.into()]
        })
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
    client.set_testament("udp", b"session\0".to_vec()).unwrap();
    feed(client.clone());
    watch_guardian(client.clone(), behaviour == "reborn");
    let life = client.incarnation().0;
    say(&format!("ready {} {life:032x} {:?}", std::process::id(), client.predecessor()));
    for line in io::stdin().lock().lines() {
        obey(client, dir, &stops, &line.unwrap());
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

fn obey(client: &GuardianClient, dir: &Path, stops: &AtomicU32, line: &str) {
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
