//! A node as a process of its own in a namespace, to be frozen and killed.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

use super::Space;
use super::serving::{Serving, specs};
use ha_core::Undo;
use ha_vip::VirtualIp;
use ha_vip::kernel::NetNamespace;
use ha_vip::linux::{LinuxBuilder, VirtualMac};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SPECS: &str = "HA_VIP_TEST_SPECS";
const LIFETIME: &str = "HA_VIP_TEST_LIFETIME_MS";
const GATE: &str = "HA_VIP_TEST_GATE_MS";
const TOKEN: &str = "HA_VIP_TEST_TOKEN_MS";
/// The name of the namespace, if the process is to serve in another one than its own; then with everything that a
/// resource can have.
const EVERYTHING_IN: &str = "HA_VIP_TEST_EVERYTHING_IN";
/// The port that it listens on.
pub const PORT: u16 = 2525;

/// What the process does.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    pub specs: &'a str,
    pub lifetime: Duration,
    pub gate: Option<Duration>,
    /// Its permission, renewed ten times within; `None` does not end.
    pub token: Option<Duration>,
}

pub struct Process {
    child: Child,
    /// What it stored at its guardian.
    pub undo: Undo,
}

impl Process {
    /// Starts the test `name` of this binary in the namespace; returns when it serves.
    pub fn start(space: &Space, name: &str, node: Node<'_>) -> Self {
        let mut command = space.command(std::env::current_exe().unwrap().to_str().unwrap());
        Self::spawn(&mut command, name, node)
    }

    /// Starts the test `name` outside of the namespace, serving inside, with everything that a resource can have.
    pub fn start_with_everything(space: &Space, name: &str, node: Node<'_>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        Self::spawn(command.env(EVERYTHING_IN, &space.name), name, node)
    }

    pub fn spawn(command: &mut Command, name: &str, node: Node<'_>) -> Self {
        command.args(["--ignored", "--exact", name, "--nocapture"]);
        command.env(SPECS, node.specs).env(LIFETIME, node.lifetime.as_millis().to_string());
        for (variable, span) in [(GATE, node.gate), (TOKEN, node.token)] {
            if let Some(span) = span {
                command.env(variable, span.as_millis().to_string());
            }
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let bytes =
            lines.by_ref().find_map(|line| line.split_once("undo step ").map(|(_, hex)| hex.to_owned()));
        let ready = lines.any(|line| line.contains("serving now"));
        // It writes nothing more, and nobody reads.
        let mut this =
            Self { child, undo: Undo { kind: "ha-vip/address".into(), version: 1, bytes: Vec::new() } };
        assert!(ready, "the process ended before it served");
        let hex = bytes.unwrap();
        this.undo.bytes =
            (0..hex.len() / 2).map(|n| u8::from_str_radix(&hex[2 * n..][..2], 16).unwrap()).collect();
        this
    }

    pub fn signal(&self, signal: &str) {
        super::run("kill", &[signal, &self.child.id().to_string()]);
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn with_everything(builder: LinuxBuilder) -> LinuxBuilder {
    builder
        .virtual_mac(VirtualMac::vrrp(51))
        .route("10.99.0.0/16 via 10.77.0.2 dev lan0 table 100".parse().unwrap())
        .rule("from 10.77.0.100/32 table 100 priority 1000".parse().unwrap())
}

/// The body of the test that is the process: serves until its standard input ends.
pub fn serve() {
    let Ok(addresses) = std::env::var(SPECS) else { return };
    let span = |name| std::env::var(name).ok().map(|ms| Duration::from_millis(ms.parse().unwrap()));
    let serving = Serving::new(|| {
        let texts: Vec<&str> = addresses.split(' ').collect();
        let builder = VirtualIp::linux("address", specs(&texts)).lifetime(span(LIFETIME).unwrap());
        let builder = match std::env::var(EVERYTHING_IN) {
            Ok(space) => with_everything(builder.namespace(NetNamespace::named(&space))),
            Err(_) => builder,
        };
        let builder = span(GATE).into_iter().fold(builder, |builder, gate| builder.gate(gate));
        let address = builder.build().unwrap_or_else(|error| panic!("{error}"));
        for own in address.addresses() {
            let source = address.accept_source_at((*own, PORT).into()).unwrap();
            tokio::spawn(async move { while source.accept().await.is_ok() {} });
        }
        address
    });
    if let Some(valid) = span(TOKEN) {
        serving.permit(valid);
        let token = serving.token.clone();
        std::thread::spawn(move || {
            loop {
                use ha_core::api::Clock;
                let now = ha_core::runtime::BootClock.now();
                // As an engine: a permission that ran out is not renewed without being confirmed, and nobody confirms.
                if token.check(now).is_ok() {
                    token.set(ha_core::Epoch(1), now + valid);
                }
                std::thread::sleep(valid / 10);
            }
        });
    }
    let undo = serving.undo().unwrap();
    println!("undo step {}", undo.bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    serving.start().unwrap();
    println!("serving now");
    let mut nothing = String::new();
    let _ended = std::io::stdin().read_line(&mut nothing);
    serving.stop().unwrap();
}
