//! How fast the simulator is. Printed, not asserted: `cargo test --release -p ha-core --test scenarios throughput --
//! --ignored --nocapture`.

#![expect(clippy::disallowed_types, reason = "real time is printed")]

use crate::support::*;
use ha_core::config::{Config, FenceConfig, LinkConfig, TimingConfig};
use ha_core::engine::Protection;
use ha_core::sim::Cluster;
use std::time::Instant;

/// Three links at 100 ms.
fn hundred() -> Config {
    let mut config = Config::pair("speed", "a", "b")
        .link(LinkConfig::datagram("net0", ms(100), ms(500)))
        .link(LinkConfig::datagram("net1", ms(100), ms(500)))
        .link(LinkConfig::datagram("net2", ms(100), ms(500)))
        .fence(FenceConfig::new(ms(200)));
    config.timing = TimingConfig::for_links(&config.links, config.fence.as_ref());
    config
}

fn measure(what: &str, config: Config) {
    let mirrored = config.groups[0].mirrored;
    let mut cluster = fresh(1, config);
    let began = Instant::now();
    cluster.run_for(seconds(3600));
    let wall = began.elapsed().as_secs_f64();
    owns(&cluster, 0, MAIL);
    if mirrored {
        protected(&cluster, 0, MAIL, Protection::Full);
    }
    println!("{what}: 1 h in {wall:.2} s = {:.2} cluster-hours per second and core", 1.0 / wall);
}

#[test]
#[ignore = "needs a release build to mean anything: prints figures"]
fn throughput_of_a_quiet_pair_with_three_links_at_100_ms() {
    measure("no mirror", hundred().group(group("mail", 0)));
    measure("mirror and clients", hundred().group(group("mail", 0).mirrored()));
}

#[test]
#[ignore = "needs a release build to mean anything: prints figures"]
fn throughput_under_faults() {
    let config = hundred().group(group("mail", 0).mirrored());
    let found = Cluster::from_config(config).run(0..1000).unwrap();
    assert!(found.is_sound(), "{found}");
    println!("{found}");
}
