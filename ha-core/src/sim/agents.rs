//! Users' own resources under virtual time: a single-threaded executor whose clock is the simulated node's.
//!
//! An agent sees a [`Ctx`] whose `now`, `sleep` and `spawn` are the world's. Its tasks are polled when the node
//! runs and never while it is stopped by a signal; they are dropped when its process dies.

use super::cluster::{Cluster, Event, nanos};
use super::fault::Fault;
use super::node::Op;
use super::permits::Permits;
use crate::api::{Ctx, Environment, Resource, UndoError};
use crate::engine::{Health, Input, OpKind, OpResult, OpTarget};
use crate::{GroupId, Instant, OpId, TokenCell, Undo};
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// How long a woken task waits for the processor, in nanoseconds.
const WAKE_DELAY: u64 = 1000;

/// A task: an operation with its number, or something an operation spawned.
struct Task {
    node: usize,
    op: Option<(OpId, Op, Ctx)>,
    future: BoxFuture<'static, OpResult>,
    waker: Arc<Flag>,
}

/// Makes an agent for a new life of a node (0 or 1).
type Maker = Box<dyn Fn(usize) -> Arc<dyn Resource>>;

/// Remembers that a task was woken.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What an agent's calls leave for the world to carry out after a poll.
#[derive(Default)]
struct Wishes {
    timers: Vec<(Instant, Waker)>,
    spawned: Vec<BoxFuture<'static, ()>>,
}

/// One node's clock and timers, as agents see them.
struct NodeTime {
    now: AtomicU64,
    wishes: Mutex<Wishes>,
}

impl NodeTime {
    fn wishes(&self) -> std::sync::MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct VirtualEnvironment(Arc<NodeTime>);

impl Environment for VirtualEnvironment {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.now.load(Ordering::Relaxed))
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        let (time, until) = (self.0.clone(), self.now() + span);
        Box::pin(std::future::poll_fn(move |cx| {
            if Instant::from_nanos(time.now.load(Ordering::Relaxed)) >= until {
                return Poll::Ready(());
            }
            time.wishes().timers.push((until, cx.waker().clone()));
            Poll::Pending
        }))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.wishes().spawned.push(task);
    }

    /// The simulated guardian takes everything of a dead process back by itself.
    fn remember_undo(&self, _: Undo) -> Result<(), UndoError> {
        Ok(())
    }
}

/// All agents of a cluster.
#[derive(Default)]
pub(super) struct Agents {
    makers: BTreeMap<(usize, u8), Maker>,
    /// The objects of the present lives, by node, group and place.
    resources: BTreeMap<(usize, usize, u8), Arc<dyn Resource>>,
    tokens: BTreeMap<(usize, usize), TokenCell>,
    times: Option<[Arc<NodeTime>; 2]>,
    tasks: BTreeMap<u64, Task>,
    next: u64,
    /// How often an operation waited.
    pub(super) awaits: u64,
    /// What strikes at which of them.
    pub(super) armed: Option<(u64, Fault)>,
}

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agents").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl Agents {
    pub(super) fn owns(&self, group: usize, place: u8) -> bool {
        self.makers.contains_key(&(group, place))
    }

    /// Mirrors the engine's permission into the cell that agents check.
    pub(super) fn set_token(&self, node: usize, group: usize, permits: &Permits) {
        if let Some(cell) = self.tokens.get(&(node, group)) {
            permits.tell(group, cell);
        }
    }

    /// The agent of the present life.
    fn agent(&mut self, node: usize, group: usize, place: u8) -> Option<Arc<dyn Resource>> {
        let make = self.makers.get(&(group, place))?;
        Some(self.resources.entry((node, group, place)).or_insert_with(|| make(node)).clone())
    }

    /// The process died: its tasks end where they are, and its memory is gone.
    pub(super) fn ended(&mut self, node: usize) {
        self.resources.retain(|(n, ..), _| *n != node);
        self.tasks.retain(|_, t| t.node != node);
        for ((n, _), cell) in &self.tokens {
            if *n == node {
                cell.revoke();
            }
        }
    }

    fn cancel(&self, node: usize, op: OpId) {
        let running = self.tasks.values().filter(|t| t.node == node).filter_map(|t| t.op.as_ref());
        running.filter(|(id, ..)| *id == op).for_each(|(.., ctx)| ctx.cancel());
    }
}

impl Cluster {
    /// Runs an agent of the user's as the resource at `place` of `group`, instead of the modelled one. `make` is
    /// called with the node (0 or 1) in each life of its process. Call this before any time has passed.
    #[must_use]
    pub fn with_resource(
        mut self,
        group: GroupId,
        place: u8,
        make: impl Fn(usize) -> Arc<dyn Resource> + 'static,
    ) -> Self {
        let at = usize::from(group.0);
        self.agents.times.get_or_insert_with(|| {
            [(); 2].map(|()| Arc::new(NodeTime { now: AtomicU64::new(0), wishes: Mutex::default() }))
        });
        self.agents.makers.insert((at, place), Box::new(make));
        for node in 0..2 {
            self.agents.tokens.entry((node, at)).or_insert_with(|| TokenCell::new(group));
        }
        self
    }

    pub(super) fn cancel_agent(&mut self, node: usize, op: OpId) {
        self.agents.cancel(node, op);
    }

    /// Begins an operation of a user's agent.
    pub(super) fn start_agent(&mut self, node: usize, id: OpId, op: Op, deadline: Instant) {
        let OpTarget::Resource(place) = op.target else { return };
        let group = usize::from(op.group.0);
        let Some(agent) = self.agents.agent(node, group, place) else { return };
        let Some(token) = self.agents.tokens.get(&(node, group)).cloned() else { return };
        let Some(times) = &self.agents.times else { return };
        let environment = Arc::new(VirtualEnvironment(times[node].clone()));
        let ctx = Ctx::new(environment, op.epoch, deadline, token);
        let inner = ctx.clone();
        let future: BoxFuture<'static, OpResult> = Box::pin(async move {
            let result = match op.kind {
                OpKind::Start => agent.start(&inner).await,
                OpKind::Stop => agent.stop(&inner).await,
                OpKind::Drain => agent.drain(&inner).await,
                OpKind::Resume => agent.resume(&inner).await,
                _ => return OpResult::Health(agent.monitor(&inner).await),
            };
            result.map_or(OpResult::Failed, |()| OpResult::Done { final_lsn: None })
        });
        if op.kind == OpKind::Start {
            self.nodes[node].running[group][usize::from(place)].there = true;
        }
        self.add_task(Task { node, op: Some((id, op, ctx)), future, waker: Arc::default() });
    }

    fn add_task(&mut self, task: Task) {
        self.agents.next += 1;
        let id = self.agents.next;
        self.agents.tasks.insert(id, task);
        self.after(0, Event::Poll { task: id });
    }

    /// Polls one task and carries out what it wished for.
    pub(super) fn poll_agent(&mut self, id: u64) {
        let Some(mut task) = self.agents.tasks.remove(&id) else { return };
        let node = task.node;
        if self.nodes[node].process.as_ref().is_some_and(|p| p.paused) {
            self.agents.tasks.insert(id, task);
            self.after(nanos(Duration::from_millis(5)), Event::Poll { task: id });
            return;
        }
        let Some(time) = self.agents.times.as_ref().map(|t| t[node].clone()) else { return };
        time.now.store(self.local(node).as_nanos(), Ordering::Relaxed);
        task.waker.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(task.waker.clone());
        let polled = task.future.as_mut().poll(&mut Context::from_waker(&waker));
        let Wishes { timers, spawned } = std::mem::take(&mut *time.wishes());
        for future in spawned {
            let future: BoxFuture<'static, OpResult> = Box::pin(async move {
                future.await;
                OpResult::Done { final_lsn: None }
            });
            self.add_task(Task { node, op: None, future, waker: Arc::default() });
        }
        match polled {
            Poll::Ready(result) => self.agent_done(node, task.op, result),
            Poll::Pending => {
                let operation = task.op.is_some();
                self.poll_again(id, task, &timers);
                if operation {
                    self.an_operation_waits();
                }
            }
        }
        self.poll_woken();
    }

    fn poll_again(&mut self, id: u64, task: Task, timers: &[(Instant, Waker)]) {
        let n = &self.nodes[task.node];
        let now = self.now;
        let next = timers.iter().map(|(at, _)| n.clock.true_at(*at).max(now)).min();
        self.agents.tasks.insert(id, task);
        if let Some(at) = next {
            self.queue.push(at, Event::Poll { task: id });
        }
    }

    /// Tasks that another task woke (a channel, a notification).
    fn poll_woken(&mut self) {
        let woken: Vec<u64> = self
            .agents
            .tasks
            .iter()
            .filter(|(_, t)| t.waker.0.swap(false, Ordering::Relaxed))
            .map(|(id, _)| *id)
            .collect();
        for task in woken {
            // Not at once: a task that always wakes itself must not stop the world's time.
            self.after(WAKE_DELAY, Event::Poll { task });
        }
    }

    fn agent_done(&mut self, node: usize, op: Option<(OpId, Op, Ctx)>, result: OpResult) {
        let Some((id, op, _)) = op else { return };
        let OpTarget::Resource(place) = op.target else { return };
        let group = usize::from(op.group.0);
        let running = &mut self.nodes[node].running[group][usize::from(place)];
        match (op.kind, result) {
            (OpKind::Start, OpResult::Done { .. }) => running.serves = true,
            (OpKind::Stop, OpResult::Done { .. }) => (running.there, running.serves) = (false, false),
            (_, OpResult::Health(health)) => running.serves = health == Health::Running,
            _ => {}
        }
        if op.kind == OpKind::Start {
            self.check_actors(group);
        }
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        process.ops.remove(&id);
        let life = process.life;
        self.feed(node, life, Input::OpDone { op: id, result });
    }
}
