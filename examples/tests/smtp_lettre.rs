//! The real server with a client that nobody here wrote: the crate lettre.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod smtp_support;

use ha_examples::smtp::{Delivery, Limits};
use lettre::address::Envelope;
use lettre::transport::smtp::client::SmtpConnection;
use lettre::transport::smtp::extension::ClientId;
use lettre::{Message, SmtpTransport, Transport};
use smtp_support::*;

fn transport(rig: &Rig) -> SmtpTransport {
    SmtpTransport::builder_dangerous(rig.at.ip().to_string()).port(rig.at.port()).build()
}

/// What lettre puts on the wire for a message: a line end more, whatever the message ends with.
fn as_sent(message: &[u8]) -> Vec<u8> {
    [message, b"\r\n"].concat()
}

fn message(body: &str) -> Message {
    let to = ["a@example.org", "b@example.org"].map(|a| a.parse().unwrap());
    let builder = Message::builder().from("Me <me@example.org>".parse().unwrap()).subject("hello");
    to.into_iter().fold(builder, |b, to| b.to(to)).body(body.to_owned()).unwrap()
}

async fn send(
    rig: &Rig,
    message: Message,
) -> Result<lettre::transport::smtp::response::Response, lettre::transport::smtp::Error> {
    let transport = transport(rig);
    tokio::task::spawn_blocking(move || transport.send(&message)).await.unwrap()
}

#[tokio::test]
async fn lettre_s_message_arrives_byte_for_byte() {
    let rig = Rig::start().await;
    let message = message(".\r\n..dots\r\nand unicode: \u{fc}\u{4e2d}\r\n.");
    let sent = message.formatted();
    let reply = send(&rig, message).await.unwrap();
    assert_eq!(reply.code().to_string(), "250");
    assert!(reply.message().any(|l| l.contains("epoch=7 at=")), "{reply:?}");
    let stored = rig.messages();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0], as_sent(&sent));
}

#[tokio::test]
async fn lettre_takes_every_4xx_for_transient() {
    let rig = Rig::start().await;
    for delivery in
        [Delivery::NoSpace, Delivery::Unknown("demoted".into()), Delivery::Unavailable("disk".into())]
    {
        *rig.store.next.lock().unwrap() = Some(delivery);
        let error = send(&rig, message("x")).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
    }
    rig.suspend();
    assert!(send(&rig, message("x")).await.unwrap_err().is_transient());
    assert!(rig.messages().is_empty());
}

#[tokio::test]
async fn lettre_takes_a_refused_size_for_permanent() {
    let rig = Rig::with(Limits { message_bytes: 2000, ..Limits::default() }).await;
    let error = send(&rig, message(&"0123456789\r\n".repeat(1000))).await.unwrap_err();
    assert!(error.is_permanent(), "{error}");
}

#[tokio::test]
async fn lettre_keeps_a_connection_for_several_messages_of_eight_bits() {
    let rig = Rig::start().await;
    let at = rig.at;
    tokio::task::spawn_blocking(move || {
        let hello = ClientId::Domain("client.example".into());
        let mut connection = SmtpConnection::connect(at, None, &hello, None, None).unwrap();
        let address = |a: &str| a.parse().unwrap();
        let envelope = Envelope::new(Some(address("a@b.example")), vec![address("c@d.example")]).unwrap();
        for n in 0..3 {
            connection.send(&envelope, format!("n: {n}\r\n\r\n\u{e9}\r\n").as_bytes()).unwrap();
        }
        connection.quit().unwrap();
    })
    .await
    .unwrap();
    let messages = rig.messages();
    assert_eq!(messages.len(), 3);
    assert!(messages.contains(&as_sent("n: 1\r\n\r\n\u{e9}\r\n".as_bytes())));
}
