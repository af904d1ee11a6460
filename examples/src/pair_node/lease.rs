//! The arbiter behind `--lease`.

use super::options::RunOptions;
use super::plan::Plan;
use super::{Failure, GROUP};
use ha_core::{InitId, NodeId};
use ha_storage_shared::{AcceptStaleReads, DiskArbiter, DiskError, Initialisation};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at a place that the other node has yet to initialise, or lets go of in a moment.
const LOOK: Duration = Duration::from_millis(50);
/// Looks before that is said again.
const LOOKS_UNTOLD: u32 = 100;

/// The place that both nodes reach, and who may initialise it.
#[derive(Clone)]
struct Place {
    path: PathBuf,
    me: NodeId,
    init: InitId,
    lease: Duration,
    deadline: Duration,
    buffered: Option<AcceptStaleReads>,
}

/// Opens it. The node whose name sorts first initialises a blank one; the other waits for that: so two nodes never do it at
/// once, on whatever machines.
pub(super) async fn open(
    options: &RunOptions,
    plan: &Plan,
    init: InitId,
) -> Result<Option<Arc<DiskArbiter>>, Failure> {
    let (Some(path), Some(config)) = (&options.proof.lease, &plan.config.arbiter) else { return Ok(None) };
    let place = Place {
        path: path.clone(),
        me: plan.me,
        init,
        lease: config.lease,
        deadline: config.answer_timeout,
        buffered: options.i_accept_stale_reads.then_some(AcceptStaleReads),
    };
    let mut looks = 0u32;
    loop {
        let again = place.clone();
        let waits = match tokio::task::spawn_blocking(move || again.look()).await.map_err(Failure::failed)? {
            Ok(arbiter) => return Ok(Some(Arc::new(arbiter))),
            Err(Look::Wait(why)) => why,
            Err(Look::Never(error)) => return Err(place.failed(&error)),
        };
        if looks.is_multiple_of(LOOKS_UNTOLD) {
            tracing::warn!(lease = %place.path.display(), %waits, "waits until the lease can be used");
        }
        looks = looks.wrapping_add(1);
        tokio::time::sleep(LOOK).await;
    }
}

/// Why it is not open yet.
enum Look {
    Wait(DiskError),
    Never(DiskError),
}

impl Place {
    /// Opens it, or initialises it first.
    fn look(&self) -> Result<DiskArbiter, Look> {
        match self.open() {
            Ok(arbiter) => return Ok(arbiter),
            // The other one just looked.
            Err(error @ DiskError::Busy { .. }) => return Err(Look::Wait(error)),
            Err(error) if !self.is_none_yet(&error) => return Err(Look::Never(error)),
            Err(error) if self.me != NodeId(0) => return Err(Look::Wait(error)),
            Err(_) => {}
        }
        match self.initialise() {
            Ok(()) => tracing::info!(lease = %self.path.display(), "the blank lease was initialised"),
            Err(error @ DiskError::Busy { .. }) => return Err(Look::Wait(error)),
            Err(error) => return Err(Look::Never(error)),
        }
        self.open().map_err(Look::Never)
    }

    fn open(&self) -> Result<DiskArbiter, DiskError> {
        let builder =
            DiskArbiter::builder(&self.path, self.me, self.init).lease(self.lease).deadline(self.deadline);
        self.buffered.map_or(builder.clone(), |accepted| builder.buffered(accepted)).open()
    }

    fn initialise(&self) -> Result<(), DiskError> {
        let wanted = Initialisation::new(self.init, [GROUP]);
        let wanted = match self.buffered {
            Some(accepted) => wanted.buffered(accepted),
            None => wanted,
        };
        DiskArbiter::initialise(&self.path, &wanted)
    }

    /// Whether nobody has made an arbiter of the place yet: it is missing, or has no whole superblock.
    fn is_none_yet(&self, error: &DiskError) -> bool {
        match error {
            DiskError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            DiskError::TooSmall { .. } | DiskError::Foreign { .. } => {
                DiskArbiter::inspect(&self.path, self.buffered).is_err()
            }
            _ => false,
        }
    }

    fn failed(&self, error: &DiskError) -> Failure {
        let hint = match error {
            DiskError::NoDirectIo { .. } => "; for a trial on one machine: --i-accept-stale-reads",
            DiskError::Occupied { .. } => {
                "; `disk-arbiter show` tells what is there. For another key or other names it must be made anew"
            }
            _ => "",
        };
        Failure::failed(format!("--lease: {error}{hint}"))
    }
}
