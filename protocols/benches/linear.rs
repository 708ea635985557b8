//! Linear layers: the processor time that one party takes, both in one process, and the wall-clock
//! time of both.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocols::linear::{ClientHeld, Geometry, Layer, Products, State, multiply};
use protocols::ot::{Extend, Setup, TreeDepth};
use protocols::plan::{Algorithm, Protocol};
use protocols::{Bits, Operator, Session, Share, bench};
use support::Parties;

mod support;

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3));
    targets = pack, local, grow, expand, key, plant, products
}
criterion_main!(benches);

/// 64 channels to 64, 3x3, on images of `side` pixels each way.
fn convolution(side: usize) -> Geometry {
    Geometry::same_size([64; 2], [side; 2], 3)
}

/// 4-bit weights in a ring of 14 bits.
fn layer(side: usize, algorithm: Algorithm, protocol: Protocol) -> Layer {
    let (geometry, shifts, ring) = (convolution(side), Vec::new(), Bits::of(14));
    Layer { geometry, weight_bits: 4, shifts, ring, algorithm, protocol, number: 0 }
}

fn weights(layer: &Layer) -> Vec<i8> {
    (0..layer.weights()).map(|i| (i * 7 % 16) as i8 - 8).collect()
}

fn input(layer: &Layer) -> Vec<u64> {
    let [channels, rows, columns] = layer.geometry.in_shape();
    (0..channels * rows * columns).map(|i| layer.ring.reduce(i as u64 * 0x9E37_79B9)).collect()
}

/// A planted layer at both parties.
struct Bed {
    layer: Layer,
    weights: Vec<i8>,
    parties: Parties,
    server: State,
    client: State,
}

impl Bed {
    /// The time is that of planting alone.
    fn new(layer: Layer) -> (Self, Duration) {
        let (weights, mut parties) = (weights(&layer), Parties::new());
        let depth = TreeDepth::new(4).expect("a depth");
        let extend = Extend { depth, server: 0, client: layer.setup_cost().client_cots as usize };
        let fill = async |session: &mut Session| {
            session.run(&Setup { depth }, ()).await?;
            session.run(&extend, ()).await
        };
        parties.run(fill, fill);
        let (server, client, taken) = parties.run(
            async |session| layer.prepare(session, Some(&weights)).await,
            async |session| layer.prepare(session, None).await,
        );
        (Self { layer, weights, parties, server, client }, taken)
    }

    /// What one run moves, both ways.
    fn bytes(&self) -> u64 {
        let products = Products::new(&self.layer, 1, &self.client, None);
        let cost = products.cost();
        cost.server_bytes + cost.client_bytes
    }

    /// The processor time of one party, and the wall-clock time of both.
    fn run(&mut self) -> (Duration, Duration) {
        let Self { layer, weights, parties, server, client } = self;
        let x = Share::new(layer.ring, input(layer));
        let server = Products::new(layer, 1, server, Some(weights));
        let client = Products::new(layer, 1, client, None);
        let clock = Instant::now();
        let (_, _, processor) = parties.run(
            async |session| session.run(&server, ClientHeld(None)).await,
            async |session| session.run(&client, ClientHeld(Some(x))).await,
        );
        (processor, clock.elapsed())
    }
}

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("products");
    let layers = [
        ("64x576x1024, k = 4", 32, Algorithm::Direct, Protocol::Vole { k: 4 }),
        ("64x576x1024, k = 8", 32, Algorithm::Direct, Protocol::Vole { k: 8 }),
        ("64x576x1024, Winograd, k = 8", 32, Algorithm::Winograd, Protocol::Vole { k: 8 }),
        ("64x576x1024, cot", 32, Algorithm::Direct, Protocol::Cot),
        ("64x576x64, k = 4", 8, Algorithm::Direct, Protocol::Vole { k: 4 }),
        ("64x576x64, k = 8", 8, Algorithm::Direct, Protocol::Vole { k: 8 }),
    ];
    for (name, side, algorithm, protocol) in layers {
        let (mut bed, _) = Bed::new(layer(side, algorithm, protocol));
        println!("{name}: {:.1} MB", bed.bytes() as f64 / 1e6);
        let mut measure = |name: String, of: fn((Duration, Duration)) -> Duration| {
            group.bench_function(name, |b| {
                b.iter_custom(|times| (0..times).map(|_| of(bed.run())).sum());
            });
        };
        measure(name.to_owned(), |(processor, _)| processor);
        measure(format!("{name}, wall"), |(_, wall)| wall);
    }
}

fn plant(c: &mut Criterion) {
    let mut group = c.benchmark_group("plant");
    for k in [4, 8] {
        group.bench_function(format!("64x576, k = {k}"), |b| {
            b.iter_custom(|times| {
                (0..times)
                    .map(|_| Bed::new(layer(8, Algorithm::Direct, Protocol::Vole { k })).1)
                    .sum()
            });
        });
    }
}

fn grow(c: &mut Criterion) {
    const QUADS: usize = 1 << 10;
    let mut group = c.benchmark_group("grow");
    group.throughput(Throughput::Elements(4 * QUADS as u64));
    let mut grow = bench::grow(QUADS);
    group.bench_function("4096 nodes", |b| b.iter(|| black_box(grow())));
}

/// Blocks of leaves' expansions.
fn expand(c: &mut Criterion) {
    const LEAVES: usize = 1 << 13;
    let mut group = c.benchmark_group("expand");
    group.throughput(Throughput::Elements(LEAVES as u64));
    for k in [4, 8] {
        let mut sums = bench::bit_sums(k, LEAVES >> (k + 2));
        group.bench_function(format!("k = {k}"), |b| b.iter(&mut sums));
    }
}

/// A key serves up to 4096 of the blocks that [`expand`] counts.
fn key(c: &mut Criterion) {
    let mut group = c.benchmark_group("key");
    group.bench_function("derive and expand", |b| b.iter(bench::key()));
}

fn local(c: &mut Criterion) {
    let mut group = c.benchmark_group("local");
    let layer = layer(32, Algorithm::Direct, Protocol::Cot);
    let (weights, x) = (weights(&layer), input(&layer));
    group.throughput(Throughput::Elements(layer.geometry.macs()));
    group.bench_function("64x576x1024", |b| b.iter(|| multiply(&layer, &weights, 1, &x)));
}

fn pack(c: &mut Criterion) {
    const COUNT: usize = 1 << 20;
    let mut group = c.benchmark_group("pack");
    group.throughput(Throughput::Elements(COUNT as u64));
    for width in [4, 14, 19] {
        let width = Bits::of(width);
        let values: Vec<u64> = (0..COUNT as u64).map(|i| width.reduce(i * 0x9E37_79B9)).collect();
        let packed = width.pack(&values);
        group.bench_function(format!("pack {width} bits"), |b| b.iter(|| width.pack(&values)));
        group.bench_function(format!("unpack {width} bits"), |b| {
            b.iter(|| width.unpack(&packed, COUNT))
        });
    }
}
