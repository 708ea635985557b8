//! Where a float network is turned into integers: what is requantized, what stays an accumulator,
//! and whose scales are tied to each other.
//!
//! An *activation quantizer* rounds a value to a few bits: the input, every output of a ReLU, and
//! any other value that a linear layer or an average pooling needs. All else stays exact: the
//! outputs of linear layers and their sums are accumulators, pooling and views of quantized values
//! are those of integers.
//!
//! Scales: `s_y = s_w s_x 2^k`, and all terms of a sum differ by powers of two. So the scales of
//! the activation quantizers that meet in a sum, and of the activation quantizer that the sum is
//! rounded to, are one real number up to powers of two: they form a *group*. A layer's weight scale
//! is then given, up to a power of two a channel, by the groups of its input and of its target.
//!
//! What cannot share that number stays out of the group: an average over a window that is no power
//! of two, and a ReLU that is cut off where no scale of the group ends. Where such a value meets a
//! sum, an integer factor makes up for the ratio.

use model::{Model, Op, ValueId};

/// Index of an activation quantizer.
pub type QuantizerId = usize;

/// A value that is rounded.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivationQuantizer {
    /// The value.
    pub value: ValueId,
    /// Its name in reports.
    pub name: String,
    /// Whether it can be negative.
    pub signed: bool,
    /// Where its ReLU is cut off, if it is.
    pub max: Option<f32>,
    /// Its group.
    pub group: usize,
    /// Whether it is looked up: the result of a function's table.
    pub looked_up: bool,
    /// Functions that read it.
    pub functions: usize,
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
        let mut pooled = vec![false; values];
        let mut signed = vec![true; values];
        let mut of_value = vec![None; values];
        let mut quantizers = Vec::new();
        for value in 0..values {
            let producer = ValueId(value).producer().map(|node| &model.nodes[node]);
            let (rounded, can_be_negative, max) = match producer
                .map(|node| (&node.op, &node.inputs))
            {
                None => (true, input.signed, None),
                Some((Op::Relu { max }, _)) => (true, false, *max),
                Some((Op::Function(function), _)) => (true, function.is_signed(), None),
                Some((Op::Conv(_) | Op::Add, _)) => {
                    exact[value] = true;
                    (needs_rounding(model, &consumers[value], value), true, None)
                }
                Some((op @ (Op::MaxPool(_) | Op::View(_) | Op::AvgPool(_)), inputs)) => {
                    let unrounded = of_value[inputs[0].0].is_none();
                    let average = matches!(op, Op::AvgPool(_));
                    exact[value] = !average && exact[inputs[0].0] && unrounded;
                    // Tables have one entry for each value of 8 bits: a sum over windows has more,
                    // and is rounded before it is looked up.
                    pooled[value] = average || (pooled[inputs[0].0] && unrounded);
                    let looked_up = pooled[value] && functions(model, &consumers[value]) > 0;
                    let signed = signed[inputs[0].0];
                    let rounded = exact[value] && needs_rounding(model, &consumers[value], value);
                    (rounded || looked_up, signed, None)
                }
            };
            signed[value] = can_be_negative;
            if rounded {
                of_value[value] = Some(quantizers.len());
                let name = producer.map_or("input", |node| &node.name).to_owned();
                let looked_up = producer.is_some_and(|node| is_function(&node.op));
                quantizers.push(ActivationQuantizer {
                    value: ValueId(value),
                    name,
                    signed: can_be_negative,
                    max,
                    group: 0,
                    looked_up,
                    functions: functions(model, &consumers[value]),
                });
            }
        }
        let mut found = Self { quantizers, layers: Vec::new(), groups: 0, input, of_value };
        found.tie(model, &consumers);
        found
    }

    /// The activation quantizer of a value, if it is one.
    pub fn activation(&self, value: ValueId) -> Option<QuantizerId> {
        self.of_value[value.0]
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
                Op::Conv(_) | Op::Function(_) | Op::Add => return None,
                Op::AvgPool(window) => offset -= (window.len() as f64).log2(),
                Op::Relu { .. } | Op::MaxPool(_) | Op::View(_) => {}
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
                // A ReLU or an average of an activation quantizer is that activation quantizer
                // requantized, which is a shift too.
                Op::Relu { .. } | Op::AvgPool(_) | Op::MaxPool(_) | Op::View(_) => {
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
                // A table maps any scale to any other.
                Op::Function(_) => {}
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
            Some(_) => quantizer.max.map(|max| (f64::from(max) / 255.0).log2()),
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

/// How far a ratio of scales is from a power of two, as a base-two logarithm.
pub(super) fn off_power(log_ratio: f64) -> f64 {
    (log_ratio - log_ratio.round()).abs()
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
/// or several readers that are not all ReLUs.
fn needs_rounding(model: &Model, consumers: &[usize], value: usize) -> bool {
    let ops = consumers.iter().map(|&node| &model.nodes[node].op);
    let linear = ops.clone().any(|op| matches!(op, Op::Conv(_) | Op::AvgPool(_) | Op::Function(_)));
    let relus = ops.filter(|op| matches!(op, Op::Relu { .. })).count();
    let revealed = model.output == ValueId(value);
    linear
        || (consumers.len() > 1 && relus < consumers.len())
        || (revealed && !consumers.is_empty())
}

/// How far scales that are taken for each other may be apart, as a base-two logarithm.
pub(super) const SAME: f64 = 1e-6;

/// A union of what is tied; by root, the scale that it must have, up to a power of two.
struct Ties {
    above: Vec<usize>,
    anchors: Vec<Option<f64>>,
}

impl Ties {
    /// Activation quantizers with their anchors, and the logits behind them.
    fn new(anchors: impl Iterator<Item = Option<f64>>) -> Self {
        let anchors: Vec<Option<f64>> = anchors.chain([None]).collect();
        Self { above: (0..anchors.len()).collect(), anchors }
    }

    fn root(&self, mut item: usize) -> usize {
        while self.above[item] != item {
            item = self.above[item];
        }
        item
    }

    /// Ties two items whose scales are `offset` apart, unless no shift brings them together.
    fn join(&mut self, a: usize, b: usize, offset: f64) {
        let (a, b) = (self.root(a), self.root(b));
        let (above, below) = (a.min(b), a.max(b));
        let apart = match (self.anchors[above], self.anchors[below]) {
            (Some(one), Some(other)) => off_power(one - other),
            (Some(_), None) | (None, Some(_)) | (None, None) => 0.0,
        };
        // Left apart, each of the two keeps the scale that it must have; the sum that they meet in
        // multiplies one of them.
        if off_power(offset) > SAME || apart > SAME {
            return;
        }
        self.anchors[above] = self.anchors[above].or(self.anchors[below]);
        self.above[below] = above;
    }

    /// The group of every item, numbered from zero on.
    fn number(&self) -> Vec<usize> {
        let mut names = Vec::new();
        (0..self.above.len())
            .map(|item| {
                let root = self.root(item);
                names.iter().position(|&name| name == root).unwrap_or_else(|| {
                    names.push(root);
                    names.len() - 1
                })
            })
            .collect()
    }
}
