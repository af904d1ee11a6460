//! Hammers the two ends of a heartbeat path: whole frames or none, never an invented one, and nobody waits for a deaf peer.

use super::finding::{Failed, Notes, Outcome, Report, Wrong, wrong};
use super::within::{polled, within};
use crate::api::{HeartbeatTransport, LinkFactory};
use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

/// The shortest frame limit with which a beat gets through: the one of a serial line.
const LEAST_MTU_BYTES: usize = 61;
/// Sends until a frame must have got through on a path that may lose some.
const TRIES: usize = 20;
/// Frames that are too long; more than one, as a path may lose the first.
const LONG_ONES: usize = 4;
/// Frames sent to one that does not listen.
const FLOOD: usize = 2000;

/// A test of a path.
pub struct TransportTest<'a> {
    ends: [&'a dyn LinkFactory; 2],
    budget: Duration,
    frame_time: Duration,
}

type Open = [Box<dyn HeartbeatTransport>; 2];

impl<'a> TransportTest<'a> {
    /// A test of the path between two ends, both in this process.
    #[must_use]
    pub fn new(one: &'a dyn LinkFactory, other: &'a dyn LinkFactory) -> Self {
        Self { ends: [one, other], budget: Duration::from_secs(5), frame_time: Duration::from_millis(50) }
    }

    /// How long a call may take, and how long one frame may be under way.
    #[must_use]
    pub const fn within(mut self, budget: Duration, frame_time: Duration) -> Self {
        (self.budget, self.frame_time) = (budget, frame_time);
        self
    }

    /// Makes every check. Needs a tokio runtime with I/O and timer.
    ///
    /// # Errors
    /// [`Failed`] with everything that was found.
    pub async fn run(self) -> Result<Report, Box<Failed>> {
        let mut notes = Notes::new(format!("path {}", self.ends[0].name()));
        notes.note("it says what it is", self.described().await);
        notes.note("frames arrive whole, both ways", self.carries().await);
        notes.note("a frame that is too long is never cut", self.too_long().await);
        notes.note("a receipt that is given up loses nothing that comes later", self.gives_up().await);
        notes.note("nobody waits for a deaf peer", self.deaf().await);
        notes.note("it opens again", self.opens_again().await);
        notes.note("a second sender speaks, or says that there is none", self.second_sender().await);
        notes.finish()
    }

    async fn open(&self) -> Result<Open, Wrong> {
        let [one, other] = self.ends;
        let opened =
            |end: &dyn LinkFactory, result: std::io::Result<Box<dyn HeartbeatTransport>>| match result {
                Ok(transport) => Ok(transport),
                Err(error) => wrong(format!("{} does not open: {error}", end.name()), "an open path"),
            };
        let first = within(self.budget, "open", one.open()).await?;
        let second = within(self.budget, "open", other.open()).await?;
        Ok([opened(one, first)?, opened(other, second)?])
    }

    async fn described(&self) -> Outcome {
        for end in self.open().await? {
            let about = end.describe();
            if about.name.is_empty() || about.kind.is_empty() {
                return wrong(format!("{about:?}"), "a name and a kind");
            }
            if about.mtu_bytes < LEAST_MTU_BYTES {
                return wrong(
                    format!("frames of {} bytes", about.mtu_bytes),
                    format!("at least {LEAST_MTU_BYTES}: one beat"),
                );
            }
        }
        Ok(())
    }

    /// One frame of those in `sent`, within `wait`.
    async fn hear(
        &self,
        end: &dyn HeartbeatTransport,
        sent: &BTreeSet<Vec<u8>>,
        wait: Duration,
    ) -> Result<Option<Vec<u8>>, Wrong> {
        let mut buf = vec![0; end.describe().mtu_bytes];
        match tokio::time::timeout(wait, end.recv(&mut buf)).await {
            Err(_) => Ok(None),
            Ok(Err(error)) => wrong(format!("receiving failed: {error}"), "a frame, or silence"),
            Ok(Ok(len)) => {
                let Some(frame) = buf.get(..len) else {
                    return wrong(format!("a length of {len}"), "at most the buffer's");
                };
                if sent.contains(frame) {
                    return Ok(Some(frame.to_vec()));
                }
                wrong(format!("a frame of {len} bytes that nobody sent"), "one that was sent, whole")
            }
        }
    }

    /// Sends `frame` until it arrives.
    async fn get_through(
        &self,
        from: &dyn HeartbeatTransport,
        to: &dyn HeartbeatTransport,
        frame: &[u8],
        sent: &mut BTreeSet<Vec<u8>>,
    ) -> Outcome {
        sent.insert(frame.to_vec());
        for _ in 0..TRIES {
            // Losing one is allowed; so is an error, once: the caller goes on beating.
            let _ = within(self.budget, "send", from.send(frame)).await?;
            while let Some(heard) = self.hear(to, sent, self.frame_time).await? {
                if heard == frame {
                    return Ok(());
                }
            }
        }
        wrong(format!("that a frame of {} bytes was lost {TRIES} times", frame.len()), "that it arrives")
    }

    async fn carries(&self) -> Outcome {
        let [one, other] = self.open().await?;
        let mut sent = BTreeSet::new();
        for (from, to) in [(&*one, &*other), (&*other, &*one)] {
            let longest = from.describe().mtu_bytes.min(to.describe().mtu_bytes);
            for (len, byte) in
                [(1, 0x7e), (longest / 2, 0x00), (longest, 0xff), (longest, 0x7d), (longest - 1, b'\n')]
            {
                self.get_through(from, to, &vec![byte; len], &mut sent).await?;
            }
            let all: Vec<u8> = (0..=u8::MAX).cycle().take(longest).collect();
            self.get_through(from, to, &all, &mut sent).await?;
        }
        Ok(())
    }

    async fn too_long(&self) -> Outcome {
        let [one, other] = self.open().await?;
        let mut sent = BTreeSet::new();
        let long = vec![0x55; one.describe().mtu_bytes + 1];
        for round in 0..LONG_ONES {
            let _ = within(self.budget, "send", one.send(&long)).await?;
            // Dropped or refused; a part of it would be a frame that nobody sent.
            let next = format!("after the long one {round}");
            self.get_through(&*one, &*other, next.as_bytes(), &mut sent).await?;
        }
        Ok(())
    }

    async fn gives_up(&self) -> Outcome {
        let [one, other] = self.open().await?;
        let mut sent = BTreeSet::new();
        for round in 0..TRIES {
            let mut buf = vec![0; other.describe().mtu_bytes];
            drop(polled(self.frame_time, pin!(other.recv(&mut buf)).as_mut(), round % 3).await);
            self.get_through(&*one, &*other, format!("round {round}").as_bytes(), &mut sent).await?;
        }
        Ok(())
    }

    async fn deaf(&self) -> Outcome {
        let [one, other] = self.open().await?;
        let frame = vec![0xa5; one.describe().mtu_bytes];
        let flood = async {
            for _ in 0..FLOOD {
                let _ = one.send(&frame).await;
            }
        };
        within(self.budget, &format!("sending {FLOOD} frames to one that does not listen"), flood).await?;
        let mut sent = BTreeSet::from([frame]);
        while self.hear(&*other, &sent, self.frame_time).await?.is_some() {}
        self.get_through(&*one, &*other, b"after the flood", &mut sent).await
    }

    async fn opens_again(&self) -> Outcome {
        drop(self.open().await?);
        let [one, other] = self.open().await?;
        self.get_through(&*one, &*other, b"again", &mut BTreeSet::new()).await
    }

    async fn second_sender(&self) -> Outcome {
        let [_one, other] = self.open().await?;
        let mut sender = match self.ends[0].open_sender() {
            Ok(sender) => sender,
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => return Ok(()),
            Err(error) => return wrong(format!("no second sender: {error}"), "one, or Unsupported"),
        };
        let last = b"a last word".to_vec();
        let sent = BTreeSet::from([last.clone()]);
        for _ in 0..TRIES {
            let _ = sender.send(&last);
            if self.hear(&*other, &sent, self.frame_time).await?.is_some() {
                return Ok(());
            }
        }
        wrong("that the second sender's frames do not arrive", "that one does")
    }
}

impl std::fmt::Debug for TransportTest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransportTest").field("budget", &self.budget).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "transport_tests.rs"]
mod tests;
