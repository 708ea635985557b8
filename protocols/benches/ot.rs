//! Rates of the oblivious transfers. Both parties run in one process; the time of an extension is the processor time that
//! one of them takes. Transfers are consumed between extensions, untimed.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocols::ot::{Extend, Setup, TreeDepth};
use protocols::{Block, bench};

use support::Parties;

mod support;

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3));
    targets = hash, transpose, streams, soft_spoken
}
criterion_main!(benches);

fn hash(c: &mut Criterion) {
    let mut group = c.benchmark_group("hash");
    for count in [16, 64, 1024, 1 << 16] {
        group.throughput(Throughput::Elements(count as u64));
        let (hash, mut blocks) = (bench::hash(), vec![Block(3); count]);
        group.bench_function(format!("{count} blocks"), |b| b.iter(|| hash(black_box(&mut blocks))));
    }
}

fn transpose(c: &mut Criterion) {
    let mut group = c.benchmark_group("transpose");
    group.throughput(Throughput::Elements(4096));
    let mut transpose = bench::transpose();
    group.bench_function("128 x 4096", |b| b.iter(|| black_box(transpose())));
}

fn streams(c: &mut Criterion) {
    let mut group = c.benchmark_group("streams");
    for depth in [1, 2, 4, 8] {
        group.throughput(Throughput::Elements(32 << depth));
        let mut streams = bench::streams(depth);
        group.bench_function(format!("depth {depth}"), |b| b.iter(|| black_box(streams())));
    }
}

fn soft_spoken(c: &mut Criterion) {
    const COUNT: usize = 1 << 22;
    let mut group = c.benchmark_group("softspoken");
    group.throughput(Throughput::Elements(COUNT as u64));
    for depth in [1, 2, 4, 8].into_iter().filter_map(TreeDepth::new) {
        group
            .bench_function(format!("depth {depth}"), |b| b.iter_custom(|times| extend(depth, COUNT, times)));
    }
}

/// The processor time, at one party, of `times` extensions by `count` transfers, half of them in each direction.
fn extend(depth: TreeDepth, count: usize, times: u64) -> Duration {
    let half = count / 2;
    let (setup, extend) = (Setup { depth }, Extend { depth, server: half, client: half });
    let mut parties = Parties::new();
    parties.run(async |server| server.run(&setup, ()).await, async |client| client.run(&setup, ()).await);
    let mut elapsed = Duration::ZERO;
    for _ in 0..times {
        let ((), (), taken) = parties
            .run(async |server| server.run(&extend, ()).await, async |client| client.run(&extend, ()).await);
        elapsed += taken;
        bench::drain(&mut parties.server);
        bench::drain(&mut parties.client);
    }
    elapsed
}
