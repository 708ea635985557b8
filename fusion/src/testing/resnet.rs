//! A network of the shape of ResNet-20 on 32x32 images, with random weights: for measuring.

use protocols::linear::Geometry;
use protocols::plan::{Preprocess, View, Window};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::{Builder, Error, Graph, Kernel, LayerWeights, Linear, Weights, WireId};

/// ResNet-20 with 4-bit weights and activations, 8 bits at the ends, shortcuts that slice and pad.
///
/// # Panics
/// Where the network does not check: this function is at fault.
pub fn resnet20(seed: u64) -> (Graph, Weights) {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let weights = Weights { salt: rng.random(), ..Weights::default() };
    let builder = Graph::builder("ResNet-20", Preprocess::Unit);
    match (ResNet { rng, builder, weights }).build() {
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
    fn build(mut self) -> Result<(Graph, Weights), Error> {
        let input = self.builder.input("input", [3, 32, 32], 8, true, 1.0 / 64.0)?;
        let mut wire = self.linear("first", input, convolution([3, 32, 32], 16, 1), 8, 1.0)?;
        wire = self.requantised("first", wire)?;
        for (stage, channels) in [16, 32, 64].into_iter().enumerate() {
            for block in 0..3 {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                wire = self.block(&format!("block{stage}.{block}"), wire, channels, stride)?;
            }
        }
        let window = Window { kernel: [8, 8], stride: [1, 1], pad: [0; 4] };
        let pooled = self.builder.sum_pool("pool", wire, window)?;
        let logits = self.linear("last", pooled, Geometry::dense(64, 10), 8, 1.0)?;
        self.builder.output("output", logits)?;
        Ok((self.builder.finish()?, self.weights))
    }

    fn block(&mut self, name: &str, input: WireId, channels: usize, stride: usize) -> Result<WireId, Error> {
        let (a, b) = (format!("{name}.a"), format!("{name}.b"));
        let wire = *self.builder.wire(input);
        let first = self.linear(&a, input, convolution(wire.shape, channels, stride), 4, wire.scale)?;
        let middle = self.requantised(&a, first)?;
        let shape = self.builder.wire(middle).shape;
        let second = self.linear(&b, middle, convolution(shape, channels, 1), 4, wire.scale / 16.0)?;
        let skip = if stride == 1 { input } else { self.shortcut(name, input)? };
        let sum = self.builder.add(format!("{name}.add"), &[(second, 0), (skip, 4)])?;
        self.requantised(name, sum)
    }

    /// Every second pixel, and as many channels of zeros again around the channels.
    fn shortcut(&mut self, name: &str, input: WireId) -> Result<WireId, Error> {
        let [channels, rows, columns] = self.builder.wire(input).shape;
        let around = [channels / 2, 0, 0];
        let len = [channels, rows / 2, columns / 2];
        let view = View { start: [0; 3], stride: [1, 2, 2], len, before: around, after: around };
        self.builder.view(format!("{name}.shortcut"), input, view)
    }

    fn requantised(&mut self, name: &str, input: WireId) -> Result<WireId, Error> {
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
        let weights = (0..geometry.weights()).map(|_| self.rng.random_range(-most..=most) as i8).collect();
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

/// A 3x3 convolution with padding 1.
fn convolution([in_channels, in_h, in_w]: [usize; 3], out_channels: usize, stride: usize) -> Geometry {
    Geometry {
        in_h,
        in_w,
        kernel_h: 3,
        kernel_w: 3,
        stride_h: stride,
        stride_w: stride,
        pad_top: 1,
        pad_left: 1,
        pad_bottom: 1,
        pad_right: 1,
        ..Geometry::dense(in_channels, out_channels)
    }
}
