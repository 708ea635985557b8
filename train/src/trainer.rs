//! Gradients of a batch, on all cores.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::kernels::Number;
use crate::layer::{Layer, Packed};
use crate::layout::Layout;
use crate::network::{Network, Op};
use crate::steps::{Step, steps};
use crate::strip::{Shared, Strip};

/// Images of a strip: what one core does before sums meet.
const STRIP: usize = 8;

/// Weights and biases of a layer, or their gradients, in the order of [`model::Conv`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters<T> {
    /// `[K, C / groups, kernel rows, kernel columns]`; in Winograd's domain `[16, K, C / groups]`.
    pub weight: Vec<T>,
    /// One for each output channel.
    pub bias: Vec<T>,
}

/// Takes batches through a network. All memory is that of [`Trainer::new`]: a step allocates none.
#[derive(Clone)]
pub struct Trainer<T> {
    layout: Layout,
    steps: Vec<Step>,
    packed: Vec<Option<Packed<T>>>,
    /// By node: what each element has of its own, as it lies; or empty.
    numbers: Vec<Vec<T>>,
    gradients: Vec<Option<Parameters<T>>>,
    strips: Vec<Strip<T>>,
    input: usize,
    output: usize,
}

impl<T: Number> Trainer<T> {
    /// Memory for batches of up to so many images. All weights are zero.
    ///
    /// # Panics
    /// Where the network is not one: its shapes do not follow from each other.
    pub fn new(network: &Network, images: usize) -> Self {
        let layout = Layout::of(network);
        let steps = steps(network, &layout);
        let packed: Vec<Option<Packed<T>>> =
            steps.iter().map(|step| step.layer().map(Layer::zeros)).collect();
        let mut gradients = vec![None; steps.len()];
        for (gradient, step) in gradients.iter_mut().zip(&steps) {
            let Some(layer) = step.layer() else { continue };
            let [weights, biases] = layer.parameters();
            *gradient = Some(Parameters {
                weight: vec![T::zero(); weights],
                bias: vec![T::zero(); biases],
            });
        }
        let mut numbers = vec![Vec::new(); steps.len()];
        for (index, node) in network.nodes.iter().enumerate() {
            let (Op::PRelu { slopes: own, .. } | Op::RoundEach { floors: own, .. }) = &node.op
            else {
                continue;
            };
            let own: Vec<T> = own.iter().map(|&number| T::of(f64::from(number))).collect();
            numbers[index] = vec![T::zero(); steps[index].place.len()];
            // The frame and the lanes behind the last channel stay zero: they are never read out.
            steps[index].place.scatter(&own, &mut numbers[index]);
            if steps[index].has_slopes() {
                let weight = vec![T::zero(); own.len()];
                gradients[index] = Some(Parameters { weight, bias: Vec::new() });
            }
        }
        let mut trainer = Self {
            layout,
            steps,
            packed,
            numbers,
            gradients,
            strips: Vec::new(),
            input: network.input.iter().product(),
            output: network.output,
        };
        // Each strip has memory of its own, whichever core takes it.
        let strip = Strip::new(&trainer.shared());
        trainer.strips = vec![strip; images.div_ceil(STRIP)];
        trainer
    }

    /// Sets the weights and biases of a node, or its slopes, as weights, and no biases.
    ///
    /// # Panics
    /// Where the node is no layer and learns no slopes, or has another number of either.
    pub fn set(&mut self, node: usize, weight: &[T], bias: &[T]) {
        let step = &self.steps[node];
        let gradient = self.gradients[node].as_ref().expect("invariant: a layer has parameters");
        assert_eq!(
            [weight.len(), bias.len()],
            [gradient.weight.len(), gradient.bias.len()],
            "invariant: as many parameters as the layer's shape says"
        );
        if step.has_slopes() {
            return step.place.scatter(weight, &mut self.numbers[node]);
        }
        let layer = step.layer().expect("invariant: the node is a layer");
        let packed = self.packed[node].as_mut().expect("invariant: a layer has parameters");
        layer.pack(weight, bias, packed);
    }

    /// The gradients of a node, of the batch that was done last; `None` for what is no layer.
    pub fn gradient(&self, node: usize) -> Option<&Parameters<T>> {
        self.gradients[node].as_ref()
    }

    /// The sum of the losses of a batch, `[N, C, H, W]` row-major; their gradients are then in
    /// [`Trainer::gradient`]. The loss of an image is given its index in the batch and its output,
    /// and writes the gradient of the output.
    ///
    /// # Panics
    /// Where the batch is no whole number of images, or of more than there is memory for.
    pub fn step(&mut self, batch: &[T], loss: impl Fn(usize, &[T], &mut [T]) -> f64 + Sync) -> f64 {
        let used = self.each(batch, |strip, shared, index| {
            let [output, cotangent] = &mut strip.output;
            strip.loss += loss(index, output, cotangent);
            strip.backward(shared);
        });
        self.gather(used);
        self.strips[..used].iter().map(|strip| strip.loss).sum()
    }

    /// Evaluates a batch; writes the outputs, row-major, one image after the other.
    ///
    /// # Panics
    /// As [`Trainer::step`]; and where there is no room for as many outputs.
    pub fn outputs(&mut self, batch: &[T], outputs: &mut [T]) {
        let written = Mutex::new(outputs);
        self.each(batch, |strip, _, index| {
            let output = &strip.output[0];
            let mut outputs = written.lock().unwrap_or_else(PoisonError::into_inner);
            outputs[index * output.len()..][..output.len()].copy_from_slice(output);
        });
    }

    /// Does something with every image's output; returns the number of strips.
    fn each(
        &mut self,
        batch: &[T],
        f: impl Fn(&mut Strip<T>, &Shared<'_, T>, usize) + Sync,
    ) -> usize {
        let images = batch.len() / self.input;
        assert_eq!(images * self.input, batch.len(), "invariant: a batch is of whole images");
        assert!(images <= self.strips.len() * STRIP, "invariant: there is memory for the batch");
        // Out of `self`, which all strips read.
        let mut strips = std::mem::take(&mut self.strips);
        let shared = self.shared();
        let parts = batch.par_chunks(STRIP * self.input).enumerate();
        strips.par_iter_mut().zip(parts).for_each(|(strip, (part, images))| {
            // A strip's sums are of its own images, in their order.
            strip.clear();
            for (index, image) in images.chunks_exact(self.input).enumerate() {
                strip.forward(&shared, image);
                f(strip, &shared, part * STRIP + index);
            }
        });
        self.strips = strips;
        images.div_ceil(STRIP)
    }

    /// Adds the sums of strips, in their order.
    fn gather(&mut self, used: usize) {
        let Some((first, others)) = self.strips[..used].split_first_mut() else { return };
        for (index, gradient) in self.gradients.iter_mut().enumerate() {
            let (Some(gradient), Some(total)) = (gradient, &mut first.sums[index]) else {
                continue;
            };
            // Of strips 0, 1, 2: (0 + 1) + 2, in whatever order they were done.
            for other in others.iter().filter_map(|strip| strip.sums[index].as_ref()) {
                for (total, more) in total.iter_mut().zip(other) {
                    total.iter_mut().zip(more).for_each(|(total, &more)| *total += more);
                }
            }
            let [weights, bias] = total;
            let step = &self.steps[index];
            if let Some(layer) = step.layer() {
                layer.unpack(weights, &mut gradient.weight);
            } else {
                for (at, gradient) in gradient.weight.iter_mut().enumerate() {
                    *gradient = weights[step.place.position(at)];
                }
            }
            let channels = gradient.bias.len();
            gradient.bias.copy_from_slice(&bias[..channels]);
        }
    }

    fn shared(&self) -> Shared<'_, T> {
        Shared {
            layout: &self.layout,
            steps: &self.steps,
            packed: &self.packed,
            numbers: &self.numbers,
            output: self.output,
        }
    }
}
