//! The real server on a real socket, with clients that are rude.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod smtp_support;

use ha_core::api::Resource;
use ha_core::engine::Health;
use ha_examples::smtp::{Delivery, Limits};
use smtp_support::*;
use std::time::Duration;

#[tokio::test]
async fn every_reply_is_stamped_and_the_acts_carry_their_instants() {
    let rig = Rig::start().await;
    let mut client = rig.connect_silently().await;
    let greeting = client.reply().await;
    let instant = |reply: &str| {
        let at = reply.split(" at=").nth(1).and_then(|s| s.trim_end().strip_suffix(']'));
        at.unwrap_or_else(|| panic!("{reply}")).parse::<u64>().unwrap()
    };
    let before = instant(&greeting);
    let ehlo = client.expect("EHLO c", "250").await;
    for line in ["PIPELINING", "SIZE 10485760", "8BITMIME"] {
        assert!(ehlo.contains(line), "{ehlo}");
    }
    for line in ["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA", "hello\r\n."] {
        let reply = client.say(line).await;
        assert!(reply.contains("[node=n1 inc=1a2b3c4d epoch=7"), "{reply}");
        if line.starts_with("hello") {
            assert!(reply.starts_with("250 ") && instant(&reply) > before, "{reply}");
        }
    }
    client.expect("QUIT", "221").await;
    assert_eq!(client.rest().await, "");
    assert_eq!(rig.messages(), [b"hello\r\n"]);
}

#[tokio::test]
async fn a_whole_conversation_in_one_packet_is_answered_in_order() {
    let rig = Rig::start().await;
    let mut client = rig.connect().await;
    let one = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";
    client.send(format!("EHLO c\r\n{one}..1\r\n.\r\n{one}\u{e9}2\r\n.\r\nQUIT\r\n")).await;
    let codes: Vec<_> =
        client.rest().await.lines().filter(|l| l.as_bytes()[3] == b' ').map(|l| l[..3].to_owned()).collect();
    assert_eq!(codes, ["250", "250", "250", "354", "250", "250", "250", "354", "250", "221"]);
    let mut messages = rig.messages();
    messages.sort();
    assert_eq!(messages, [b".1\r\n".to_vec(), "\u{e9}2\r\n".into()]);
}

#[tokio::test]
async fn malformed_input_is_refused_and_the_server_lives_on() {
    let rig = Rig::start().await;
    for bytes in [
        &b"\0\x01\x02\xff\xfe\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"EHLO c\nMAIL FROM:<a@b>\n",
        b"\r\r\r\n",
        b"EHLO \xff\xff\r\nMAIL FROM:<\xff>\r\nRCPT TO:<\0>\r\nDATA\r\n",
        b"MAIL FROM:<a@b> SIZE=99999999999999999999\r\n",
        &[b'x'; 100_000],
    ] {
        let mut client = rig.connect().await;
        client.send(bytes).await;
        client.send("\r\nQUIT\r\n").await;
        let replies = client.rest().await;
        assert!(replies.lines().any(|l| l.starts_with('5')), "{bytes:?}: {replies}");
    }
    let mut client = rig.connect().await;
    client.begin().await;
    client.expect("still here\r\n.", "250").await;
    assert_eq!(rig.messages().len(), 1);
}

#[tokio::test]
async fn a_message_smuggled_behind_a_bare_line_feed_never_arrives() {
    let rig = Rig::start().await;
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r\n.\r"] {
        let mut client = rig.connect().await;
        client.begin().await;
        client.send(format!("outer{end}MAIL FROM:<f@b>\r\nRCPT TO:<c@d>\r\nDATA\r\ninner\r\n.\r\n")).await;
        let rest = client.rest().await;
        assert!(rest.starts_with("521 ") && rest.lines().count() == 1, "{rest}");
    }
    assert!(rig.messages().is_empty());
}

#[tokio::test]
async fn too_large_is_refused_at_once_where_it_was_announced_and_at_the_dot_where_not() {
    let rig = Rig::with(Limits { message_bytes: 1000, ..Limits::default() }).await;
    let mut client = rig.connect().await;
    client.expect("EHLO c", "250").await;
    client.expect("MAIL FROM:<a@b> SIZE=1001", "552").await;
    client.begin().await;
    client.send("0123456789\r\n".repeat(10_000)).await;
    client.expect(".", "552").await;
    client.begin().await;
    client.expect("small\r\n.", "250").await;
    assert_eq!(rig.messages(), [b"small\r\n"]);
}

#[tokio::test]
async fn what_the_store_cannot_do_is_a_4xx_and_the_client_may_go_on() {
    let rig = Rig::start().await;
    let mut client = rig.connect().await;
    for (delivery, expected) in [
        (Delivery::NoSpace, "452 4.3.1"),
        (Delivery::Unknown("demoted".into()), "451 4.4.0"),
        (Delivery::Unavailable("no disk".into()), "451 4.3.0"),
    ] {
        *rig.store.next.lock().unwrap() = Some(delivery);
        client.begin().await;
        client.expect("x\r\n.", expected).await;
    }
    // A real failure of a real disk operation.
    std::fs::remove_dir(rig.dir.path().join("mail/tmp")).unwrap();
    client.begin().await;
    client.expect("x\r\n.", "451 4.3.0").await;
    std::fs::create_dir(rig.dir.path().join("mail/tmp")).unwrap();
    client.begin().await;
    client.expect("x\r\n.", "250").await;
    assert_eq!(rig.messages().len(), 1);
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_a_451_of_unknown_outcome() {
    let rig = Rig::with(Limits { commit: Duration::from_millis(50), ..Limits::default() }).await;
    rig.store.gate.forget_permits(10_000);
    let mut client = rig.connect().await;
    client.begin().await;
    client.expect("x\r\n.", "451 4.4.0").await;
}

#[tokio::test]
async fn without_permission_nobody_is_greeted_and_nothing_is_acknowledged() {
    let rig = Rig::start().await;
    let mut early = rig.connect().await;
    early.begin().await;
    let mut later = rig.connect().await;
    rig.suspend();
    let refused = early.expect("x\r\n.", "451 4.3.0").await;
    assert!(!refused.contains(" at="), "{refused}");
    assert!(rig.messages().is_empty(), "not even visible");
    assert!(rig.connect_silently().await.reply().await.starts_with("421 "));
    later.expect("EHLO c", "250").await;
    later.expect("MAIL FROM:<a@b>", "451").await;
    rig.token.revoke();
    later.expect("MAIL FROM:<a@b>", "421").await;
    assert_eq!(later.rest().await, "");
}

#[tokio::test]
async fn a_permission_lost_while_the_store_worked_is_no_250() {
    let rig = Rig::start().await;
    rig.store.gate.forget_permits(10_000);
    let mut client = rig.connect().await;
    client.begin().await;
    client.send("x\r\n.\r\n").await;
    rig.store.waiting.subscribe().wait_for(|n| *n == 1).await.unwrap();
    rig.suspend();
    rig.store.gate.add_permits(1);
    let reply = client.reply().await;
    assert!(reply.starts_with("451 "), "{reply}");
}

#[tokio::test]
async fn a_stop_lets_the_transaction_end_and_sends_the_idle_away() {
    let rig = Rig::with(Limits { drain: Duration::from_secs(4), ..Limits::default() }).await;
    let mut idle = rig.connect().await;
    idle.expect("EHLO c", "250").await;
    let mut busy = rig.connect().await;
    busy.begin().await;
    let ctx = rig.ctx();
    let (stopped, replies) = tokio::join!(rig.service.stop(&ctx), async {
        let idle = idle.reply().await;
        // The drain has begun; what was begun before it is finished.
        (idle, busy.say("x\r\n.").await, busy.reply().await)
    });
    stopped.unwrap();
    assert!(
        replies.0.starts_with("421 ") && replies.1.starts_with("250 ") && replies.2.starts_with("421 "),
        "{replies:?}"
    );
    assert_eq!(rig.messages().len(), 1);
    assert_eq!(rig.service.monitor(&rig.ctx()).await, Health::Stopped);
}

#[tokio::test]
async fn a_stop_cuts_off_who_does_not_end_and_leaves_nothing() {
    let rig = Rig::with(Limits { drain: Duration::from_millis(30), ..Limits::default() }).await;
    let mut slow = rig.connect().await;
    slow.begin().await;
    let mut stuck = rig.connect().await;
    stuck.begin().await;
    rig.store.gate.forget_permits(10_000);
    stuck.send("x\r\n.\r\n").await;
    rig.store.waiting.subscribe().wait_for(|n| *n == 1).await.unwrap();
    rig.stop().await;
    let (slow, stuck) = (slow.rest().await, stuck.rest().await);
    assert!(slow.starts_with("421 ") && stuck.starts_with("451 4.4.0"), "{slow} {stuck}");
    assert!(rig.messages().is_empty());
    // It starts again as if nothing had happened.
    rig.store.gate.add_permits(10);
    let rig = Rig::start().await;
    rig.connect().await.expect("NOOP", "250").await;
}

#[tokio::test]
async fn a_stop_waits_for_what_outlives_its_client() {
    let rig = Rig::start().await;
    let every = rig.store.settled.available_permits();
    rig.store.settled.forget_permits(every);
    let ctx = rig.ctx();
    let mut stop = rig.service.stop(&ctx);
    tokio::select! {
        ended = &mut stop => panic!("stopped while the store still wrote: {ended:?}"),
        () = rig.store.settling.notified() => {}
    }
    assert!(futures::poll!(&mut stop).is_pending());
    rig.store.settled.add_permits(1);
    stop.await.unwrap();
}

#[tokio::test]
async fn one_client_too_many_is_told_so() {
    let rig = Rig::with(Limits { sessions: 2, ..Limits::default() }).await;
    let _held = [rig.connect().await, rig.connect().await];
    let refused = rig.connect_silently().await.rest().await;
    assert!(refused.starts_with("421 4.3.2"), "{refused}");
}

#[tokio::test]
async fn a_silent_client_is_sent_away() {
    let rig = Rig::with(Limits { idle: Duration::from_millis(50), ..Limits::default() }).await;
    assert!(rig.connect().await.rest().await.starts_with("421 4.4.2"));
    let mut client = rig.connect().await;
    client.begin().await;
    assert!(client.rest().await.starts_with("421 4.4.2"));
    assert!(rig.messages().is_empty());
}

#[tokio::test]
async fn a_stopped_service_serves_again_after_the_next_start() {
    let rig = Rig::start().await;
    rig.connect().await.expect("NOOP", "250").await;
    rig.service.stop(&rig.ctx()).await.unwrap();
    rig.service.stop(&rig.ctx()).await.unwrap();
    assert_eq!(rig.service.monitor(&rig.ctx()).await, Health::Stopped);
    rig.service.start(&rig.ctx()).await.unwrap();
    assert_eq!(rig.service.monitor(&rig.ctx()).await, Health::Running);
    rig.connect().await.expect("NOOP", "250").await;
}
