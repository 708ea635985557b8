//! Rates of operators on shares. Both parties run in one process; the time is half the processor
//! time that they take together, the system's included: what one party takes of one core, however
//! busy the machine is.
//!
//! `filled`: the pools hold the OTs. `whole`: the OTs are extended, too.

use std::time::{Duration, SystemTime};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use protocols::ops::{Form, Requant};
use protocols::ot::{Extend, Setup, TreeDepth};
use protocols::{Bits, Channel, Limits, Operator, Role, Session, Share};

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3));
    targets = requant, relu
}
criterion_main!(benches);

const LEN: usize = 1 << 16;

fn requant(c: &mut Criterion) {
    let mut group = c.benchmark_group("requant l=14 k=7 a=4 m=14");
    group.throughput(Throughput::Elements(LEN as u64));
    for (form, and_depth) in [2, 4, 6, 8, 16]
        .map(|and_depth| (Form::Narrow, and_depth))
        .into_iter()
        .chain([(Form::Wide, 2)])
    {
        let op = Requant {
            len: LEN,
            ring: Bits::of(14),
            shift: 7,
            bits: 4,
            low: 0,
            out: Bits::of(14),
            and_depth,
            form,
        };
        measure(&mut group, &format!("{form:?} and_depth {and_depth}"), op);
    }
}

fn relu(c: &mut Criterion) {
    let mut group = c.benchmark_group("relu");
    group.throughput(Throughput::Elements(LEN as u64));
    for bits in [8, 16] {
        let ring = Bits::of(bits);
        let op = Requant {
            len: LEN,
            ring,
            shift: 0,
            bits: bits - 1,
            low: 0,
            out: ring,
            and_depth: bits,
            form: Form::Narrow,
        };
        measure(&mut group, &format!("{bits} bit"), op);
    }
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, op: Requant) {
    group.bench_function(format!("{name}, filled"), |b| b.iter_custom(|times| run(op, times).1));
    group.bench_function(format!("{name}, whole"), |b| {
        b.iter_custom(|times| {
            let (ots, operator) = run(op, times);
            ots + operator
        });
    });
}

/// Half the processor time of `times` extensions, and of as many runs of the operator.
fn run(op: Requant, times: u64) -> (Duration, Duration) {
    let depth = TreeDepth::new(4).expect("a depth");
    let cost = op.cost();
    let extend =
        Extend { depth, server: cost.server_cots as usize, client: cost.client_cots as usize };
    let setup = Setup { depth };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (left, right) = Channel::pair(Limits::default());
        let mut server = Session::new(Role::Server, left, [1; 32], [2; 32]);
        let mut client = Session::new(Role::Client, right, [1; 32], [3; 32]);
        let ready = tokio::join!(server.run(&setup, ()), client.run(&setup, ()));
        assert!(ready.0.is_ok() && ready.1.is_ok());
        let (mut ots, mut operator) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..times {
            let start = processor_time();
            let done = tokio::join!(server.run(&extend, ()), client.run(&extend, ()));
            let extended = processor_time();
            assert!(done.0.is_ok() && done.1.is_ok());
            let share = || {
                Share::new(
                    op.ring,
                    (0..op.len as u64).map(|i| i.wrapping_mul(0x9E37_79B9)).collect(),
                )
            };
            let (mine, yours) = (share(), share());
            let shared = processor_time();
            let done = tokio::join!(server.run(&op, mine), client.run(&op, yours));
            let ended = processor_time();
            assert!(done.0.is_ok() && done.1.is_ok());
            ots += extended - start;
            operator += ended - shared;
        }
        (ots / 2, operator / 2)
    })
}

/// The time that the threads of this process have run for, as Linux tells it; elsewhere, the time
/// since the epoch.
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
