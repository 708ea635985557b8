//! Requantizations behind a ReLU of some elements. Which those are is public.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Wire;

/// Some elements of one image, `[channels, rows, columns]` row-major.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Mask(Arc<[bool]>);

/// A requantization that cuts off some elements at zero and lets the others be negative.
///
/// The result is signed, of `b` bits. Each element has `2^(b-1)` values: those from 0 on where it
/// is kept, those from `-below` on elsewhere. Of 5 bits and 4 below: 0 to 15, or -4 to 11.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linearized {
    /// Elements whose ReLU is kept.
    pub kept: Mask,
    /// How far the others reach below zero, up to `2^(b-1)`.
    pub below: u32,
}

/// A mask in a file: four elements a hexadecimal digit, the first in its lowest bit.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    elements: usize,
    digits: String,
}

impl Mask {
    /// The elements that are true.
    pub fn new(elements: Vec<bool>) -> Self {
        Self(elements.into())
    }

    /// Elements in all.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Elements that it holds.
    pub fn count(&self) -> usize {
        self.iter().filter(|&held| held).count()
    }

    /// Whether each element is held, in order.
    pub fn iter(&self) -> impl Iterator<Item = bool> + '_ {
        self.0.iter().copied()
    }
}

impl Linearized {
    /// What is wrong with it for a result of this shape and width, if anything.
    pub fn check(&self, shape: [usize; 3], (bits, low): (u8, i64)) -> Result<(), String> {
        let elements: usize = shape.iter().product();
        if self.kept.len() != elements {
            return Err(format!("a mask of {elements} elements, found {}", self.kept.len()));
        }
        if bits < 2 || low != Wire::least(bits, true) {
            return Err(format!(
                "a result of two's complement, of 2 bits or more; found {bits}, from {low} on"
            ));
        }
        // Beyond it a linear element would have no value above zero.
        let most = 1u64 << (bits - 1).min(31);
        if u64::from(self.below) > most {
            return Err(format!("at most {most} below zero, found {}", self.below));
        }
        Ok(())
    }

    /// By element of a batch, `[channels][images][rows][columns]`: how far below zero it reaches.
    pub(super) fn floors(
        &self,
        [_, rows, columns]: [usize; 3],
        images: usize,
    ) -> impl Iterator<Item = u64> + '_ {
        // A channel's plane comes once for every image.
        let planes = self.kept.0.chunks(rows * columns);
        let planes = planes.flat_map(move |plane| std::iter::repeat_n(plane, images));
        planes.flatten().map(|&kept| if kept { 0 } else { self.below.into() })
    }
}

impl fmt::Debug for Mask {
    /// How many there are of how many: a picture of them would fill pages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} elements", self.count(), self.len())
    }
}

impl From<Mask> for Written {
    fn from(mask: Mask) -> Self {
        Self { elements: mask.len(), digits: mask.0.chunks(4).map(digit).collect() }
    }
}

/// Four elements as a digit, the first in its lowest bit.
fn digit(four: &[bool]) -> char {
    // The last digit may have fewer: those that are missing count as zeros.
    let value = four.iter().rev().fold(0, |value, &held| 2 * value + u32::from(held));
    char::from_digit(value, 16).unwrap_or('0')
}

impl TryFrom<Written> for Mask {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { elements, digits } = written;
        let expected = elements.div_ceil(4);
        if digits.len() != expected {
            return Err(format!("digits: expected {expected}, found {}", digits.len()));
        }
        let mut found = Vec::with_capacity(4 * expected);
        for digit in digits.chars() {
            // Lower case alone, for the same reason as below.
            let value = digit.to_digit(16).filter(|_| !digit.is_ascii_uppercase());
            let value = value.ok_or_else(|| format!("digits: expected 0 to f, found {digit:?}"))?;
            found.extend((0..4).map(|bit| value >> bit & 1 == 1));
        }
        // One mask is written in one way: plans are compared by their bytes.
        if found[elements..].contains(&true) {
            return Err("digits: expected zeros behind the last element, found another".into());
        }
        found.truncate(elements);
        Ok(Self::new(found))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn masks_are_read_as_they_are_written(
            elements in prop::collection::vec(any::<bool>(), 0..40),
        ) {
            let mask = Mask::new(elements);
            let text = serde_json::to_string(&mask).unwrap();
            prop_assert_eq!(serde_json::from_str::<Mask>(&text).unwrap(), mask);
        }
    }

    #[test]
    fn what_is_no_mask_is_refused() {
        for (elements, digits) in [(4, ""), (4, "11"), (4, "G"), (4, "A"), (3, "8"), (5, "é")] {
            let text = format!(r#"{{"elements":{elements},"digits":"{digits}"}}"#);
            let error = serde_json::from_str::<Mask>(&text).unwrap_err().to_string();
            assert!(error.contains("digits: expected"), "{text}: {error}");
        }
    }

    #[test]
    fn floors_are_those_of_every_image() {
        let kept = Mask::new(vec![true, false, false, true]);
        let linearized = Linearized { kept, below: 3 };
        let floors: Vec<u64> = linearized.floors([2, 1, 2], 2).collect();
        assert_eq!(floors, [0, 3, 0, 3, 3, 0, 3, 0]);
        assert_eq!(linearized.check([2, 1, 2], (3, -4)), Ok(()));
        for (shape, width) in [([2, 2, 2], (3, -4)), ([2, 1, 2], (3, 0)), ([2, 1, 2], (2, -2))] {
            assert!(linearized.check(shape, width).is_err(), "{shape:?} {width:?}");
        }
    }
}
