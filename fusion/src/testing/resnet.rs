//! Networks of the shapes of ResNet-20 on 32x32 images and of ResNet-18 on 224x224 images, with
//! random weights: for measuring.

use protocols::linear::Geometry;
use protocols::plan::{Axis, Preprocess, View, Window};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::{Builder, Error, Graph, Kernel, LayerWeights, Linear, Weights, WireId};

/// ResNet-20 with 4-bit weights and activations, 8 bits at the ends, shortcuts that slice and pad.
///
/// # Panics
/// Where the network does not check: this function is at fault.
pub fn resnet20(seed: u64) -> (Graph, Weights) {
    build("ResNet-20", seed, ResNet::small)
}

/// ResNet-18 with 4-bit weights and activations, 8 bits at the ends, shortcuts that are
/// convolutions.
///
/// # Panics
/// Where the network does not check: this function is at fault.
pub fn resnet18(seed: u64) -> (Graph, Weights) {
    build("ResNet-18", seed, ResNet::large)
}

fn build(
    name: &str,
    seed: u64,
    network: fn(ResNet) -> Result<(Graph, Weights), Error>,
) -> (Graph, Weights) {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let weights = Weights { salt: rng.random::<[u8; 32]>().into(), ..Weights::default() };
    let builder = Graph::builder(name, Preprocess::Unit);
    match network(ResNet { rng, builder, weights }) {
        Ok(network) => network,
        Err(error) => panic!("invariant: the network is valid: {error}"),
    }
}

struct ResNet {
    rng: ChaCha12Rng,
    builder: Builder,
    weights: Weights,
}

impl ResNet {
    fn small(mut self) -> Result<(Graph, Weights), Error> {
        let input = self.builder.input("input", [3, 32, 32], 8, true, 1.0 / 64.0)?;
        let mut wire = self.linear("first", input, convolution([3, 32, 32], 16, 3, 1), 8, 1.0)?;
        wire = self.requantized("first", wire)?;
        for (stage, channels) in [16, 32, 64].into_iter().enumerate() {
            for block in 0..3 {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let skip = if stride == 1 { Self::identity } else { Self::slice };
                wire =
                    self.block(&format!("block{stage}.{block}"), wire, channels, stride, skip)?;
            }
        }
        self.end(wire, 10)
    }

    fn large(mut self) -> Result<(Graph, Weights), Error> {
        let input = self.builder.input("input", [3, 224, 224], 8, true, 1.0 / 64.0)?;
        let mut wire = self.linear("first", input, convolution([3, 224, 224], 64, 7, 2), 8, 1.0)?;
        wire = self.requantized("first", wire)?;
        let window = Window { kernel: [3, 3], stride: [2, 2], pad: [1; 4] };
        wire = self.builder.max_pool("maximum", wire, window)?;
        for (stage, channels) in [64, 128, 256, 512].into_iter().enumerate() {
            for block in 0..2 {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let skip = if stride == 1 { Self::identity } else { Self::projection };
                wire =
                    self.block(&format!("block{stage}.{block}"), wire, channels, stride, skip)?;
            }
        }
        self.end(wire, 1000)
    }

    fn end(mut self, wire: WireId, classes: usize) -> Result<(Graph, Weights), Error> {
        let [channels, rows, columns] = self.builder.wire(wire).shape;
        let window = Window { kernel: [rows, columns], stride: [1, 1], pad: [0; 4] };
        let pooled = self.builder.sum_pool("pool", wire, window)?;
        let logits = self.linear("last", pooled, Geometry::dense(channels, classes), 8, 1.0)?;
        self.builder.output("output", logits)?;
        Ok((self.builder.finish()?, self.weights))
    }

    fn block(
        &mut self,
        name: &str,
        input: WireId,
        channels: usize,
        stride: usize,
        skip: Skip,
    ) -> Result<WireId, Error> {
        let (a, b) = (format!("{name}.a"), format!("{name}.b"));
        let wire = *self.builder.wire(input);
        let first =
            self.linear(&a, input, convolution(wire.shape, channels, 3, stride), 4, wire.scale)?;
        let middle = self.requantized(&a, first)?;
        let shape = self.builder.wire(middle).shape;
        let second =
            self.linear(&b, middle, convolution(shape, channels, 3, 1), 4, wire.scale / 16.0)?;
        let skip = skip(self, name, input)?;
        let sum = self.builder.add(format!("{name}.add"), &[(second, 0), skip])?;
        self.requantized(name, sum)
    }

    fn identity(&mut self, _: &str, input: WireId) -> Result<(WireId, u8), Error> {
        Ok((input, 4))
    }

    /// A 1x1 convolution of every second pixel to twice as many channels.
    fn projection(&mut self, name: &str, input: WireId) -> Result<(WireId, u8), Error> {
        let wire = *self.builder.wire(input);
        let geometry = convolution(wire.shape, 2 * wire.shape[0], 1, 2);
        Ok((self.linear(&format!("{name}.skip"), input, geometry, 4, wire.scale / 16.0)?, 0))
    }

    /// Every second pixel, and as many channels of zeros again around the channels.
    fn slice(&mut self, name: &str, input: WireId) -> Result<(WireId, u8), Error> {
        let [channels, rows, columns] = self.builder.wire(input).shape;
        let around = channels / 2;
        let axes = [
            Axis { before: around, after: around, ..Axis::all(channels) },
            Axis { stride: 2, ..Axis::all(rows / 2) },
            Axis { stride: 2, ..Axis::all(columns / 2) },
        ];
        let view = View { axes };
        Ok((self.builder.view(format!("{name}.shortcut"), input, view)?, 4))
    }

    fn requantized(&mut self, name: &str, input: WireId) -> Result<WireId, Error> {
        let relu = self.builder.relu(format!("{name}.relu"), input)?;
        let shift = self.builder.wire(relu).bits.saturating_sub(6);
        self.builder.requant(format!("{name}.requant"), relu, shift, 4, false)
    }

    fn linear(
        &mut self,
        name: &str,
        input: WireId,
        geometry: Geometry,
        weight_bits: u8,
        scale: f64,
    ) -> Result<WireId, Error> {
        let most = (1i16 << (weight_bits - 1)) - 1;
        let weights =
            (0..geometry.weights()).map(|_| self.rng.random_range(-most..=most) as i8).collect();
        let bias = (0..geometry.out_channels).map(|_| self.rng.random_range(-40..=40)).collect();
        let layer = LayerWeights { weights, bias };
        let range = self.builder.wire(input).range;
        let (kernel, shifts) = (Kernel::Spatial, Vec::new());
        let linear = Linear { input, geometry, kernel, weight_bits, shifts, range, scale };
        let linear = linear.bounded(name, &layer, range)?;
        self.weights.layers.insert(name.to_owned(), layer);
        self.builder.linear(name, linear)
    }
}

/// How a block's input reaches its end: a wire, and its shift in the sum.
type Skip = fn(&mut ResNet, &str, WireId) -> Result<(WireId, u8), Error>;

/// A square convolution that is padded to keep the size but for the stride.
fn convolution(
    [in_channels, in_h, in_w]: [usize; 3],
    out_channels: usize,
    kernel: usize,
    stride: usize,
) -> Geometry {
    let pad = kernel / 2;
    Geometry {
        in_h,
        in_w,
        kernel_h: kernel,
        kernel_w: kernel,
        stride_h: stride,
        stride_w: stride,
        pad_top: pad,
        pad_left: pad,
        pad_bottom: pad,
        pad_right: pad,
        ..Geometry::dense(in_channels, out_channels)
    }
}
