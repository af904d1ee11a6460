//! The guardian's own course: prepare, start a child, watch it, finish it, start again.

use super::config::GuardianConfig;
use super::error::GuardianError;
use super::keep::{Kept, without_kept};
use super::last_word::LastWord;
use super::life::{Cause, Life};
use super::message::{MAX_MESSAGE_BYTES, Reply, Request};
use super::old_life::{self, LIVES, marked};
use super::process::{Process, boot_now, timespec};
use super::relay::{NOTIFY_SOCKET, Relay};
use super::report::GuardianReport;
use super::restart::Restarts;
use super::signals::{Signals, is_stop};
use super::undo_list::{self, Outstanding, UndoList};
use super::voices::Voices;
use super::{child, exe, family};
use crate::engine::Predecessor;
use crate::{BootId, Incarnation, Instant};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

/// The exit code of a guardian that ends because an undo handler hangs (`EX_TEMPFAIL`).
const UNDO_HANGS: i32 = 75;
/// A killed predecessor lets go of its lock a moment after its child has seen its end.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

struct Guardian {
    config: GuardianConfig,
    list: UndoList,
    signals: Signals,
    voices: Voices,
    relay: Option<Relay>,
    restarts: Restarts,
    /// Whether processes of earlier lives are known to be gone.
    processes_gone: bool,
    /// A list of this kernel boot is unreadable.
    list_damaged: bool,
    /// The first child's failure to start is the caller's; later ones are retried.
    restarted: bool,
    /// Held as long as this process lives.
    _lock: File,
}

/// What follows the end of a life.
enum Next {
    Restart,
    Exit(i32),
}

/// Guards until nothing is left to guard. Returns the exit code.
pub(super) fn guard(config: GuardianConfig) -> Result<i32, GuardianError> {
    let mut guardian = Guardian::prepare(config)?;
    loop {
        let mut life = guardian.begin()?;
        let cause = guardian.watch(&mut life)?;
        if let Next::Exit(code) = guardian.finish(life, &cause)? {
            return Ok(code);
        }
        guardian.restarted = true;
    }
}

impl Guardian {
    /// Everything that may be refused happens before the first child.
    fn prepare(config: GuardianConfig) -> Result<Self, GuardianError> {
        let dir = config.runtime_dir.clone();
        let in_dir = |source| GuardianError::RuntimeDir { path: dir.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(in_dir)?;
        let lock = lock(&dir)?;
        let (list, list_damaged) = UndoList::open(&dir, boot_id()?).map_err(in_dir)?;
        if let Some(step) = list.outstanding().iter().find(|s| !config.handlers.knows(&s.undo.kind)) {
            return Err(GuardianError::UnknownUndo {
                kind: step.undo.kind.clone(),
                registered: config.handlers.kinds(),
            });
        }
        let relay = Relay::open(&dir).map_err(in_dir)?;
        rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))
            .map_err(|e| GuardianError::system("PR_SET_CHILD_SUBREAPER")(e.into()))?;
        let signals = Signals::block().map_err(GuardianError::system("signal mask"))?;
        let mut guardian = Self {
            list,
            signals,
            voices: Voices::new(config.links.clone()),
            relay,
            restarts: Restarts::new(config.restart),
            processes_gone: false,
            list_damaged,
            restarted: false,
            _lock: lock,
            config,
        };
        guardian.end_old_lives();
        Ok(guardian)
    }

    fn report(&self, report: &GuardianReport) {
        (self.config.reporter)(report);
    }

    fn report_list(&self, result: io::Result<()>) {
        if let Err(error) = result {
            self.report(&GuardianReport::List { error: error.to_string() });
        }
    }

    /// Ends what earlier guardians of this boot left; it may be running still.
    fn end_old_lives(&mut self) {
        let deadline = boot_now() + self.config.end_budget;
        self.processes_gone = old_life::end_all(self.list.lives(), &self.kept(), deadline).unwrap_or(false);
        if self.processes_gone {
            let cleared = self.list.lives_ended();
            self.report_list(cleared);
        } else {
            self.report(&GuardianReport::Survivors);
        }
    }

    /// What the last life left running on purpose.
    fn kept(&self) -> Kept {
        Kept::of(self.list.outstanding(), self.list.detached())
    }

    /// Takes back what is outstanding. The second value tells what is to be reported: later, because nothing
    /// may hold up the last word. False if a handler hangs.
    fn take_back(&mut self) -> (bool, Vec<GuardianReport>) {
        let mut reports = Vec::new();
        let steps = without_kept(self.list.outstanding(), self.list.detached());
        let mut outcomes = Vec::with_capacity(steps.len());
        let in_time =
            self.config.handlers.take_all_back(&steps, self.config.end_budget, |one| outcomes.push(one));
        for (incarnation, id, result) in outcomes {
            match result {
                Ok(()) => {
                    let settled = self.list.settle(incarnation, id);
                    reports.extend(settled.err().map(|e| GuardianReport::List { error: e.to_string() }));
                }
                Err(reason) => {
                    let step = steps.iter().find(|s| (s.incarnation, s.id) == (incarnation, id));
                    let kind = step.map(|s| s.undo.kind.clone()).unwrap_or_default();
                    reports.push(GuardianReport::NotUndone { kind, reason });
                }
            }
        }
        if !in_time {
            reports.push(GuardianReport::UndoHangs);
        }
        (in_time, reports)
    }

    fn predecessor(&self) -> Predecessor {
        let nothing_kept = self.list.detached().is_empty();
        if self.processes_gone && nothing_kept && self.list.outstanding().is_empty() && !self.list_damaged {
            Predecessor::Gone
        } else {
            Predecessor::Leftovers
        }
    }

    /// Starts a child. It is noted in the list before it is told to go on.
    fn begin(&mut self) -> Result<Life, GuardianError> {
        if !self.processes_gone {
            self.end_old_lives();
        }
        let (in_time, reports) = self.take_back();
        reports.iter().for_each(|report| self.report(report));
        if !in_time {
            std::process::exit(UNDO_HANGS);
        }
        self.voices.open(&*self.config.reporter);
        let incarnation = random_incarnation()?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (own, childs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(|e| GuardianError::system("socket pair")(e.into()))?;
        let pid = self.spawn(&childs, incarnation).map_err(GuardianError::system("start of the child"))?;
        drop(childs);
        let predecessor = self.predecessor();
        let life = Life::new(pid, incarnation, own, self.config.feed_limit);
        // It is a child that was not reaped, so it is there.
        let process = Process::read(pid).ok_or_else(|| {
            GuardianError::system("/proc")(io::Error::other("the child is not to be seen there"))
        })?;
        self.list
            .begin_life(undo_list::Life { incarnation, process: process.id })
            .map_err(GuardianError::system("undo list"))?;
        self.processes_gone = false;
        let notify_socket = self.relay.as_ref().map(|relay| relay.manager().as_bytes().to_vec());
        reply(&life, &Reply::Welcome { incarnation, predecessor, notify_socket });
        self.report(&GuardianReport::Started { pid, incarnation, predecessor });
        Ok(life)
    }

    fn spawn(&self, childs: &OwnedFd, incarnation: Incarnation) -> io::Result<u32> {
        let (mut command, _exe) = exe::command()?;
        command.env(child::MARKER, child::marker(childs.as_raw_fd()));
        command.env(LIVES, marked(std::env::var_os(LIVES).as_deref(), incarnation));
        if let Some(relay) = &self.relay {
            command.env(NOTIFY_SOCKET, relay.path());
        }
        self.signals.hand_down(&mut command, childs.as_raw_fd());
        Ok(command.spawn()?.id())
    }

    /// Watches until the child is over or has to be.
    fn watch(&mut self, life: &mut Life) -> Result<Cause, GuardianError> {
        loop {
            let now = boot_now();
            let until = life.plan(now);
            self.wait(life.socket.as_ref(), until, now)?;
            life.feed.woke(boot_now());
            while let Some(signal) = self.signals.next() {
                life.signal(signal);
            }
            if let Some(relay) = &self.relay {
                relay.pass_on();
            }
            self.signals.forget_ended_children();
            family::reap(&mut |pid, status| life.reaped(pid, status))
                .map_err(GuardianError::system("wait"))?;
            // What was said before the end counts: read after reaping, judge after reading.
            let asked = self.receive(life);
            if let Some(cause) = life.verdict(boot_now()).or(asked) {
                return Ok(cause);
            }
        }
    }

    /// Waits for a message, a signal, the end of a child, or `until`.
    fn wait(&self, socket: Option<&OwnedFd>, until: Instant, now: Instant) -> Result<(), GuardianError> {
        let forwarded = self.signals.forwarded();
        let mut fds = Vec::with_capacity(4);
        fds.push(PollFd::new(&forwarded, PollFlags::IN));
        fds.push(PollFd::new(self.signals.child_ended(), PollFlags::IN));
        fds.extend(socket.map(|socket| PollFd::new(socket, PollFlags::IN)));
        fds.extend(self.relay.as_ref().map(|relay| PollFd::new(relay.socket(), PollFlags::IN)));
        let timeout = (until != Instant::FAR).then(|| timespec(until.since(now)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(GuardianError::system("poll")(error.into())),
        }
    }

    /// Takes in everything that the child said. Returns its wish to be ended.
    fn receive(&mut self, life: &mut Life) -> Option<Cause> {
        let mut buffer = [0; MAX_MESSAGE_BYTES];
        let mut asked = None;
        while let Some(request) = life.next_request(&mut buffer) {
            life.take(&request);
            match request {
                Request::Undo { id, undo, group } => {
                    let answer = self.store(Outstanding { incarnation: life.incarnation, id, undo, group });
                    reply(life, &answer);
                }
                Request::UndoDone { id } => {
                    let settled = self.list.settle(life.incarnation, id);
                    self.report_list(settled);
                }
                Request::Detach { id, groups } => {
                    let answer = match self.list.detach(groups) {
                        Ok(()) => {
                            life.detach();
                            Reply::Stored { id }
                        }
                        Err(error) => Reply::Refused { id, reason: error.to_string() },
                    };
                    reply(life, &answer);
                }
                Request::EndMe { reason } => asked = Some(Cause::Asked(reason)),
                Request::Notify { state } => {
                    if let Some(relay) = &self.relay {
                        relay.say(&state);
                    }
                }
                Request::Testament { link, bytes } => {
                    if let Err(error) = life.bequeath(link.clone(), &bytes) {
                        self.report(&GuardianReport::TestamentRefused { link, error: error.to_string() });
                    }
                }
                Request::Feed(_) | Request::Goodbye => {}
            }
        }
        asked
    }

    fn store(&mut self, step: Outstanding) -> Reply {
        let id = step.id;
        if !self.config.handlers.knows(&step.undo.kind) {
            let reason = format!(
                "no handler for undo steps of kind \"{}\" is registered, only {:?}; use GuardianConfig::handler",
                step.undo.kind,
                self.config.handlers.kinds()
            );
            return Reply::Refused { id, reason };
        }
        match self.list.store(step) {
            Ok(()) => Reply::Stored { id },
            Err(error) => Reply::Refused { id, reason: error.to_string() },
        }
    }

    /// Kills what is left, takes effects back, says what is proven.
    fn finish(&mut self, mut life: Life, cause: &Cause) -> Result<Next, GuardianError> {
        let deadline = boot_now() + self.config.end_budget;
        self.processes_gone =
            family::end_all(&self.signals, deadline, &self.kept(), |pid, status| life.reaped(pid, status))
                .unwrap_or(false);
        let _ = self.receive(&mut life);
        let (in_time, reports) = self.take_back();
        let mut word = LastWord::new(
            life.incarnation,
            std::mem::take(&mut life.groups),
            std::mem::take(&mut life.testaments),
        );
        word.leave_running(self.list.detached());
        word.decide(self.processes_gone, self.list.outstanding());
        self.say(&mut word, true);

        // Nobody waits for what follows.
        self.report(&life.report(cause));
        reports.iter().for_each(|report| self.report(report));
        if self.processes_gone {
            let cleared = self.list.lives_ended();
            self.report_list(cleared);
        } else {
            self.report(&GuardianReport::Survivors);
        }
        if !in_time {
            self.rest(&mut word, None)?;
            return Ok(Next::Exit(UNDO_HANGS));
        }
        let restart_at = self.restart_at(&life, cause);
        if restart_at.is_none() && life.said_goodbye() && word.adds_nothing() {
            return Ok(Next::Exit(life.exit_code()));
        }
        Ok(if self.rest(&mut word, restart_at)? { Next::Restart } else { Next::Exit(life.exit_code()) })
    }

    fn say(&mut self, word: &mut LastWord, first: bool) {
        let said = word.say(boot_now(), &mut self.voices);
        if first {
            let report = match said {
                Some((notice, links)) => GuardianReport::Released { notice: notice.clone(), links },
                None => GuardianReport::NothingToSay,
            };
            self.report(&report);
        }
    }

    /// When to start the next child, if at all.
    fn restart_at(&mut self, life: &Life, cause: &Cause) -> Option<Instant> {
        let on_purpose = *cause == Cause::Ended && life.ended_on_purpose(self.restarted);
        let now = boot_now();
        if life.is_detached() && !life.is_leaving() {
            return Some(now);
        }
        if life.is_leaving() || on_purpose {
            return None;
        }
        let wait = self.restarts.next(now);
        self.report(&wait.map_or(GuardianReport::GaveUp, GuardianReport::RestartIn));
        wait.map(|wait| now + wait)
    }

    /// Repeats the last word until the restart, or as often as it must be before the end. False if the
    /// guardian is to end: no restart, or somebody asked for a stop meanwhile.
    fn rest(&mut self, word: &mut LastWord, mut restart_at: Option<Instant>) -> Result<bool, GuardianError> {
        loop {
            let now = boot_now();
            if now >= word.again_at() {
                self.say(word, false);
            }
            match restart_at {
                Some(at) if now >= at => return Ok(true),
                None if word.is_said() => return Ok(false),
                _ => {}
            }
            self.wait(None, word.again_at().min(restart_at.unwrap_or(Instant::FAR)), now)?;
            while let Some(signal) = self.signals.next() {
                if is_stop(signal.signal) {
                    restart_at = None;
                }
            }
            if let Some(relay) = &self.relay {
                relay.pass_on();
            }
            self.signals.forget_ended_children();
            // Only survivors of a kill are left to be reaped here, and their end changes nothing yet.
            let _ = family::reap(&mut |_, _| ());
        }
    }
}

/// A reply that cannot be sent finds a child that is dead or does not read; neither begins an effect.
fn reply(life: &Life, reply: &Reply) {
    if let Some(socket) = &life.socket {
        let _ = send(socket, &reply.encode(), SendFlags::NOSIGNAL);
    }
}

/// One guardian a runtime directory: the kernel lets go of the lock however its holder ends.
fn lock(dir: &Path) -> Result<File, GuardianError> {
    let path = dir.join("guardian.lock");
    let in_dir = |source| GuardianError::RuntimeDir { path: path.clone(), source };
    let mut file =
        OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(in_dir)?;
    let deadline = boot_now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if boot_now() < deadline => {
                let _ = poll(&mut [], Some(&timespec(LOCK_PATIENCE / 50)));
            }
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&path).unwrap_or_default();
                return Err(GuardianError::Locked { path, pid: pid.trim().into() });
            }
            Err(TryLockError::Error(source)) => return Err(in_dir(source)),
        }
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(in_dir)?;
    Ok(file)
}

fn boot_id() -> Result<BootId, GuardianError> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path).map_err(GuardianError::system("kernel boot id"))?;
    u128::from_str_radix(&text.trim().replace('-', ""), 16).map(BootId).map_err(|_| {
        let found = format!("{path} holds {:?}, expected a UUID", text.trim());
        GuardianError::system("kernel boot id")(io::Error::new(io::ErrorKind::InvalidData, found))
    })
}

fn random_incarnation() -> Result<Incarnation, GuardianError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| GuardianError::system("random number")(io::Error::other(e.to_string())))?;
    Ok(Incarnation(u128::from_le_bytes(bytes)))
}
