//! A pair of real engines and what surrounds them, moved on by whole units of time.
//!
//! Whatever is sent, written or ordered in one unit arrives, completes or is answered in a later one, so that
//! at the boundaries between units everything under way can be lost, delayed or overtaken by a crash.

use super::choice::Device;
use super::copies::{Mirror, Primary};
use super::family::Family;
use super::lives::store_id;
use super::oracle::Oracle;
use super::third::Third;
use crate::config::Config;
use crate::engine::{
    Action, Beat, DataReport, Engine, FenceAnswer, Input, OpKind, OpResult, OpTarget, ReleasedNotice,
    RoleName,
};
use crate::sim::permits::Permits;
use crate::sim::timeline::{Timeline, What};
use crate::{Epoch, GroupId, Incarnation, InitId, Instant, LinkId, Lsn, NodeRecord, OpId, WriteId};
use std::collections::VecDeque;
use std::sync::Arc;

/// One unit of time in nanoseconds: the engine's own least spacing of two beats, and the grain of canonical forms.
const UNIT: u64 = 1_000_000;
/// A device that works has done it after so many units, and says so at once.
pub(super) const EFFECT: u32 = 3;
/// An answer that comes too late comes after so many units.
pub(super) const LATE: u32 = 30;
/// A disk that is slow takes so many units for a write.
pub(super) const SLOW: u32 = 7;
/// What a socket holds for a stopped process.
const SOCKET: usize = 8;
/// Of so many own beats the world remembers the time, a link.
const SENT: usize = 16;

/// The instant `t` units after the clock's origin.
pub(super) const fn at(t: u32) -> Instant {
    Instant::from_nanos(t as u64 * UNIT)
}

#[derive(Clone)]
pub(super) struct Pending {
    pub op: OpId,
    pub group: usize,
    pub target: OpTarget,
    pub kind: OpKind,
    pub epoch: Epoch,
    pub due: u32,
    pub fails: bool,
}

#[derive(Clone)]
pub(super) struct Writing {
    pub id: WriteId,
    pub record: NodeRecord,
    pub began: u32,
    pub due: u32,
    pub fails: Option<bool>,
}

/// An order to a fence device. It outlives the process that gave it.
#[derive(Clone)]
pub(super) struct Order {
    pub by: usize,
    pub life: u32,
    pub op: OpId,
    pub ordered: u32,
    /// When the victim ends.
    pub hits: Option<u32>,
    pub answers: u32,
    pub fails: bool,
}

#[derive(Clone)]
pub(super) struct Node {
    pub power: bool,
    pub engine: Option<Engine>,
    pub incarnation: Incarnation,
    pub life: u32,
    pub boots: u32,
    pub stores: u32,
    pub frozen: bool,
    pub record: NodeRecord,
    pub write: Option<Writing>,
    pub slow_disk: bool,
    /// Until when the disk's slowness may show.
    pub disk_slow_until: u32,
    pub ops: Vec<Pending>,
    pub permits: Permits,
    pub roles: Vec<RoleName>,
    pub running: Vec<bool>,
    pub primary: Vec<Option<Primary>>,
    pub told: Vec<DataReport>,
    /// It said so since it owned the group.
    pub said_released: Vec<bool>,
    pub leaving: bool,
    /// Since when it has no process.
    pub down_since: Option<u32>,
    pub restart_at: Option<u32>,
    pub notice: Option<ReleasedNotice>,
    pub device: Device,
    /// The device cut its access to the storage.
    pub cut_off: bool,
    pub outside: u8,
    pub healthy_since: u32,
    /// By link: own beats with their times; the newest of the peer's that was heard; when the newest own beat
    /// that the peer is known to have heard was sent.
    pub sent: Vec<VecDeque<(u32, u32)>>,
    pub heard: Vec<u32>,
    pub echoed: Vec<u32>,
    /// By link: some beat of this life was echoed, by whichever life of the peer.
    pub ever_echoed: Vec<bool>,
    pub inbox: Vec<(LinkId, Beat)>,
}

/// The whole world.
#[derive(Clone)]
pub(super) struct World {
    #[cfg_attr(not(feature = "sabotage"), expect(dead_code, reason = "only a sabotage asks for it later"))]
    pub family: Arc<Family>,
    pub config: Arc<Config>,
    pub t: u32,
    pub nodes: [Node; 2],
    /// Beats under way, by receiver.
    pub flight: [Vec<(LinkId, Beat)>; 2],
    /// Beats that are delayed, by receiver.
    pub delayed: [Vec<(LinkId, Beat)>; 2],
    /// By link and sender: since when it is cut.
    pub cut: Vec<[bool; 2]>,
    pub clear_since: Vec<u32>,
    pub mirror_cut: [bool; 2],
    pub orders: Vec<Order>,
    pub mirrors: Vec<Option<Mirror>>,
    pub third: Option<Third>,
    pub oracle: Oracle,
    pub timeline: Option<Timeline>,
}

impl World {
    /// Two nodes without power, whose stores were initialised together.
    pub(super) fn new(family: &Arc<Family>) -> Self {
        let config = Arc::new(family.config.clone());
        let (links, groups) = (config.links.len(), config.groups.len());
        let node = |n: usize| Node {
            power: false,
            engine: None,
            incarnation: Incarnation(0),
            life: 0,
            boots: 0,
            stores: 0,
            frozen: false,
            record: NodeRecord::blank(store_id(n, 0), Some(InitId(7))),
            write: None,
            slow_disk: false,
            disk_slow_until: 0,
            ops: Vec::new(),
            permits: Permits::none(groups),
            roles: vec![RoleName::Waiting; groups],
            running: vec![false; groups],
            primary: vec![None; groups],
            told: vec![DataReport::default(); groups],
            said_released: vec![false; groups],
            leaving: false,
            down_since: None,
            restart_at: None,
            notice: None,
            device: Device::Works,
            cut_off: false,
            outside: 1,
            healthy_since: 0,
            sent: vec![VecDeque::new(); links],
            heard: vec![0; links],
            echoed: vec![0; links],
            ever_echoed: vec![false; links],
            inbox: Vec::new(),
        };
        let mirrors = config.groups.iter().map(|g| g.mirrored.then(Mirror::default)).collect();
        Self {
            family: family.clone(),
            t: 1000,
            nodes: [node(0), node(1)],
            flight: [Vec::new(), Vec::new()],
            delayed: [Vec::new(), Vec::new()],
            cut: vec![[false; 2]; links],
            clear_since: vec![0; links],
            mirror_cut: [false; 2],
            orders: Vec::new(),
            mirrors,
            third: config.arbiter.as_ref().map(|a| Third::new(groups, a.lease.as_millis() as u32)),
            oracle: Oracle::new(groups),
            timeline: None,
            config,
        }
    }

    pub(super) fn say(&mut self, node: Option<usize>, text: impl FnOnce() -> String) {
        let at = at(self.t).as_nanos();
        if let Some(timeline) = &mut self.timeline {
            timeline.add(at, node, What::World(text()));
        }
    }

    /// One unit of time passes.
    pub(super) fn advance(&mut self) {
        self.t += 1;
        self.devices_act();
        self.third_acts();
        let arriving = std::mem::take(&mut self.flight);
        self.flight = std::mem::take(&mut self.delayed);
        let notices = [0, 1].map(|n| self.notice_from(1 - n));
        for (n, beats) in arriving.into_iter().enumerate() {
            self.restart_if_due(n);
            if self.nodes[n].frozen {
                self.buffer(n, beats);
                continue;
            }
            if let Some(notice) = notices[n].clone() {
                self.feed(n, Input::Released(notice));
            }
            for (link, beat) in beats {
                self.beat_arrives(n, link, beat);
            }
            self.complete(n);
            self.tick(n);
        }
        for g in 0..self.mirrors.len() {
            self.move_mirror(g);
            self.check_actors(g);
        }
    }

    fn buffer(&mut self, n: usize, beats: Vec<(LinkId, Beat)>) {
        let inbox = &mut self.nodes[n].inbox;
        inbox.extend(beats);
        inbox.truncate(SOCKET);
    }

    pub(super) fn tick(&mut self, n: usize) {
        for _ in 0..2 {
            // A deadline between two boundaries is "at once, but not in this call".
            let due = self.nodes[n].engine.as_ref().is_some_and(|e| e.next_deadline() < at(self.t + 1));
            if !due {
                return;
            }
            self.feed(n, Input::Tick);
        }
    }

    /// Completions that are due: writes, operations, fence answers, the mirror's report.
    pub(super) fn complete(&mut self, n: usize) {
        let t = self.t;
        if self.nodes[n].engine.is_none() {
            return;
        }
        if let Some(w) = self.nodes[n].write.take_if(|w| w.due <= t) {
            if w.fails.unwrap_or(true) {
                self.nodes[n].record = w.record;
            }
            self.feed(n, Input::Persisted { write: w.id, ok: w.fails.is_none() });
        }
        while let Some(i) = self.nodes[n].ops.iter().position(|o| o.due <= t) {
            let done = self.nodes[n].ops.remove(i);
            self.op_ends(n, &done);
        }
        while let Some(i) = self.orders.iter().position(|o| o.by == n && o.answers <= t) {
            let order = self.orders.remove(i);
            self.device_answers(n, &order);
        }
        self.third_answers(n);
        for g in 0..self.mirrors.len() {
            self.report(n, g);
        }
    }

    fn op_ends(&mut self, n: usize, op: &Pending) {
        let done = if op.fails { OpResult::Failed } else { OpResult::Done { final_lsn: None } };
        let result = match (op.target, op.kind) {
            (OpTarget::Data, OpKind::Promote(rule)) if !op.fails => {
                if self.promote(n, op.group, op.epoch, rule) { done } else { OpResult::Failed }
            }
            (OpTarget::Data, OpKind::Demote) if !op.fails => {
                let held = self.demote(n, op.group);
                OpResult::Done { final_lsn: held.map(|n| Lsn(n as u64)) }
            }
            (OpTarget::Resource(_), OpKind::Stop) if !op.fails => {
                self.nodes[n].running[op.group] = false;
                done
            }
            _ => done,
        };
        self.feed(n, Input::OpDone { op: op.op, result });
    }

    fn device_answers(&mut self, n: usize, order: &Order) {
        if self.nodes[n].life != order.life {
            return;
        }
        let answer = if order.fails {
            FenceAnswer::Failed
        } else if self.is_off(1 - n) {
            FenceAnswer::Off { scope: self.scope() }
        } else {
            FenceAnswer::On
        };
        self.feed(n, Input::Fence { op: order.op, answer });
    }

    pub(super) fn feed(&mut self, n: usize, input: Input) {
        let now = at(self.t);
        let Some(engine) = &mut self.nodes[n].engine else { return };
        engine.handle(now, input);
        let mut actions = Vec::new();
        while let Some(action) = engine.next_action() {
            actions.push(action);
        }
        let life = self.nodes[n].life;
        for action in &actions {
            self.nodes[n].permits.take(action);
        }
        for action in actions {
            if self.nodes[n].engine.is_none() || self.nodes[n].life != life {
                break;
            }
            self.carry_out(n, action);
        }
    }

    fn carry_out(&mut self, n: usize, action: Action) {
        let t = self.t;
        match action {
            Action::SendBeat { link, beat } => self.send(n, link, beat),
            Action::Persist { write, record } => {
                let slow = std::mem::take(&mut self.nodes[n].slow_disk);
                let due = t + if slow { SLOW } else { 1 };
                self.nodes[n].write = Some(Writing { id: write, record, began: t, due, fails: None });
            }
            Action::Op { op, group, target, kind, epoch, .. } => {
                let group = usize::from(group.0);
                if let (OpTarget::Resource(_), OpKind::Start) = (target, kind) {
                    self.nodes[n].running[group] = true;
                }
                self.nodes[n].ops.push(Pending { op, group, target, kind, epoch, due: t + 1, fails: false });
            }
            Action::Cancel { op } => {
                // What hung ends a unit after it is cancelled; a stop that hangs does not.
                for o in self.nodes[n].ops.iter_mut().filter(|o| o.op == op) {
                    if matches!(o.kind, OpKind::Start | OpKind::Promote(_) | OpKind::Monitor) {
                        (o.due, o.fails) = (o.due.min(t + 1), true);
                    }
                }
            }
            Action::Acknowledge { group, epoch, rule } => self.set_rule(n, usize::from(group.0), epoch, rule),
            Action::FenceQuery { op, .. } => self.order(n, op, false),
            Action::FenceShoot { op, .. } => self.order(n, op, true),
            Action::Arbiter { op, group, request } => self.ask_third(n, op, usize::from(group.0), request),
            Action::EndSelf { reason } => {
                self.say(Some(n), || format!("the engine ends itself: {reason:?}"));
                self.process_dies(n, false);
            }
            Action::Reborn | Action::Departed | Action::Detached { .. } => {
                self.say(Some(n), || format!("{action:?}"));
                self.end_process(n, false);
            }
            Action::Event(event) => self.engine_says(n, event.kind),
            Action::Token { .. }
            | Action::Renew { .. }
            | Action::ForceData { .. }
            | Action::SurrenderData { .. } => {}
        }
    }

    fn send(&mut self, n: usize, link: LinkId, beat: Beat) {
        let l = usize::from(link.0);
        self.check_statements(n, &beat);
        let sent = &mut self.nodes[n].sent[l];
        if sent.len() == SENT {
            sent.pop_front();
        }
        sent.push_back((beat.seq, self.t));
        if !self.cut[l][n] {
            self.flight[1 - n].push((link, beat));
        }
    }

    pub(super) fn beat_arrives(&mut self, n: usize, link: LinkId, beat: Beat) {
        let l = usize::from(link.0);
        let current = self.nodes[1 - n].incarnation == beat.incarnation;
        let node = &mut self.nodes[n];
        if current {
            node.heard[l] = beat.seq;
        }
        let mine = beat.echo.filter(|_| node.engine.is_some() && beat.to == Some(node.incarnation));
        let sent = mine.and_then(|echo| node.sent[l].iter().find(|(seq, _)| *seq == echo));
        if let Some((_, sent)) = sent {
            node.ever_echoed[l] = true;
            if current {
                node.echoed[l] = node.echoed[l].max(*sent);
            }
        }
        self.feed(n, Input::Beat { link, beat });
    }

    /// Whether the node holds a permission for the group at this instant and runs.
    pub(super) fn acting(&self, n: usize, g: usize) -> Option<Epoch> {
        let node = &self.nodes[n];
        if node.engine.is_none() || node.frozen || node.cut_off {
            return None;
        }
        node.permits.at(g, at(self.t))
    }

    pub(super) fn runs(&self, n: usize) -> bool {
        self.nodes[n].engine.is_some() && !self.nodes[n].frozen
    }

    pub(super) const fn group_id(g: usize) -> GroupId {
        GroupId(g as u16)
    }
}
