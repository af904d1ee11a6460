//! SMTP clients: some that deliver one message after the other, and a probe that delivers one every 5 ms whatever became of
//! those before.

use super::acts::Act;
use super::ledger::{Ledger, Outcome};
use super::message::{PROBES, Recipe};
use super::stall::Stalls;
use crate::start::boot_ns;
use ha_vip::testbed::Host;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

const PROBE_INTERVAL: Duration = Duration::from_millis(5);
/// Attempts of the probe that may wait at once.
const PROBES_WAITING: usize = 200;
/// Deliveries of the probe on one connection. New ones show who else would answer.
const PROBE_DELIVERIES: u32 = 4;
/// After which a client gives an answer up.
const PATIENCE: Duration = Duration::from_secs(8);
const PROBE_PATIENCE: Duration = Duration::from_millis(1500);
/// Between two attempts of a client that met nobody.
const RETRY: Duration = Duration::from_millis(5);
/// Between two messages of one client.
const THINK: Duration = Duration::from_millis(5);

/// What clients saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) acts: Vec<Act>,
    /// When each `250` after a final dot was received, on the boot clock, ascending.
    pub(crate) acknowledged: Vec<u64>,
    pub(crate) ledger: Ledger,
    /// Connections refused or reset, and replies that refused.
    pub(crate) refused: u64,
}

/// The clients of a run.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    service: SocketAddr,
    recipe: Recipe,
    seen: Mutex<Seen>,
    over: AtomicBool,
    next: AtomicU64,
    next_probe: AtomicU64,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

impl Clients {
    /// Starts `count` clients and the probe on a thread of their own, which is in the network of `host`, if there is one.
    pub(crate) fn start(
        service: SocketAddr,
        host: Option<Arc<Host>>,
        recipe: Recipe,
        count: u32,
        stalls: Stalls,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            service,
            recipe,
            seen: Mutex::default(),
            over: AtomicBool::new(false),
            next: AtomicU64::new(0),
            next_probe: AtomicU64::new(PROBES),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("clients".into()).spawn(move || {
            let deliver = || runtime.block_on(deliver_all(of_thread, count, stalls));
            match host {
                None => deliver(),
                Some(host) => host.run_in(deliver).unwrap_or_else(|error| {
                    eprintln!("mail-pair: no client delivers anything: {error}");
                }),
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen()
    }

    /// Begins no new message, waits for those under way, and hands over what was seen.
    pub(crate) fn stop(mut self) -> Seen {
        self.end();
        std::mem::take(&mut *self.shared.seen())
    }

    fn end(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.end();
    }
}

async fn deliver_all(shared: Arc<Shared>, count: u32, stalls: Stalls) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..count {
        tasks.spawn(client(Arc::clone(&shared)));
    }
    tasks.spawn(probe(Arc::clone(&shared)));
    tasks.spawn(watch_self(Arc::clone(&shared), stalls));
    while tasks.join_next().await.is_some() {}
}

/// This thread may stall as any other; then what it received is late by as much.
async fn watch_self(shared: Arc<Shared>, stalls: Stalls) {
    const TICK: Duration = Duration::from_millis(2);
    while !shared.is_over() {
        let from = boot_ns();
        sleep(TICK).await;
        stalls.note(from, boot_ns(), TICK);
    }
}

async fn client(shared: Arc<Shared>) {
    let mut session: Option<Session> = None;
    while !shared.is_over() {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        // One message until it is acknowledged: as every mail server does, so that duplicates can arise.
        while !shared.is_over() {
            let attempt = attempt(&shared, session.take(), number, PATIENCE).await;
            session = attempt.session;
            if attempt.outcome == Outcome::Acknowledged {
                sleep(THINK).await;
                break;
            }
            sleep(RETRY).await;
        }
    }
}

async fn probe(shared: Arc<Shared>) {
    let idle: Arc<Mutex<Vec<Session>>> = Arc::default();
    let mut waiting = tokio::task::JoinSet::new();
    let mut ticks = interval(PROBE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !shared.is_over() {
        ticks.tick().await;
        while waiting.try_join_next().is_some() {}
        if waiting.len() >= PROBES_WAITING {
            continue;
        }
        let number = shared.next_probe.fetch_add(1, Ordering::Relaxed);
        let (shared, idle) = (Arc::clone(&shared), Arc::clone(&idle));
        waiting.spawn(async move {
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let attempt = attempt(&shared, kept, number, PROBE_PATIENCE).await;
            if let Some(session) = attempt.session.filter(|s| s.delivered < PROBE_DELIVERIES) {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
            }
        });
    }
    while waiting.join_next().await.is_some() {}
}

struct Attempt {
    outcome: Outcome,
    /// Absent if the connection must not be used again.
    session: Option<Session>,
}

/// One attempt to deliver one message, noted in what was seen.
async fn attempt(shared: &Shared, session: Option<Session>, number: u64, patience: Duration) -> Attempt {
    let mut dotted = false;
    let delivery = async {
        let mut session = match session {
            Some(session) => session,
            None => Session::open(shared).await?,
        };
        let accepted = session.deliver(shared, number, &mut dotted).await?;
        Ok::<_, io::Error>((session, accepted))
    };
    let ended = timeout(patience, delivery).await;
    let (outcome, session) = match ended {
        Ok(Ok((session, Reply { code: 250, .. }))) => (Outcome::Acknowledged, Some(session)),
        Ok(Ok((session, reply))) => {
            let outcome = if reply.is_unknown() { Outcome::Unknown } else { Outcome::Refused };
            (outcome, (reply.code != 421).then_some(session))
        }
        Ok(Err(_)) | Err(_) => (if dotted { Outcome::Unknown } else { Outcome::Refused }, None),
    };
    let mut seen = shared.seen();
    seen.ledger.note(number, outcome);
    seen.refused += u64::from(outcome != Outcome::Acknowledged);
    Attempt { outcome, session }
}

/// One connection, greeted.
struct Session {
    stream: BufReader<TcpStream>,
    delivered: u32,
}

impl Session {
    async fn open(shared: &Shared) -> io::Result<Self> {
        let stream = TcpStream::connect(shared.service).await?;
        stream.set_nodelay(true)?;
        let mut session = Self { stream: BufReader::new(stream), delivered: 0 };
        let greeting = session.reply().await?;
        if greeting.code != 220 {
            return Err(io::Error::other(greeting.text));
        }
        if let Some(act) = greeting.act() {
            shared.seen().acts.push(act);
        }
        session.say(b"EHLO client.example\r\n").await?;
        session.reply().await?.expect(250)?;
        Ok(session)
    }

    async fn say(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(octets).await
    }

    /// Delivers one message; the reply after the final dot, or the first that refused. `dotted` is set before the
    /// final dot can have been sent.
    async fn deliver(&mut self, shared: &Shared, number: u64, dotted: &mut bool) -> io::Result<Reply> {
        const COMMANDS: &[u8] =
            b"MAIL FROM:<driver@client.example>\r\nRCPT TO:<box@service.example>\r\nDATA\r\n";
        let wire = shared.recipe.on_the_wire(number);
        self.say(COMMANDS).await?;
        let (from, to, data) = (self.reply().await?, self.reply().await?, self.reply().await?);
        if from.code != 250 || to.code != 250 || data.code != 354 {
            // The transaction did not begin, or ends here: this connection is not used again.
            return Err(io::Error::other(format!("{} {} {}", from.text, to.text, data.text)));
        }
        *dotted = true;
        self.delivered += 1;
        self.say(&wire).await?;
        let reply = self.reply().await?;
        if let (250, Some(act)) = (reply.code, reply.act()) {
            let mut seen = shared.seen();
            seen.acknowledged.push(act.received_ns);
            seen.acts.push(act);
        }
        Ok(reply)
    }

    /// The next reply, all its lines.
    async fn reply(&mut self) -> io::Result<Reply> {
        let mut text = String::new();
        loop {
            let start = text.len();
            if self.stream.read_line(&mut text).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = &text[start..];
            if line.as_bytes().get(3) != Some(&b'-') {
                let code = line.get(..3).and_then(|c| c.parse().ok());
                let code = code.ok_or_else(|| io::Error::other(format!("no reply: {line}")))?;
                return Ok(Reply { code, text, received_ns: boot_ns() });
            }
        }
    }
}

/// What the server said, and when it was received.
struct Reply {
    code: u16,
    text: String,
    received_ns: u64,
}

impl Reply {
    fn expect(self, code: u16) -> io::Result<()> {
        if self.code == code { Ok(()) } else { Err(io::Error::other(self.text)) }
    }

    /// The server does not know itself whether it is stored.
    fn is_unknown(&self) -> bool {
        self.code == 451 && self.text.contains("4.4.0")
    }

    /// Who acted, in which grant, and when its permission was checked.
    fn act(&self) -> Option<Act> {
        let stamp = self.text.split_once("[node=")?.1.split_once(']')?.0;
        let mut words = stamp.split(' ');
        let node = words.next()?.to_owned();
        let (mut epoch, mut at_ns) = (None, None);
        for word in words {
            match word.split_once('=')? {
                ("epoch", value) => epoch = value.parse().ok(),
                ("at", value) => at_ns = value.parse().ok(),
                _ => {}
            }
        }
        Some(Act { node, epoch: epoch?, at_ns: at_ns?, received_ns: self.received_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, text: &str) -> Reply {
        Reply { code, text: text.into(), received_ns: 9 }
    }

    #[test]
    fn an_act_is_read_from_its_stamp() {
        let act = reply(250, "250 2.0.0 stored [node=n1 inc=1a2b3c4d epoch=7 at=123]\r\n").act();
        let expected = Act { node: "n1".into(), epoch: 7, at_ns: 123, received_ns: 9 };
        assert_eq!(act, Some(expected));
        assert_eq!(reply(250, "250 2.0.0 ok [node=n1 inc=1a2b3c4d epoch=7]\r\n").act(), None);
        assert_eq!(reply(250, "250 ok\r\n").act(), None);
    }

    #[test]
    fn only_the_code_for_an_unknown_outcome_is_one() {
        assert!(reply(451, "451 4.4.0 stored or not, unknown: x").is_unknown());
        assert!(!reply(451, "451 4.3.0 not stored: x").is_unknown());
    }
}
