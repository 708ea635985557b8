//! Exact intervals of integers, and the widths that hold them.

use std::fmt;

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
        Self::from(if signed { -(1 << (bits - 1)) } else { 0 }, bits)
    }

    /// The `2^bits` integers from `lo` on.
    pub const fn from(lo: i64, bits: u8) -> Self {
        Self { lo, hi: lo + (1 << bits) - 1 }
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
    // `!x` is `-x - 1`: -8 needs as many bits as 7. 128 minus the leading zeros are those of the
    // magnitude, and one is the sign.
    let below = if lo < 0 { !lo } else { lo };
    let above = if hi < 0 { !hi } else { hi };
    let largest = if below > above { below } else { above };
    129 - largest.leading_zeros()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
    }
}
