//! Hints: the processor time that each party takes of one core, both in one process; what a planner
//! pays for a price.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use protocols::linear::{Geometry, Hint, Layer, Products, State};
use protocols::ot::{Extend, Setup, TreeDepth};
use protocols::plan::{Algorithm, Protocol};
use protocols::{Bits, Error, Session, bench};
use rayon::ThreadPool;
use support::{Parties, thread_time};

mod support;

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(2));
    targets = transform, price, inference, making
}
criterion_main!(benches);

/// 4-bit weights, masks that are drawn; noise as for weights that are spread evenly.
fn layer(geometry: Geometry, ring: u32, noise: u8) -> Layer {
    Layer {
        geometry,
        weight_bits: 4,
        shifts: Vec::new(),
        ring: Bits::of(ring),
        algorithm: Algorithm::Direct,
        protocol: Protocol::Hint(Hint {
            outputs: 1,
            noise,
            cut: 2,
            draws: true,
            carry: false,
            beside: None,
        }),
        number: 0,
    }
}

fn layers() -> Vec<(&'static str, Layer)> {
    let stem = Geometry { stride_h: 2, stride_w: 2, ..Geometry::same_size([3, 64], [224; 2], 7) };
    vec![
        ("64->64 3x3, 32x32", layer(Geometry::same_size([64, 64], [32; 2], 3), 14, 13)),
        ("256->64 1x1, 56x56", layer(Geometry::same_size([256, 64], [56; 2], 1), 15, 13)),
        ("64->64 3x3, 56x56", layer(Geometry::same_size([64, 64], [56; 2], 3), 15, 13)),
        ("2048->512 1x1, 7x7", layer(Geometry::same_size([2048, 512], [7; 2], 1), 16, 14)),
        ("512->512 3x3, 7x7", layer(Geometry::same_size([512, 512], [7; 2], 3), 18, 14)),
        ("3->64 7x7 stride 2, 224x224", layer(stem, 22, 13)),
    ]
}

/// Processor time of each party.
#[derive(Clone, Copy, Default)]
struct Times {
    server: Duration,
    client: Duration,
}

/// Two parties, each in a pool of one thread, so that its time is that thread's.
struct Bed {
    layer: Layer,
    weights: Vec<i8>,
    parties: Parties,
    pools: [ThreadPool; 2],
}

impl Bed {
    fn new(layer: Layer) -> Self {
        let pool = || rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        let weights = (0..layer.weights()).map(|i| (i * 7 % 16) as i8 - 8).collect();
        Self { layer, weights, parties: Parties::new(), pools: [pool(), pool()] }
    }

    fn run<A: Send, B: Send>(
        &mut self,
        server: impl AsyncFnOnce(&mut Session, &Layer, &[i8]) -> Result<A, Error> + Send,
        client: impl AsyncFnOnce(&mut Session, &Layer) -> Result<B, Error> + Send,
    ) -> (A, B, Times) {
        let Self { layer, weights, parties, pools } = self;
        let Parties { runtime, server: left, client: right } = parties;
        let (runtime, layer) = (&*runtime, &*layer);
        let (a, b) = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                pools[0].install(|| timed(|| runtime.block_on(server(left, layer, weights))))
            });
            let b = pools[1].install(|| timed(|| runtime.block_on(client(right, layer))));
            (other.join().expect("the server's thread"), b)
        });
        let times = Times { server: a.1, client: b.1 };
        (a.0.expect("the server"), b.0.expect("the client"), times)
    }

    fn prepare(&mut self) -> (State, State, Times) {
        self.run(
            async |session, layer, weights| layer.prepare(session, Some(weights)).await,
            async |session, layer| layer.prepare(session, None).await,
        )
    }

    /// The products alone: OTs and secrets are there.
    fn infer(&mut self, server: &State, client: &State) -> Times {
        let depth = TreeDepth::new(2).expect("a depth");
        let cost = self.layer.cost(1).offline;
        let extend =
            Extend { depth, server: cost.server_cots as usize, client: cost.client_cots as usize };
        let needed = self.layer.secrets().expect("a layer with a hint");
        let (left, right, _) = self.run(
            async |session, _, _| {
                session.run(&extend, ()).await?;
                needed.make(session, 1).await
            },
            async |session, _| {
                session.run(&extend, ()).await?;
                needed.make(session, 1).await
            },
        );
        let ring = self.layer.ring;
        let (_, _, times) = self.run(
            async |session, layer, weights| {
                let (weights, secrets) = (Some(weights), Some(&left));
                let products = Products { layer, images: 1, state: server, weights, secrets };
                bench::draw(session, products, ring).await
            },
            async |session, layer| {
                let (weights, secrets) = (None, Some(&right));
                let products = Products { layer, images: 1, state: client, weights, secrets };
                bench::draw(session, products, ring).await
            },
        );
        times
    }
}

fn timed<T>(of: impl FnOnce() -> T) -> (T, Duration) {
    let start = thread_time("/proc/thread-self");
    let result = of();
    (result, thread_time("/proc/thread-self") - start)
}

fn inference(c: &mut Criterion) {
    let mut group = c.benchmark_group("hint");
    for (name, layer) in layers() {
        let mut bed = Bed::new(layer);
        let setup = Setup { depth: TreeDepth::new(2).expect("a depth") };
        let set_up = async |session: &mut Session| session.run(&setup, ()).await;
        bed.parties.run(set_up, set_up);
        let (server, client, _) = bed.prepare();
        println!("{name}: predicted {:.1} ms", 1e3 * bed.layer.seconds(1).offline);
        let mut measure = |party: &str, of: fn(Times) -> Duration| {
            group.bench_function(format!("{name}, {party}"), |b| {
                b.iter_custom(|times| (0..times).map(|_| of(bed.infer(&server, &client))).sum());
            });
        };
        measure("client", |times| times.client);
        measure("server", |times| times.server);
    }
}

fn making(c: &mut Criterion) {
    let mut group = c.benchmark_group("make");
    for (name, layer) in layers() {
        let mut bed = Bed::new(layer);
        println!("{name}: predicted {:.1} ms", 1e3 * bed.layer.seconds(1).setup);
        let mut measure = |party: &str, of: fn(Times) -> Duration| {
            group.bench_function(format!("{name}, {party}"), |b| {
                b.iter_custom(|times| (0..times).map(|_| of(bed.prepare().2)).sum());
            });
        };
        measure("server", |times| times.server);
        measure("client", |times| times.client);
    }
}

fn transform(c: &mut Criterion) {
    let mut group = c.benchmark_group("transform");
    let mut forward = bench::transform();
    group.bench_function("forward", |b| b.iter_custom(|times| repeated(times, &mut forward)));
    let mut product = bench::polynomial_product();
    group.bench_function("product", |b| b.iter_custom(|times| repeated(times, &mut product)));
}

/// What the planner pays for a candidate.
fn price(c: &mut Criterion) {
    let mut group = c.benchmark_group("price");
    for (name, layer) in layers() {
        let mut price = || {
            black_box(bench::price(black_box(&layer)));
        };
        group.bench_function(name, |b| b.iter_custom(|times| repeated(times, &mut price)));
    }
}

/// Processor time of many turns.
fn repeated(times: u64, mut of: impl FnMut()) -> Duration {
    timed(|| (0..times).for_each(|_| of())).1
}
