//! From a float network, scales and rounded weights to the integer network.

use std::collections::BTreeMap;

use fusion::{Builder, Graph, Interval, Kernel, Linear, Lookup, WireId};
use model::{Conv, Function, Model, Node, Op, Preprocess, ValueId};
use protocols::weights::{LayerWeights, Weights, fresh_salt};

use super::activation_quantizers::ActivationQuantizers;
use super::round::QuantizedWeights;
use super::scales::Scales;
use super::{BitWidths, QuantizeError};

/// What emitting reads.
pub(super) struct Emit<'a> {
    pub model: &'a Model,
    pub activations: &'a ActivationQuantizers,
    pub scales: &'a Scales,
    pub rounded: &'a [&'a QuantizedWeights],
    pub bit_widths: &'a BitWidths,
}

/// The widest value that tables are made for.
const MAX_TABLE_BITS: u8 = 8;

/// The graph under construction.
struct Emitting<'a> {
    given: &'a Emit<'a>,
    builder: Builder,
    /// The wire of every value so far.
    wires: Vec<WireId>,
    layers: BTreeMap<String, LayerWeights>,
}

impl Emit<'_> {
    /// The integer network and its weights, under a salt of their own: the same weights twice have
    /// two digests.
    pub(super) fn run(&self, preprocess: &Preprocess) -> Result<(Graph, Weights), QuantizeError> {
        let builder = Graph::builder(&self.model.name, preprocess.clone());
        let mut emitting =
            Emitting { given: self, builder, wires: Vec::new(), layers: BTreeMap::new() };
        emitting.input()?;
        for (index, node) in self.model.nodes.iter().enumerate() {
            let wire = emitting.node(index, node)?;
            let wire = emitting.round(node, wire)?;
            emitting.wires.push(wire);
        }
        let output = emitting.wires[self.model.output.0];
        emitting.builder.output(self.free("logits"), output)?;
        let graph = emitting.builder.finish()?;
        Ok((graph, Weights { salt: fresh_salt()?, layers: emitting.layers }))
    }

    /// A name that no node of the network has.
    fn free(&self, wanted: &str) -> String {
        let numbered = (2..).map(|count| format!("{wanted}.{count}"));
        let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
        names
            .find(|name| self.model.nodes.iter().all(|node| node.name != *name))
            .expect("invariant: a network's nodes are finitely many")
    }
}

impl Emitting<'_> {
    fn input(&mut self) -> Result<(), QuantizeError> {
        let given = self.given;
        let activation = given
            .activations
            .activation(ValueId::INPUT)
            .expect("invariant: the input is quantized");
        let (bits, signed) = (
            given.bit_widths.activation_bits[activation],
            given.activations.quantizers[activation].signed,
        );
        let name = given.free("input");
        let wire = self.builder.input(
            name,
            given.model.input,
            bits,
            signed,
            given.scales.activations[activation].exp2(),
        )?;
        self.wires.push(wire);
        Ok(())
    }

    /// The exact result of a node.
    fn node(&mut self, index: usize, node: &Node) -> Result<WireId, QuantizeError> {
        let name = node.name.clone();
        let input = self.wires[node.inputs[0].0];
        let wire = match &node.op {
            Op::Conv(conv) => self.linear(index, name, conv, input)?,
            Op::Function(function) => self.function(node, function, input)?,
            Op::Add => self.sum(name, input, self.wires[node.inputs[1].0])?,
            Op::Relu { .. } => self.builder.relu(name, input)?,
            Op::MaxPool(window) => self.builder.max_pool(name, input, *window)?,
            Op::AvgPool(window) => self.builder.sum_pool(name, input, *window)?,
            Op::View(view) => self.builder.view(name, input, *view)?,
            Op::Reorder(order) => self.builder.reorder(name, input, *order)?,
            Op::Concat => {
                let parts: Vec<WireId> = node.inputs.iter().map(|id| self.wires[id.0]).collect();
                self.builder.concat(name, &parts)?
            }
        };
        Ok(wire)
    }

    fn linear(
        &mut self,
        index: usize,
        name: String,
        conv: &Conv,
        input: WireId,
    ) -> Result<WireId, QuantizeError> {
        let given = self.given;
        let layer = given.activations.layers.iter().position(|layer| layer.node == index);
        let layer = layer.expect("invariant: every convolution is a layer");
        let rounded = given.rounded[layer];
        let finest = rounded.exponents.iter().copied().max().unwrap_or(0);
        let from = *self.builder.wire(input);
        let scale = (rounded.log_scale - f64::from(finest)).exp2() * from.scale;
        // All channels of the accumulators have the scale of the finest; a channel `j` bits coarser
        // is shifted left by `j`. Exponents 3, 3 and 1: shifts 0, 0 and 2.
        let shifts: Vec<u8> = rounded.exponents.iter().map(|e| (finest - e) as u8).collect();
        let shifts = if shifts.iter().all(|&e| e == 0) { Vec::new() } else { shifts };
        // The bias is added behind the shifts, so it counts in the finest steps.
        let bias: Vec<i64> = rounded.bias.iter().map(|b| (b / scale).round() as i64).collect();
        let geometry = conv.geometry;
        let weight_bits = given.bit_widths.weight_bits[layer];
        let weights = LayerWeights { weights: rounded.weights.clone(), bias };
        let (kernel, range) = (Kernel::Spatial, from.range);
        let linear = Linear { input, geometry, kernel, weight_bits, shifts, range, scale };
        let linear = linear.bounded(&name, &weights, from.range)?;
        self.layers.insert(name.clone(), weights);
        Ok(self.builder.linear(name, linear)?)
    }

    /// A table: the function of every value that the input can have, rounded to the output's
    /// activation quantizer.
    fn function(
        &mut self,
        node: &Node,
        function: &Function,
        input: WireId,
    ) -> Result<WireId, QuantizeError> {
        let given = self.given;
        let activation = given
            .activations
            .activation(node.output)
            .expect("invariant: a function's result is quantized");
        let (bits, signed) = (
            given.bit_widths.activation_bits[activation],
            given.activations.quantizers[activation].signed,
        );
        let scale = given.scales.activations[activation].exp2();
        let (from, range) = (*self.builder.wire(input), Interval::of_bits(bits, signed));
        // The graph refuses what is too wide; the table of that is not made.
        let Interval { lo, hi } = Interval::of_bits(from.bits.min(MAX_TABLE_BITS), from.signed);
        let table = (lo..=hi)
            .map(|value| {
                let step = function.at(value as f64 * from.scale) / scale;
                // Halves go up, as they do in a requantization.
                ((step + 0.5).floor() as i64).clamp(range.lo, range.hi)
            })
            .collect();
        let lookup = Lookup { input, first: lo, table, bits, signed, scale };
        Ok(self.builder.lookup(node.name.clone(), lookup)?)
    }

    /// The sum of two wires, the coarser one shifted left.
    fn sum(&mut self, name: String, a: WireId, b: WireId) -> Result<WireId, QuantizeError> {
        let ratio = (self.builder.wire(a).scale / self.builder.wire(b).scale).log2().round() as i32;
        let shift = u8::try_from(ratio.unsigned_abs())
            .map_err(|_| QuantizeError::Scales { node: name.clone(), ratio })?;
        let terms = if ratio >= 0 { [(a, shift), (b, 0)] } else { [(a, 0), (b, shift)] };
        Ok(self.builder.add(name, &terms)?)
    }

    /// Whether a node only arranges or chooses values of the quantizer that it has itself.
    fn is_round(&self, node: &Node) -> bool {
        let given = self.given;
        let own = given.activations.activation(node.output);
        // Their integers are those of the quantizer already: a requantization would cost something
        // and change nothing.
        let arranges = match node.op {
            Op::Concat | Op::View(_) | Op::Reorder(_) | Op::MaxPool(_) => true,
            Op::Conv(_) | Op::Relu { .. } | Op::Function(_) | Op::Add | Op::AvgPool(_) => false,
        };
        arranges
            && node.inputs.iter().all(|&input| {
                let source = given.activations.source(given.model, input);
                source.is_some_and(|(activation, _)| Some(activation) == own)
            })
    }

    /// Rounds a value that is an activation quantizer.
    fn round(&mut self, node: &Node, wire: WireId) -> Result<WireId, QuantizeError> {
        let given = self.given;
        let activation = given
            .activations
            .activation(node.output)
            .filter(|_| !matches!(node.op, Op::Function(_)));
        // A function's table rounds, and what is made of rounded values alone is round.
        let Some(activation) = activation.filter(|_| !self.is_round(node)) else {
            return Ok(wire);
        };
        let (bits, signed) = (
            given.bit_widths.activation_bits[activation],
            given.activations.quantizers[activation].signed,
        );
        let ratio = (given.scales.activations[activation] - self.builder.wire(wire).scale.log2())
            .round() as i32;
        let name = given.free(&format!("{}.requant", node.name));
        // An accumulator coarser than its activation quantizer is made finer first: no bit is
        // dropped.
        let wire = match u8::try_from(-ratio) {
            Ok(finer) if finer > 0 => {
                let name = given.free(&format!("{}.finer", node.name));
                self.builder.add(name, &[(wire, finer)])?
            }
            _ => wire,
        };
        let shift = u8::try_from(ratio.max(0))
            .map_err(|_| QuantizeError::Scales { node: node.name.clone(), ratio })?;
        Ok(self.builder.requant(name, wire, shift, bits, signed)?)
    }
}
