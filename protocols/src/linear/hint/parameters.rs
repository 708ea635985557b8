//! The noise of a layer, and what its parameters have to be.

use std::f64::consts::LOG2_E;

use super::Hint;
use crate::Bits;
use crate::lattice::{DEGREE, Modulus, NOISE_MARGIN, deviation_bound};
use crate::linear::{Algorithm, Layer};

/// A wrong product in a layer has a probability of `2^-40`, over all layers of an inference: of up
/// to 64 layers, each 2^6 times rarer.
const FAILURE_BITS: f64 = 40.0 + 6.0;
/// Images that run together, for which that holds.
const IMAGES: f64 = 64.0;
/// Bits that a hint may be cut by, at the most.
const MAX_CUT: u8 = 8;

impl Hint {
    /// The modulus of a layer: `2^(l + d)`.
    pub(super) fn modulus(&self, ring: Bits) -> Option<Modulus> {
        Modulus::new(ring.get() + u32::from(self.noise))
    }

    /// The modulus of a layer that has been checked.
    pub(super) fn modulus_of(&self, layer: &Layer) -> Modulus {
        let modulus = self.modulus(layer.products().ring);
        modulus.expect("invariant: a checked layer has a modulus")
    }

    /// The parameters with so many outputs a polynomial, for weights whose squares sum up to
    /// `squares` an output at the most: the fewest bits of noise, and the most that are cut off the
    /// hint without any more; `None` where no modulus is both wide and hard enough.
    pub(super) fn for_weights(layer: &Layer, outputs: u16, squares: f64) -> Option<Self> {
        let noise = noise_bits(layer, expected_deviation(f64::from(outputs) * squares, 0));
        Self::with_noise(layer, (outputs, noise), squares)
    }

    /// The same with so many bits of noise, `None` where they are too few as well.
    pub(super) fn with_noise(
        layer: &Layer,
        (outputs, noise): (u16, u8),
        squares: f64,
    ) -> Option<Self> {
        let deviation = |cut| expected_deviation(f64::from(outputs) * squares, cut);
        let cut = (0..=MAX_CUT).rev().find(|&cut| noise_bits(layer, deviation(cut)) <= noise)?;
        let hint = Self { outputs, noise, cut, draws: false, carry: false, beside: None };
        hint.modulus(layer.products().ring).map(|_| hint)
    }

    /// Whether noise of a deviation bound leaves every product exact: `D >= 4 z tau`.
    pub(super) fn bears(&self, layer: &Layer, deviation: f64) -> bool {
        noise_bits(layer, deviation) <= self.noise
    }
}

/// Bits `d` of noise for a deviation bound `tau`: the least with `2^d >= 4 z tau`.
fn noise_bits(layer: &Layer, deviation: f64) -> u8 {
    let outputs: usize = layer.products().geometry.out_shape().iter().product();
    let z = deviation_bound(FAILURE_BITS, outputs as f64 * IMAGES);
    ((4.0 * z * deviation).ln() * LOG2_E).ceil() as u8
}

/// The deviation bound that is planned for: of the weights that share a polynomial, of the secret
/// and the error of the hint, and of its rounding.
fn expected_deviation(squares: f64, cut: u8) -> f64 {
    let rounding = if cut > 0 { 4f64.powi(i32::from(cut)) / 12.0 } else { 0.0 };
    (squares + NOISE_MARGIN * DEGREE as f64 * (1.0 + 1.0 + rounding)).sqrt()
}

/// The largest sum of squared weights of an output of a layer, for inputs from 0 to `most` or from
/// `-most` on.
///
/// An output's values spread over `most` times the sum of its weights' magnitudes, or more. A sum
/// that it enters spreads as far, and has a ring that holds it. Weights in Winograd's domain are
/// bounded by nothing but their width.
pub(super) fn squares_bound(layer: &Layer, most: f64) -> f64 {
    let direct = layer.algorithm == Algorithm::Direct;
    let layer = layer.products();
    let largest = f64::from(layer.weight_bits - 1).exp2();
    let all = layer.geometry.fan_in() as f64 * largest;
    let within = f64::from(layer.ring.get()).exp2() / most;
    largest * if direct { all.min(within) } else { all }
}
