//! Every "else" of an explanation is replayed: the whole life from its boot, with the one change, by code of its own.
#![cfg(all(feature = "sim", feature = "runtime"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use ha_core::engine::{Action, Engine, Input};
use ha_core::explain::{Change, Counterfactual, Decision, Explainer, Explanation, Imagined, decisions};
use ha_core::replay::{LogReader, replay};
use ha_core::sim::{Cluster, Options, Rng, Scenario};
use ha_core::{GroupId, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// One life, relived once: its inputs, and engines from along the way.
struct Life {
    inputs: Vec<(Instant, Input)>,
    engines: BTreeMap<usize, Engine>,
    explained: Vec<Explanation>,
}

const EVERY: usize = 256;

fn relive(frames: &[u8]) -> Life {
    let mut life = Life { inputs: Vec::new(), engines: BTreeMap::new(), explained: Vec::new() };
    let mut explainer: Option<Explainer> = None;
    let verdict = replay(&LogReader::from_frames("a life", frames), |player, step| {
        if player.steps() == 1 {
            life.engines.insert(0, drained(player.begun()));
        }
        let explainer = explainer.get_or_insert_with(|| Explainer::new(player.begun()));
        life.explained.extend(explainer.observe(player.engine(), step));
        life.inputs.push((step.at, step.input.clone()));
        if life.inputs.len().is_multiple_of(EVERY) {
            life.engines.insert(life.inputs.len(), drained(player.engine()));
        }
    });
    assert!(verdict.unwrap().is_whole());
    life
}

fn drained(engine: &Engine) -> Engine {
    let mut engine = engine.clone();
    while engine.next_action().is_some() {}
    engine
}

type Decided = Vec<(Option<GroupId>, Decision)>;

/// An engine in a life that never was, with the orders that it gave.
struct Altered {
    engine: Engine,
    orders: BTreeSet<String>,
    decided: Decided,
}

impl Altered {
    fn feed(&mut self, at: Instant, input: &Input) {
        let before = self.engine.outline();
        self.engine.handle(at, input.clone());
        let actions: Vec<Action> = std::iter::from_fn(|| self.engine.next_action()).collect();
        self.orders.extend(actions.iter().filter_map(order));
        self.decided.extend(decisions(&before, &self.engine.outline(), input, &actions));
    }
}

/// An order that will be answered, without the instant at which it was given.
fn order(action: &Action) -> Option<String> {
    Some(match action {
        Action::Op { op, group, target, kind, .. } => format!("op {op} {group} {target:?} {kind:?}"),
        Action::FenceQuery { op, .. } => format!("op {op} query"),
        Action::FenceShoot { op, .. } => format!("op {op} shot"),
        Action::Persist { write, .. } => format!("write {write} "),
        _ => return None,
    })
}

fn answers(input: &Input) -> Option<String> {
    match input {
        Input::OpDone { op, .. } | Input::Fence { op, .. } => Some(format!("op {op} ")),
        Input::Persisted { write, .. } => Some(format!("write {write} ")),
        _ => None,
    }
}

/// What would have been decided up to step `last` (counted from 1), with the change at `moment`.
fn alter(life: &Life, last: usize, change: &Change, moment: Instant) -> Decided {
    let changed_at = match change {
        Change::Add { .. } => life.inputs.partition_point(|(at, _)| *at <= moment),
        Change::Replace { back, .. } => last - 1 - *back as usize,
        _ => panic!("another change: {change:?}"),
    };
    let (begin, engine) = life.engines.range(..=changed_at).next_back().unwrap();
    let (mut recorded, mut given) = (engine.clone(), BTreeSet::new());
    for (at, input) in &life.inputs[*begin..changed_at] {
        step(&mut recorded, *at, input, &mut given);
    }
    let mut altered = Altered { engine: recorded.clone(), orders: given.clone(), decided: Vec::new() };
    let mut instead = None;
    match change {
        Change::Add { what: Imagined::Beat { link, statements }, .. } => {
            let beat = altered.engine.imagined_beat(*link, statements.clone()).unwrap();
            altered.feed(moment, &beat);
        }
        Change::Add { what: Imagined::Input(input), .. } => altered.feed(moment, input),
        Change::Replace { input, .. } => instead = Some(input),
        _ => panic!("another change: {change:?}"),
    }
    for (at, input) in &life.inputs[changed_at..last] {
        // Time passes for it too, wherever the node was awake: it may want to be woken at other instants.
        let awake_until = recorded.next_deadline();
        while altered.engine.next_deadline() < *at && altered.engine.next_deadline() <= awake_until {
            let due = altered.engine.next_deadline();
            altered.feed(due, &Input::Tick);
        }
        let answer = answers(input);
        let asked = |orders: &BTreeSet<String>| {
            answer.as_ref().and_then(|a| orders.iter().find(|o| o.starts_with(a)).cloned())
        };
        let to_nothing = asked(&given).is_some() && asked(&given) != asked(&altered.orders);
        let fed = instead.take().unwrap_or(if to_nothing { &Input::Tick } else { input });
        altered.feed(*at, fed);
        step(&mut recorded, *at, input, &mut given);
    }
    altered.decided
}

fn step(engine: &mut Engine, at: Instant, input: &Input, given: &mut BTreeSet<String>) {
    engine.handle(at, input.clone());
    while let Some(action) = engine.next_action() {
        given.extend(order(&action));
    }
}

fn verify(seed: u64, life: &Life, e: &Explanation, c: &Counterfactual, rng: &mut Rng) -> u64 {
    let last = usize::try_from(e.step).unwrap();
    let moments = match &c.change {
        Change::Add { from, to, .. } => {
            let span = u64::try_from(to.since(*from).as_nanos()).unwrap();
            let inside = Instant::from_nanos(from.as_nanos() + rng.range(0, span.max(1)));
            vec![*from, inside, *to]
        }
        _ => vec![e.at],
    };
    let count = moments.len() as u64;
    for moment in moments {
        let decided = alter(life, last, &c.change, moment);
        let among = |wanted: &Decision| decided.iter().any(|(g, d)| *g == e.group && d.is_like(wanted));
        let holds = match &c.instead {
            None => !among(&e.decision),
            Some(other) => among(other),
        };
        assert!(holds, "seed {seed}: not true at {moment:?}: {}\n{e}\ndecided {decided:?}", c.text);
    }
    count
}

/// Relives seeds and verifies every `nth` "else" of each life. Returns how many runs there were.
fn check(seeds: std::ops::Range<u64>, nth: usize) -> (BTreeMap<String, u64>, u64) {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let (mut kinds, mut runs) = (BTreeMap::<String, u64>::new(), 0);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return (kinds, runs);
            }
            let mut rng = Rng::new(seed);
            let options = Options { replay: true, ..Options::default() };
            let mut cluster = Cluster::new(Scenario::from_seed(seed), options);
            cluster.run_to_end();
            let mut count = 0;
            for log in cluster.logs() {
                let life = relive(&log.frames);
                for e in &life.explained {
                    let kind = format!("{:?}", e.decision);
                    let kind = kind.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
                    for c in &e.counterfactuals {
                        *kinds.entry(kind.clone()).or_default() += 1;
                        count += 1;
                        if count % nth == 0 {
                            runs += verify(seed, &life, e, c, &mut rng);
                        }
                    }
                    assert!(!e.rejected.is_empty() && (1..=14).contains(&e.rule.number), "{e}");
                }
            }
        }
    };
    let parts = std::thread::scope(|scope| [(); 2].map(|()| scope.spawn(work)).map(|w| w.join().unwrap()));
    let (mut kinds, mut runs) = (BTreeMap::<String, u64>::new(), 0);
    for (k, r) in parts {
        runs += r;
        k.into_iter().for_each(|(kind, n)| *kinds.entry(kind).or_default() += n);
    }
    println!("{runs} runs; {kinds:?}");
    (kinds, runs)
}

#[test]
fn what_is_said_to_have_changed_a_decision_does_change_it_when_replayed() {
    let (kinds, runs) = check(7000..7012, 4);
    assert!(runs > 200, "{runs}");
    for kind in ["JudgeDead", "Claim", "Shoot", "Suspend", "Ask", "GoAlone", "Stop", "Grant"] {
        assert!(kinds.contains_key(kind), "no counterfactual of a {kind}: {kinds:?}");
    }
}

#[test]
#[ignore = "needs ten minutes: every counterfactual of a hundred seeds"]
fn every_counterfactual_of_a_hundred_seeds() {
    check(8000..8100, 1);
}
