//! Operations of resources and data, each in a task of its own on the application's runtime.
//!
//! A running call is never dropped. When the engine gives one up, its [`Ctx`] is cancelled and the task goes on.
//! If a start or a promotion that was given up succeeds after all, **the runtime** takes it back with a stop or a
//! demotion before its completion is fed to the engine (as failed) — unless a newer start of the same target was
//! ordered meanwhile: then what runs belongs to that one.

use super::agents::{Agent, Agents};
use super::arrivals::{Arrival, ArrivalSender};
use super::environment::{AgentEnvironment, Surroundings};
use crate::api::{Ctx, ResourceError};
use crate::engine::{OpKind, OpResult, OpTarget};
use crate::{Epoch, GroupId, Instant, OpId, StopProof};
use futures::FutureExt;
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// One operation as the engine ordered it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) op: OpId,
    pub(super) group: GroupId,
    pub(super) target: OpTarget,
    pub(super) kind: OpKind,
    pub(super) epoch: Epoch,
    pub(super) deadline: Instant,
    /// What the grant rests on.
    pub(super) proof: Option<StopProof>,
}

impl Order {
    fn same_target(&self, other: &Self) -> bool {
        (self.group, self.target) == (other.group, other.target)
    }
}

/// The operations under way.
pub(super) struct Operations {
    around: Surroundings,
    environments: BTreeMap<(GroupId, OpTarget), Arc<AgentEnvironment>>,
    agents: Arc<Agents>,
    arrivals: ArrivalSender,
    running: BTreeMap<OpId, Running>,
    newest_start: BTreeMap<(GroupId, OpTarget), OpId>,
    /// Starts that wait until an earlier, late one of the same target is taken back.
    held: Vec<Order>,
}

struct Running {
    order: Order,
    ctx: Ctx,
    /// This task takes back what a given-up operation did.
    undoing: bool,
}

impl Operations {
    pub(super) const fn new(around: Surroundings, agents: Arc<Agents>, arrivals: ArrivalSender) -> Self {
        Self {
            around,
            environments: BTreeMap::new(),
            agents,
            arrivals,
            running: BTreeMap::new(),
            newest_start: BTreeMap::new(),
            held: Vec::new(),
        }
    }

    /// Starts an operation. Its completion arrives exactly once, whatever the agent does.
    pub(super) fn begin(&mut self, order: Order) {
        if starts(order.kind) {
            self.newest_start.insert((order.group, order.target), order.op);
            if self.running.values().any(|r| r.undoing && r.order.same_target(&order)) {
                self.held.push(order);
                return;
            }
        }
        self.run(order, false);
    }

    /// Gives an operation up; it runs on.
    pub(super) fn cancel(&mut self, op: OpId) {
        if let Some(running) = self.running.get(&op) {
            running.ctx.cancel();
        }
        if let Some(place) = self.held.iter().position(|order| order.op == op) {
            self.held.swap_remove(place);
            // Never begun: dropping its completion reports it as failed.
            drop(self.completion(op));
        }
    }

    /// Gives every operation up: nobody waits for them any more.
    pub(super) fn cancel_all(&mut self) {
        for running in self.running.values() {
            running.ctx.cancel();
        }
    }

    /// Takes a completion; gives what the engine is to be told. `None` if a late success is being taken back
    /// first.
    pub(super) fn completed(&mut self, op: OpId, result: OpResult) -> Option<OpResult> {
        let Some(done) = self.running.remove(&op) else { return Some(result) };
        let succeeded = matches!(result, OpResult::Done { .. });
        if done.undoing {
            self.release_held(&done.order);
            tracing::info!(target: "ha_core", %op, succeeded, "a late start was taken back");
            // Still standing, it is what the engine must know: the group is not at rest.
            return Some(if succeeded { OpResult::Failed } else { OpResult::Done { final_lsn: None } });
        }
        let newest = self.newest_start.get(&(done.order.group, done.order.target)) == Some(&op);
        if succeeded && starts(done.order.kind) && done.ctx.is_cancelled() && newest {
            self.take_back(done.order);
            return None;
        }
        Some(result)
    }

    fn release_held(&mut self, undone: &Order) {
        let (free, held): (Vec<_>, _) = self.held.drain(..).partition(|order| order.same_target(undone));
        self.held = held;
        for order in free {
            self.run(order, false);
        }
    }

    fn completion(&self, op: OpId) -> Completion {
        Completion { op, arrivals: self.arrivals.clone(), result: OpResult::Failed }
    }

    fn take_back(&mut self, late: Order) {
        let kind = if late.target == OpTarget::Data { OpKind::Demote } else { OpKind::Stop };
        let deadline = self.around.clock.now() + self.agents.undo_timeout(late.group, late.target);
        self.run(Order { kind, deadline, ..late }, true);
    }

    fn run(&mut self, order: Order, undoing: bool) {
        let completion =
            Completion { op: order.op, arrivals: self.arrivals.clone(), result: OpResult::Failed };
        let (Some(agent), Some(group)) =
            (self.agents.find(order.group, order.target), self.agents.group(order.group))
        else {
            // The builder matched every agent: the engine asked for something that is not configured.
            tracing::error!(target: "ha_core", ?order, "an operation without its agent fails");
            return;
        };
        let environment = self
            .environments
            .entry((order.group, order.target))
            .or_insert_with(|| Arc::new(AgentEnvironment::new(self.around.clone(), order.group)))
            .clone();
        let ctx = Ctx::new(environment.clone(), order.epoch, order.deadline, group.token.clone())
            .with_proof(order.proof);
        self.running.insert(order.op, Running { order, ctx: ctx.clone(), undoing });
        self.around.handle.spawn(carry_out(agent, order, ctx, environment, completion));
    }
}

const fn starts(kind: OpKind) -> bool {
    matches!(kind, OpKind::Start | OpKind::Promote(_))
}

/// Reports when it is dropped, so that a panic or the end of the application's runtime is a failure, not silence.
struct Completion {
    op: OpId,
    arrivals: ArrivalSender,
    result: OpResult,
}

impl Drop for Completion {
    fn drop(&mut self) {
        let _ = self.arrivals.send(Arrival::OpDone { op: self.op, result: self.result });
    }
}

async fn carry_out(
    agent: Agent,
    order: Order,
    ctx: Ctx,
    environment: Arc<AgentEnvironment>,
    mut completion: Completion,
) {
    let call = AssertUnwindSafe(call(&agent, order.kind, &ctx)).catch_unwind();
    completion.result = match call.await {
        Ok(Ok(result)) => {
            // Before the engine hears of it, so that no step of the next start is meant.
            if order.kind == OpKind::Stop {
                environment.forget_undos();
            }
            result
        }
        Ok(Err(e)) => {
            tracing::warn!(target: "ha_core", op = %order.op, kind = ?order.kind, error = %e, "an operation failed");
            OpResult::Failed
        }
        Err(panic) => {
            let what = message(panic.as_ref());
            tracing::error!(target: "ha_core", op = %order.op, kind = ?order.kind, panic = what, "an agent panicked");
            OpResult::Failed
        }
    };
}

async fn call(agent: &Agent, kind: OpKind, ctx: &Ctx) -> Result<OpResult, ResourceError> {
    const DONE: OpResult = OpResult::Done { final_lsn: None };
    match (agent, kind) {
        (Agent::Resource(r), OpKind::Start) => r.start(ctx).await.map(|()| DONE),
        (Agent::Resource(r), OpKind::Stop) => r.stop(ctx).await.map(|()| DONE),
        (Agent::Resource(r), OpKind::Drain) => r.drain(ctx).await.map(|()| DONE),
        (Agent::Resource(r), OpKind::Resume) => r.resume(ctx).await.map(|()| DONE),
        (Agent::Resource(r), OpKind::Monitor) => Ok(OpResult::Health(r.monitor(ctx).await)),
        (Agent::Data(d), OpKind::Promote(rule)) => d.promote(ctx, rule).await.map(|()| DONE),
        (Agent::Data(d), OpKind::Demote) => d.demote(ctx).await.map(|final_lsn| OpResult::Done { final_lsn }),
        (Agent::Resource(r), OpKind::Promote(_) | OpKind::Demote) => {
            Err(ResourceError::new(r.name(), "a resource has no data role to change"))
        }
        (Agent::Data(_), OpKind::Start | OpKind::Stop | OpKind::Monitor | OpKind::Drain | OpKind::Resume) => {
            Err(ResourceError::new("data", "data is promoted and demoted, never started"))
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
#[path = "operations_tests.rs"]
mod tests;
