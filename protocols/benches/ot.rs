//! Rates of the oblivious transfers. Both parties run in one process. The time of an extension is half the processor time
//! that they take together, the system's included: what one party takes of one core, however busy the machine is. Transfers are consumed between extensions, untimed.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocols::ot::{Bootstrap, Extend, FerretExtend, Parameters, Setup, TreeDepth};
use protocols::{Block, Channel, Limits, Operator, Role, Session, bench};

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
    for log in 16..=19 {
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

/// Half the processor time of `times` extensions of both pools.
fn rate<S, E>(setup: &S, extend: &E, times: u64) -> Duration
where
    S: Operator<Input = (), Output = ()>,
    E: Operator<Input = (), Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (left, right) = Channel::pair(Limits::default());
        let mut server = Session::new(Role::Server, left, [1; 32], [2; 32]);
        let mut client = Session::new(Role::Client, right, [1; 32], [3; 32]);
        let ready = tokio::join!(server.run(setup, ()), client.run(setup, ()));
        assert!(ready.0.is_ok() && ready.1.is_ok());
        let mut elapsed = Duration::ZERO;
        for _ in 0..times {
            let start = processor_time();
            let done = tokio::join!(server.run(extend, ()), client.run(extend, ()));
            elapsed += processor_time() - start;
            assert!(done.0.is_ok() && done.1.is_ok());
            bench::drain(&mut server);
            bench::drain(&mut client);
        }
        elapsed / 2
    })
}

/// The time that the threads of this process have run for, as Linux tells it; elsewhere, the time since the epoch.
fn processor_time() -> Duration {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    };
    let nanoseconds = threads.flatten().filter_map(|thread| {
        let statistics = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        statistics.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}
