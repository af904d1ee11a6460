//! When a device is asked, and when it may shoot (rule 11).

use super::agenda::Survey;
use super::machine::Engine;
use super::state::{Claim, EndedHow, FenceOp, Role};
use super::{Action, ClaimState, EventKind, FenceAnswer, PeerState, TimeoutEdge};
use crate::config::{Config, FenceConfig};
use crate::{GroupId, Instant, OpId, SetRecord};
use std::time::Duration;

/// The slots of the node that is first in order, of the second, and of nodes whose weights the other may not know.
/// A node that heard a last beat that the other does not know of counts from up to a slot later than it ([`Engine`],
/// `origins_are_far_apart`): two that both count from what they heard are a slot further apart than the shots need.
const FIRST: &[u64] = &[0, 4];
const SECOND: &[u64] = &[1, 5];
const UNORDERED_LOWER: &[u64] = &[7];
const UNORDERED_HIGHER: &[u64] = &[9];

impl Engine {
    pub(super) fn run_fencing(&mut self) {
        self.watch_fence_ops();
        let cfg = self.cfg.clone();
        let Some(config) = &cfg.fence else { return };
        if self.st.fence.liar {
            return;
        }
        self.survey();
        let query = self.may_query();
        if query && self.st.fence.query.is_none() && self.st.now >= self.st.fence.next_query {
            self.query(config);
        }
        if self.st.fence.shot.is_none() && self.may_shoot() {
            self.shoot(config);
        }
    }

    fn query(&mut self, config: &FenceConfig) {
        let op = self.fence_op(config.timeout);
        self.st.fence.query = Some(op);
        self.st.fence.next_query = self.st.now + self.cfg.timing.query_interval;
        let target = Config::peer_of(self.st.me);
        self.outbox.push_back(Action::FenceQuery { op: op.op, target });
    }

    fn shoot(&mut self, config: &FenceConfig) {
        let op = self.fence_op(config.timeout + config.effect);
        self.st.fence.shot = Some(op);
        self.st.fence.last_slot = self.slot_now().map(|(slot, _)| slot);
        self.emit(EventKind::Shoot);
        let target = Config::peer_of(self.st.me);
        self.outbox.push_back(Action::FenceShoot { op: op.op, target });
    }

    fn fence_op(&mut self, timeout: Duration) -> FenceOp {
        FenceOp { op: self.op_id(), issued: self.st.now, deadline: self.st.now + timeout }
    }

    fn watch_fence_ops(&mut self) {
        let now = self.st.now;
        if self.st.fence.query.take_if(|q| now >= q.deadline).is_some() {
            self.st.fence.failures += 1;
            self.timed_out(TimeoutEdge::FenceQuery);
        }
        if self.st.fence.shot.take_if(|q| now >= q.deadline).is_some() {
            self.st.fence.failures += 1;
            self.timed_out(TimeoutEdge::FenceShot);
        }
    }

    pub(super) fn take_fence(&mut self, op: OpId, answer: FenceAnswer) {
        let query = self.st.fence.query.take_if(|q| q.op == op);
        let Some(issued) = query.or_else(|| self.st.fence.shot.take_if(|q| q.op == op)).map(|q| q.issued)
        else {
            return;
        };
        match answer {
            FenceAnswer::Off { scope } => {
                // "Off" counts only if nothing was heard since the question was put; else it is put again.
                if self.last_heard() <= issued && !self.st.fence.liar {
                    if let Some(life) = self.st.peer.incarnation() {
                        self.end_life_asked(life, EndedHow::Fenced(scope), issued);
                    } else {
                        self.note_absent_peer_off(scope, issued);
                    }
                } else {
                    self.st.fence.next_query = self.st.now;
                }
            }
            FenceAnswer::On if query.is_some() => {}
            FenceAnswer::On | FenceAnswer::Failed => self.st.fence.failures += 1,
        }
        self.again = true;
    }

    /// The device is asked from *suspect* on, whenever its "off" would let this node act.
    fn may_query(&self) -> bool {
        let silent = matches!(self.st.peer.state, PeerState::Suspect | PeerState::Dead) || self.is_mute();
        let absent = self.st.peer.state == PeerState::Unknown && self.boot_wait_over();
        silent && self.surveyed().would_act || absent && self.surveyed().starts_on_absence
    }

    fn may_shoot(&self) -> bool {
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::ShootTheLiving) && self.st.peer.state == PeerState::Alive {
            return self.group_ids().any(|g| self.would_go_alone(g) && self.group(g).data.stalled);
        }
        let dead = self.st.peer.state == PeerState::Dead || self.is_mute();
        if !dead || self.st.leaving.is_some() || self.shots_are_held() || !self.surveyed().would_shoot {
            return false;
        }
        if !self.timing_fits() || self.was_just_frozen() {
            return false;
        }
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::ShootAtOnce) {
            return true;
        }
        if !self.surveyed().contested && !self.heard_since_dead() {
            return self.st.fence.failures == 0 || self.in_own_slot();
        }
        self.in_own_slot()
    }

    /// Asks all groups, unless nothing changed since they were asked, or nobody needs to know.
    pub(super) fn survey(&mut self) {
        let needed = self.cfg.fence.is_some() && (!self.st.peer.is_alive() || self.is_mute());
        if !needed || self.has_arbiter() {
            return;
        }
        self.heed_globals();
        if self.agenda.fresh_survey().is_none() {
            self.agenda.keep_survey(self.ask_all());
        }
    }

    /// With a third party time decides too: everybody is asked.
    fn surveyed(&self) -> Survey {
        self.agenda.fresh_survey().unwrap_or_else(|| self.ask_all())
    }

    fn ask_all(&self) -> Survey {
        let any = |reason: &dyn Fn(GroupId) -> bool| self.group_ids().any(reason);
        Survey {
            would_act: any(&|g| self.would_start(g) || self.would_go_alone(g)),
            would_shoot: any(&|g| self.has_reason_to_shoot(g)),
            starts_on_absence: any(&|g| self.starts_on_absence(g)),
            contested: any(&|g| self.peer_may_have_reason(g)),
        }
    }

    fn has_reason_to_shoot(&self, g: GroupId) -> bool {
        self.would_start(g) || self.would_go_alone(g) && !self.in_maintenance(g)
    }

    /// After a long gap of its own a node listens for as long as it would wait for the peer: that one may be
    /// back by now, as a new life even.
    pub(super) fn was_just_frozen(&self) -> bool {
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::BlameThePeer) {
            return false;
        }
        let dead = self.cfg.latest_dead();
        self.st.stall >= dead / 2 && self.st.now.since(self.st.stall_at) < dead
    }

    /// This node is current for the group and would start it on a proof of the peer's end.
    fn would_start(&self, g: GroupId) -> bool {
        let gr = self.group(g);
        // A group that was released and that nobody took is started again like one of a dead owner.
        let known = gr.owner.is_some() || gr.released.is_some();
        let owned = known || !self.group_config(g).mirrored || self.has_arbiter();
        gr.is_idle() && self.is_viable(g) && owned && self.third_allows_shot(g)
    }

    /// This node owns a mirrored group and is not yet alone.
    fn would_go_alone(&self, g: GroupId) -> bool {
        let gr = self.group(g);
        gr.is_owner()
            && !matches!(gr.role, Role::Stopping { .. })
            && self.group_config(g).mirrored
            // The third party's swap excludes without a shot.
            && !self.has_arbiter()
            && matches!(self.st.record.group(g).set, SetRecord::Both { .. })
    }

    /// By the last beats, and by what this node itself let the peer become.
    pub(super) fn peer_may_have_reason(&self, g: GroupId) -> bool {
        let mirrored = self.group_config(g).mirrored;
        let gr = self.group(g);
        if gr.is_owner() {
            // The third party excludes the peer in silence: before it knows that, its shot may be under way.
            let member = matches!(self.st.record.group(g).set, SetRecord::Both { .. }) || self.has_arbiter();
            return !mirrored || member;
        }
        // An owner that was alone may be admitting this copy since its last word, and wait for what a shot would prove.
        if mirrored {
            return true;
        }
        // An owner has no reason; one that gave the group up, or waits like us, would start it on our end.
        let owns = |c: &Claim| matches!(c.state, ClaimState::Owner | ClaimState::Claiming);
        let given_up = |c: &Claim| gr.release.is_some_and(|r| r.epoch >= c.epoch);
        !self.st.peer.claims.get(&g).is_some_and(|c| owns(c) && !given_up(c))
    }

    /// Words of the peer arrived after it was dead here, without an echo. They may say that it has no reason to shoot any more,
    /// and not that it did not: its shot may be under way.
    fn heard_since_dead(&self) -> bool {
        let dead_at = self.st.links.iter().zip(&self.cfg.links);
        let dead_at =
            dead_at.filter_map(|(link, config)| Some(link.two_way? + link.grace + config.dead)).max();
        dead_at.is_some_and(|at| self.last_heard() > at)
    }

    fn in_own_slot(&self) -> bool {
        let Some((slot, position)) = self.slot_now() else { return false };
        self.own_slots().contains(&slot)
            && position < self.cfg.slot_window()
            && self.st.fence.last_slot != Some(slot)
            && (slot == 0 || !self.origins_are_far_apart())
            && (slot > 0 || !self.gave_up_unheard())
    }

    /// A group was given up, and nothing that was said since is known to have arrived: to the peer this node owns it, has
    /// no reason to shoot, and is shot without a wait for slots. That is over when the second slot begins.
    fn gave_up_unheard(&self) -> bool {
        let heard = |since| self.last_echoed().is_some_and(|sent| sent > since);
        self.st.groups.iter().any(|gr| gr.released.is_some_and(|r| !heard(r.since)))
    }

    /// From when on this node counts its slots. The first in order counts from the send time of its newest beat known to be
    /// echoed. The others count from the last beat that they heard: whatever beat the first one counts from, they
    /// heard it by then, also where the last beats of one direction were lost.
    fn slot_origin(&self) -> Option<Instant> {
        if let Some(mute) = self.st.peer.mute_since {
            return Some(mute);
        }
        let echoed = self.last_echoed()?;
        let from = if self.own_slots() == FIRST { echoed } else { self.last_heard().max(echoed) };
        Some(from + self.cfg.latest_dead())
    }

    /// So many of our last beats were lost, or told us nothing of ours, that the other may count from more than a slot
    /// later: beyond the first slot of all nothing keeps the shots apart.
    fn origins_are_far_apart(&self) -> bool {
        let echoed = self.last_echoed().unwrap_or(Instant::ZERO);
        !self.is_mute() && self.last_heard().since(echoed) > self.cfg.slot()
    }

    /// The slot, and how far into it.
    pub(super) fn slot_now(&self) -> Option<(u64, Duration)> {
        let origin = self.slot_origin()?;
        if self.st.now < origin {
            return None;
        }
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let (t, slot) = (nanos(self.st.now.since(origin)), nanos(self.cfg.slot()).max(1));
        Some((t / slot, Duration::from_nanos(t % slot)))
    }

    fn own_slots(&self) -> &'static [u64] {
        let (mine, theirs) = (self.weight(), self.st.peer.weight);
        let lower = self.st.me.0 == 0;
        if self.st.peer.my_weight_there != Some(mine) {
            return if lower { UNORDERED_LOWER } else { UNORDERED_HIGHER };
        }
        match mine.cmp(&theirs) {
            std::cmp::Ordering::Greater => FIRST,
            std::cmp::Ordering::Less => SECOND,
            std::cmp::Ordering::Equal if lower => FIRST,
            std::cmp::Ordering::Equal => SECOND,
        }
    }

    /// The own slot that has come or comes next, else the last.
    pub(super) fn own_slot(&self) -> u64 {
        let slot = self.slot_now().map_or(0, |(slot, _)| slot);
        let mut own = self.own_slots().iter().copied();
        own.clone().find(|s| *s >= slot).or(own.next_back()).unwrap_or(0)
    }

    /// When the next own slot begins, while a shot is wanted.
    pub(super) fn fence_deadline(&self) -> Instant {
        let mut next = Instant::FAR;
        for op in [self.st.fence.query, self.st.fence.shot].into_iter().flatten() {
            next = next.min(op.deadline);
        }
        if self.cfg.fence.is_none() || self.st.fence.liar {
            return next;
        }
        if self.st.fence.query.is_none() && self.may_query() {
            next = next.min(self.st.fence.next_query);
        }
        let dead = self.st.peer.state == PeerState::Dead || self.is_mute();
        if dead && self.st.fence.shot.is_none() && self.surveyed().would_shoot {
            next = next.min(self.next_own_slot());
        }
        next
    }

    fn next_own_slot(&self) -> Instant {
        let Some((slot, position)) = self.slot_now() else {
            return self.slot_origin().unwrap_or(Instant::FAR);
        };
        // After the last one somebody is asked.
        let next = self.own_slots().iter().copied().find(|own| *own > slot).unwrap_or(slot + 1);
        let whole = self.cfg.slot() * u32::try_from(next - slot).unwrap_or(1);
        self.st.now + whole.saturating_sub(position)
    }

    /// A live peer that let the question for consent pass twice.
    pub(super) const fn is_mute(&self) -> bool {
        self.st.peer.mute_since.is_some()
    }

    /// Rule 6: the slots of both nodes must be of one length, or both could shoot.
    pub(super) fn timing_fits(&self) -> bool {
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::IgnoreJointTiming) {
            return true;
        }
        let (dead, slot, feed) = self.safety_values();
        self.st.peer.safety.is_none_or(|theirs| crate::timing::fits((dead, slot, feed), theirs))
    }

    /// No shot will bring the proof: somebody must be asked.
    pub(super) fn fencing_is_hopeless(&self) -> bool {
        self.shots_are_held()
            || self.cfg.fence.is_none()
            || self.st.fence.liar
            || self.st.fence.failures >= 3
            || !self.timing_fits()
            || self.slots_are_over()
    }

    /// No own slot is left in which the two nodes' shots are apart, for example after a long gap of its own.
    fn slots_are_over(&self) -> bool {
        let Some((slot, _)) = self.slot_now() else { return false };
        let passed = self.own_slots().iter().all(|own| *own < slot);
        let first = slot == 0 && self.own_slots() == FIRST;
        self.st.fence.shot.is_none() && (passed || self.origins_are_far_apart() && !first)
    }
}
