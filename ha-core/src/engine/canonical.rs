//! A state without its history: instants relative to now and saturated, counters dropped, so that an explorer
//! recognises a state it has seen at another time.

use super::machine::Engine;
use super::state::State;
use crate::{Instant, OpId, WriteId};
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
        st.peer.mute_since = st.peer.mute_since.map(|at| relative(at, now));
        for life in &mut st.peer.lives {
            if let Some(ended) = &mut life.ended {
                rel(&mut ended.at);
                rel(&mut ended.asked);
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
    let mut ops = std::collections::BTreeMap::new();
    let mut renumber = std::collections::BTreeMap::new();
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
        }
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
        canonical_third(&mut gr.third, now);
    }
    if let Some(l) = &mut st.leaving {
        l.idle_since = l.idle_since.map(|at| relative(at, now));
    }
}

fn canonical_third(t: &mut super::third_party::ThirdParty, now: Instant) {
    let rel = |at: &mut Instant| *at = relative(*at, now);
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
