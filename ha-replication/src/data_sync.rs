//! The mirror as data that follows the role.

use crate::hub::Hub;
use crate::mirror::Mirror;
use crate::state::{Role, State};
use crate::transaction::UnknownReason;
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
        if !hub.with(|s| s.begin_promotion(epoch))? {
            return Ok(());
        }
        let settled = hub.wait(deadline, |s| match &s.role {
            Role::Failed(why) => Some(Err(error(why))),
            _ if s.sequenced == s.durable && !s.cutting && !s.copying => Some(Ok(())),
            _ => None,
        });
        let started = match settled.await {
            Some(Ok(())) => hub.with(|s| s.lead(epoch, rule)),
            other => {
                hub.with(State::give_up_promotion);
                return other.unwrap_or_else(|| Err(error("the journal did not settle before the deadline")));
            }
        };
        let ready = hub.wait(deadline, |s| match &s.role {
            Role::Failed(why) => Some(Err(error(why))),
            Role::Leader(l) if l.epoch != epoch => Some(Err(error("another epoch began meanwhile"))),
            Role::Leader(_) => {
                let visible =
                    matches!(rule, AckRule::Both(_)) || (s.commit >= started && s.applied >= started);
                (s.durable >= started && visible).then_some(Ok(()))
            }
            _ => Some(Err(error("the role was lost meanwhile"))),
        });
        ready.await.unwrap_or_else(|| {
            hub.with(|s| s.step_down(UnknownReason::Demoted));
            Err(error("the journal was not durable before the deadline"))
        })
    }

    async fn demote(&self, ctx: &Ctx) -> Result<Option<Lsn>, ResourceError> {
        let hub = self.hub();
        let Some(rule) = hub.with(State::close) else {
            let s = hub.lock();
            return Ok(Some(s.commit).filter(|_| !matches!(s.role, Role::Failed(_))));
        };
        let now = hub.now();
        let short = now + LAST_WORDS.min(ctx.remaining());
        hub.wait(short, |s| (s.commit == s.sequenced || !s.connected()).then_some(())).await;
        let last = hub.with(|s| {
            s.step_down(UnknownReason::Demoted);
            s.commit
        });
        let deadline = hub.now() + ctx.remaining();
        let applied = hub.wait(deadline, |s| match &s.role {
            Role::Failed(_) => Some(()),
            _ => (s.applied >= last).then_some(()),
        });
        applied
            .await
            .ok_or_else(|| error("the tree did not take the last transactions before the deadline"))?;
        Ok(Some(last).filter(|_| matches!(rule, AckRule::Both(_))))
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

impl State {
    /// Whether this copy may lead in `epoch`; false: it does already.
    fn begin_promotion(&mut self, epoch: Epoch) -> Result<bool, ResourceError> {
        match &self.role {
            Role::Failed(why) => return Err(error(why)),
            Role::Leader(l) if l.epoch == epoch => return Ok(false),
            Role::Leader(l) => {
                return Err(error(format!("this copy leads in epoch {}; demote it before {epoch}", l.epoch)));
            }
            _ => {}
        }
        let known = self.heard.max(self.history.newest().map_or(Epoch(0), |e| e.epoch));
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
        self.effects.report = true;
        Ok(true)
    }

    fn give_up_promotion(&mut self) {
        if matches!(self.role, Role::Promoting) {
            self.role = Role::Idle;
            self.role_changed();
        }
    }

    /// Takes no more transactions; the rule in force, if this copy leads.
    fn close(&mut self) -> Option<AckRule> {
        let durable = self.durable;
        let Role::Leader(leader) = &mut self.role else { return None };
        leader.closing = true;
        Some(leader.rule_in_force(durable))
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
