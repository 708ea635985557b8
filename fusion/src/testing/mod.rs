//! Random small networks, valid by construction, for the tests of this crate and of those above it.

mod joined;
mod linearized;
mod resnet;

use std::collections::BTreeSet;

use protocols::linear::{Geometry, winograd};
use protocols::plan::{Axis, Preprocess, View, Window};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

pub use joined::random_joined_network;
pub use linearized::random_linearized_network;
pub use resnet::{resnet18, resnet20};

use crate::{
    Builder, Error, Graph, Interval, Kernel, LayerWeights, Linear, Lookup, Op, Weights, WireId,
};

/// A small network and its weights, from a seed: convolutions of all kinds, skips, pooling, signed
/// requantizations, views, fully connected layers.
///
/// # Panics
/// Where the network does not check: the generator is at fault.
pub fn random_network(seed: u64) -> (Graph, Weights) {
    match Generator::new(seed).network() {
        Ok(network) => network,
        Err(error) => panic!("invariant: random networks are valid (seed {seed}): {error}"),
    }
}

/// A batch of random images that a network takes.
pub fn random_input(graph: &Graph, images: usize, seed: u64) -> Vec<i64> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let wire = graph.wire(graph.input());
    (0..images * wire.elements()).map(|_| rng.random_range(wire.range.lo..=wire.range.hi)).collect()
}

struct Generator {
    rng: ChaCha12Rng,
    /// Of least values alone, so that everything else is what it was before there were any.
    lows: ChaCha12Rng,
    builder: Builder,
    weights: Weights,
    names: usize,
    /// Whether ReLUs may be of some elements.
    linearizes: bool,
}

impl Generator {
    fn new(seed: u64) -> Self {
        let builder = Graph::builder(format!("random {seed}"), Preprocess::Unit);
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let weights = Weights { salt: rng.random::<[u8; 32]>().into(), ..Weights::default() };
        let mut lows = rng.clone();
        lows.set_stream(1);
        Self { rng, lows, builder, weights, names: 0, linearizes: false }
    }

    fn network(mut self) -> Result<(Graph, Weights), Error> {
        let shape = [self.up_to(1, 4), self.up_to(4, 9), self.up_to(4, 9)];
        let bits = self.up_to(2, 8) as u8;
        let (low, scale) = (self.low(bits), 1.0 / 16.0);
        let mut wire = self.builder.push("input", Op::Input { shape, bits, low, scale })?;
        for _ in 0..self.up_to(1, 5) {
            wire = match self.up_to(0, 12) {
                0..=2 => self.convolution(wire)?,
                3 | 4 => self.skip(wire)?,
                5 => self.convolved_skip(wire)?,
                6 => self.sum_pool(wire)?,
                7 => self.max_pool(wire)?,
                8 => self.sliced(wire)?,
                9 | 10 => self.sliced_skip(wire)?,
                11 => self.function(wire)?,
                _ => self.double_sum(wire)?,
            };
        }
        let logits = self.logits(wire)?;
        self.builder.output("output", logits)?;
        Ok((self.builder.finish()?, self.weights))
    }

    /// Convolution, perhaps pooled before it is requantized.
    fn convolution(&mut self, input: WireId) -> Result<WireId, Error> {
        let geometry = self.geometry(input);
        let scale = self.builder.wire(input).scale / 8.0;
        let mut acc = self.linear("conv", input, geometry, scale)?;
        if self.up_to(0, 3) == 0 {
            let (name, window) = (self.name("pool"), self.window(acc));
            acc = self.builder.max_pool(name, acc, window)?;
        }
        self.activation(acc)
    }

    /// A layer around which its own input skips.
    fn skip(&mut self, input: WireId) -> Result<WireId, Error> {
        let [channels, ..] = self.builder.wire(input).shape;
        let geometry = self.same(input, channels);
        let shift = self.up_to(0, 4) as u8;
        let scale = self.builder.wire(input).scale / f64::from(1 << shift);
        let acc = self.linear("conv", input, geometry, scale)?;
        let name = self.name("add");
        let sum = self.builder.add(name, &[(acc, 0), (input, shift)])?;
        self.activation(sum)
    }

    /// A layer that halves rows and columns, around which a slice of its input skips.
    fn sliced_skip(&mut self, input: WireId) -> Result<WireId, Error> {
        let [channels, rows, columns] = self.builder.wire(input).shape;
        let geometry = Geometry { stride_h: 2, stride_w: 2, ..self.same(input, channels) };
        let halved = [rows, columns].map(|n| Axis { stride: 2, ..Axis::all(n.div_ceil(2)) });
        let view = View { axes: [Axis::all(channels), halved[0], halved[1]] };
        let scale = self.builder.wire(input).scale / 4.0;
        let acc = self.linear("conv", input, geometry, scale)?;
        let (slice, name) = (self.name("slice"), self.name("add"));
        let slice = self.builder.view(slice, input, view)?;
        let sum = self.builder.add(name, &[(acc, 0), (slice, 2)])?;
        self.activation(sum)
    }

    /// Two layers side by side, summed in a common scale.
    fn convolved_skip(&mut self, input: WireId) -> Result<WireId, Error> {
        let geometry = self.geometry(input);
        let scale = self.builder.wire(input).scale / 4.0;
        let (left, right) = (self.up_to(0, 3) as u8, self.up_to(0, 3) as u8);
        let a = self.linear("main", input, geometry, scale * f64::from(1 << left))?;
        let b = self.linear("side", input, geometry, scale * f64::from(1 << right))?;
        let name = self.name("add");
        let sum = self.builder.add(name, &[(a, left), (b, right)])?;
        self.activation(sum)
    }

    /// A sum of a sum, both of which are read; sliced in between.
    fn double_sum(&mut self, input: WireId) -> Result<WireId, Error> {
        let [channels, ..] = self.builder.wire(input).shape;
        let scale = self.builder.wire(input).scale;
        let geometry = self.same(input, channels);
        let (a, b) =
            (self.linear("a", input, geometry, scale)?, self.linear("b", input, geometry, scale)?);
        let (inner, outer) = (self.name("add"), self.name("add"));
        let sum = self.builder.add(inner, &[(a, 0), (input, 0)])?;
        let mut first = sum;
        if self.coin() {
            first = self.activation(sum)?;
            let ratio = self.builder.wire(first).scale / scale;
            let terms = [(first, ratio.log2() as u8), (b, 0), (sum, 0)];
            first = self.builder.add(outer, &terms)?;
        } else {
            first = self.builder.add(outer, &[(first, 0), (b, 0)])?;
        }
        let sliced = self.view(first)?;
        self.activation(sliced)
    }

    /// A random function of a layer's activation, or of that and of another reader's.
    fn function(&mut self, input: WireId) -> Result<WireId, Error> {
        let activation = self.convolution(input)?;
        let wire = *self.builder.wire(activation);
        let Interval { lo, hi } = wire.declared();
        let bits = self.up_to(1, 8) as u8;
        let low = self.low(bits);
        let range = Interval::from(low, bits);
        let first = lo - self.up_to(0, 1) as i64;
        let table = (first..=hi).map(|_| self.rng.random_range(range.lo..=range.hi)).collect();
        let name = self.name("function");
        let lookup = Lookup { input: activation, first, table, bits, low, scale: wire.scale };
        let found = self.builder.lookup(name, lookup)?;
        if self.coin() {
            return Ok(found);
        }
        let name = self.name("add");
        let sum = self.builder.add(name, &[(found, 1), (activation, 1)])?;
        self.activation(sum)
    }

    fn sum_pool(&mut self, input: WireId) -> Result<WireId, Error> {
        let (name, window) = (self.name("average"), self.window(input));
        let pooled = self.builder.sum_pool(name, input, window)?;
        if self.builder.wire(pooled).bits <= 9 && self.coin() {
            Ok(pooled)
        } else {
            self.activation(pooled)
        }
    }

    fn max_pool(&mut self, input: WireId) -> Result<WireId, Error> {
        let (name, window) = (self.name("max"), self.window(input));
        self.builder.max_pool(name, input, window)
    }

    /// A view, or a view of a view.
    fn sliced(&mut self, input: WireId) -> Result<WireId, Error> {
        let once = self.view(input)?;
        if self.coin() { self.view(once) } else { Ok(once) }
    }

    fn view(&mut self, input: WireId) -> Result<WireId, Error> {
        let shape = self.builder.wire(input).shape;
        let axes = shape.map(|size| {
            let (start, stride) = (self.up_to(0, (size - 1).min(1)), self.up_to(1, 2));
            let length = (size - start).div_ceil(stride);
            Axis { start, stride, length, before: self.up_to(0, 1), after: self.up_to(0, 1) }
        });
        let name = self.name("view");
        self.builder.view(name, input, View { axes })
    }

    /// The last layer, over the whole image; now and then a sum of two, or not the last.
    fn logits(&mut self, input: WireId) -> Result<WireId, Error> {
        let [in_channels, in_h, in_w] = self.builder.wire(input).shape;
        let dense = Geometry::dense(in_channels, self.up_to(2, 6));
        let geometry = Geometry { in_h, in_w, kernel_h: in_h, kernel_w: in_w, ..dense };
        let scale = self.builder.wire(input).scale;
        let a = self.linear("fc", input, geometry, scale)?;
        match self.up_to(0, 5) {
            0 => {
                let b = self.linear("fc", input, geometry, scale)?;
                let name = self.name("add");
                self.builder.add(name, &[(a, 0), (b, 0)])
            }
            1 => {
                let hidden = self.activation(a)?;
                let last = Geometry::dense(geometry.out_channels, 3);
                self.linear("last", hidden, last, 1.0)
            }
            2 => self.activation(a),
            _ => Ok(a),
        }
    }

    /// ReLU, requantization, or both in either order, at a shift that leaves the width about full.
    fn activation(&mut self, input: WireId) -> Result<WireId, Error> {
        if self.linearizes && self.coin() {
            return self.linearized(input);
        }
        let bits = self.up_to(2, 6) as u8;
        let low = self.low(bits);
        let room = self.builder.wire(input).bits.saturating_sub(bits);
        let shift = room.saturating_sub(self.up_to(0, 3) as u8);
        let (relu, requant) = (self.name("relu"), self.name("requant"));
        match self.up_to(0, 4) {
            0 => {
                let relu = self.builder.relu(relu, input)?;
                self.builder
                    .push(requant, Op::Requant { input: relu, shift, bits, low, linearized: None })
            }
            1 => {
                let requant = self
                    .builder
                    .push(requant, Op::Requant { input, shift, bits, low, linearized: None })?;
                self.builder.relu(relu, requant)
            }
            2 => {
                let (finer, by) = (self.name("finer"), self.up_to(1, 3) as u8);
                let relu = self.builder.relu(relu, input)?;
                let finer = self.builder.add(finer, &[(relu, by)])?;
                let shift = shift + by;
                self.builder
                    .push(requant, Op::Requant { input: finer, shift, bits, low, linearized: None })
            }
            _ => self
                .builder
                .push(requant, Op::Requant { input, shift, bits, low, linearized: None }),
        }
    }

    fn linear(
        &mut self,
        kind: &str,
        input: WireId,
        geometry: Geometry,
        scale: f64,
    ) -> Result<WireId, Error> {
        let name = self.name(kind);
        let weight_bits = self.up_to(2, 8) as u8;
        let kernel = if winograd::applies(&geometry) && self.coin() {
            Kernel::Winograd
        } else {
            Kernel::Spatial
        };
        let range = self.builder.wire(input).range;
        let linear =
            Linear { input, geometry, kernel, weight_bits, shifts: Vec::new(), range, scale };
        let shifts = match self.up_to(0, 2) {
            0 => (0..linear.channels()).map(|_| self.up_to(0, 3) as u8).collect(),
            _ => Vec::new(),
        };
        let most = (1i16 << (weight_bits - 1)) - 1;
        let weights =
            (0..linear.weights()).map(|_| self.rng.random_range(-most - 1..=most) as i8).collect();
        let bias = (0..geometry.out_channels).map(|_| self.rng.random_range(-200..=200)).collect();
        let layer = LayerWeights { weights, bias };
        let linear = Linear { shifts, ..linear }.bounded(&name, &layer, range)?;
        self.weights.layers.insert(name.clone(), layer);
        self.builder.linear(name, linear)
    }

    /// Any convolution of a wire, perhaps grouped, strided, dilated, with uneven padding.
    fn geometry(&mut self, input: WireId) -> Geometry {
        let [in_channels, in_h, in_w] = self.builder.wire(input).shape;
        let groups = if self.up_to(0, 3) == 0 { in_channels } else { 1 };
        let pads: [usize; 4] = [0; 4].map(|_| self.up_to(0, 1));
        let [pad_top, pad_left, pad_bottom, pad_right] = pads;
        let (rows, columns) = (in_h + pad_top + pad_bottom, in_w + pad_left + pad_right);
        let (kernel_h, kernel_w) = (self.up_to(1, rows.min(3)), self.up_to(1, columns.min(3)));
        let dilated = |kernel: usize, size: usize| if 2 * kernel - 1 <= size { 2 } else { 1 };
        let (most_h, most_w) = (dilated(kernel_h, rows), dilated(kernel_w, columns));
        Geometry {
            in_channels,
            in_h,
            in_w,
            out_channels: groups * if groups > 1 { self.up_to(1, 2) } else { self.up_to(1, 5) },
            kernel_h,
            kernel_w,
            stride_h: self.up_to(1, 2),
            stride_w: self.up_to(1, 2),
            dilation_h: self.up_to(1, most_h),
            dilation_w: self.up_to(1, most_w),
            pad_top,
            pad_left,
            pad_bottom,
            pad_right,
            groups,
        }
    }

    /// A convolution that keeps rows and columns.
    fn same(&mut self, input: WireId, out_channels: usize) -> Geometry {
        let [in_channels, in_h, in_w] = self.builder.wire(input).shape;
        let kernel = if self.coin() { 3 } else { 1 };
        Geometry::same_size([in_channels, out_channels], [in_h, in_w], kernel)
    }

    fn window(&mut self, input: WireId) -> Window {
        let [_, rows, columns] = self.builder.wire(input).shape;
        let kernel = [self.up_to(1, rows.min(3)), self.up_to(1, columns.min(3))];
        let stride = [self.up_to(1, 2), self.up_to(1, 2)];
        let mut pad = |axis: usize| self.up_to(0, kernel[axis] - 1);
        Window { kernel, stride, pad: [pad(0), pad(1), pad(0), pad(1)] }
    }

    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}{}", self.names)
    }

    fn up_to(&mut self, least: usize, most: usize) -> usize {
        self.rng.random_range(least..=most)
    }

    /// The least value of a width: zero, that of two's complement, or any below zero.
    fn low(&mut self, bits: u8) -> i64 {
        if !self.coin() {
            0
        } else if self.lows.random() {
            Interval::of_bits(bits, true).lo
        } else {
            -self.lows.random_range(1..1i64 << bits)
        }
    }

    fn coin(&mut self) -> bool {
        self.rng.random()
    }
}

/// The linear nodes that exact Winograd can compute.
pub fn winograd_nodes(graph: &Graph) -> BTreeSet<String> {
    let applies = |linear: &Linear| {
        linear.kernel == Kernel::Spatial
            && linear.weight_bits <= 4
            && winograd::applies(&linear.geometry)
    };
    let nodes = graph.nodes().iter().filter(|node| matches!(&node.op, Op::Linear(l) if applies(l)));
    nodes.map(|node| node.name.clone()).collect()
}

/// The interval of a wire's values in a batch: for tests of soundness.
pub fn hull(values: &[i64]) -> Interval {
    let (lo, hi) = (values.iter().min(), values.iter().max());
    Interval { lo: lo.copied().unwrap_or(0), hi: hi.copied().unwrap_or(0) }
}
