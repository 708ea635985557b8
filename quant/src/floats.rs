//! The weights and biases of a float network as what is trained.

use model::{Conv, Model};
use train::{Adam, Network, Trainer};

use crate::tune::Parameters;

/// A network and the moments of its layers.
pub(crate) struct Floats {
    model: Model,
    /// Of each layer, in their order: of weights and of biases.
    moments: Vec<[Adam; 2]>,
    /// Of weights and of biases.
    rate: f32,
}

impl Floats {
    pub(crate) fn new(model: Model, rate: f32) -> Self {
        let moments =
            model.layers().map(|(_, conv)| [conv.weight.len(), conv.bias.len()].map(Adam::new));
        Self { moments: moments.collect(), model, rate }
    }

    /// The network as it is.
    pub(crate) const fn model(&self) -> &Model {
        &self.model
    }

    /// The weights and biases of a layer, by its node, to be set by something else.
    ///
    /// # Panics
    /// Where the node is no layer.
    pub(crate) fn layer(&mut self, node: usize) -> (&mut [f32], &mut [f32]) {
        let Conv { weight, bias, .. } =
            self.model.nodes[node].op.conv_mut().expect("invariant: the node is a layer");
        (weight, bias)
    }
}

impl Parameters for Floats {
    const MAGIC: [u8; 8] = *b"pqshape1";

    fn network(&self) -> Network {
        Network::from(&self.model)
    }

    fn set(&mut self, trainer: &mut Trainer<f32>) {
        for (node, conv) in self.model.layers() {
            trainer.set(node, &conv.weight, &conv.bias);
        }
    }

    fn update(&mut self, trainer: &Trainer<f32>, part: f32, step: u64, _: u64) {
        let (rate, anywhere) = (part * self.rate, [f32::NEG_INFINITY, f32::INFINITY]);
        for ((node, conv), [weights, biases]) in layers(&mut self.model).zip(&mut self.moments) {
            let Some(gradient) = trainer.gradient(node) else { continue };
            weights.update(&mut conv.weight, &gradient.weight, rate, step, anywhere);
            biases.update(&mut conv.bias, &gradient.bias, rate, step, anywhere);
        }
    }

    fn scale(&self) -> f32 {
        1.0
    }

    fn input(&self, images: &[f32], input: &mut Vec<f32>) {
        images.clone_into(input);
    }

    fn lists(&self) -> Vec<&[f32]> {
        let layers = self.model.layers().zip(&self.moments);
        let lists = layers.flat_map(|((_, conv), [weights, biases])| {
            let of_weights = [&conv.weight, &weights.mean, &weights.square];
            of_weights.into_iter().chain([&conv.bias, &biases.mean, &biases.square])
        });
        lists.map(Vec::as_slice).collect()
    }

    fn lists_mut(&mut self) -> Vec<&mut [f32]> {
        let layers = layers(&mut self.model).zip(&mut self.moments);
        let lists = layers.flat_map(|((_, conv), [weights, biases])| {
            let of_weights = [&mut conv.weight, &mut weights.mean, &mut weights.square];
            let of_biases = [&mut conv.bias, &mut biases.mean, &mut biases.square];
            of_weights.into_iter().chain(of_biases)
        });
        lists.map(Vec::as_mut_slice).collect()
    }
}

/// The layers of a network, with their nodes.
fn layers(model: &mut Model) -> impl Iterator<Item = (usize, &mut Conv)> {
    let nodes = model.nodes.iter_mut().enumerate();
    nodes.filter_map(|(index, node)| Some((index, node.op.conv_mut()?)))
}
