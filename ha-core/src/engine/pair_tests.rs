//! Two engines joined by hand: the ordinary life of a pair, step by step.

use super::*;
use crate::config::{Config, FenceConfig, GroupConfig, LinkConfig, ResourceConfig};
use crate::*;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) fn config(mirrored: bool) -> Config {
    let group = GroupConfig::new("mail").then(ResourceConfig::new("smtp"));
    Config::pair("test", "n1", "n2")
        .link(LinkConfig::datagram("udp0", ms(20), ms(200)))
        .link(LinkConfig::serial("tty0", ms(50), ms(250), 115_200))
        .group(if mirrored { group.mirrored() } else { group })
        .fence(FenceConfig::new(ms(100)))
}

/// An operation that a node's engine ordered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) node: usize,
    pub(super) op: OpId,
    pub(super) target: OpTarget,
    pub(super) kind: OpKind,
}

/// A pair whose effects all take one millisecond, and whose mirror is always caught up while the line is there.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) cfg: Arc<Config>,
    pub(super) now: Instant,
    pub(super) nodes: [Option<Engine>; 2],
    pub(super) records: [NodeRecord; 2],
    pub(super) tokens: [Option<(Epoch, Instant)>; 2],
    /// The end of common permissions.
    until: [Instant; 2],
    pub(super) in_flight: VecDeque<(Instant, usize, Input)>,
    pub(super) cut: BTreeSet<(usize, u8)>,
    pub(super) mirror_cut: bool,
    pub(super) fence_works: bool,
    pub(super) fence_ends: FenceScope,
    pub(super) promoted: [Option<(Epoch, AckRule)>; 2],
    pub(super) log: Vec<(Instant, usize, EventKind)>,
    pub(super) ends: Vec<(usize, Action)>,
    /// What was ordered of resources and data.
    pub(super) orders: Vec<Order>,
    lives: u128,
}

impl Pair {
    pub(super) fn new(cfg: Config) -> Self {
        let init = Some(InitId(7));
        let records = [NodeRecord::blank(StoreId(1 << 96), init), NodeRecord::blank(StoreId(2 << 96), init)];
        let mut pair = Self {
            cfg: Arc::new(cfg),
            now: Instant::from_nanos(1_000_000_000),
            nodes: [None, None],
            records,
            tokens: [None, None],
            until: [Instant::ZERO; 2],
            in_flight: VecDeque::new(),
            cut: BTreeSet::new(),
            mirror_cut: false,
            fence_works: true,
            fence_ends: FenceScope::Incarnation,
            promoted: [None, None],
            log: Vec::new(),
            ends: Vec::new(),
            orders: Vec::new(),
            lives: 1,
        };
        pair.boot(0);
        pair.boot(1);
        pair
    }

    pub(super) fn boot(&mut self, n: usize) {
        self.boot_after(n, Predecessor::Gone);
    }

    pub(super) fn boot_after(&mut self, n: usize, predecessor: Predecessor) {
        self.lives += 1;
        let boot = Boot {
            me: NodeId(n as u8),
            incarnation: Incarnation(self.lives << 96),
            boot: BootId(self.lives),
            record: self.records[n].clone(),
            predecessor,
            guarded: true,
            outside: 1,
        };
        let mut engine = Engine::boot(self.cfg.clone(), boot, self.now);
        engine.check_marks();
        self.nodes[n] = Some(engine);
        self.feed(n, Input::Tick);
    }

    pub(super) fn kill(&mut self, n: usize) {
        self.nodes[n] = None;
        self.tokens[n] = None;
        self.promoted[n] = None;
        self.in_flight.retain(|(_, to, _)| *to != n);
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

    fn later(&mut self, n: usize, input: Input) {
        self.in_flight.push_back((self.now + ms(1), n, input));
    }

    fn carry_out(&mut self, n: usize, action: Action) {
        match action {
            Action::SendBeat { link, beat } => {
                if !self.cut.contains(&(n, link.0)) {
                    self.later(1 - n, Input::Beat { link, beat });
                }
            }
            Action::Persist { write, record } => {
                self.records[n] = record;
                self.later(n, Input::Persisted { write, ok: true });
            }
            Action::Token { permission, .. } => {
                self.tokens[n] = match permission {
                    Permission::Valid { epoch, until } => Some((epoch, until)),
                    Permission::Common { epoch } => Some((epoch, self.until[n])),
                    _ => None,
                };
            }
            Action::Renew { until } => {
                self.until[n] = until;
                self.tokens[n] = self.tokens[n].map(|(epoch, _)| (epoch, until));
            }
            Action::Op { op, kind, epoch, target, .. } => {
                self.orders.push(Order { node: n, op, target, kind });
                match kind {
                    OpKind::Promote(rule) => self.promoted[n] = Some((epoch, rule)),
                    OpKind::Demote => self.promoted[n] = None,
                    _ => {}
                }
                let result = match kind {
                    OpKind::Monitor => OpResult::Health(Health::Running),
                    OpKind::Demote => OpResult::Done { final_lsn: Some(Lsn(5)) },
                    _ => OpResult::Done { final_lsn: None },
                };
                self.later(n, Input::OpDone { op, result });
            }
            Action::Acknowledge { epoch, rule, .. } => self.promoted[n] = Some((epoch, rule)),
            Action::FenceQuery { op, target } => {
                let off = self.nodes[usize::from(target.0)].is_none();
                self.answer_fence(n, op, off);
            }
            Action::FenceShoot { op, target } => {
                if self.fence_works {
                    self.kill(usize::from(target.0));
                }
                self.answer_fence(n, op, self.fence_works);
            }
            Action::Arbiter { .. } => {}
            Action::Event(e) => self.log.push((self.now, n, e.kind)),
            Action::EndSelf { .. } | Action::Reborn | Action::Departed | Action::Detached { .. } => {
                self.ends.push((n, action))
            }
            Action::Cancel { .. } | Action::ForceData { .. } | Action::SurrenderData { .. } => {}
        }
    }

    fn answer_fence(&mut self, n: usize, op: OpId, off: bool) {
        let answer = match (self.fence_works, off) {
            (false, _) => FenceAnswer::Failed,
            (true, true) => FenceAnswer::Off { scope: self.fence_ends },
            (true, false) => FenceAnswer::On,
        };
        self.later(n, Input::Fence { op, answer });
    }

    fn report(&mut self, n: usize) {
        let other = self.nodes[1 - n].as_ref().map(|e| e.status().incarnation);
        let linked = !self.mirror_cut && other.is_some();
        let report = DataReport {
            durable: Lsn(5),
            connected: linked,
            stalled: self.promoted[n].is_some() && !linked,
            caught_up: self.promoted[n]
                .filter(|_| linked)
                .zip(other)
                .map(|((epoch, _), incarnation)| CaughtUp { epoch, incarnation }),
            rule: self.promoted[n].map(|(_, rule)| rule),
            diverged: false,
            overtaken: None,
        };
        self.feed(n, Input::Data { group: GroupId(0), report });
    }

    /// Runs for `span`, a millisecond a step; at most one node may hold a valid permission at any instant.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.now += ms(1);
            while self.in_flight.front().is_some_and(|(at, _, _)| *at <= self.now) {
                let (_, n, input) = self.in_flight.pop_front().unwrap();
                self.feed(n, input);
            }
            for n in 0..2 {
                self.report(n);
                if self.nodes[n].as_ref().is_some_and(|e| e.next_deadline() <= self.now) {
                    self.feed(n, Input::Tick);
                }
            }
            let active = self.tokens.iter().filter(|t| t.is_some_and(|(_, until)| until > self.now)).count();
            assert!(active <= 1, "two permissions at {:?}\n{:#?}", self.now, self.log);
        }
    }

    pub(super) fn status(&self, n: usize) -> GroupStatus {
        self.nodes[n].as_ref().unwrap().status().groups[0].clone()
    }

    pub(super) fn settled(cfg: Config) -> Self {
        let mut pair = Self::new(cfg);
        pair.run(ms(1000));
        let s = pair.status(0);
        assert_eq!(s.role, RoleName::Active, "{:#?}", pair.log);
        pair
    }
}

#[test]
fn two_fresh_stores_give_the_preferred_node_the_first_epoch_and_full_protection() {
    let pair = Pair::settled(config(true));
    assert_eq!(pair.status(0).proof, Some(StopProof::NeverStarted));
    assert_eq!(pair.status(0).epoch, Epoch(1));
    assert_eq!(pair.status(0).protection, Protection::Full, "{:#?}", pair.log);
    assert!(pair.status(1).viable);
}

#[test]
fn a_power_loss_of_the_active_is_taken_over_on_the_fence_devices_word() {
    let mut pair = Pair::settled(config(true));
    pair.kill(0);
    pair.run(ms(400));
    assert_eq!(pair.status(1).role, RoleName::Active, "{:#?}", pair.log);
    assert_eq!(pair.status(1).epoch, Epoch(2));
    assert_eq!(pair.status(1).exclusion, Some(ExclusionProof::Fenced));
    pair.boot(0);
    pair.run(ms(1000));
    assert_eq!(pair.status(1).protection, Protection::Full, "{:#?}", pair.log);
    assert_eq!(pair.status(0).role, RoleName::Standby);
    assert!(pair.status(0).viable);
}

#[test]
fn a_power_loss_of_the_standby_leaves_the_owner_alone_in_the_same_epoch() {
    let mut pair = Pair::settled(config(true));
    pair.kill(1);
    pair.run(ms(400));
    assert_eq!(pair.status(0).epoch, Epoch(1));
    assert_eq!(pair.status(0).protection, Protection::Standalone, "{:#?}", pair.log);
    pair.boot(1);
    pair.run(ms(1000));
    assert_eq!(pair.status(0).protection, Protection::Full, "{:#?}", pair.log);
}

#[test]
fn a_cut_mirror_line_is_answered_with_consent_and_heals() {
    let mut pair = Pair::settled(config(true));
    pair.mirror_cut = true;
    pair.run(ms(200));
    assert_eq!(pair.status(0).exclusion, Some(ExclusionProof::Consented), "{:#?}", pair.log);
    assert!(!pair.status(1).viable);
    pair.mirror_cut = false;
    pair.run(ms(300));
    assert_eq!(pair.status(0).protection, Protection::Full, "{:#?}", pair.log);
}

#[test]
fn a_switchover_moves_the_group_and_needs_no_deadline() {
    let mut pair = Pair::settled(config(true));
    pair.feed(0, Input::Command(Command::Switchover(GroupId(0))));
    pair.run(ms(40));
    assert_eq!(pair.status(1).role, RoleName::Active, "{:#?}", pair.log);
    assert_eq!(pair.status(1).epoch, Epoch(2));
    pair.run(ms(500));
    assert_eq!(pair.status(1).protection, Protection::Full, "{:#?}", pair.log);
    assert!(pair.status(0).viable);
}

#[test]
fn a_guardians_word_moves_the_group_at_once() {
    let mut pair = Pair::settled(config(true));
    let life = pair.nodes[0].as_ref().unwrap().status().incarnation;
    pair.kill(0);
    let notice = ReleasedNotice { incarnation: life, groups: vec![(GroupId(0), Epoch(1))], complete: true };
    pair.feed(1, Input::Released(notice));
    pair.run(ms(10));
    assert_eq!(pair.status(1).role, RoleName::Active, "{:#?}", pair.log);
    assert_eq!(pair.status(1).exclusion, Some(ExclusionProof::Departed));
}

#[test]
fn a_guardians_word_that_is_said_again_proves_nothing_about_the_grant_made_on_it() {
    for mirrored in [false, true] {
        let mut pair = Pair::settled(config(mirrored));
        let life = pair.nodes[0].as_ref().unwrap().status().incarnation;
        pair.kill(0);
        let notice =
            ReleasedNotice { incarnation: life, groups: vec![(GroupId(0), Epoch(1))], complete: true };
        pair.feed(1, Input::Released(notice.clone()));
        pair.run(ms(10));
        assert_eq!(pair.status(1).epoch, Epoch(2), "{:#?}", pair.log);
        pair.feed(1, Input::Released(notice));
        pair.boot(0);
        pair.run(ms(1000));
        pair.feed(1, Input::Command(Command::Switchover(GroupId(0))));
        pair.run(ms(500));
        // With the old word as a proof the former owner takes back at once what it has just released.
        assert_eq!(pair.status(0).role, RoleName::Active, "{:#?}", pair.log);
        assert_eq!((pair.status(0).epoch, pair.status(1).role), (Epoch(3), RoleName::Standby));
    }
}

#[test]
fn cut_beats_and_a_dead_device_leave_a_question_and_one_owner() {
    let mut pair = Pair::settled(config(true));
    pair.fence_works = false;
    pair.mirror_cut = true;
    pair.cut = [(0, 0), (0, 1), (1, 0), (1, 1)].into();
    pair.run(ms(3000));
    assert_eq!(pair.status(1).question, Some(Question::NoStopProof), "{:#?}", pair.log);
    assert_eq!(pair.status(0).question, Some(Question::NoExclusionProof));
    pair.cut.clear();
    pair.mirror_cut = false;
    pair.run(ms(500));
    assert_eq!(pair.status(0).epoch, Epoch(1));
    assert_eq!(pair.status(0).question, None, "{:#?}", pair.log);
    assert_eq!(pair.status(0).role, RoleName::Active);
}

#[test]
fn in_full_isolation_the_owner_shoots_first_and_only_once() {
    let mut pair = Pair::settled(config(true));
    pair.mirror_cut = true;
    pair.cut = [(0, 0), (0, 1), (1, 0), (1, 1)].into();
    pair.run(ms(3000));
    let shots: Vec<_> =
        pair.log.iter().filter(|(_, _, e)| *e == EventKind::Shoot).map(|(_, n, _)| *n).collect();
    assert_eq!(shots, [0], "{:#?}", pair.log);
    assert_eq!(pair.status(0).protection, Protection::Standalone);
}

#[test]
fn an_owner_whose_permission_ran_out_is_confirmed_by_the_peer() {
    let mut pair = Pair::settled(config(true));
    // Only its own clock tells the owner that it slept.
    pair.now += ms(150);
    pair.run(ms(30));
    let suspended =
        pair.log.iter().any(|(_, _, e)| matches!(e, EventKind::Role { role: RoleName::Suspended, .. }));
    assert!(suspended, "{:#?}", pair.log);
    assert_eq!(pair.status(0).role, RoleName::Active);
    assert_eq!(pair.status(0).epoch, Epoch(1));
}

#[test]
fn after_a_total_power_loss_the_last_owner_returns_and_a_single_node_asks() {
    let mut pair = Pair::settled(config(true));
    pair.kill(0);
    pair.kill(1);
    pair.boot(1);
    pair.run(ms(2000));
    assert_eq!(pair.status(1).question, Some(Question::PeerAbsent), "{:#?}", pair.log);
    pair.boot(0);
    pair.run(ms(1000));
    assert_eq!(pair.status(0).role, RoleName::Active, "{:#?}", pair.log);
    assert!(matches!(pair.status(0).proof, Some(StopProof::Yielded { .. })));
    assert_eq!(pair.status(0).protection, Protection::Full);
}

#[test]
fn an_orderly_departure_hands_over_and_says_goodbye() {
    let mut pair = Pair::settled(config(true));
    pair.feed(0, Input::Command(Command::Shutdown));
    pair.run(ms(300));
    assert_eq!(pair.ends, [(0, Action::Departed)], "{:#?}", pair.log);
    assert_eq!(pair.status(1).role, RoleName::Active);
    assert_eq!(pair.status(1).protection, Protection::Standalone, "{:#?}", pair.log);
}

#[test]
fn a_group_without_data_moves_too() {
    let mut pair = Pair::settled(config(false));
    pair.kill(0);
    pair.run(ms(400));
    assert_eq!(pair.status(1).role, RoleName::Active, "{:#?}", pair.log);
}
