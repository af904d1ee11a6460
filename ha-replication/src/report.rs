//! What the mirror says of itself: to the engine, and to people.

use crate::state::{Feed, Role, State};
use crate::store::QuarantineReport;
use ha_core::engine::{AckRule, DataReport};
use ha_core::{Epoch, Generation, Lsn};
use std::time::Duration;

/// How well the data is protected now.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Protection {
    /// Both copies hold every acknowledged transaction.
    Full {
        /// The generation of the set.
        generation: Generation,
    },
    /// The other copy is connected and behind.
    CatchingUp {
        /// Transactions that it lacks.
        behind: u64,
        /// Whether it gets the whole tree.
        copying: bool,
    },
    /// This copy acknowledges alone.
    Standalone {
        /// The generation in which it is alone.
        generation: Generation,
        /// The first transaction of that time.
        since: Lsn,
    },
    /// Nothing is acknowledged now.
    Blocked {
        /// Why.
        why: String,
    },
    /// This copy does not lead.
    Standby {
        /// The epoch that it follows.
        following: Option<Epoch>,
        /// Whether it may be promoted, as far as its journal shows.
        current: bool,
    },
    /// The disk failed; restart the mirror.
    Failed {
        /// Why.
        why: String,
    },
}

/// All cursors, the role and the session, at one instant.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct MirrorStatus {
    /// `leader`, `follower`, `idle`, `promoting` or `failed`.
    pub role: &'static str,
    /// The epoch led or followed in.
    pub epoch: Option<Epoch>,
    /// The newest epoch in the journal.
    pub newest: Epoch,
    /// The last number given out.
    pub sequenced: Lsn,
    /// Durable here.
    pub durable: Lsn,
    /// Durable at the other copy, if it follows.
    pub peer: Option<Lsn>,
    /// Acknowledgeable and visible.
    pub commit: Lsn,
    /// In the tree.
    pub applied: Lsn,
    /// The highest that may ever have been acknowledged, as the journal shows.
    pub acked: Lsn,
    /// The tree is durable up to here.
    pub checkpoint: Lsn,
    /// The oldest transaction that the journal still holds.
    pub oldest: Lsn,
    /// Whether an authenticated session lives.
    pub session: bool,
    /// Sessions since the start.
    pub sessions: u64,
    /// Why the last handshake, plan or session ended.
    pub last_refusal: Option<String>,
    /// Where both copies part, if neither may be cut without an operator.
    pub diverged: Option<Lsn>,
    /// The last tail that was moved to quarantine.
    pub last_quarantine: Option<QuarantineReport>,
    /// The newest rule in the journal, and whether it lets the other node's copy be ahead.
    pub current: bool,
    /// The state for the engine.
    pub report: DataReport,
}

impl State {
    /// Whether a plan is in force and frames flow.
    pub(crate) fn connected(&self) -> bool {
        let Some(session) = &self.session else { return false };
        match &self.role {
            Role::Leader(_) => session.stream.as_ref().is_some_and(|s| s.confirmed),
            _ => true,
        }
    }

    pub(crate) fn stalled(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        if matches!(leader.rule_in_force(self.durable), AckRule::Alone(_)) {
            return false;
        }
        let now = self.cfg.clock.now();
        // A late observer accuses itself (rule 9).
        let own =
            self.ticked.map_or(Duration::ZERO, |at| now.since(at).saturating_sub(self.cfg.limits.keepalive));
        let away = !self.connected() && now.since(self.contact) > self.cfg.limits.silence + own;
        away || self.owed_since().is_some_and(|since| now.since(since) > self.cfg.limits.stall)
    }

    /// Since when the oldest record waits for its acknowledgement.
    pub(crate) fn owed_since(&self) -> Option<ha_core::Instant> {
        self.in_flight(Lsn(self.commit.0.max(self.applied.0) + 1)).map(|f| f.since)
    }

    pub(crate) fn report(&self) -> DataReport {
        DataReport {
            durable: self.durable,
            connected: self.connected(),
            stalled: self.stalled(),
            caught_up: self.caught_up.filter(|_| !self.withdraw),
            rule: self.shown_rule(),
            diverged: self.diverged.is_some(),
            overtaken: self.overtaken,
        }
    }

    /// The rule in force. `Both` shows only when a copy that counts as equal holds the record of it: else that
    /// copy would be admitted, and its journal still say that it may lack something.
    fn shown_rule(&self) -> Option<AckRule> {
        let leader = self.leader()?;
        let rule = leader.rule_in_force(self.durable);
        let unheard = self.caught_up.is_some() && self.peer.is_none_or(|p| p < leader.rule_at);
        (matches!(rule, AckRule::Alone(_)) || !unheard).then_some(rule)
    }

    pub(crate) fn protection(&self) -> Protection {
        let leader = match &self.role {
            Role::Failed(why) => return Protection::Failed { why: why.clone() },
            Role::Leader(leader) => leader,
            Role::Follower { epoch, .. } => {
                return Protection::Standby { following: Some(*epoch), current: self.went_alone().is_none() };
            }
            _ => return Protection::Standby { following: None, current: self.went_alone().is_none() },
        };
        if let Some(why) = &self.blocked {
            return Protection::Blocked { why: why.clone() };
        }
        let rule = leader.rule_in_force(self.durable);
        let behind = self.sequenced.0 - self.peer.unwrap_or(Lsn(0)).0.min(self.sequenced.0);
        let copying = self
            .session
            .as_ref()
            .and_then(|s| s.stream.as_ref())
            .is_some_and(|s| matches!(s.feed, Feed::Copy));
        match rule {
            AckRule::Both(_) if self.stalled() => {
                Protection::Blocked { why: "the other copy does not answer".into() }
            }
            AckRule::Both(generation) if self.caught_up.is_some() && !self.withdraw => {
                Protection::Full { generation }
            }
            AckRule::Alone(generation) if !self.connected() => {
                let since = leader.alone.map_or(leader.rule_at, |(at, _)| at);
                Protection::Standalone { generation, since }
            }
            _ => Protection::CatchingUp { behind, copying },
        }
    }

    pub(crate) fn status(&self) -> MirrorStatus {
        let (role, epoch) = match &self.role {
            Role::Idle => ("idle", None),
            Role::Promoting => ("promoting", None),
            Role::Leader(leader) => ("leader", Some(leader.epoch)),
            Role::Follower { epoch, .. } => ("follower", Some(*epoch)),
            Role::Failed(_) => ("failed", None),
        };
        MirrorStatus {
            role,
            epoch,
            newest: self.history.newest().map_or(Epoch(0), |e| e.epoch),
            sequenced: self.sequenced,
            durable: self.durable,
            peer: self.peer,
            commit: self.commit,
            applied: self.applied,
            acked: self.acked,
            checkpoint: self.checkpoint,
            oldest: self.oldest,
            session: self.session.is_some(),
            sessions: self.sessions,
            last_refusal: self.refusal.clone(),
            diverged: self.diverged,
            last_quarantine: self.quarantine.clone(),
            current: self.went_alone().is_none(),
            report: self.report(),
        }
    }
}
