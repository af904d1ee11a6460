//! A state without its history: instants relative to now and saturated, counters dropped, so that an explorer
//! recognises a state it has seen at another time.

use super::machine::Engine;
use super::policy_state::PolicyState;
use super::state::State;
use crate::{Instant, OpId, WriteId};
use std::collections::BTreeMap;
use std::time::Duration;

/// Farther than this from now, instants are all alike.
const HORIZON: Duration = Duration::from_secs(30);

/// Coarseness of canonical time: below the shortest interval that any rule compares.
const GRAIN: Duration = Duration::from_millis(1);

/// A multiple of every period with which beats rotate their statements.
const ROTATION: u32 = 12;

/// A state in canonical form. Two engines of one configuration with equal forms decide alike from here on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Canonical(State);

impl Engine {
    /// The canonical form of the state at `now`.
    #[must_use]
    pub fn canonical(&self, now: Instant) -> Canonical {
        let mut st = self.st.clone();
        let rel = |at: &mut Instant| *at = relative(*at, now);
        rel(&mut st.now);
        // How long ago the boot was matters only until the boot wait is over.
        st.started = if self.boot_wait_over() { Instant::ZERO } else { relative(st.started, now) };
        rel(&mut st.wake);
        rel(&mut st.stall_at);
        st.next_op = 0;
        st.next_write = 0;
        st.next_nonce = 0;
        if let Some(w) = &mut st.write {
            w.id = WriteId(0);
            rel(&mut w.deadline);
        }
        for link in &mut st.links {
            let newest = link.seq;
            // The rotation of statements on a narrow link depends on these; the rest of the number does not matter.
            link.seq = newest % ROTATION;
            for (seq, at) in &mut link.sent {
                *seq = newest.wrapping_sub(*seq);
                *at = relative(*at, now);
            }
            for at in [&mut link.last_heard, &mut link.two_way, &mut link.echoed, &mut link.last_sent] {
                *at = at.map(|at| relative(at, now));
            }
            rel(&mut link.next_send);
            if let Some((_, seq)) = &mut link.heard {
                *seq = 0;
            }
        }
        st.peer.health_count = 0;
        st.peer.health_at = st.peer.health_at.map(|at| relative(at, now));
        st.peer.mute_since = st.peer.mute_since.map(|at| relative(at, now));
        for life in &mut st.peer.lives {
            if let Some(ended) = &mut life.ended {
                rel(&mut ended.at);
            }
        }
        rel(&mut st.fence.next_query);
        for op in [&mut st.fence.query, &mut st.fence.shot].into_iter().flatten() {
            op.op = OpId(0);
            rel(&mut op.issued);
            rel(&mut op.deadline);
        }
        st.fence.last_turn = st.fence.last_turn.map(|_| 0);
        canonical_groups(&mut st, now);
        Canonical(st)
    }
}

fn canonical_groups(st: &mut State, now: Instant) {
    let rel = |at: &mut Instant| *at = relative(*at, now);
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
            rel(&mut m.next);
            for finding in [&mut m.finding, &mut m.trouble].into_iter().flatten() {
                rel(&mut finding.since);
                // No policy counts further than a byte.
                finding.in_a_row = finding.in_a_row.min(u16::from(u8::MAX));
                finding.timeouts = finding.timeouts.min(u16::from(u8::MAX));
            }
        }
        canonical_policy(&mut gr.policy, &renumber, now);
        gr.hold_until = gr.hold_until.map(|at| relative(at, now));
        gr.switching = gr.switching.map(|at| relative(at, now));
        gr.stalled_since = gr.stalled_since.map(|at| relative(at, now));
        rel(&mut gr.question_repeat);
        rel(&mut gr.valid_until);
        rel(&mut gr.renew_at);
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
    }
    if let Some(l) = &mut st.leaving {
        l.idle_since = l.idle_since.map(|at| relative(at, now));
    }
}

fn canonical_policy(policy: &mut PolicyState, renumber: &BTreeMap<OpId, OpId>, now: Instant) {
    for at in &mut policy.restarted {
        *at = relative(*at, now);
    }
    let PolicyState { failed_at, active_since, retry_at, prepare_heard, ordered_since, .. } = policy;
    for at in [failed_at, active_since, retry_at, prepare_heard, ordered_since].into_iter().flatten() {
        *at = relative(*at, now);
    }
    if let Some((_, since)) = &mut policy.better {
        *since = relative(*since, now);
    }
    if let Some(draining) = &mut policy.draining {
        draining.left.iter_mut().for_each(|id| *id = renumber.get(id).copied().unwrap_or(*id));
    }
}

/// Now is the middle of the scale; the ends are "long ago" and "not soon".
fn relative(at: Instant, now: Instant) -> Instant {
    let grain = GRAIN.as_nanos() as u64;
    let middle = HORIZON.as_nanos() as u64;
    if at == Instant::ZERO || at == Instant::FAR {
        return at;
    }
    let ahead = u64::try_from(at.since(now).min(HORIZON).as_nanos()).unwrap_or(middle);
    let behind = u64::try_from(now.since(at).min(HORIZON).as_nanos()).unwrap_or(middle);
    Instant::from_nanos((middle + ahead - behind) / grain * grain + 1)
}
