//! Weights, biases and how much of each ReLU is there, as what is trained.

use model::Model;
use train::{Network, Op, Trainer, rate};

use super::Masks;
use super::mixes::Mixes;
use crate::floats::Floats;
use crate::tune::Parameters;

/// Steps after the last change of any ReLU in which the loss may still be high.
const SETTLING: u64 = 50;

/// What is trained.
pub(super) struct Linearizing {
    floats: Floats,
    mixes: Mixes,
    /// 1 once it is settled which ReLUs are kept: a number, as all that states hold.
    settled: [f32; 1],
    /// Room for the slopes of a ReLU.
    slopes: Vec<f32>,
}

/// When what happens, in steps.
struct Schedule {
    /// The end of the search for ReLUs.
    search: u64,
    /// The end of the way to what it found.
    settled: u64,
}

impl Schedule {
    fn of(steps: u64) -> Self {
        // Two fifths of all for the search, a tenth for the way, half for the network it leads to.
        let search = steps * 2 / 5;
        Self { search, settled: search + (steps / 10).max(1) }
    }
}

impl Linearizing {
    pub(super) const fn new(floats: Floats, mixes: Mixes) -> Self {
        Self { floats, mixes, settled: [0.0], slopes: Vec::new() }
    }

    /// The network with all ReLUs, its weights as they are.
    pub(super) const fn model(&self) -> &Model {
        self.floats.model()
    }

    /// The elements of each ReLU that are kept.
    pub(super) fn masks(&self) -> Masks {
        self.mixes.masks(self.settled[0] > 0.0)
    }
}

impl Parameters for Linearizing {
    const MAGIC: [u8; 8] = *b"pqlinea1";

    fn network(&self) -> Network {
        let mut network = self.floats.network();
        for relu in &self.mixes.relus {
            let node = &mut network.nodes[relu.node];
            let slopes = vec![0.0; node.shape.iter().product()];
            node.op = Op::PRelu { slopes, learned: true };
        }
        network
    }

    fn set(&mut self, trainer: &mut Trainer<f32>) {
        self.floats.set(trainer);
        // The trainer was made with slopes of zero: these are set for every batch.
        for (at, relu) in self.mixes.relus.iter().enumerate() {
            self.mixes.slopes(at, &mut self.slopes);
            trainer.set(relu.node, &self.slopes, &[]);
        }
    }

    fn update(&mut self, trainer: &Trainer<f32>, part: f32, step: u64, of: u64) {
        self.floats.update(trainer, part, step, of);
        let Schedule { search, settled } = Schedule::of(of);
        // Steps count from 1 here: the last of the search sets the mean to what is kept.
        if step <= search {
            for at in 0..self.mixes.relus.len() {
                if let Some(gradient) = trainer.gradient(self.mixes.relus[at].node) {
                    self.mixes.take(at, &gradient.weight);
                }
            }
            self.mixes.descend(step as f64 / search.max(1) as f64);
        }
        // From here on gradients of mixes are taken no more: what is kept does not change.
        if step == search {
            self.mixes.settle();
            self.settled[0] = 1.0;
        }
        if search < step && step <= settled {
            self.mixes.approach(settled + 1 - step);
        }
    }

    /// The search has the full rate, and what follows it a fall of its own.
    fn rate(&self, step: u64, of: u64) -> f32 {
        let Schedule { search, .. } = Schedule::of(of);
        match step.checked_sub(search) {
            None => rate(step, of.saturating_mul(2)).min(1.0),
            Some(after) => rate(after, of - search),
        }
    }

    fn may_lose(&self, step: u64, of: u64) -> bool {
        step < Schedule::of(of).settled + SETTLING
    }

    fn scale(&self) -> f32 {
        1.0
    }

    fn input(&self, images: &[f32], input: &mut Vec<f32>) {
        self.floats.input(images, input);
    }

    fn lists(&self) -> Vec<&[f32]> {
        let Mixes { parts, gradients, kept, .. } = &self.mixes;
        let own: [&[f32]; 4] = [parts, gradients, kept, &self.settled];
        self.floats.lists().into_iter().chain(own).collect()
    }

    fn lists_mut(&mut self) -> Vec<&mut [f32]> {
        let Mixes { parts, gradients, kept, .. } = &mut self.mixes;
        let own: [&mut [f32]; 4] = [parts, gradients, kept, &mut self.settled];
        self.floats.lists_mut().into_iter().chain(own).collect()
    }
}
