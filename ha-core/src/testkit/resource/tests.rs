//! A resource whose effect is a real file, right and in every wrong way.

use super::*;
use crate::api::ResourceError;
use async_trait::async_trait;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flaw {
    None,
    NameChanges,
    RefusesSecondStart,
    RefusesStopOfStopped,
    StopHangs,
    MonitorLies,
    MonitorStops,
    IgnoresCancel,
    ActsBeforeUndo,
    IgnoresRefusal,
    /// Its first look, before anything ran, guesses.
    GuessesAtFirst,
    /// One instance starts once.
    StartsOnce,
    /// A second start ends what the first one began.
    SecondStartEndsIt,
    /// A stop beside another one is refused.
    RefusesStopAtOnce,
    /// A start that has no time left waits for more.
    HangsWhenLate,
    /// A start that is given up leaves something where its stop does not look.
    LeavesHalfWhenCancelled,
    /// It stores no undo step at all.
    StoresNoUndo,
    /// Its monitor remembers what was ordered, and looks at nothing.
    MonitorRemembers,
}

struct Flag {
    file: PathBuf,
    flaw: Flaw,
    name: String,
    started: AtomicBool,
    believed: AtomicBool,
    stopping: AtomicBool,
    looked: Arc<AtomicBool>,
}

static NAMES: AtomicU8 = AtomicU8::new(0);

impl Flag {
    fn make(file: &Path, flaw: Flaw, looked: &Arc<AtomicBool>) -> Arc<dyn Resource> {
        let name = match flaw {
            Flaw::NameChanges => format!("flag{}", NAMES.fetch_add(1, Ordering::Relaxed)),
            _ => "flag".into(),
        };
        let [started, believed, stopping] = [(); 3].map(|()| AtomicBool::new(false));
        Arc::new(Self {
            file: file.into(),
            flaw,
            name,
            started,
            believed,
            stopping,
            looked: Arc::clone(looked),
        })
    }

    fn half(&self) -> PathBuf {
        self.file.with_extension("half")
    }

    fn failed(&self, reason: impl std::fmt::Display) -> ResourceError {
        ResourceError::new(&self.name, reason)
    }

    fn raise(&self) -> Result<(), ResourceError> {
        std::fs::write(&self.file, "up").map_err(|e| self.failed(e))
    }
}

const STEP: Duration = Duration::from_millis(1);

#[async_trait]
impl Resource for Flag {
    fn name(&self) -> &str {
        &self.name
    }

    async fn start(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        if self.flaw == Flaw::RefusesSecondStart && self.file.exists() {
            return Err(self.failed("it runs already"));
        }
        if self.flaw == Flaw::SecondStartEndsIt && self.file.exists() {
            let _ = std::fs::remove_file(&self.file);
            return Err(self.failed("it runs already"));
        }
        let _ = std::fs::remove_file(self.half());
        let again = self.started.swap(true, Ordering::SeqCst);
        if self.flaw == Flaw::StartsOnce && again && !self.file.exists() {
            return Err(self.failed("it ran before"));
        }
        if self.flaw == Flaw::HangsWhenLate && ctx.remaining().is_zero() {
            std::future::pending().await
        }
        if self.flaw == Flaw::ActsBeforeUndo {
            self.raise()?;
            ctx.sleep(STEP).await;
        }
        let undo = Undo { kind: "flag".into(), version: 1, bytes: Vec::new() };
        if self.flaw != Flaw::StoresNoUndo {
            let stored = ctx.remember_undo(undo).map_err(|e| self.failed(e));
            if self.flaw != Flaw::IgnoresRefusal {
                stored?;
            }
        }
        ctx.sleep(STEP).await;
        if ctx.is_cancelled() && self.flaw == Flaw::LeavesHalfWhenCancelled {
            std::fs::write(self.half(), "half up").map_err(|e| self.failed(e))?;
        }
        if ctx.is_cancelled() && self.flaw != Flaw::IgnoresCancel {
            return Err(self.failed("given up"));
        }
        self.raise()?;
        if self.flaw == Flaw::IgnoresCancel {
            // A late hand that puts the effect back.
            let file = self.file.clone();
            ctx.spawn(async move {
                tokio::time::sleep(2 * STEP).await;
                let _ = std::fs::write(file, "up");
            });
        }
        ctx.sleep(STEP).await;
        self.believed.store(true, Ordering::SeqCst);
        Ok(())
    }

    async fn stop(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        match self.flaw {
            Flaw::StopHangs => std::future::pending().await,
            Flaw::RefusesStopOfStopped if !self.file.exists() => return Err(self.failed("it does not run")),
            _ => {}
        }
        let beside_another = self.stopping.swap(true, Ordering::SeqCst);
        if self.flaw == Flaw::RefusesStopAtOnce && beside_another {
            return Err(self.failed("it is being stopped"));
        }
        let _ = std::fs::remove_file(&self.file);
        ctx.sleep(4 * STEP).await;
        self.stopping.store(false, Ordering::SeqCst);
        self.believed.store(false, Ordering::SeqCst);
        Ok(())
    }

    async fn monitor(&self, ctx: &Ctx) -> Health {
        ctx.sleep(STEP).await;
        let first = !self.looked.swap(true, Ordering::SeqCst);
        match (self.flaw, self.file.exists()) {
            (Flaw::MonitorLies, _) => Health::Running,
            (Flaw::GuessesAtFirst, _) if first => Health::Failed,
            (Flaw::MonitorRemembers, _) if self.believed.load(Ordering::SeqCst) => Health::Running,
            (Flaw::MonitorStops, true) => {
                let _ = std::fs::remove_file(&self.file);
                Health::Running
            }
            (_, true) => Health::Running,
            (_, false) => Health::Stopped,
        }
    }
}

async fn found(flaw: Flaw) -> Vec<&'static str> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("flag");
    let half = file.with_extension("half");
    let looked = Arc::default();
    let left = |path: &Path| path.exists().then(|| path.display().to_string());
    let test = ResourceTest::new(|| Flag::make(&file, flaw, &looked))
        .left_behind(|| left(&file).into_iter().chain(left(&half)).collect())
        .taken_back_by(|_| {
            let _ = std::fs::remove_file(&file);
            Ok(())
        })
        .broken_by(|| drop(std::fs::remove_file(&file)))
        .within(Duration::from_millis(if flaw == Flaw::StopHangs { 400 } else { 2000 }))
        .cuts(8);
    match test.run().await {
        Ok(report) => {
            assert_eq!((report.passed.len(), report.skipped.len()), (11, 0), "{report}");
            Vec::new()
        }
        Err(failed) => failed.failures.iter().map(|f| f.check).collect(),
    }
}

#[tokio::test]
async fn a_resource_that_keeps_its_contract_passes_every_check() {
    assert_eq!(found(Flaw::None).await, Vec::<&str>::new());
}

#[tokio::test]
async fn every_flaw_is_found_by_the_check_that_is_meant_for_it() {
    for (flaw, check) in [
        (Flaw::NameChanges, "its name is a constant"),
        (Flaw::RefusesSecondStart, "a second start changes nothing"),
        (Flaw::RefusesStopOfStopped, "what was never started is stopped"),
        (Flaw::RefusesStopOfStopped, "a second stop is a success"),
        (Flaw::StopHangs, "it starts, stops, and starts again"),
        (Flaw::MonitorLies, "what was never started is stopped"),
        (Flaw::MonitorLies, "its monitor tells the truth"),
        (Flaw::MonitorStops, "monitors change nothing"),
        (Flaw::ActsBeforeUndo, "a death midway leaves nothing that its undo steps miss"),
        (Flaw::ActsBeforeUndo, "a refused undo step refuses the start"),
        (Flaw::IgnoresRefusal, "a refused undo step refuses the start"),
        (Flaw::IgnoresCancel, "it may be stopped while it starts"),
    ] {
        let failures = found(flaw).await;
        assert!(failures.contains(&check), "{flaw:?} was found by {failures:?}, not by {check:?}");
    }
}

/// For each check a resource that breaks only what that check is for.
#[tokio::test]
async fn every_check_finds_a_flaw_that_no_other_one_finds() {
    for (flaw, check) in [
        (Flaw::NameChanges, "its name is a constant"),
        (Flaw::GuessesAtFirst, "what was never started is stopped"),
        (Flaw::StartsOnce, "it starts, stops, and starts again"),
        (Flaw::SecondStartEndsIt, "a second start changes nothing"),
        (Flaw::RefusesStopAtOnce, "a second stop is a success"),
        (Flaw::MonitorStops, "monitors change nothing"),
        (Flaw::HangsWhenLate, "a passed deadline is no reason to hang"),
        (Flaw::LeavesHalfWhenCancelled, "it may be stopped while it starts"),
        (Flaw::IgnoresRefusal, "a refused undo step refuses the start"),
        (Flaw::StoresNoUndo, "a death midway leaves nothing that its undo steps miss"),
        (Flaw::MonitorRemembers, "its monitor tells the truth"),
    ] {
        assert_eq!(found(flaw).await, [check], "{flaw:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_checked_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("flag");
    let report =
        ResourceTest::new(|| Flag::make(&file, Flaw::None, &Arc::default())).cuts(4).run().await.unwrap();
    assert_eq!(report.skipped.len(), 2);
    assert!(report.to_string().contains("ResourceTest::left_behind"), "{report}");
}
