//! Gradients of a network by reverse-mode differentiation, explicitly, layer by layer.
//!
//! The network may round its values on the way: rounding passes cotangents on as if it were the
//! identity between its limits (the straight-through estimator: Bengio, Leonard, Courville 2013),
//! and its scale has the gradient of learned step sizes (Esser et al.: Learned Step Size
//! Quantization, ICLR 2020, equation 3).
//!
//! Sums over images are split in a fixed way, so that no result depends on the number of cores.

mod layers;

use model::float::conv::convolve;
use model::float::ops;
use model::{Conv, Model, Op, Tensor, ValueId};
use rayon::prelude::*;

pub use model::kernels::Element;

/// A model with parameters of its own, whose values may be changed on the way.
#[derive(Clone, Debug)]
pub struct Network<'a, T> {
    model: &'a Model,
    /// By node; `None` for what is no layer.
    pub layers: Vec<Option<Parameters<T>>>,
    /// By value: what happens to it before it is read.
    pub changes: Vec<Change<T>>,
}

/// Weights and biases of a layer, or their gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters<T> {
    /// In the order of [`Conv`].
    pub weight: Vec<T>,
    /// One per output channel.
    pub bias: Vec<T>,
}

/// What happens to a value before it is read.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<T> {
    /// Nothing.
    None,
    /// It is rounded.
    Round(Rounding<T>),
    /// This is added, to every image's value.
    Add(Vec<T>),
}

/// Rounding to `scale` times the integers of an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounding<T> {
    /// The step.
    pub scale: T,
    /// The least integer.
    pub low: T,
    /// The greatest integer.
    pub high: T,
}

/// All values of one image.
#[derive(Clone, Debug)]
pub struct Tape<T> {
    /// As they are read.
    values: Vec<Vec<T>>,
    /// As they were before they were rounded; empty elsewhere.
    before: Vec<Vec<T>>,
}

/// Gradients of a sum over images.
#[derive(Clone, Debug)]
pub struct Gradients<T> {
    /// By node.
    pub layers: Vec<Option<Parameters<T>>>,
    /// By value: with respect to the base-two logarithm of the scale that it is rounded to; zero
    /// elsewhere.
    pub scales: Vec<T>,
}

impl<T: Element> Parameters<T> {
    /// Those of a layer.
    fn of(op: &Op) -> Option<Self> {
        op.conv().map(|conv| Self { weight: elements(&conv.weight), bias: elements(&conv.bias) })
    }
}

fn elements<T: Element>(values: &[f32]) -> Vec<T> {
    values.iter().map(|&v| T::of(f64::from(v))).collect()
}

/// Images that one core sums the gradients of.
const TOGETHER: usize = 4;

impl<'a, T: Element> Network<'a, T> {
    /// The model as it is.
    pub fn of(model: &'a Model) -> Self {
        Self {
            model,
            layers: model.nodes.iter().map(|node| Parameters::of(&node.op)).collect(),
            changes: vec![Change::None; model.nodes.len() + 1],
        }
    }

    /// The model that this is a network of.
    pub const fn model(&self) -> &'a Model {
        self.model
    }

    /// Evaluates one image, in the order C, H, W, and keeps every value.
    pub fn forward(&self, image: &[T]) -> Tape<T> {
        let count = self.model.nodes.len() + 1;
        let mut tape = Tape { values: Vec::with_capacity(count), before: vec![Vec::new(); count] };
        let mut scratch = Vec::new();
        tape.push(image.to_vec(), &self.changes[0]);
        for index in 0..self.model.nodes.len() {
            let value = self.node(index, |id| &tape.values[id.0], &mut scratch);
            tape.push(value, &self.changes[index + 1]);
        }
        tape
    }

    /// What a node makes of one image's values, before any change.
    pub(crate) fn node<'v>(
        &self,
        index: usize,
        value: impl Fn(ValueId) -> &'v [T],
        scratch: &mut Vec<T>,
    ) -> Vec<T> {
        let node = &self.model.nodes[index];
        let shape = self.model.shape(node.inputs[0]);
        let input = value(node.inputs[0]);
        match &node.op {
            Op::Conv(Conv { geometry, .. }) => {
                let Parameters { weight, bias } = self.parameters(index);
                convolve(geometry, weight, bias, input, scratch)
            }
            Op::Relu { max } => ops::relu(input, *max),
            Op::PartRelu(mask) => ops::part_relu(input, mask),
            Op::Function(function) => ops::function(input, function),
            Op::Add => ops::add(input, value(node.inputs[1])),
            Op::Mul => ops::multiply(input, value(node.inputs[1])),
            Op::MaxPool(window) => ops::max_pool(window, shape, input),
            Op::AvgPool(window) => ops::avg_pool(window, shape, input),
            Op::View(view) => view.of(shape, 1, input),
            Op::Reorder(order) => order.of(shape, 1, input),
            Op::Concat => node.inputs.iter().flat_map(|&input| value(input)).copied().collect(),
        }
    }

    /// Adds the gradients of one image, given that of its output. Every value's cotangent, as the
    /// value is read, goes to `seen`.
    pub fn backward(
        &self,
        tape: &Tape<T>,
        output: Vec<T>,
        sum: &mut Gradients<T>,
        mut seen: impl FnMut(ValueId, &[T]),
    ) {
        // By value; empty is zero. When a value's turn comes, all that read it have added their
        // part, since they come later in the network.
        let mut cotangents: Vec<Vec<T>> = vec![Vec::new(); tape.values.len()];
        cotangents[self.model.output.0] = output;
        for value in (0..tape.values.len()).rev() {
            let mut cotangent = std::mem::take(&mut cotangents[value]);
            if cotangent.is_empty() {
                continue;
            }
            seen(ValueId(value), &cotangent);
            // From here on the cotangent is that of the value before it was rounded.
            if let Change::Round(rounding) = &self.changes[value] {
                sum.scales[value] += rounding.backward(&tape.before[value], &mut cotangent);
            }
            let Some(index) = ValueId(value).producer() else { continue };
            let node = &self.model.nodes[index];
            let first = node.inputs[0];
            let shape = self.model.shape(first);
            let input = &tape.values[first.0];
            let back = match &node.op {
                Op::Conv(conv) => {
                    let gradient =
                        sum.layers[index].as_mut().expect("invariant: a layer has parameters");
                    let weight = &self.parameters(index).weight;
                    layers::convolution(&conv.geometry, weight, input, &cotangent, gradient)
                }
                Op::Relu { max } => layers::relu(input, *max, cotangent),
                Op::PartRelu(mask) => layers::part_relu(input, mask, cotangent),
                Op::Function(function) => layers::function(input, function, cotangent),
                Op::Add => {
                    add_to(&mut cotangents[node.inputs[1].0], &cotangent);
                    cotangent
                }
                Op::Mul => {
                    let gates = node.inputs[1];
                    let (back, of_gates) =
                        layers::product(input, &tape.values[gates.0], &cotangent);
                    add_to(&mut cotangents[gates.0], &of_gates);
                    back
                }
                Op::MaxPool(window) => layers::max_pool(window, shape, input, &cotangent),
                Op::AvgPool(window) => layers::avg_pool(window, shape, &cotangent),
                Op::View(view) => layers::view(view, shape, &cotangent),
                Op::Reorder(order) => layers::reorder(order, shape, &cotangent),
                Op::Concat => {
                    // The parts lie one after the other. A value that is joined twice gets both.
                    let mut start = input.len();
                    for id in &node.inputs[1..] {
                        let length = tape.values[id.0].len();
                        add_to(&mut cotangents[id.0], &cotangent[start..start + length]);
                        start += length;
                    }
                    cotangent[..input.len()].to_vec()
                }
            };
            add_to(&mut cotangents[first.0], &back);
        }
    }

    /// Gradients that are all zero.
    pub fn zeros(&self) -> Gradients<T> {
        Gradients {
            layers: self
                .layers
                .iter()
                .map(|layer| {
                    layer.as_ref().map(|p| Parameters {
                        weight: vec![T::zero(); p.weight.len()],
                        bias: vec![T::zero(); p.bias.len()],
                    })
                })
                .collect(),
            scales: vec![T::zero(); self.changes.len()],
        }
    }

    /// The sums over a batch of the loss and of its gradients. `loss` is given an image's index and
    /// its output, and gives the loss and its gradient.
    pub fn gradients(
        &self,
        batch: &Tensor,
        loss: impl Fn(usize, &[T]) -> (f64, Vec<T>) + Sync,
    ) -> (f64, Gradients<T>) {
        let images: Vec<usize> = (0..batch.images()).collect();
        // Parts of a fixed length are added in their order, whatever the number of cores.
        let parts: Vec<(f64, Gradients<T>)> = images
            .par_chunks(TOGETHER)
            .map(|images| {
                let (mut total, mut sum) = (0.0, self.zeros());
                for &image in images {
                    let tape = self.forward(&cast(batch.image(image)));
                    let (loss, gradient) = loss(image, tape.value(self.model.output));
                    total += loss;
                    self.backward(&tape, gradient, &mut sum, |_, _| {});
                }
                (total, sum)
            })
            .collect();
        let mut parts = parts.into_iter();
        let first = parts.next().unwrap_or_else(|| (0.0, self.zeros()));
        parts.fold(first, |(total, mut sum), (loss, part)| {
            sum.add(&part);
            (total + loss, sum)
        })
    }

    /// The outputs of a batch.
    pub fn outputs(&self, batch: &Tensor) -> Vec<Vec<T>> {
        (0..batch.images())
            .into_par_iter()
            .map(|image| {
                self.forward(&cast(batch.image(image))).values.swap_remove(self.model.output.0)
            })
            .collect()
    }

    fn parameters(&self, node: usize) -> &Parameters<T> {
        self.layers[node].as_ref().expect("invariant: a layer has parameters")
    }
}

/// Numbers of another precision.
pub fn cast<T: Element>(values: &[f32]) -> Vec<T> {
    values.iter().map(|&v| T::of(f64::from(v))).collect()
}

impl<T: Element> Tape<T> {
    /// A value, as it is read.
    pub fn value(&self, id: ValueId) -> &[T] {
        &self.values[id.0]
    }

    fn push(&mut self, mut value: Vec<T>, change: &Change<T>) {
        if matches!(change, Change::Round(_)) {
            self.before[self.values.len()].clone_from(&value);
        }
        change.apply(&mut value);
        self.values.push(value);
    }
}

impl<T: Element> Change<T> {
    /// Changes a value.
    pub(crate) fn apply(&self, value: &mut Vec<T>) {
        match self {
            Self::None => {}
            Self::Round(rounding) => value.iter_mut().for_each(|v| *v = rounding.apply(*v)),
            Self::Add(more) => add_to(value, more),
        }
    }
}

impl<T: Element> Rounding<T> {
    /// The rounded value; halves go up, as those of the integer network do.
    pub fn apply(&self, value: T) -> T {
        // Rounding is `floor(x + 1/2)`: -2.5 becomes -2, as the shift of an integer with half added
        // does.
        (value / self.scale + T::of(0.5)).floor().max(self.low).min(self.high) * self.scale
    }

    /// Turns the cotangent of the rounded value into that of the value; the gradient of the scale's
    /// logarithm.
    fn backward(&self, before: &[T], cotangent: &mut [T]) -> T {
        let half = T::of(0.5);
        let (least, most) = (self.low - half, self.high + half);
        let inverse = T::one() / self.scale;
        let mut step = T::zero();
        for (&value, cotangent) in before.iter().zip(cotangent) {
            let scaled = value * inverse;
            if scaled < least {
                step += *cotangent * self.low;
                *cotangent = T::zero();
            } else if scaled >= most {
                step += *cotangent * self.high;
                *cotangent = T::zero();
            } else {
                // `d(s round(v / s)) / ds` is `round(v / s)` minus `v / s`, the rounding itself
                // passed straight through. A value of 2.3 steps gives -0.3; beyond the limits the
                // integer alone.
                step += *cotangent * ((scaled + half).floor() - scaled);
            }
        }
        // From the scale to its base-two logarithm: `ds = s ln 2 dlog2(s)`.
        step * self.scale * T::of(std::f64::consts::LN_2)
    }
}

impl<T: Element> Gradients<T> {
    /// Adds those of other images.
    fn add(&mut self, other: &Self) {
        for (layer, more) in self.layers.iter_mut().zip(&other.layers) {
            if let (Some(layer), Some(more)) = (layer, more) {
                add_to(&mut layer.weight, &more.weight);
                add_to(&mut layer.bias, &more.bias);
            }
        }
        add_to(&mut self.scales, &other.scales);
    }
}

/// `sum += more`, where an empty sum is zero.
fn add_to<T: Element>(sum: &mut Vec<T>, more: &[T]) {
    if sum.is_empty() {
        sum.extend_from_slice(more);
        return;
    }
    for (sum, &more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

#[cfg(test)]
mod tests;
