//! From a float network, scales and rounded weights to the integer network.

use std::collections::BTreeMap;

use fusion::{Builder, Graph, Interval, Kernel, Linear, Lookup, WireId};
use model::{Conv, Function, Model, Node, Op, Preprocess, ValueId};
use protocols::linear::Geometry;
use protocols::steps::Linearized;
use protocols::weights::{LayerWeights, Weights, fresh_salt};

use super::activation_quantizers::{
    ActivationQuantizers, LayerQuantizers, QuantizerId, SAME, Target, off_power,
};
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

/// Bits below a step of the target from which on a layer counts for nothing: 40 are so many that
/// the sum of 2^24 products of 8 bits is less than a step.
const NEGLIGIBLE: f64 = 40.0;
/// Bits below a step of the target that biases alone are given.
const BIAS_BITS: f64 = 16.0;

/// What a layer without weights gives.
struct Constant<'a> {
    bias: &'a [f64],
    scale: f64,
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

    /// The width of an activation quantizer, and the least integer of it.
    fn width(&self, activation: QuantizerId) -> (u8, i64) {
        (self.bit_widths.activation_bits[activation], self.scales.lows[activation])
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
        let (bits, low) = given.width(activation);
        let (shape, scale) = (given.model.input, given.scales.activations[activation].exp2());
        let input = fusion::Op::Input { shape, bits, low, scale };
        let wire = self.builder.push(given.free("input"), input)?;
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
            Op::Add => self.sum(node, input, self.wires[node.inputs[1].0])?,
            Op::Mul => self.builder.product(name, input, self.wires[node.inputs[1].0])?,
            Op::Relu { .. } => self.builder.relu(name, input)?,
            // Its requantization cuts off the elements that it has a ReLU of.
            Op::PartRelu(_) => input,
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
        let (rounded, place) = (given.rounded[layer], given.activations.layers[layer]);
        let finest = rounded.exponents.iter().copied().max().unwrap_or(0);
        let from = *self.builder.wire(input);
        let scale = (rounded.log_scale - f64::from(finest)).exp2() * from.scale;
        if let Some(scale) = self.constant_scale(&place, rounded, scale.log2()) {
            let outputs = Constant { bias: &rounded.bias, scale: scale.exp2() };
            return self.constant(name, conv, input, &outputs, given.bit_widths.weight_bits[layer]);
        }
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

    /// The base-two logarithm of the scale of a layer that gives its biases, whatever it reads: all
    /// of its weights are zero, or count for nothing beside a step of its target. `None` for other
    /// layers. Accumulators have the scale `own`, up to a power of two.
    fn constant_scale(
        &self,
        place: &LayerQuantizers,
        rounded: &QuantizedWeights,
        own: f64,
    ) -> Option<f64> {
        let largest = rounded.bias.iter().fold(0.0_f64, |most, bias| bias.abs().max(most));
        // Products of a layer count where they reach a step of what the sum is rounded to. Logits
        // are not rounded: all of theirs count.
        let step = match place.target {
            Target::Quantizer(target) => self.given.scales.activations[target],
            Target::Logits if largest > 0.0 => largest.log2(),
            Target::Logits => own,
        };
        let counts = match place.target {
            Target::Quantizer(_) => own >= step - NEGLIGIBLE,
            Target::Logits => true,
        };
        if counts && rounded.weights.iter().any(|&weight| weight != 0) {
            return None;
        }
        // Still a power of two from the scale that the layer would have: the sum that it goes into
        // knows no other.
        Some(own + (step - BIAS_BITS - own).floor())
    }

    /// A layer without weights.
    fn constant(
        &mut self,
        name: String,
        conv: &Conv,
        input: WireId,
        outputs: &Constant<'_>,
        weight_bits: u8,
    ) -> Result<WireId, QuantizeError> {
        let (geometry, scale) = (conv.geometry, outputs.scale);
        let bias = outputs.bias.iter().map(|b| (b / scale).round() as i64).collect();
        let weights = LayerWeights { weights: vec![0; conv.weight.len()], bias };
        let (shifts, kernel) = (Vec::new(), Kernel::Spatial);
        let range = self.builder.wire(input).range;
        let linear = Linear { input, geometry, kernel, weight_bits, shifts, range, scale };
        let linear = linear.bounded(&name, &weights, range)?;
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
        let (bits, low) = given.width(activation);
        let scale = given.scales.activations[activation].exp2();
        let (from, range) = (*self.builder.wire(input), Interval::from(low, bits));
        // The graph refuses what is too wide; the table of that is not made.
        let Interval { lo, hi } = Interval::from(from.low, from.bits.min(MAX_TABLE_BITS));
        let table = (lo..=hi)
            .map(|value| {
                let step = function.at(value as f64 * from.scale) / scale;
                // Halves go up, as they do in a requantization.
                ((step + 0.5).floor() as i64).clamp(range.lo, range.hi)
            })
            .collect();
        let lookup = Lookup { input, first: lo, table, bits, low, scale };
        Ok(self.builder.lookup(node.name.clone(), lookup)?)
    }

    /// The sum of two wires, the coarser one shifted left.
    fn sum(&mut self, node: &Node, a: WireId, b: WireId) -> Result<WireId, QuantizeError> {
        let (mut a, mut b, name) = (a, b, node.name.clone());
        // Terms that agree with each other are summed as they are: what reads the sum makes up for
        // the rest, on one wire instead of two.
        if off_power(self.log_scale(a) - self.log_scale(b)) > SAME {
            let wanted = self.sum_scale(node).unwrap_or_else(|| self.log_scale(a));
            a = self.on_scale(&name, a, wanted)?;
            b = self.on_scale(&name, b, wanted)?;
        }
        let ratio = (self.log_scale(a) - self.log_scale(b)).round() as i32;
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
            Op::Conv(_) | Op::Relu { .. } | Op::PartRelu(_) | Op::Function(_) => false,
            Op::Add | Op::Mul | Op::AvgPool(_) => false,
        };
        arranges
            && node.inputs.iter().all(|&input| {
                let source = given.activations.source(given.model, input);
                source.is_some_and(|(activation, _)| Some(activation) == own)
            })
    }

    /// The base-two logarithm of the scale of what a sum becomes, up to a power of two: that of its
    /// activation quantizer, or of a layer that makes logits.
    fn sum_scale(&self, node: &Node) -> Option<f64> {
        let Emit { model, activations, scales, .. } = *self.given;
        if let Some(target) = activations.sum_target(model, node.output) {
            return Some(scales.activations[target]);
        }
        let mut layers = activations.layers.iter().zip(&scales.layers);
        let (layer, scale) = layers.find(|(layer, _)| layer.target == Target::Logits)?;
        Some(scale + scales.activations[layer.input] + layer.input_offset)
    }

    fn log_scale(&self, wire: WireId) -> f64 {
        self.builder.wire(wire).scale.log2()
    }

    /// A wire whose scale is a power of two away from the one wanted: the wire itself, or the wire
    /// times the integer that makes up for the ratio best.
    ///
    /// A sum of 9 values of scale 1 is an average of scale 1/9. With 1/512 wanted it is multiplied
    /// by 57: 57/512 is 1/9 but for 0.2 %.
    fn on_scale(
        &mut self,
        reader: &str,
        wire: WireId,
        wanted: f64,
    ) -> Result<WireId, QuantizeError> {
        let ratio = self.log_scale(wire) - wanted;
        if off_power(ratio) <= SAME {
            return Ok(wire);
        }
        // The integer has seven bits, 64 to 127: the most that a weight of 8 bits can be, so that
        // the ratio is met within 1/128, and mostly far better.
        let factor = (ratio - ratio.floor() + 6.0).exp2().round().min(127.0);
        let scale = (wanted + ratio.floor() - 6.0).exp2();
        let from = *self.builder.wire(wire);
        let [channels, in_h, in_w] = from.shape;
        let one = Geometry { in_h, in_w, ..Geometry::dense(1, 1) };
        let geometry =
            Geometry { in_channels: channels, out_channels: channels, groups: channels, ..one };
        let weights =
            LayerWeights { weights: vec![factor as i8; channels], bias: vec![0; channels] };
        let name = self.unused(&format!("{reader}.rescale"));
        let (shifts, kernel, range) = (Vec::new(), Kernel::Spatial, from.range);
        let linear = Linear { input: wire, geometry, kernel, weight_bits: 8, shifts, range, scale };
        let linear = linear.bounded(&name, &weights, from.range)?;
        self.layers.insert(name.clone(), weights);
        Ok(self.builder.linear(name, linear)?)
    }

    /// A name that neither a node of the network has, nor a layer so far.
    fn unused(&self, wanted: &str) -> String {
        let mut name = self.given.free(wanted);
        while self.layers.contains_key(&name) {
            name = self.given.free(&format!("{name}.more"));
        }
        name
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
        let (bits, low) = given.width(activation);
        let wire = self.on_scale(&node.name, wire, given.scales.activations[activation])?;
        let ratio = (given.scales.activations[activation] - self.log_scale(wire)).round() as i32;
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
        if let Some(kept) = &given.activations.quantizers[activation].kept {
            // A bit more than the width that was chosen: for the sign of linear elements.
            let below = given.scales.below[activation];
            let linearized = Linearized { kept: kept.clone(), below };
            return Ok(self.builder.linearized(name, wire, (shift, bits + 1), linearized)?);
        }
        let requant = fusion::Op::Requant { input: wire, shift, bits, low, linearized: None };
        Ok(self.builder.push(name, requant)?)
    }
}
