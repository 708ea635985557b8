//! The integers that only the server holds.

use std::collections::BTreeMap;
use std::fmt;

/// All layers' weights, by the name of the linear node. `Debug` prints shapes only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Weights {
    /// Random bytes that the published digest of the weights is salted with.
    pub salt: [u8; 32],
    /// The layers.
    pub layers: BTreeMap<String, LayerWeights>,
}

/// One layer's weights. `Debug` prints shapes only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct LayerWeights {
    /// `[K, C / groups, kernel rows, kernel columns]`.
    pub weights: Vec<i8>,
    /// `[K]`, in units of the shifted accumulator.
    pub bias: Vec<i64>,
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.layers).finish()
    }
}

impl fmt::Debug for LayerWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LayerWeights({} weights, {} biases)", self.weights.len(), self.bias.len())
    }
}
