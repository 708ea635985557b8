//! A network that is ready to be searched: calibrated, and its widths' losses measured.

use fusion::Graph;
use fusion::planner::inference_bits;
use model::{Model, Preprocess, Tensor};
use protocols::plan::{Hints, Load, Plan};
use protocols::weights::Weights;

use super::choose::{Budgets, Chooser, UNBOUNDED};
use super::measured::Measured;
use super::planned::{impossible, planned, smallest};
use super::widths::{uniform, uniform_widths};
use super::{
    Fidelity, Found, Images, Measure, Progress, SearchError, SearchOptions, Sensitivity, fidelity,
    found,
};
use crate::quantize::{
    BitWidths, QuantizeError, Quantizer, Reconstruction, first_images, requantize,
};

/// A network, calibrated and measured: ready for searches with any budgets. Where its channels
/// differ by much, it is best [`equalized`](super::equalized).
pub struct Prepared<'a> {
    pub(super) model: &'a Model,
    batch: &'a Tensor,
    held_back: Option<&'a Tensor>,
    pub(super) quantizer: Quantizer<'a>,
    sensitivity: Option<Sensitivity>,
    /// `None` where widths are fixed: nothing is compared.
    measured: Option<Measured>,
}

/// Widths that are settled, the network that has them, and its protocols.
pub(super) struct Settled {
    pub(super) bit_widths: BitWidths,
    pub(super) network: (Graph, Weights),
    plan: Plan,
}

impl Settled {
    fn new(
        bit_widths: BitWidths,
        network: (Graph, Weights),
        options: &SearchOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, SearchError> {
        progress(Progress { phase: "protocols", done: 0, of: 1 });
        match planned(&network, options)? {
            Some(plan) => Ok(Self { bit_widths, network, plan }),
            None => Err(impossible(&network, options)?),
        }
    }
}

/// Images that sensitivities are measured on, at most.
const SENSITIVITY_IMAGES: usize = 256;
/// Images that whole networks are measured on, at most.
const MEASURED_IMAGES: usize = 128;
/// Images that an accuracy is measured on, at most.
const ACCURACY_IMAGES: usize = 1024;
/// How often widths are chosen for weights rounded with all care.
const NARROWINGS: usize = 4;

impl<'a> Prepared<'a> {
    /// Calibrates, and finds the sensitivities if widths are to be searched and `known` has none.
    ///
    /// # Errors
    /// The images do not fit the network, or it has nothing to quantize.
    pub fn new(
        model: &'a Model,
        preprocess: &Preprocess,
        images: &Images<'a>,
        options: &SearchOptions,
        known: Option<Sensitivity>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, SearchError> {
        let mut prepared = Self::calibrated(model, preprocess, images, options, progress)?;
        // Losses are measured where something is chosen by them.
        if options.fixed.is_some() {
            return Ok(prepared);
        }
        let most = if options.min_accuracy.is_some() { ACCURACY_IMAGES } else { MEASURED_IMAGES };
        prepared.measured = Some(Measured::new(model, images.batch, images.labels, most)?);
        prepared.sensitivity = match known {
            Some(known) if known.fits(prepared.quantizer.activations()) => Some(known),
            _ => Some(prepared.sensitivity(options.measure, progress)?),
        };
        Ok(prepared)
    }

    /// Calibrates alone: widths are fixed, or listed.
    ///
    /// # Errors
    /// As [`Prepared::new`].
    pub(super) fn calibrated(
        model: &'a Model,
        preprocess: &Preprocess,
        images: &Images<'a>,
        options: &SearchOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, SearchError> {
        progress(Progress { phase: "calibration", done: 0, of: 1 });
        let batch = images.batch;
        let memory = options.max_memory;
        let quantizer = Quantizer::within(model, preprocess, batch, options.ranges, memory)?;
        quantizer.memory().images(1, Quantizer::COPIES).map_err(QuantizeError::from)?;
        if quantizer.activations().layers.is_empty() {
            return Err(SearchError::NoLayers);
        }
        let held_back = images.held_back;
        Ok(Self { model, batch, held_back, quantizer, sensitivity: None, measured: None })
    }

    /// The sensitivities that widths are searched with.
    pub fn known(&self) -> Option<&Sensitivity> {
        self.sensitivity.as_ref()
    }

    /// The losses of all widths, by any measure.
    ///
    /// # Errors
    /// None for images that were calibrated on.
    pub fn sensitivity(
        &self,
        measure: Measure,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Sensitivity, SearchError> {
        let images = first_images(self.batch, self.batch.images().min(SENSITIVITY_IMAGES));
        Ok(Sensitivity::measure(measure, self.model, &self.quantizer, &images, progress)?)
    }

    /// Names of the layers, and of the activation quantizers that they read.
    pub fn names(&self) -> Vec<(String, usize)> {
        let activations = self.quantizer.activations();
        activations
            .layers
            .iter()
            .map(|layer| (self.model.nodes[layer.node].name.clone(), layer.input))
            .collect()
    }

    /// The bits of the narrowest and of the widest network.
    ///
    /// # Errors
    /// The network cannot be represented in integers.
    pub fn extent(&self, options: &SearchOptions) -> Result<[u64; 2], SearchError> {
        Ok([self.uniform_bits(2, options)?, self.uniform_bits(8, options)?])
    }

    /// The bits of the network that has one width throughout.
    fn uniform_bits(&self, width: u8, options: &SearchOptions) -> Result<u64, SearchError> {
        let widths = uniform_widths(self.quantizer.activations(), width);
        let (graph, weights) = self.quantizer.quantize(&widths)?;
        Ok(inference_bits(&smallest(&graph, &weights, options)?))
    }

    /// Searches.
    ///
    /// # Errors
    /// The budgets are impossible, or there is nothing to search for.
    pub fn find(
        &self,
        options: &SearchOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Found, SearchError> {
        let Settled { bit_widths, network, plan } = self.settle(options, progress)?;
        self.found(&bit_widths, plan, network.1, options, progress)
    }

    /// The widths of the least loss, their network, and its protocols.
    pub(super) fn settle(
        &self,
        options: &SearchOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Settled, SearchError> {
        if let Some(fixed) = options.fixed {
            let bit_widths = uniform(self.quantizer.activations(), fixed, options.ends);
            return self.settled(bit_widths, options, progress);
        }
        if !options.is_bounded() {
            return Err(SearchError::Nothing);
        }
        let (Some(sensitivity), Some(measured)) = (&self.sensitivity, &self.measured) else {
            return Err(SearchError::Nothing);
        };
        let budgets = Budgets {
            bits: options.budget_bits.unwrap_or(UNBOUNDED),
            online_bits: options.budget_online_bits.unwrap_or(UNBOUNDED),
        };
        // Chosen for weights rounded layer by layer: that is fast, and near what careful rounding
        // costs.
        let chooser = Chooser::new(&self.quantizer, sensitivity, measured, options);
        let chosen = chooser.choose(budgets, progress)?;
        let (mut current, mut less) = (chosen.clone(), budgets);
        let mut safe = None;
        let mut careful = SearchOptions { reconstruct: None, ..*options };
        for _ in 0..NARROWINGS {
            let network = self.finish(&current, &careful, progress)?;
            progress(Progress { phase: "protocols", done: 0, of: 1 });
            if let Some(plan) = planned(&network, options)? {
                let settled = Settled { bit_widths: current.clone(), network, plan };
                if careful.reconstruct == options.reconstruct {
                    return Ok(settled);
                }
                // Only what fits before is worth the time of reconstruction.
                careful.reconstruct = options.reconstruct;
                safe = Some(settled);
                continue;
            }
            // Careful rounding may widen an accumulator by a bit: the widths are then chosen for a
            // budget that is less by what was too much.
            let smallest = inference_bits(&smallest(&network.0, &network.1, options)?);
            careful.reconstruct = None;
            less = less.less(smallest.saturating_sub(budgets.bits).max(smallest / 500));
            match chooser.within(less, progress) {
                Ok(narrower) => current = narrower,
                Err(error) if error.is_impossible() => break,
                Err(error) => return Err(error),
            }
        }
        // The widths were chosen for weights rounded layer by layer: these meet the budgets
        // whatever came of the rest.
        match safe {
            Some(safe) => Ok(safe),
            None => {
                let network = self.quantizer.quantize(&chosen)?;
                Settled::new(chosen, network, options, progress)
            }
        }
    }

    /// The network of widths, and its protocols.
    pub(super) fn settled(
        &self,
        bit_widths: BitWidths,
        options: &SearchOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Settled, SearchError> {
        let network = self.finish(&bit_widths, options, progress)?;
        Settled::new(bit_widths, network, options, progress)
    }

    /// The same for a training. Weights that are rounded with all care may need wider accumulators:
    /// where budgets leave no room for these, they are rounded layer by layer.
    pub(super) fn start(
        &self,
        bit_widths: BitWidths,
        options: &SearchOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Settled, SearchError> {
        match self.settled(bit_widths.clone(), options, progress) {
            Err(error) if error.is_impossible() => {
                let alone = self.quantizer.quantize(&bit_widths)?;
                let network = self.transformed(alone, options, progress)?;
                Settled::new(bit_widths, network, options, progress)
            }
            settled => settled,
        }
    }

    fn finish(
        &self,
        bit_widths: &BitWidths,
        options: &SearchOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Graph, Weights), SearchError> {
        let reconstruction =
            options.reconstruct.map(|steps| Reconstruction { steps, seed: options.seed });
        let network = self.quantizer.finish(
            bit_widths,
            self.batch,
            reconstruction.as_ref(),
            &mut |phase, done, of| progress(Progress { phase, done, of }),
        )?;
        self.transformed(network, options, progress)
    }

    /// The network, its 3x3 layers requantized for Winograd where that is asked for.
    fn transformed(
        &self,
        network: (Graph, Weights),
        options: &SearchOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Graph, Weights), SearchError> {
        Ok(requantize(self.model, network, self.batch, options.winograd, &mut |done, of| {
            progress(Progress { phase: "winograd", done, of })
        })?)
    }

    pub(super) fn found(
        &self,
        bit_widths: &BitWidths,
        plan: Plan,
        weights: Weights,
        options: &SearchOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Found, SearchError> {
        let (batch, held_back) = (self.held_back.unwrap_or(self.batch), self.held_back.is_some());
        let chunk = self.quantizer.memory().images(fidelity::CHUNK, fidelity::COPIES).unwrap_or(1);
        let fidelity = Fidelity::measure(self.model, (&plan, &weights), (batch, chunk), progress)?;
        Ok(Found {
            fidelity: Fidelity { held_back, ..fidelity },
            layers: found::report(self.model, self.quantizer.activations(), bit_widths, &plan),
            predicted_bits: inference_bits(&plan),
            setup_bits: plan.session_cost(Load::one(1).with(Hints::Sent)).bits(),
            predicted_seconds: options.seconds(&plan),
            budget_bits: options.budget_bits,
            expected_loss: self
                .sensitivity
                .as_ref()
                .filter(|_| options.fixed.is_none())
                .map(|sensitivity| sensitivity.loss(bit_widths)),
            plan,
            weights,
        })
    }
}
