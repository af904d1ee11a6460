//! Runs of an engine that never were: the recorded inputs with one change.

use super::decision::{Decision, decisions};
use crate::engine::{Action, Engine, Input, Statement};
use crate::{GroupId, Instant, LinkId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Inputs that one stretch of history holds at most.
const STRETCH_MAX: usize = 4096;
/// Own ticks between two recorded inputs; more are a sign that the run goes nowhere.
const TICKS_MAX: usize = 256;

/// What is imagined to have happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Imagined {
    /// A beat of the peer's present life, echoing our newest one, that says this.
    Beat {
        /// On which link.
        link: LinkId,
        /// What it says.
        statements: Vec<Statement>,
    },
    /// This input.
    Input(Input),
}

/// One change of the recorded inputs of a life. Everything else stays, except answers to orders that are not given
/// any more; time passes for the engine wherever this node did run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Change {
    /// One more input, at any instant of a span (both ends included).
    Add {
        /// What.
        what: Imagined,
        /// The earliest instant.
        from: Instant,
        /// The latest instant, before the decision.
        to: Instant,
    },
    /// Another input instead of one, `back` steps before the decision (0: the one that brought it).
    Replace {
        /// How many steps before.
        back: u32,
        /// What instead; a tick means that nothing came.
        input: Input,
    },
}

/// The inputs of the last while, and an engine from before them.
#[derive(Clone, Debug)]
pub(super) struct History {
    stretches: VecDeque<Stretch>,
    horizon: Duration,
}

#[derive(Clone, Debug)]
struct Stretch {
    base: Engine,
    began: Instant,
    inputs: Vec<(Instant, Input)>,
}

impl History {
    /// Begins after `engine`'s last step. Keeps at least `horizon`, as far as that much was fed.
    pub(super) fn new(engine: &Engine, at: Instant, horizon: Duration) -> Self {
        let stretch = Stretch { base: drained(engine.clone()), began: at, inputs: Vec::new() };
        Self { stretches: VecDeque::from([stretch]), horizon }
    }

    /// One more step. `before` is not needed: a new stretch begins from the engine after the step.
    pub(super) fn push(&mut self, at: Instant, input: &Input) {
        if let Some(last) = self.stretches.back_mut() {
            last.inputs.push((at, input.clone()));
        }
    }

    /// Begins a new stretch if the newest one is long enough. `engine` has taken the last step.
    pub(super) fn turn(&mut self, engine: &Engine, at: Instant) {
        let long = self.stretches.back().is_none_or(|s| {
            s.inputs.len() >= STRETCH_MAX || at.since(s.began) >= self.horizon && !s.inputs.is_empty()
        });
        if long {
            if self.stretches.len() == 2 {
                self.stretches.pop_front();
            }
            let stretch = Stretch { base: drained(engine.clone()), began: at, inputs: Vec::new() };
            self.stretches.push_back(stretch);
        }
    }

    /// From when on a change can be imagined.
    pub(super) fn began(&self) -> Instant {
        self.stretches.front().map_or(Instant::FAR, |s| s.began)
    }

    /// The engine before its last step.
    pub(super) fn before_last(&self) -> Option<Engine> {
        let stretch = self.stretches.back()?;
        let (_, earlier) = stretch.inputs.split_last()?;
        let mut engine = stretch.base.clone();
        for (at, input) in earlier {
            engine.handle(*at, input.clone());
            while engine.next_action().is_some() {}
        }
        Some(engine)
    }

    /// The inputs, newest first, with how many steps they lie before the last one.
    pub(super) fn backwards(&self) -> impl Iterator<Item = (u32, Instant, &Input)> {
        let inputs = self.stretches.iter().rev().flat_map(|s| s.inputs.iter().rev());
        (0u32..).zip(inputs).map(|(back, (at, input))| (back, *at, input))
    }

    /// Everything that would have been decided in the changed run, from the change to the last step.
    pub(super) fn imagine(&self, change: &Change, at: Instant) -> Option<Run> {
        let total = self.stretches.iter().map(|s| s.inputs.len()).sum::<usize>();
        let point = match change {
            Change::Add { .. } => Point::Before(at),
            Change::Replace { back, .. } => Point::Step(total.checked_sub(1 + *back as usize)?),
        };
        let first = self.stretches.front()?;
        let mut runs = Runs::new(first.base.clone());
        let all = self.stretches.iter().flat_map(|s| &s.inputs);
        for (n, (at, input)) in all.enumerate() {
            runs.step(n, *at, input, change, point)?;
        }
        runs.changed
    }
}

#[derive(Clone, Copy)]
enum Point {
    Before(Instant),
    Step(usize),
}

/// A changed run.
pub(super) struct Run {
    pub(super) engine: Engine,
    pub(super) decided: Vec<(Option<GroupId>, Decision)>,
    orders: BTreeMap<Order, Arc<Action>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Op(u64),
    Write(u64),
}

/// The recorded run, and the changed one beside it.
struct Runs {
    recorded: Engine,
    orders: BTreeMap<Order, Arc<Action>>,
    changed: Option<Run>,
}

impl Runs {
    fn new(recorded: Engine) -> Self {
        Self { recorded, orders: BTreeMap::new(), changed: None }
    }

    /// One recorded step, in both runs. None if the change cannot be imagined.
    fn step(&mut self, n: usize, at: Instant, input: &Input, change: &Change, point: Point) -> Option<()> {
        let mut instead = None;
        match (point, change) {
            (Point::Before(moment), Change::Add { what, .. }) if self.changed.is_none() && at > moment => {
                let mut run = self.fork();
                let imagined = what.as_input(&run.engine)?;
                run.feed(moment, imagined);
                self.changed = Some(run);
            }
            (Point::Step(step), Change::Replace { input, .. }) if step == n => {
                self.changed = Some(self.fork());
                instead = Some(input);
            }
            _ => {}
        }
        if let Some(run) = &mut self.changed {
            let awake_until = self.recorded.next_deadline();
            run.tick_until(at, awake_until);
            match instead {
                Some(input) => run.feed(at, input.clone()),
                None if run.is_answer_to_nothing(&self.orders, input) => run.feed(at, Input::Tick),
                None => run.feed(at, input.clone()),
            }
        }
        self.recorded.handle(at, input.clone());
        while let Some(action) = self.recorded.next_action() {
            note_order(&mut self.orders, action);
        }
        Some(())
    }

    fn fork(&self) -> Run {
        Run { engine: self.recorded.clone(), decided: Vec::new(), orders: self.orders.clone() }
    }
}

impl Imagined {
    fn as_input(&self, engine: &Engine) -> Option<Input> {
        match self {
            Self::Beat { link, statements } => engine.imagined_beat(*link, statements.clone()),
            Self::Input(input) => Some(input.clone()),
        }
    }
}

impl Run {
    fn feed(&mut self, at: Instant, input: Input) {
        let before = self.engine.outline();
        self.engine.handle(at, input.clone());
        let mut actions = Vec::new();
        while let Some(action) = self.engine.next_action() {
            actions.push(action);
        }
        let after = self.engine.outline();
        self.decided.extend(decisions(&before, &after, &input, &actions));
        for action in actions {
            note_order(&mut self.orders, action);
        }
    }

    /// The changed engine may want to be woken at other instants. It is, wherever this node was awake.
    fn tick_until(&mut self, at: Instant, awake_until: Instant) {
        for _ in 0..TICKS_MAX {
            let due = self.engine.next_deadline();
            if due >= at || due > awake_until {
                return;
            }
            self.feed(due, Input::Tick);
        }
    }

    /// An answer to an order that was given in the recorded run, and not, or otherwise, in this one.
    fn is_answer_to_nothing(&self, recorded: &BTreeMap<Order, Arc<Action>>, input: &Input) -> bool {
        let order = match input {
            Input::OpDone { op, .. } | Input::Fence { op, .. } => Order::Op(op.0),
            Input::Persisted { write, .. } => Order::Write(write.0),
            _ => return false,
        };
        match (recorded.get(&order), self.orders.get(&order)) {
            (None, _) => false,
            (Some(asked), Some(ours)) => !is_like(asked, ours),
            (Some(_), None) => true,
        }
    }
}

fn note_order(orders: &mut BTreeMap<Order, Arc<Action>>, action: Action) {
    let order = match &action {
        Action::Op { op, .. } | Action::FenceQuery { op, .. } | Action::FenceShoot { op, .. } => {
            Order::Op(op.0)
        }
        Action::Persist { write, .. } => Order::Write(write.0),
        _ => return,
    };
    orders.insert(order, Arc::new(action));
}

/// The same order, whenever it was given.
fn is_like(one: &Action, other: &Action) -> bool {
    match (one, other) {
        (
            Action::Op { group: g1, target: t1, kind: k1, .. },
            Action::Op { group: g2, target: t2, kind: k2, .. },
        ) => (g1, t1, k1) == (g2, t2, k2),
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

fn drained(mut engine: Engine) -> Engine {
    while engine.next_action().is_some() {}
    engine
}
