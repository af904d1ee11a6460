//! What a step of the engine costs: a beat received, and a tick that sends one, by the number of groups.
//!
//! `cargo bench -p ha-core --bench engine`. Times hold the reading of the clock, about 25 ns.

#[path = "../tests/engine_duo/mod.rs"]
mod engine_duo;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use engine_duo::{Duo, Spent};
use std::time::Duration;

const GROUPS: [usize; 4] = [1, 100, 1_000, 10_000];

/// `iters` steps of node 0, of the kind that `count` counts and `time` times.
fn steps(duo: &mut Duo, iters: u64, count: fn(&Spent) -> u64, time: fn(&Spent) -> Duration) -> Duration {
    let before = duo.spent(0);
    while count(&duo.spent(0)) < count(&before) + iters {
        duo.advance();
    }
    let after = duo.spent(0);
    let span = time(&after) - time(&before);
    // Some more steps than asked for may have been taken.
    span.mul_f64(iters as f64 / (count(&after) - count(&before)) as f64)
}

fn engine(c: &mut Criterion) {
    for (side, own) in [("standby", 0), ("owner of one", 1)] {
        let mut group = c.benchmark_group(side);
        for groups in GROUPS {
            let preferred: Vec<u8> = (0..groups).map(|n| u8::from(n >= own)).collect();
            let mut duo = Duo::at_rest(&preferred);
            group.bench_function(BenchmarkId::new("beat received", groups), |b| {
                b.iter_custom(|iters| steps(&mut duo, iters, |s| s.beats, |s| s.on_beats));
            });
            group.bench_function(BenchmarkId::new("tick", groups), |b| {
                b.iter_custom(|iters| steps(&mut duo, iters, |s| s.ticks, |s| s.on_ticks));
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = engine
}
criterion_main!(benches);
