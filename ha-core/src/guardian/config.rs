//! What a guardian is told in `main`.

use super::handlers::Handlers;
use super::report::GuardianReport;
use super::restart::RestartPolicy;
use crate::api::LinkFactory;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) type Reporter = Box<dyn Fn(&GuardianReport)>;

/// What a guardian needs to know.
///
/// ```no_run
/// use ha_core::guardian::{Entered, GuardianConfig, enter};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let config = GuardianConfig::new("/run/mail-pair/node-a");
///     let Entered::Child(guardian) = enter(config)?;
///     // Only the child comes here. Build the runtime now.
///     guardian.goodbye();
///     Ok(())
/// }
/// ```
pub struct GuardianConfig {
    pub(super) runtime_dir: PathBuf,
    pub(super) feed_limit: Duration,
    pub(super) end_budget: Duration,
    pub(super) restart: RestartPolicy,
    pub(super) links: Vec<Arc<dyn LinkFactory>>,
    pub(super) handlers: Handlers,
    pub(super) reporter: Reporter,
}

impl GuardianConfig {
    /// A guardian whose undo list lives in `runtime_dir`: one directory a node, created if it is missing. It
    /// must survive restarts of the service (systemd: `RuntimeDirectoryPreserve=yes`), else effects of an
    /// earlier life are forgotten; it need not survive a reboot.
    #[must_use]
    pub fn new(runtime_dir: impl Into<PathBuf>) -> Self {
        Self {
            runtime_dir: runtime_dir.into(),
            feed_limit: Duration::from_millis(260),
            end_budget: Duration::from_secs(2),
            restart: RestartPolicy::default(),
            links: Vec::new(),
            handlers: Handlers::default(),
            reporter: Box::new(|report| {
                // A closed or full standard error must not end a guardian.
                let _ = writeln!(std::io::stderr(), "guardian[{}]: {report}", std::process::id());
            }),
        }
    }

    /// How long the child's control thread may be silent; at least the latest `dead` of the configuration.
    /// Default 260 ms.
    #[must_use]
    pub const fn feed_limit(mut self, limit: Duration) -> Self {
        self.feed_limit = limit;
        self
    }

    /// How long killing may take, and how long the undo steps may take. What is not done then is not
    /// verified, and nothing is released for it. Default 2 s.
    #[must_use]
    pub const fn end_budget(mut self, budget: Duration) -> Self {
        self.end_budget = budget;
        self
    }

    /// How a dead child is restarted.
    #[must_use]
    pub const fn restart(mut self, policy: RestartPolicy) -> Self {
        self.restart = policy;
        self
    }

    /// The paths of the last word, by the names under which the child leaves its testaments.
    #[must_use]
    pub fn links(mut self, links: impl IntoIterator<Item = Arc<dyn LinkFactory>>) -> Self {
        self.links.extend(links);
        self
    }

    /// Registers what takes effects of `kind` back (given the version and bytes of the
    /// [`Undo`](crate::Undo)), and what verifies that they are gone. Both are called on a thread of their
    /// own, must bear being called again, and only a verification of `Ok(true)` counts.
    #[must_use]
    pub fn handler(
        mut self,
        kind: &str,
        undo: impl Fn(u16, &[u8]) -> Result<(), String> + Send + Sync + 'static,
        verify: impl Fn(u16, &[u8]) -> Result<bool, String> + Send + Sync + 'static,
    ) -> Self {
        self.handlers.register(kind, undo, verify);
        self
    }

    /// Who is told what the guardian does. Default: one line each on standard error.
    #[must_use]
    pub fn reporter(mut self, report: impl Fn(&GuardianReport) + 'static) -> Self {
        self.reporter = Box::new(report);
        self
    }
}

impl fmt::Debug for GuardianConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardianConfig")
            .field("runtime_dir", &self.runtime_dir)
            .field("feed_limit", &self.feed_limit)
            .field("end_budget", &self.end_budget)
            .field("restart", &self.restart)
            .field("links", &self.links.iter().map(|link| link.name()).collect::<Vec<_>>())
            .field("handlers", &self.handlers)
            .finish_non_exhaustive()
    }
}
