//! One line to one command. The syntax is `smtp-proto`'s; what is accepted is decided here.

use super::reply::Reply;
use smtp_proto::{Error, MAIL_BODY_7BIT, MAIL_BODY_8BITMIME, MailFrom, RcptTo, Request};
use std::borrow::Cow;

/// A command that this server knows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Hello { name: String, extended: bool },
    Mail { from: String, size: usize },
    Rcpt { to: String },
    Data,
    Reset,
    Noop,
    Verify,
    Help,
    Quit,
}

/// Parses a line without its CRLF.
///
/// # Errors
/// The reply that refuses it.
pub(super) fn parse(line: &[u8]) -> Result<Command, Reply> {
    // The one recipient that needs no domain (RFC 5321, 4.5.1).
    if line.eq_ignore_ascii_case(b"RCPT TO:<postmaster>") {
        return Ok(Command::Rcpt { to: "postmaster".into() });
    }
    let wire = [line, b"\r\n"].concat();
    match Request::parse(&mut wire.iter()).map_err(|e| refusal(&e))? {
        Request::Ehlo { host } => Ok(Command::Hello { name: host.into_owned(), extended: true }),
        Request::Helo { host } => Ok(Command::Hello { name: host.into_owned(), extended: false }),
        Request::Mail { from } => mail(from),
        Request::Rcpt { to } => rcpt(to),
        Request::Data => Ok(Command::Data),
        Request::Rset => Ok(Command::Reset),
        Request::Noop { .. } => Ok(Command::Noop),
        Request::Vrfy { .. } => Ok(Command::Verify),
        Request::Help { .. } => Ok(Command::Help),
        Request::Quit => Ok(Command::Quit),
        other => Err(Reply::new(502, format!("5.5.1 {} is not offered", other.name()))),
    }
}

fn mail(mail: MailFrom<Cow<'_, str>>) -> Result<Command, Reply> {
    let offered = MailFrom {
        address: mail.address.clone(),
        size: mail.size,
        flags: mail.flags & (MAIL_BODY_7BIT | MAIL_BODY_8BITMIME),
        ..MailFrom::default()
    };
    if mail != offered {
        return Err(not_offered());
    }
    Ok(Command::Mail { from: address(&mail.address)?, size: mail.size })
}

fn rcpt(rcpt: RcptTo<Cow<'_, str>>) -> Result<Command, Reply> {
    if rcpt != (RcptTo { address: rcpt.address.clone(), ..RcptTo::default() }) {
        return Err(not_offered());
    }
    if rcpt.address.is_empty() {
        return Err(Reply::new(501, "5.1.3 a recipient has an address"));
    }
    Ok(Command::Rcpt { to: address(&rcpt.address)? })
}

/// An address as it may stand in a header line.
fn address(address: &str) -> Result<String, Reply> {
    if address.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Ok(address.into());
    }
    Err(Reply::new(553, "5.6.7 only printable ASCII addresses are taken"))
}

fn not_offered() -> Reply {
    Reply::new(555, "5.5.4 only the parameters SIZE and BODY=7BIT or 8BITMIME are offered")
}

fn refusal(error: &Error) -> Reply {
    match error {
        Error::UnknownCommand => Reply::new(500, "5.5.2 no such command"),
        Error::InvalidSenderAddress => Reply::new(501, "5.1.7 not a sender's address"),
        Error::InvalidRecipientAddress => Reply::new(501, "5.1.3 not a recipient's address"),
        Error::SyntaxError { syntax } => Reply::new(501, format!("5.5.4 expected {syntax}")),
        Error::InvalidParameter { param } => Reply::new(501, format!("5.5.4 not a value of {param}")),
        Error::UnsupportedParameter { .. } => not_offered(),
        _ => Reply::new(501, "5.5.2 not a whole command"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(line: &str) -> u16 {
        parse(line.as_bytes()).map_or_else(|r| r.code, |c| panic!("{line}: {c:?}"))
    }

    #[test]
    fn what_real_clients_send_is_understood() {
        let hello = |name: &str, extended| Command::Hello { name: name.into(), extended };
        let mail = |from: &str, size| Command::Mail { from: from.into(), size };
        let rcpt = |to: &str| Command::Rcpt { to: to.into() };
        for (line, command) in [
            ("EHLO client.example", hello("client.example", true)),
            ("ehlo [127.0.0.1]", hello("[127.0.0.1]", true)),
            ("HELO x", hello("x", false)),
            ("MAIL FROM:<>", mail("", 0)),
            ("mail from:<a@b.example> size=1000 body=8bitmime", mail("a@b.example", 1000)),
            ("MAIL FROM:<a@b> BODY=7BIT", mail("a@b", 0)),
            ("RCPT TO:<a@b>", rcpt("a@b")),
            ("RCPT TO:<postmaster>", rcpt("postmaster")),
            ("DATA", Command::Data),
            ("RSET", Command::Reset),
            ("NOOP", Command::Noop),
            ("NOOP hello", Command::Noop),
            ("VRFY someone", Command::Verify),
            ("HELP", Command::Help),
            ("QUIT", Command::Quit),
        ] {
            assert_eq!(parse(line.as_bytes()).as_ref(), Ok(&command), "{line}");
        }
    }

    #[test]
    fn what_is_not_offered_is_refused_by_its_own_code() {
        for (line, expected) in [
            ("", 500),
            ("XYZZY", 500),
            ("MAILFROM:<a@b>", 500),
            ("EHLO", 501),
            ("MAIL", 501),
            ("MAIL FROM:a@b", 501),
            ("RCPT TO:<>", 501),
            ("AUTH PLAIN AAAA", 502),
            ("STARTTLS", 502),
            ("BDAT 10 LAST", 502),
            ("EXPN all", 502),
            ("MAIL FROM:<a@b> SMTPUTF8", 555),
            ("MAIL FROM:<a@b> BODY=BINARYMIME", 555),
            ("MAIL FROM:<a@b> RET=FULL", 555),
            ("MAIL FROM:<a@b> FOO=BAR", 555),
            ("RCPT TO:<a@b> NOTIFY=NEVER", 555),
            ("MAIL FROM:<a@b> SIZE=x", 501),
            ("MAIL FROM:<ä@b>", 553),
        ] {
            assert_eq!(code(line), expected, "{line}");
        }
    }
}
