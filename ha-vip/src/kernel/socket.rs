//! A blocking netlink socket: requests in, acknowledgements or dumps out.
//!
//! The kernel works a request off within `send` and has its answer queued when that returns, so one request is two
//! system calls and no switch of threads.

use super::message::{Message, Request, messages, text, u32_at};
use super::{KernelError, NetNamespace, message, sys};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_MULTIPART, NLM_F_REQUEST,
    NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN,
};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, send, socket_with,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// `NETLINK_ROUTE`, which is number 0.
pub(crate) const ROUTE: Option<Protocol> = None;
/// `NETLINK_NETFILTER`.
pub(crate) const NETFILTER: Option<Protocol> = Some(rustix::net::netlink::NETFILTER);

/// An answer that takes longer will not come: the kernel answers within the call.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// Requests that are asked in one go: their acknowledgements fit into any receive buffer.
pub(crate) const IN_ONE_GO: usize = 64;
/// A dump that was disturbed by a change is asked for this often.
const DUMP_TRIES: usize = 8;
/// The kernel's dumps come in pieces of at most 32 KiB (`netlink(7)`).
const LONGEST_DATAGRAM: usize = 64 * 1024;
/// Asked for; the kernel grants at most twice `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 1 << 20;

/// An answer of the kernel, without its netlink header.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct NetlinkSocket {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl NetlinkSocket {
    /// A socket in `namespace`, told of the multicast `groups` (a mask).
    pub(crate) fn open(
        namespace: &NetNamespace,
        protocol: Option<Protocol>,
        groups: u32,
    ) -> Result<Self, KernelError> {
        let socket = namespace.inside(|| connect(protocol, groups))?;
        let socket = socket.map_err(|errno| KernelError::socket("open a netlink socket", errno))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; LONGEST_DATAGRAM] })
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Asks for `requests` in one go; the outcome of each, in their order. `frame` goes around them unacknowledged.
    pub(crate) fn transact(
        &mut self,
        call: &dyn Fn(usize) -> String,
        requests: &[Request],
        frame: Option<(&Request, &Request)>,
    ) -> Vec<Result<(), KernelError>> {
        let mut outcomes = Vec::with_capacity(requests.len());
        for (n, part) in requests.chunks(if frame.is_some() { usize::MAX } else { IN_ONE_GO }).enumerate() {
            let first = n * IN_ONE_GO;
            outcomes.extend(self.transact_part(&|at| call(first + at), part, frame));
        }
        outcomes
    }

    fn transact_part(
        &mut self,
        call: &dyn Fn(usize) -> String,
        requests: &[Request],
        frame: Option<(&Request, &Request)>,
    ) -> Vec<Result<(), KernelError>> {
        let mut datagram = Vec::new();
        if let Some((begin, _)) = frame {
            begin.write(&mut datagram, NLM_F_REQUEST, 0);
        }
        let first = self.sequence.wrapping_add(1);
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            request.write(&mut datagram, NLM_F_REQUEST | NLM_F_ACK, self.sequence);
        }
        if let Some((_, end)) = frame {
            end.write(&mut datagram, NLM_F_REQUEST, 0);
        }
        let mut outcomes: Vec<Option<Result<(), KernelError>>> = requests.iter().map(|_| None).collect();
        if let Err(errno) = self.send(&datagram) {
            return (0..requests.len()).map(|at| Err(KernelError::socket(&call(at), errno))).collect();
        }
        while outcomes.iter().any(Option::is_none) {
            let received = self.receive(|m| {
                let at = usize::try_from(m.sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                // Sequence 0 frames a batch: its error is everybody's.
                let all = frame.is_some() && m.sequence == 0;
                if let Some(error) = acknowledgement(&m) {
                    let told =
                        outcomes.iter_mut().enumerate().filter(|(n, o)| (all || *n == at) && o.is_none());
                    for (n, outcome) in told {
                        *outcome = Some(
                            error.clone().map_err(|(errno, words)| KernelError::of(&call(n), errno, &words)),
                        );
                    }
                }
            });
            if let Err(errno) = received {
                for (at, outcome) in outcomes.iter_mut().enumerate().filter(|(_, outcome)| outcome.is_none())
                {
                    *outcome = Some(Err(lost(&call(at), errno)));
                }
            }
        }
        outcomes.into_iter().flatten().collect()
    }

    /// Asks for one thing and reads its answer.
    pub(crate) fn ask(&mut self, call: &str, request: &Request) -> Result<Reply, KernelError> {
        let sequence = self.ask_only(call, request, 0)?;
        loop {
            let mut answer = None;
            self.receive(|m| {
                if m.sequence == sequence && answer.is_none() {
                    answer = Some(match acknowledgement(&m) {
                        Some(Err((errno, words))) => Err(KernelError::of(call, errno, &words)),
                        Some(Ok(())) => {
                            Err(KernelError::malformed(call, "an acknowledgement without an answer"))
                        }
                        None => Ok(Reply { kind: m.kind, body: m.body.to_vec() }),
                    });
                }
            })
            .map_err(|errno| lost(call, errno))?;
            if let Some(answer) = answer {
                return answer;
            }
        }
    }

    /// Asks for everything of a kind.
    pub(crate) fn dump(&mut self, call: &str, request: &Request) -> Result<Vec<Reply>, KernelError> {
        for _ in 0..DUMP_TRIES {
            if let Some(replies) = self.dump_once(call, request)? {
                return Ok(replies);
            }
        }
        Err(KernelError::malformed(call, format!("{DUMP_TRIES} dumps in a row were disturbed by changes")))
    }

    /// `None` if something changed meanwhile, so that the dump may lack or repeat an entry.
    fn dump_once(&mut self, call: &str, request: &Request) -> Result<Option<Vec<Reply>>, KernelError> {
        let sequence = self.ask_only(call, request, NLM_F_DUMP)?;
        let (mut replies, mut whole, mut end) = (Vec::new(), true, None);
        while end.is_none() {
            self.receive(|m| {
                if m.sequence != sequence || end.is_some() {
                    return;
                }
                whole &= m.flags & NLM_F_DUMP_INTR == 0;
                match m.kind {
                    NLMSG_DONE => end = Some(ended(&m)),
                    NLMSG_ERROR => end = Some(acknowledgement(&m).unwrap_or(Ok(()))),
                    kind => {
                        replies.push(Reply { kind, body: m.body.to_vec() });
                        if m.flags & NLM_F_MULTIPART == 0 {
                            end = Some(Ok(()));
                        }
                    }
                }
            })
            .map_err(|errno| lost(call, errno))?;
        }
        match end {
            Some(Err((errno, words))) => Err(KernelError::of(call, errno, &words)),
            Some(Ok(())) | None => Ok(whole.then_some(replies)),
        }
    }

    fn ask_only(&mut self, call: &str, request: &Request, flags: u16) -> Result<u32, KernelError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        request.write(&mut datagram, NLM_F_REQUEST | flags, self.sequence);
        self.send(&datagram).map_err(|errno| KernelError::socket(call, errno))?;
        Ok(self.sequence)
    }

    fn send(&self, datagram: &[u8]) -> Result<(), Errno> {
        rustix::io::retry_on_intr(|| send(&self.socket, datagram, SendFlags::NOSIGNAL)).map(drop)
    }

    /// Waits for one datagram and shows its messages; those of other processes are not shown.
    pub(crate) fn receive(&mut self, each: impl FnMut(Message<'_>)) -> Result<(), Errno> {
        self.receive_with(RecvFlags::TRUNC, each)
    }

    /// The same without waiting: `EAGAIN` if nothing is there.
    pub(crate) fn receive_queued(&mut self, each: impl FnMut(Message<'_>)) -> Result<(), Errno> {
        self.receive_with(RecvFlags::TRUNC | RecvFlags::DONTWAIT, each)
    }

    fn receive_with(&mut self, flags: RecvFlags, mut each: impl FnMut(Message<'_>)) -> Result<(), Errno> {
        let received =
            rustix::io::retry_on_intr(|| recvfrom(&self.socket, self.buffer.as_mut_slice(), flags));
        let (_, length, from) = received?;
        let from_kernel =
            from.is_some_and(|from| SocketAddrNetlink::try_from(from).is_ok_and(|a| a.pid() == 0));
        if length > self.buffer.len() {
            return Err(Errno::NOBUFS);
        }
        if from_kernel {
            messages(self.buffer.get(..length).unwrap_or_default()).for_each(&mut each);
        }
        Ok(())
    }
}

fn connect(protocol: Option<Protocol>, groups: u32) -> Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    sys::explain_errors(&socket)?;
    set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_WAIT))?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

fn lost(call: &str, errno: Errno) -> KernelError {
    match errno {
        Errno::AGAIN => KernelError::Unanswered { call: call.into(), waited: ANSWER_WAIT },
        errno => KernelError::socket(call, errno),
    }
}

type Outcome = Result<(), (Errno, String)>;

/// What a message says about the success of its request; `None` if it is no acknowledgement.
fn acknowledgement(m: &Message<'_>) -> Option<Outcome> {
    match m.kind {
        NLMSG_ERROR => Some(outcome(m, 20)),
        NLMSG_OVERRUN => Some(Err((Errno::NOBUFS, String::new()))),
        _ => None,
    }
}

/// The end of a dump carries a code as well.
fn ended(m: &Message<'_>) -> Outcome {
    if m.body.len() < 4 { Ok(()) } else { outcome(m, 4) }
}

/// The code and, behind a header of `header` bytes, the kernel's words.
fn outcome(m: &Message<'_>, header: usize) -> Outcome {
    let code = u32_at(m.body, 0).map_or(0, u32::cast_signed);
    if code >= 0 {
        return Ok(());
    }
    let mut at = header;
    if header > 4 && m.flags & NLM_F_CAPPED == 0 {
        // The whole request is repeated before the words.
        at = 4 + u32_at(m.body, 4).map_or(16, |length| length.next_multiple_of(4) as usize);
    }
    let words =
        if m.flags & NLM_F_ACK_TLVS == 0 { None } else { message::find(m.body, at, NLMSGERR_ATTR_MSG) };
    // The kernel's error numbers are below 4096; anything else is no error number.
    let errno = if (-4095..0).contains(&code) { Errno::from_raw_os_error(-code) } else { Errno::INVAL };
    Err((errno, words.map(text).unwrap_or_default()))
}

const NLMSGERR_ATTR_MSG: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(code: i32, flags: u16, behind: &[u8]) -> Vec<u8> {
        let mut body = code.to_ne_bytes().to_vec();
        body.extend_from_slice(&[0; 16]);
        body.extend_from_slice(behind);
        let mut out = Vec::new();
        Request { kind: NLMSG_ERROR, flags, body }.write(&mut out, 0, 3);
        out
    }

    #[test]
    fn the_kernels_words_are_read_from_its_refusal() {
        let words = Request::new(0, 0, &[]).text(NLMSGERR_ATTR_MSG, "ipv4: Invalid scope value").body;
        let bytes = error(-22, NLM_F_CAPPED | NLM_F_ACK_TLVS, &words);
        let m = messages(&bytes).next().unwrap();
        assert_eq!(acknowledgement(&m), Some(Err((Errno::INVAL, "ipv4: Invalid scope value".into()))));
        let bytes = error(0, NLM_F_CAPPED, &[]);
        assert_eq!(acknowledgement(&messages(&bytes).next().unwrap()), Some(Ok(())));
    }

    proptest! {
        #[test]
        fn no_acknowledgement_makes_reading_panic(kind in 0_u16..6, flags in any::<u16>(), body in proptest::collection::vec(any::<u8>(), 0..96)) {
            let m = Message { kind, flags, sequence: 1, body: &body };
            let _ = acknowledgement(&m);
            let _ = ended(&m);
        }
    }

    #[test]
    fn an_error_number_out_of_range_is_no_panic() {
        let bytes = error(i32::MIN, NLM_F_CAPPED, &[]);
        assert!(acknowledgement(&messages(&bytes).next().unwrap()).unwrap().is_err());
    }
}
