//! An engine's process: what reaches it, what it decides, and how that is carried out.

use super::cluster::{Cluster, Event, MS, SECOND, nanos};
use super::invariant::{Broken, Invariant, Recording, Verdict, nothing_left, one_actor, one_address};
use super::node::{DataView, Guardian, Op, Process};
use super::permits::Permits;
use super::scenario::Moment;
use super::timeline::What;
use crate::engine::{
    Action, Beat, Boot, Command, DetachStep, EndReason, Engine, Event as Report, EventKind, Input, LinkState,
    OpKind, OpTarget, Predecessor, RoleName, Statement,
};
use crate::{Epoch, GroupId, Incarnation, Instant, LinkId, NodeId, StopProof};
use std::collections::{BTreeMap, VecDeque};

/// Frames that a socket holds for a stopped process.
const SOCKET_FRAMES: usize = 256;
/// Beats of whose sending the world remembers the time, a link.
const REMEMBERED_BEATS: usize = 64;

/// Of so many seeds in one the engines have witnesses ([`Engine::check_marks`]).
const WITNESSED: u64 = 16;

/// Whether every engine of a simulation has a witness.
pub(super) fn all_are_witnessed() -> bool {
    static ALL: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ALL.get_or_init(|| std::env::var_os("HA_SIM_WITNESS").is_some())
}

impl Cluster {
    /// Starts a new life on a powered node without one.
    pub(super) fn restart(&mut self, node: usize, cycle: u32) {
        let n = &self.nodes[node];
        if !n.power || n.cycle != cycle || n.process.is_some() || n.mourning.is_some() {
            return;
        }
        if !self.read_record(node) {
            return;
        }
        let n = &self.nodes[node];
        if n.guardian == Guardian::Absent && self.leftovers(node) && self.rng.chance(800) {
            // A new guardian replays and verifies the undo list of the dead one.
            self.clear_unkept(node);
        }
        let leftovers = self.leftovers(node);
        self.forget_what_a_life_knew();
        self.lives += 1;
        let incarnation = Incarnation(self.rng.id());
        let config = self.scenario.configs[node].clone();
        let now = self.local(node);
        let n = &mut self.nodes[node];
        n.running.iter_mut().flatten().for_each(|r| r.found = r.there);
        n.kept.fill(None);
        if n.guardian == Guardian::Absent && self.scenario.guarded {
            n.guardian = Guardian::Running;
        }
        let boot = Boot {
            me: NodeId(u8::try_from(node).unwrap_or(0)),
            incarnation,
            boot: n.boot,
            record: n.record.clone(),
            predecessor: if leftovers { Predecessor::Leftovers } else { Predecessor::Gone },
            guarded: n.guardian != Guardian::Absent,
            outside: n.outside,
        };
        let recording = self.options.replay.then(|| Recording::new(&config, boot.clone(), now));
        #[cfg(feature = "sabotage")]
        let recording = recording.map(|r| r.sabotaged(self.options.sabotage));
        let mut engine = Engine::boot(config.clone(), boot, now);
        if self.scenario.seed.is_multiple_of(WITNESSED) || self.options.witness || all_are_witnessed() {
            engine.check_marks();
        }
        #[cfg(feature = "sabotage")]
        if let Some(switch) = self.options.sabotage {
            engine.sabotage(switch);
        }
        #[cfg(feature = "sabotage")]
        if let Some(what) = self.options.forgets {
            engine.forget(what);
        }
        let groups = config.groups.len();
        n.process = Some(Process {
            life: self.lives,
            incarnation,
            engine,
            paused: false,
            inbox: (VecDeque::new(), VecDeque::new()),
            permits: Permits::none(groups),
            roles: vec![RoleName::Waiting; groups],
            owned: vec![None; groups],
            released: vec![false; groups],
            leaving: false,
            ops: BTreeMap::new(),
            given_up: Vec::new(),
            write: None,
            write_began: 0,
            wake_at: u64::MAX,
            data: vec![DataView::default(); groups],
            leftovers,
            healthy_since: self.now,
            sent: vec![VecDeque::new(); config.links.len()],
            echoed: vec![0; config.links.len()],
            ever_echoed: vec![false; config.links.len()],
            knows_timing: false,
            recording,
            rate: super::invariant::Rate::of(groups),
            spins: (0, 0),
        });
        for mirror in self.mirrors.iter_mut().flatten() {
            // Opening a journal flushes what the dead process had written.
            mirror.copies[node].durable = mirror.copies[node].log.len();
        }
        self.say(
            Some(node),
            format!(
                "process starts as incarnation {incarnation}{}",
                if leftovers { ", with leftovers" } else { "" }
            ),
        );
        self.drain(node);
        for group in 0..groups {
            self.report_later(node, group);
        }
    }

    /// Feeds an input to a life if it still runs; a stopped one finds it when it wakes.
    pub(super) fn feed(&mut self, node: usize, life: u32, input: Input) {
        let now = self.local(node);
        let Some(process) = self.nodes[node].process.as_mut().filter(|p| p.life == life) else { return };
        if process.paused {
            if matches!(input, Input::Beat { .. } | Input::Released(_)) {
                if process.inbox.0.len() < SOCKET_FRAMES {
                    process.inbox.0.push_back(input);
                }
            } else {
                process.inbox.1.push_back(input);
            }
            return;
        }
        process.leaving |= matches!(input, Input::GuardianLost | Input::Command(Command::Shutdown));
        if let Some(recording) = &mut process.recording {
            recording.input(now, &input);
        }
        process.engine.handle(now, input);
        self.drain(node);
    }

    pub(super) fn life(&self, node: usize) -> Option<u32> {
        self.nodes[node].process.as_ref().map(|p| p.life)
    }

    pub(super) fn wake(&mut self, node: usize, life: u32) {
        let now = self.local(node);
        let Some(process) = self.nodes[node].process.as_mut().filter(|p| p.life == life) else { return };
        // One that an earlier one replaced: it must not breed.
        if process.paused || process.wake_at != self.now {
            return;
        }
        process.wake_at = u64::MAX;
        if process.engine.next_deadline() > now {
            self.sleep(node);
            return;
        }
        process.spins =
            if process.spins.0 == self.now { (self.now, process.spins.1 + 1) } else { (self.now, 0) };
        if process.spins.1 > 100 {
            let detail = format!("node {node} asks to be woken at once, again and again");
            self.check(Err(Broken { invariant: Invariant::I7, detail }));
            return;
        }
        self.feed(node, life, Input::Tick);
    }

    /// Queues the next wake-up, a little late as real ones are.
    fn sleep(&mut self, node: usize) {
        let now = self.now;
        let late = if self.rng.chance(50) { self.rng.range(0, 1000) * 1000 } else { 0 };
        let n = &mut self.nodes[node];
        let Some(process) = n.process.as_mut() else { return };
        let deadline = process.engine.next_deadline();
        let at = n.clock.true_at(deadline);
        if at == u64::MAX {
            return;
        }
        let at = at.max(now).saturating_add(late);
        if at < process.wake_at {
            process.wake_at = at;
            let life = process.life;
            self.queue.push(at, Event::Wake { node, life });
        }
    }

    /// Takes the engine's decisions and carries them out, permissions first.
    fn drain(&mut self, node: usize) {
        let mut actions = std::mem::take(&mut self.drained);
        actions.clear();
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let life = process.life;
        while let Some(action) = process.engine.next_action() {
            if let Some(recording) = &mut process.recording {
                recording.action(&action);
            }
            actions.push(action);
        }
        if let Some(recording) = &mut process.recording {
            recording.finish();
        }
        let verdict = process.rate.add(node, self.now, actions.len());
        self.check(verdict);
        for action in &actions {
            self.set_permits(node, action);
        }
        for action in actions.drain(..) {
            if self.life(node) != Some(life) || self.broken.is_some() {
                break;
            }
            self.carry_out(node, life, action);
        }
        actions.clear();
        self.drained = actions;
        if self.life(node) == Some(life) {
            self.sleep(node);
        }
    }

    fn carry_out(&mut self, node: usize, life: u32, action: Action) {
        match action {
            Action::SendBeat { link, beat } => self.send_beat(node, link, beat),
            Action::Persist { write, record } => self.persist(node, life, write, record),
            Action::Token { .. } | Action::Renew { .. } => {}
            Action::Op { op, group, target, kind, epoch, deadline } => {
                let started = Op { group, target, kind, epoch, fails: false, cancelled: false };
                self.op_starts(node, life, op, started, deadline);
            }
            Action::Cancel { op } => self.cancel(node, life, op),
            Action::Acknowledge { group, epoch, rule } => self.acknowledge(node, group, epoch, rule),
            Action::ForceData { group } => self.force_data(node, group),
            Action::SurrenderData { group } => self.surrender_data(node, group),
            Action::FenceQuery { op, .. } => self.fence_order(node, life, op, false),
            Action::FenceShoot { op, .. } => self.fence_order(node, life, op, true),
            Action::Arbiter { op, group, request } => self.arbiter_order(node, life, op, group, request),
            Action::EndSelf { reason } => self.end_self(node, reason),
            Action::Reborn => self.reborn(node),
            Action::Departed => self.departed(node),
            Action::Detached { groups } => self.detached(node, &groups),
            Action::Event(report) => self.engine_says(node, &report),
        }
    }

    fn end_self(&mut self, node: usize, reason: EndReason) {
        self.probes.hit("end", format!("{reason:?}"));
        self.say(Some(node), format!("the engine ends itself: {reason:?}"));
        self.child_dies(node);
    }

    /// Whether `node` acts in `group` at this instant, and in which grant.
    pub(super) fn acting(&self, node: usize, group: usize) -> Option<Epoch> {
        self.permitted(node, group).or_else(|| self.runs_unattended(node, group))
    }

    fn permitted(&self, node: usize, group: usize) -> Option<Epoch> {
        let n = &self.nodes[node];
        let process = n.process.as_ref().filter(|p| !p.paused)?;
        process.permits.at(group, n.clock.local(self.now))
    }

    /// Checks I1 and I8, which can only break when somebody begins to act.
    pub(super) fn check_actors(&mut self, group: usize) {
        let acting = [self.acting(0, group), self.acting(1, group)];
        if acting.iter().all(Option::is_some) {
            self.twice_active.get_or_insert(self.now);
        }
        if self.is_excused(group) {
            return;
        }
        let id = GroupId(u16::try_from(group).unwrap_or(0));
        let answering = [self.answering(0, group), self.answering(1, group)];
        self.check(one_actor(id, acting));
        // Who woke after a lie and is killed before it has stopped leaves its address until its guardian undid it.
        let lives = self.nodes.iter().all(|n| n.process.is_some());
        if lives || !self.deceived {
            self.check(one_address(id, answering));
        }
    }

    #[cfg(test)]
    pub(super) fn set_token(&mut self, node: usize, group: usize, permission: crate::engine::Permission) {
        let group = GroupId(u16::try_from(group).unwrap_or(0));
        self.set_permits(node, &Action::Token { group, permission });
    }

    fn set_permits(&mut self, node: usize, action: &Action) {
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        for group in process.permits.take(action) {
            let Some(process) = self.nodes[node].process.as_ref() else { return };
            self.agents.set_token(node, group, &process.permits);
            if process.permits.valid(group).is_some() {
                self.check_actors(group);
                self.try_acknowledge(node, group);
            }
        }
    }

    fn send_beat(&mut self, node: usize, link: LinkId, beat: Beat) {
        let (now, at) = (self.now, usize::from(link.0));
        for statement in &beat.statements {
            if let Statement::Released { group, .. } = statement {
                self.check_nothing_left(node, usize::from(group.0), "says that it released");
                self.check_successor(node, *group);
            }
        }
        if let Some(process) = self.nodes[node].process.as_mut()
            && let Some(sent) = process.sent.get_mut(at)
        {
            if sent.len() == REMEMBERED_BEATS {
                sent.pop_front();
            }
            sent.push_back((beat.seq, now));
        }
        let Some(path) = self.network.path(at, node) else { return };
        let to = 1 - node;
        let arrivals = path.arrivals(self.now, &mut self.rng);
        if self.rng.chance(15) {
            self.network.recorded[at][node].keep(&beat, &mut self.rng);
        }
        if self.rng.chance(4) && arrivals[0].is_some() {
            let current = self.nodes[to].process.as_ref().map(|p| p.incarnation);
            if let Some(old) = self.network.recorded[at][node].stale(current, &mut self.rng) {
                self.after(2 * MS, Event::Beat { to, link: link.0, beat: old });
            }
        }
        if let Some(delay) = arrivals[1] {
            self.after(delay, Event::Beat { to, link: link.0, beat: beat.clone() });
        }
        if let Some(delay) = arrivals[0] {
            self.after(delay, Event::Beat { to, link: link.0, beat });
        }
    }

    pub(super) fn beat_arrives(&mut self, to: usize, link: u8, beat: Beat) {
        let Some(process) = self.nodes[to].process.as_ref() else { return };
        let life = process.life;
        if !process.paused {
            self.note_heard(to, usize::from(link), &beat);
        }
        self.feed(to, life, Input::Beat { link: LinkId(link), beat });
    }

    /// What the world knows of a beat that an engine takes in.
    pub(super) fn note_heard(&mut self, to: usize, link: usize, beat: &Beat) {
        let sender = self.nodes[1 - to].process.as_ref().is_some_and(|p| p.incarnation == beat.incarnation);
        let Some(process) = self.nodes[to].process.as_mut() else { return };
        if beat.to != Some(process.incarnation) {
            return;
        }
        if beat.statements.iter().any(|s| matches!(s, Statement::Safety { .. })) {
            process.knows_timing = true;
        }
        let echoed = beat.echo.and_then(|echo| process.sent[link].iter().rev().find(|(seq, _)| *seq == echo));
        if let Some((_, sent)) = echoed {
            process.ever_echoed[link] = true;
            if sender {
                process.echoed[link] = process.echoed[link].max(*sent);
            }
        }
    }

    pub(super) fn notice_arrives(&mut self, to: usize, notice: crate::engine::ReleasedNotice) {
        if let Some(life) = self.life(to) {
            self.feed(to, life, Input::Released(notice));
        }
    }

    fn persist(&mut self, node: usize, life: u32, write: crate::WriteId, record: crate::NodeRecord) {
        let now = self.now;
        let n = &mut self.nodes[node];
        let slow = n.slow_disk.filter(|(_, until)| *until > now).map_or(0, |(by, _)| by);
        if std::mem::take(&mut n.disk_error) {
            n.disk.fail_next_save();
        }
        let stalled = n.stalled_until.saturating_sub(now);
        let Some(process) = n.process.as_mut() else { return };
        if process.write.is_some() {
            let detail = format!("node {node} writes its record while a write is under way");
            self.check(Err(Broken { invariant: Invariant::I7, detail }));
            return;
        }
        process.write = Some((write, record));
        process.write_began = now;
        let delay =
            self.rng.range(200_000, 4 * MS) + if slow > 0 { self.rng.range(slow / 3, slow) } else { 0 };
        self.after(delay.max(stalled), Event::Persisted { node, life });
        self.moment(node, Moment::Persisting);
    }

    /// The write under way is carried out by the real store, and is durable or failed.
    pub(super) fn persisted(&mut self, node: usize, life: u32) {
        // Drawn for nothing: seeds that are kept as tests keep their histories.
        self.rng.bits();
        let n = &mut self.nodes[node];
        let Some(process) = n.process.as_mut().filter(|p| p.life == life) else { return };
        let Some((write, record)) = process.write.take() else { return };
        let ok = n.disk.save(&record);
        if ok {
            n.record = record;
        }
        self.feed(node, life, Input::Persisted { write, ok });
    }

    fn engine_says(&mut self, node: usize, report: &Report) {
        self.timeline.add(self.now, Some(node), What::Engine(report.kind.clone()));
        self.probes.event(&report.kind);
        match &report.kind {
            EventKind::Role { group, role, epoch } => self.role_changes(node, *group, *role, *epoch),
            EventKind::Granted { group, epoch, .. } => self.granted(node, *group, *epoch),
            EventKind::Proof { group, proof: StopProof::AssumedDead } => {
                // The assumption does not cover what the node promised to leave alone.
                let promised = self.nodes[node].record.group(*group).spares.is_some();
                self.tainted[usize::from(group.0)] |= self.scenario.configs[node].is_unguarded() && !promised;
            }
            EventKind::Link { link, state: LinkState::Up } => self.check_link(node, usize::from(link.0)),
            EventKind::Alone { .. } => self.moment(node, Moment::Alone),
            EventKind::Full { group, .. } => {
                self.settle_force(usize::from(group.0));
                self.nodes[0].blank = false;
                self.nodes[1].blank = false;
                self.moment(node, Moment::Full);
            }
            EventKind::Shoot => self.moment(node, Moment::Shot),
            EventKind::Detach { group, step: DetachStep::Adopted } => {
                self.nodes[node].running[usize::from(group.0)].iter_mut().for_each(|r| r.found = false);
            }
            EventKind::FenceLied { .. } => {
                let delay = self.rng.range(1000, 4000) * MS;
                self.after(delay, Event::Trust { node });
            }
            _ => {}
        }
    }

    fn role_changes(&mut self, node: usize, id: GroupId, role: RoleName, epoch: Epoch) {
        let group = usize::from(id.0);
        let owner =
            matches!(role, RoleName::Starting | RoleName::Active | RoleName::Suspended | RoleName::Stopping);
        let before = self.nodes[node].process.as_ref().map(|p| p.roles[group]);
        if let Some(process) = self.nodes[node].process.as_mut() {
            process.roles[group] = role;
            process.owned[group] = owner.then_some(epoch);
            process.released[group] &= !owner;
        }
        match role {
            RoleName::Active => self.check_data(node, group),
            RoleName::Claiming => self.moment(node, Moment::Claiming),
            RoleName::Starting => self.moment(node, Moment::Starting),
            RoleName::Suspended => {
                if before != Some(RoleName::Suspended) {
                    self.check_absence(node, id);
                }
                self.moment(node, Moment::Suspended);
            }
            RoleName::Stopping => self.moment(node, Moment::Stopping),
            RoleName::Waiting | RoleName::Standby | RoleName::Blocked => {
                let booted_with_leftovers = self.nodes[node].process.as_ref().is_some_and(|p| p.leftovers);
                if !booted_with_leftovers {
                    self.check_nothing_left(node, group, "no longer owns");
                }
            }
        }
    }

    pub(super) fn granted(&mut self, node: usize, group: GroupId, epoch: Epoch) {
        let at = usize::from(group.0);
        // A third party counts for both nodes, data or none.
        let mirrored = self.mirrors[at].is_some() || self.third.is_some();
        let verdict = self.epochs[at].granted(group, node, epoch, mirrored);
        self.check_unless_tainted(at, verdict);
    }

    /// Whether something outside the rules was done to the group: a lie, an assumption, an operator's choice.
    pub(super) fn is_excused(&self, group: usize) -> bool {
        self.tainted[group]
            || self.forced[group]
            || self.now >= self.excused_from
            || self.was_kept_from_finding_out()
    }

    pub(super) fn check_unless_tainted(&mut self, group: usize, verdict: Verdict) {
        if !self.is_excused(group) && !self.deceived {
            self.check(verdict);
        }
    }

    /// I4: a group that was given up leaves nothing.
    pub(super) fn check_nothing_left(&mut self, node: usize, group: usize, said: &str) {
        let id = GroupId(u16::try_from(group).unwrap_or(0));
        let running = self.nodes[node].running[group].iter().map(|r| r.there);
        let verdict = nothing_left(id, node, said, running);
        self.check(verdict);
        let primary = self.nodes[node].process.as_ref().is_some_and(|p| p.data[group].primary.is_some());
        if primary {
            let detail = format!("node {node} {said} group {id}, but its data is still promoted");
            self.check(Err(Broken { invariant: Invariant::I4, detail }));
        }
    }

    /// I12 rests on it: a link is up only if the peer was really heard to have heard this life.
    pub(super) fn check_link(&mut self, node: usize, link: usize) {
        let heard =
            self.nodes[node].process.as_ref().is_none_or(|p| p.ever_echoed.get(link).is_none_or(|e| *e));
        if !heard {
            let detail = format!("node {node} takes link {link} for up, but its peer never heard it there");
            self.check(Err(Broken { invariant: Invariant::I12, detail }));
        }
    }

    /// I5: a group is given up of free will only while there is somebody to take it.
    pub(super) fn check_successor(&mut self, node: usize, group: GroupId) {
        let leaving = self.nodes[node].process.as_ref().is_none_or(|p| p.leaving);
        let peer = &self.nodes[1 - node];
        let gone = peer.process.as_ref().is_none_or(|p| p.paused);
        let known = self.now - peer.disturbed > 3 * SECOND;
        let first = self.nodes[node]
            .process
            .as_mut()
            .is_some_and(|p| !std::mem::replace(&mut p.released[usize::from(group.0)], true));
        if first && !leaving && gone && known {
            let detail =
                format!("node {node} released group {group}, which it could serve, to a peer that is gone");
            self.check(Err(Broken { invariant: Invariant::I5, detail }));
        }
    }

    /// Springs the traps that wait for this moment.
    pub(super) fn moment(&mut self, node: usize, moment: Moment) {
        let now = self.now;
        let Some(at) = self.traps.iter().position(|t| t.moment == moment && nanos(t.after) <= now) else {
            return;
        };
        if self.healed {
            return;
        }
        let trap = self.traps.swap_remove(at);
        self.say(Some(node), format!("a trap springs at the moment {moment:?}"));
        self.after(nanos(trap.delay), Event::Fault(trap.fault));
    }

    pub(super) fn op_starts(
        &mut self,
        node: usize,
        life: u32,
        op: crate::OpId,
        mut started: Op,
        deadline: Instant,
    ) {
        let Some(delay) = self.begin_op(node, op, &mut started, deadline) else {
            if let Some(p) = self.nodes[node].process.as_mut() {
                p.ops.insert(op, started);
            }
            return;
        };
        if let Some(p) = self.nodes[node].process.as_mut() {
            p.ops.insert(op, started);
        }
        self.after(delay, Event::OpDone { node, life, op });
    }

    fn cancel(&mut self, node: usize, life: u32, op: crate::OpId) {
        let Some(process) = self.nodes[node].process.as_mut().filter(|p| p.life == life) else { return };
        let Some(running) = process.ops.get_mut(&op) else {
            process.given_up.push(op);
            return;
        };
        running.cancelled = true;
        if let OpTarget::Resource(place) = running.target
            && self.agents.owns(usize::from(running.group.0), place)
        {
            self.cancel_agent(node, op);
            return;
        }
        let is_stop =
            matches!((running.kind, running.target), (OpKind::Stop, _) | (OpKind::Demote, OpTarget::Data));
        // A well-behaved operation ends soon after its cancellation; one that hangs does not.
        if !is_stop && self.rng.chance(700) {
            running.fails = true;
            let delay = self.rng.range(1, 50) * MS;
            self.after(delay, Event::OpDone { node, life, op });
        }
    }
}
