//! The conversation, without a network.

use super::*;
use ha_core::{Epoch, Instant};
use proptest::prelude::*;

const CHECKED: Checked = Checked { epoch: Epoch(7), at: Instant::from_nanos(5) };
const SUSPENDED: TokenError = TokenError::Expired { epoch: Epoch(7) };

fn session() -> Session {
    let limits =
        Limits { message_bytes: 200, text_line_bytes: 50, recipients: 2, errors: 4, ..Limits::default() };
    Session::new("n1", limits)
}

/// Feeds `input`, stores every message, and returns the codes of the replies and the messages.
fn talk(session: &mut Session, input: &str, permission: Permission) -> (Vec<u16>, Vec<String>) {
    let (mut codes, mut stored) = (Vec::new(), Vec::new());
    session.receive(input.as_bytes());
    while let Some(step) = session.next(permission) {
        match step {
            Step::Reply(reply) => codes.push(reply.code),
            Step::Deliver(_, message) => {
                stored.push(String::from_utf8(message).unwrap());
                session.delivered(Delivery::Stored(CHECKED));
            }
        }
    }
    (codes, stored)
}

fn codes(input: &str) -> Vec<u16> {
    talk(&mut session(), input, Ok(CHECKED)).0
}

const ENVELOPE: &str = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n";

#[test]
fn pipelined_commands_are_answered_one_by_one() {
    let input = format!("{ENVELOPE}DATA\r\n..hello\r\n.\r\nMAIL FROM:<a@b>\r\nRSET\r\nQUIT\r\nNOOP\r\n");
    let (codes, stored) = talk(&mut session(), &input, Ok(CHECKED));
    assert_eq!(codes, [250, 250, 250, 354, 250, 250, 250, 221]);
    assert_eq!(stored, [".hello\r\n"]);
}

#[test]
fn commands_out_of_order_change_nothing() {
    assert_eq!(codes("MAIL FROM:<a@b>\r\n"), [503]);
    assert_eq!(codes("EHLO c\r\nRCPT TO:<a@b>\r\nDATA\r\nMAIL FROM:<a@b>\r\n"), [250, 503, 503, 250]);
    assert_eq!(codes("EHLO c\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<x@y>\r\nDATA\r\n"), [250, 250, 503, 503]);
    assert_eq!(codes(&format!("{ENVELOPE}RSET\r\nDATA\r\n")), [250, 250, 250, 250, 503]);
    assert_eq!(codes(&format!("{ENVELOPE}EHLO c\r\nDATA\r\n")), [250, 250, 250, 250, 503]);
}

#[test]
fn limits_are_told_and_kept() {
    assert_eq!(codes("EHLO c\r\nMAIL FROM:<a@b> SIZE=201\r\nMAIL FROM:<a@b> SIZE=200\r\n"), [250, 552, 250]);
    assert_eq!(codes(&format!("{ENVELOPE}RCPT TO:<e@f>\r\nRCPT TO:<g@h>\r\n")), [250, 250, 250, 250, 452]);
    let large = format!("{ENVELOPE}DATA\r\n{}.\r\nNOOP\r\n", "0123456789\r\n".repeat(20));
    assert_eq!(codes(&large), [250, 250, 250, 354, 552, 250]);
    let long = format!("{ENVELOPE}DATA\r\n{}\r\n.\r\nNOOP\r\n", "x".repeat(49));
    assert_eq!(codes(&long), [250, 250, 250, 354, 554, 250]);
    assert_eq!(codes(&format!("NOOP {}\r\nNOOP\r\n", "x".repeat(600))), [500, 250]);
    assert_eq!(codes(&"X\r\n".repeat(9)), [500, 500, 500, 421]);
}

#[test]
fn a_smuggled_message_never_becomes_one() {
    for end in ["\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r"] {
        let smuggled =
            format!("{ENVELOPE}DATA\r\nouter{end}MAIL FROM:<forged@b>\r\n{ENVELOPE}DATA\r\ninner\r\n.\r\n");
        let (codes, stored) = talk(&mut session(), &smuggled, Ok(CHECKED));
        assert_eq!((codes.last(), stored.len()), (Some(&521), 0), "{end:?}");
    }
    assert_eq!(codes("EHLO c\nMAIL FROM:<a@b>\r\n"), [521]);
}

#[test]
fn a_draining_node_ends_the_transaction_and_then_the_session() {
    let mut idle = session();
    assert_eq!(talk(&mut idle, "EHLO c\r\n", Ok(CHECKED)).0, [250]);
    idle.drain();
    assert_eq!(talk(&mut idle, "MAIL FROM:<a@b>\r\n", Ok(CHECKED)).0, [421]);
    let mut busy = session();
    assert_eq!(talk(&mut busy, ENVELOPE, Ok(CHECKED)).0, [250, 250, 250]);
    busy.drain();
    let (codes, stored) = talk(&mut busy, "DATA\r\nx\r\n.\r\nNOOP\r\n", Ok(CHECKED));
    assert_eq!((codes, stored.len()), (vec![354, 250, 421], 1));
}

#[test]
fn without_permission_no_greeting_and_no_new_work() {
    assert_eq!(session().greeting(Ok(CHECKED)).code, 220);
    for why in [SUSPENDED, TokenError::NotGranted] {
        let refused = session().greeting(Err(why));
        assert_eq!((refused.code, refused.closes, refused.act), (421, true, None));
    }
    let mut suspended = session();
    assert_eq!(talk(&mut suspended, "EHLO c\r\nMAIL FROM:<a@b>\r\n", Err(SUSPENDED)).0, [250, 451]);
    assert_eq!(talk(&mut suspended, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", Ok(CHECKED)).0, [250, 250]);
    assert_eq!(talk(&mut suspended, "DATA\r\n", Err(SUSPENDED)).0, [451]);
    assert_eq!(talk(&mut suspended, "MAIL FROM:<a@b>\r\n", Err(TokenError::NotGranted)).0, [421]);
}

#[test]
fn what_the_store_says_is_what_the_client_hears() {
    for (delivery, code, text) in [
        (Delivery::Stored(CHECKED), 250, "2.0.0"),
        (Delivery::Unavailable("disk\r\ngone".into()), 451, "4.3.0"),
        (Delivery::NoSpace, 452, "4.3.1"),
        (Delivery::Unknown("late".into()), 451, "4.4.0"),
    ] {
        let mut session = session();
        session.receive(format!("{ENVELOPE}DATA\r\nx\r\n.\r\nNOOP\r\n").as_bytes());
        while !matches!(session.next(Ok(CHECKED)), Some(Step::Deliver(..))) {}
        assert_eq!(session.next(Ok(CHECKED)), None, "nothing goes on before the store answered");
        session.delivered(delivery.clone());
        let Some(Step::Reply(reply)) = session.next(Ok(CHECKED)) else { panic!("{delivery:?}") };
        assert_eq!((reply.code, reply.act.is_some()), (code, code == 250));
        assert!(reply.lines[0].starts_with(text), "{reply:?}");
        assert!(matches!(session.next(Ok(CHECKED)), Some(Step::Reply(r)) if r.code == 250));
    }
}

/// Pieces of conversations, right and wrong, so that random input gets deep.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "EHLO c\r\n",
        "HELO c\r\n",
        "MAIL FROM:<a@b>\r\n",
        "MAIL FROM:<> SIZE=10\r\n",
        "RCPT TO:<c@d>\r\n",
        "DATA\r\n",
        "\r\n.\r\n",
        "..\r\n",
        ".",
        "\r",
        "\n",
        "RSET\r\n",
        "NOOP\r\n",
        "VRFY x\r\n",
        "BDAT 10 LAST\r\n",
        "AUTH PLAIN =\r\n",
        "MAIL FROM:<\"\\",
        "RCPT TO:<@a,@b:c@d>\r\n",
        "MAIL FROM:<a@b> SIZE=99999999999999999999999\r\n",
        "MAIL FROM:<a@b> AUTH=+\r\n",
        "RCPT TO:<a@b> ORCPT=rfc822;+41\r\n",
        "MAIL FROM:<a@b> MT-PRIORITY=-9\r\n",
    ];
    prop_oneof![
        8 => proptest::sample::select(known.map(|s| s.as_bytes().to_vec()).to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => "[ -~]{0,700}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_input_panics_or_stores_more_than_was_acknowledged_or_grows(
        pieces in proptest::collection::vec((piece(), 0u8..4), 0..40),
    ) {
        let mut session = session();
        let (mut asked, mut answered, mut ended) = (0, 0, false);
        for (bytes, permission) in pieces {
            session.receive(&bytes);
            let permission = if permission == 0 { Err(SUSPENDED) } else { Ok(CHECKED) };
            while let Some(step) = session.next(permission) {
                prop_assert!(!ended, "nothing follows the last reply");
                match step {
                    Step::Deliver(envelope, message) => {
                        prop_assert!(!envelope.to.is_empty() && message.len() <= 200);
                        asked += 1;
                        session.delivered(Delivery::Stored(CHECKED));
                    }
                    Step::Reply(reply) => {
                        prop_assert!((200..600).contains(&reply.code) && !reply.lines.is_empty());
                        answered += usize::from(reply.act.is_some());
                        ended = reply.closes;
                    }
                }
            }
            prop_assert!(session.input.len() <= session.limits.command_line_bytes);
            prop_assert_eq!(asked, answered);
        }
    }
}
