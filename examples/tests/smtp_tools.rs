//! The real server with the clients that operators use. Run by `scripts/test-real`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod smtp_support;

use ha_examples::smtp::Limits;
use smtp_support::*;
use std::process::Output;
use tokio::process::Command;

async fn run(command: &mut Command) -> (Output, String) {
    let output = command.kill_on_drop(true).output().await.expect("the program is installed");
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output, said)
}

fn swaks(rig: &Rig) -> Command {
    let mut command = Command::new("swaks");
    command.args(["--server", &rig.at.ip().to_string(), "--port", &rig.at.port().to_string()]);
    command.args([
        "--helo",
        "client.example",
        "--from",
        "a@example.org",
        "--to",
        "b@example.org,c@example.org",
    ]);
    command
}

fn curl(rig: &Rig, file: &std::path::Path) -> Command {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--verbose",
        "--crlf",
        &format!("smtp://{}/client.example", rig.at),
    ]);
    command.args(["--mail-from", "a@example.org", "--mail-rcpt", "b@example.org", "--upload-file"]).arg(file);
    command
}

#[tokio::test]
#[ignore = "needs swaks and curl"]
async fn swaks_delivers_dots_and_eight_bits() {
    let rig = Rig::start().await;
    let (output, said) =
        run(swaks(&rig).args(["--data", "Subject: hello\\n\\n.dot\\n..dots\\n\u{fc}ml\u{e4}ut\\n"])).await;
    assert!(output.status.success(), "{said}");
    assert!(said.contains("epoch=7 at="), "{said}");
    let stored = rig.messages();
    assert_eq!(stored.len(), 1);
    let text = String::from_utf8_lossy(&stored[0]);
    assert!(text.contains("\r\n.dot\r\n..dots\r\n\u{fc}ml\u{e4}ut\r\n"), "{text}");
}

#[tokio::test]
#[ignore = "needs swaks and curl"]
async fn swaks_pipelines() {
    let rig = Rig::start().await;
    let (output, said) = run(swaks(&rig).arg("--pipeline")).await;
    assert!(output.status.success(), "{said}");
    assert_eq!(rig.messages().len(), 1);
}

#[tokio::test]
#[ignore = "needs swaks and curl"]
async fn swaks_reports_a_node_without_permission() {
    let rig = Rig::start().await;
    rig.suspend();
    let (output, said) = run(&mut swaks(&rig)).await;
    assert!(!output.status.success() && said.contains("421 4.3.2"), "{said}");
    assert!(rig.messages().is_empty());
}

#[tokio::test]
#[ignore = "needs swaks and curl"]
async fn curl_delivers_byte_for_byte_and_hears_of_the_size_limit() {
    let rig = Rig::with(Limits { message_bytes: 10_000, ..Limits::default() }).await;
    let file = rig.dir.path().join("message");
    let message = "Subject: hello\n\n.dot\n.\n..\n\u{fc}\n";
    std::fs::write(&file, message).unwrap();
    let (output, said) = run(&mut curl(&rig, &file)).await;
    assert!(output.status.success(), "{said}");
    assert_eq!(rig.messages(), [message.replace('\n', "\r\n").into_bytes()]);
    std::fs::write(&file, "0123456789\n".repeat(2000)).unwrap();
    let (output, said) = run(&mut curl(&rig, &file)).await;
    assert!(!output.status.success() && said.contains("552 5.3.4"), "{said}");
    assert_eq!(rig.messages().len(), 1);
}
