//! Which integers the values of an activation quantizer become: as many as its width has, from the
//! one on that suits them.
//!
//! Where two's complement holds all values, or cuts off some at both ends, it is taken. Else the
//! integers are moved to where the values are: HardSwish at a scale of 1/24 gives -9 to 240, which
//! two's complement of 8 bits cuts off at 127, and `-9 ..= 246` does not.

/// The least and the largest of some values, zero among them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extent {
    /// At most zero.
    pub least: f64,
    /// At least zero.
    pub largest: f64,
}

impl Extent {
    /// From the one to the other, in real numbers.
    pub(super) fn span(self) -> f64 {
        self.largest - self.least
    }

    /// What of it is within a magnitude.
    pub(super) fn within(self, reach: f64) -> Self {
        Self { least: self.least.max(-reach), largest: self.largest.min(reach) }
    }

    /// The least integer of a width, at a scale.
    pub(super) fn low(self, scale: f64, bits: u8) -> i64 {
        let (most, half) = (steps(bits), f64::from(bits - 1).exp2());
        let [below, above] = [self.least, self.largest].map(|end| (end / scale).round());
        let room = most - (above - below);
        let low = if (below >= -half) == (above < half) {
            -half
        } else if room >= 0.0 {
            // Other images may reach further: what room there is goes to both ends, as far as each
            // reaches itself.
            below - (room * below / (below - above)).floor()
        } else if below >= -half {
            below
        } else {
            above - most
        };
        low.clamp(-most, 0.0) as i64
    }
}

/// Steps from the least integer of a width to the largest.
pub(super) fn steps(bits: u8) -> f64 {
    f64::from(bits).exp2() - 1.0
}

/// The interval of a width from a least integer on.
pub(super) fn limits(bits: u8, low: i64) -> (f64, f64) {
    (low as f64, low as f64 + steps(bits))
}

/// The interval of two's complement.
pub(super) fn signed(bits: u8) -> (f64, f64) {
    limits(bits, -1 << (bits - 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_value_is_cut_off_where_there_is_room_for_all(
            least in -9.0f64..=0.0,
            largest in 0.0f64..=9.0,
            bits in 1u8..=8,
            log_scale in -6.0f64..3.0,
        ) {
            let (extent, scale) = (Extent { least, largest }, log_scale.exp2());
            let (low, high) = limits(bits, extent.low(scale, bits));
            prop_assert!(low <= 0.0 && high >= 0.0);
            let [below, above] = [least, largest].map(|end| (end / scale).round());
            if above - below <= steps(bits) {
                prop_assert!(low <= below && above <= high, "{low} {below} {above} {high}");
            }
            // What is negative is not given up for what two's complement would cut off too.
            let twos = limits(bits, -1 << (bits - 1));
            prop_assert!(low <= below.max(twos.0) || above <= high);
        }
    }

    #[test]
    fn symmetric_values_are_twos_complement_and_others_have_room_at_both_ends() {
        let low = |least, largest| Extent { least, largest }.low(1.0, 4);
        assert_eq!(low(-7.0, 7.0), -8);
        assert_eq!(low(-90.0, 90.0), -8);
        assert_eq!(low(0.0, 0.0), -8);
        assert_eq!(low(-3.0, 12.0), -3);
        // Of the six integers that are left, a ninth is none.
        assert_eq!(low(-1.0, 8.0), -1);
        assert_eq!(low(-3.0, 9.0), -3);
        assert_eq!(low(-2.0, 8.0), -3);
        assert_eq!(low(-12.0, 3.0), -12);
        assert_eq!(low(-2.0, 90.0), -2);
        assert_eq!(low(-90.0, 2.0), -13);
    }
}
