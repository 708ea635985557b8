//! Stand-in until `quant::search` is here.
#![allow(dead_code)]

use protocols::plan::Plan;
use protocols::weights::Weights;
use quant::quantise::{Assignment, Quantiser};
use quant::{Model, Preprocess, Tensor};

use crate::profile::Profile;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uniform {
    pub(crate) weight_bits: u8,
    pub(crate) activation_bits: u8,
}

impl std::str::FromStr for Uniform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.strip_prefix(['w', 'W']).and_then(|rest| rest.split_once(['a', 'A']));
        let number = |text: &str| text.parse::<u8>().ok().filter(|bits| (2..=8).contains(bits));
        let both = parts.and_then(|(w, a)| number(w).zip(number(a)));
        let (weight_bits, activation_bits) = both.ok_or("expected wNaM with N and M from 2 to 8")?;
        Ok(Self { weight_bits, activation_bits })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Wide,
    Same,
    Uniform(Uniform),
}

pub(crate) struct SearchOptions {
    pub(crate) budget_bits: Option<u64>,
    pub(crate) fixed: Option<Uniform>,
    pub(crate) ends: Ends,
    pub(crate) profile: Profile,
    pub(crate) inferences: u64,
    pub(crate) seed: u64,
}

pub(crate) struct Progress {
    pub(crate) phase: &'static str,
    pub(crate) done: usize,
    pub(crate) of: usize,
}

pub(crate) struct LayerReport {
    pub(crate) name: String,
    pub(crate) weight_bits: u8,
    pub(crate) activation_bits: u8,
    pub(crate) protocol: String,
    pub(crate) comm_bits: u64,
}

pub(crate) struct Found {
    pub(crate) plan: Plan,
    pub(crate) weights: Weights,
    pub(crate) layers: Vec<LayerReport>,
    pub(crate) predicted_bits: u64,
    pub(crate) setup_bits: u64,
    pub(crate) budget_bits: Option<u64>,
    pub(crate) expected_loss: f64,
}

#[derive(Debug)]
pub(crate) enum SearchError {
    Impossible { budget: u64, smallest: u64 },
    Other(String),
}

impl std::fmt::Display for SearchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Impossible { budget, smallest } => {
                write!(f, "a budget of {budget} bits is impossible: the smallest is {smallest} bits")
            }
            Self::Other(text) => f.write_str(text),
        }
    }
}

pub(crate) fn search(
    model: &Model,
    preprocess: &Preprocess,
    batch: &Tensor,
    options: &SearchOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Found, SearchError> {
    let other = |error: String| SearchError::Other(error);
    progress(Progress { phase: "calibrating", done: 0, of: 1 });
    let quantiser = Quantiser::new(model, preprocess, batch, [options.seed as u8; 32])
        .map_err(|e| other(e.to_string()))?;
    let layers = quantiser.sites().layers.len();
    let sites = quantiser.sites().sites.len();
    let assignment = match options.fixed {
        Some(u) => {
            Assignment { weight_bits: vec![u.weight_bits; layers], site_bits: vec![u.activation_bits; sites] }
        }
        None => Assignment {
            weight_bits: (0..layers).map(|at| 4 + (at % 3) as u8).collect(),
            site_bits: (0..sites).map(|at| 4 + (at % 3) as u8).collect(),
        },
    };
    let (graph, weights) = quantiser.quantise(&assignment).map_err(|e| other(e.to_string()))?;
    let fusion = fusion::Options { weights: weights.digest(), ..fusion::Options::default() };
    let plan = fusion::fuse(&graph, &fusion).map_err(|e| other(e.to_string()))?;
    let cost = plan.cost(1);
    let predicted_bits = cost.offline.bits() + cost.online.bits();
    if let Some(budget) = options.budget_bits.filter(|budget| *budget < predicted_bits) {
        return Err(SearchError::Impossible { budget, smallest: predicted_bits });
    }
    let line = |step: &protocols::plan::StepCost| LayerReport {
        name: step.name.clone(),
        weight_bits: 4,
        activation_bits: 4,
        protocol: step.protocol.clone(),
        comm_bits: (step.cost.offline + step.cost.online).bits(),
    };
    Ok(Found {
        layers: plan.step_costs(1).iter().map(line).collect(),
        predicted_bits,
        setup_bits: plan.setup_cost().bits(),
        budget_bits: options.budget_bits,
        expected_loss: 0.0,
        plan,
        weights,
    })
}
