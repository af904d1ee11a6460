//! A resource whose effect is a real file, right and in every wrong way.

use super::*;
use crate::api::ResourceError;
use async_trait::async_trait;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

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
}

struct Flag {
    file: PathBuf,
    flaw: Flaw,
    name: String,
}

static NAMES: AtomicU8 = AtomicU8::new(0);

impl Flag {
    fn make(file: &Path, flaw: Flaw) -> Arc<dyn Resource> {
        let name = match flaw {
            Flaw::NameChanges => format!("flag{}", NAMES.fetch_add(1, Ordering::Relaxed)),
            _ => "flag".into(),
        };
        Arc::new(Self { file: file.into(), flaw, name })
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
        if self.flaw == Flaw::ActsBeforeUndo {
            self.raise()?;
            ctx.sleep(STEP).await;
        }
        let undo = Undo { kind: "flag".into(), version: 1, bytes: Vec::new() };
        let stored = ctx.remember_undo(undo).map_err(|e| self.failed(e));
        if self.flaw != Flaw::IgnoresRefusal {
            stored?;
        }
        ctx.sleep(STEP).await;
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
        Ok(())
    }

    async fn stop(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        match self.flaw {
            Flaw::StopHangs => std::future::pending().await,
            Flaw::RefusesStopOfStopped if !self.file.exists() => return Err(self.failed("it does not run")),
            _ => {}
        }
        let _ = std::fs::remove_file(&self.file);
        ctx.sleep(4 * STEP).await;
        Ok(())
    }

    async fn monitor(&self, ctx: &Ctx) -> Health {
        ctx.sleep(STEP).await;
        match (self.flaw, self.file.exists()) {
            (Flaw::MonitorLies, _) => Health::Running,
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
    let test = ResourceTest::new(|| Flag::make(&file, flaw))
        .left_behind(|| file.exists().then(|| "the flag".to_owned()).into_iter().collect())
        .taken_back_by(|_| {
            let _ = std::fs::remove_file(&file);
            Ok(())
        })
        .broken_by(|| drop(std::fs::remove_file(&file)))
        .within(Duration::from_millis(400))
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

#[tokio::test]
async fn what_cannot_be_checked_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("flag");
    let report = ResourceTest::new(|| Flag::make(&file, Flaw::None)).cuts(4).run().await.unwrap();
    assert_eq!(report.skipped.len(), 2);
    assert!(report.to_string().contains("ResourceTest::left_behind"), "{report}");
}
