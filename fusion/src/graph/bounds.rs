//! The exact interval of a layer's accumulators.

use protocols::weights::accumulators;

use super::Linear;
use crate::interval::{Interval, MAX_BITS};
use crate::{Error, LayerWeights};

impl Linear {
    /// Sets the interval of the accumulators to the exact one for inputs within `input`: over all
    /// channels, `(W x)[c] << shifts[c] + bias[c]`. The error names `node`.
    pub fn bounded(self, node: &str, layer: &LayerWeights, input: Interval) -> Result<Self, Error> {
        let range = self.accumulators(node, layer, input)?;
        Ok(Self { range, ..self })
    }

    /// The exact interval of the accumulators.
    pub(crate) fn accumulators(
        &self,
        node: &str,
        layer: &LayerWeights,
        input: Interval,
    ) -> Result<Interval, Error> {
        check(node, "number of weights", self.weights(), layer.weights.len())?;
        check(node, "number of biases", self.geometry.out_channels, layer.bias.len())?;
        if !self.shifts.is_empty() {
            check(node, "number of shifts", self.channels(), self.shifts.len())?;
        }
        let input = (input.lo.into(), input.hi.into());
        let (lo, hi) =
            accumulators(&self.geometry, self.kernel.algorithm(), layer, &self.shifts, input);
        Interval::checked(lo, hi).ok_or_else(|| Error::TooWide {
            node: node.to_owned(),
            lo,
            hi,
            limit: MAX_BITS,
        })
    }
}

/// Whether there are as many as there have to be.
fn check(node: &str, what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    let (node, expected, found) = (node.to_owned(), expected as i64, found as i64);
    Err(Error::Weights { node, what, expected, found })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocols::linear::Geometry;

    use super::*;
    use crate::graph::Kernel;

    proptest! {
        #[test]
        fn accumulator_intervals_are_attained_at_both_ends(
            weights in prop::collection::vec(-8i8..8, 12),
            bias in prop::collection::vec(-99i64..99, 3),
            shifts in prop::collection::vec(0u8..4, 3),
            lo in -9i64..9,
            len in 0i64..9,
        ) {
            let input = Interval { lo, hi: lo + len };
            let linear = Linear { shifts: shifts.clone(), ..layer(Geometry::dense(4, 3)) };
            let given = LayerWeights { weights: weights.clone(), bias: bias.clone() };
            let found = linear.accumulators("fc", &given, input).unwrap();
            let (weights, shifts, bias) = (&weights, &shifts, &bias);
            let extreme = |largest: bool| (0..3).map(move |c| {
                let row = &weights[4 * c..4 * c + 4];
                let x = |w: i8| if (w > 0) == largest { input.hi } else { input.lo };
                (row.iter().map(|&w| i64::from(w) * x(w)).sum::<i64>() << shifts[c]) + bias[c]
            });
            prop_assert_eq!(found.lo, extreme(false).min().unwrap());
            prop_assert_eq!(found.hi, extreme(true).max().unwrap());
        }
    }

    fn layer(geometry: Geometry) -> Linear {
        let (kernel, shifts, range) = (Kernel::Spatial, Vec::new(), Interval::ZERO);
        Linear { input: 0, geometry, kernel, weight_bits: 4, shifts, range, scale: 1.0 }
    }

    #[test]
    fn padding_makes_zero_possible() {
        let geometry = Geometry { in_h: 2, kernel_h: 2, pad_top: 1, ..Geometry::dense(1, 1) };
        let interval = |geometry: Geometry| {
            let given = LayerWeights { weights: vec![1, 1], bias: vec![0] };
            layer(geometry).accumulators("c", &given, Interval { lo: 2, hi: 3 }).unwrap()
        };
        assert_eq!(interval(geometry), Interval { lo: 0, hi: 6 });
        assert_eq!(interval(Geometry { pad_top: 0, ..geometry }), Interval { lo: 4, hi: 6 });
    }

    #[test]
    fn lengths_that_do_not_fit_are_errors_that_name_the_node() {
        let given = LayerWeights { weights: vec![1; 3], bias: vec![0; 2] };
        let error = layer(Geometry::dense(2, 2)).bounded("fc1", &given, Interval::ZERO);
        assert_eq!(
            error.unwrap_err().to_string(),
            "weights of 'fc1': number of weights: expected 4, found 3"
        );
    }
}
