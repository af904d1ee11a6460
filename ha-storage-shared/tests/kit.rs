//! The arbiter kit of `ha-core` on a real file.
//!
//! The kit wants five nodes and names of its own; a disk has two nodes, and groups that were named when it was
//! initialised, of an installation that was. So its nodes use the two in turn, as several lives of each; its names stand
//! for places, and its random installation for the device's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use async_trait::async_trait;
use ha_core::api::{Arbiter, ArbiterError, ArbiterView, OwnerRecord, Swap};
use ha_core::testkit::arbiter::{Options, check_with};
use ha_core::{Epoch, Incarnation, InitId, NodeId};
use ha_storage_shared::{DiskArbiter, Initialisation};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use support::{INIT, directory};

const PLACES: usize = 64;

/// What stands for what.
#[derive(Default)]
struct Names {
    places: Mutex<BTreeMap<String, usize>>,
    kit: OnceLock<InitId>,
}

struct Life {
    disk: Arc<DiskArbiter>,
    names: Arc<Names>,
}

impl Life {
    fn place(&self, group: &str) -> String {
        let mut places = self.names.places.lock().unwrap();
        let next = places.len();
        places.entry(group.to_owned()).or_insert(next).to_string()
    }

    fn back(&self, mut view: ArbiterView) -> ArbiterView {
        if let (Some(record), Some(kit)) = (&mut view.record, self.names.kit.get()) {
            record.init = *kit;
        }
        view
    }
}

#[async_trait]
impl Arbiter for Life {
    fn name(&self) -> &str {
        self.disk.name()
    }
    fn lease(&self) -> Duration {
        self.disk.lease()
    }
    async fn read(&self, group: &str) -> Result<ArbiterView, ArbiterError> {
        self.disk.read(&self.place(group)).await.map(|view| self.back(view))
    }
    async fn swap(&self, group: &str, revision: u64, record: OwnerRecord) -> Result<Swap, ArbiterError> {
        self.names.kit.get_or_init(|| record.init);
        let mut record = record;
        record.init = INIT;
        match self.disk.swap(&self.place(group), revision, record).await? {
            Swap::Lost(view) => Ok(Swap::Lost(self.back(view))),
            done => Ok(done),
        }
    }
    async fn renew(&self, group: &str, incarnation: Incarnation, epoch: Epoch) -> Result<bool, ArbiterError> {
        self.disk.renew(&self.place(group), incarnation, epoch).await
    }
    async fn release(&self, group: &str, incarnation: Incarnation) -> Result<(), ArbiterError> {
        self.disk.release(&self.place(group), incarnation).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_passes_the_arbiter_kit() {
    let dir = directory();
    let path = dir.path().join("arbiter");
    let places = (0..PLACES).map(|place| place.to_string());
    DiskArbiter::initialise(&path, &Initialisation::new(INIT, places)).unwrap();
    let open = |node: u8| {
        let builder = DiskArbiter::builder(&path, NodeId(node), INIT);
        Arc::new(builder.lease(Duration::from_millis(1200)).deadline(Duration::from_secs(1)).open().unwrap())
    };
    let disks = [open(0), open(1)];
    let names = Arc::new(Names::default());
    let made = Mutex::new(0);
    let make = || {
        let mut made = made.lock().unwrap();
        *made += 1;
        Life { disk: Arc::clone(&disks[*made % 2]), names: Arc::clone(&names) }
    };
    match check_with(Options::default(), make).await {
        Ok(report) => println!("{report}"),
        Err(failed) => panic!("{failed}"),
    }
}
