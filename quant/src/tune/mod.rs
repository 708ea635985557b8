//! Training of the integer network itself, with the float network as its teacher.
//!
//! A step takes a batch of augmented images. The teacher's logits and the labels, where there are
//! any, make the loss; gradients pass straight through roundings; the integers of all layers and
//! their biases move by Adam. What is trained is what two parties run: forward, the trainer
//! computes the integers of [`fusion::eval`].
//!
//! Everything random comes from the seed and the step, sums have a fixed order, and no decision
//! depends on time: the result is the same on any number of cores, and after an interruption.

mod error;
mod integers;
mod source;
mod state;

use fusion::Graph;
use model::Model;
use protocols::weights::Weights;
use train::{Images as Moves, Network, Order, Trainer, loss, rate};

pub use error::TuneError;
pub use source::Source;

use integers::Integers;

/// What is asked of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TuneOptions {
    /// Batches to learn from.
    pub steps: u64,
    /// Images of a batch.
    pub batch: usize,
    /// The most rows and columns that images are moved.
    pub crop: usize,
    /// Whether half of the images are mirrored.
    pub flip: bool,
    /// The temperature of the teacher's and of the network's logits, where these are compared.
    pub temperature: f64,
    /// Everything random.
    pub seed: u64,
}

impl Default for TuneOptions {
    /// A thousand batches of 64, images moved by up to four pixels and mirrored.
    fn default() -> Self {
        Self { steps: 1000, batch: 64, crop: 4, flip: true, temperature: 4.0, seed: 0 }
    }
}

/// How far a training has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TuneProgress {
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub of: u64,
    /// The mean loss of the last batches, in nats.
    pub loss: f64,
}

/// Batches that the loss that is shown is a mean of.
const SHOWN: f64 = 50.0;
/// Batches between two looks at whether training diverges.
const WATCHED: u64 = 50;
/// A loss so many times that of the start is a divergence.
const DIVERGENCE: f64 = 3.0;
/// How often the rates are halved before training gives up.
const HALVINGS: u32 = 3;

/// A training under way.
pub struct Tuner<'a> {
    source: Source<'a>,
    options: TuneOptions,
    integers: Integers,
    student: Trainer<f32>,
    teacher: Trainer<f32>,
    order: Order,
    /// The real value of one step of the logits.
    scale: f32,
    /// Steps done.
    step: u64,
    curve: Curve,
    /// What training goes back to when it diverges.
    good: Vec<u8>,
    buffers: Buffers,
}

/// How the loss has been.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Curve {
    /// That of the first batch.
    first: f64,
    /// The mean of the last ones.
    mean: f64,
    halvings: u32,
}

/// Memory of one batch.
#[derive(Default)]
struct Buffers {
    images: Vec<f32>,
    input: Vec<f32>,
    logits: Vec<f32>,
}

impl<'a> Tuner<'a> {
    /// Starts from the integers of a network, which `teacher` is the float network of. Images are
    /// read as the graph's input.
    ///
    /// # Errors
    /// There are no images; weights are in Winograd's domain; or integers are too large to be
    /// trained.
    pub fn new(
        teacher: &Model,
        (graph, weights): (&Graph, &Weights),
        source: Source<'a>,
        options: TuneOptions,
    ) -> Result<Self, TuneError> {
        if source.is_empty() {
            return Err(TuneError::NoImages);
        }
        let integers = Integers::new(teacher, graph, weights)?;
        let batch = options.batch.max(1);
        let mut taught: Trainer<f32> = Trainer::new(&Network::from(teacher), batch);
        for (node, conv) in teacher.layers() {
            taught.set(node, &conv.weight, &conv.bias);
        }
        let mut tuner = Self {
            order: Order::new(source.len(), batch, options.seed),
            student: Trainer::new(&integers.network(), batch),
            teacher: taught,
            scale: graph.wire(graph.output()).scale as f32,
            source,
            options: TuneOptions { batch, ..options },
            integers,
            step: 0,
            curve: Curve::default(),
            good: Vec::new(),
            buffers: Buffers::default(),
        };
        tuner.good = tuner.state();
        Ok(tuner)
    }

    /// Where the training is.
    pub const fn progress(&self) -> TuneProgress {
        TuneProgress { step: self.step, of: self.options.steps, loss: self.curve.mean }
    }

    /// Whether all steps are done.
    pub const fn is_done(&self) -> bool {
        self.step >= self.options.steps
    }

    /// Learns from one batch.
    ///
    /// # Errors
    /// An image cannot be read; or the loss has grown in spite of rates halved three times.
    pub fn step(&mut self) -> Result<(), TuneError> {
        let labels = self.read()?;
        self.integers.set(&mut self.student);
        let total = self.learn(&labels);
        let loss = total / self.options.batch as f64;
        if self.step == 0 {
            self.curve = Curve { first: loss, mean: loss, ..self.curve };
        }
        // A plain mean at first, then one that forgets.
        self.curve.mean += (loss - self.curve.mean) / SHOWN.min(self.step as f64 + 1.0);
        let diverges = self.curve.mean > DIVERGENCE * self.curve.first.max(0.1);
        // Nothing has moved yet: the parameters that made this loss are thrown away with it.
        if !loss.is_finite() || diverges {
            return self.go_back(loss);
        }
        // Each divergence has halved them.
        let halved = (-(self.curve.halvings as f32)).exp2();
        let part = rate(self.step, self.options.steps) * halved;
        self.step += 1;
        self.integers.update(&self.student, part, self.step);
        if self.step.is_multiple_of(WATCHED) {
            self.good = self.state();
        }
        Ok(())
    }

    /// The network as it is, its accumulators' intervals those of its integers.
    ///
    /// # Errors
    /// Accumulators have become too wide.
    pub fn network(&self) -> Result<(Graph, Weights), TuneError> {
        self.integers.emit()
    }

    /// The logits of the integers as they are, `[N, classes]` in steps of their scale, of the input
    /// `[N, C, H, W]`: those of [`fusion::eval`].
    pub fn logits(&mut self, input: &[f32]) -> Vec<f32> {
        self.integers.set(&mut self.student);
        let [one, classes] = [self.integers.graph().input(), self.integers.graph().output()]
            .map(|wire| self.integers.graph().wire(wire).elements());
        let mut logits = Vec::new();
        for part in input.chunks(one * self.options.batch) {
            let start = logits.len();
            logits.resize(start + part.len() / one * classes, 0.0);
            self.student.outputs(part, &mut logits[start..]);
        }
        logits
    }

    /// Reads the batch of the step, and has the teacher look at it; the labels.
    fn read(&mut self) -> Result<Vec<Option<usize>>, TuneError> {
        let Buffers { images, input, logits } = &mut self.buffers;
        let TuneOptions { batch, crop, flip, seed, .. } = self.options;
        let moves = Moves { crop, flip }.of_step(seed, self.step, batch);
        let chosen = self.order.batch(self.step);
        images.clear();
        let mut labels = Vec::with_capacity(batch);
        for (index, moved) in chosen.into_iter().zip(moves) {
            labels.push(self.source.image(index, &moved, images)?);
        }
        let graph = self.integers.graph();
        source::quantize(graph.wire(graph.input()), images, input);
        logits.resize(batch * graph.wire(graph.output()).elements(), 0.0);
        self.teacher.outputs(images, logits);
        Ok(labels)
    }

    /// The gradients of the batch that was read; the sum of its losses.
    fn learn(&mut self, labels: &[Option<usize>]) -> f64 {
        let Buffers { input, logits: taught, .. } = &self.buffers;
        let (scale, temperature) = (self.scale, self.options.temperature);
        self.student.step(input, |image, logits, gradient| {
            let classes = logits.len();
            let taught = &taught[image * classes..][..classes];
            // Gradients are by the real logits, and then by their integers.
            let real: Vec<f32> = logits.iter().map(|logit| logit * scale).collect();
            gradient.fill(0.0);
            let mut total = loss::distillation(&real, taught, temperature, gradient);
            if let Some(class) = labels[image] {
                total += loss::cross_entropy(&real, class, gradient);
            }
            gradient.iter_mut().for_each(|gradient| *gradient *= scale);
            total
        })
    }

    /// Goes back to where training went well, with half the rates.
    fn go_back(&mut self, loss: f64) -> Result<(), TuneError> {
        let halvings = self.curve.halvings + 1;
        if halvings > HALVINGS {
            return Err(TuneError::Diverged { step: self.step, loss, halvings: HALVINGS });
        }
        // The state that is gone back to does not know of this divergence yet.
        let good = std::mem::take(&mut self.good);
        self.restore(&good)?;
        self.curve.halvings = halvings;
        self.good = self.state();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
