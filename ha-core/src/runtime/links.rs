//! The open heartbeat paths, driven by the control thread alone.
//!
//! Each path has two endless futures, made once and polled from the control loop: one receives, opens frames and
//! queues what they say, the other sends the newest frame. A slow line delays only itself; a beat that waits when
//! the next one is due is replaced by it.

use crate::LinkId;
use crate::api::{HeartbeatTransport, LinkFactory};
use crate::engine::{Beat, Input};
use crate::wire::{LinkSession, Received, Testament};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// Frames that one path may deliver before the control loop looks at everything else (a flood starves nobody).
const FRAMES_PER_TURN: u32 = 64;
/// What is said of a link whose two ends tell different tags.
const DIFFERENT: &str =
    "the two nodes run different configurations, or different versions of the program: compare both";
/// Receive errors in a row after which a path is opened anew (a tty that was unplugged).
const ERRORS_BEFORE_REOPEN: u32 = 16;
/// The longest frame that is received.
const FRAME_LIMIT_BYTES: usize = 65_536;

/// What a path did so far. Numbers only grow.
#[derive(Debug, Default)]
pub struct LinkTraffic {
    sent: AtomicU64,
    received: AtomicU64,
    rejected: AtomicU64,
    replaced: AtomicU64,
    errors: AtomicU64,
}

impl LinkTraffic {
    /// Beats handed to the transport.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Authentic, fresh frames.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Frames that were forged, repeated, reflected, stale or unreadable.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Beats that were replaced by a newer one before the transport took them.
    #[must_use]
    pub fn replaced(&self) -> u64 {
        self.replaced.load(Ordering::Relaxed)
    }

    /// Errors of the transport.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}

/// All open paths.
pub(super) struct Links {
    ports: Vec<Port>,
    heard: Rc<RefCell<VecDeque<Input>>>,
}

struct Port {
    path: Rc<Path>,
    sending: Pin<Box<dyn Future<Output = Infallible>>>,
    receiving: Pin<Box<dyn Future<Output = Infallible>>>,
}

struct Path {
    factory: Arc<dyn LinkFactory>,
    transport: RefCell<Rc<dyn HeartbeatTransport>>,
    session: RefCell<LinkSession>,
    /// The next frame to send, if `waiting`.
    outbox: RefCell<Vec<u8>>,
    waiting: Cell<bool>,
    busy: Cell<bool>,
    /// Why a frame was refused, as last said.
    refusal: RefCell<Option<String>>,
    /// The state of the session in which its testament was last handed out.
    testament: Cell<u64>,
    link: LinkId,
    traffic: Arc<LinkTraffic>,
    interval: Duration,
}

/// A path before it is opened.
pub(super) struct Unopened {
    pub(super) link: LinkId,
    pub(super) factory: Arc<dyn LinkFactory>,
    pub(super) session: LinkSession,
    pub(super) traffic: Arc<LinkTraffic>,
    pub(super) interval: Duration,
}

impl Links {
    /// Opens every path on the current runtime, in order. The error names the path.
    pub(super) async fn open(unopened: Vec<Unopened>) -> Result<Self, (String, io::Error)> {
        let heard = Rc::new(RefCell::new(VecDeque::new()));
        let mut ports = Vec::new();
        for u in unopened {
            let transport = u.factory.open().await.map_err(|e| (u.factory.name().to_owned(), e))?;
            tracing::info!(target: "ha_core", link = u.factory.name(), path = transport.describe().name, "link open");
            let path = Rc::new(Path {
                factory: u.factory,
                transport: RefCell::new(transport.into()),
                session: RefCell::new(u.session),
                outbox: RefCell::default(),
                waiting: Cell::new(false),
                busy: Cell::new(false),
                refusal: RefCell::new(None),
                testament: Cell::new(0),
                link: u.link,
                traffic: u.traffic,
                interval: u.interval,
            });
            let sending = Box::pin(send_all(path.clone()));
            let receiving = Box::pin(receive_all(path.clone(), heard.clone()));
            ports.push(Port { path, sending, receiving });
        }
        Ok(Self { ports, heard })
    }

    /// Puts a beat on its path; [`Links::poll`] sends it.
    pub(super) fn send(&self, link: LinkId, beat: Beat) {
        let Some(port) = self.ports.get(usize::from(link.0)) else { return };
        let mut frame = port.path.outbox.borrow_mut();
        let mut session = port.path.session.borrow_mut();
        let encoded = session.encode(&beat, &mut frame);
        session.reuse(beat.statements);
        if let Err(e) = encoded {
            port.path.waiting.set(false);
            tracing::error!(target: "ha_core", link = port.path.factory.name(), error = %e, "a beat could not be encoded");
            return;
        }
        if port.path.waiting.replace(true) {
            count(&port.path.traffic.replaced);
        }
    }

    /// Sends and receives what can be at once. True if something was heard that [`Links::next_heard`] gives.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        for port in &mut self.ports {
            let _: Poll<Infallible> = port.sending.as_mut().poll(cx);
            let _: Poll<Infallible> = port.receiving.as_mut().poll(cx);
        }
        !self.heard.borrow().is_empty()
    }

    /// The next thing that was heard.
    pub(super) fn next_heard(&self) -> Option<Input> {
        self.heard.borrow_mut().pop_front()
    }

    /// Of each path: why a frame was refused, as last said; or that the two nodes are configured differently.
    pub(super) fn refusals(&self) -> Vec<Option<String>> {
        let differs = |path: &Path| {
            let agreement = path.session.borrow().agreement();
            agreement.filter(|a| a.same_parameters == Some(false)).map(|_| DIFFERENT.to_owned())
        };
        let one = |path: &Path| path.refusal.borrow().clone().or_else(|| differs(path));
        self.ports.iter().map(|port| one(&port.path)).collect()
    }

    /// Resolves when every frame was handed to its transport.
    pub(super) async fn flush(&mut self) {
        poll_fn(|cx| {
            self.poll(cx);
            if self.ports.iter().any(|p| p.path.waiting.get() || p.path.busy.get()) {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }

    /// The paths on which the guardian would have to speak otherwise than before, with what it needs for that.
    pub(super) fn new_testaments(&self) -> impl Iterator<Item = (&str, Testament)> {
        self.ports.iter().filter_map(|port| {
            let session = port.path.session.borrow();
            let changes = session.session_changes();
            if port.path.testament.replace(changes) == changes {
                return None;
            }
            session.testament().map(|testament| (port.path.factory.name(), testament))
        })
    }
}

async fn send_all(path: Rc<Path>) -> Infallible {
    let mut frame = Vec::new();
    let mut failing = false;
    loop {
        // Polled by the control loop after each beat, so no waker is needed.
        poll_fn(|_| if path.waiting.get() { Poll::Ready(()) } else { Poll::Pending }).await;
        std::mem::swap(&mut frame, &mut path.outbox.borrow_mut());
        path.waiting.set(false);
        path.busy.set(true);
        let transport = path.transport.borrow().clone();
        let sent = transport.send(&frame).await;
        path.busy.set(false);
        count(if sent.is_ok() { &path.traffic.sent } else { &path.traffic.errors });
        note_change(&path, &mut failing, sent.err(), "send");
    }
}

async fn receive_all(path: Rc<Path>, heard: Rc<RefCell<VecDeque<Input>>>) -> Infallible {
    let mut failing = false;
    let mut errors = 0;
    loop {
        let transport = path.transport.borrow().clone();
        let mut buffer = vec![0; transport.describe().mtu_bytes.clamp(64, FRAME_LIMIT_BYTES)];
        while errors < ERRORS_BEFORE_REOPEN {
            match receive_turn(&path, transport.as_ref(), &mut buffer, &heard).await {
                Ok(()) => {
                    errors = 0;
                    note_change(&path, &mut failing, None, "receive");
                }
                Err(e) => {
                    // A refused datagram only says that the peer's process is away.
                    errors += u32::from(e.kind() != io::ErrorKind::ConnectionRefused);
                    count(&path.traffic.errors);
                    note_change(&path, &mut failing, Some(e), "receive");
                    tokio::time::sleep(path.interval).await;
                }
            }
        }
        errors = 0;
        match path.factory.open().await {
            Ok(transport) => drop(path.transport.replace(transport.into())),
            Err(_) => tokio::time::sleep(path.interval).await,
        }
    }
}

/// Receives a turn's worth of frames, then lets the control loop look at everything else.
async fn receive_turn(
    path: &Path,
    transport: &dyn HeartbeatTransport,
    buffer: &mut [u8],
    heard: &RefCell<VecDeque<Input>>,
) -> io::Result<()> {
    for _ in 0..FRAMES_PER_TURN {
        let length = transport.recv(buffer).await?;
        let frame = buffer.get(..length).unwrap_or_default();
        let received = path.session.borrow_mut().decode(frame);
        match received {
            Ok(received) => {
                count(&path.traffic.received);
                heard.borrow_mut().push_back(match received {
                    // A greeting names no receiver: the engine takes it for a hint, never for evidence.
                    Received::Beat(beat) | Received::Greeting(beat) => Input::Beat { link: path.link, beat },
                    Received::Released(notice) => Input::Released(notice),
                });
            }
            Err(e) => {
                let rejected = path.traffic.rejected.fetch_add(1, Ordering::Relaxed) + 1;
                // A flood of them must not become a flood of log lines.
                if rejected.is_power_of_two() {
                    path.refusal.replace(Some(e.to_string()));
                    tracing::warn!(target: "ha_core", link = path.factory.name(), error = %e, rejected, "a frame was rejected");
                }
            }
        }
    }
    let mut paused = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    Ok(())
}

fn note_change(path: &Path, failing: &mut bool, error: Option<io::Error>, what: &str) {
    if error.is_some() == *failing {
        return;
    }
    *failing = error.is_some();
    let link = path.factory.name();
    match error {
        Some(e) => tracing::warn!(target: "ha_core", link, error = %e, "cannot {what} on the link"),
        None => tracing::info!(target: "ha_core", link, "can {what} on the link again"),
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
