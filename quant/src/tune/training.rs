//! A training of any parameters: batches of augmented images, the teacher's logits and the labels,
//! and a guard against divergence.

use model::{Model, Tensor};
use train::{Augmentation, Images as Moves, Mixture, Network, Order, Trainer, loss};

use super::curve::{Point, is_look};
use super::guard::{Losses, Verdict};
use super::labels::Labels;
use super::{Learner, Parameters, Source, TuneError, TuneOptions, TuneProgress};

/// Batches between two looks at whether training diverges.
const WATCHED: u64 = 50;
/// How often the rates are halved before training gives up.
const HALVINGS: u32 = 3;

/// A training under way.
pub(crate) struct Training<'a, P> {
    pub(super) source: Source<'a>,
    /// What nothing is learned from.
    pub(super) held: Source<'a>,
    /// What the teacher says of each of these, once it was asked.
    taught: Option<Vec<usize>>,
    pub(super) options: TuneOptions,
    pub(super) parameters: P,
    student: Trainer<f32>,
    teacher: Trainer<f32>,
    order: Order,
    /// Elements of an image and of its logits.
    sizes: [usize; 2],
    /// Steps done.
    pub(super) step: u64,
    pub(super) losses: Losses,
    pub(super) points: Vec<Point>,
    /// What training goes back to when it diverges.
    good: Vec<u8>,
    buffers: Buffers,
}

/// Memory of one batch.
#[derive(Default)]
struct Buffers {
    images: Vec<f32>,
    input: Vec<f32>,
    logits: Vec<f32>,
}

impl<'a, P: Parameters> Training<'a, P> {
    /// Starts from parameters, which `teacher` teaches.
    ///
    /// # Errors
    /// There are no images.
    pub(crate) fn new(
        teacher: &Model,
        parameters: P,
        source: Source<'a>,
        options: TuneOptions,
    ) -> Result<Self, TuneError> {
        if source.is_empty() {
            return Err(TuneError::NoImages);
        }
        let count = options.held_back.min(source.len() / 10);
        let (source, held) = source.hold_back(count)?;
        let batch = options.batch.max(1);
        let mut taught: Trainer<f32> = Trainer::new(&Network::from(teacher), batch);
        for (node, conv) in teacher.layers() {
            taught.set(node, &conv.weight, &conv.bias);
        }
        let network = parameters.network();
        let sizes = [network.input, network.shape(network.output)];
        let mut training = Self {
            order: Order::new(source.len(), batch, options.seed),
            student: Trainer::new(&network, batch),
            teacher: taught,
            source,
            held,
            taught: None,
            options: TuneOptions { batch, ..options },
            parameters,
            sizes: sizes.map(|shape| shape.iter().product()),
            step: 0,
            losses: Losses::default(),
            points: Vec::new(),
            good: Vec::new(),
            buffers: Buffers::default(),
        };
        training.good = training.to_bytes();
        Ok(training)
    }

    /// What is trained, as it is.
    pub(crate) const fn parameters(&self) -> &P {
        &self.parameters
    }

    /// The logits of the parameters as they are, `[N, classes]` in steps of their scale, of inputs
    /// `[N, C, H, W]` as they are fed in.
    pub(crate) fn outputs(&mut self, input: &[f32]) -> Vec<f32> {
        self.parameters.set(&mut self.student);
        logits(&mut self.student, input, self.sizes, self.options.batch).data
    }

    /// Reads the batch of the step, and has the teacher look at it; the labels.
    fn read(&mut self) -> Result<Labels, TuneError> {
        let Buffers { images, input, logits } = &mut self.buffers;
        let TuneOptions { batch, crop, flip, mix, seed, .. } = self.options;
        let moves = Moves { crop, flip }.of_step(seed, self.step, batch);
        let chosen = self.order.batch(self.step);
        images.clear();
        let mut labels = Vec::with_capacity(batch);
        for (index, moved) in chosen.into_iter().zip(moves) {
            labels.push(self.source.image(index, &moved, images)?);
        }
        let mixture = (mix > 0.0).then(|| Mixture::of_step((seed, self.step), batch, mix));
        if let Some(mixture) = &mixture {
            mixture.apply(images);
        }
        self.parameters.input(images, input);
        logits.resize(batch * self.sizes[1], 0.0);
        self.teacher.outputs(images, logits);
        Ok(Labels { labels, mixture })
    }

    /// The gradients of the batch that was read; the sum of its losses.
    fn learn(&mut self, labels: &Labels) -> f64 {
        let Buffers { input, logits: taught, .. } = &self.buffers;
        let (scale, temperature) = (self.parameters.scale(), self.options.temperature);
        self.student.step(input, |image, logits, gradient| {
            let classes = logits.len();
            let taught = &taught[image * classes..][..classes];
            // Gradients are by the real logits, and then by their integers.
            let real: Vec<f32> = logits.iter().map(|logit| logit * scale).collect();
            gradient.fill(0.0);
            let mut total = loss::distillation(&real, taught, temperature, gradient);
            for (class, part) in labels.of(image) {
                total += loss::cross_entropy(&real, class, part, gradient);
            }
            gradient.iter_mut().for_each(|gradient| *gradient *= scale);
            total
        })
    }

    /// Adds how the training is now to its curve.
    fn look(&mut self) -> Result<(), TuneError> {
        let mut point =
            Point { step: self.step, loss: self.losses.mean, agreement: None, accuracy: None };
        if !self.held.is_empty() {
            let (mut images, mut labels) = (Vec::new(), Vec::new());
            for index in 0..self.held.len() {
                labels.push(self.held.image(index, &Augmentation::default(), &mut images)?);
            }
            let (sizes, batch) = (self.sizes, self.options.batch);
            let taught = self
                .taught
                .take()
                .unwrap_or_else(|| logits(&mut self.teacher, &images, sizes, batch).argmax());
            // What batches have their buffers for is at hand between two of them; this is rare.
            let mut input = Vec::new();
            self.parameters.input(&images, &mut input);
            self.parameters.set(&mut self.student);
            let said = logits(&mut self.student, &input, sizes, batch);
            point.agreement = Some(said.accuracy(&taught));
            // Where one file has no labels, there is no accuracy of all of them.
            let told: Option<Vec<usize>> = labels.into_iter().collect();
            point.accuracy = told.map(|told| said.accuracy(&told));
            self.taught = Some(taught);
        }
        self.points.push(point);
        Ok(())
    }

    /// Goes back to where training went well, with half the rates.
    fn go_back(&mut self, loss: f64) -> Result<(), TuneError> {
        let halvings = self.losses.halvings + 1;
        if halvings > HALVINGS {
            return Err(TuneError::Diverged { step: self.step, loss, halvings: HALVINGS });
        }
        // The state that is gone back to does not know of this divergence yet.
        let good = std::mem::take(&mut self.good);
        self.read_bytes(&good)?;
        self.losses.halvings = halvings;
        self.good = self.to_bytes();
        Ok(())
    }
}

impl<P: Parameters> Learner for Training<'_, P> {
    fn progress(&self) -> TuneProgress {
        TuneProgress { step: self.step, of: self.options.steps, loss: self.losses.mean }
    }

    fn curve(&self) -> &[Point] {
        &self.points
    }

    fn held_back(&self) -> usize {
        self.held.len()
    }

    fn plan(&mut self, steps: u64) {
        self.options.steps = steps;
        self.good = self.to_bytes();
    }

    fn step(&mut self) -> Result<(), TuneError> {
        let labels = self.read()?;
        self.parameters.set(&mut self.student);
        let total = self.learn(&labels);
        let loss = total / self.options.batch as f64;
        // What is taken away on purpose is lost.
        let may_lose = self.parameters.may_lose(self.step, self.options.steps);
        let verdict = self.losses.note(loss, self.step, may_lose);
        if self.step == 0 {
            // Divergence is told by the start: what may be gained is added to it once.
            self.losses.first += self.parameters.worth();
        }
        // Nothing has moved yet: the parameters that made this loss are thrown away with it.
        if verdict == Verdict::GoBack {
            return self.go_back(loss);
        }
        if self.step == 0 && self.points.is_empty() {
            self.look()?;
        }
        // Each divergence has halved them.
        let halved = (-(self.losses.halvings as f32)).exp2();
        let of = self.options.steps;
        let part = self.parameters.rate(self.step, of) * halved;
        self.step += 1;
        if verdict == Verdict::Learn {
            self.parameters.update(&self.student, part, self.step, of);
        }
        if is_look(self.step, of) {
            self.look()?;
        }
        if self.step.is_multiple_of(WATCHED) && verdict == Verdict::Learn {
            self.good = self.to_bytes();
        }
        Ok(())
    }

    fn state(&self) -> Vec<u8> {
        self.to_bytes()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), TuneError> {
        self.read_bytes(state)
    }
}

/// The logits of images, as many at once as the trainer has memory for.
fn logits(
    trainer: &mut Trainer<f32>,
    input: &[f32],
    [one, classes]: [usize; 2],
    batch: usize,
) -> Tensor {
    let mut logits = Tensor::zeros([input.len() / one, classes, 1, 1]);
    let parts = input.chunks(one * batch).zip(logits.data.chunks_mut(classes * batch));
    parts.for_each(|(input, logits)| trainer.outputs(input, logits));
    logits
}
