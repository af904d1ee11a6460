use super::*;
use crate::TokenCell;
use crate::api::{Clock, DataReports, DataSync, Resource, Undo};
use crate::config::{Config, GroupConfig, ResourceConfig};
use crate::engine::{AckRule, DataReport, Health};
use crate::runtime::BootClock;
use crate::runtime::agents::{Offered, match_agents};
use crate::{Generation, Lsn};
use async_trait::async_trait;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A service whose calls write a diary, and whose start waits until it is let go.
#[derive(Default)]
struct Service {
    diary: Mutex<Vec<&'static str>>,
    gate: Notify,
    gated: AtomicBool,
    stop_fails: AtomicBool,
}

impl Service {
    fn note(&self, what: &'static str) {
        self.diary.lock().unwrap().push(what);
    }
    fn diary(&self) -> Vec<&'static str> {
        self.diary.lock().unwrap().clone()
    }
}

#[async_trait]
impl Resource for Service {
    fn name(&self) -> &str {
        "smtp"
    }
    async fn start(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        self.note("start");
        if self.gated.load(Ordering::SeqCst) {
            self.gate.notified().await;
        }
        self.note(if ctx.is_cancelled() { "started late" } else { "started" });
        Ok(())
    }
    async fn stop(&self, _: &Ctx) -> Result<(), ResourceError> {
        self.note("stop");
        if self.stop_fails.load(Ordering::SeqCst) {
            Err(ResourceError::new("smtp", "will not"))
        } else {
            Ok(())
        }
    }
    async fn monitor(&self, _: &Ctx) -> Health {
        panic!("the agent has a bug");
    }
}

struct Store;

#[async_trait]
impl DataSync for Store {
    async fn promote(&self, ctx: &Ctx, rule: AckRule) -> Result<(), ResourceError> {
        assert_eq!((ctx.epoch(), rule), (Epoch(3), AckRule::Both(Generation(1))));
        Ok(())
    }
    async fn demote(&self, _: &Ctx) -> Result<Option<Lsn>, ResourceError> {
        Ok(Some(Lsn(9)))
    }
    fn acknowledge(&self, _: Epoch, _: AckRule) {}
    fn force_current(&self) {}
    fn surrender(&self) {}
    fn report(&self) -> DataReport {
        DataReport::default()
    }
    fn subscribe(&self, _: DataReports) {}
}

struct Bench {
    operations: Operations,
    arrivals: UnboundedReceiver<Arrival>,
    service: Arc<Service>,
}

fn bench() -> Bench {
    bench_on(Handle::current())
}

fn bench_on(handle: Handle) -> Bench {
    let group = GroupConfig::new("mail").mirrored().then(ResourceConfig::new("smtp"));
    let config = Config::pair("post", "left", "right").group(group);
    let service = Arc::new(Service::default());
    let offered = Offered {
        tokens: Vec::new(),
        data: vec![("mail".into(), Arc::new(Store))],
        resources: vec![("mail".into(), service.clone())],
    };
    let mut problems = Vec::new();
    let agents = Arc::new(match_agents(&config, offered, &mut problems));
    assert_eq!(problems, []);
    let around = Surroundings { clock: Arc::new(BootClock), handle, guardian: None };
    let (tx, arrivals) = unbounded_channel();
    Bench { operations: Operations::new(around, agents, tx), arrivals, service }
}

impl Bench {
    fn begin(&mut self, op: u64, kind: OpKind) {
        let data = matches!(kind, OpKind::Promote(_) | OpKind::Demote);
        let target = if data { OpTarget::Data } else { OpTarget::Resource(0) };
        let deadline = BootClock.now() + Duration::from_secs(60);
        self.operations.begin(Order {
            op: OpId(op),
            group: GroupId(0),
            target,
            kind,
            epoch: Epoch(3),
            deadline,
            proof: None,
        });
    }

    /// The next thing that the engine is told.
    async fn told(&mut self) -> (OpId, OpResult) {
        loop {
            let Some(Arrival::OpDone { op, result }) = self.arrivals.recv().await else {
                panic!("no completion")
            };
            if let Some(result) = self.operations.completed(op, result) {
                return (op, result);
            }
        }
    }

    async fn wait_for(&self, what: &str) {
        while !self.service.diary().contains(&what) {
            tokio::task::yield_now().await;
        }
    }
}

const DONE: OpResult = OpResult::Done { final_lsn: None };

#[tokio::test]
async fn each_operation_is_told_once_with_its_result() {
    let mut b = bench();
    b.begin(1, OpKind::Start);
    assert_eq!(b.told().await, (OpId(1), DONE));
    b.begin(2, OpKind::Promote(AckRule::Both(Generation(1))));
    assert_eq!(b.told().await, (OpId(2), DONE));
    b.begin(3, OpKind::Demote);
    assert_eq!(b.told().await, (OpId(3), OpResult::Done { final_lsn: Some(Lsn(9)) }));
    assert!(b.operations.running.is_empty() && b.arrivals.try_recv().is_err());
}

#[tokio::test]
async fn a_panicking_agent_is_a_failed_operation() {
    let mut b = bench();
    b.begin(1, OpKind::Monitor);
    assert_eq!(b.told().await, (OpId(1), OpResult::Failed));
}

#[tokio::test]
async fn a_start_that_succeeds_after_it_was_given_up_is_stopped_before_the_engine_hears_of_it() {
    let mut b = bench();
    b.service.gated.store(true, Ordering::SeqCst);
    b.begin(1, OpKind::Start);
    b.wait_for("start").await;
    b.operations.cancel(OpId(1));
    b.service.gate.notify_one();
    assert_eq!(b.told().await, (OpId(1), OpResult::Failed));
    assert_eq!(b.service.diary(), ["start", "started late", "stop"]);
}

#[tokio::test]
async fn a_late_start_that_cannot_be_taken_back_is_told_as_what_it_is() {
    let mut b = bench();
    b.service.gated.store(true, Ordering::SeqCst);
    b.service.stop_fails.store(true, Ordering::SeqCst);
    b.begin(1, OpKind::Start);
    b.operations.cancel(OpId(1));
    b.service.gate.notify_one();
    assert_eq!(b.told().await, (OpId(1), DONE));
}

#[tokio::test]
async fn a_late_start_does_not_take_down_the_newer_one() {
    let mut b = bench();
    b.service.gated.store(true, Ordering::SeqCst);
    b.begin(1, OpKind::Start);
    b.wait_for("start").await;
    b.operations.cancel(OpId(1));
    b.service.gated.store(false, Ordering::SeqCst);
    b.begin(2, OpKind::Start);
    assert_eq!(b.told().await, (OpId(2), DONE));
    b.service.gate.notify_one();
    assert_eq!(b.told().await, (OpId(1), DONE));
    assert!(!b.service.diary().contains(&"stop"), "{:?}", b.service.diary());
}

#[test]
fn the_end_of_the_application_runtime_fails_what_ran_on_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut b = bench_on(runtime.handle().clone());
    b.begin(1, OpKind::Start);
    drop(runtime);
    b.begin(2, OpKind::Start);
    for _ in 0..2 {
        assert!(matches!(b.arrivals.try_recv(), Ok(Arrival::OpDone { result: OpResult::Failed, .. })));
    }
}

#[tokio::test]
async fn an_operation_takes_time_and_tasks_from_its_environment() {
    let around = Surroundings { clock: Arc::new(BootClock), handle: Handle::current(), guardian: None };
    let environment = AgentEnvironment::new(around, GroupId(0));
    let deadline = BootClock.now() + Duration::from_millis(1);
    let ctx = Ctx::new(Arc::new(environment), Epoch(1), deadline, TokenCell::new(GroupId(0)));
    let (tx, rx) = tokio::sync::oneshot::channel();
    let inner = ctx.clone();
    ctx.spawn(async move {
        inner.sleep(Duration::from_millis(2)).await;
        let _ = tx.send(inner.now());
    });
    assert!(rx.await.unwrap() > deadline);
    assert_eq!(ctx.remaining(), Duration::ZERO);
    assert_eq!(ctx.remember_undo(Undo { kind: "test".into(), version: 1, bytes: vec![] }), Ok(()));
}
