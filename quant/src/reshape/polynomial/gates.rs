//! Gates: each node and what may stand in its place are both there, and how much of either is
//! trained, with what it saves in the loss.
//!
//! A gate is `g = 1 / (1 + exp(-theta))`, the part of what may stand there. Weights and gates learn
//! in turns, each from batches of its own, and neither looks ahead at what the other will do.
//! (PolyMPCNet: Peng et al., 2022; DARTS of the first order: Liu, Simonyan, Yang, ICLR 2019.)

use model::Model;
use train::{Adam, Network, Trainer};

use super::mixture::Weighed;
use crate::floats::Floats;
use crate::reshape::ReshapeError;
use crate::search::Progress;
use crate::tune::{Learner, Parameters, Source, Training, TuneOptions};

/// How gates are trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateOptions {
    /// Batches, one for the weights and one for the gates in turns.
    pub steps: u64,
    /// What all that could be saved is worth, in nats of the loss.
    pub worth: f64,
}

/// Where every `theta` starts: gates are nearly closed. Half-open ones would put squares behind
/// squares all through a trained network at once, whose values then grow beyond all numbers.
const START: f32 = -3.0;
/// How far a `theta` may go in all, about.
const WAY: f32 = 8.0;

/// A gate of a network.
struct Gate {
    /// The layers that weigh the node and what may stand there.
    layers: [usize; 2],
    /// What is saved with it open, in nats.
    saved: f32,
}

/// Weights and gates as what is trained.
struct Gated {
    floats: Floats,
    gates: Vec<Gate>,
    thetas: Vec<f32>,
    moments: Adam,
    /// Room for the gradients of gates.
    gradients: Vec<f32>,
    /// Images of a batch, over which gradients are summed.
    batch: f32,
    /// How far a `theta` moves in a step, about, where the rate is highest.
    rate: f32,
    /// See [`GateOptions::worth`].
    worth: f64,
}

impl Gated {
    /// Of a network that mixes both in some places; `saved` by each of them.
    fn new(
        mixed: Model,
        (weighed, saved): (&[Weighed], &[f64]),
        (options, training, rate): (GateOptions, &TuneOptions, f32),
    ) -> Self {
        let total: f64 = saved.iter().sum();
        let gates = weighed.iter().zip(saved).map(|(Weighed { kept, other }, saved)| Gate {
            layers: [kept, other].map(|name| layer(&mixed, name)),
            saved: (options.worth * saved / total) as f32,
        });
        let gates: Vec<Gate> = gates.collect();
        let count = gates.len();
        Self {
            gates,
            thetas: vec![START; count],
            moments: Adam::new(count),
            gradients: vec![0.0; count],
            batch: training.batch.max(1) as f32,
            // Every second step is theirs, and a cosine's mean is a half.
            rate: 4.0 * WAY / options.steps.max(1) as f32,
            worth: options.worth,
            floats: Floats::new(mixed, rate),
        }
    }

    /// How far each gate is open, from 0 to 1.
    fn open(&self) -> Vec<f32> {
        self.thetas.iter().map(|theta| 1.0 / (1.0 + (-theta).exp())).collect()
    }

    /// Gives the layers that weigh both the weights that the gates say.
    fn weigh(&mut self) {
        for (gate, open) in self.gates.iter().zip(self.open()) {
            for (layer, part) in gate.layers.into_iter().zip([1.0 - open, open]) {
                let (weight, bias) = self.floats.layer(layer);
                weight.fill(part);
                bias.fill(0.0);
            }
        }
    }

    /// The gradients of gates' numbers, of the mean loss.
    fn differentiate(&mut self, trainer: &Trainer<f32>) {
        let open = self.open();
        for ((gate, open), to) in self.gates.iter().zip(open).zip(&mut self.gradients) {
            // By a part of all channels, more of the one and less of the other.
            let [kept, other] = gate.layers.map(|layer| -> f32 {
                trainer.gradient(layer).map_or(0.0, |gradient| gradient.weight.iter().sum())
            });
            *to = ((other - kept) / self.batch - gate.saved) * open * (1.0 - open);
        }
    }
}

impl Parameters for Gated {
    const MAGIC: [u8; 8] = *b"pqgates1";

    fn network(&self) -> Network {
        self.floats.network()
    }

    fn set(&mut self, trainer: &mut Trainer<f32>) {
        self.weigh();
        self.floats.set(trainer);
    }

    fn update(&mut self, trainer: &Trainer<f32>, part: f32, step: u64, of: u64) {
        // Steps count from 1, and each has moments that have seen half of them.
        let turn = step.div_ceil(2);
        if step.is_multiple_of(2) {
            self.differentiate(trainer);
            let anywhere = [f32::NEG_INFINITY, f32::INFINITY];
            let (rate, gradients) = (part * self.rate, &self.gradients);
            self.moments.update(&mut self.thetas, gradients, rate, turn, anywhere);
        } else {
            // What weighs both moves along, and is set anew before the next batch.
            self.floats.update(trainer, part, turn, of);
        }
    }

    fn worth(&self) -> f64 {
        self.worth
    }

    fn scale(&self) -> f32 {
        self.floats.scale()
    }

    fn input(&self, images: &[f32], input: &mut Vec<f32>) {
        self.floats.input(images, input);
    }

    fn lists(&self) -> Vec<&[f32]> {
        let own = [&self.thetas, &self.moments.mean, &self.moments.square].map(Vec::as_slice);
        self.floats.lists().into_iter().chain(own).collect()
    }

    fn lists_mut(&mut self) -> Vec<&mut [f32]> {
        let Adam { mean, square } = &mut self.moments;
        let own = [&mut self.thetas, mean, square].map(Vec::as_mut_slice);
        self.floats.lists_mut().into_iter().chain(own).collect()
    }
}

/// The layer of a name.
fn layer(mixed: &Model, name: &str) -> usize {
    let found = mixed.nodes.iter().position(|node| node.name == *name);
    found.expect("invariant: a mixture has the layers that weigh it")
}

/// How far the gates of a network open that mixes both in some places, from 0 to 1.
pub(super) fn opened(
    (teacher, mixed): (&Model, Model),
    gates: (&[Weighed], &[f64]),
    source: Source<'_>,
    (options, training, rate): (GateOptions, &TuneOptions, f32),
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<f32>, ReshapeError> {
    let gated = Gated::new(mixed, gates, (options, training, rate));
    let training = TuneOptions { steps: options.steps, held_back: 0, ..*training };
    let mut training = Training::new(teacher, gated, source, training)?;
    while !training.is_done() {
        training.step()?;
        let at = training.progress();
        progress(Progress { phase: "gates", done: at.step as usize, of: at.of as usize });
    }
    Ok(training.parameters().open())
}

#[cfg(test)]
mod tests {
    use model::{Dataset, Preprocess};

    use super::*;
    use crate::reshape::polynomial::mixture::{Other, mix};
    use crate::reshape::polynomial::parabola::Parabola;
    use crate::reshape::{
        ActivationPrices, PolynomialOptions, PolynomialPrices, PolynomialStart, Polynomials,
        ReluSelection, Replacement,
    };
    use crate::testing::{TRAINING, residual_network};

    /// Squares, and averages for maxima, that save.
    const PRICES: ActivationPrices = ActivationPrices {
        relu: [0.0, 3.0],
        square: [0.0, 1.0],
        max_pool: [0.0, 2.0],
        avg_pool: [0.0, 1.0],
    };

    /// A node, how far its gate is open, and whether it was chosen.
    type Opened = (String, f64, bool);

    fn asked(worth: f64, start: PolynomialStart) -> Result<(Vec<Opened>, Model), String> {
        let data = Dataset::noise(200, [3, 8, 8], 5);
        let images = data.batch(0..96, &Preprocess::Unit).unwrap();
        let source = Source::new(vec![(&data, 0..data.len())], &Preprocess::Unit);
        let options = PolynomialOptions {
            relus: ReluSelection::Saving(f64::INFINITY),
            start,
            gates: Some(GateOptions { steps: 120, worth }),
            saving: PolynomialPrices::Table(PRICES),
            training: TRAINING,
            ..PolynomialOptions::default()
        };
        let model = residual_network();
        let found =
            Polynomials::new(&model, (&Preprocess::Unit, &images), source, &options, &mut |_| ());
        let found = found.map_err(|error| error.to_string())?;
        // What saves nothing has no gate.
        for report in found.relus() {
            assert_eq!(report.gate.is_some(), report.saved > 0.0, "{report:?}");
            assert_eq!(report.chosen, report.gate.is_some_and(|gate| gate > 0.5), "{report:?}");
            assert!(report.becomes != Replacement::Maximum || report.gate.is_none());
        }
        let gated = found
            .relus()
            .iter()
            .filter_map(|report| Some((report.name.clone(), report.gate?, report.chosen)));
        Ok((gated.collect(), found.model().clone()))
    }

    #[test]
    fn gates_open_for_what_is_worth_it_and_close_on_what_is_not() {
        let (all, network) = asked(100.0, PolynomialStart::LeastSquares).unwrap();
        assert_eq!(all.len(), 5);
        assert!(all.iter().all(|(_, gate, chosen)| *gate > 0.8 && *chosen), "{all:?}");
        assert_eq!(network.relus(), 0);
        // A loss of three times the start's is no divergence if it is worth that.
        let (all, _) = asked(1000.0, PolynomialStart::NearIdentity).unwrap();
        assert!(all.iter().all(|(_, gate, chosen)| *gate > 0.8 && *chosen), "{all:?}");
        // What is worth nothing stays where the teacher has it.
        let error = asked(1e-6, PolynomialStart::NearIdentity).unwrap_err();
        assert!(error.contains("no gate opens where all that could be saved is worth"), "{error}");
    }

    #[test]
    fn gates_are_the_same_on_any_number_of_cores() {
        let of = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| asked(1.0, PolynomialStart::LeastSquares)).unwrap()
        };
        assert_eq!(of(1), of(3));
    }

    #[test]
    fn the_gradient_of_a_gate_is_that_of_the_loss_and_of_what_is_saved() {
        let mut mixed = residual_network();
        let node = 6;
        let parabola = Parabola { square: 0.2, linear: 0.4, constant: 0.1 };
        let channels = mixed.nodes[node].shape[0];
        let names = [mix(&mut mixed, node, &Other::Parabolas(vec![parabola; channels]))];
        let options = GateOptions { steps: 2, worth: 0.7 };
        let mut gated = Gated::new(mixed, (&names, &[3.0]), (options, &TRAINING, 1e-3));
        let images = TRAINING.batch;
        let input: Vec<f32> = (0..images * 192).map(|at| (at * 37 % 101) as f32 / 101.0).collect();
        let network = gated.network();
        let mut trainer = Trainer::new(&network, images);
        // The loss of a batch: half of the squares of all logits.
        let mut loss = |gated: &mut Gated, theta: f32| -> f64 {
            gated.thetas[0] = theta;
            gated.set(&mut trainer);
            let total = trainer.step(&input, |_, logits, gradient| {
                gradient.copy_from_slice(logits);
                logits.iter().map(|logit| 0.5 * f64::from(*logit).powi(2)).sum()
            });
            gated.differentiate(&trainer);
            let open = f64::from(gated.open()[0]);
            total / images as f64 - 0.7 * open
        };
        let step = 1.0 / 64.0;
        let slope =
            (loss(&mut gated, 0.3 + step) - loss(&mut gated, 0.3 - step)) / f64::from(2.0 * step);
        loss(&mut gated, 0.3);
        let found = f64::from(gated.gradients[0]);
        assert!((found - slope).abs() < 1e-3 * (1.0 + slope.abs()), "{found} {slope}");
    }
}
