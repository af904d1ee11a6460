//! What a step of the engine costs: a beat received, and a tick, which mostly sends one on each of two links. On
//! the standby and on the owner of all groups, by the number of groups.
//!
//! `cargo bench -p ha-core --bench engine`. Times hold the reading of the clock, about 25 ns. Of each hundred steps
//! the slowest is left out: it tells when the machine did something else.

#[path = "../tests/engine_duo/mod.rs"]
mod engine_duo;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use engine_duo::{Duo, Kind};
use std::time::Duration;

const GROUPS: [usize; 5] = [1, 16, 100, 1_000, 10_000];

const STANDBY: usize = 0;
const OWNER: usize = 1;

/// What `iters` steps take, by the mean of the fastest ninety-nine of a hundred.
fn steps(duo: &mut Duo, node: usize, kind: Kind, iters: u64) -> Duration {
    let mut took = duo.measure(node, kind, iters.max(100));
    took.sort_unstable();
    took.truncate(took.len() - took.len() / 100);
    let sum: Duration = took.iter().sum();
    sum.mul_f64(iters as f64 / took.len() as f64)
}

fn engine(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine");
    for groups in GROUPS {
        let mut duo = Duo::at_rest(&vec![OWNER as u8; groups]);
        for (side, node) in [("standby", STANDBY), ("owner", OWNER)] {
            for (what, kind) in [("beat received", Kind::Beat), ("tick", Kind::Tick)] {
                group.bench_function(BenchmarkId::new(format!("{side}, {what}"), groups), |b| {
                    b.iter_custom(|iters| steps(&mut duo, node, kind, iters));
                });
            }
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = engine
}
criterion_main!(benches);
