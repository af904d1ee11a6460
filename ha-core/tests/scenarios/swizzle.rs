//! 41: paths clogged one by one and freed in another order.

use crate::support::*;
use ha_core::sim::{Cluster, Scenario, recovery_bound};

#[test]
fn s041_swizzle_clog_keeps_every_invariant_and_ends_whole_within_the_bound() {
    for config in [pair(), mutual(), plain()] {
        let bound = recovery_bound(&config);
        let campaign = Cluster::from_config(config).planned_by(Scenario::swizzle_clog);
        let found = campaign.run(0..60).unwrap();
        assert!(found.is_sound(), "{found}");
        assert!(found.probes.count("fault", "Clog") > 200, "{found}");
        assert!(found.slowest_recovery <= bound, "{found}");
        println!("{found}");
    }
}
