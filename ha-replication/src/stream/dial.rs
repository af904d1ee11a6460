//! Connections: node 1 dials, node 0 listens; the newest authenticated one is the session.

use super::feed;
use super::handshake::{Authenticated, Identity};
use super::message::Message;
use super::outbox::Outbox;
use super::receive::Receiver;
use crate::hub::Hub;
use crate::state::{Role, Session, State};
use bytes::BytesMut;
use ha_core::Instant;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// To connect, and to shake hands.
const DEADLINE: Duration = Duration::from_millis(250);
/// Connections that have not proven themselves.
const STRANGERS: usize = 8;
const BACK_OFF: Duration = Duration::from_millis(10);
const MAX_BACK_OFF: Duration = Duration::from_millis(200);
/// A listener without a session says so after this time.
const NOBODY_CAME: Duration = Duration::from_secs(2);
/// What the own clockwork is late beyond this is not the peer's silence.
const OWN_LATENESS: Duration = Duration::from_millis(25);

fn identity(hub: &Hub) -> Identity {
    let cfg = &hub.cfg;
    Identity { mirror: cfg.mirror, me: cfg.me, incarnation: cfg.incarnation, key: cfg.key.clone() }
}

/// Node 1: dials for ever.
pub(crate) async fn dial(hub: Arc<Hub>) {
    let identity = identity(&hub);
    let mut wait = Duration::ZERO;
    loop {
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        wait = (wait * 2).clamp(BACK_OFF, MAX_BACK_OFF);
        let connected = tokio::time::timeout(DEADLINE, TcpStream::connect(hub.cfg.peer)).await;
        let mut stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => {
                refused(&hub, &format!("nobody listens at {}: {e}", hub.cfg.peer));
                continue;
            }
            Err(_) => {
                refused(&hub, &format!("{} does not answer within {DEADLINE:?}", hub.cfg.peer));
                continue;
            }
        };
        // Without it small acknowledgements wait for others; the session works either way.
        let _ = stream.set_nodelay(true);
        match tokio::time::timeout(DEADLINE, identity.dial(&mut stream)).await {
            Ok(Ok(peer)) => {
                run(&hub, stream, peer).await;
                wait = Duration::ZERO;
            }
            Ok(Err(e)) => refused(&hub, &e),
            Err(_) => refused(&hub, &silent(hub.cfg.peer)),
        }
    }
}

fn silent(peer: SocketAddr) -> String {
    format!("{peer} took the connection and proved nothing within {DEADLINE:?}: no copy of this mirror?")
}

/// Node 0: accepts for ever.
pub(crate) async fn listen(hub: Arc<Hub>, listener: TcpListener) {
    let identity = Arc::new(identity(&hub));
    let mut strangers = JoinSet::new();
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    if strangers.len() >= STRANGERS {
                        // Room for whoever proves himself; the crowd is let go.
                        strangers.abort_all();
                    }
                    strangers.spawn(shake(identity.clone(), stream, from));
                }
                // Out of descriptors, for example: not a reason to spin.
                Err(_) => tokio::time::sleep(BACK_OFF).await,
            },
            Some(shaken) = strangers.join_next() => match shaken {
                Ok(Ok((stream, peer))) => {
                    let hub = hub.clone();
                    sessions.spawn(async move { run(&hub, stream, peer).await });
                }
                Ok(Err(why)) => refused(&hub, &why),
                // Let go with the crowd.
                Err(_) => {}
            },
            Some(_) = sessions.join_next() => {}
        }
    }
}

async fn shake(
    identity: Arc<Identity>,
    mut stream: TcpStream,
    from: SocketAddr,
) -> Result<(TcpStream, Authenticated), String> {
    let _ = stream.set_nodelay(true);
    match tokio::time::timeout(DEADLINE, identity.accept(&mut stream)).await {
        Ok(Ok(peer)) => Ok((stream, peer)),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(silent(from)),
    }
}

fn refused(hub: &Hub, why: &dyn Display) {
    let text = why.to_string();
    let new = hub.with(|s| {
        let new = s.refusal.as_ref() != Some(&text);
        s.refusal = Some(text.clone());
        s.effects.changed |= new;
        new
    });
    if new {
        tracing::warn!(target: "ha_replication", why = %text, "no session with the other copy");
    }
}

/// One session, from the proof to its end.
async fn run(hub: &Arc<Hub>, stream: TcpStream, peer: Authenticated) {
    let stream = Arc::new(stream);
    let outbox = Arc::new(Outbox::new(stream.clone(), peer.outward, hub.cfg.limits.inflight_bytes));
    let id = hub.with(|s| s.begin_session(outbox.clone(), peer.incarnation));
    tracing::debug!(target: "ha_replication", session = id, peer = %peer.incarnation, "a session begins");
    let receiver = Receiver {
        hub: hub.clone(),
        session: id,
        stream,
        inward: peer.inward,
        outbox: outbox.clone(),
        partial: BytesMut::new(),
        copy_head: Vec::new(),
    };
    let feeding = feed::run(hub.clone(), id);
    let violation = tokio::select! {
        violation = receiver.run() => violation,
        () = outbox.flush() => None,
        () = async { feeding.await; std::future::pending::<()>().await } => None,
    };
    outbox.close();
    hub.with(|s| s.end_session(id, violation.map(|v| v.to_string())));
}

/// Signs of life out, silence noticed, reports that only grew.
pub(crate) async fn tick(hub: Arc<Hub>) {
    let mut interval = tokio::time::interval(hub.cfg.limits.keepalive);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = hub.now();
    loop {
        interval.tick().await;
        let now = hub.now();
        let late = now.since(last).saturating_sub(hub.cfg.limits.keepalive);
        last = now;
        hub.with(|s| s.tick(now, late));
    }
}

impl State {
    fn begin_session(&mut self, outbox: Arc<Outbox>, incarnation: ha_core::Incarnation) -> u64 {
        if let Some(old) = self.session.take() {
            old.outbox.close();
            self.lose_session();
        }
        self.sessions += 1;
        self.session = Some(Session {
            id: self.sessions,
            outbox,
            incarnation,
            last_frame: self.cfg.clock.now(),
            serial: 0,
            frames: 0,
            said: None,
            heard: None,
            reply_due: false,
            to_plan: false,
            stream: None,
            feed_wake: Arc::new(Notify::new()),
        });
        self.say_position(0);
        self.effects.report = true;
        self.effects.changed = true;
        self.sessions
    }

    fn end_session(&mut self, id: u64, violation: Option<String>) {
        if let Some(why) = violation {
            tracing::warn!(target: "ha_replication", session = id, why, "the session was closed");
            self.refusal = Some(why);
        }
        if self.session.as_ref().is_some_and(|s| s.id == id) {
            self.session = None;
            self.lose_session();
        }
    }

    fn lose_session(&mut self) {
        self.listening_since = self.cfg.clock.now();
        self.stop_following();
        self.peer = None;
        self.peer_low_space = false;
        self.withdraw_caught_up();
        self.effects.report = true;
        self.effects.changed = true;
    }

    fn tick(&mut self, now: Instant, late: Duration) {
        let epoch = self.leader().map_or(ha_core::Epoch(0), |l| l.epoch);
        let commit = self.commit;
        self.ticked = Some(now);
        if late > OWN_LATENESS {
            self.contact = (self.contact + late).min(now);
        }
        if let Some(session) = &mut self.session {
            // Whatever was sent since the last tick was a sign of life.
            if session.outbox.frames() == session.frames {
                session.outbox.push(&Message::Keepalive { epoch, commit });
            }
            session.frames = session.outbox.frames();
            if session.to_plan {
                session.feed_wake.notify_one();
            }
            if late > OWN_LATENESS {
                session.last_frame += late;
            }
            if now.since(session.last_frame) > self.cfg.limits.silence {
                self.refusal = Some("the peer fell silent".into());
                session.outbox.close();
                self.session = None;
                self.lose_session();
            }
        }
        let nobody = self.session.is_none() && self.cfg.me.0 == 0 && self.refusal.is_none();
        if nobody && now.since(self.listening_since) > NOBODY_CAME {
            let listen = self.cfg.listen;
            self.refusal = Some(format!(
                "no copy has dialled {listen} for {NOBODY_CAME:?}: is the other one node 1, and can it reach this address?"
            ));
            self.effects.changed = true;
        }
        if self.is_late() && matches!(self.role, Role::Leader(_)) {
            self.withdraw_caught_up();
        }
        // What came too late counts all the same, though nothing follows it.
        self.earn_caught_up();
        if self.report() != self.reported || self.withdraw {
            self.effects.report = true;
        }
    }
}
