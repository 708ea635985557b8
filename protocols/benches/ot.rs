//! Rates of the oblivious transfers. Both parties run in one process; the time of an extension is
//! the processor time that one of them takes. OTs are consumed between extensions, untimed.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocols::ot::{Bootstrap, Extend, FerretExtend, Parameters, Setup, TreeDepth};
use protocols::{Block, Operator, bench};

use support::Parties;

mod support;

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3));
    targets = hash, transpose, streams, split, code, soft_spoken, ferret
}
criterion_main!(benches);

fn hash(c: &mut Criterion) {
    let mut group = c.benchmark_group("hash");
    for count in [16, 64, 1024, 1 << 16] {
        group.throughput(Throughput::Elements(count as u64));
        let (hash, mut blocks) = (bench::hash(), vec![Block(3); count]);
        group
            .bench_function(format!("{count} blocks"), |b| b.iter(|| hash(black_box(&mut blocks))));
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

fn split(c: &mut Criterion) {
    let mut group = c.benchmark_group("split");
    for half in [64, 1024, 4096] {
        group.throughput(Throughput::Elements(half));
        let mut split = bench::split(half as usize);
        group.bench_function(format!("{half} nodes"), |b| b.iter(|| black_box(split())));
    }
}

fn code(c: &mut Criterion) {
    const OUTPUTS: u64 = 1 << 13;
    let mut group = c.benchmark_group("code");
    group.throughput(Throughput::Elements(OUTPUTS));
    for log in 17..=20 {
        let mut code = bench::code(1 << log, OUTPUTS as usize);
        group.bench_function(format!("secret of 2^{log}"), |b| b.iter(|| black_box(code())));
    }
}

fn soft_spoken(c: &mut Criterion) {
    const COUNT: usize = 1 << 22;
    let half = COUNT / 2;
    let mut group = c.benchmark_group("softspoken");
    group.throughput(Throughput::Elements(COUNT as u64));
    for depth in [1, 2, 4, 8].into_iter().filter_map(TreeDepth::new) {
        let extend = Extend { depth, server: half, client: half };
        group.bench_function(format!("depth {depth}"), |b| {
            b.iter_custom(|times| rate(&Setup { depth }, &extend, times));
        });
    }
}

fn ferret(c: &mut Criterion) {
    const COUNT: usize = 1 << 23;
    let half = COUNT / 2;
    let mut group = c.benchmark_group("ferret");
    group.throughput(Throughput::Elements(COUNT as u64));
    for parameters in Parameters::all() {
        let extend = FerretExtend { parameters, server: half, client: half };
        group.bench_function(format!("set {parameters}"), |b| {
            b.iter_custom(|times| rate(&Bootstrap { parameters }, &extend, times));
        });
    }
}

/// The processor time, at one party, of `times` extensions of both pools.
fn rate<S, E>(setup: &S, extend: &E, times: u64) -> Duration
where
    S: Operator<Input = (), Output = ()> + Sync,
    E: Operator<Input = (), Output = ()> + Sync,
{
    let mut parties = Parties::new();
    parties.run(
        async |server| server.run(setup, ()).await,
        async |client| client.run(setup, ()).await,
    );
    let mut elapsed = Duration::ZERO;
    for _ in 0..times {
        let ((), (), taken) = parties.run(
            async |server| server.run(extend, ()).await,
            async |client| client.run(extend, ()).await,
        );
        elapsed += taken;
        bench::drain(&mut parties.server);
        bench::drain(&mut parties.client);
    }
    elapsed
}
