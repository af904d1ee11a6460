//! The directory of a run, how a run is interrupted, and that nobody is left of it.

use super::cluster::DriveError;
use super::options::Options;
use super::report::Report;
use crate::chassis::power::end_descendants;
use crate::start::deadline;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Set by the first Ctrl-C or SIGTERM; everything is then cleaned up.
pub(super) fn interruption() -> Result<Arc<AtomicBool>, Box<dyn Error>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (of_thread, (ready, waiting)) = (Arc::clone(&interrupted), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        use tokio::signal::unix::{SignalKind, signal};
        runtime.block_on(async {
            let (Ok(mut int), Ok(mut term)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            let _ = ready.send(());
            tokio::select! { _ = int.recv() => (), _ = term.recv() => () }
            of_thread.store(true, Ordering::SeqCst);
            // Stays registered: a second Ctrl-C does not interrupt the cleaning.
            std::future::pending::<()>().await;
        });
    });
    waiting.recv().map_err(|_| "cannot listen for Ctrl-C")?;
    Ok(interrupted)
}

/// Ends whatever is left of the run, also after a panic.
pub(super) struct Everybody;

impl Drop for Everybody {
    fn drop(&mut self) {
        if let Err(error) = end_descendants(deadline(Duration::from_secs(10))) {
            eprintln!("mail-pair: {error}");
        }
    }
}

/// The directory of a run.
pub(super) struct Place {
    pub(super) path: PathBuf,
    temporary: Option<tempfile::TempDir>,
}

impl Place {
    pub(super) fn make(options: &Options) -> Result<Self, Box<dyn Error>> {
        let Some(path) = &options.dir else {
            let temporary = tempfile::Builder::new().prefix("mail-pair-").tempdir()?;
            return Ok(Self { path: temporary.path().into(), temporary: Some(temporary) });
        };
        std::fs::create_dir_all(path).map_err(|e| format!("--dir {}: {e}", path.display()))?;
        if std::fs::read_dir(path)?.next().is_some() {
            let text = format!("--dir {} is not empty; choose a new one, or empty it", path.display());
            return Err(text.into());
        }
        Ok(Self { path: path.clone(), temporary: None })
    }

    /// A failed run is kept as well: its logs say why. An interrupted one is not.
    pub(super) fn end(self, options: &Options, report: &Report) {
        let interrupted = report.failures.contains(&DriveError::Interrupted.to_string());
        let keep = options.keep || !(report.passed() || interrupted);
        match self.temporary {
            Some(temporary) if keep => {
                let path = temporary.keep();
                eprintln!("mail-pair: kept {}", path.display());
            }
            None if !keep => {
                let _ = std::fs::remove_dir_all(&self.path);
            }
            _ => {}
        }
    }
}
