//! A state without its history: instants relative to now and saturated, counters dropped, so that an explorer
//! recognises a state it has seen at another time.

use super::machine::Engine;
use super::permit::Permit;
use super::policy_state::PolicyState;
use super::state::{Claim, Link, Role, State};
use crate::{Instant, Lsn, OpId, StopProof, WriteId};
use std::collections::BTreeMap;
use std::time::Duration;

/// Farther than this from now, instants are all alike.
const HORIZON: Duration = Duration::from_secs(30);

/// Coarseness of canonical time: below the shortest interval that any rule compares.
const GRAIN: Duration = Duration::from_millis(1);

/// A multiple of every period with which beats rotate their statements.
const ROTATION: u32 = 12;

/// Fencing orders that failed; more of them change nothing.
const FAILURES_MAX: u32 = 3;

/// A state in canonical form. Two engines of one configuration with equal forms decide alike from here on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Canonical(State);

/// How much of time and data a canonical form tells apart.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Farther than this from now, instants are all alike. Exact if no rule compares a longer span.
    pub horizon: Duration,
    /// By group, the transaction up to which both copies are equal: positions count from there.
    pub bases: &'a [Lsn],
    /// Whether the order of the statements in a beat counts on links that have room for all of them.
    pub order: bool,
}

impl Frame<'_> {
    /// Tells everything apart that can matter within half a minute.
    pub const WHOLE: Self = Self { horizon: HORIZON, bases: &[], order: true };
}

impl Engine {
    /// The canonical form of the state at `now`.
    #[must_use]
    pub fn canonical(&self, now: Instant) -> Canonical {
        self.canonical_in(now, Frame::WHOLE)
    }

    /// The canonical form of the state at `now`, telling apart what `frame` says.
    #[must_use]
    pub fn canonical_in(&self, now: Instant, frame: Frame<'_>) -> Canonical {
        let mut st = self.st.clone();
        let rel = |at: &mut Instant| *at = relative(*at, now, frame.horizon);
        rel(&mut st.now);
        // How long ago the boot was matters only until the boot wait is over.
        st.started =
            if self.boot_wait_over() { Instant::ZERO } else { relative(st.started, now, frame.horizon) };
        rel(&mut st.wake);
        rel(&mut st.common.until);
        rel(&mut st.common.renew_at);
        // A node that was never late has no time of it.
        st.stall_at =
            if st.stall.is_zero() { Instant::ZERO } else { relative(st.stall_at, now, frame.horizon) };
        st.drains = st.drains.map(|at| relative(at, now, frame.horizon));
        st.next_op = 0;
        st.next_write = 0;
        st.next_nonce = 0;
        if let Some(w) = &mut st.write {
            w.id = WriteId(0);
            rel(&mut w.deadline);
        }
        for (link, config) in st.links.iter_mut().zip(&self.cfg.links) {
            let rotates = frame.order || config.payload_bytes < super::saying::ROOM_FOR_ALL;
            canonical_link(link, config.dead, rotates, now, frame.horizon);
        }
        st.peer.health_count = 0;
        st.peer.health_at = st.peer.health_at.map(|at| relative(at, now, frame.horizon));
        st.peer.mute_since = st.peer.mute_since.map(|at| relative(at, now, frame.horizon));
        for life in &mut st.peer.lives {
            if let Some(ended) = &mut life.ended {
                rel(&mut ended.at);
                rel(&mut ended.asked);
            }
        }
        st.fence.next_query = st.fence.next_query.max(now);
        rel(&mut st.fence.next_query);
        st.fence.failures = st.fence.failures.min(FAILURES_MAX);
        for op in [&mut st.fence.query, &mut st.fence.shot].into_iter().flatten() {
            op.op = OpId(0);
            rel(&mut op.issued);
            rel(&mut op.deadline);
        }
        // What counts of a past shot is how many slots ago it was.
        let slot = self.slot_now().map_or(0, |(slot, _)| slot);
        st.fence.last_slot = st.fence.last_slot.map(|last| slot.wrapping_sub(last));
        canonical_groups(&mut st, now, frame.horizon);
        for g in self.group_ids() {
            if let Some(base) = frame.bases.get(usize::from(g.0)) {
                canonical_data(&mut st, g, *base);
            }
        }
        Canonical(st)
    }
}

fn canonical_link(link: &mut Link, dead: Duration, rotates: bool, now: Instant, horizon: Duration) {
    let newest = link.seq;
    link.news.renumber(newest);
    // The rotation of statements depends on these; the rest of the number does not matter.
    link.seq = if rotates { newest % ROTATION } else { 0 };
    // An echo of what was echoed long ago shows nothing new.
    let known = link.echoed;
    let grace = link.grace;
    link.sent.retain(|(_, at)| known.is_none_or(|echoed| *at > echoed) || now.since(*at + grace) < dead);
    for (seq, at) in &mut link.sent {
        *seq = newest.wrapping_sub(*seq);
        *at = relative(*at, now, horizon);
    }
    for at in [&mut link.last_heard, &mut link.two_way, &mut link.echoed, &mut link.last_sent] {
        *at = at.map(|at| relative(at, now, horizon));
    }
    link.next_send = relative(link.next_send, now, horizon);
    if let Some((_, seq)) = &mut link.heard {
        *seq = 0;
    }
}

fn canonical_groups(st: &mut State, now: Instant, horizon: Duration) {
    let rel = |at: &mut Instant| *at = relative(*at, now, horizon);
    let mut ops = BTreeMap::new();
    let mut renumber = BTreeMap::new();
    for (id, mut op) in std::mem::take(&mut st.ops) {
        let next = OpId(renumber.len() as u64 + 1);
        renumber.insert(id, next);
        rel(&mut op.deadline);
        ops.insert(next, op);
    }
    st.ops = ops;
    for gr in &mut st.groups {
        gr.op = gr.op.and_then(|id| renumber.get(&id).copied());
        for m in &mut gr.monitors {
            m.op = m.op.and_then(|id| renumber.get(&id).copied());
            m.next = if gr.role == Role::Active { relative(m.next, now, horizon) } else { Instant::ZERO };
            for finding in [&mut m.finding, &mut m.trouble].into_iter().flatten() {
                rel(&mut finding.since);
                // No policy counts further than a byte.
                finding.in_a_row = finding.in_a_row.min(u16::from(u8::MAX));
                finding.timeouts = finding.timeouts.min(u16::from(u8::MAX));
            }
        }
        canonical_policy(&mut gr.policy, &renumber, now, horizon);
        gr.hold_until = gr.hold_until.map(|at| relative(at, now, horizon));
        gr.switching = gr.switching.map(|at| relative(at, now, horizon));
        gr.stalled_since = gr.stalled_since.map(|at| relative(at, now, horizon));
        rel(&mut gr.question_repeat);
        if let Permit::Leased(validity) = &mut gr.permit {
            rel(&mut validity.until);
            rel(&mut validity.renew_at);
        }
        if let Some(s) = &mut gr.suspended {
            rel(&mut s.since);
        }
        if let Some(r) = &mut gr.released {
            rel(&mut r.since);
        }
        if let Some(a) = &mut gr.ask {
            rel(&mut a.since);
        }
        gr.outside_seen = gr.outside_seen.map(|_| 0);
        canonical_third(&mut gr.third, now, horizon);
    }
    if let Some(l) = &mut st.leaving {
        l.idle_since = l.idle_since.map(|at| relative(at, now, horizon));
    }
}

/// Positions in the group's log count from `base`; what lies before it is all alike.
fn canonical_data(st: &mut State, g: crate::GroupId, base: Lsn) {
    let from = |lsn: &mut Lsn| *lsn = Lsn(lsn.0.saturating_sub(base.0));
    if let Some(Claim { lsn, .. }) = st.peer.claims.get_mut(&g) {
        from(lsn);
    }
    let gr = &mut st.groups[usize::from(g.0)];
    from(&mut gr.data.durable);
    gr.final_lsn.iter_mut().for_each(from);
    gr.release.iter_mut().filter_map(|r| r.final_lsn.as_mut()).for_each(from);
    gr.released.iter_mut().filter_map(|r| r.final_lsn.as_mut()).for_each(from);
    // The proof of a grant already used only tells the operator about it.
    if let Some(StopProof::Released { final_lsn, .. }) = &mut gr.proof {
        *final_lsn = None;
    }
    if let Role::Claiming { proof: StopProof::Released { final_lsn, .. }, .. } = &mut gr.role {
        *final_lsn = None;
    }
}

fn canonical_policy(
    policy: &mut PolicyState,
    renumber: &BTreeMap<OpId, OpId>,
    now: Instant,
    horizon: Duration,
) {
    for at in &mut policy.restarted {
        *at = relative(*at, now, horizon);
    }
    let PolicyState { failed_at, active_since, retry_at, prepare_heard, ordered_since, .. } = policy;
    for at in [failed_at, active_since, retry_at, prepare_heard, ordered_since].into_iter().flatten() {
        *at = relative(*at, now, horizon);
    }
    if let Some((_, since)) = &mut policy.better {
        *since = relative(*since, now, horizon);
    }
    if let Some(draining) = &mut policy.draining {
        draining.left.iter_mut().for_each(|id| *id = renumber.get(id).copied().unwrap_or(*id));
    }
}

fn canonical_third(t: &mut super::third_party::ThirdParty, now: Instant, horizon: Duration) {
    let rel = |at: &mut Instant| *at = relative(*at, now, horizon);
    if let Some(asked) = &mut t.request {
        asked.op = OpId(0);
        rel(&mut asked.at);
        rel(&mut asked.deadline);
    }
    if let Some(view) = &mut t.view {
        rel(&mut view.asked);
        rel(&mut view.first);
    }
    if let Some(claim) = &mut t.claim {
        rel(&mut claim.since);
    }
    // The numbers of renewals only tell one from another.
    let renewal = |lease: &crate::api::Lease| match lease {
        crate::api::Lease::Held { renewal, .. } => Some(*renewal),
        crate::api::Lease::Free => None,
    };
    let seen = t.view.as_ref().and_then(|v| renewal(&v.lease));
    let leases = [t.view.as_mut().map(|v| &mut v.lease), t.watch.as_mut().map(|w| &mut w.lease)];
    for lease in leases.into_iter().flatten() {
        if let crate::api::Lease::Held { renewal, .. } = lease {
            *renewal = u64::from(Some(*renewal) != seen);
        }
    }
    if let Some(watch) = &mut t.watch {
        rel(&mut watch.since);
    }
    if let Some(extend) = &mut t.extend {
        rel(&mut extend.since);
    }
    t.failures = t.failures.min(3);
    for at in
        [&mut t.next_ask, &mut t.lease_until, &mut t.next_renew, &mut t.promise_until, &mut t.bound_until]
    {
        rel(at);
    }
}

/// Now is the middle of the scale; the ends are "long ago" and "not soon".
fn relative(at: Instant, now: Instant, horizon: Duration) -> Instant {
    let grain = GRAIN.as_nanos() as u64;
    let middle = horizon.as_nanos() as u64;
    if at == Instant::ZERO || at == Instant::FAR {
        return at;
    }
    let ahead = u64::try_from(at.since(now).min(horizon).as_nanos()).unwrap_or(middle);
    let behind = u64::try_from(now.since(at).min(horizon).as_nanos()).unwrap_or(middle);
    Instant::from_nanos((middle + ahead - behind) / grain * grain + 1)
}
