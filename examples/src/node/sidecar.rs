//! A child process that belongs to the service, as many real services have: started with the group, stopped by `SIGTERM`.

use async_trait::async_trait;
use ha_core::api::{Ctx, Resource, ResourceError};
use ha_core::engine::Health;
use ha_core::guardian::process_group_undo;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{self, BufRead, Read};
use std::process::{ExitCode, Stdio};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// What lets the child go, after its undo step was stored.
const GO: &str = "go\n";

/// The child process: it waits to be let go, and then until it is stopped or its node is gone.
#[must_use]
pub fn main() -> ExitCode {
    let mut input = io::stdin().lock();
    let mut word = String::new();
    match input.read_line(&mut word) {
        Ok(_) if word == GO => {
            let _ = input.read_to_end(&mut Vec::new());
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}

/// The child process as a resource: this program again, with `__sidecar` as its argument.
#[derive(Debug)]
pub struct Sidecar {
    name: &'static str,
    child: Mutex<Option<Child>>,
}

impl Sidecar {
    /// The resource `name`.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self { name, child: Mutex::default() }
    }

    fn failed(&self, what: &str, error: impl std::fmt::Display) -> ResourceError {
        ResourceError::new(self.name, format!("{what}: {error}"))
    }

    async fn spawn(&self, ctx: &Ctx) -> Result<Child, ResourceError> {
        let mut command = Command::new("/proc/self/exe");
        if let Some(name) = std::env::args_os().next() {
            command.arg0(name);
        }
        command.arg("__sidecar").process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().map_err(|e| self.failed("cannot start", e))?;
        let undo = child
            .id()
            .ok_or_else(|| self.failed("cannot start", "it ended at once"))
            .and_then(|pid| process_group_undo(pid).map_err(|e| self.failed("no undo step", e)));
        // Without "go" it ends by itself: nothing of it is left when the start that was refused returns.
        if let Err(refused) = ctx.remember_undo(undo?) {
            drop(child.stdin.take());
            child.wait().await.map_err(|e| self.failed("cannot wait for its end", e))?;
            return Err(self.failed("held back", refused));
        }
        let input = child.stdin.as_mut().ok_or_else(|| self.failed("cannot start", "it has no input"))?;
        input.write_all(GO.as_bytes()).await.map_err(|e| self.failed("cannot let it go", e))?;
        Ok(child)
    }
}

#[async_trait]
impl Resource for Sidecar {
    fn name(&self) -> &str {
        self.name
    }

    async fn start(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        let mut slot = self.child.lock().await;
        if let Some(child) = slot.as_mut()
            && child.try_wait().is_ok_and(|ended| ended.is_none())
        {
            return Ok(());
        }
        *slot = Some(self.spawn(ctx).await?);
        Ok(())
    }

    /// Asks it to end and waits until it did. Never kills: a child that ignores its stop is the guardian's business.
    async fn stop(&self, _: &Ctx) -> Result<(), ResourceError> {
        let mut slot = self.child.lock().await;
        let Some(child) = slot.as_mut() else { return Ok(()) };
        if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            kill_process(pid, Signal::TERM).map_err(|e| self.failed("cannot ask it to end", e))?;
        }
        // Its input stays open meanwhile: only the signal ends it.
        let input = child.stdin.take();
        let ended = child.wait().await;
        drop(input);
        ended.map_err(|e| self.failed("cannot wait for its end", e))?;
        *slot = None;
        Ok(())
    }

    async fn monitor(&self, _: &Ctx) -> Health {
        let Ok(mut slot) = self.child.try_lock() else { return Health::Unknown };
        match slot.as_mut().map(Child::try_wait) {
            None => Health::Stopped,
            Some(Ok(None)) => Health::Running,
            Some(Ok(Some(_)) | Err(_)) => Health::Failed,
        }
    }
}
