//! Widths of all layers and activation quantizers, and steps between them.

use super::{FirstAndLast, Uniform};
use crate::quantize::{ActivationQuantizers, BitWidths};

/// One width for all layers but the first and the last.
pub(super) fn uniform(
    activations: &ActivationQuantizers,
    fixed: Uniform,
    first_and_last: FirstAndLast,
) -> BitWidths {
    let mut bit_widths = BitWidths {
        weight_bits: vec![fixed.weight_bits; activations.layers.len()],
        activation_bits: vec![fixed.activation_bits; activations.quantizers.len()],
    };
    let wide = match first_and_last {
        FirstAndLast::Wide => Uniform { weight_bits: 8, activation_bits: 8 },
        FirstAndLast::Same => fixed,
        FirstAndLast::Uniform(other) => other,
    };
    let last = activations.layers.len().saturating_sub(1);
    for layer in [0, last] {
        bit_widths.weight_bits[layer] = wide.weight_bits;
        bit_widths.activation_bits[activations.layers[layer].input] = wide.activation_bits;
    }
    bit_widths
}

/// One width for everything.
pub(super) fn uniform_widths(activations: &ActivationQuantizers, bits: u8) -> BitWidths {
    BitWidths {
        weight_bits: vec![bits; activations.layers.len()],
        activation_bits: vec![bits; activations.quantizers.len()],
    }
}

/// One of the bit widths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    ActivationQuantizer(usize),
    Layer(usize),
}

impl Width {
    /// The bit widths with this width wider or narrower by a bit, if it can be.
    pub(super) fn moved(self, bit_widths: &BitWidths, by: i8) -> Option<BitWidths> {
        let mut moved = bit_widths.clone();
        let width = match self {
            Self::ActivationQuantizer(activation) => &mut moved.activation_bits[activation],
            Self::Layer(layer) => &mut moved.weight_bits[layer],
        };
        *width = width.checked_add_signed(by).filter(|bits| (2..=8).contains(bits))?;
        Some(moved)
    }
}

/// All of them.
pub(super) fn widths(bit_widths: &BitWidths) -> impl Iterator<Item = Width> + use<> {
    let (activations, layers) = (bit_widths.activation_bits.len(), bit_widths.weight_bits.len());
    (0..activations).map(Width::ActivationQuantizer).chain((0..layers).map(Width::Layer))
}
