use super::*;
use crate::config::{Config, FenceConfig, GroupConfig, LinkConfig};
use crate::engine::{Boot, Command, Engine, Input, Predecessor};
use crate::replay::{LifeStart, StepEncoder};
use crate::runtime::recorder::is_decision;
use crate::{BootId, GroupId, Incarnation, InitId, NodeId, NodeRecord, StoreId};
use std::sync::Arc;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// One engine, explained by whoever watches each step, and by whoever relives batches of them.
struct Both {
    config: Arc<Config>,
    engine: Engine,
    encoder: StepEncoder,
    frames: Vec<u8>,
    here: Option<Checkpoint>,
    watching: Explainer,
    reliving: Reliving,
    at: Instant,
    urgent: bool,
    watched: Vec<Explanation>,
    relived: Vec<Explanation>,
}

impl Both {
    fn new() -> Self {
        let config = Config::pair("post", "left", "right")
            .link(LinkConfig::datagram("lan", ms(20), ms(200)))
            .fence(FenceConfig::new(ms(200)))
            .group(GroupConfig::new("mail").mirrored());
        let boot = Boot {
            me: NodeId(0),
            incarnation: Incarnation(5 << 96),
            boot: BootId(1),
            record: NodeRecord::blank(StoreId(1), Some(InitId(9))),
            predecessor: Predecessor::Gone,
            guarded: true,
            outside: 1,
        };
        let at = Instant::from_nanos(1_000_000_000);
        let program = env!("CARGO_PKG_VERSION").into();
        let life = LifeStart { config: config.clone(), boot: boot.clone(), at, wall_ms: 0, program };
        let mut frames = Vec::new();
        let encoder = StepEncoder::life(&life, &mut frames);
        let config = Arc::new(config);
        let engine = Engine::boot(config.clone(), boot, at);
        Self {
            watching: Explainer::new(&engine),
            config,
            engine,
            encoder,
            frames,
            here: None,
            reliving: Reliving::default(),
            at,
            urgent: true,
            watched: Vec::new(),
            relived: Vec::new(),
        }
    }

    fn feed(&mut self, input: Input) {
        self.at += ms(10);
        self.encoder.input(self.at, &input, &mut self.frames);
        self.engine.handle(self.at, input.clone());
        let actions: Vec<_> = std::iter::from_fn(|| self.engine.next_action()).collect();
        for action in &actions {
            self.urgent |= is_decision(action);
            self.encoder.action(action);
        }
        self.encoder.finish(&mut self.frames);
        let step = Step { at: self.at, input, actions, same: true };
        self.watched.extend(self.watching.observe(&self.engine, &step));
    }

    fn hand_over(&mut self) {
        let end = self.encoder.checkpoint(self.config.clone(), self.engine.snapshot());
        let start = self.here.replace(end);
        let frames = std::mem::take(&mut self.frames);
        let (explained, found) = self.reliving.take(
            Stretch { start, frames },
            std::mem::take(&mut self.urgent),
            self.here.as_ref(),
        );
        assert_eq!(found, Vec::<String>::new());
        self.relived.extend(explained);
    }

    fn idle(&mut self, batches: usize) {
        for _ in 0..batches {
            for _ in 0..20 {
                self.feed(Input::Tick);
            }
            self.hand_over();
        }
    }
}

#[test]
fn what_is_relived_only_at_decisions_is_explained_as_if_each_step_had_been_watched() {
    let mut both = Both::new();
    both.idle(40);
    assert!(both.reliving.player.is_none(), "an idle node's steps are not relived");
    assert!(both.reliving.kept.len() < 8, "nor kept for ever: {}", both.reliving.kept.len());
    let question = both.engine.open_question(GroupId(0), both.at).unwrap();
    both.feed(Input::Command(question.answers.iter().find_map(|a| a.command).unwrap()));
    both.idle(1);
    both.feed(Input::Command(Command::Switchover(GroupId(0))));
    both.idle(1);
    assert!(both.reliving.player.is_some());
    both.idle(40);
    assert!(both.reliving.player.is_none());

    let told = |all: &[Explanation]| all.iter().map(|e| (e.step, e.summary.clone())).collect::<Vec<_>>();
    assert_eq!(told(&both.relived), told(&both.watched));
    for (relived, watched) in both.relived.iter().zip(&both.watched) {
        assert_eq!((&relived.because, &relived.evidence), (&watched.because, &watched.evidence), "{watched}");
        assert_eq!(relived.counterfactuals.len(), watched.counterfactuals.len(), "{relived}\n{watched}");
    }
}

#[test]
fn a_record_that_does_not_fit_its_engine_is_reported_once_a_decision_is_relived() {
    let mut both = Both::new();
    both.idle(10);
    // An action that the engine never took.
    both.encoder.action(&crate::engine::Action::Reborn);
    both.feed(Input::Command(Command::Switchover(GroupId(0))));
    let end = both.encoder.checkpoint(both.config.clone(), both.engine.snapshot());
    let start = both.here.replace(end);
    let frames = std::mem::take(&mut both.frames);
    let (_, found) = both.reliving.take(Stretch { start, frames }, true, both.here.as_ref());
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("decided otherwise"), "{found:?}");
}
