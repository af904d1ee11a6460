//! One client's connection.

use super::permit::Permit;
use super::reply::{Identity, Reply};
use super::session::{Session, Step};
use super::store::{Delivery, Envelope, MessageStore};
use super::{Limits, server::Mode};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

const READ_BYTES: usize = 16 << 10;
/// How long, and how much, is still read from a client that was sent away, so that it sees the reply and no reset.
const LINGER: Duration = Duration::from_millis(200);
const LINGER_BYTES: usize = 1 << 20;
/// How long the last words of a server that must stop now may take.
const LAST_WORD: Duration = Duration::from_millis(20);

/// What every connection of a server shares.
pub(super) struct Shared {
    pub(super) who: Identity,
    pub(super) host: String,
    pub(super) limits: Limits,
    pub(super) store: Arc<dyn MessageStore>,
}

/// What happened while the client was waited for.
enum Heard {
    Bytes(usize),
    Silence(&'static str),
    Mode(Mode),
}

/// One client's connection.
pub(super) struct Connection {
    shared: Arc<Shared>,
    permit: Permit,
    mode: watch::Receiver<Mode>,
    stream: TcpStream,
    session: Session,
    out: Vec<u8>,
    collecting_since: Option<Instant>,
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        permit: Permit,
        mode: watch::Receiver<Mode>,
        stream: TcpStream,
    ) -> Self {
        let session = Session::new(&shared.host, shared.limits.clone());
        Self { shared, permit, mode, stream, session, out: Vec::new(), collecting_since: None }
    }

    /// Serves the client to its end.
    ///
    /// # Errors
    /// The client or the network went away.
    pub(super) async fn serve(mut self) -> io::Result<()> {
        let greeting = self.session.greeting(self.permit.check());
        if self.say(&greeting).await? {
            return self.linger().await;
        }
        let mut buffer = vec![0; READ_BYTES];
        loop {
            if self.work().await? {
                return self.linger().await;
            }
            match self.hear(&mut buffer).await? {
                Heard::Bytes(0) => return Ok(()),
                Heard::Bytes(n) => self.session.receive(buffer.get(..n).unwrap_or_default()),
                Heard::Silence(why) => return self.part(why).await,
                Heard::Mode(Mode::Abort) => return self.part("4.3.2 going to the other node").await,
                Heard::Mode(_) => self.session.drain(),
            }
        }
    }

    /// Everything that can be done with what was received. True if the conversation is over.
    async fn work(&mut self) -> io::Result<bool> {
        while let Some(step) = self.session.next(self.permit.check()) {
            match step {
                Step::Reply(reply) if reply.act.is_some() || reply.closes => {
                    if self.say(&reply).await? {
                        return Ok(true);
                    }
                }
                Step::Reply(reply) => reply.write(&self.shared.who, self.permit.epoch(), &mut self.out),
                Step::Deliver(envelope, message) => {
                    self.flush().await?;
                    if let Some(delivery) = self.deliver(&envelope, message).await {
                        self.session.delivered(delivery);
                    } else {
                        self.part("4.4.0 stored or not, unknown: the service stopped").await?;
                        return Ok(true);
                    }
                }
            }
        }
        self.flush().await?;
        Ok(false)
    }

    /// Waits for the store. `None` if the server has to stop at once.
    async fn deliver(&mut self, envelope: &Envelope, message: Vec<u8>) -> Option<Delivery> {
        let shared = self.shared.clone();
        let commit = shared.store.deliver(&self.permit, envelope, message.into());
        tokio::select! {
            biased;
            stored = timeout(shared.limits.commit, commit) => {
                let late = || Delivery::Unknown(format!("the store did not answer within {:?}", shared.limits.commit));
                Some(stored.unwrap_or_else(|_| late()))
            }
            _ = Mode::Abort.reached(&mut self.mode) => None,
        }
    }

    /// Waits for the client, its deadline, or news from the server.
    async fn hear(&mut self, buffer: &mut [u8]) -> io::Result<Heard> {
        if self.session.is_collecting() {
            self.collecting_since.get_or_insert_with(Instant::now);
        } else {
            self.collecting_since = None;
        }
        let limits = &self.shared.limits;
        let idle = Instant::now() + limits.idle;
        let (until, why) = match self.collecting_since.map(|since| since + limits.data) {
            Some(end) if end < idle => (end, "4.4.2 the message takes too long"),
            _ => (idle, "4.4.2 nothing was heard for too long"),
        };
        let awaited = if self.session.is_draining() { Mode::Abort } else { Mode::Drain };
        let Self { stream, mode, .. } = self;
        tokio::select! {
            read = stream.read(buffer) => Ok(Heard::Bytes(read?)),
            mode = awaited.reached(mode) => Ok(Heard::Mode(mode)),
            () = sleep_until(until) => Ok(Heard::Silence(why)),
        }
    }

    /// Sends a reply at once. True if it was the last.
    async fn say(&mut self, reply: &Reply) -> io::Result<bool> {
        reply.write(&self.shared.who, self.permit.epoch(), &mut self.out);
        self.flush().await?;
        Ok(reply.closes)
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut self.out);
        let Self { stream, mode, .. } = self;
        tokio::select! {
            biased;
            written = timeout(self.shared.limits.write, stream.write_all(&out)) => {
                written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
            _ = Mode::Abort.reached(mode) => Err(io::ErrorKind::Interrupted.into()),
        }
    }

    /// Says why, and closes.
    async fn part(&mut self, why: &str) -> io::Result<()> {
        let reply = self.session.give_up(why);
        reply.write(&self.shared.who, self.permit.epoch(), &mut self.out);
        let out = std::mem::take(&mut self.out);
        timeout(LAST_WORD, self.stream.write_all(&out)).await.unwrap_or(Ok(()))?;
        self.stream.shutdown().await
    }

    /// Ends the sending side, and reads on for a moment: closing with unread bytes would reset the connection
    /// and could take the last reply with it.
    async fn linger(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let Self { stream, mode, .. } = self;
        let read_on = async {
            let (mut buffer, mut left) = (vec![0; READ_BYTES], LINGER_BYTES);
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                left = left.saturating_sub(n);
                if left == 0 {
                    break;
                }
            }
        };
        tokio::select! {
            _ = timeout(LINGER, read_on) => {}
            _ = Mode::Drain.reached(mode) => {}
        }
        Ok(())
    }
}
