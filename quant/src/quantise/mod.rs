//! Quantisation: from a float network and widths to an integer network and its weights.

mod calibrate;
mod emit;
mod round;
mod scales;
mod sites;

use std::collections::HashMap;
use std::sync::Mutex;

use fusion::Graph;
use protocols::weights::Weights;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use calibrate::{Calibration, first_images};
pub use round::{Rounded, Rounder};
pub use scales::Scales;
pub use sites::{LayerSites, Site, SiteId, Sites, Target};

use crate::data::Preprocess;
use crate::float::FloatError;
use crate::model::{Conv, Model, Op};
use crate::tensor::Tensor;

/// Widths of a network.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Assignment {
    /// Weights of every layer, 2 to 8.
    pub weight_bits: Vec<u8>,
    /// Values of every site, 2 to 8.
    pub site_bits: Vec<u8>,
}

/// Why a network cannot be quantised.
#[derive(Debug, thiserror::Error)]
pub enum QuantiseError {
    /// The calibration images do not fit the network.
    #[error(transparent)]
    Float(#[from] FloatError),
    /// The integer network cannot be represented.
    #[error(transparent)]
    Graph(#[from] fusion::Error),
    /// Two scales that must meet are too far apart.
    #[error(
        "node {node}: scales differ by 2^{ratio}, which no shift can make up for; check the calibration images"
    )]
    Scales {
        /// The node.
        node: String,
        /// The base-two logarithm of the ratio.
        ratio: i32,
    },
    /// The calibration images say nothing.
    #[error("no calibration image: at least one is needed")]
    NoImages,
}

/// Rounded weights by layer, width and scale (of which only what is not a power of two matters).
type RoundedKey = (usize, u8, i64);

/// A calibrated network, ready to be quantised at any widths.
pub struct Quantiser<'a> {
    model: &'a Model,
    preprocess: Preprocess,
    sites: Sites,
    calibration: Calibration,
    rounders: Vec<Rounder>,
    salt: [u8; 32],
    memo: Mutex<HashMap<RoundedKey, std::sync::Arc<Rounded>>>,
}

impl<'a> Quantiser<'a> {
    /// Calibrates on a batch of preprocessed images. `salt` is secret and random: it hides the weights behind the
    /// digest that plans carry.
    ///
    /// # Errors
    /// The batch is empty or does not fit the model.
    pub fn new(
        model: &'a Model,
        preprocess: &Preprocess,
        batch: &Tensor,
        salt: [u8; 32],
    ) -> Result<Self, QuantiseError> {
        if batch.images() == 0 {
            return Err(QuantiseError::NoImages);
        }
        let sites = Sites::of(model, matches!(preprocess, Preprocess::Normalise { .. }));
        let calibration = Calibration::measure(model, &sites, batch)?;
        let rounders = calibration.layers.par_iter().map(|moments| Rounder::new(moments)).collect();
        let preprocess = preprocess.clone();
        Ok(Self { model, preprocess, sites, calibration, rounders, salt, memo: Mutex::default() })
    }

    /// Where the network is rounded.
    pub const fn sites(&self) -> &Sites {
        &self.sites
    }

    /// The scales at some widths.
    pub fn scales(&self, assignment: &Assignment) -> Scales {
        let problem = scales::Problem {
            model: self.model,
            sites: &self.sites,
            calibration: &self.calibration,
            rounders: &self.rounders,
            preprocess: &self.preprocess,
            assignment,
        };
        problem.solve()
    }

    /// A layer's weights at a width and scale.
    pub fn rounded(&self, layer: usize, bits: u8, log_scale: f64) -> std::sync::Arc<Rounded> {
        let mantissa = log_scale.rem_euclid(1.0);
        let key = (layer, bits, (mantissa * 1e9).round() as i64);
        let found = self.memo.lock().ok().and_then(|memo| memo.get(&key).cloned());
        found.unwrap_or_else(|| {
            let conv = conv(self.model, self.sites.layers[layer].node);
            let rounded = std::sync::Arc::new(self.rounders[layer].round(conv, bits, mantissa));
            if let Ok(mut memo) = self.memo.lock() {
                memo.insert(key, std::sync::Arc::clone(&rounded));
            }
            rounded
        })
    }

    /// Quantises at some widths.
    ///
    /// # Errors
    /// The integer network cannot be represented: scales too far apart, or accumulators beyond 60 bits.
    pub fn quantise(&self, assignment: &Assignment) -> Result<(Graph, Weights), QuantiseError> {
        let scales = self.scales(assignment);
        let rounded: Vec<_> = (0..self.sites.layers.len())
            .into_par_iter()
            .map(|layer| self.rounded(layer, assignment.weight_bits[layer], scales.layers[layer]))
            .collect();
        let rounded: Vec<&Rounded> = rounded.iter().map(AsRef::as_ref).collect();
        let emit = emit::Emit {
            model: self.model,
            sites: &self.sites,
            scales: &scales,
            rounded: &rounded,
            assignment,
        };
        emit.run(&self.preprocess, self.salt)
    }
}

/// The convolution of a layer's node.
fn conv(model: &Model, node: usize) -> &Conv {
    match &model.nodes[node].op {
        Op::Conv(conv) => conv,
        Op::Relu { .. } | Op::Add | Op::MaxPool(_) | Op::AvgPool(_) | Op::View(_) => {
            unreachable!("invariant: a layer's node is a convolution")
        }
    }
}
