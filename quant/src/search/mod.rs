//! Precision search: widths of weights and activations, layer by layer, of the least loss within budgets of communication
//! or time; then the fastest protocols for them.
//!
//! 1. Sensitivity: the loss of every layer's weights, and of every site's values, at each width.
//! 2. A dynamic programme over sites and the layers that read them, exact for estimated prices.
//! 3. The plan's own price holds the choice to the budgets: the estimate's budgets are corrected until the plan meets them,
//!    then single widths are raised while the plan still does.
//! 4. Where the loss is saturated, the cheapest widths whose measured loss is as good; then pairs of widths are swapped
//!    where that lowers the measured loss.
//! 5. Careful rounding, and reconstruction.
//! 6. Protocols: the fastest for the network profile that meet the budgets.

mod choose;
mod dynamic;
mod estimate;
mod measured;
mod options;
mod sensitivity;

use fusion::Graph;
use fusion::planner::{cheapest, fastest, inference_bits};
use protocols::ot::Sources;
use protocols::plan::Plan;
use protocols::weights::Weights;

pub use crate::quantise::Winograd;
pub use options::{Ends, SearchOptions, Uniform};
pub use sensitivity::{Measure, Sensitivity};

use crate::data::Preprocess;
use crate::float::FloatError;
use crate::model::{Model, Op};
use crate::quantise::{
    Assignment, QuantiseError, Quantiser, Reconstruction, Sites, first_images, requantise,
};
use crate::tensor::Tensor;
use choose::{Budgets, Chooser, UNBOUNDED, uniform_widths};
use measured::Measured;

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// What two parties run.
    pub plan: Plan,
    /// What the server alone holds.
    pub weights: Weights,
    /// Every linear layer.
    pub layers: Vec<LayerReport>,
    /// Bits of one inference, offline and online.
    pub predicted_bits: u64,
    /// Bits of set-up, once per session.
    pub setup_bits: u64,
    /// Seconds of one inference, by the model of work and of the connection.
    pub predicted_seconds: f64,
    /// The budget, if one was given.
    pub budget_bits: Option<u64>,
    /// The expected divergence of the logits from the float network's, in nats; zero where nothing was searched.
    pub expected_loss: f64,
}

/// One layer of what a search found.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LayerReport {
    /// The layer's name.
    pub name: String,
    /// Width of its weights.
    pub weight_bits: u8,
    /// Width of the activations that it reads, before any average.
    pub activation_bits: u8,
    /// Its protocol.
    pub protocol: String,
    /// Bits that its step moves in one inference.
    pub comm_bits: u64,
}

/// How far a search has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What it does.
    pub phase: &'static str,
    /// Parts done.
    pub done: usize,
    /// Parts in all.
    pub of: usize,
}

/// Why a search ends without a plan.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// No choice of widths and protocols meets the budget.
    #[error("the budget of {budget} bits is impossible: the smallest possible one is {smallest} bits")]
    Impossible {
        /// The budget.
        budget: u64,
        /// The bits of the cheapest plan.
        smallest: u64,
    },
    /// No choice meets the budget of online bits.
    #[error("the budget of {budget} online bits is impossible: the cheapest plan has {smallest}")]
    ImpossibleOnline {
        /// The budget.
        budget: u64,
        /// The online bits of the cheapest plan.
        smallest: u64,
    },
    /// No choice is fast enough.
    #[error(
        "the budget of {budget} s is impossible on this connection: the narrowest network takes {smallest:.3} s"
    )]
    ImpossibleSeconds {
        /// The budget.
        budget: f64,
        /// The predicted seconds of the narrowest network.
        smallest: f64,
    },
    /// No choice within the budgets is as accurate as was asked for.
    #[error("an accuracy of {wanted} is out of reach: {reached} of the calibration images are right at most")]
    Inaccurate {
        /// What was asked for.
        wanted: f64,
        /// That of the widest network within the budgets.
        reached: f64,
    },
    /// The network cannot be quantised.
    #[error(transparent)]
    Quantise(#[from] QuantiseError),
    /// The integer network cannot be lowered.
    #[error(transparent)]
    Lower(#[from] fusion::Error),
    /// The calibration images do not fit.
    #[error(transparent)]
    Float(#[from] FloatError),
    /// Neither a budget nor widths.
    #[error("nothing to search for: give a budget or fixed widths")]
    Nothing,
    /// The network has no layer.
    #[error("the network has no linear layer: there is nothing to quantise")]
    NoLayers,
}

/// Searches the widths of a network, or takes the fixed ones, and plans its protocols. The result depends on the arguments
/// alone, not on the machine's cores.
///
/// # Errors
/// [`SearchError::Impossible`] names the smallest possible budget.
pub fn search(
    model: &Model,
    preprocess: &Preprocess,
    images: &Images<'_>,
    options: &SearchOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Found, SearchError> {
    Prepared::new(model, preprocess, images, options, None, progress)?.find(options, progress)
}

/// Calibration images.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// Preprocessed.
    pub batch: &'a Tensor,
    /// Their labels; without them, the float network's classes count as right.
    pub labels: Option<&'a [usize]>,
}

/// A network, calibrated and measured: ready for searches with any budgets.
pub struct Prepared<'a> {
    model: &'a Model,
    batch: &'a Tensor,
    quantiser: Quantiser<'a>,
    sensitivity: Option<Sensitivity>,
    measured: Measured,
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
    /// The images do not fit the network, or it has nothing to quantise.
    pub fn new(
        model: &'a Model,
        preprocess: &Preprocess,
        images: &Images<'a>,
        options: &SearchOptions,
        known: Option<Sensitivity>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, SearchError> {
        progress(Progress { phase: "calibration", done: 0, of: 1 });
        let batch = images.batch;
        let quantiser = Quantiser::new(model, preprocess, batch, salt(model, options.seed))?;
        if quantiser.sites().layers.is_empty() {
            return Err(SearchError::NoLayers);
        }
        let most = if options.min_accuracy.is_some() { ACCURACY_IMAGES } else { MEASURED_IMAGES };
        let measured = Measured::new(model, batch, images.labels, most)?;
        let mut prepared = Self { model, batch, quantiser, sensitivity: None, measured };
        prepared.sensitivity = match known {
            Some(known) if known.fits(prepared.quantiser.sites()) => Some(known),
            _ if options.fixed.is_some() => None,
            _ => Some(prepared.sensitivity(options.measure, progress)?),
        };
        Ok(prepared)
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
        Ok(Sensitivity::measure(measure, self.model, &self.quantiser, &images, progress)?)
    }

    /// Names of the layers, and of the sites that they read.
    pub fn names(&self) -> Vec<(String, usize)> {
        let sites = self.quantiser.sites();
        sites.layers.iter().map(|layer| (self.model.nodes[layer.node].name.clone(), layer.input)).collect()
    }

    /// The bits of the narrowest and of the widest network.
    ///
    /// # Errors
    /// The network cannot be represented in integers.
    pub fn extent(&self, sources: Sources) -> Result<[u64; 2], SearchError> {
        let price = |bits| -> Result<u64, SearchError> {
            let widths = uniform_widths(self.quantiser.sites(), bits);
            let (graph, weights) = self.quantiser.quantise(&widths)?;
            Ok(inference_bits(&cheapest(&graph, &weights.digest(), sources)?))
        };
        Ok([price(2)?, price(8)?])
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
        let budgets = Budgets {
            bits: options.budget_bits.unwrap_or(UNBOUNDED),
            online_bits: options.budget_online_bits.unwrap_or(UNBOUNDED),
        };
        if let Some(fixed) = options.fixed {
            let assignment = uniform(self.quantiser.sites(), fixed, options.ends);
            let graph = self.finish(&assignment, options, progress)?;
            let Some(plan) = planned(&graph, options)? else {
                return Err(impossible(&graph, options)?);
            };
            return Ok(self.found(&assignment, plan, graph.1, options));
        }
        if !options.is_bounded() {
            return Err(SearchError::Nothing);
        }
        let sensitivity = self.sensitivity.as_ref().ok_or(SearchError::Nothing)?;
        let chooser = Chooser::new(&self.quantiser, sensitivity, &self.measured, options);
        let chosen = chooser.choose(budgets, progress)?;
        let (mut current, mut less) = (chosen.clone(), budgets);
        for _ in 0..NARROWINGS {
            let graph = self.finish(&current, options, progress)?;
            progress(Progress { phase: "protocols", done: 0, of: 1 });
            if let Some(plan) = planned(&graph, options)? {
                return Ok(self.found(&current, plan, graph.1, options));
            }
            // Careful rounding may widen an accumulator by a bit: the widths are then chosen for a budget that is less by
            // what was too much.
            let smallest = inference_bits(&cheapest(&graph.0, &graph.1.digest(), options.sources)?);
            less = less.less(smallest.saturating_sub(budgets.bits).max(smallest / 500));
            match chooser.within(less, progress) {
                Ok(narrower) => current = narrower,
                Err(error) if error.is_impossible() => break,
                Err(error) => return Err(error),
            }
        }
        // The widths were chosen for weights rounded layer by layer: these meet the budgets.
        let graph = self.quantiser.quantise(&chosen)?;
        match planned(&graph, options)? {
            Some(plan) => Ok(self.found(&chosen, plan, graph.1, options)),
            None => Err(impossible(&graph, options)?),
        }
    }

    fn finish(
        &self,
        assignment: &Assignment,
        options: &SearchOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Graph, Weights), SearchError> {
        let reconstruction = options.reconstruct.map(|steps| Reconstruction { steps, seed: options.seed });
        let mut tell = |phase, done, of| progress(Progress { phase, done, of });
        let network = self.quantiser.finish(assignment, self.batch, reconstruction.as_ref(), &mut tell)?;
        let mut tell = |done, of| progress(Progress { phase: "winograd", done, of });
        Ok(requantise(self.model, network, self.batch, options.winograd, &mut tell)?)
    }

    fn found(&self, assignment: &Assignment, plan: Plan, weights: Weights, options: &SearchOptions) -> Found {
        Found {
            layers: report(self.model, self.quantiser.sites(), assignment, &plan),
            predicted_bits: inference_bits(&plan),
            setup_bits: plan.setup_cost().bits(),
            predicted_seconds: options.seconds(&plan),
            budget_bits: options.budget_bits,
            expected_loss: self.sensitivity.as_ref().map_or(0.0, |sensitivity| sensitivity.loss(assignment)),
            plan,
            weights,
        }
    }
}

/// The fastest plan that meets all budgets; or the cheapest one, if that alone does.
fn planned(
    (graph, weights): &(Graph, Weights),
    options: &SearchOptions,
) -> Result<Option<Plan>, SearchError> {
    let digest = weights.digest();
    let Some(plan) = fastest(graph, &digest, &options.purpose())? else { return Ok(None) };
    let seconds = |plan: &Plan| options.budget_seconds.is_none_or(|most| options.seconds(plan) <= most);
    let online =
        |plan: &Plan| options.budget_online_bits.is_none_or(|most| plan.cost(1).online.bits() <= most);
    if online(&plan) && seconds(&plan) {
        return Ok(Some(plan));
    }
    Ok(Some(cheapest(graph, &digest, options.sources)?).filter(|plan| online(plan) && seconds(plan)))
}

/// Why no plan of a network meets the budgets.
fn impossible(
    (graph, weights): &(Graph, Weights),
    options: &SearchOptions,
) -> Result<SearchError, SearchError> {
    let plan = cheapest(graph, &weights.digest(), options.sources)?;
    let (bits, online) = (inference_bits(&plan), plan.cost(1).online.bits());
    if let Some(budget) = options.budget_bits.filter(|&budget| bits > budget) {
        return Ok(SearchError::Impossible { budget, smallest: bits });
    }
    if let Some(budget) = options.budget_online_bits.filter(|&budget| online > budget) {
        return Ok(SearchError::ImpossibleOnline { budget, smallest: online });
    }
    let budget = options.budget_seconds.unwrap_or(0.0);
    Ok(SearchError::ImpossibleSeconds { budget, smallest: options.seconds(&plan) })
}

impl SearchError {
    /// Whether budgets are to blame.
    fn is_impossible(&self) -> bool {
        match self {
            Self::Impossible { .. } | Self::ImpossibleOnline { .. } | Self::ImpossibleSeconds { .. } => true,
            Self::Inaccurate { .. }
            | Self::Quantise(_)
            | Self::Lower(_)
            | Self::Float(_)
            | Self::Nothing
            | Self::NoLayers => false,
        }
    }
}

/// One width for all layers but the ends.
fn uniform(sites: &Sites, fixed: Uniform, ends: Ends) -> Assignment {
    let mut assignment = Assignment {
        weight_bits: vec![fixed.weight_bits; sites.layers.len()],
        site_bits: vec![fixed.activation_bits; sites.sites.len()],
    };
    let wide = match ends {
        Ends::Wide => Uniform { weight_bits: 8, activation_bits: 8 },
        Ends::Same => fixed,
        Ends::Uniform(other) => other,
    };
    let last = sites.layers.len().saturating_sub(1);
    for layer in [0, last] {
        assignment.weight_bits[layer] = wide.weight_bits;
        assignment.site_bits[sites.layers[layer].input] = wide.activation_bits;
    }
    assignment
}

fn report(model: &Model, sites: &Sites, assignment: &Assignment, plan: &Plan) -> Vec<LayerReport> {
    let steps = plan.step_costs(1);
    let line = |(at, layer): (usize, &crate::quantise::LayerSites)| {
        let name = model.nodes[layer.node].name.clone();
        let step = steps.iter().find(|step| step.name == name);
        LayerReport {
            weight_bits: assignment.weight_bits[at],
            activation_bits: assignment.site_bits[layer.input],
            protocol: step.map_or_else(String::new, |step| step.protocol.clone()),
            comm_bits: step.map_or(0, |step| step.cost.offline.bits() + step.cost.online.bits()),
            name,
        }
    };
    sites.layers.iter().enumerate().map(line).collect()
}

/// A digest of all that sensitivities and searched networks depend on, but for budgets.
pub fn fingerprint(
    model: &Model,
    preprocess: &Preprocess,
    images: &Images<'_>,
    options: &SearchOptions,
) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("pq 1 search fingerprint");
    hasher.update(&salt(model, options.seed));
    for value in &images.batch.data {
        hasher.update(&value.to_le_bytes());
    }
    let unbounded = SearchOptions {
        budget_bits: None,
        budget_online_bits: None,
        budget_seconds: None,
        min_accuracy: None,
        fixed: None,
        ..*options
    };
    hasher.update(format!("{preprocess:?} {unbounded:?}").as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// Secret bytes that hide the weights behind the plan's digest: as hard to guess as the float weights themselves, and the
/// same for the same network and seed.
fn salt(model: &Model, seed: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("pq 1 weights salt");
    hasher.update(&seed.to_le_bytes());
    for node in &model.nodes {
        if let Op::Conv(conv) = &node.op {
            for value in conv.weight.iter().chain(&conv.bias) {
                hasher.update(&value.to_le_bytes());
            }
        }
    }
    hasher.finalize().into()
}
