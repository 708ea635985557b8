//! The widths of accumulators as a term of the loss: what they reach is worth bits in the rings of
//! all that is done with them. (Colbert, Pappalardo, Petri-Koenig: A2Q, ICCV 2023, bound it; here
//! it has a price.)
//!
//! A layer's ring holds what its widest channel reaches, so the term is `log2` of that, softened:
//! channels within a fraction of a bit of it share it. In Winograd's domain weights of a position
//! and a channel stand for a channel.

/// How sharp the maximum over channels is: a channel counts half as much for each so many parts of
/// a bit that it is below the widest.
const SHARPNESS: f32 = 8.0;

/// What a layer's accumulators are to the term.
pub(super) struct Reach {
    /// The least and the largest integer of the input.
    pub(super) input: [f32; 2],
    /// The part of all accumulators that are the layer's.
    pub(super) share: f32,
}

/// How far the sum of a channel's products goes, and to which side.
struct Extent {
    length: f32,
    is_high: bool,
}

impl Reach {
    /// Adds the gradients of the term, times what a bit is worth. Weights are those of channels,
    /// `fan_in` each, which are multiplied by the channel's factor.
    pub(super) fn add(
        &self,
        (weights, factors): (&[f32], &[f32]),
        worth: f32,
        gradients: &mut [f32],
    ) {
        let fan_in = (weights.len() / factors.len().max(1)).max(1);
        let channels: Vec<(&[f32], f32)> =
            weights.chunks(fan_in).zip(factors.iter().copied()).collect();
        let extents: Vec<Extent> =
            channels.iter().map(|&(weights, factor)| self.extent(weights, factor)).collect();
        let widest = extents.iter().map(|extent| extent.length).fold(0.0f32, f32::max);
        if widest == 0.0 {
            return;
        }
        // Lengths of channels far below the widest vanish in the power, and are left alone.
        let parts: Vec<f32> =
            extents.iter().map(|extent| (extent.length / widest).powf(SHARPNESS)).collect();
        let total: f32 = parts.iter().sum();
        let each = extents.iter().zip(&parts).zip(gradients.chunks_mut(fan_in));
        for ((weights, factor), ((extent, part), gradients)) in channels.into_iter().zip(each) {
            if *part == 0.0 {
                continue;
            }
            // The derivative of log2 of the length.
            let worth = worth * self.share * part / total;
            let each = worth * factor / (extent.length * std::f32::consts::LN_2);
            for (gradient, weight) in gradients.iter_mut().zip(weights) {
                *gradient += each * self.end(*weight, extent.is_high);
            }
        }
    }

    /// The input that takes a product furthest to a side, with the side's sign.
    pub(super) const fn end(&self, weight: f32, is_high: bool) -> f32 {
        let [low, high] = self.input;
        match (is_high, weight > 0.0) {
            (true, true) => high,
            (true, false) => low,
            (false, true) => -low,
            (false, false) => -high,
        }
    }

    /// What one step of a weight toward zero takes away from a side.
    pub(super) const fn taken(&self, weight: f32, is_high: bool) -> f32 {
        weight.signum() * self.end(weight, is_high)
    }

    fn extent(&self, weights: &[f32], factor: f32) -> Extent {
        let [high, low] = [true, false].map(|is_high| -> f32 {
            weights.iter().map(|&weight| weight * self.end(weight, is_high)).sum()
        });
        // Where both are as far out, either one is a way down.
        Extent { length: high.max(low) * factor, is_high: high >= low }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `log2` of what the channels reach, softened as the gradients have it.
    fn term(reach: &Reach, weights: &[f32], factors: &[f32]) -> f64 {
        let fan_in = weights.len() / factors.len();
        let channels = weights.chunks(fan_in).zip(factors);
        let lengths = channels.map(|(weights, factor)| {
            f64::from(reach.extent(weights, *factor).length).powf(f64::from(SHARPNESS))
        });
        lengths.sum::<f64>().log2() / f64::from(SHARPNESS)
    }

    #[test]
    fn gradients_are_those_of_the_logarithm_of_what_the_widest_channels_reach() {
        let weights = [1.5f32, -1.75, 0.5, -1.0, -1.5, 0.25, 0.75, 2.0, -0.5];
        for (input, factors) in [
            ([0.0, 15.0], [1.0, 2.0, 2.0]),
            ([-8.0, 7.0], [1.0; 3]),
            ([-3.0, 9.0], [4.0, 1.0, 2.0]),
        ] {
            let reach = Reach { input, share: 0.5 };
            let mut gradients = vec![0.0; weights.len()];
            reach.add((&weights, &factors), 3.0, &mut gradients);
            for at in 0..weights.len() {
                let moved = |by: f32| {
                    let mut moved = weights;
                    moved[at] += by;
                    term(&reach, &moved, &factors)
                };
                let step = 1.0 / 256.0;
                let expected = 1.5 * (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                let found = f64::from(gradients[at]);
                assert!((found - expected).abs() < 2e-3, "{at}: {found} {expected}");
            }
        }
    }

    #[test]
    fn a_layer_of_zeros_has_none() {
        let mut gradients = [0.0; 4];
        Reach { input: [0.0, 15.0], share: 1.0 }.add((&[0.0; 4], &[1.0; 2]), 1.0, &mut gradients);
        assert_eq!(gradients, [0.0; 4]);
    }
}
