//! Two engines with nothing between them but frames: every effect is done at once, so that only the engines' own
//! steps and the frames cost anything.
#![allow(dead_code, reason = "the bench and the test use different parts")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "what a step takes is measured outside of it"
)]

use ha_core::config::{Config, FenceConfig, GroupConfig, LinkConfig, ResourceConfig};
use ha_core::engine::{Action, Boot, Engine, Health, Input, OpKind, OpResult, Predecessor, RoleName};
use ha_core::wire::{LinkSession, PairKey, Received};
use ha_core::{BootId, Incarnation, InitId, Instant, LinkId, NodeId, NodeRecord, StoreId};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A step of the engine that is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Beat,
    Tick,
}

struct Node {
    engine: Engine,
    links: Vec<LinkSession>,
    frame: Vec<u8>,
}

pub struct Duo {
    nodes: [Node; 2],
    now: Instant,
    inbox: VecDeque<(usize, Input)>,
    actions: Vec<Action>,
    /// What each step of this node and kind took, while somebody wants to know.
    measured: Option<(usize, Kind, Vec<Duration>)>,
    /// Beats that arrived.
    pub heard: u64,
}

/// Each group's preferred node.
pub fn config(preferred: &[u8]) -> Config {
    let ms = Duration::from_millis;
    let base = Config::pair("duo", "n1", "n2")
        .link(LinkConfig::datagram("lan0", ms(50), ms(300)))
        .link(LinkConfig::datagram("lan1", ms(50), ms(300)))
        .fence(FenceConfig::new(ms(100)));
    preferred.iter().enumerate().fold(base, |config, (n, node)| {
        let server = ResourceConfig::new("server").with_monitor_interval(Duration::from_secs(3599));
        let mut group = GroupConfig::new(&format!("g{n}")).then(server);
        group.preferred = NodeId(*node);
        config.group(group)
    })
}

fn boot(config: &Arc<Config>, n: usize, now: Instant) -> Node {
    let incarnation = Incarnation(7 + n as u128);
    let record = NodeRecord::blank(StoreId(1 + n as u128), Some(InitId(5)));
    let me = NodeId(n as u8);
    let boot = BootId(n as u128);
    let boot =
        Boot { me, incarnation, boot, record, predecessor: Predecessor::Gone, guarded: true, outside: 1 };
    let key = PairKey::from_bytes(&[7; 32]).unwrap();
    let link = |l| LinkSession::new(&key, "duo", LinkId(l), me, incarnation, 1000 * (n as u64 + 1));
    let links = (0..config.links.len() as u8).map(link).collect();
    let engine = Engine::boot(config.clone(), boot, now);
    Node { engine, links, frame: Vec::new() }
}

impl Duo {
    pub fn new(config: Config) -> Self {
        let config = config.check().unwrap().arc();
        let now = Instant::from_nanos(1_000_000_000);
        let nodes = [boot(&config, 0, now), boot(&config, 1, now)];
        let (inbox, actions) = (VecDeque::new(), Vec::new());
        Self { nodes, now, inbox, actions, measured: None, heard: 0 }
    }

    /// A pair in which every group is active where it is preferred.
    pub fn at_rest(preferred: &[u8]) -> Self {
        let mut duo = Self::new(config(preferred));
        let rests = |duo: &Self| {
            duo.nodes.iter().enumerate().all(|(n, node)| {
                let owned = preferred.iter().filter(|p| usize::from(**p) == n).count();
                node.engine.owned().len() == owned
                    && node
                        .engine
                        .status()
                        .groups
                        .iter()
                        .all(|g| matches!(g.role, RoleName::Active | RoleName::Standby))
            })
        };
        for _ in 0..2_000 {
            (0..20).for_each(|_| duo.advance());
            if rests(&duo) {
                // Until the slowest rotation of statements told everything.
                (0..20 * 400).for_each(|_| duo.advance());
                return duo;
            }
        }
        let status: Vec<_> =
            duo.nodes.iter().map(|n| (n.engine.owned().len(), n.engine.status().groups[0].clone())).collect();
        panic!("not at rest: {status:?}");
    }

    /// What at least `count` steps of the node and kind took, each.
    pub fn measure(&mut self, n: usize, kind: Kind, count: u64) -> Vec<Duration> {
        self.measured = Some((n, kind, Vec::new()));
        while self.measured.as_ref().is_some_and(|(.., took)| (took.len() as u64) < count) {
            self.advance();
        }
        self.measured.take().map(|(.., took)| took).unwrap_or_default()
    }

    /// Lets time pass to the next deadline of either node, and everything happen that follows from it.
    pub fn advance(&mut self) {
        let due = [0, 1].map(|n| self.nodes[n].engine.next_deadline());
        let n = usize::from(due[1] < due[0]);
        self.now = self.now.max(due[n]);
        self.feed(n, Input::Tick);
        while let Some((n, input)) = self.inbox.pop_front() {
            self.feed(n, input);
        }
    }

    fn feed(&mut self, n: usize, input: Input) {
        let (node, actions) = (&mut self.nodes[n], &mut self.actions);
        let kind = match input {
            Input::Beat { .. } => Some(Kind::Beat),
            Input::Tick => Some(Kind::Tick),
            _ => None,
        };
        let begun = std::time::Instant::now();
        node.engine.handle(self.now, input);
        while let Some(action) = node.engine.next_action() {
            actions.push(action);
        }
        let took = begun.elapsed();
        if let Some((of, wanted, all)) = &mut self.measured
            && (*of, Some(*wanted)) == (n, kind)
        {
            all.push(took);
        }
        let mut actions = std::mem::take(&mut self.actions);
        actions.drain(..).for_each(|action| self.carry_out(n, action));
        self.actions = actions;
    }

    fn carry_out(&mut self, n: usize, action: Action) {
        match action {
            Action::SendBeat { link, beat } => {
                let place = usize::from(link.0);
                let Node { links, frame, .. } = &mut self.nodes[n];
                links[place].encode(&beat, frame).unwrap();
                links[place].reuse(beat.statements);
                let frame = std::mem::take(&mut self.nodes[n].frame);
                if let Ok(Received::Beat(beat) | Received::Greeting(beat)) =
                    self.nodes[1 - n].links[place].decode(&frame)
                {
                    self.heard += 1;
                    self.inbox.push_back((1 - n, Input::Beat { link, beat }));
                }
                self.nodes[n].frame = frame;
            }
            Action::Persist { write, .. } => self.inbox.push_back((n, Input::Persisted { write, ok: true })),
            Action::Op { op, kind, .. } => {
                let result = match kind {
                    OpKind::Monitor => OpResult::Health(Health::Running),
                    _ => OpResult::Done { final_lsn: None },
                };
                self.inbox.push_back((n, Input::OpDone { op, result }));
            }
            _ => {}
        }
    }
}
