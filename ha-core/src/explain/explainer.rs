//! Watches an engine and explains what it decides.

use super::alternatives::rejected;
use super::counterfactual::Case;
use super::decision::{Decision, decisions};
use super::explanation::Explanation;
use super::imagine::History;
use super::words;
use crate::config::Config;
use crate::engine::{Engine, Outline};
use crate::replay::Step;
use crate::{Generation, GroupId, Instant};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Decisions of one kind about one group that are explained within [`STORM`]: the rest is counted.
const LIKE_MAX: u32 = 4;
const STORM: Duration = Duration::from_secs(1);
/// At least so much of the past can be imagined otherwise.
const HORIZON_MIN: Duration = Duration::from_millis(500);

/// Explains the decisions of one life, step by step. See the [module](super).
#[derive(Clone, Debug)]
pub struct Explainer {
    config: Arc<Config>,
    node: String,
    history: History,
    outline: Outline,
    steps: u64,
    /// The generation in which each group was last found to be alone: it is told twice.
    alone: BTreeMap<GroupId, Generation>,
    storms: Vec<Storm>,
}

/// How often the like was decided lately.
#[derive(Clone, Debug)]
struct Storm {
    group: Option<GroupId>,
    decision: Decision,
    since: Instant,
    count: u32,
    omitted: u32,
}

impl Explainer {
    /// Begins with an engine as it is before the first step that will be observed.
    #[must_use]
    pub fn new(engine: &Engine) -> Self {
        let config = engine.config().clone();
        let at = engine.now();
        let horizon = HORIZON_MIN.max(config.latest_dead() * 2);
        let node = engine.evidence(None, at).own.node;
        let history = History::new(engine, at, horizon);
        Self {
            config,
            node,
            history,
            outline: engine.outline(),
            steps: 0,
            alone: BTreeMap::new(),
            storms: Vec::new(),
        }
    }

    /// Goes on with an engine of the same life, `steps` steps after its beginning: what was in between stays
    /// unexplained, and cannot be imagined otherwise.
    pub fn go_on(&mut self, engine: &Engine, steps: u64) {
        let at = engine.now();
        let horizon = self.horizon();
        self.history = History::new(engine, at, horizon);
        self.outline = engine.outline();
        self.steps = steps;
    }

    /// How much of the past is enough to imagine it otherwise.
    #[must_use]
    pub fn horizon(&self) -> Duration {
        HORIZON_MIN.max(self.config.latest_dead() * 2)
    }

    /// One more step of the life. `engine` has taken it.
    pub fn observe(&mut self, engine: &Engine, step: &Step) -> Vec<Explanation> {
        self.steps += 1;
        let after = engine.outline();
        let before = std::mem::replace(&mut self.outline, after);
        self.history.push(step.at, &step.input);
        let mut found = decisions(&before, &self.outline, &step.input, &step.actions);
        found.retain(|(group, decision)| self.is_news(*group, *decision));
        let explained = match self.history.before_last().filter(|_| !found.is_empty()) {
            Some(earlier) => found
                .into_iter()
                .filter_map(|(group, d)| self.explain(engine, &earlier, step, group, d))
                .collect(),
            None => Vec::new(),
        };
        self.history.turn(engine, step.at);
        explained
    }

    fn is_news(&mut self, group: Option<GroupId>, decision: Decision) -> bool {
        let (Some(group), Decision::GoAlone { generation, .. }) = (group, decision) else { return true };
        self.alone.insert(group, generation) != Some(generation)
    }

    fn explain(
        &mut self,
        engine: &Engine,
        before: &Engine,
        step: &Step,
        group: Option<GroupId>,
        decision: Decision,
    ) -> Option<Explanation> {
        let omitted = self.weather(group, decision, step.at)?;
        let mut evidence = engine.evidence(None, step.at);
        evidence.group = before.evidence(group, step.at).group;
        let (config, history, at, input) = (&*self.config, &self.history, step.at, &step.input);
        let case = Case { config, history, before, group, decision, at, input };
        Some(Explanation {
            incarnation: engine.incarnation(),
            node: self.node.clone(),
            at,
            step: self.steps,
            group,
            group_name: group.map(|g| words::group(config, g)),
            decision,
            summary: decision.to_string(),
            rule: decision.rule(),
            because: words::input(config, input),
            rejected: rejected(decision, &evidence),
            evidence,
            counterfactuals: case.counterfactuals(),
            omitted,
        })
    }

    /// How many decisions like this one were omitted before it; `None` if this one is omitted too.
    fn weather(&mut self, group: Option<GroupId>, decision: Decision, at: Instant) -> Option<u32> {
        let known = self.storms.iter().position(|s| s.group == group && s.decision.is_like(&decision));
        let n = known.unwrap_or_else(|| {
            self.storms.push(Storm { group, decision, since: at, count: 0, omitted: 0 });
            self.storms.len() - 1
        });
        let storm = self.storms.get_mut(n)?;
        if at.since(storm.since) >= STORM {
            (storm.since, storm.count) = (at, 0);
        }
        storm.count += 1;
        if storm.count > LIKE_MAX {
            storm.omitted += 1;
            return None;
        }
        Some(std::mem::take(&mut storm.omitted))
    }
}
