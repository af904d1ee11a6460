//! The processes of a run: relay and two chassis, and how the driver talks to them and to the nodes.

use super::enclosure::{Enclosure, OwnProcess};
use super::layout::{Layout, NODES};
use super::network::{Cables, Cut};
use crate::chassis::{FenceMode, Order};
use crate::node::{EventLine, GROUP, NodeStatus, Question};
use crate::relay::{Action, RelayReady, Turn};
use ha_core::runtime::{EventReport, GroupReport};
use ha_vip::testbed::TestbedError;
use serde::Serialize;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long relay and chassis get to carry out an order.
pub(super) const ORDER: Duration = Duration::from_secs(15);
/// How long a node gets to answer; a frozen one does not.
const ANSWER: Duration = Duration::from_millis(150);
const POLL: Duration = Duration::from_millis(10);

/// The driver could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveError {
    #[error("{what}: {source}")]
    System { what: String, source: io::Error },
    #[error("waited {} ms for {what}; saw {saw}", limit.as_millis())]
    Waited { what: String, limit: Duration, saw: String },
    #[error("{who} refused {order}: {why}")]
    Refused { who: String, order: String, why: String },
    #[error("the test bed: {0}")]
    Bed(#[from] TestbedError),
    #[error("interrupted")]
    Interrupted,
}

pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> DriveError {
    let what = what.into();
    move |source| DriveError::System { what, source }
}

/// Everything that runs.
pub(crate) struct Cluster<'a> {
    pub(crate) layout: &'a Layout,
    interrupted: &'a AtomicBool,
    // The chassis end before the relay: a node that leaves still speaks.
    chassis: [Enclosure; 2],
    _relay: OwnProcess,
    cables: Cables<'a>,
}

/// Both nodes as they see themselves; none for one that does not answer.
pub(crate) type Statuses = [Option<NodeStatus>; 2];

/// The group on one node.
pub(crate) fn mail(status: &NodeStatus) -> Option<&GroupReport> {
    status.node.group(GROUP)
}

/// The one node that serves.
pub(crate) fn active(statuses: &Statuses) -> Option<usize> {
    let is = |n: usize| statuses[n].as_ref().and_then(mail).is_some_and(|g| g.role == "active");
    match (is(0), is(1)) {
        (true, false) => Some(0),
        (false, true) => Some(1),
        _ => None,
    }
}

/// What both nodes say, short.
pub(crate) fn in_words(statuses: &Statuses) -> String {
    let one = |(name, status): (&str, &Option<NodeStatus>)| {
        let Some(status) = status else { return format!("{name}: no answer") };
        let peer = &status.node.peer;
        let links: Vec<_> = peer.links.iter().map(|l| format!("{} {}", l.link, l.state)).collect();
        let group = mail(status).map_or_else(String::new, |g| {
            let question = g.question.as_ref().map_or_else(String::new, |q| format!(", asks {}", q.kind));
            format!(
                "{} in epoch {}, protection {}, viable {}, set {:?}{question}",
                g.role, g.epoch, g.protection, g.viable, g.set
            )
        });
        format!("{name}: {group}, peer {} ({}), data {}", peer.state, links.join(", "), status.data)
    };
    NODES.into_iter().zip(statuses).map(one).collect::<Vec<_>>().join("; ")
}

/// Both nodes serve the pair, and everything acknowledged is on both. An owner of shared data has no copy to protect.
pub(crate) fn is_whole(statuses: &Statuses) -> bool {
    let Some(owner) = active(statuses) else { return false };
    let group = |n: usize| statuses[n].as_ref().and_then(mail);
    let protected = group(owner).is_some_and(|g| matches!(&*g.protection, "full" | "none"));
    let standby = group(1 - owner).is_some_and(|g| g.role == "standby" && g.viable && g.question.is_none());
    let linked = statuses
        .iter()
        .flatten()
        .all(|s| s.node.peer.state == "alive" && s.node.peer.links.iter().all(|l| l.state == "up"));
    protected && standby && linked
}

impl<'a> Cluster<'a> {
    /// Starts relay and chassis, installs the nodes, and leaves them switched off.
    pub(crate) fn start(
        layout: &'a Layout,
        mode: FenceMode,
        interrupted: &'a AtomicBool,
    ) -> Result<Self, DriveError> {
        let relay_config = layout.relay();
        let log = layout.dir.join("relay.log");
        let (relay, line) = OwnProcess::start("relay", "__relay", &relay_config, &log)?;
        let ready: RelayReady =
            serde_json::from_str(&line).map_err(|e| failed("understand the relay")(e.into()))?;
        layout.install(&ready.ttys).map_err(failed("install the nodes"))?;
        let chassis = [Enclosure::open(layout, 0, mode)?, Enclosure::open(layout, 1, mode)?];
        let cables = Cables::new(&layout.network, relay_config.control);
        Ok(Self { layout, interrupted, chassis, _relay: relay, cables })
    }

    /// Gives an order to a chassis and waits until it is carried out.
    pub(crate) fn order(&self, node: usize, order: Order) -> Result<String, DriveError> {
        let who = format!("the chassis of {}", NODES[node]);
        let answer =
            ask(self.chassis[node].control(), &order, ORDER).map_err(failed(format!("{who}: {order:?}")))?;
        match answer.strip_prefix("failed ") {
            None => Ok(answer),
            Some(why) => Err(DriveError::Refused { who, order: format!("{order:?}"), why: why.into() }),
        }
    }

    /// How often both nodes were shot through their board controllers.
    pub(crate) fn shots(&self) -> Result<[u64; 2], DriveError> {
        let count = |node| Ok::<_, DriveError>(self.order(node, Order::Shots)?.parse().unwrap_or(0));
        Ok([count(0)?, count(1)?])
    }

    /// Cuts what is between the nodes, until it is healed.
    pub(crate) fn cut(&self, what: Cut) -> Result<(), DriveError> {
        self.cables.cut(what)
    }

    /// Mends everything that was cut.
    pub(crate) fn heal(&self) -> Result<(), DriveError> {
        self.cables.heal()
    }

    pub(crate) fn status(&self, node: usize) -> Option<NodeStatus> {
        let answer = ask(&self.layout.node_control(node), &Question::Status, ANSWER).ok()?;
        serde_json::from_str(&answer).ok()
    }

    pub(crate) fn statuses(&self) -> Statuses {
        [self.status(0), self.status(1)]
    }

    /// Asks a node for something; true if it took the request.
    pub(crate) fn request(&self, node: usize, question: Question) -> bool {
        let answer = ask(&self.layout.node_control(node), &question, Duration::from_secs(1));
        answer.is_ok_and(|text| text.contains("\"done\""))
    }

    /// Waits until both nodes are as `wanted`, or says what they were instead.
    pub(crate) fn wait(
        &self,
        what: &str,
        limit: Duration,
        mut wanted: impl FnMut(&Statuses) -> bool,
    ) -> Result<Statuses, DriveError> {
        let until = Instant::now() + limit;
        loop {
            let statuses = self.statuses();
            if wanted(&statuses) {
                return Ok(statuses);
            }
            if Instant::now() >= until {
                return Err(DriveError::Waited { what: what.into(), limit, saw: in_words(&statuses) });
            }
            self.sleep(POLL)?;
        }
    }

    /// Sleeps, unless the run is interrupted.
    pub(crate) fn sleep(&self, span: Duration) -> Result<(), DriveError> {
        let until = Instant::now() + span;
        loop {
            if self.interrupted.load(Ordering::SeqCst) {
                return Err(DriveError::Interrupted);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }

    /// Every event that a node recorded at or after `since_ns`, also by lives that are over.
    pub(crate) fn events(&self, node: usize, since_ns: u64) -> Vec<EventReport> {
        let text = std::fs::read(self.layout.events(node)).unwrap_or_default();
        let lines =
            text.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice::<EventLine>(line).ok());
        lines.map(|line| line.event).filter(|event| event.at_ns >= since_ns).collect()
    }
}

/// Turns one direction of one of the relay's paths, and waits until that is in force.
pub(super) fn order_relay(control: &Path, path: &str, from: u8, action: Action) -> Result<(), DriveError> {
    let turn = Turn { path: path.into(), from, action, value: 0.0 };
    let what = format!("{action:?} {path}");
    let answer = ask(control, &turn, ORDER).map_err(failed(format!("the relay: {what}")))?;
    if answer == "ok" {
        return Ok(());
    }
    Err(DriveError::Refused { who: "the relay".into(), order: what, why: answer })
}

/// One question, one answer.
fn ask(socket: &Path, question: &impl Serialize, limit: Duration) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let mut line = serde_json::to_string(question)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    if BufReader::new(stream).read_line(&mut answer)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer.trim_end().to_owned())
}
