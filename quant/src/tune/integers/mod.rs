//! The integer network as what is trained: latent integers, and biases in steps of the output.
//!
//! All scales between wires are powers of two, so a layer is `acc = (q x << shift) + bias` and what
//! reads it `clamp(floor(acc / 2^k + 1/2))`. A latent `v` stands for `q = clamp(floor(v + 1/2))`,
//! and a bias `b` for `round(b 2^k)`. In single precision integers up to 2^24 and their sums are
//! exact: forward, the trainer computes what [`fusion::eval`] does.
//!
//! Where a layer's weights are in Winograd's domain, latents stand for these.

mod hold;
mod layer;
mod narrow;
mod network;

use fusion::{Graph, Interval, Op};
use model::Model;
use protocols::weights::Weights;
use train::{Network, Trainer};

use super::source;
use super::{Parameters, TuneError, TuneOptions};
use layer::Layer;
use narrow::Reach;
use network::{check, network, step_of, values};

/// The parameters of an integer network.
pub(super) struct Integers {
    graph: Graph,
    weights: Weights,
    layers: Vec<Layer>,
    /// See [`TuneOptions::rate`].
    rate: f32,
    /// See [`TuneOptions::narrow`]; of a batch's sum.
    narrow: f32,
}

impl Integers {
    /// Starts from a network's integers. Latents lie where the float weights do, as far as that is
    /// within what stands for the same integers: the nearest to another one moves first.
    pub(super) fn new(
        model: &Model,
        (graph, weights): (&Graph, &Weights),
        options: &TuneOptions,
    ) -> Result<Self, TuneError> {
        check(graph, weights)?;
        // What a ring costs is about proportional to the elements that are in it.
        let linear = graph.nodes().iter().filter(|node| matches!(node.op, Op::Linear(_)));
        let elements: usize = linear.map(|node| node.wire.elements()).sum();
        let values = values(graph);
        let rooms = if options.hold { fusion::rooms(graph)? } else { fusion::Rooms::new() };
        let mut layers = Vec::new();
        for (id, node) in graph.nodes().iter().enumerate() {
            let Op::Linear(linear) = &node.op else { continue };
            // Logits have no step: one of theirs is about 1, in real numbers.
            let Some(given) = weights.layers.get(&node.name) else { continue };
            let step = step_of(graph, id).unwrap_or_else(|| (1.0 / node.wire.scale).log2());
            let Interval { lo, hi } = graph.wire(linear.input).range;
            let share = node.wire.elements() as f32 / elements as f32;
            let reach = Reach { input: [lo as f32, hi as f32], share };
            let named = (node.name.as_str(), values[id] - 1);
            let mut layer = Layer::new(named, linear, given, (step, reach));
            if let Some(floats) = floats(model, &node.name) {
                layer.approach(floats, linear.scale / graph.wire(linear.input).scale);
            }
            if let Some(room) = rooms.get(&node.name) {
                layer.hold(*room);
            }
            layers.push(layer);
        }
        Ok(Self {
            graph: graph.clone(),
            weights: weights.clone(),
            layers,
            rate: options.rate,
            narrow: options.narrow * options.batch.max(1) as f32,
        })
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
        check(&graph, &weights)?;
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
            let node = layer.node;
            let [weights, biases] = layer.settle();
            trainer.set(node, weights, biases);
        }
    }

    fn update(&mut self, trainer: &Trainer<f32>, part: f32, step: u64, of: u64) {
        // Weights first find where they are needed.
        let narrow = if 2 * step > of { self.narrow } else { 0.0 };
        let rates = [part * self.rate, part];
        for layer in &mut self.layers {
            if let Some(gradient) = trainer.gradient(layer.node) {
                layer.update(gradient, (rates, narrow), step);
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

/// The float weights of a layer; none where the network has no such layer, as where a factor makes
/// up for scales.
fn floats<'m>(model: &'m Model, name: &str) -> Option<&'m [f32]> {
    let mut layers = model.layers();
    let (_, conv) = layers.find(|(index, _)| model.nodes[*index].name == name)?;
    Some(&conv.weight)
}
