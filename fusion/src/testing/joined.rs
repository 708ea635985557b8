//! Random small networks whose channels are concatenated, split, shuffled and gated.

use protocols::linear::Geometry;
use protocols::plan::{Axis, Order, View, Window};

use super::Generator;
use crate::{Error, Graph, Op, Weights, WireId};

/// A small network and its weights, from a seed: concatenations of layers, of slices of them and of
/// concatenations, in any order of channels and pixels, and products of them and of gates.
///
/// # Panics
/// Where the network does not check: the generator is at fault.
pub fn random_joined_network(seed: u64) -> (Graph, Weights) {
    match Generator::new(seed).joined_network() {
        Ok(network) => network,
        Err(error) => panic!("invariant: random networks are valid (seed {seed}): {error}"),
    }
}

impl Generator {
    fn joined_network(mut self) -> Result<(Graph, Weights), Error> {
        let shape = [self.up_to(1, 4), self.up_to(2, 5), self.up_to(2, 5)];
        let (low, scale) = (self.low(4), 1.0 / 16.0);
        let input = self.builder.push("input", Op::Input { shape, bits: 4, low, scale })?;
        let input = if self.coin() { self.reordered(input)? } else { input };
        let scale = 0.5;
        let mut wire = self.joined(input, scale, &[])?;
        for _ in 0..self.up_to(0, 2) {
            // Half of the channels pass by, as in ShuffleNet.
            let half = self.half(wire)?;
            let next = self.joined(wire, scale, &[half])?;
            wire = if self.coin() { self.reordered(next)? } else { next };
        }
        let wire = if self.coin() { self.gated(wire)? } else { wire };
        let wire = if self.coin() { self.sum_pool(wire)? } else { wire };
        let logits = self.logits(wire)?;
        self.builder.output("output", logits)?;
        Ok((self.builder.finish()?, self.weights))
    }

    /// Layers side by side, rounded to one scale, and other wires of that scale.
    fn joined(&mut self, input: WireId, scale: f64, others: &[WireId]) -> Result<WireId, Error> {
        let mut parts = others.to_vec();
        for _ in 0..self.up_to(1, 3) {
            let channels = self.up_to(1, 4);
            let geometry = self.same(input, channels);
            let (shift, bits) = (self.up_to(0, 5) as u8, self.up_to(2, 6) as u8);
            let acc = self.linear("part", input, geometry, scale / f64::from(1 << shift))?;
            let (name, low) = (self.name("requant"), self.low(bits));
            parts.push(
                self.builder
                    .push(name, Op::Requant { input: acc, shift, bits, low, linearized: None })?,
            );
        }
        let name = self.name("concat");
        self.builder.concat(name, &parts)
    }

    /// A wire times a gate of each channel, or times a layer of it; perhaps pooled or not rounded
    /// before another layer reads it.
    fn gated(&mut self, input: WireId) -> Result<WireId, Error> {
        let [channels, rows, columns] = self.builder.wire(input).shape;
        let mut read = input;
        let mut geometry = self.same(input, channels);
        if self.coin() {
            let name = self.name("average");
            let window = Window { kernel: [rows, columns], stride: [1; 2], pad: [0; 4] };
            read = self.builder.sum_pool(name, input, window)?;
            geometry = Geometry::dense(channels, channels);
        }
        let acc = self.linear("gate", read, geometry, 1.0)?;
        let gate = self.activation(acc)?;
        let name = self.name("product");
        let factors = if self.coin() { [input, gate] } else { [gate, input] };
        let scaled = self.builder.wire(factors[1]).shape != self.builder.wire(factors[0]).shape;
        let [value, gate] = if scaled { [input, gate] } else { factors };
        let product = self.builder.product(name, value, gate)?;
        if self.up_to(0, 3) == 0 { Ok(product) } else { self.activation(product) }
    }

    /// The first half of the channels.
    fn half(&mut self, input: WireId) -> Result<WireId, Error> {
        let [channels, rows, columns] = self.builder.wire(input).shape;
        let axes = [channels.div_ceil(2), rows, columns].map(Axis::all);
        let name = self.name("half");
        self.builder.view(name, input, View { axes })
    }

    /// Channels shuffled, or pixels and channels exchanged and exchanged back around a layer.
    fn reordered(&mut self, input: WireId) -> Result<WireId, Error> {
        let shape = self.builder.wire(input).shape;
        let [channels, rows, columns] = shape;
        // Any factor of the channels is a number of groups to shuffle.
        let factors: Vec<usize> = (1..=channels).filter(|n| channels.is_multiple_of(*n)).collect();
        let groups = factors[self.up_to(0, factors.len() - 1)];
        let order = if self.coin() {
            Order { rows: groups, columns: channels / groups, inner: rows * columns, shape }
        } else {
            Order { rows: channels * rows, columns, inner: 1, shape }
        };
        let name = self.name("reorder");
        self.builder.reorder(name, input, order)
    }
}
