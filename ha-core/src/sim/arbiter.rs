//! A third party: linear swaps, leases by renewal, and everything that can befall the way to it.

use super::cluster::{Cluster, Event, MS, Mending, SECOND, nanos};
use super::invariant::{Broken, Invariant};
use super::scenario::Scenario;
use crate::api::{ArbiterView, Lease, OwnerRecord};
use crate::engine::{ArbiterAnswer, ArbiterRequest, RoleName};
use crate::{GroupId, Incarnation, OpId};
use std::time::Duration;

/// How long everything must have been well before the arbiter's absence may be blamed for a stop.
const WELL: u64 = 3 * SECOND;

/// Snapshots that an amnesia may go back to.
const REMEMBERED: usize = 32;

/// What troubles it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// This node does not reach it.
    Cut(usize),
    /// What this node writes there fails.
    ReadOnly(usize),
    /// Nobody reaches it.
    Down,
    /// Each way takes up to so long, in nanoseconds.
    Slow(u64),
    /// Every other answer is lost.
    Mute,
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    record: Option<OwnerRecord>,
    revision: u64,
    /// The lease's holder, the number of its renewal, and when that came (true time).
    held: Option<(Incarnation, u64, u64)>,
}

/// The world's arbiter.
#[derive(Clone, Debug)]
pub struct ThirdParty {
    rows: Vec<Row>,
    older: Vec<Vec<Row>>,
    renewals: u64,
    lease: u64,
    timeout: u64,
    /// It ends leases by its own clock.
    ends_leases: bool,
    troubles: Vec<Trouble>,
    /// It keeps less than it granted.
    forgot: bool,
}

impl ThirdParty {
    /// The one that the scenario configures.
    #[must_use]
    pub fn of(scenario: &Scenario) -> Option<Self> {
        let config = scenario.configs[0].arbiter.as_ref()?;
        Some(Self {
            rows: vec![Row::default(); scenario.configs[0].groups.len()],
            older: Vec::new(),
            renewals: 0,
            lease: nanos(config.lease),
            timeout: nanos(config.answer_timeout),
            ends_leases: scenario.seed.is_multiple_of(2),
            troubles: Vec::new(),
            forgot: false,
        })
    }

    fn reaches(&self, node: usize) -> bool {
        !self.troubles.iter().any(|t| matches!(t, Trouble::Down) || *t == Trouble::Cut(node))
    }

    fn takes(&self, node: usize, request: ArbiterRequest) -> bool {
        let reads = matches!(request, ArbiterRequest::Read);
        self.reaches(node) && (reads || !self.troubles.contains(&Trouble::ReadOnly(node)))
    }

    fn slowness(&self) -> u64 {
        self.troubles.iter().map(|t| if let Trouble::Slow(by) = t { *by } else { 0 }).max().unwrap_or(0)
    }

    fn ran_out(&self, at: u64, now: u64) -> bool {
        // Its own clock may be slower than any node's, never faster.
        self.ends_leases && now - at >= self.lease + self.lease / 1000
    }

    fn view(&self, group: usize, now: u64) -> ArbiterView {
        let row = &self.rows[group];
        let lease = match row.held {
            Some((incarnation, renewal, at)) if !self.ran_out(at, now) => {
                Lease::Held { incarnation, renewal }
            }
            _ => Lease::Free,
        };
        ArbiterView::new(row.record, lease, row.revision)
    }

    fn act(&mut self, group: usize, request: ArbiterRequest, now: u64) -> ArbiterAnswer {
        match request {
            ArbiterRequest::Read => ArbiterAnswer::View(self.view(group, now)),
            ArbiterRequest::Swap { revision, record } => self.swap(group, revision, record, now),
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

    fn hold(&mut self, group: usize, incarnation: Incarnation, now: u64) {
        self.renewals += 1;
        self.rows[group].held = Some((incarnation, self.renewals, now));
    }

    fn swap(&mut self, group: usize, revision: u64, record: OwnerRecord, now: u64) -> ArbiterAnswer {
        if self.rows[group].revision != revision {
            return ArbiterAnswer::Lost(self.view(group, now));
        }
        if self.older.len() == REMEMBERED {
            self.older.remove(0);
        }
        self.older.push(self.rows.clone());
        let row = &mut self.rows[group];
        row.record = Some(record);
        row.revision += 1;
        let revision = row.revision;
        if record.owner.is_some() {
            self.hold(group, record.incarnation, now);
        }
        ArbiterAnswer::Swapped { revision }
    }
}

impl Cluster {
    pub(super) fn arbiter_order(
        &mut self,
        by: usize,
        life: u32,
        op: OpId,
        group: GroupId,
        request: ArbiterRequest,
    ) {
        let Some(third) = &self.third else { return };
        let slow = third.slowness();
        let delay = self.rng.range(MS / 5, 2 * MS) + if slow > 0 { self.rng.range(0, slow) } else { 0 };
        self.after(delay, Event::ArbiterActs { by, life, op, group, request });
    }

    pub(super) fn arbiter_acts(
        &mut self,
        by: usize,
        life: u32,
        op: OpId,
        group: GroupId,
        request: ArbiterRequest,
    ) {
        let lost = self.rng.chance(500);
        let now = self.now;
        let Some(third) = self.third.as_mut() else { return };
        let timeout = third.timeout;
        let slow = third.slowness();
        let mute = third.troubles.contains(&Trouble::Mute) && lost;
        if !third.takes(by, request) {
            // Half of the time the client says so, else the engine's own deadline does.
            if lost {
                self.after(
                    timeout / 2,
                    Event::ArbiterAnswers { by, life, op, answer: ArbiterAnswer::Unavailable },
                );
            }
            return;
        }
        let answer = third.act(usize::from(group.0), request, now);
        let granted = self.epochs.iter().map(super::invariant::Epochs::newest).collect::<Vec<_>>();
        if let Some(third) = self.third.as_mut() {
            let knows =
                third.rows.iter().zip(granted).all(|(row, e)| row.record.is_some_and(|r| r.epoch >= e));
            third.forgot &= !knows;
        }
        if let (ArbiterRequest::Swap { record, .. }, ArbiterAnswer::Swapped { .. }) = (&request, &answer) {
            self.probes.hit("swap", if record.owner.is_some() { "taken" } else { "given back" });
            self.say(
                Some(by),
                format!(
                    "the arbiter now keeps of group {group}: epoch {} owner {:?} generation {} in sync {:#b}",
                    record.epoch, record.owner, record.generation, record.in_sync
                ),
            );
        }
        if mute {
            return;
        }
        let delay = self.rng.range(MS / 5, 2 * MS) + if slow > 0 { self.rng.range(0, slow) } else { 0 };
        self.after(delay, Event::ArbiterAnswers { by, life, op, answer });
    }

    pub(super) fn trouble_arbiter(&mut self, trouble: Trouble, span: Duration) {
        if let Some(third) = &mut self.third {
            third.troubles.push(trouble);
            self.mend_later(span, Mending::Arbiter(trouble));
        }
    }

    pub(super) fn mend_arbiter(&mut self, trouble: Trouble) {
        if let Some(third) = &mut self.third
            && let Some(at) = third.troubles.iter().position(|t| *t == trouble)
        {
            third.troubles.swap_remove(at);
        }
    }

    pub(super) fn heal_arbiter(&mut self) {
        if let Some(third) = &mut self.third {
            third.troubles.clear();
        }
    }

    /// Only what a node knows can tell it that the arbiter forgot: both must be well, and the epochs fall.
    pub(super) fn arbiter_forgets(&mut self, swaps: u8, tries: u8) {
        if self.third.is_some() && !self.pair_is_well(None) && tries > 0 && !self.healed {
            return self.after(SECOND / 2, Event::ArbiterForgets { swaps, tries: tries - 1 });
        }
        let known = self.pair_is_well(None);
        let Some(third) = self.third.as_mut().filter(|_| known) else { return };
        let back = third.older.len().saturating_sub(usize::from(swaps));
        let rows = third.older.get(back).cloned().unwrap_or_else(|| vec![Row::default(); third.rows.len()]);
        let epoch = |row: &Row| row.record.map(|r| r.epoch);
        let falls = rows.iter().zip(&third.rows).all(|(old, new)| epoch(old) < epoch(new));
        if falls {
            third.rows = rows;
            third.older.clear();
            third.forgot = true;
            self.probes.hit("arbiter", "amnesia");
        }
    }

    /// What an amnesiac arbiter granted is known only to the lives that heard it.
    pub(super) fn forget_what_a_life_knew(&mut self) {
        if self.third.as_ref().is_some_and(|t| t.forgot) {
            self.tainted.fill(true);
        }
    }

    /// Both nodes and every path between them have been well for long, the path to the arbiter aside.
    fn pair_is_well(&self, owner: Option<(usize, usize)>) -> bool {
        let then = self.now.saturating_sub(WELL);
        let nodes = self.nodes.iter().all(|n| {
            let runs = n.process.as_ref().is_some_and(|p| !p.paused && p.healthy_since <= then && !p.leaving);
            let writes = n.slow_disk.is_none() && n.stalled_until <= then;
            runs && writes && !n.stalled && n.disturbed <= then
        });
        let links = &self.scenario.configs[0].links;
        let clear = (0..links.len())
            .filter(|i| !links[*i].evidence_only)
            .all(|i| (0..2).all(|from| self.network.path(i, from).is_some_and(|p| p.is_clear_since(then))));
        let stands_by = owner.is_none_or(|(node, group)| {
            self.nodes[1 - node].process.as_ref().is_some_and(|p| p.roles[group] == RoleName::Standby)
        });
        then > 0 && nodes && clear && stands_by && !self.scenario.mismatched
    }

    /// Rule 13: with both nodes well nothing but the arbiter can have stopped this owner.
    pub(super) fn check_absence(&mut self, node: usize, id: GroupId) {
        let group = usize::from(id.0);
        if self.third.is_some() && self.pair_is_well(Some((node, group))) && !self.is_excused(group) {
            let detail = format!("node {node} suspends group {id} although it and its peer are well");
            self.check(Err(Broken { invariant: Invariant::Rule13, detail }));
        }
    }
}
