//! Two engines with several groups without data, whose resources do as they are told.

use crate::config::{Config, FenceConfig, GroupConfig, GroupPolicy, LinkConfig, ResourceConfig};
use crate::engine::*;
use crate::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub(super) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) const A: usize = 0;
pub(super) const B: usize = 1;

/// A group of one resource that is monitored every 100 ms.
pub(super) fn group(name: &str, preferred: u8, policy: GroupPolicy) -> GroupConfig {
    let mut resource = ResourceConfig::new("service").with_monitor_interval(ms(100));
    resource.monitor_timeout = ms(50);
    GroupConfig::new(name).preferring(NodeId(preferred)).with_policy(policy).then(resource)
}

pub(super) fn pair(groups: impl IntoIterator<Item = GroupConfig>) -> Config {
    let config = Config::pair("duo", "a", "b")
        .link(LinkConfig::datagram("udp0", ms(20), ms(200)))
        .fence(FenceConfig::new(ms(100)));
    groups.into_iter().fold(config, Config::group)
}

pub(super) struct Duo {
    pub(super) cfg: Arc<Config>,
    pub(super) now: Instant,
    pub(super) nodes: [Option<Engine>; 2],
    pub(super) records: [NodeRecord; 2],
    /// Who holds a permission; its end is the node's.
    tokens: BTreeSet<(usize, u16)>,
    until: [Instant; 2],
    in_flight: VecDeque<(Instant, usize, Input)>,
    pub(super) cut: bool,
    /// How long a beat is under way.
    pub(super) latency: Duration,
    pub(super) outside: [u8; 2],
    /// Nodes and groups whose starts fail.
    pub(super) start_fails: BTreeSet<(usize, u16)>,
    /// What monitors find; absent: running. `None`: they do not come back.
    pub(super) health: BTreeMap<(usize, u16), Option<Health>>,
    /// How long a drain takes.
    pub(super) drain: Duration,
    pub(super) resume_fails: bool,
    /// A resume does not come back.
    pub(super) resume_hangs: bool,
    /// This node's words about its health and the outside are never heard.
    pub(super) mute_about_health: Option<usize>,
    /// Monitors fail by themselves.
    pub(super) monitor_fails: bool,
    /// This node's word that it is ready is never heard.
    pub(super) never_ready: Option<usize>,
    /// Starts, stops, drains and resumes, in order.
    pub(super) done: Vec<(usize, u16, OpKind)>,
    pub(super) log: Vec<(Instant, usize, EventKind)>,
    /// Operations under way, the most there ever were.
    pub(super) most_ops: usize,
    under_way: BTreeSet<(usize, OpId)>,
    lives: u128,
}

impl Duo {
    pub(super) fn new(cfg: Config) -> Self {
        let init = Some(InitId(7));
        let mut duo = Self {
            cfg: cfg.check().unwrap().arc(),
            now: Instant::from_nanos(1_000_000_000),
            nodes: [None, None],
            records: [NodeRecord::blank(StoreId(1 << 96), init), NodeRecord::blank(StoreId(2 << 96), init)],
            tokens: BTreeSet::new(),
            until: [Instant::ZERO; 2],
            in_flight: VecDeque::new(),
            cut: false,
            latency: ms(1),
            outside: [2, 2],
            start_fails: BTreeSet::new(),
            health: BTreeMap::new(),
            drain: ms(1),
            resume_fails: false,
            resume_hangs: false,
            mute_about_health: None,
            monitor_fails: false,
            never_ready: None,
            done: Vec::new(),
            log: Vec::new(),
            most_ops: 0,
            under_way: BTreeSet::new(),
            lives: 1,
        };
        duo.boot(A);
        duo.boot(B);
        duo
    }

    /// Every group is active where it is preferred.
    pub(super) fn settled(cfg: Config) -> Self {
        let mut duo = Self::new(cfg);
        duo.run(ms(1000));
        for g in 0..duo.cfg.groups.len() as u16 {
            let at = usize::from(duo.cfg.groups[usize::from(g)].preferred.0);
            assert_eq!(duo.serving(g), Some(at), "{:#?}", duo.log);
        }
        duo.log.clear();
        duo.done.clear();
        duo
    }

    pub(super) fn boot(&mut self, n: usize) {
        self.lives += 1;
        let boot = Boot {
            me: NodeId(n as u8),
            incarnation: Incarnation(self.lives << 96),
            boot: BootId(self.lives),
            record: self.records[n].clone(),
            predecessor: Predecessor::Gone,
            guarded: true,
            outside: self.outside[n],
        };
        let mut engine = Engine::boot(self.cfg.clone(), boot, self.now);
        engine.check_marks();
        self.nodes[n] = Some(engine);
        self.feed(n, Input::Tick);
    }

    pub(super) fn kill(&mut self, n: usize) {
        self.nodes[n] = None;
        self.tokens.retain(|(node, _)| *node != n);
        self.in_flight.retain(|(_, to, _)| *to != n);
        self.under_way.retain(|(node, _)| *node != n);
    }

    pub(super) fn command(&mut self, n: usize, command: Command) {
        self.feed(n, Input::Command(command));
    }

    pub(super) fn reach(&mut self, n: usize, reachable: u8) {
        self.outside[n] = reachable;
        self.feed(n, Input::Outside { reachable });
    }

    pub(super) fn feed(&mut self, n: usize, input: Input) {
        let Some(engine) = &mut self.nodes[n] else { return };
        engine.handle(self.now, input);
        let mut actions = Vec::new();
        while let Some(a) = engine.next_action() {
            actions.push(a);
        }
        for a in actions {
            self.carry_out(n, a);
        }
    }

    fn later(&mut self, n: usize, after: Duration, input: Input) {
        let at = self.now + after;
        let place = self.in_flight.partition_point(|(other, ..)| *other <= at);
        self.in_flight.insert(place, (at, n, input));
    }

    fn carry_out(&mut self, n: usize, action: Action) {
        match action {
            Action::SendBeat { link, mut beat } if !self.cut => {
                if self.never_ready == Some(n) {
                    beat.statements.retain(|said| !matches!(said, Statement::Ready { .. }));
                }
                if self.mute_about_health == Some(n) {
                    beat.statements.retain(|said| !matches!(said, Statement::Health { .. }));
                }
                self.later(1 - n, self.latency, Input::Beat { link, beat })
            }
            Action::Persist { write, record } => {
                self.records[n] = record;
                self.later(n, ms(1), Input::Persisted { write, ok: true });
            }
            Action::Token { group, permission } => {
                match permission {
                    Permission::Common { .. } => self.tokens.insert((n, group.0)),
                    _ => self.tokens.remove(&(n, group.0)),
                };
            }
            Action::Renew { until } => self.until[n] = until,
            Action::Op { op, group, kind, .. } => self.operate(n, op, group.0, kind),
            Action::FenceQuery { op, target } | Action::FenceShoot { op, target } => {
                let off = self.nodes[usize::from(target.0)].is_none();
                let scope = FenceScope::Incarnation;
                let answer = if off { FenceAnswer::Off { scope } } else { FenceAnswer::On };
                self.later(n, ms(1), Input::Fence { op, answer });
            }
            Action::Event(e) => self.log.push((self.now, n, e.kind)),
            _ => {}
        }
    }

    fn operate(&mut self, n: usize, op: OpId, g: u16, kind: OpKind) {
        self.under_way.insert((n, op));
        self.most_ops = self.most_ops.max(self.under_way.len());
        if kind != OpKind::Monitor {
            self.done.push((n, g, kind));
        }
        let fails = match kind {
            OpKind::Start => self.start_fails.contains(&(n, g)),
            OpKind::Resume => self.resume_fails,
            _ => false,
        };
        let found = self.health.get(&(n, g)).copied().unwrap_or(Some(Health::Running));
        let result = match (kind, found) {
            (OpKind::Monitor, None) => return,
            (OpKind::Resume, _) if self.resume_hangs => return,
            (OpKind::Monitor, _) if self.monitor_fails => OpResult::Failed,
            (OpKind::Monitor, Some(health)) => OpResult::Health(health),
            _ if fails => OpResult::Failed,
            _ => OpResult::Done { final_lsn: None },
        };
        let after = if kind == OpKind::Drain { self.drain } else { ms(1) };
        self.later(n, after, Input::OpDone { op, result });
    }

    /// Runs for `span`; at most one node may act in a group at any instant. `look` sees every millisecond.
    pub(super) fn watch(&mut self, span: Duration, mut look: impl FnMut(&Self)) {
        let end = self.now + span;
        while self.now < end {
            self.now += ms(1);
            while self.in_flight.front().is_some_and(|(at, ..)| *at <= self.now) {
                let (_, n, input) = self.in_flight.pop_front().unwrap();
                if let Input::OpDone { op, .. } = input {
                    self.under_way.remove(&(n, op));
                }
                self.feed(n, input);
            }
            for n in 0..2 {
                if self.nodes[n].as_ref().is_some_and(|e| e.next_deadline() <= self.now) {
                    self.feed(n, Input::Tick);
                }
            }
            for g in 0..self.cfg.groups.len() as u16 {
                let acting = (0..2).filter(|n| self.tokens.contains(&(*n, g)) && self.until[*n] > self.now);
                assert!(acting.count() <= 1, "two act in group {g} at {:?}\n{:#?}", self.now, self.log);
            }
            look(self);
        }
    }

    pub(super) fn run(&mut self, span: Duration) {
        self.watch(span, |_| {});
    }

    pub(super) fn status(&self, n: usize, g: u16) -> GroupStatus {
        self.nodes[n].as_ref().unwrap().status().groups[usize::from(g)].clone()
    }

    pub(super) fn role(&self, n: usize, g: u16) -> Option<RoleName> {
        self.nodes[n].as_ref().map(|e| e.status().groups[usize::from(g)].role)
    }

    pub(super) fn serving(&self, g: u16) -> Option<usize> {
        (0..2).find(|n| self.role(*n, g) == Some(RoleName::Active))
    }

    pub(super) fn placement(&self, n: usize, g: u16) -> Placement {
        self.status(n, g).policy.placement
    }

    pub(super) fn said(&self, n: usize, kind: &EventKind) -> bool {
        self.log.iter().any(|(_, by, k)| *by == n && k == kind)
    }

    pub(super) fn grants(&self, g: u16) -> Vec<(Instant, usize)> {
        let granted = |k: &EventKind| matches!(k, EventKind::Granted { group, .. } if group.0 == g);
        self.log.iter().filter(|(_, _, k)| granted(k)).map(|(at, n, _)| (*at, *n)).collect()
    }
}
