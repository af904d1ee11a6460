//! One child, as its guardian knows it.

use super::feed_watch::FeedWatch;
use super::message::{MAX_MESSAGE_BYTES, Request};
use super::process::{boot_now, pid};
use super::report::GuardianReport;
use super::signals::is_stop;
use super::sys::Received;
use crate::wire::{Testament, TestamentError};
use crate::{Epoch, GroupId, Incarnation, Instant};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::process::{Signal, WaitStatus, kill_process};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A second stop within this time is the first one's echo: service managers, `timeout` and terminals signal
/// whole groups.
const STOP_ECHO: Duration = Duration::from_secs(1);
/// A child that said goodbye and has not ended by then is ended.
const FAREWELL_LIMIT: Duration = Duration::from_secs(30);

/// Why a child is to be finished.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// It ended by itself.
    Ended,
    /// Its control thread was silent for longer than the feed limit.
    Lapsed,
    /// It asked.
    Asked(String),
    /// It said goodbye and did not go.
    Lingered,
}

pub(super) struct Life {
    pub(super) pid: u32,
    pub(super) incarnation: Incarnation,
    /// Absent once the child closed its end.
    pub(super) socket: Option<OwnedFd>,
    pub(super) feed: FeedWatch,
    pub(super) groups: Vec<(GroupId, Epoch)>,
    pub(super) testaments: BTreeMap<String, Testament>,
    /// Set when it was reaped: from then on its pid means nothing.
    pub(super) status: Option<WaitStatus>,
    /// Whether it ever got as far as feeding.
    pub(super) ran: bool,
    farewell: Option<Instant>,
    stopped_at: Option<Instant>,
    detached_at: Option<Instant>,
}

impl Life {
    pub(super) fn new(pid: u32, incarnation: Incarnation, socket: OwnedFd, feed_limit: Duration) -> Self {
        Self {
            pid,
            incarnation,
            socket: Some(socket),
            feed: FeedWatch::new(feed_limit, boot_now()),
            groups: Vec::new(),
            testaments: BTreeMap::new(),
            status: None,
            ran: false,
            farewell: None,
            stopped_at: None,
            detached_at: None,
        }
    }

    /// Whether the child is to end for good: it said so, or somebody asked it to.
    pub(super) const fn is_leaving(&self) -> bool {
        self.farewell.is_some() || self.stopped_at.is_some()
    }

    /// Whether it leaves its services running, for another one to take over.
    pub(super) const fn is_detached(&self) -> bool {
        self.detached_at.is_some()
    }

    /// It leaves its services running: it only has to end.
    pub(super) fn detach(&mut self) {
        self.detached_at = Some(boot_now());
        self.feed.disarm();
    }

    /// Whether it said goodbye.
    pub(super) const fn said_goodbye(&self) -> bool {
        self.farewell.is_some()
    }

    /// When to look at it again.
    pub(super) fn plan(&mut self, now: Instant) -> Instant {
        let lingering = self.farewell.or(self.detached_at).map_or(Instant::FAR, |at| at + FAREWELL_LIMIT);
        self.feed.plan(now).min(lingering)
    }

    /// Whether it is over, or has to be.
    pub(super) fn verdict(&self, now: Instant) -> Option<Cause> {
        if self.status.is_some() {
            Some(Cause::Ended)
        } else if self.feed.lapsed(now) {
            Some(Cause::Lapsed)
        } else if self.farewell.or(self.detached_at).is_some_and(|at| now.since(at) >= FAREWELL_LIMIT) {
            Some(Cause::Lingered)
        } else {
            None
        }
    }

    /// Notes who was reaped.
    pub(super) fn reaped(&mut self, pid: u32, status: WaitStatus) {
        if pid == self.pid && self.status.is_none() {
            self.status = Some(status);
        }
    }

    /// Passes a signal on. A terminal has sent it to the child already; one stop is one stop.
    pub(super) fn signal(&mut self, received: Received) {
        let now = boot_now();
        let stop = is_stop(received.signal);
        let echo = stop && self.stopped_at.is_some_and(|at| now.since(at) < STOP_ECHO);
        if stop && !echo {
            self.stopped_at = Some(now);
        }
        if received.from_kernel || echo || self.status.is_some() {
            return;
        }
        if let (Some(child), Some(signal)) = (pid(self.pid), Signal::from_named_raw(received.signal)) {
            // The child was not reaped, so the pid is its own.
            let _ = kill_process(child, signal);
        }
    }

    /// The next message that waits.
    pub(super) fn next_request(&mut self, buffer: &mut [u8; MAX_MESSAGE_BYTES]) -> Option<Request> {
        loop {
            match recv(self.socket.as_ref()?, buffer.as_mut_slice(), RecvFlags::TRUNC) {
                Ok((_, 0)) => self.socket = None,
                // Too long or not understood: the child is of the same binary, so it is broken, and the feed
                // limit deals with broken children.
                Ok((_, length)) => match buffer.get(..length).and_then(Request::decode) {
                    Some(request) => return Some(request),
                    None => continue,
                },
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                Err(_) => self.socket = None,
            }
        }
    }

    /// Takes in what needs no answer.
    pub(super) fn take(&mut self, request: &Request) {
        match request {
            Request::Feed(groups) => {
                self.ran = true;
                self.groups.clone_from(groups);
                if self.farewell.is_none() && self.detached_at.is_none() {
                    self.feed.fed(boot_now());
                }
            }
            Request::Goodbye => {
                self.farewell = Some(boot_now());
                self.feed.disarm();
            }
            Request::Testament { .. }
            | Request::Undo { .. }
            | Request::UndoDone { .. }
            | Request::EndMe { .. }
            | Request::Detach { .. }
            | Request::Notify { .. } => {}
        }
    }

    /// What the guardian's own exit code is.
    pub(super) fn exit_code(&self) -> i32 {
        match &self.status {
            Some(status) => status
                .exit_status()
                .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
                .unwrap_or(1),
            None => 1,
        }
    }

    /// Keeps what is needed to speak in this life's name, and in no other's.
    pub(super) fn bequeath(&mut self, link: String, bytes: &[u8]) -> Result<(), TestamentError> {
        let testament = Testament::from_bytes(bytes)?;
        let (found, expected) = (testament.incarnation(), self.incarnation);
        if found != expected {
            return Err(TestamentError::OtherLife { found, expected });
        }
        self.testaments.insert(link, testament);
        Ok(())
    }

    /// Whether it ended in a way that somebody meant: success, a stop signal, or a refusal to start at all,
    /// which a second attempt will not mend unless an earlier one did start.
    pub(super) fn ended_on_purpose(&self, started_before: bool) -> bool {
        let Some(status) = &self.status else { return false };
        let hung_up = |signal| is_stop(signal) || signal == libc::SIGHUP;
        status.exit_status() == Some(0)
            || status.terminating_signal().is_some_and(hung_up)
            || (status.exit_status().is_some() && !self.ran && !started_before)
    }

    pub(super) fn report(&self, cause: &Cause) -> GuardianReport {
        let status = self.status.as_ref();
        let ended = match (status.and_then(|s| s.exit_status()), status.and_then(|s| s.terminating_signal()))
        {
            (Some(code), _) => format!("ended with code {code}"),
            (_, Some(signal)) => format!("died of signal {signal}"),
            _ => "is not reaped".into(),
        };
        let cause = match cause {
            Cause::Ended => ended,
            Cause::Lapsed => format!("missed its feed limit and was killed; {ended}"),
            Cause::Asked(reason) => format!("asked to be ended ({reason}); {ended}"),
            Cause::Lingered => format!("said goodbye and did not go; {ended}"),
        };
        GuardianReport::Ended { pid: self.pid, cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use rustix::process::{WaitOptions, waitpid};
    use std::process::{Child, Command, Stdio};

    /// A child that is stopped, so that every signal sent to it can be seen pending.
    fn stopped() -> (Child, Life) {
        let child =
            Command::new("sleep").arg("100").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let it = pid(child.id());
        kill_process(it.unwrap(), Signal::STOP).unwrap();
        assert!(waitpid(it, WaitOptions::UNTRACED).unwrap().unwrap().1.stopped());
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, _) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let life = Life::new(child.id(), Incarnation(1), socket, Duration::from_secs(1));
        (child, life)
    }

    fn pending(child: &Child) -> Vec<i32> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap();
        let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
        (1..=31).filter(|signal| mask >> (signal - 1) & 1 == 1).collect()
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_terminals_signal_is_not_sent_a_second_time() {
        let (child, mut life) = stopped();
        life.signal(Received { signal: libc::SIGINT, from_kernel: true });
        assert!(pending(&child).is_empty());
        assert!(life.is_leaving());
        life.signal(Received { signal: libc::SIGUSR1, from_kernel: false });
        assert_eq!(pending(&child), [libc::SIGUSR1]);
        end(child);
    }

    #[test]
    fn the_echo_of_a_stop_is_not_passed_on() {
        let (child, mut life) = stopped();
        life.signal(Received { signal: libc::SIGTERM, from_kernel: false });
        life.signal(Received { signal: libc::SIGINT, from_kernel: false });
        assert_eq!(pending(&child), [libc::SIGTERM]);
        end(child);
    }

    #[test]
    fn a_child_that_says_goodbye_may_be_silent_for_a_while_but_not_for_ever() {
        let (child, mut life) = stopped();
        life.take(&Request::Feed(vec![(GroupId(0), Epoch(1))]));
        assert_eq!(life.verdict(boot_now() + Duration::from_secs(2)), Some(Cause::Lapsed));
        life.take(&Request::Goodbye);
        assert_eq!(life.verdict(boot_now() + Duration::from_secs(2)), None);
        assert_eq!(life.verdict(boot_now() + FAREWELL_LIMIT), Some(Cause::Lingered));
        assert!(life.said_goodbye() && life.groups == [(GroupId(0), Epoch(1))]);
        end(child);
    }
}
