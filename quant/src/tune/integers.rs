//! The integer network as what is trained: latent integers, and biases in steps of the output.
//!
//! All scales between wires are powers of two, so a layer is `acc = (q x << shift) + bias` and what
//! reads it `clamp(floor(acc / 2^k + 1/2))`. A latent `v` stands for `q = clamp(floor(v + 1/2))`,
//! and a bias `b` for `round(b 2^k)`. In single precision integers up to 2^24 and their sums are
//! exact: forward, the trainer computes what [`fusion::eval`] does.

use fusion::{Graph, Kernel, Linear, Op, Wire, WireId};
use model::Model;
use protocols::steps::Linearized;
use protocols::weights::{LayerWeights, Weights};
use train::{Adam, Network, Rounding, Table, Trainer};

use super::source;
use super::{Parameters, TuneError};

/// The largest magnitude of a wire: half of what is exact, since the bias may be as large as the
/// products.
const LIMIT: i64 = 1 << 23;
/// How far latents go beyond their largest and least integers, so that they can come back.
const SLACK: f32 = 0.49;
/// Rate of latents of up to four bits, in integers a step; each bit more doubles it, since the
/// integers are as much larger.
const RATE: f32 = 0.006;
/// Rate of biases, in steps of the output.
const BIAS_RATE: f32 = 0.01;

/// The parameters of an integer network.
pub(super) struct Integers {
    graph: Graph,
    weights: Weights,
    layers: Vec<Layer>,
}

/// The parameters of a layer.
struct Layer {
    name: String,
    /// The node of the network that is trained.
    node: usize,
    /// Weights of an output channel.
    fan_in: usize,
    bits: u8,
    /// `2^shift` of each output channel.
    factors: Vec<f32>,
    /// Steps of the accumulators in one of the output, a power of two.
    step: f32,
    latents: Vec<f32>,
    biases: Vec<f32>,
    /// Of latents and of biases.
    moments: [Adam; 2],
    /// What the trainer is given: integers times their shifts.
    products: Vec<f32>,
    offsets: Vec<f32>,
}

impl Integers {
    /// Starts from a network's integers. Latents lie where the float weights do, as far as that is
    /// within what stands for the same integers: the nearest to another one moves first.
    pub(super) fn new(model: &Model, graph: &Graph, weights: &Weights) -> Result<Self, TuneError> {
        check(graph)?;
        let values = values(graph);
        let mut layers = Vec::new();
        for (id, node) in graph.nodes().iter().enumerate() {
            let Op::Linear(linear) = &node.op else { continue };
            if linear.kernel == Kernel::Winograd {
                return Err(TuneError::Winograd { node: node.name.clone() });
            }
            // Logits have no step: one of theirs is about 1, in real numbers.
            let Some(given) = weights.layers.get(&node.name) else { continue };
            let step = step_of(graph, id).unwrap_or_else(|| (1.0 / node.wire.scale).log2());
            let mut layer = Layer::new(&node.name, values[id] - 1, linear, given, step);
            if let Some(floats) = floats(model, &node.name) {
                layer.approach(floats, linear.scale / graph.wire(linear.input).scale);
            }
            layers.push(layer);
        }
        Ok(Self { graph: graph.clone(), weights: weights.clone(), layers })
    }

    /// The integer network, its accumulators' intervals those of the weights as they are.
    pub(super) fn emit(&self) -> Result<(Graph, Weights), TuneError> {
        let mut weights = self.weights.clone();
        for layer in &self.layers {
            weights.layers.insert(layer.name.clone(), layer.integers());
        }
        let mut builder = Graph::builder(self.graph.name(), self.graph.preprocess().clone());
        for node in self.graph.nodes() {
            // Wires behind a layer follow from its interval, as the builder infers them.
            let mut op = node.op.clone();
            if let (Op::Linear(linear), Some(given)) = (&op, weights.layers.get(&node.name)) {
                let input = builder.wire(linear.input).range;
                op = Op::Linear(linear.clone().bounded(&node.name, given, input)?);
            }
            builder.push(node.name.clone(), op)?;
        }
        let graph = builder.finish()?;
        check(&graph)?;
        Ok((graph, weights))
    }
}

impl Parameters for Integers {
    const MAGIC: [u8; 8] = *b"pqtune02";

    fn network(&self) -> Network {
        network(&self.graph)
    }

    /// Gives the trainer the integers as they are.
    fn set(&mut self, trainer: &mut Trainer<f32>) {
        for layer in &mut self.layers {
            layer.settle();
            trainer.set(layer.node, &layer.products, &layer.offsets);
        }
    }

    fn update(&mut self, trainer: &Trainer<f32>, part: f32, step: u64, _: u64) {
        for layer in &mut self.layers {
            if let Some(gradient) = trainer.gradient(layer.node) {
                layer.update(&gradient.weight, &gradient.bias, part, step);
            }
        }
    }

    fn scale(&self) -> f32 {
        self.graph.wire(self.graph.output()).scale as f32
    }

    fn input(&self, images: &[f32], input: &mut Vec<f32>) {
        source::quantize(self.graph.wire(self.graph.input()), images, input);
    }

    fn lists(&self) -> Vec<&[f32]> {
        let layers = self.layers.iter();
        let lists = layers.flat_map(|layer| {
            let [latents, biases] = &layer.moments;
            let of_latents = [&layer.latents, &latents.mean, &latents.square];
            of_latents.into_iter().chain([&layer.biases, &biases.mean, &biases.square])
        });
        lists.map(Vec::as_slice).collect()
    }

    fn lists_mut(&mut self) -> Vec<&mut [f32]> {
        let layers = self.layers.iter_mut();
        let lists = layers.flat_map(|layer| {
            let [latents, biases] = &mut layer.moments;
            let of_latents = [&mut layer.latents, &mut latents.mean, &mut latents.square];
            let of_biases = [&mut layer.biases, &mut biases.mean, &mut biases.square];
            of_latents.into_iter().chain(of_biases)
        });
        lists.map(Vec::as_mut_slice).collect()
    }
}

impl Layer {
    fn new(name: &str, node: usize, linear: &Linear, given: &LayerWeights, log_step: f64) -> Self {
        let (latents, channels) = (given.weights.len(), given.bias.len());
        let factor =
            |channel: usize| f32::from(linear.shifts.get(channel).copied().unwrap_or(0)).exp2();
        let step = log_step.round().max(0.0).exp2() as f32;
        Self {
            name: name.to_owned(),
            node,
            fan_in: latents / channels.max(1),
            bits: linear.weight_bits,
            factors: (0..channels).map(factor).collect(),
            step,
            latents: given.weights.iter().map(|&weight| f32::from(weight)).collect(),
            // A division by a power of two: nothing is lost of integers up to 2^24.
            biases: given.bias.iter().map(|&bias| bias as f32 / step).collect(),
            moments: [Adam::new(latents), Adam::new(channels)],
            products: vec![0.0; latents],
            offsets: vec![0.0; channels],
        }
    }

    /// Moves latents toward the float weights; `scale` is the real value of one step of what is not
    /// shifted.
    fn approach(&mut self, floats: &[f32], scale: f64) {
        let channels = floats.chunks(self.fan_in).zip(self.latents.chunks_mut(self.fan_in));
        for ((floats, latents), factor) in channels.zip(&self.factors) {
            let steps = (1.0 / (scale * f64::from(*factor))) as f32;
            for (latent, float) in latents.iter_mut().zip(floats) {
                let integer = *latent;
                *latent = (float * steps).max(integer - SLACK).min(integer + SLACK);
            }
        }
    }

    /// The least and the largest integer of the weights.
    fn limits(&self) -> [f32; 2] {
        // Two's complement: of 3 bits, -4 to 3.
        let half = f32::from(self.bits - 1).exp2();
        [-half, half - 1.0]
    }

    fn settle(&mut self) {
        let [low, high] = self.limits();
        let channels = self.latents.chunks(self.fan_in).zip(self.products.chunks_mut(self.fan_in));
        for ((latents, products), factor) in channels.zip(&self.factors) {
            for (product, latent) in products.iter_mut().zip(latents) {
                *product = integer(*latent, low, high) * factor;
            }
        }
        for (offset, bias) in self.offsets.iter_mut().zip(&self.biases) {
            *offset = (bias * self.step).round();
        }
    }

    fn update(&mut self, weight: &[f32], bias: &[f32], part: f32, step: u64) {
        let [low, high] = self.limits();
        // The gradient of an integer is that of its product times the shift; the room of
        // `products` holds it until the next batch.
        let channels = weight.chunks(self.fan_in).zip(self.products.chunks_mut(self.fan_in));
        for ((weight, products), factor) in channels.zip(&self.factors) {
            for (product, gradient) in products.iter_mut().zip(weight) {
                *product = gradient * factor;
            }
        }
        for (offset, gradient) in self.offsets.iter_mut().zip(bias) {
            *offset = gradient * self.step;
        }
        let rate = RATE * f32::from(self.bits.saturating_sub(4)).exp2();
        let [latents, biases] = &mut self.moments;
        let within = [low - SLACK, high + SLACK];
        latents.update(&mut self.latents, &self.products, part * rate, step, within);
        let anywhere = [f32::NEG_INFINITY, f32::INFINITY];
        biases.update(&mut self.biases, &self.offsets, part * BIAS_RATE, step, anywhere);
    }

    fn integers(&self) -> LayerWeights {
        let [low, high] = self.limits();
        LayerWeights {
            weights: self.latents.iter().map(|&v| integer(v, low, high) as i8).collect(),
            bias: self.biases.iter().map(|&b| (b * self.step).round() as i64).collect(),
        }
    }
}

/// The float weights of a layer; none where the network has no such layer, as where a factor makes
/// up for scales.
fn floats<'m>(model: &'m Model, name: &str) -> Option<&'m [f32]> {
    let mut layers = model.layers();
    let (_, conv) = layers.find(|(index, _)| model.nodes[*index].name == name)?;
    Some(&conv.weight)
}

/// What a latent stands for.
fn integer(latent: f32, low: f32, high: f32) -> f32 {
    (latent + 0.5).floor().max(low).min(high)
}

/// By wire, the value of the trained network that it is: the input is 0, and the others follow in
/// their order.
fn values(graph: &Graph) -> Vec<usize> {
    let mut next = 0;
    let mut values = Vec::with_capacity(graph.nodes().len());
    for node in graph.nodes() {
        values.push(match &node.op {
            Op::Input { .. } => 0,
            Op::Output { input } => values[*input],
            Op::Linear(_)
            | Op::Add { .. }
            | Op::Product { .. }
            | Op::Relu { .. }
            | Op::Requant { .. }
            | Op::Lookup(_)
            | Op::MaxPool { .. }
            | Op::SumPool { .. }
            | Op::View { .. }
            | Op::Reorder { .. }
            | Op::Concat { .. } => {
                next += 1;
                next
            }
        });
    }
    values
}

fn network(graph: &Graph) -> Network {
    let values = values(graph);
    let mut nodes = Vec::new();
    for node in graph.nodes() {
        let op = match &node.op {
            Op::Input { .. } | Op::Output { .. } => continue,
            Op::Linear(linear) => train::Op::Linear(linear.geometry),
            Op::Add { terms } => train::Op::Add {
                factors: terms.iter().map(|term| f64::from(term.shift).exp2()).collect(),
            },
            Op::Product { .. } => train::Op::Product,
            Op::Relu { .. } => train::Op::Relu { max: None },
            Op::Requant { shift, linearized, .. } => {
                rounding(*shift, &node.wire, linearized.as_ref())
            }
            Op::Lookup(lookup) => train::Op::Table(Table {
                first: lookup.first,
                values: lookup.table.iter().map(|&value| value as f64).collect(),
            }),
            Op::MaxPool { window, .. } => train::Op::MaxPool(*window),
            Op::SumPool { window, .. } => train::Op::SumPool { window: *window, factor: 1.0 },
            Op::View { view, .. } => train::Op::View(*view),
            Op::Reorder { order, .. } => train::Op::Reorder(*order),
            Op::Concat { .. } => train::Op::Concat,
        };
        let inputs = node.op.inputs().into_iter().map(|wire| values[wire]).collect();
        nodes.push(train::Node { op, inputs, shape: node.wire.shape });
    }
    let input = graph.wire(graph.input()).shape;
    Network { input, nodes, output: values[graph.output()] }
}

/// A requantization as the trainer does it.
fn rounding(shift: u8, wire: &Wire, linearized: Option<&Linearized>) -> train::Op {
    let (low, high) = (wire.range.lo as f64, wire.range.hi as f64);
    let rounding = Rounding { factor: (-f64::from(shift)).exp2(), low, high };
    let Some(Linearized { kept, below }) = linearized else {
        return train::Op::Round(rounding);
    };
    // Each has half of the integers that the signed wire holds: those from 0 on where it is kept.
    let floors = kept.iter().map(|kept| if kept { 0.0 } else { -(*below as f32) }).collect();
    train::Op::RoundEach { rounding: Rounding { low: 0.0, ..rounding }, floors }
}

/// The base-two logarithm of how many steps of a layer's accumulators one of the output is; `None`
/// where they end as logits.
fn step_of(graph: &Graph, wire: WireId) -> Option<f64> {
    graph.consumers(wire).into_iter().find_map(|reader| match &graph.node(reader).op {
        Op::Requant { shift, .. } => Some(f64::from(*shift)),
        Op::Add { terms } => {
            // What is shifted left by two on its way has steps that are four times as large.
            let own = terms.iter().find(|term| term.wire == wire)?;
            step_of(graph, reader).map(|step| step - f64::from(own.shift))
        }
        Op::Relu { .. }
        | Op::MaxPool { .. }
        | Op::SumPool { .. }
        | Op::View { .. }
        | Op::Reorder { .. }
        | Op::Concat { .. } => step_of(graph, reader),
        Op::Input { .. }
        | Op::Linear(_)
        | Op::Product { .. }
        | Op::Lookup(_)
        | Op::Output { .. } => None,
    })
}

/// Whether every wire that is rounded holds integers that single precision does. Logits are only
/// looked at by the loss.
fn check(graph: &Graph) -> Result<(), TuneError> {
    for (id, node) in graph.nodes().iter().enumerate() {
        let found = node.wire.range.lo.abs().max(node.wire.range.hi.abs());
        if found > LIMIT && step_of(graph, id).is_some() {
            return Err(TuneError::TooLarge { node: node.name.clone(), found, limit: LIMIT });
        }
    }
    Ok(())
}
