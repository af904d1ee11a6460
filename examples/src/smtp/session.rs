//! One client's conversation as a pure state machine: bytes in, replies and deliveries out.

use super::command::{Command, parse};
use super::data::{Collector, End};
use super::framing::{Framed, Lines};
use super::limits::Limits;
use super::permit::Checked;
use super::reply::Reply;
use super::store::{Delivery, Envelope};
use ha_core::TokenError;

/// What the server has to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this.
    Reply(Reply),
    /// Store this and report with [`Session::delivered`]; until then there is no next step.
    Deliver(Envelope, Vec<u8>),
}

#[derive(Debug)]
enum State {
    Commands,
    Collecting(Collector),
    Delivering,
    Ended,
}

/// One client's conversation. No I/O, no clock.
///
/// 1. send the reply of [`Session::greeting`];
/// 2. call [`Session::next`] until it returns `None`, doing what it says; a reply that `closes` is the last;
/// 3. then feed what the client sends to [`Session::receive`], and go to 2.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    host: String,
    lines: Lines,
    input: Vec<u8>,
    hello: Option<String>,
    transaction: Option<Envelope>,
    state: State,
    errors: u32,
    draining: bool,
    answer: Option<Reply>,
}

type Permission = Result<Checked, TokenError>;

impl Session {
    /// A conversation of the server that calls itself `host`.
    #[must_use]
    pub fn new(host: &str, limits: Limits) -> Self {
        Self {
            lines: Lines::new(limits.command_line_bytes),
            limits,
            host: host.into(),
            input: Vec::new(),
            hello: None,
            transaction: None,
            state: State::Commands,
            errors: 0,
            draining: false,
            answer: None,
        }
    }

    /// What the client hears first.
    pub fn greeting(&mut self, permission: Permission) -> Reply {
        match permission {
            Ok(checked) => Reply::new(220, format!("{} ESMTP", self.host)).under(checked),
            Err(why) => self.end(421, format!("4.3.2 not the active node: {why}")),
        }
    }

    /// Takes what the client sent. Nothing is lost if it is more than belongs to one command.
    pub fn receive(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Ended) {
            self.input.extend_from_slice(bytes);
        }
    }

    /// Whether more input would be of use now. While a delivery is under way it would only take room.
    #[must_use]
    pub const fn wants_input(&self) -> bool {
        matches!(self.state, State::Commands | State::Collecting(_))
    }

    /// Whether a message is being received.
    #[must_use]
    pub const fn is_collecting(&self) -> bool {
        matches!(self.state, State::Collecting(_))
    }

    /// The node is about to leave: the transaction in progress may end, then the client is sent away.
    pub const fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether [`Session::drain`] was called.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        self.draining
    }

    /// Ends the conversation now.
    pub fn give_up(&mut self, why: &str) -> Reply {
        let delivering = matches!(self.state, State::Delivering);
        self.end(if delivering { 451 } else { 421 }, why)
    }

    /// What became of the message of [`Step::Deliver`].
    pub fn delivered(&mut self, delivery: Delivery) {
        if matches!(self.state, State::Delivering) {
            self.state = State::Commands;
            self.answer = Some(Reply::to_delivery(delivery));
        }
    }

    /// The next thing to do; `None` until there is more input, or a delivery was reported.
    pub fn next(&mut self, permission: Permission) -> Option<Step> {
        if let Some(answer) = self.answer.take() {
            return Some(Step::Reply(answer));
        }
        match &mut self.state {
            State::Delivering | State::Ended => None,
            State::Collecting(_) => self.collect(),
            State::Commands => self.command(permission).map(Step::Reply),
        }
    }

    fn command(&mut self, permission: Permission) -> Option<Reply> {
        if self.draining && self.transaction.is_none() {
            return Some(self.end(421, "4.3.2 going to the other node"));
        }
        let line = match self.lines.next(&mut self.input)? {
            Framed::Line(line) => line,
            Framed::TooLong => return Some(self.error(Reply::new(500, "5.5.2 the line is too long"))),
            Framed::Bare => return Some(self.bare()),
        };
        Some(match parse(&line) {
            Ok(command) => self.obey(command, permission),
            Err(reply) => self.error(reply),
        })
    }

    fn obey(&mut self, command: Command, permission: Permission) -> Reply {
        match command {
            Command::Hello { name, extended } => self.greet(name, extended),
            Command::Mail { from, size } => self.mail(from, size, permission),
            Command::Rcpt { to } => self.rcpt(to),
            Command::Data => self.data(permission),
            Command::Reset => {
                self.transaction = None;
                Reply::new(250, "2.0.0 ok")
            }
            Command::Noop => Reply::new(250, "2.0.0 ok"),
            Command::Verify => Reply::new(252, "2.5.0 send it and see"),
            Command::Help => Reply::new(214, "2.0.0 see RFC 5321"),
            Command::Quit => self.end(221, "2.0.0 bye"),
        }
    }

    fn greet(&mut self, name: String, extended: bool) -> Reply {
        self.transaction = None;
        self.hello = Some(name);
        let mut reply = Reply::new(250, &self.host);
        if extended {
            let size = format!("SIZE {}", self.limits.message_bytes);
            reply.lines.extend(["PIPELINING".into(), size, "8BITMIME".into(), "ENHANCEDSTATUSCODES".into()]);
        }
        reply
    }

    fn mail(&mut self, from: String, size: usize, permission: Permission) -> Reply {
        let Some(helo) = self.hello.clone() else { return self.out_of_order("EHLO first") };
        if self.transaction.is_some() {
            return self.out_of_order("a message is under way");
        }
        if size > self.limits.message_bytes {
            let limit = self.limits.message_bytes;
            return Reply::new(552, format!("5.3.4 the limit is {limit} bytes"));
        }
        if let Err(reply) = self.permitted(permission) {
            return reply;
        }
        self.transaction = Some(Envelope { helo, from, to: Vec::new() });
        Reply::new(250, "2.1.0 ok")
    }

    fn rcpt(&mut self, to: String) -> Reply {
        let limit = self.limits.recipients;
        match &mut self.transaction {
            None => self.out_of_order("MAIL first"),
            Some(envelope) if envelope.to.len() >= limit => {
                Reply::new(452, format!("4.5.3 the limit is {limit} recipients"))
            }
            Some(envelope) => {
                envelope.to.push(to);
                Reply::new(250, "2.1.5 ok")
            }
        }
    }

    fn data(&mut self, permission: Permission) -> Reply {
        match &self.transaction {
            None => return self.out_of_order("MAIL first"),
            Some(envelope) if envelope.to.is_empty() => return self.out_of_order("RCPT first"),
            Some(_) => {}
        }
        if let Err(reply) = self.permitted(permission) {
            self.transaction = None;
            return reply;
        }
        self.state =
            State::Collecting(Collector::new(self.limits.message_bytes, self.limits.text_line_bytes));
        Reply::new(354, "send it; end with a dot on a line of its own")
    }

    /// Work that could not be acknowledged is refused early; a node that lost its grant sends everybody away.
    fn permitted(&mut self, permission: Permission) -> Result<(), Reply> {
        match permission {
            Ok(_) => Ok(()),
            Err(why @ TokenError::Expired { .. }) => Err(Reply::new(451, format!("4.3.2 {why}"))),
            Err(why) => Err(self.end(421, format!("4.3.2 not the active node: {why}"))),
        }
    }

    fn collect(&mut self) -> Option<Step> {
        let State::Collecting(collector) = &mut self.state else { return None };
        let (used, end) = collector.take(&self.input);
        self.input.drain(..used);
        let end = end?;
        if end == End::Bare {
            return Some(Step::Reply(self.bare()));
        }
        let State::Collecting(collector) = std::mem::replace(&mut self.state, State::Commands) else {
            return None;
        };
        let envelope = self.transaction.take().unwrap_or_default();
        let refusal = match end {
            End::Complete => {
                self.state = State::Delivering;
                return Some(Step::Deliver(envelope, collector.into_message()));
            }
            End::TooLarge => format!("5.3.4 the limit is {} bytes", self.limits.message_bytes),
            End::LineTooLong | End::Bare => {
                format!("5.6.0 a line is longer than {} bytes", self.limits.text_line_bytes)
            }
        };
        let code = if end == End::TooLarge { 552 } else { 554 };
        Some(Step::Reply(self.error(Reply::new(code, refusal))))
    }

    /// Nobody can tell what such a client means by what follows.
    fn bare(&mut self) -> Reply {
        self.end(521, "5.5.2 a CR or LF of its own: lines end with CRLF")
    }

    fn out_of_order(&mut self, why: &str) -> Reply {
        self.error(Reply::new(503, format!("5.5.1 {why}")))
    }

    fn error(&mut self, reply: Reply) -> Reply {
        self.errors += 1;
        if self.errors < self.limits.errors {
            return reply;
        }
        self.end(421, "4.7.0 too many errors")
    }

    fn end(&mut self, code: u16, text: impl AsRef<str>) -> Reply {
        self.state = State::Ended;
        self.transaction = None;
        self.input = Vec::new();
        Reply::new(code, text).closing()
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
