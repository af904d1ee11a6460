//! The agents and the device of `mail-pair` pass the checks that every agent and device must pass. This program is
//! also the processes that they start, so it has a `main` of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod testkit_chassis;
mod testkit_processes;

use async_trait::async_trait;
use bytes::Bytes;
use ha_core::Incarnation;
use ha_core::api::{Ctx, Resource, ResourceError, Undo};
use ha_core::engine::Health;
use ha_core::runtime::BootClock;
use ha_core::testkit::fence::FenceTest;
use ha_core::testkit::resource::ResourceTest;
use ha_examples::node::Sidecar;
use ha_examples::smtp::{Delivery, Envelope, Identity, MessageStore, Permit, Service};
use ha_vip::{AcceptSource, Loopback, VirtualIp};
use rustix::process::{Pid, Signal, kill_process_group};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use testkit_chassis::Chassis;
use testkit_processes::{living, until};

const TESTS: [(&str, fn()); 3] = [
    ("the_sidecar_passes_the_kit", the_sidecar_passes_the_kit),
    ("the_mail_service_passes_the_kit", the_mail_service_passes_the_kit),
    ("the_chassis_fence_passes_the_kit", the_chassis_fence_passes_the_kit),
];

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn the_sidecar_passes_the_kit() {
    let sidecars = || living(&["__sidecar"]);
    let end = |pid: i32| {
        let _gone_already = kill_process_group(Pid::from_raw(pid).unwrap(), Signal::KILL);
    };
    // What the guardian does with the step: the process leads a group of its own.
    let take_back = |undo: &Undo| {
        let leader = undo.bytes.first_chunk::<4>().ok_or("a step without a process")?;
        end(i32::from_le_bytes(*leader));
        until("the end of the group", || sidecars().is_empty());
        Ok(())
    };
    let test = ResourceTest::new(|| Arc::new(Sidecar::new("sidecar")) as Arc<dyn Resource>)
        .left_behind(|| sidecars().iter().map(|pid| format!("process {pid}")).collect())
        .taken_back_by(take_back)
        .broken_by(|| sidecars().into_iter().for_each(end));
    let report = runtime().block_on(test.run()).unwrap_or_else(|failed| panic!("{failed}"));
    assert_eq!((report.passed.len(), report.skipped.len()), (11, 0), "{report}");
}

/// Takes nothing. Whoever serves with it holds it.
struct Refuses;

#[async_trait]
impl MessageStore for Refuses {
    async fn deliver(&self, _: &Permit, _: &Envelope, _: Bytes) -> Delivery {
        Delivery::NoSpace
    }
}

/// The service with its address, as in its group: without one there would be nothing to serve.
struct Mail {
    address: VirtualIp,
    _source: AcceptSource,
    service: Service,
}

#[async_trait]
impl Resource for Mail {
    fn name(&self) -> &str {
        self.service.name()
    }

    async fn start(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        self.address.start(ctx).await?;
        self.service.start(ctx).await
    }

    async fn stop(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        self.service.stop(ctx).await?;
        self.address.stop(ctx).await
    }

    async fn monitor(&self, ctx: &Ctx) -> Health {
        self.service.monitor(ctx).await
    }
}

fn the_mail_service_passes_the_kit() {
    let at: SocketAddr = TcpListener::bind("127.0.0.13:0").unwrap().local_addr().unwrap();
    let who = || Identity { node: "n1".into(), incarnation: Incarnation(7) };
    // Each life's store: its service holds it once, and a server or a client's connection once more.
    let stores: Mutex<Vec<Weak<Refuses>>> = Mutex::default();
    let addresses: Mutex<Vec<Weak<Mail>>> = Mutex::default();
    let make = || -> Arc<dyn Resource> {
        let store = Arc::new(Refuses);
        stores.lock().unwrap().push(Arc::downgrade(&store));
        let address = VirtualIp::new("address", at.ip(), Arc::new(Loopback::new())).unwrap();
        let source = address.accept_source(at.port()).unwrap();
        let service = Service::new("mail", source.clone(), who(), store, Arc::new(BootClock));
        let mail = Arc::new(Mail { address, _source: source, service });
        addresses.lock().unwrap().push(Arc::downgrade(&mail));
        mail
    };
    let left = || {
        let held = stores.lock().unwrap().iter().filter(|store| store.strong_count() > 1).count();
        let answers = std::net::TcpStream::connect(at).is_ok().then(|| format!("{at} answers"));
        answers.into_iter().chain((held > 0).then(|| format!("{held} servers"))).collect()
    };
    // The address goes away under the service.
    let break_it = || {
        let running: Vec<_> = addresses.lock().unwrap().iter().filter_map(Weak::upgrade).collect();
        for mail in running {
            let (environment, token) =
                (Arc::new(ha_core::runtime::Unguarded), ha_core::TokenCell::new(ha_core::GroupId(0)));
            let ctx = Ctx::new(environment, ha_core::Epoch(1), ha_core::Instant::FAR, token);
            // From outside: a runtime of its own.
            let stop = || runtime().block_on(mail.address.stop(&ctx)).unwrap();
            std::thread::scope(|scope| scope.spawn(stop).join()).unwrap();
        }
    };
    let test = ResourceTest::new(make).left_behind(left).broken_by(break_it);
    let report = runtime().block_on(test.run()).unwrap_or_else(|failed| panic!("{failed}"));
    assert_eq!((report.passed.len(), report.skipped.len()), (11, 0), "{report}");
}

fn the_chassis_fence_passes_the_kit() {
    let chassis = Chassis::start();
    let device = Arc::new(chassis.fence());
    let budget = Duration::from_millis(2500);
    let test = FenceTest::new(device, Chassis::NODE, budget, || chassis.is_on(), || chassis.turn_on())
        .cut_off_by(|cut| chassis.be_deaf(cut));
    let report = runtime().block_on(test.run()).unwrap_or_else(|failed| panic!("{failed}"));
    assert_eq!((report.passed.len(), report.skipped.len()), (7, 0), "{report}");
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("__sidecar") => ha_examples::node::sidecar_main(),
        Some("__chassis") => ha_examples::chassis::main(&arguments[1..]),
        Some("__idle") => loop {
            std::thread::park();
        },
        _ => testkit_processes::harness(&TESTS, &arguments),
    }
}
