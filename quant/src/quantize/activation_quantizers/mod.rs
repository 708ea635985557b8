//! Where a float network is turned into integers: what is requantized, what stays an accumulator,
//! and whose scales are tied to each other.
//!
//! An *activation quantizer* rounds a value to a few bits: the input, every output of a ReLU, and
//! any other value that a linear layer or an average pooling needs. All else stays exact: the
//! outputs of linear layers and their sums are accumulators, pooling and views of quantized values
//! are those of integers.
//!
//! What is concatenated is rounded alike: a concatenation, its parts, and what these are slices of,
//! are one activation quantizer.
//!
//! Scales: `s_y = s_w s_x 2^k`, and all terms of a sum differ by powers of two. So the scales of
//! the activation quantizers that meet in a sum, and of the activation quantizer that the sum is
//! rounded to, are one real number up to powers of two: they form a *group*. A layer's weight scale
//! is then given, up to a power of two a channel, by the groups of its input and of its target.
//!
//! A product has the scale of its factors' product. A gate, its second factor, has a power of two,
//! so that what the product is rounded to is in the group of the first.
//!
//! What cannot share that number stays out of the group: an average over a window that is no power
//! of two, and a ReLU that is cut off where no scale of the group ends. Where such a value meets a
//! sum, an integer factor makes up for the ratio.

mod joined;
mod ties;

use model::{Mask, Model, Op, ValueId};

use joined::Joined;
use ties::Ties;
pub(super) use ties::{SAME, off_power};

/// Index of an activation quantizer.
pub type QuantizerId = usize;

/// A value that is rounded.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivationQuantizer {
    /// The value; of what is concatenated, the largest concatenation.
    pub value: ValueId,
    /// Its name in reports.
    pub name: String,
    /// Whether it can be negative.
    pub signed: bool,
    /// Where its ReLU is cut off, if it is.
    pub max: Option<f32>,
    /// The elements of its ReLU, if that is of some alone: see [`protocols::steps::Linearized`].
    pub kept: Option<Mask>,
    /// Its group.
    pub group: usize,
    /// Whether it is looked up: the result of a function's table.
    pub looked_up: bool,
    /// Functions that read it.
    pub functions: usize,
    /// Elements that it multiplies, for each product that it is the gate of. Its scale is a power
    /// of two, so that products have the scale of what they multiply, up to a power of two.
    pub multiplies: Vec<usize>,
}

/// How the input is rounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputQuantizer {
    /// Whether it can be negative.
    pub signed: bool,
    /// The base-two logarithm of the scale that it must have, up to a power of two, if any.
    pub mantissa: Option<f64>,
}

/// What a linear layer's accumulators become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// An activation quantizer.
    Quantizer(QuantizerId),
    /// The logits, which are not rounded.
    Logits,
}

/// A linear layer between its activation quantizers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerQuantizers {
    /// The node.
    pub node: usize,
    /// The activation quantizer that its input is, or is pooled or sliced from.
    pub input: QuantizerId,
    /// The base-two logarithm of its input's scale over the activation quantizer's: minus that of
    /// the windows averaged on the way.
    pub input_offset: f64,
    /// What its accumulators become.
    pub target: Target,
    /// The group of the target: the logits have one of their own.
    pub target_group: usize,
}

/// How a model is quantized, before any width is chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivationQuantizers {
    /// All activation quantizers, by value.
    pub quantizers: Vec<ActivationQuantizer>,
    /// All linear layers, in topological order.
    pub layers: Vec<LayerQuantizers>,
    /// Number of groups.
    pub groups: usize,
    /// The input's.
    pub input: InputQuantizer,
    /// The activation quantizer of every value that is one.
    of_value: Vec<Option<QuantizerId>>,
    /// Of concatenations: whether it has parts that those looked at before it have not.
    observed: Vec<bool>,
}

impl ActivationQuantizers {
    /// Finds the activation quantizers of a model.
    pub fn of(model: &Model, input: InputQuantizer) -> Self {
        let values = model.nodes.len() + 1;
        let consumers = consumers(model);
        // `exact[v]`: an accumulator, or pooled or sliced from one; what is read of it is the exact
        // sum.
        let mut exact = vec![false; values];
        // `pooled[v]`: a sum over windows, or chosen from one: wider than what it is a sum of.
        let (mut pooled, mut signed) = (vec![false; values], vec![true; values]);
        let mut of_value: Vec<Option<QuantizerId>> = vec![None; values];
        let mut quantizers: Vec<ActivationQuantizer> = Vec::new();
        let joined = Joined::of(model, input.signed);
        let mut of_class: Vec<Option<QuantizerId>> = vec![None; values];
        for value in 0..values {
            let producer = ValueId(value).producer().map(|node| &model.nodes[node]);
            if let Some(class) = joined.class[value] {
                signed[value] = joined.signed[class];
                // The first of its class makes the quantizer of all.
                let id = *of_class[class].get_or_insert(quantizers.len());
                if id == quantizers.len() {
                    let stands = joined.largest[class];
                    quantizers.push(described(model, &consumers, stands, signed[value], None));
                }
                of_value[value] = Some(id);
                continue;
            }
            let (rounded, can_be_negative, max) = match producer
                .map(|node| (&node.op, &node.inputs))
            {
                None => (true, input.signed, None),
                Some((Op::Relu { max }, _)) => (true, false, *max),
                Some((Op::PartRelu(_), _)) => (true, true, None),
                Some((Op::Function(function), _)) => (true, function.is_signed(), None),
                Some((Op::Mul, inputs)) => {
                    exact[value] = true;
                    // Sums and layers read it rounded: its exact scale is none of their groups'.
                    let relus = only_relus(model, &consumers[value]);
                    (!relus, signed[inputs[0].0] || signed[inputs[1].0], None)
                }
                Some((Op::Conv(_) | Op::Add, _)) => {
                    exact[value] = true;
                    (needs_rounding(model, &consumers[value], value), true, None)
                }
                Some((
                    op @ (Op::MaxPool(_) | Op::View(_) | Op::Reorder(_) | Op::AvgPool(_)),
                    inputs,
                )) => {
                    let unrounded = of_value[inputs[0].0].is_none();
                    let average = matches!(op, Op::AvgPool(_));
                    exact[value] = !average && exact[inputs[0].0] && unrounded;
                    // Tables have one entry for each value of 8 bits, and products are priced by
                    // bits: a sum over windows has more, and is rounded before it is read by one.
                    pooled[value] = average || (pooled[inputs[0].0] && unrounded);
                    let narrow = pooled[value] && needs_few_bits(model, &consumers[value]);
                    let rounded = exact[value] && needs_rounding(model, &consumers[value], value);
                    (rounded || narrow, signed[inputs[0].0], None)
                }
                // Every concatenation is in a class.
                Some((Op::Concat, _)) => (false, false, None),
            };
            signed[value] = can_be_negative;
            if rounded {
                of_value[value] = Some(quantizers.len());
                quantizers.push(described(model, &consumers, ValueId(value), can_be_negative, max));
            }
        }
        let (layers, observed) = (Vec::new(), joined.observed);
        let mut found = Self { quantizers, layers, groups: 0, input, of_value, observed };
        found.tie(model, &consumers);
        found
    }

    /// The activation quantizer of a value, if it is one.
    pub fn activation(&self, value: ValueId) -> Option<QuantizerId> {
        self.of_value[value.0]
    }

    /// The values that an activation quantizer rounds.
    pub fn members(&self, activation: QuantizerId) -> impl Iterator<Item = ValueId> + '_ {
        let all = self.of_value.iter().enumerate();
        let own = all.filter(move |(_, found)| **found == Some(activation));
        own.map(|(value, _)| ValueId(value))
    }

    /// Whether the range of an activation quantizer is told from this value.
    pub fn observes(&self, activation: QuantizerId, value: ValueId) -> bool {
        self.quantizers[activation].value == value || self.observed[value.0]
    }

    /// The activation quantizer that a value is, or is pooled, sliced or cut off from, with the
    /// base-two logarithm of its scale over the activation quantizer's; `None` for accumulators.
    pub fn source(&self, model: &Model, value: ValueId) -> Option<(QuantizerId, f64)> {
        let (mut value, mut offset) = (value, 0.0);
        loop {
            if let Some(activation) = self.activation(value) {
                return Some((activation, offset));
            }
            let node = &model.nodes[value.producer()?];
            match &node.op {
                Op::Conv(_) | Op::Function(_) | Op::Add | Op::Mul | Op::Concat => return None,
                Op::AvgPool(window) => offset -= (window.len() as f64).log2(),
                Op::Relu { .. } | Op::PartRelu(_) | Op::MaxPool(_) => {}
                Op::View(_) | Op::Reorder(_) => {}
            }
            value = node.inputs[0];
        }
    }

    /// Layers that read an activation quantizer.
    pub fn readers(&self, activation: QuantizerId) -> impl Iterator<Item = usize> + '_ {
        (0..self.layers.len()).filter(move |&layer| self.layers[layer].input == activation)
    }

    /// Groups the activation quantizers that meet in sums, and finds each layer's activation
    /// quantizers.
    fn tie(&mut self, model: &Model, consumers: &[Vec<usize>]) {
        // The logits take part as one more item behind the activation quantizers.
        let logits = self.quantizers.len();
        let mut groups = Ties::new(self.quantizers.iter().map(|own| self.anchor(own)));
        for (index, node) in model.nodes.iter().enumerate() {
            match &node.op {
                Op::Add => {
                    let target = self.target(model, consumers, node.output);
                    for &input in &node.inputs {
                        // Terms of one sum differ by shifts: each activation quantizer that feeds
                        // it is tied to what the sum becomes. Layers that feed it read the target's
                        // group below.
                        if let Some((activation, offset)) = self.source(model, input) {
                            groups.join(activation, target.unwrap_or(logits), offset);
                        }
                    }
                }
                Op::Mul => {
                    // The gate's scale is a power of two, or was given: then the product is
                    // multiplied by an integer that makes up for it.
                    let target = self.target(model, consumers, node.output);
                    let gate = self.source(model, node.inputs[1]);
                    let source = self.source(model, node.inputs[0]);
                    if let (Some((gate, scaled)), Some((input, offset))) = (gate, source) {
                        let own = groups.anchor(gate).unwrap_or(0.0);
                        groups.join(input, target.unwrap_or(logits), offset + scaled + own);
                    }
                }
                // A ReLU or an average of an activation quantizer is that activation quantizer
                // requantized, which is a shift too. So is a part of a concatenation.
                Op::Relu { .. }
                | Op::PartRelu(_)
                | Op::AvgPool(_)
                | Op::MaxPool(_)
                | Op::View(_)
                | Op::Reorder(_) => {
                    let area = if let Op::AvgPool(window) = &node.op { window.len() } else { 1 };
                    if let (Some(own), Some((activation, offset))) =
                        (self.activation(node.output), self.source(model, node.inputs[0]))
                    {
                        groups.join(own, activation, offset - (area as f64).log2());
                    }
                }
                Op::Conv(_) => {
                    let target = self.target(model, consumers, node.output);
                    let Some((input, input_offset)) = self.source(model, node.inputs[0]) else {
                        continue;
                    };
                    self.layers.push(LayerQuantizers {
                        node: index,
                        input,
                        input_offset,
                        target: target.map_or(Target::Logits, Target::Quantizer),
                        target_group: target.unwrap_or(logits),
                    });
                }
                // A table maps any scale to any other; parts of a concatenation have its own.
                Op::Function(_) | Op::Concat => {}
            }
        }
        let names = groups.number();
        self.groups = names.iter().max().map_or(0, |most| most + 1);
        for (activation, group) in self.quantizers.iter_mut().zip(&names) {
            activation.group = *group;
        }
        for layer in &mut self.layers {
            layer.target_group = names[layer.target_group];
        }
    }

    /// The base-two logarithm of the scale that an activation quantizer of 8 bits must have, up to
    /// a power of two, if any.
    fn anchor(&self, quantizer: &ActivationQuantizer) -> Option<f64> {
        match quantizer.value.producer() {
            None => self.input.mantissa,
            Some(_) => {
                let cut_off = quantizer.max.map(|max| (f64::from(max) / 255.0).log2());
                cut_off.or_else(|| (!quantizer.multiplies.is_empty()).then_some(0.0))
            }
        }
    }

    /// The activation quantizer that an accumulator is rounded to, following sums, pooling and
    /// views; `None` for logits.
    fn target(
        &self,
        model: &Model,
        consumers: &[Vec<usize>],
        value: ValueId,
    ) -> Option<QuantizerId> {
        let mut value = value;
        loop {
            if let Some(activation) = self.activation(value) {
                return Some(activation);
            }
            value = model.nodes[*consumers[value.0].first()?].output;
        }
    }

    /// As [`Self::target`], of a sum that is being emitted.
    pub(super) fn sum_target(&self, model: &Model, value: ValueId) -> Option<QuantizerId> {
        self.target(model, &consumers(model), value)
    }
}

/// How many of these nodes are functions.
fn functions(model: &Model, nodes: &[usize]) -> usize {
    nodes.iter().filter(|&&node| is_function(&model.nodes[node].op)).count()
}

/// The activation quantizer of a value; its group is not known yet.
fn described(
    model: &Model,
    consumers: &[Vec<usize>],
    value: ValueId,
    signed: bool,
    max: Option<f32>,
) -> ActivationQuantizer {
    let producer = value.producer().map(|node| &model.nodes[node]);
    let name = producer.map_or("input", |node| &node.name).to_owned();
    let looked_up = producer.is_some_and(|node| is_function(&node.op));
    let functions = functions(model, &consumers[value.0]);
    let multiplies = multiplies(model, consumers, value);
    let kept = producer.and_then(|node| match &node.op {
        Op::PartRelu(mask) => Some(mask.clone()),
        Op::Relu { .. } | Op::Conv(_) | Op::Function(_) | Op::Add | Op::Mul => None,
        Op::MaxPool(_) | Op::AvgPool(_) | Op::View(_) | Op::Reorder(_) | Op::Concat => None,
    });
    let group = 0;
    ActivationQuantizer { value, name, signed, max, kept, group, looked_up, functions, multiplies }
}

/// The elements of every product whose gate a value is, itself or rearranged.
fn multiplies(model: &Model, consumers: &[Vec<usize>], value: ValueId) -> Vec<usize> {
    let nodes = consumers[value.0].iter().map(|&node| &model.nodes[node]);
    let gated = nodes.flat_map(|node| match &node.op {
        Op::Mul if node.inputs[1] == value => vec![node.elements()],
        Op::MaxPool(_) | Op::View(_) | Op::Reorder(_) => multiplies(model, consumers, node.output),
        Op::Conv(_) | Op::Relu { .. } | Op::PartRelu(_) | Op::Function(_) => Vec::new(),
        Op::Add | Op::Mul | Op::AvgPool(_) | Op::Concat => Vec::new(),
    });
    gated.collect()
}

/// Whether any of these nodes takes values of few bits alone.
fn needs_few_bits(model: &Model, nodes: &[usize]) -> bool {
    nodes.iter().any(|&node| matches!(model.nodes[node].op, Op::Function(_) | Op::Mul))
}

/// Whether these nodes, if there are any, are all ReLUs.
fn only_relus(model: &Model, nodes: &[usize]) -> bool {
    nodes.iter().all(|&node| is_relu(&model.nodes[node].op))
}

/// Whether it is a ReLU, of all elements or of some.
pub(crate) const fn is_relu(op: &Op) -> bool {
    matches!(op, Op::Relu { .. } | Op::PartRelu(_))
}

fn is_function(op: &Op) -> bool {
    matches!(op, Op::Function(_))
}

fn consumers(model: &Model) -> Vec<Vec<usize>> {
    let mut consumers = vec![Vec::new(); model.nodes.len() + 1];
    for (index, node) in model.nodes.iter().enumerate() {
        for input in &node.inputs {
            consumers[input.0].push(index);
        }
    }
    consumers
}

/// Whether an accumulator must be rounded where it is: for a linear layer, an average, a function,
/// a product, or several readers that are not all ReLUs.
fn needs_rounding(model: &Model, consumers: &[usize], value: usize) -> bool {
    let ops = consumers.iter().map(|&node| &model.nodes[node].op);
    let linear = ops
        .clone()
        .any(|op| matches!(op, Op::Conv(_) | Op::AvgPool(_) | Op::Function(_) | Op::Mul));
    let relus = ops.filter(|op| is_relu(op)).count();
    let revealed = model.output == ValueId(value);
    linear
        || (consumers.len() > 1 && relus < consumers.len())
        || (revealed && !consumers.is_empty())
}
