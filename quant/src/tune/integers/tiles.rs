//! Weights in Winograd's domain as the kernels of tiles that they amount to: linear in `U`, so its
//! gradients are the transpose's of theirs (`protocols::linear::winograd`).

use protocols::linear::winograd::{POSITIONS, coefficient};

/// Outputs of a tile.
const OUTPUTS: usize = 4;

/// The kernels of a layer, `[4, K, C / groups, 4, 4]`, made of its `U`, `[16, K, C / groups]`.
pub(super) struct Tiles {
    /// `K C / groups`: weights of one position.
    weights: usize,
    /// The parts of `U` in kernels that are not zero: output, tap, position and sign.
    parts: Vec<(usize, usize, usize, f32)>,
    /// The kernels.
    pub(super) kernels: Vec<f32>,
}

impl Tiles {
    /// Of so many weights in the domain.
    pub(super) fn new(weights: usize) -> Self {
        let weights = weights / POSITIONS;
        let mut parts = Vec::new();
        for (output, tap) in (0..OUTPUTS).flat_map(|o| (0..POSITIONS).map(move |tap| (o, tap))) {
            for position in 0..POSITIONS {
                let sign = coefficient(output, tap, position);
                if sign != 0 {
                    parts.push((output, tap, position, f32::from(sign)));
                }
            }
        }
        Self { weights, parts, kernels: vec![0.0; OUTPUTS * POSITIONS * weights] }
    }

    /// Makes the kernels of `U`.
    pub(super) fn make(&mut self, domain: &[f32]) {
        self.kernels.fill(0.0);
        for &(output, tap, position, sign) in &self.parts {
            let from = &domain[position * self.weights..][..self.weights];
            // Kernels lie tap by tap: every sixteenth weight is this tap's.
            let to = self.kernels[output * self.weights * POSITIONS..].iter_mut();
            for (to, from) in to.skip(tap).step_by(POSITIONS).zip(from) {
                *to += sign * from;
            }
        }
    }

    /// The gradients of `U`, of those of the kernels.
    pub(super) fn gather(&self, gradients: &[f32], domain: &mut [f32]) {
        domain.fill(0.0);
        for &(output, tap, position, sign) in &self.parts {
            let to = &mut domain[position * self.weights..][..self.weights];
            let from = gradients[output * self.weights * POSITIONS..].iter();
            for (to, from) in to.iter_mut().zip(from.skip(tap).step_by(POSITIONS)) {
                *to += sign * from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quantize::{by_position, transform};

    fn product(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    proptest! {
        // A 3x3 kernel's own `U` is that kernel, moved by an output's place in the tile.
        #[test]
        fn transformed_kernels_are_themselves(taps in prop::collection::vec(-50i8..50, 18)) {
            let taps: Vec<f32> = taps.into_iter().map(f32::from).collect();
            let domain = by_position(&transform(&taps, 2), 2);
            let mut tiles = Tiles::new(domain.len());
            tiles.make(&domain);
            for (output, kernels) in tiles.kernels.chunks_exact(2 * POSITIONS).enumerate() {
                for (at, weight) in kernels.iter().enumerate() {
                    let [y, x] = [at % 16 / 4, at % 4].map(|tap| tap as isize);
                    let [y, x] = [y - (output / 2) as isize, x - (output % 2) as isize];
                    let within = (0..3).contains(&y) && (0..3).contains(&x);
                    let tap = if within { taps[at / 16 * 9 + (y * 3 + x) as usize] } else { 0.0 };
                    prop_assert_eq!(*weight, tap);
                }
            }
        }

        // `<A u, k> == <u, A^T k>`, in integers.
        #[test]
        fn gradients_are_the_transpose(values in prop::collection::vec(-50i8..50, 16 * 3 * 5)) {
            let values: Vec<f32> = values.into_iter().map(f32::from).collect();
            let (domain, cotangent) = values.split_at(16 * 3);
            let mut tiles = Tiles::new(domain.len());
            tiles.make(domain);
            let mut gradient = vec![0.0; domain.len()];
            tiles.gather(cotangent, &mut gradient);
            prop_assert_eq!(product(&tiles.kernels, cotangent), product(domain, &gradient));
        }
    }
}
