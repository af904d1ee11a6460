//! What a mirror is told at its start.

use crate::error::OpenError;
use crate::record::MirrorId;
use ha_core::api::Clock;
use ha_core::wire::PairKey;
use ha_core::{Incarnation, NodeId, TokenCell};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What [`Mirror::open`](crate::Mirror::open) needs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MirrorConfig {
    /// The mirror's directory, made if it is missing; on one file system with hard links.
    pub dir: PathBuf,
    /// Which mirror; the same on both nodes.
    pub mirror: MirrorId,
    /// Which node of the pair, 0 or 1.
    pub me: NodeId,
    /// This life, as the engine names it to its peer.
    pub incarnation: Incarnation,
    /// Node 0 listens here.
    pub listen: SocketAddr,
    /// Node 1 dials this address.
    pub peer: SocketAddr,
    /// The pair's key. Without one both addresses must be loopback.
    pub key: Option<PairKey>,
    /// The permission of the group that owns the mirror.
    pub token: TokenCell,
    /// The node's boot clock.
    pub clock: Arc<dyn ClockDebug>,
    /// Sizes and times.
    pub limits: Limits,
    /// A broken promise, for tests.
    #[cfg(feature = "sabotage")]
    pub sabotage: Option<Sabotage>,
}

/// A [`Clock`] whose identity does not matter to `Debug`.
pub trait ClockDebug: Clock + fmt::Debug {}
impl<T: Clock + fmt::Debug> ClockDebug for T {}

/// One broken promise.
#[cfg(feature = "sabotage")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Sabotage {
    /// Records count as durable before the journal is written and synced.
    NoFsyncWait,
}

impl MirrorConfig {
    /// A configuration with default limits and the machine's boot clock, without a key.
    #[must_use]
    pub fn new(
        dir: impl Into<PathBuf>,
        mirror: MirrorId,
        me: NodeId,
        incarnation: Incarnation,
        listen: SocketAddr,
        peer: SocketAddr,
        token: TokenCell,
    ) -> Self {
        Self {
            dir: dir.into(),
            mirror,
            me,
            incarnation,
            listen,
            peer,
            key: None,
            token,
            clock: Arc::new(ha_core::runtime::BootClock),
            limits: Limits::default(),
            #[cfg(feature = "sabotage")]
            sabotage: None,
        }
    }

    /// Authenticates the stream with `key`.
    #[must_use]
    pub fn with_key(mut self, key: PairKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Takes time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn ClockDebug>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets sizes and times.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Breaks a promise.
    #[cfg(feature = "sabotage")]
    #[must_use]
    pub fn with_sabotage(mut self, sabotage: Sabotage) -> Self {
        self.sabotage = Some(sabotage);
        self
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        if self.me.0 > 1 {
            return Err(OpenError::Node { found: self.me });
        }
        for addr in [self.listen, self.peer] {
            if self.key.is_none() && !addr.ip().is_loopback() {
                return Err(OpenError::KeyNeeded { addr });
            }
        }
        self.limits.check()
    }
}

/// Sizes and times of a mirror. Checked at open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Length of one journal file in bytes; a multiple of 4096, at least 64 KiB and twice the largest transaction.
    pub segment_bytes: u64,
    /// Journal files prepared ahead; at least 1.
    pub spare_segments: u8,
    /// Journal kept for a peer that returns, in bytes.
    pub retain_bytes: u64,
    /// Applied bytes after which the tree is made durable.
    pub checkpoint_bytes: u64,
    /// Time after which the tree is made durable if anything was applied.
    pub checkpoint_interval: Duration,
    /// The largest transaction in bytes, 1 KiB to 16 MiB.
    pub max_transaction_bytes: usize,
    /// Transactions under way in bytes, and how far the stream may run ahead.
    pub inflight_bytes: usize,
    /// New transactions are refused below this much free space.
    pub min_free_bytes: u64,
    /// After this time a waiting commit gives up.
    pub commit_timeout: Duration,
    /// Time between two signs of life on the stream.
    pub keepalive: Duration,
    /// The peer counts as away after this time without a frame. Not above the engine's `mirror_stall`.
    pub silence: Duration,
    /// The peer counts as stalled if it owes an acknowledgement for this long.
    pub stall: Duration,
    /// How many idempotency keys are remembered.
    pub max_keys: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            spare_segments: 2,
            retain_bytes: 256 << 20,
            checkpoint_bytes: 64 << 20,
            checkpoint_interval: Duration::from_secs(5),
            max_transaction_bytes: 16 << 20,
            inflight_bytes: 32 << 20,
            min_free_bytes: 64 << 20,
            commit_timeout: Duration::from_secs(4),
            keepalive: Duration::from_millis(15),
            silence: Duration::from_millis(60),
            stall: Duration::from_secs(1),
            max_keys: 16_384,
        }
    }
}

impl Limits {
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let bad = |field, found: String, expected: String| Err(OpenError::Limit { field, found, expected });
        let tx = self.max_transaction_bytes as u64;
        if !(1 << 10..=16 << 20).contains(&tx) {
            return bad("max_transaction_bytes", tx.to_string(), "1024 to 16777216".into());
        }
        let least = (64 << 10).max(2 * tx);
        if self.segment_bytes < least || !self.segment_bytes.is_multiple_of(4096) {
            return bad(
                "segment_bytes",
                self.segment_bytes.to_string(),
                format!("a multiple of 4096, at least {least}"),
            );
        }
        if self.spare_segments == 0 {
            return bad("spare_segments", "0".into(), "at least 1".into());
        }
        if self.inflight_bytes < self.max_transaction_bytes {
            return bad(
                "inflight_bytes",
                self.inflight_bytes.to_string(),
                format!("at least max_transaction_bytes, {tx}"),
            );
        }
        if self.keepalive.is_zero() || self.silence < self.keepalive * 3 {
            return bad(
                "silence",
                format!("{:?}", self.silence),
                format!("at least three times keepalive, {:?}", self.keepalive * 3),
            );
        }
        if self.stall < self.silence {
            return bad(
                "stall",
                format!("{:?}", self.stall),
                format!("at least silence, {:?}", self.silence),
            );
        }
        if self.commit_timeout.is_zero() {
            return bad("commit_timeout", "0".into(), "above zero".into());
        }
        Ok(())
    }
}
