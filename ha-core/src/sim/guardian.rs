//! How processes end: kills, the guardian's last word, restarts, signals, power.

use super::cluster::{Cluster, Event, LifeLog, MS, SECOND, nanos};
use super::node::{Guardian, Mourning};
use crate::engine::{Input, OpTarget, ReleasedNotice};
use crate::{BootId, FenceScope, GroupId};

impl Cluster {
    /// Whether something of an earlier life is still there.
    pub(super) fn leftovers(&self, node: usize) -> bool {
        self.nodes[node].running.iter().flatten().any(|r| r.there)
    }

    /// Removes everything that runs.
    pub(super) fn clear_running(&mut self, node: usize) {
        self.check_left_alone(node);
        for running in self.nodes[node].running.iter_mut().flatten() {
            running.there = false;
            running.serves = false;
        }
    }

    /// The process is gone: services end with it, an address stays until it is undone or lapses.
    pub(super) fn process_ends(&mut self, node: usize) -> Option<Mourning> {
        let now = self.now;
        self.note_time_to_find_out();
        let finding_out = self.woke_after_lie.is_some() && !self.had_time_to_find_out;
        if self.nodes[1 - node].lied_about || finding_out {
            // Who believed it ends before it could be found out, and leaves its successor what it made of it.
            self.tainted.fill(true);
        }
        self.lapse_suspended(node);
        let n = &mut self.nodes[node];
        let process = n.process.take()?;
        n.disturbed = now;
        if std::mem::take(&mut n.lied_about) {
            // It will never find out; what it left behind is the lie's.
            self.tainted.fill(true);
        }
        n.disk.process_ended(process.write.as_ref().map(|(_, record)| record));
        for op in process.ops.values() {
            // A start under way may have put its address up already.
            if let OpTarget::Resource(0) = op.target
                && op.kind == crate::engine::OpKind::Start
            {
                n.running[usize::from(op.group.0)][0].there = true;
            }
        }
        for (at, group) in n.running.iter_mut().enumerate() {
            for (place, running) in (0u8..).zip(group) {
                // A modelled address outlives its process; a user's agent ends with it.
                let config = &self.scenario.configs[node].groups[at].resources[usize::from(place)];
                let address = (place == 0 || config.outlives_engine) && !self.agents.owns(at, place);
                running.there &= address;
                running.serves &= address;
                running.quirks.clear();
            }
        }
        if let Some(recording) = &process.recording {
            let verdict = recording.replay(node);
            self.logs.push(LifeLog { node, frames: recording.frames().to_vec() });
            self.check(verdict);
        }
        self.reread_record(node);
        self.agents.ended(node);
        let owned =
            (0u16..).zip(&process.owned).filter_map(|(g, epoch)| epoch.map(|e| (GroupId(g), e))).collect();
        self.lapse_later(node, process.life);
        Some(Mourning { incarnation: process.incarnation, owned })
    }

    /// A running process takes its address back when its permission ends; a stopped one cannot.
    fn lapse_suspended(&mut self, node: usize) {
        let n = &self.nodes[node];
        let Some(process) = n.process.as_ref() else { return };
        // When it last ran: a stopped one whose permission had ended before took its address back before.
        let ran = n.clock.local(if process.paused { n.disturbed } else { self.now });
        // Without a third party nobody acts on time: whoever takes over had the address taken, or waits for it.
        let knows_when = !process.paused || self.third.is_some();
        let permits = process.permits.clone();
        let now = n.clock.local(self.now);
        for group in 0..self.nodes[node].running.len() {
            // Whoever renews it stopped: the kernel ended it in its own time.
            let lifetime = self.scenario.configs[node].groups[group].address_lifetime;
            let expiry = crate::timing::address_expiry(lifetime);
            let expired =
                permits.valid(group).is_some_and(|(_, until)| !lifetime.is_zero() && until + expiry <= now);
            if expired || knows_when && permits.at(group, ran).is_none() {
                self.nodes[node].running[group].iter_mut().for_each(|r| r.serves = false);
            }
        }
    }

    /// Where a device ends processes only, addresses lapse by themselves within their lifetime.
    fn lapse_later(&mut self, node: usize, life: u32) {
        let cycle = self.nodes[node].cycle;
        let config = &self.scenario.configs[node];
        let lifetime = config.groups.iter().map(|g| nanos(g.address_lifetime)).min().unwrap_or(0);
        if lifetime > 0 {
            let after = lifetime / 1000 * self.rng.range(200, 980);
            self.after(after, Event::AddressLapses { node, cycle, life });
        }
    }

    pub(super) fn address_lapses(&mut self, node: usize, cycle: u32, life: u32) {
        let n = &self.nodes[node];
        if n.cycle != cycle {
            return;
        }
        // An address that a later life put up again is that life's; what it only found lapses.
        match &n.process {
            Some(p) if p.life != life => {
                let running = self.nodes[node].running.iter_mut().flatten();
                running.filter(|r| r.found).for_each(|r| (r.there, r.serves) = (false, false));
            }
            _ => self.clear_running(node),
        }
    }

    /// The child died; what follows depends on its guardian.
    pub(super) fn child_dies(&mut self, node: usize) {
        let Some(of) = self.process_ends(node) else { return };
        match self.nodes[node].guardian {
            Guardian::Running => self.undo(node, of),
            Guardian::Paused => self.nodes[node].mourning = Some(of),
            Guardian::Absent => {
                let delay = self.rng.range(1500, 5000) * MS;
                self.restart_after(node, delay);
            }
        }
    }

    pub(super) fn undo(&mut self, node: usize, of: Mourning) {
        let grace = nanos(self.scenario.configs[node].timing.kill_grace);
        let delay = self.rng.range(MS, (grace / 4).max(2 * MS));
        let cycle = self.nodes[node].cycle;
        self.nodes[node].mourning = Some(of.clone());
        self.after(delay, Event::Undone { node, cycle, of: Box::new(of) });
    }

    pub(super) fn undone(&mut self, node: usize, cycle: u32, of: Mourning) {
        let n = &mut self.nodes[node];
        if n.cycle != cycle || n.guardian == Guardian::Absent || n.mourning.is_none() {
            return;
        }
        if n.guardian == Guardian::Paused {
            return;
        }
        n.mourning = None;
        let complete = !std::mem::take(&mut n.undo_fails);
        if complete {
            self.clear_running(node);
        }
        self.say(
            Some(node),
            format!(
                "the guardian undid {}: {}",
                of.incarnation,
                if complete { "complete" } else { "failed" }
            ),
        );
        let groups = if complete { of.owned } else { Vec::new() };
        self.tell_released(node, &ReleasedNotice { incarnation: of.incarnation, groups, complete });
        let delay = self.rng.range(50, 600) * MS;
        self.restart_after(node, delay);
    }

    fn tell_released(&mut self, node: usize, notice: &ReleasedNotice) {
        for again in [0, 20 * MS, 100 * MS, 400 * MS] {
            for link in 0..self.scenario.configs[node].links.len() {
                // The guardian has its own senders, but none inside a stream that died with its child.
                if self.scenario.configs[node].links[link].evidence_only {
                    continue;
                }
                let Some(path) = self.network.path(link, node) else { continue };
                if let Some(delay) = path.arrivals(self.now, &mut self.rng)[0] {
                    let notice = Box::new(notice.clone());
                    self.after(again + delay, Event::Notice { to: 1 - node, notice });
                }
            }
        }
    }

    pub(super) fn restart_after(&mut self, node: usize, delay: u64) {
        let cycle = self.nodes[node].cycle;
        self.after(delay, Event::Restart { node, cycle });
    }

    /// `kill -9` of the guardian alone.
    pub(super) fn kill_guardian(&mut self, node: usize) {
        let n = &mut self.nodes[node];
        if n.guardian == Guardian::Absent {
            return;
        }
        n.guardian = Guardian::Absent;
        if n.mourning.take().is_some() {
            self.restart_after(node, 3 * SECOND);
        } else if let Some(life) = self.life(node) {
            self.after(MS, Event::GuardianGone { node, life });
        }
    }

    pub(super) fn guardian_gone(&mut self, node: usize, life: u32) {
        self.feed(node, life, Input::GuardianLost);
    }

    /// `kill -9` of guardian and child at once, or a device that ends processes.
    pub(super) fn kill_tree(&mut self, node: usize, back: u64) {
        let n = &mut self.nodes[node];
        n.guardian = Guardian::Absent;
        n.mourning = None;
        n.pauses += 1;
        if self.process_ends(node).is_some() || back > 0 {
            self.restart_after(node, back);
        }
    }

    pub(super) fn reborn(&mut self, node: usize) {
        self.probes.hit("end", "Reborn");
        self.say(Some(node), "the orphaned process executes itself anew");
        if self.process_ends(node).is_some() {
            let delay = self.rng.range(20, 60) * MS;
            self.restart_after(node, delay);
        }
    }

    pub(super) fn departed(&mut self, node: usize) {
        self.probes.hit("end", "Departed");
        self.say(Some(node), "the process departs in good order");
        self.process_ends(node);
        self.nodes[node].guardian = Guardian::Absent;
        let delay = self.rng.range(1500, 5000) * MS;
        self.restart_after(node, delay);
    }

    /// The power fails, or is cut by a device or an operator; back after `away` (never, if zero).
    pub(super) fn power_off(&mut self, node: usize, away: u64) {
        if !self.nodes[node].power {
            return;
        }
        self.process_ends(node);
        self.nodes[node].kept.fill(None);
        self.clear_running(node);
        let now = self.now;
        let n = &mut self.nodes[node];
        n.disk.lose_power();
        n.power = false;
        n.cycle += 1;
        n.pauses += 1;
        n.guardian = Guardian::Absent;
        n.mourning = None;
        n.disturbed = now;
        let cycle = n.cycle;
        self.reread_record(node);
        for mirror in self.mirrors.iter_mut().flatten() {
            let copy = &mut mirror.copies[node];
            let lucky = self.rng.index(copy.log.len() - copy.durable.min(copy.log.len()) + 1);
            copy.lose_power(lucky);
        }
        if away > 0 {
            self.after(away, Event::PowerOn { node, cycle });
        }
    }

    pub(super) fn power_on(&mut self, node: usize, cycle: u32) {
        let boot = BootId(self.rng.id());
        let now = self.now;
        let n = &mut self.nodes[node];
        if n.power || n.cycle != cycle {
            return;
        }
        n.power = true;
        n.cycle += 1;
        n.boot = boot;
        n.disturbed = now;
        self.say(Some(node), "powered on");
        let delay = self.rng.range(100, 500) * MS;
        self.restart_after(node, delay);
    }

    /// A blank disk in a node without power.
    pub(super) fn replace_disk(&mut self, node: usize) {
        self.blank_record(node);
        for mirror in self.mirrors.iter_mut().flatten() {
            mirror.copies[node] = super::mirror::Copy::default();
        }
    }

    /// `SIGSTOP` of the child, and of the guardian if `tree`.
    pub(super) fn pause(&mut self, node: usize, tree: bool, span: u64) {
        let now = self.now;
        let n = &mut self.nodes[node];
        let Some(process) = n.process.as_mut() else { return };
        process.paused = true;
        let life = process.life;
        n.disturbed = now;
        n.pauses += 1;
        let pause = n.pauses;
        if tree && n.guardian == Guardian::Running {
            n.guardian = Guardian::Paused;
        }
        let watched = n.guardian == Guardian::Running;
        self.after(span.max(1), Event::Resume { node, pause });
        if watched {
            let feed = nanos(self.scenario.configs[node].timing.feed_limit);
            self.after(feed, Event::FeedMissed { node, life, pause });
        }
    }

    pub(super) fn feed_missed(&mut self, node: usize, life: u32, pause: u32) {
        let n = &self.nodes[node];
        let same = n.pauses == pause && n.process.as_ref().is_some_and(|p| p.life == life && p.paused);
        if same && n.guardian == Guardian::Running {
            self.say(Some(node), "the guardian kills its child, which missed its feed");
            self.child_dies(node);
        }
    }

    /// `SIGCONT`: what waited in the sockets comes first, then the rest, then the clock.
    pub(super) fn resume(&mut self, node: usize, pause: u32) {
        let now = self.now;
        let n = &mut self.nodes[node];
        if n.pauses != pause {
            return;
        }
        n.disturbed = now;
        if n.guardian == Guardian::Paused {
            n.guardian = Guardian::Running;
            if let Some(of) = n.mourning.take() {
                self.undo(node, of);
                return;
            }
        }
        let Some(process) = n.process.as_mut().filter(|p| p.paused) else { return };
        process.paused = false;
        process.healthy_since = now;
        process.wake_at = u64::MAX;
        let life = process.life;
        let (beats, rest) = std::mem::take(&mut process.inbox);
        self.say(Some(node), "the process runs again");
        self.wakes_after_lie(node);
        for group in 0..self.tainted.len() {
            self.check_actors(group);
        }
        for input in beats.into_iter().chain(rest).chain([Input::Tick]) {
            if let (Input::Beat { link, beat }, true) = (&input, self.life(node) == Some(life)) {
                self.note_heard(node, usize::from(link.0), beat);
            }
            self.feed(node, life, input);
        }
    }

    /// What a device of this configuration ends.
    pub(super) fn scope(&self) -> FenceScope {
        self.scenario.configs[0].fence.as_ref().map_or(FenceScope::Incarnation, |f| f.scope)
    }
}
