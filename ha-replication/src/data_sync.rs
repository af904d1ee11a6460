//! The mirror as data that follows the role.

use crate::hub::Hub;
use crate::mirror::Mirror;
use crate::outcome::UnknownReason;
use crate::state::{Role, State};
use async_trait::async_trait;
use ha_core::api::{Ctx, DataReports, DataSync, ResourceError};
use ha_core::engine::{AckRule, DataReport};
use ha_core::{Epoch, Lsn};
use std::time::Duration;

/// The peer may get the last transactions of a primary that leaves.
const LAST_WORDS: Duration = Duration::from_millis(20);

pub(crate) struct MirrorData(pub Mirror);

impl MirrorData {
    fn hub(&self) -> &Hub {
        self.0.hub()
    }
}

#[async_trait]
impl DataSync for MirrorData {
    async fn promote(&self, ctx: &Ctx, rule: AckRule) -> Result<(), ResourceError> {
        let hub = self.hub();
        let epoch = ctx.epoch();
        let deadline = hub.now() + ctx.remaining();
        let ticket = hub.with(|s| s.begin_promotion(epoch))?;
        let settled = hub.wait(deadline, |s| match &s.role {
            Role::Failed(why) => Some(Err(error(why))),
            _ if s.promotion != ticket => Some(Err(superseded())),
            Role::Leader(l) if l.epoch == epoch => Some(Ok(())),
            Role::Promoting if s.sequenced != s.durable || s.cutting || s.copying => None,
            Role::Promoting => {
                s.lead(epoch, rule);
                Some(Ok(()))
            }
            _ => Some(Err(superseded())),
        });
        let late = || Err(error("the journal did not settle before the deadline"));
        if let Err(e) = settled.await.unwrap_or_else(late) {
            hub.with(|s| s.give_up_promotion(ticket));
            return Err(e);
        }
        let ready = hub.wait(deadline, |s| match &s.role {
            Role::Failed(why) => Some(Err(error(why))),
            Role::Leader(l) if l.epoch != epoch => Some(Err(error("another epoch began meanwhile"))),
            Role::Leader(_) => s.promotion_is_complete().then_some(Ok(())),
            _ => Some(Err(error("the role was lost meanwhile"))),
        });
        ready.await.unwrap_or_else(|| {
            hub.with(|s| {
                // A newer call may have found it complete meanwhile.
                if s.promotion == ticket && s.leader().is_some_and(|l| l.epoch == epoch) {
                    s.step_down(UnknownReason::Demoted);
                }
            });
            Err(error("the journal was not durable before the deadline"))
        })
    }

    async fn demote(&self, ctx: &Ctx) -> Result<Option<Lsn>, ResourceError> {
        let hub = self.hub();
        if !hub.with(State::close) {
            let s = hub.lock();
            return Ok(Some(s.commit).filter(|_| !matches!(s.role, Role::Failed(_))));
        }
        let now = hub.now();
        let short = now + LAST_WORDS.min(ctx.remaining());
        hub.wait(short, |s| (s.commit == s.sequenced || !s.connected()).then_some(())).await;
        let (last, both) = hub.with(|s| {
            // Only now: a rule that came meanwhile counts for what it let through.
            let both = s.leader().is_some_and(|l| matches!(l.rule_in_force(s.durable), AckRule::Both(_)));
            s.step_down(UnknownReason::Demoted);
            (s.commit, both)
        });
        let deadline = hub.now() + ctx.remaining();
        let applied = hub.wait(deadline, |s| match &s.role {
            Role::Failed(_) => Some(()),
            _ => (s.applied >= last).then_some(()),
        });
        applied
            .await
            .ok_or_else(|| error("the tree did not take the last transactions before the deadline"))?;
        Ok(Some(last).filter(|_| both))
    }

    fn acknowledge(&self, epoch: Epoch, rule: AckRule) {
        let hub = self.hub();
        hub.with(|s| {
            let Some(leader) = s.leader().filter(|l| l.epoch == epoch) else {
                tracing::debug!(target: "ha_replication", %epoch, ?rule, "a rule for another epoch is ignored");
                return;
            };
            let known = match (leader.alone, rule) {
                (Some((_, present)), AckRule::Alone(asked)) => present == asked,
                (None, AckRule::Both(_)) => leader.rule == rule,
                _ => false,
            };
            if !known {
                s.set_rule(rule);
            }
        });
        hub.emit();
    }

    fn force_current(&self) {
        self.0.force_current();
    }

    fn surrender(&self) {
        self.hub().with(State::surrender);
    }

    fn report(&self) -> DataReport {
        self.hub().lock().report()
    }

    fn subscribe(&self, sink: DataReports) {
        self.hub().subscribe(sink);
    }
}

fn error(reason: impl std::fmt::Display) -> ResourceError {
    ResourceError::new("mirror", reason)
}

fn superseded() -> ResourceError {
    error("the promotion was given up: another one, or a demotion, took its place")
}

impl State {
    /// Takes the place of every promotion before it; which one it is, if this copy may lead in `epoch` or does.
    fn begin_promotion(&mut self, epoch: Epoch) -> Result<u64, ResourceError> {
        match &self.role {
            Role::Failed(why) => return Err(error(why)),
            Role::Leader(l) if l.epoch == epoch => {
                self.promotion += 1;
                return Ok(self.promotion);
            }
            Role::Leader(l) => {
                return Err(error(format!("this copy leads in epoch {}; demote it before {epoch}", l.epoch)));
            }
            _ => {}
        }
        let known = self.heard.max(self.history.newest().map_or(Epoch(0), |e| e.epoch));
        if epoch < self.granted {
            return Err(error(format!(
                "epoch {epoch} is below {}, which this node was granted",
                self.granted
            )));
        }
        if epoch <= known {
            return Err(error(format!("epoch {epoch} is not above {known}, which this copy knows")));
        }
        if self.durable < self.floor {
            return Err(error(format!(
                "the journal is damaged after transaction {}, and {} is known to have existed: repair it from the peer",
                self.durable, self.floor
            )));
        }
        if let Some(seen) = self.went_alone().filter(|_| !self.forced) {
            return Err(error(format!(
                "not current: node {} went alone ({:?}) at transaction {}, and this copy never received the admission",
                seen.node, seen.rule, seen.at
            )));
        }
        self.stop_following();
        self.role = Role::Promoting;
        self.granted = epoch;
        self.promotion += 1;
        self.effects.report = true;
        Ok(self.promotion)
    }

    /// Whether the epoch's first record is durable and, alone, everything before it in the tree.
    fn promotion_is_complete(&mut self) -> bool {
        let (durable, shown) = (self.durable, self.commit.min(self.applied));
        let Role::Leader(leader) = &mut self.role else { return false };
        let start = leader.start;
        leader.ready |= durable >= start && (leader.alone.is_none() || shown >= start);
        leader.ready
    }

    fn give_up_promotion(&mut self, ticket: u64) {
        if matches!(self.role, Role::Promoting) && self.promotion == ticket {
            self.role = Role::Idle;
            self.role_changed();
        }
    }

    /// Takes no more transactions, and ends a promotion under way; whether this copy leads.
    fn close(&mut self) -> bool {
        self.give_up_promotion(self.promotion);
        let Role::Leader(leader) = &mut self.role else { return false };
        leader.closing = true;
        true
    }

    /// The operator gave this copy's own tail up.
    pub(crate) fn surrender(&mut self) -> bool {
        if self.diverged.is_none() || self.leader().is_some() {
            return false;
        }
        self.surrendered = true;
        self.diverged = None;
        self.role_changed();
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed set-up fails the test")]
mod tests {
    use super::*;
    use crate::{MirrorConfig, MirrorId};
    use ha_core::api::Clock;
    use ha_core::runtime::{BootClock, Unguarded};
    use ha_core::wire::PairKey;
    use ha_core::{Generation, GroupId, Incarnation, NodeId, TokenCell};
    use std::sync::Arc;

    const BOTH: AckRule = AckRule::Both(Generation(1));
    const ALONE: AckRule = AckRule::Alone(Generation(2));

    /// Node 1: it dials a port where nobody listens.
    fn alone() -> (tempfile::TempDir, Arc<MirrorData>) {
        let dir = tempfile::tempdir().unwrap();
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (mirror, token) = (MirrorId::from_name("test"), TokenCell::new(GroupId(0)));
        let config = MirrorConfig::new(dir.path(), mirror, NodeId(1), Incarnation(1), nobody, nobody, token);
        let config = config.with_key(PairKey::from_bytes(&[5; 32]).unwrap());
        (dir, Arc::new(MirrorData(Mirror::open(config).unwrap())))
    }

    fn ctx(epoch: u64) -> Ctx {
        let deadline = BootClock.now() + Duration::from_secs(20);
        Ctx::new(Arc::new(Unguarded), Epoch(epoch), deadline, TokenCell::new(GroupId(0)))
    }

    /// The journal does not settle while something is cut.
    fn settle(data: &MirrorData, settled: bool) {
        data.hub().with(|s| {
            s.cutting = !settled;
            s.effects.changed = true;
        });
    }

    #[tokio::test]
    async fn a_promotion_that_comes_late_does_not_bring_its_rule_or_epoch_back() {
        for newer in [2, 3] {
            let (_dir, data) = alone();
            settle(&data, false);
            let (first, second) = (ctx(2), ctx(newer));
            let mut late = data.promote(&first, BOTH);
            assert!(futures::poll!(late.as_mut()).is_pending());
            let mut in_time = data.promote(&second, ALONE);
            assert!(futures::poll!(in_time.as_mut()).is_pending());
            settle(&data, true);
            in_time.await.unwrap();
            late.await.unwrap_err();
            let status = data.0.status();
            assert_eq!((status.epoch, status.report.rule), (Some(Epoch(newer)), Some(ALONE)));
            assert_eq!(status.sequenced, Lsn(1), "one record begins one epoch");
            data.promote(&second, BOTH).await.unwrap();
            assert_eq!(data.report().rule, Some(ALONE), "served already: nothing changes");
        }
    }

    #[tokio::test]
    async fn a_demotion_ends_a_promotion_under_way_and_the_grant_stays_known() {
        let (_dir, data) = alone();
        settle(&data, false);
        let around = ctx(2);
        let mut promotion = data.promote(&around, ALONE);
        assert!(futures::poll!(promotion.as_mut()).is_pending());
        data.demote(&around).await.unwrap();
        settle(&data, true);
        promotion.await.unwrap_err();
        assert_eq!(data.0.status().role, "idle");
        assert_eq!(data.hub().lock().standing().highest, Epoch(2), "no leader below it may be followed");
        data.promote(&ctx(1), BOTH).await.unwrap_err();
        data.promote(&around, ALONE).await.unwrap();
    }

    #[tokio::test]
    async fn a_mirror_that_failed_stays_failed() {
        let (_dir, data) = alone();
        data.promote(&ctx(2), ALONE).await.unwrap();
        data.hub().with(|s| {
            s.fail("as a test");
            s.step_down(UnknownReason::Demoted);
        });
        assert_eq!(data.0.status().role, "failed");
    }
}
