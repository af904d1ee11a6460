//! When the control loop sleeps until: one timer of the kernel.
//!
//! Not tokio's: its wheel wakes the thread up to twice for one deadline, a whole millisecond late, and a nearer
//! deadline costs a message to itself.

use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A timer that rings once. It goes on while the machine sleeps.
pub(super) struct Alarm {
    timer: AsyncFd<OwnedFd>,
    due: bool,
}

impl Alarm {
    /// Needs a tokio runtime.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        #[expect(
            deprecated,
            reason = "an OwnedFd keeps its descriptor open, which is all that the new way asks for"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self { timer, due: false })
    }

    /// Rings after `span`, and not at any instant that was set before.
    pub(super) fn set(&mut self, span: Duration) -> io::Result<()> {
        self.due = span.is_zero();
        if self.due {
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec::try_from(span).map_err(io::Error::other)?,
        };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    /// Ready once it rang, or if it cannot ring any more.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.due {
            return Poll::Ready(());
        }
        self.timer.poll_read_ready(cx).map(|rang| {
            if let Ok(mut rang) = rang {
                rang.clear_ready();
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

    use super::*;
    use crate::api::Clock;
    use crate::runtime::BootClock;
    use std::future::poll_fn;

    #[tokio::test]
    async fn it_rings_not_before_its_time_and_again_when_it_is_set_again() {
        let mut alarm = Alarm::new().unwrap();
        for ms in [0, 3, 1] {
            let (begun, span) = (BootClock.now(), Duration::from_millis(ms));
            alarm.set(span).unwrap();
            poll_fn(|cx| alarm.poll(cx)).await;
            assert!(BootClock.now().since(begun) >= span);
        }
    }

    #[tokio::test]
    async fn the_last_setting_counts() {
        let mut alarm = Alarm::new().unwrap();
        alarm.set(Duration::from_secs(3600)).unwrap();
        alarm.set(Duration::from_millis(1)).unwrap();
        poll_fn(|cx| alarm.poll(cx)).await;
        alarm.set(Duration::from_secs(3600)).unwrap();
        let rang = poll_fn(|cx| Poll::Ready(alarm.poll(cx).is_ready())).await;
        assert!(!rang, "what it rang before is over");
    }
}
