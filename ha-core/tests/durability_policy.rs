//! Standby and maintenance in the state store: kept through every crash, and nothing to older records.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use ha_core::api::StateStore;
use ha_core::store::FileStateStore;
use ha_core::store::medium::RecordingMedium;
use ha_core::{GroupId, InitId, NodeId, PolicyFlags, PolicyScope, StoreId};
use std::sync::Arc;

const ORDERS: [(PolicyScope, PolicyFlags); 4] = [
    (PolicyScope::Node(NodeId(0)), PolicyFlags { stamp: 1, standby: true, maintenance: false }),
    (PolicyScope::Cluster, PolicyFlags { stamp: 1, standby: false, maintenance: true }),
    (PolicyScope::Group(GroupId(3)), PolicyFlags { stamp: 7, standby: false, maintenance: true }),
    (PolicyScope::Node(NodeId(0)), PolicyFlags { stamp: 2, standby: false, maintenance: false }),
];

#[test]
fn an_acknowledged_order_outlives_every_power_cut() {
    let medium = RecordingMedium::new();
    medium.record();
    let mut store = FileStateStore::initialise(Arc::new(medium.clone()), InitId(7), StoreId(8)).unwrap();
    let mut record = store.load().unwrap();
    assert!(record.policy.is_silent());
    medium.mark(1);
    let mut records = vec![record.clone()];
    for (scope, flags) in ORDERS {
        record.policy.set(scope, flags);
        store.save(&record).unwrap();
        records.push(record.clone());
        medium.mark(records.len() as u64);
    }
    let mut looked = 0;
    for point in medium.crash_points() {
        for image in point.images(64, 1) {
            let opened = FileStateStore::open(Arc::new(RecordingMedium::from_image(&image)));
            let Ok(found) = opened.and_then(|mut store| store.load()) else {
                assert_eq!(point.mark(), 0, "{point:?}");
                continue;
            };
            let place = records.iter().position(|r| *r == found);
            assert!(place.is_some_and(|p| p as u64 + 1 >= point.mark()), "{point:?}: {found:?}");
            looked += 1;
        }
    }
    assert!(looked > 30, "{looked}");
}
