//! Exact intervals of integers, and the widths that hold them.

use std::fmt;

use protocols::weights::accumulators;

use crate::{Error, LayerWeights, Linear};

/// The widest wire: a ring has room for its values, a sign, and an offset.
pub const MAX_BITS: u8 = 60;

/// All integers from `lo` to `hi`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    /// The least value.
    pub lo: i64,
    /// The largest value.
    pub hi: i64,
}

impl Interval {
    /// The interval that holds zero only.
    pub const ZERO: Self = Self { lo: 0, hi: 0 };

    /// What a width holds: `0 ..= 2^bits - 1`, or two's complement.
    ///
    /// # Panics
    /// Where `bits` is not within 1..=[`MAX_BITS`].
    pub const fn of_bits(bits: u8, signed: bool) -> Self {
        assert!(bits >= 1 && bits <= MAX_BITS, "invariant: a wire's width is checked before");
        if signed {
            Self { lo: -(1 << (bits - 1)), hi: (1 << (bits - 1)) - 1 }
        } else {
            Self { lo: 0, hi: (1 << bits) - 1 }
        }
    }

    /// The interval with these ends, or `None` where it is empty or needs more than [`MAX_BITS`]
    /// signed bits.
    pub fn checked(lo: i128, hi: i128) -> Option<Self> {
        let fits = lo <= hi && ring_width(lo, hi) <= u32::from(MAX_BITS);
        let (lo, hi) = (i64::try_from(lo).ok()?, i64::try_from(hi).ok()?);
        fits.then_some(Self { lo, hi })
    }

    /// The least interval that holds both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    /// Whether every integer of `other` is in `self`.
    pub const fn contains(self, other: Self) -> bool {
        self.lo <= other.lo && other.hi <= self.hi
    }

    /// Whether a value is in it.
    pub const fn holds(self, value: i64) -> bool {
        self.lo <= value && value <= self.hi
    }

    /// The largest magnitude.
    pub fn magnitude(self) -> u64 {
        self.lo.unsigned_abs().max(self.hi.unsigned_abs())
    }

    /// The least width that holds it, at least 1.
    pub fn bits(self, signed: bool) -> u8 {
        let (lo, hi) = (i128::from(self.lo), i128::from(self.hi));
        let width = if signed { ring_width(lo, hi) } else { ring_width(lo, hi).max(2) - 1 };
        width as u8
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}]", self.lo, self.hi)
    }
}

/// The least `l` with `-2^(l-1) <= lo` and `hi < 2^(l-1)`.
pub const fn ring_width(lo: i128, hi: i128) -> u32 {
    let below = if lo < 0 { !lo } else { lo };
    let above = if hi < 0 { !hi } else { hi };
    let largest = if below > above { below } else { above };
    129 - largest.leading_zeros()
}

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
        let check = |what, expected: usize, found: usize| {
            let (node, expected, found) = (node.to_owned(), expected as i64, found as i64);
            if expected == found {
                Ok(())
            } else {
                Err(Error::Weights { node, what, expected, found })
            }
        };
        check("number of weights", self.weights(), layer.weights.len())?;
        check("number of biases", self.geometry.out_channels, layer.bias.len())?;
        if !self.shifts.is_empty() {
            check("number of shifts", self.channels(), self.shifts.len())?;
        }
        let input = (input.lo.into(), input.hi.into());
        let (lo, hi) =
            accumulators(&self.geometry, self.kernel.algorithm(), layer, &self.shifts, input);
        let error = || Error::TooWide { node: node.to_owned(), lo, hi, limit: MAX_BITS };
        Interval::checked(lo, hi).ok_or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocols::linear::Geometry;

    use super::*;
    use crate::Kernel;

    #[test]
    fn widths_are_the_least_that_hold_an_interval() {
        for (lo, hi, width) in
            [(0, 0, 1), (-1, 0, 1), (0, 1, 2), (-2, 1, 2), (-3, 1, 3), (0, 255, 9), (-128, 127, 8)]
        {
            assert_eq!(ring_width(lo, hi), width, "[{lo}, {hi}]");
        }
        assert_eq!(Interval { lo: 0, hi: 15 }.bits(false), 4);
        assert_eq!(Interval::ZERO.bits(false), 1);
        assert_eq!(Interval { lo: -8, hi: 7 }.bits(true), 4);
    }

    proptest! {
        #[test]
        fn an_interval_needs_its_width_and_no_more(lo in -1000i64..1000, len in 0i64..1000) {
            let found = Interval { lo, hi: lo + len };
            let bits = found.bits(true);
            prop_assert!(Interval::of_bits(bits, true).contains(found));
            prop_assert!(bits == 1 || !Interval::of_bits(bits - 1, true).contains(found));
        }

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
