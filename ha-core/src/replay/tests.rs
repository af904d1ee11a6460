use super::*;
use crate::config::{Config, FenceConfig, GroupConfig, LinkConfig};
use crate::engine::{Boot, Command, Engine, Input, Predecessor, Statement};
use crate::store::medium::{Medium, Open, RecordingMedium};
use crate::{BootId, GroupId, Incarnation, InitId, Instant, LinkId, NodeId, NodeRecord, StoreId};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn config() -> Config {
    Config::pair("post", "left", "right")
        .link(LinkConfig::datagram("lan", ms(20), ms(200)))
        .fence(FenceConfig::new(ms(200)))
        .group(GroupConfig::new("mail"))
}

fn life(incarnation: u128) -> LifeStart {
    let record = NodeRecord::blank(StoreId(1), Some(InitId(9)));
    let boot = Boot {
        me: NodeId(0),
        incarnation: Incarnation(incarnation << 96),
        boot: BootId(1),
        record,
        predecessor: Predecessor::Gone,
        guarded: true,
        outside: 1,
    };
    LifeStart {
        config: config(),
        boot,
        at: Instant::from_nanos(7_000_000_000),
        wall_ms: 1_700_000_000_000,
        program: env!("CARGO_PKG_VERSION").into(),
    }
}

/// An engine with its record, fed by hand.
struct Recorded {
    engine: Engine,
    encoder: StepEncoder,
    frames: Vec<u8>,
    at: Instant,
    seq: u32,
}

impl Recorded {
    fn new(incarnation: u128) -> Self {
        let life = life(incarnation);
        let mut frames = Vec::new();
        let encoder = StepEncoder::life(&life, &mut frames);
        let engine = Engine::boot(Arc::new(life.config.clone()), life.boot.clone(), life.at);
        Self { engine, encoder, frames, at: life.at, seq: 0 }
    }

    fn feed(&mut self, input: Input) {
        self.at += ms(7);
        self.encoder.input(self.at, &input, &mut self.frames);
        self.engine.handle(self.at, input);
        while let Some(action) = self.engine.next_action() {
            self.encoder.action(&action);
        }
        self.encoder.finish(&mut self.frames);
    }

    fn beat(&mut self) {
        self.seq += 1;
        let beat = crate::engine::Beat {
            incarnation: Incarnation(77 << 96),
            to: Some(self.engine.incarnation()),
            seq: self.seq,
            echo: Some(self.seq.max(1)),
            statements: vec![
                Statement::Weights { mine: 1, yours: Some(0) },
                Statement::Init { init: Some(InitId(9)) },
            ],
        };
        self.feed(Input::Beat { link: LinkId(0), beat });
    }

    /// Some hundred milliseconds of everyday life.
    fn live(&mut self) {
        for n in 0..30 {
            self.beat();
            self.feed(Input::Tick);
            if n == 15 {
                self.feed(Input::Command(Command::Switchover(GroupId(0))));
            }
        }
    }
}

fn lived() -> Recorded {
    let mut recorded = Recorded::new(5);
    recorded.live();
    recorded
}

fn verdict(frames: &[u8]) -> ReplayVerdict {
    replay(&LogReader::from_frames("a log", frames), |_, _| {}).unwrap()
}

#[test]
fn a_record_relived_decides_the_same() {
    let recorded = lived();
    let mut last = None;
    let verdict = replay(&LogReader::from_frames("a log", &recorded.frames), |player, step| {
        last = Some((player.engine().snapshot(), step.at));
    })
    .unwrap();
    assert!(verdict.is_whole(), "{verdict:?}");
    let life = &verdict.lives[0];
    assert_eq!((life.steps, life.lost, life.divergence.as_ref()), (61, 0, None));
    assert!(life.actions > 20);
    assert_eq!(last, Some((recorded.engine.snapshot(), recorded.at)));
}

#[test]
fn beats_that_say_nothing_new_take_few_bytes() {
    let mut recorded = Recorded::new(5);
    recorded.beat();
    recorded.beat();
    let before = recorded.frames.len();
    recorded.beat();
    let repeated = recorded.frames.len() - before;
    assert!(repeated < 40, "{repeated} bytes");
    assert!(verdict(&recorded.frames).is_whole());
}

#[test]
fn another_decision_is_found_at_its_step() {
    let mut recorded = Recorded::new(5);
    recorded.beat();
    recorded.feed(Input::Tick);
    let foreign = crate::engine::Action::Cancel { op: crate::OpId(9) };
    recorded.encoder.input(recorded.at, &Input::Tick, &mut recorded.frames);
    recorded.encoder.action(&foreign);
    recorded.encoder.finish(&mut recorded.frames);
    recorded.feed(Input::Tick);
    let verdict = verdict(&recorded.frames);
    assert!(!verdict.is_whole());
    let divergence = verdict.lives[0].divergence.as_ref().unwrap();
    assert_eq!(divergence.step, 3, "{divergence:?}");
}

#[test]
fn after_lost_steps_the_record_goes_on_from_the_state() {
    let mut recorded = lived();
    for _ in 0..5 {
        recorded.at += ms(7);
        recorded.encoder.skip(recorded.at);
        recorded.engine.handle(recorded.at, Input::Tick);
        while let Some(action) = recorded.engine.next_action() {
            recorded.encoder.action(&action);
        }
    }
    recorded.encoder.resume(5, Arc::new(config()), recorded.engine.snapshot(), &mut recorded.frames);
    recorded.live();
    let verdict = verdict(&recorded.frames);
    assert!(verdict.is_whole(), "{verdict:?}");
    assert_eq!(verdict.lives.len(), 1);
    assert_eq!((verdict.lives[0].lost, verdict.lives[0].steps), (5, 122));
}

#[test]
fn a_log_cut_anywhere_is_read_up_to_the_cut() {
    let recorded = lived();
    let begin = recorded.frames.len() - 400;
    for cut in begin..recorded.frames.len() {
        let verdict = verdict(&recorded.frames[..cut]);
        assert!(verdict.is_whole(), "cut at {cut}: {verdict:?}");
        assert!(verdict.damage.len() <= 1);
    }
    let torn = verdict(&recorded.frames[..recorded.frames.len() - 3]);
    assert!(torn.damage[0].torn_tail && torn.damage[0].to_string().contains("torn"), "{:?}", torn.damage);
}

#[test]
fn a_flipped_bit_is_named_and_costs_the_rest_of_its_file_only() {
    let (mut first, second) = (lived().frames, Recorded::new(6));
    let header = frame::file_header(FileKind::Steps);
    let middle = first.len() / 2;
    first[middle] ^= 4;
    let part =
        |place: &str, frames: &[u8]| LogPart { place: place.into(), bytes: [&header[..], frames].concat() };
    let parts = vec![part("engine.log.1", &first), part("engine.log", &second.frames)];
    let verdict = replay(&LogReader::from_parts(parts).unwrap(), |_, _| {}).unwrap();
    assert_eq!(verdict.lives.len(), 2);
    assert!(!verdict.is_whole() && !verdict.damage[0].torn_tail);
    let said = verdict.damage[0].to_string();
    assert!(said.contains("engine.log.1: damaged from byte"), "{said}");
}

#[test]
fn what_is_no_log_of_ours_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("engine.log");
    let said = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        LogReader::open(&path).unwrap_err().to_string()
    };
    assert!(
        said(b"2026-11-22 something else entirely")
            .contains("begins with \"2026-11-\", expected an engine log")
    );
    assert!(said(b"").contains("found 0 bytes, expected an engine log"));
    let mut foreign = frame::file_header(FileKind::Steps);
    foreign[8] = 9;
    assert!(said(&foreign).contains("format version 9, this program reads version 1"));
    assert!(said(&frame::file_header(FileKind::Explanations)).contains("HA-EXPLN"));
    let missing = LogReader::open(&dir.path().join("nowhere")).unwrap_err();
    assert!(matches!(missing, ReplayError::Unreadable { .. }), "{missing}");
    std::fs::write(&path, frame::file_header(FileKind::Steps)).unwrap();
    let empty = replay(&LogReader::open(dir.path()).unwrap(), |_, _| {}).unwrap_err();
    assert!(matches!(empty, ReplayError::Empty { .. }), "{empty}");
}

#[test]
fn a_log_of_another_program_version_or_configuration_is_refused_by_name() {
    let mut other = life(5);
    other.program = "0.0.9".into();
    let mut frames = Vec::new();
    let _ = StepEncoder::life(&other, &mut frames);
    let refused = replay(&LogReader::from_frames("a log", &frames), |_, _| {}).unwrap_err().to_string();
    assert!(refused.contains("written by version 0.0.9"), "{refused}");

    let verdict = verdict(&lived().frames);
    let mut expected = config();
    assert_eq!(verdict.check_config(&expected), Ok(()));
    expected.links[0].dead = ms(300);
    let refused = verdict.check_config(&expected).unwrap_err().to_string();
    assert!(refused.contains("links[0]") && refused.contains("300ms"), "{refused}");
}

#[test]
fn states_and_steps_that_fit_nothing_are_refused_without_a_panic() {
    let recorded = lived();
    let mut frames = Vec::new();
    let mut smaller = config();
    smaller.groups.clear();
    recorded.encoder.resume(0, Arc::new(smaller), recorded.engine.snapshot(), &mut frames);
    assert!(matches!(
        replay(&LogReader::from_frames("a log", &frames), |_, _| {}),
        Err(ReplayError::Empty { .. })
    ));
    let again = Entry::Again { after_ns: 1, link: LinkId(9), seq: 1, echo: 1, digest: [0; 8] };
    let begin = entries(&recorded.frames).next().unwrap().unwrap();
    let mut player = Player::begin(&begin).unwrap();
    assert!(matches!(player.step(&again), Err(ReplayError::Senseless { .. })));
    assert!(matches!(Player::begin(&again), Err(ReplayError::Senseless { .. })));
}

#[test]
fn a_log_stays_within_its_bounds_and_every_file_can_be_read_alone() {
    let medium = RecordingMedium::new();
    let mut writer =
        LogWriter::new(Arc::new(medium.clone()), "engine.log", FileKind::Steps, LogLimits::new(8192, 3));
    let mut recorded = Recorded::new(5);
    let mut player: Option<Player> = None;
    let mut here: Option<Checkpoint> = None;
    for _ in 0..60 {
        recorded.live();
        let frames = std::mem::take(&mut recorded.frames);
        let mut begin = |out: &mut Vec<u8>| {
            if let Some(here) = &here {
                here.resumption(0, out);
            }
        };
        writer.append(&frames, false, &mut begin).unwrap();
        here = Some(recorded.encoder.checkpoint(Arc::new(config()), recorded.engine.snapshot()));
        for entry in entries(&frames) {
            let entry = entry.unwrap();
            match &mut player {
                None => player = Some(Player::begin(&entry).unwrap()),
                Some(player) => assert!(player.step(&entry).unwrap().same),
            }
        }
    }
    let names: Vec<_> = medium.list(Path::new("")).unwrap().into_iter().map(|e| e.name).collect();
    assert_eq!(names, ["engine.log", "engine.log.1", "engine.log.2"]);
    let part = |name: &str| LogPart { place: name.into(), bytes: medium.read(Path::new(name)).unwrap() };
    for name in ["engine.log", "engine.log.1", "engine.log.2"] {
        assert!(part(name).bytes.len() < 16 << 10);
        let alone = replay(&LogReader::from_parts(vec![part(name)]).unwrap(), |_, _| {}).unwrap();
        assert!(alone.is_whole() && alone.lives[0].steps > 100, "{alone:?}");
    }
    let parts = ["engine.log.2", "engine.log.1", "engine.log"].map(part).to_vec();
    let whole = replay(&LogReader::from_parts(parts).unwrap(), |_, _| {}).unwrap();
    assert!(whole.is_whole() && whole.lives.len() == 1, "{whole:?}");
}

#[test]
fn a_torn_end_is_cut_off_before_the_next_life_is_appended() {
    let medium = RecordingMedium::new();
    let writer =
        || LogWriter::new(Arc::new(medium.clone()), "engine.log", FileKind::Steps, LogLimits::default());
    writer().append(&lived().frames, false, &mut |_| {}).unwrap();
    let file = medium.open(Path::new("engine.log"), Open::Existing).unwrap();
    file.set_len(file.len().unwrap() - 5).unwrap();
    writer().append(&Recorded::new(6).frames, false, &mut |_| {}).unwrap();
    let bytes = medium.read(Path::new("engine.log")).unwrap();
    let log = LogReader::from_parts(vec![LogPart { place: "engine.log".into(), bytes }]).unwrap();
    let verdict = replay(&log, |_, _| {}).unwrap();
    assert!(verdict.is_whole() && verdict.damage.is_empty(), "{verdict:?}");
    assert_eq!(verdict.lives.iter().map(|l| l.steps).collect::<Vec<_>>(), [60, 0]);
}

#[test]
fn a_file_that_is_no_log_is_put_aside_and_not_overwritten() {
    let medium = RecordingMedium::new();
    medium.open(Path::new("engine.log"), Open::Create).unwrap().write_at(b"precious", 0).unwrap();
    let mut writer =
        LogWriter::new(Arc::new(medium.clone()), "engine.log", FileKind::Steps, LogLimits::default());
    writer.append(&lived().frames, false, &mut |_| {}).unwrap();
    assert_eq!(medium.read(Path::new("engine.log.1")).unwrap(), b"precious");
}

#[test]
fn after_a_full_disk_the_log_goes_on_and_says_what_it_lacks() {
    let medium = RecordingMedium::new();
    let mut writer =
        LogWriter::new(Arc::new(medium.clone()), "engine.log", FileKind::Steps, LogLimits::default());
    let mut recorded = lived();
    writer.append(&std::mem::take(&mut recorded.frames), false, &mut |_| {}).unwrap();
    medium.fill_after(Some(10));
    recorded.live();
    let lost = std::mem::take(&mut recorded.frames);
    assert!(writer.append(&lost, false, &mut |_| {}).is_err());
    medium.fill_after(None);
    let (encoder, engine) = (recorded.encoder.clone(), recorded.engine.snapshot());
    recorded.live();
    let mut begin = |out: &mut Vec<u8>| encoder.resume(61, Arc::new(config()), engine.clone(), out);
    writer.append(&recorded.frames, true, &mut begin).unwrap();
    let bytes = medium.read(Path::new("engine.log")).unwrap();
    let log = LogReader::from_parts(vec![LogPart { place: "engine.log".into(), bytes }]).unwrap();
    let verdict = replay(&log, |_, _| {}).unwrap();
    assert!(verdict.is_whole(), "{verdict:?}");
    assert_eq!((verdict.lives[0].lost, verdict.lives[0].steps), (61, 122));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), at in 0usize..2000) {
        let _ = replay(&LogReader::from_frames("noise", &bytes), |_, _| {});
        let mut damaged = lived().frames;
        let at = at % damaged.len();
        let end = (at + bytes.len()).min(damaged.len());
        damaged[at..end].copy_from_slice(&bytes[..end - at]);
        let _ = replay(&LogReader::from_frames("noise", &damaged), |_, _| {});
    }
}
