//! All clients, and their drain.

use super::connection::{Connection, Shared};
use super::permit::Permit;
use super::reply::{Identity, Reply};
use super::store::MessageStore;
use super::{Limits, Session};
use ha_core::Epoch;
use ha_vip::{AcceptError, AcceptSource};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};

/// How long the accept loop rests when the operating system has no room.
const NO_ROOM: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Mode {
    /// Everything goes on.
    Serve,
    /// Transactions in progress may end.
    Drain,
    /// Everything ends now.
    Abort,
}

impl Mode {
    /// Waits until the server is in this mode or a later one, and says which. A server that is gone aborts.
    pub(super) async fn reached(self, mode: &mut watch::Receiver<Self>) -> Self {
        mode.wait_for(|m| *m >= self).await.map_or(Self::Abort, |m| *m)
    }
}

/// How a drain ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drained {
    /// Whether every transaction in progress ended by itself.
    pub in_time: bool,
}

/// A running server. Dropping it ends it at once, without last words.
#[derive(Debug)]
pub struct Server {
    mode: watch::Sender<Mode>,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves what comes from `source` with `permit`. Must be called on a tokio runtime.
    #[must_use]
    pub fn start(
        source: AcceptSource,
        permit: Permit,
        who: Identity,
        store: Arc<dyn MessageStore>,
        limits: Limits,
    ) -> Self {
        let host = super::reply::printable(&who.node).replace(' ', "-");
        let shared = Arc::new(Shared { who, host, limits, store });
        let mode = watch::Sender::new(Mode::Serve);
        let task = tokio::spawn(accept_all(source, permit, shared, mode.subscribe()));
        Self { mode, task }
    }

    /// Whether it still accepts clients.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        !self.task.is_finished() && *self.mode.borrow() == Mode::Serve
    }

    /// Accepts nobody any more, sends idle clients away with `421`, lets transactions in progress end until
    /// `patience` is over, and then ends what is left. Resolves when no connection is left.
    pub async fn drain(mut self, patience: Duration) -> Drained {
        self.mode.send_replace(Mode::Drain);
        let in_time = timeout_at(Instant::now() + patience, &mut self.task).await.is_ok();
        if !in_time {
            self.mode.send_replace(Mode::Abort);
            if let Err(error) = (&mut self.task).await {
                tracing::error!(%error, "the accept loop ended badly");
            }
        }
        Drained { in_time }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The loop's set of connections ends with it.
        self.task.abort();
    }
}

async fn accept_all(source: AcceptSource, permit: Permit, shared: Arc<Shared>, mode: watch::Receiver<Mode>) {
    let mut leaving = mode.clone();
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = Mode::Drain.reached(&mut leaving) => break,
            Some(ended) = clients.join_next(), if !clients.is_empty() => reap(ended),
            accepted = source.accept() => match accepted {
                Ok((stream, _)) if clients.len() >= shared.limits.sessions => turn_away(&shared, &permit, stream),
                Ok((stream, peer)) => {
                    tracing::debug!(%peer, "a client");
                    let client = Connection::new(shared.clone(), permit.clone(), mode.clone(), stream);
                    clients.spawn(client.serve());
                }
                Err(error @ AcceptError::Exhausted { .. }) => {
                    tracing::warn!(%error, "clients wait");
                    sleep(NO_ROOM).await;
                }
                Err(error) => {
                    tracing::error!(%error, "no client will come any more");
                    break;
                }
            },
        }
    }
    while let Some(ended) = clients.join_next().await {
        reap(ended);
    }
}

fn reap(ended: Result<std::io::Result<()>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a client is gone"),
        Err(error) => tracing::error!(%error, "a connection ended badly"),
    }
}

/// Says `421` without waiting: a fresh connection has room for one line.
fn turn_away(shared: &Shared, permit: &Permit, stream: TcpStream) {
    let reply: Reply =
        Session::new(&shared.host, shared.limits.clone()).give_up("4.3.2 too many connections");
    let epoch: Epoch = permit.epoch();
    let mut out = Vec::new();
    reply.write(&shared.who, epoch, &mut out);
    if let Err(error) = stream.into_std().and_then(|mut stream| stream.write_all(&out)) {
        tracing::debug!(%error, "a client was turned away without a word");
    }
}
