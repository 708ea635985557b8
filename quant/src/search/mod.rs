//! Precision search: widths of weights and activations, layer by layer, of the least expected loss within a budget of
//! communication; then the fastest protocols for them.
//!
//! 1. Sensitivity: the measured divergence of the logits with one layer's weights, or one site's values, at each width.
//! 2. An exact multiple-choice knapsack over sites and the layers that read them, with estimated prices.
//! 3. The plan's own price holds the choice to the budget: the estimate's budget is corrected until the plan meets it,
//!    then single widths are raised while the plan still does.
//! 4. Protocols: the fastest for the network profile that meet the budget.

mod estimate;
mod options;
mod sensitivity;

use fusion::planner::{Purpose, cheapest, fastest, inference_bits};
use protocols::plan::Plan;
use protocols::weights::Weights;

pub use crate::quantise::Winograd;
pub use options::{Ends, SearchOptions, Uniform};
pub use sensitivity::Sensitivity;

use crate::data::Preprocess;
use crate::float::FloatError;
use crate::model::{Model, Op};
use crate::quantise::{Assignment, QuantiseError, Quantiser, Sites, requantise};
use crate::tensor::Tensor;
use estimate::Estimate;

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
    /// The budget, if one was given.
    pub budget_bits: Option<u64>,
    /// The expected divergence of the logits from the float network's, in nats; zero where nothing was searched.
    pub expected_loss: f64,
}

/// One layer of what a search found.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
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

/// Searches the widths of a network, or takes the fixed ones, and plans its protocols. `batch` holds preprocessed
/// calibration images. The result depends on the arguments alone, not on the machine's cores.
///
/// # Errors
/// [`SearchError::Impossible`] names the smallest possible budget.
pub fn search(
    model: &Model,
    preprocess: &Preprocess,
    batch: &Tensor,
    options: &SearchOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Found, SearchError> {
    progress(Progress { phase: "calibration", done: 0, of: 1 });
    let quantiser = Quantiser::new(model, preprocess, batch, salt(model, options.seed))?;
    if quantiser.sites().layers.is_empty() {
        return Err(SearchError::NoLayers);
    }
    let (assignment, expected_loss) = match (options.fixed, options.budget_bits) {
        (Some(fixed), _) => (uniform(quantiser.sites(), fixed, options.ends), 0.0),
        (None, Some(budget)) => {
            let sensitivity = Sensitivity::measure(model, &quantiser, batch, progress)?;
            let assignment = within(&quantiser, &sensitivity, budget, progress)?;
            let loss = sensitivity.loss(&assignment);
            (assignment, loss)
        }
        (None, None) => return Err(SearchError::Nothing),
    };
    progress(Progress { phase: "protocols", done: 0, of: 1 });
    let network = quantiser.quantise(&assignment)?;
    let mut tell = |done, of| progress(Progress { phase: "winograd", done, of });
    let (graph, weights) = requantise(model, network, batch, options.winograd, &mut tell)?;
    let digest = weights.digest();
    let purpose = Purpose {
        profile: options.profile,
        inferences: options.inferences,
        batch: options.batch,
        budget_bits: options.budget_bits,
    };
    let Some(plan) = fastest(&graph, &digest, &purpose)? else {
        let smallest = inference_bits(&cheapest(&graph, &digest)?);
        return Err(SearchError::Impossible { budget: options.budget_bits.unwrap_or(0), smallest });
    };
    let layers = report(model, quantiser.sites(), &assignment, &plan);
    let (predicted_bits, setup_bits) = (inference_bits(&plan), plan.setup_cost().bits());
    Ok(Found {
        plan,
        weights,
        layers,
        predicted_bits,
        setup_bits,
        budget_bits: options.budget_bits,
        expected_loss,
    })
}

/// The bits of the cheapest plan at some widths.
fn price(quantiser: &Quantiser<'_>, assignment: &Assignment) -> Result<u64, SearchError> {
    let (graph, weights) = quantiser.quantise(assignment)?;
    Ok(inference_bits(&cheapest(&graph, &weights.digest())?))
}

/// The widths of the least expected loss whose cheapest plan meets the budget.
fn within(
    quantiser: &Quantiser<'_>,
    sensitivity: &Sensitivity,
    budget: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Assignment, SearchError> {
    let sites = quantiser.sites();
    let narrowest =
        Assignment { weight_bits: vec![2; sites.layers.len()], site_bits: vec![2; sites.sites.len()] };
    let smallest = price(quantiser, &narrowest)?;
    if smallest > budget {
        return Err(SearchError::Impossible { budget, smallest });
    }
    let estimate = Estimate::new(quantiser, sensitivity);
    let mut best = (sensitivity.loss(&narrowest), narrowest);
    let mut internal = budget;
    for done in 0..CORRECTIONS {
        progress(Progress { phase: "knapsack", done, of: CORRECTIONS });
        let Some(assignment) = estimate.choose(internal) else {
            internal += internal / 8;
            continue;
        };
        let exact = price(quantiser, &assignment)?;
        let loss = sensitivity.loss(&assignment);
        if exact <= budget && loss < best.0 {
            best = (loss, assignment);
        }
        let next = (internal as f64 * budget as f64 / exact as f64) as u64;
        if exact <= budget && next.abs_diff(internal) * 1000 < internal {
            break;
        }
        // A little below the proportion, so that a plan that is barely too dear leads to one that is not.
        internal = if exact > budget { next - next / 500 } else { next };
    }
    refine(quantiser, sensitivity, budget, best.1, progress)
}

/// Rounds in which the estimate's budget is corrected by the plan's price.
const CORRECTIONS: usize = 6;
/// Single widths tried in refinement.
const TRIALS: usize = 48;

/// Raises single widths, those that gain most first, while the cheapest plan stays within the budget.
fn refine(
    quantiser: &Quantiser<'_>,
    sensitivity: &Sensitivity,
    budget: u64,
    start: Assignment,
    progress: &mut dyn FnMut(Progress),
) -> Result<Assignment, SearchError> {
    let mut current = start;
    let mut refused: Vec<(bool, usize)> = Vec::new();
    for done in 0..TRIALS {
        progress(Progress { phase: "refinement", done, of: TRIALS });
        let loss = sensitivity.loss(&current);
        let gain = |raised: &Assignment| loss - sensitivity.loss(raised);
        let raised = raises(&current).filter(|(which, _)| !refused.contains(which));
        let best = raised
            .map(|(which, raised)| (gain(&raised), which, raised))
            .filter(|(gain, ..)| *gain > 0.0)
            .fold(None, |best: Option<(f64, (bool, usize), Assignment)>, found| match best {
                Some(best) if best.0 >= found.0 => Some(best),
                _ => Some(found),
            });
        let Some((_, which, raised)) = best else { break };
        if price(quantiser, &raised)? <= budget {
            current = raised;
        } else {
            refused.push(which);
        }
    }
    Ok(current)
}

/// Every assignment with one width raised by a bit: of a site (true) or of a layer's weights.
fn raises(assignment: &Assignment) -> impl Iterator<Item = ((bool, usize), Assignment)> + '_ {
    let sites = (0..assignment.site_bits.len()).map(|at| (true, at));
    let layers = (0..assignment.weight_bits.len()).map(|at| (false, at));
    sites.chain(layers).filter_map(|(site, at)| {
        let mut raised = assignment.clone();
        let width = if site { &mut raised.site_bits[at] } else { &mut raised.weight_bits[at] };
        *width += 1;
        (*width <= 8).then_some(((site, at), raised))
    })
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
