//! A third party: one linear record and lease a group, and what can befall the way to it.

use super::world::World;
use crate::Incarnation;
use crate::OpId;
use crate::api::{ArbiterView, Lease, OwnerRecord};
use crate::engine::{ArbiterAnswer, ArbiterRequest, Input};

/// What it keeps of one group.
#[derive(Clone, Copy, Default)]
pub(super) struct Row {
    pub record: Option<OwnerRecord>,
    pub revision: u64,
    /// The lease's holder, the number of its renewal, and when that came.
    pub held: Option<(Incarnation, u64, u32)>,
}

/// A request under way: it takes effect in the next unit, and is answered in the same.
#[derive(Clone)]
pub(super) struct Request {
    pub by: usize,
    pub life: u32,
    pub op: OpId,
    pub group: usize,
    pub what: ArbiterRequest,
    pub answer: Option<ArbiterAnswer>,
}

#[derive(Clone)]
pub(super) struct Third {
    pub rows: Vec<Row>,
    /// What it kept before its last swap.
    pub older: Vec<Row>,
    pub renewals: u64,
    /// Units of a lease.
    pub lease: u32,
    pub requests: Vec<Request>,
    /// Nodes that do not reach it; nodes that its answers do not reach.
    pub cut: [bool; 2],
    pub mute: [bool; 2],
    /// It went back to what it kept before: what only it knew is lost.
    pub forgot: bool,
    /// The newest renewal that each node was told of, by group.
    pub told: [Vec<u64>; 2],
}

impl Third {
    pub(super) fn new(groups: usize, lease: u32) -> Self {
        Self {
            rows: vec![Row::default(); groups],
            older: vec![Row::default(); groups],
            renewals: 0,
            lease,
            requests: Vec::new(),
            cut: [false; 2],
            mute: [false; 2],
            forgot: false,
            told: [vec![0; groups], vec![0; groups]],
        }
    }

    /// It ends leases by its own clock, a little slower than any node's.
    fn ran_out(&self, at: u32, now: u32) -> bool {
        now - at > self.lease
    }

    fn view(&self, group: usize, now: u32) -> ArbiterView {
        let row = &self.rows[group];
        let lease = match row.held {
            Some((incarnation, renewal, at)) if !self.ran_out(at, now) => {
                Lease::Held { incarnation, renewal }
            }
            _ => Lease::Free,
        };
        ArbiterView::new(row.record, lease, row.revision)
    }

    fn hold(&mut self, group: usize, incarnation: Incarnation, now: u32) {
        self.renewals += 1;
        self.rows[group].held = Some((incarnation, self.renewals, now));
    }

    fn act(&mut self, group: usize, what: ArbiterRequest, now: u32) -> ArbiterAnswer {
        match what {
            ArbiterRequest::Read => ArbiterAnswer::View(self.view(group, now)),
            ArbiterRequest::Swap { revision, record } => {
                if self.rows[group].revision != revision {
                    return ArbiterAnswer::Lost(self.view(group, now));
                }
                self.older.clone_from(&self.rows);
                let row = &mut self.rows[group];
                row.record = Some(record);
                row.revision += 1;
                let revision = row.revision;
                if record.owner.is_some() {
                    self.hold(group, record.incarnation, now);
                }
                ArbiterAnswer::Swapped { revision }
            }
            ArbiterRequest::Renew { incarnation, epoch } => {
                let row = self.rows[group];
                let owns = row
                    .record
                    .is_some_and(|r| r.owner.is_some() && r.incarnation == incarnation && r.epoch == epoch);
                let stands = row.held.is_some_and(|(by, _, at)| by == incarnation && !self.ran_out(at, now));
                if owns && stands {
                    self.hold(group, incarnation, now);
                }
                ArbiterAnswer::Renewed(owns && stands)
            }
            ArbiterRequest::Release { incarnation } => {
                let row = &mut self.rows[group];
                row.held = row.held.filter(|(by, ..)| *by != incarnation);
                ArbiterAnswer::Released
            }
        }
    }
}

impl World {
    pub(super) fn ask_third(&mut self, by: usize, op: OpId, group: usize, what: ArbiterRequest) {
        let life = self.nodes[by].life;
        if let Some(third) = &mut self.third {
            third.requests.push(Request { by, life, op, group, what, answer: None });
        }
    }

    /// Requests of the last unit take effect, also those of a process that ended or stopped meanwhile.
    pub(super) fn third_acts(&mut self) {
        let t = self.t;
        let Some(mut third) = self.third.take() else { return };
        let mut waiting = std::mem::take(&mut third.requests);
        waiting.retain_mut(|r| {
            if r.answer.is_some() {
                return r.life == self.nodes[r.by].life;
            }
            if third.cut[r.by] {
                return false;
            }
            let answer = third.act(r.group, r.what, t);
            if let (ArbiterRequest::Swap { record, .. }, ArbiterAnswer::Swapped { .. }) = (r.what, &answer) {
                self.say(Some(r.by), || {
                    format!(
                        "the arbiter now keeps of group {}: epoch {} owner {:?} generation {} in sync {:#b}",
                        r.group, record.epoch, record.owner, record.generation, record.in_sync
                    )
                });
            }
            r.answer = Some(answer);
            !third.mute[r.by]
        });
        third.requests = waiting;
        self.third = Some(third);
    }

    /// Answers reach a process that runs.
    pub(super) fn third_answers(&mut self, n: usize) {
        let Some(third) = &mut self.third else { return };
        let life = self.nodes[n].life;
        let (due, rest) = std::mem::take(&mut third.requests)
            .into_iter()
            .partition(|r: &Request| r.by == n && r.life == life && r.answer.is_some());
        third.requests = rest;
        let due: Vec<Request> = due;
        for request in due {
            let Some(answer) = request.answer else { continue };
            if let Some(third) = &mut self.third {
                third.told[n][request.group] = third.rows[request.group].held.map_or(0, |(_, r, _)| r);
            }
            self.feed(n, Input::Arbiter { op: request.op, answer });
        }
    }

    /// It comes back with what it kept before its last swap.
    pub(super) fn third_forgets(&mut self) {
        if let Some(third) = &mut self.third {
            third.rows = third.older.clone();
            third.forgot = true;
        }
    }

    /// What an amnesiac arbiter granted is known only to the lives that heard it.
    pub(super) fn third_knows_what_lives_knew(&self) -> bool {
        self.third.as_ref().is_none_or(|t| !t.forgot)
    }
}
