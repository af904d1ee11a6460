//! The child's side.

use super::error::ClientError;
use super::exe;
use super::message::{
    MAX_BODY_BYTES, MAX_FEED_BYTES, MAX_MESSAGE_BYTES, MAX_NAME_BYTES, Reply, Request, write_feed,
};
use super::old_life::{LIVES, unmarked};
use super::process::{boot_now, pid, timespec};
use super::relay::NOTIFY_SOCKET;
use crate::engine::Predecessor;
use crate::wire::Testament;
use crate::{Epoch, GroupId, Incarnation, Undo};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{Signal, kill_process};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::{self, Display};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// How long a guardian has for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// How long a guardian has to kill a child that asked for it, before the child does it itself.
const KILL_LIMIT: Duration = Duration::from_millis(100);

/// Testaments as messages, by link. They hold keys.
type Owed = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// A stored undo step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UndoId(u64);

/// The child's connection to its guardian. Clones share it.
///
/// 1. [`GuardianClient::feed`] from the control thread, several times in a feed limit, with every change of
///    the owned groups at once: a group that was not fed is not released.
/// 2. [`GuardianClient::set_testament`] whenever a link's session changes, before the first grant.
/// 3. [`GuardianClient::remember`] before each side effect; begin it only on `Ok`.
/// 4. When [`GuardianClient::lost`] resolves: hand over, then [`GuardianClient::reborn`].
/// 5. [`GuardianClient::goodbye`] before an orderly exit, whatever its code; without it a death is restarted.
#[derive(Clone)]
pub struct GuardianClient {
    shared: Arc<Shared>,
}

struct Shared {
    socket: OwnedFd,
    incarnation: Incarnation,
    predecessor: Predecessor,
    notify_socket: Option<Vec<u8>>,
    next_undo: AtomicU64,
    listener: Mutex<Listener>,
    /// What did not reach the guardian yet; `owes` is false while empty.
    owed: Mutex<Owed>,
    owes: AtomicBool,
    lost: watch::Sender<bool>,
}

/// A request that was not granted; with its number if it may be carried out yet.
struct Unanswered {
    id: Option<u64>,
    error: ClientError,
}

impl From<ClientError> for Unanswered {
    fn from(error: ClientError) -> Self {
        Self { id: None, error }
    }
}

#[derive(Default)]
struct Listener {
    started: bool,
    waiting: BTreeMap<u64, SyncSender<Result<(), String>>>,
}

impl GuardianClient {
    /// Waits for the guardian's first message. `None` if it is gone.
    pub(super) fn welcomed(socket: OwnedFd) -> io::Result<Option<Self>> {
        let mut buffer = vec![0; MAX_MESSAGE_BYTES];
        let Some(length) = next_message(&socket, &mut buffer)? else { return Ok(None) };
        let Some(Reply::Welcome { incarnation, predecessor, notify_socket }) =
            Reply::decode(&buffer[..length])
        else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the first message is no welcome"));
        };
        let shared = Shared {
            socket,
            incarnation,
            predecessor,
            notify_socket,
            next_undo: AtomicU64::new(1),
            listener: Mutex::default(),
            owed: Mutex::default(),
            owes: AtomicBool::new(false),
            lost: watch::Sender::new(false),
        };
        Ok(Some(Self { shared: Arc::new(shared) }))
    }

    /// The name of this life. The engine must boot with it: the guardian's last word speaks of it.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.shared.incarnation
    }

    /// Whether anything of an earlier life may be left.
    #[must_use]
    pub fn predecessor(&self) -> Predecessor {
        self.shared.predecessor
    }

    /// Shows that the control thread is alive, and what it owns. The first one arms the feed limit. Neither
    /// blocks nor allocates.
    ///
    /// # Errors
    /// [`ClientError::Busy`] if the guardian does not read (go on), [`ClientError::Lost`] if it is gone.
    pub fn feed(&self, groups: &[(GroupId, Epoch)]) -> Result<(), ClientError> {
        if self.shared.owes.load(Ordering::Acquire) {
            self.pay()?;
        }
        let mut bytes = [0; MAX_FEED_BYTES];
        let length = write_feed(&mut bytes, groups);
        self.send(&bytes[..length])
    }

    /// Leaves what is needed to speak on `link` in this life's name; replaces the one from before. Never blocks:
    /// what a late guardian does not take now is sent with the next feed.
    ///
    /// # Errors
    /// [`ClientError::TooLong`], or [`ClientError::Lost`] if the guardian is gone.
    pub fn set_testament(&self, link: &str, testament: &Testament) -> Result<(), ClientError> {
        within("a link's name", link.len(), MAX_NAME_BYTES)?;
        let bytes = testament.to_bytes();
        let message = Request::Testament { link: link.into(), bytes }.encode().into();
        self.shared.owed().insert(link.into(), message);
        self.shared.owes.store(true, Ordering::Release);
        match self.pay() {
            Err(ClientError::Busy) => Ok(()),
            other => other,
        }
    }

    /// Sends the testaments that a late guardian did not take yet.
    fn pay(&self) -> Result<(), ClientError> {
        let mut owed = self.shared.owed();
        while let Some(first) = owed.first_entry() {
            self.send(first.get())?;
            first.remove();
        }
        self.shared.owes.store(false, Ordering::Release);
        Ok(())
    }

    /// Stores an undo step at the guardian. Returns when it survives this process; begin the side effect only
    /// then. Blocks for at most 2 s, normally for a fraction of a millisecond. Without a group
    /// the step counts for every group.
    ///
    /// # Errors
    /// [`ClientError`]; the side effect must not begin.
    pub fn remember(&self, undo: Undo, group: Option<GroupId>) -> Result<UndoId, ClientError> {
        within("an undo's kind", undo.kind.len(), MAX_NAME_BYTES)?;
        within("an undo", undo.bytes.len(), MAX_BODY_BYTES)?;
        match self.ask(|id| Request::Undo { id, undo, group }) {
            Err(Unanswered { id: Some(id), error }) => {
                // It may be stored yet: the effect will not begin, so nothing has to be undone.
                let _ = self.undone(UndoId(id));
                Err(error)
            }
            other => other.map(UndoId).map_err(|unanswered| unanswered.error),
        }
    }

    /// Asks for something that is stored, and waits for the answer.
    fn ask(&self, request: impl FnOnce(u64) -> Request) -> Result<u64, Unanswered> {
        let id = self.shared.next_undo.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = sync_channel(1);
        {
            let mut listener = self.listen().map_err(ClientError::System)?;
            listener.waiting.insert(id, answer);
        }
        if self.is_lost() {
            return Err(ClientError::Lost.into());
        }
        self.send_patiently(&request(id).encode())?;
        match answered.recv_timeout(ANSWER_LIMIT) {
            Ok(Ok(())) => Ok(id),
            Ok(Err(reason)) => Err(ClientError::Refused { reason }.into()),
            Err(RecvTimeoutError::Disconnected) => Err(ClientError::Lost.into()),
            Err(RecvTimeoutError::Timeout) => {
                self.shared.listener().waiting.remove(&id);
                Err(Unanswered { id: Some(id), error: ClientError::Silent { limit_ms: 2000 } })
            }
        }
    }

    /// The child took the effect back itself, and verified it.
    ///
    /// # Errors
    /// [`ClientError`] if it did not reach the guardian; the step will then be repeated, which it must bear.
    pub fn undone(&self, id: UndoId) -> Result<(), ClientError> {
        self.send_patiently(&Request::UndoDone { id: id.0 }.encode())
    }

    /// This process ends, and what `groups` run is to be left alone until the next life is there: neither their
    /// undo steps nor the processes that these name. Returns when that survives this process and its guardian.
    ///
    /// # Errors
    /// [`ClientError`]; they may be undone like anything else then.
    pub fn detach(&self, groups: &[(GroupId, Epoch)]) -> Result<(), ClientError> {
        let groups: Vec<GroupId> = groups.iter().map(|(g, _)| *g).collect();
        self.ask(|id| Request::Detach { id, groups }).map(drop).map_err(|unanswered| unanswered.error)
    }

    /// Says something to the service manager, as the main process (`READY=1`, `WATCHDOG=1`, …).
    ///
    /// # Errors
    /// [`ClientError`] if it did not reach the guardian.
    pub fn sd_notify(&self, state: &str) -> Result<(), ClientError> {
        within("a notification", state.len(), MAX_BODY_BYTES)?;
        self.send(&Request::Notify { state: state.into() }.encode())
    }

    /// An orderly end follows: no restart.
    pub fn goodbye(&self) {
        // A guardian that is gone restarts nobody.
        let _ = self.send_patiently(&Request::Goodbye.encode());
    }

    /// Ends this process now, through the guardian: kill, undo, last word, restart.
    pub fn end_me(&self, reason: impl Display) -> ! {
        let mut reason = reason.to_string();
        reason.truncate(reason.floor_char_boundary(MAX_BODY_BYTES));
        if self.send(&Request::EndMe { reason }.encode()).is_ok() {
            let mut gone = [PollFd::new(&self.shared.socket, PollFlags::RDHUP)];
            let _ = poll(&mut gone, Some(&timespec(KILL_LIMIT)));
        }
        // The guardian is gone or late. It treats a death like a request; SIGKILL writes no core.
        let _ = pid(std::process::id()).map(|me| kill_process(me, Signal::KILL));
        std::process::abort()
    }

    /// Resolves when the guardian is gone.
    pub async fn lost(&self) {
        // Without a listener nobody would ever tell: to hand over is the safe answer.
        if self.listen().map(drop).is_ok() {
            let mut lost = self.shared.lost.subscribe();
            let _ = lost.wait_for(|lost| *lost).await;
        }
    }

    /// Whether the guardian is known to be gone.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        *self.shared.lost.borrow()
    }

    /// Executes this binary again, as a new guardian with a new child that boots as standby. Call it after
    /// everything was handed over; every thread of this process ends. Returns only if it failed.
    #[must_use]
    pub fn reborn(&self) -> io::Error {
        use std::os::unix::process::CommandExt;
        let (mut command, _exe) = match exe::command() {
            Ok(command) => command,
            Err(error) => return error,
        };
        match std::env::var(LIVES).map(|lives| unmarked(&lives, self.shared.incarnation)) {
            Ok(lives) if !lives.is_empty() => command.env(LIVES, lives),
            _ => command.env_remove(LIVES),
        };
        if let Some(address) = &self.shared.notify_socket {
            command.env(NOTIFY_SOCKET, OsString::from_vec(address.clone()));
        }
        command.exec()
    }

    fn send(&self, message: &[u8]) -> Result<(), ClientError> {
        match send(&self.shared.socket, message, SendFlags::NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(Errno::AGAIN | Errno::NOBUFS) => Err(ClientError::Busy),
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => {
                self.shared.lose();
                Err(ClientError::Lost)
            }
            Err(error) => Err(ClientError::System(error.into())),
        }
    }

    /// Waits for room.
    fn send_patiently(&self, message: &[u8]) -> Result<(), ClientError> {
        let deadline = boot_now() + ANSWER_LIMIT;
        loop {
            match self.send(message) {
                Err(ClientError::Busy) => {}
                other => return other,
            }
            let left = deadline.since(boot_now());
            if left.is_zero() {
                return Err(ClientError::Busy);
            }
            let mut room = [PollFd::new(&self.shared.socket, PollFlags::OUT)];
            let _ = poll(&mut room, Some(&timespec(left)));
        }
    }

    /// Starts the thread that hears the guardian, once.
    fn listen(&self) -> io::Result<MutexGuard<'_, Listener>> {
        let mut listener = self.shared.listener();
        if !listener.started {
            let shared = Arc::clone(&self.shared);
            std::thread::Builder::new().name("guardian".into()).spawn(move || shared.hear())?;
            listener.started = true;
        }
        Ok(listener)
    }
}

impl Shared {
    fn listener(&self) -> MutexGuard<'_, Listener> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owed(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs until the guardian is gone.
    fn hear(&self) {
        let mut buffer = vec![0; MAX_MESSAGE_BYTES];
        while let Ok(Some(length)) = next_message(&self.socket, &mut buffer) {
            let (id, answer) = match Reply::decode(&buffer[..length]) {
                Some(Reply::Stored { id }) => (id, Ok(())),
                Some(Reply::Refused { id, reason }) => (id, Err(reason)),
                Some(Reply::Welcome { .. }) | None => continue,
            };
            if let Some(waiting) = self.listener().waiting.remove(&id) {
                let _ = waiting.try_send(answer);
            }
        }
        self.lose();
    }

    fn lose(&self) {
        self.lost.send_replace(true);
        // Dropping the senders wakes whoever waits.
        self.listener().waiting.clear();
    }
}

/// The length of the next message; `None` at the end of the guardian.
fn next_message(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((_, 0)) | Err(Errno::CONNRESET) => return Ok(None),
            Ok((_, length)) => return Ok(Some(length.min(buffer.len()))),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut readable = [PollFd::new(socket, PollFlags::IN)];
                let _ = poll(&mut readable, None);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), ClientError> {
    if found <= limit { Ok(()) } else { Err(ClientError::TooLong { what, found, limit }) }
}

impl fmt::Debug for GuardianClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardianClient")
            .field("incarnation", &self.shared.incarnation)
            .field("predecessor", &self.shared.predecessor)
            .field("lost", &self.is_lost())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ReleasedNotice;
    use crate::wire::{RESERVED_SEQ, VERSION};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    /// A client and the guardian's end.
    fn client() -> (GuardianClient, OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (own, childs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let welcome = Reply::Welcome {
            incarnation: Incarnation(9),
            predecessor: Predecessor::Gone,
            notify_socket: None,
        };
        send(&own, &welcome.encode(), SendFlags::NOSIGNAL).unwrap();
        (GuardianClient::welcomed(childs).unwrap().unwrap(), own)
    }

    /// Version, link, sender, life, first reserved number, key.
    fn testament() -> Testament {
        let (life, seq) = (9u128.to_be_bytes(), RESERVED_SEQ.to_be_bytes());
        Testament::from_bytes(&[&[VERSION, 0, 0][..], &life, &seq, &[7; 32]].concat()).unwrap()
    }

    fn heard(guardian: &OwnedFd) -> Vec<Request> {
        let mut buffer = vec![0; MAX_MESSAGE_BYTES];
        let mut heard = Vec::new();
        while let Ok((_, length)) = recv(guardian, buffer.as_mut_slice(), RecvFlags::empty()) {
            heard.push(Request::decode(&buffer[..length]).unwrap());
        }
        heard
    }

    #[test]
    fn a_late_guardian_blocks_nobody_and_gets_the_newest_testament_when_it_reads_again() {
        let (client, guardian) = client();
        while client.feed(&[]).is_ok() {}
        assert!(matches!(client.feed(&[]), Err(ClientError::Busy)));
        let mut testament = testament();
        client.set_testament("a", &testament).unwrap();
        let notice = ReleasedNotice { incarnation: Incarnation(9), groups: vec![], complete: true };
        testament.released(&notice).unwrap();
        client.set_testament("a", &testament).unwrap();
        assert!(heard(&guardian).iter().all(|request| matches!(request, Request::Feed(_))));
        client.feed(&[(GroupId(1), Epoch(2))]).unwrap();
        let testament = Request::Testament { link: "a".into(), bytes: testament.to_bytes() };
        assert!(heard(&guardian) == [testament, Request::Feed(vec![(GroupId(1), Epoch(2))])]);
    }

    #[tokio::test]
    async fn the_end_of_the_guardian_is_noticed_by_everybody() {
        let (client, guardian) = client();
        assert_eq!((client.incarnation(), client.predecessor()), (Incarnation(9), Predecessor::Gone));
        assert!(!client.is_lost());
        let waiting = client.clone();
        let undo = Undo { kind: "x".into(), version: 1, bytes: vec![] };
        let remembering = std::thread::spawn(move || waiting.remember(undo, None));
        let mut readable = [PollFd::new(&guardian, PollFlags::IN)];
        poll(&mut readable, None).unwrap();
        drop(guardian);
        client.lost().await;
        assert!(client.is_lost());
        assert!(matches!(remembering.join().unwrap(), Err(ClientError::Lost)));
        assert!(matches!(client.feed(&[]), Err(ClientError::Lost)));
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_sent() {
        let (client, guardian) = client();
        let undo = Undo { kind: "x".into(), version: 1, bytes: vec![0; MAX_BODY_BYTES + 1] };
        assert!(matches!(client.remember(undo, None), Err(ClientError::TooLong { .. })));
        assert!(matches!(
            client.set_testament(&"x".repeat(200), &testament()),
            Err(ClientError::TooLong { .. })
        ));
        assert!(heard(&guardian).is_empty());
    }
}
