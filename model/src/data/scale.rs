//! Float pixels on another scale than a network's: 0..255 where 0..1 is expected, and the like.
//!
//! Nothing about a float says what scale it is on. What is far from the scale expected is cut off
//! where pixels become integers, and the result is a wrong answer, not an error: so it is worth a
//! warning.

use std::fmt;

use protocols::plan::Preprocess;
use serde::{Deserialize, Serialize};

/// Pixels that are not on the scale expected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OffScale {
    /// The least and the largest pixel.
    pub seen: [f64; 2],
    /// The least and the largest that are expected.
    pub expected: [f64; 2],
    /// The fraction of the pixels that is outside.
    pub outside: f64,
}

/// The fraction of pixels outside the scale that goes without saying.
const TOLERATED: f64 = 0.01;
/// How far outside a single pixel may be, as a multiple of the largest expected.
const FAR: f64 = 2.0;
/// Largest pixels that are so many times less than expected are on another scale; those of 0..1 are
/// 255 times less.
const FAINT: f64 = 100.0;
/// No scale at all.
const ANY: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];

/// Holds float pixels against the scale that a preprocessing takes them to be on. `held` is the
/// range that the network's integers hold of the preprocessed ones, where that is known: what is
/// within it is not cut off.
pub(super) fn off_scale(
    pixels: &[f32],
    preprocess: &Preprocess,
    held: Option<[f64; 2]>,
) -> Option<OffScale> {
    let expected = match (preprocess, held) {
        (Preprocess::Normalize { mean, std }, held) if is_identity(mean, std) => {
            held.map_or(ANY, |held| held.map(|end| FAR * end))
        }
        // Negative ones are no pixels: they are normalized already, and calibrated on as they are.
        (Preprocess::Unit, None) if pixels.iter().any(|&pixel| pixel < 0.0) => ANY,
        (Preprocess::Normalize { .. }, _) | (Preprocess::Unit, None) => [0.0, 1.0],
        (Preprocess::Unit, Some([low, high])) => [low.min(0.0), high.max(1.0)],
        // As they are: bytes, or what the network was calibrated on.
        (Preprocess::Raw, None) => ANY,
        (Preprocess::Raw, Some([low, high])) => {
            [low.min(0.0), high.max(if high > FAR { 255.0 } else { 1.0 })]
        }
    };
    let [low, high] = expected;
    let mut seen = [f64::INFINITY, f64::NEG_INFINITY];
    let mut outside = 0_usize;
    for &pixel in pixels {
        let pixel = f64::from(pixel);
        seen = [seen[0].min(pixel), seen[1].max(pixel)];
        outside += usize::from(pixel < low || pixel > high);
    }
    let outside = outside as f64 / pixels.len().max(1) as f64;
    let far = seen[1] > FAR * high || seen[0] < low - (FAR - 1.0) * high;
    let faint = seen[1] > 0.0 && high.is_finite() && seen[1] * FAINT < high;
    (outside > TOLERATED || far || faint).then_some(OffScale { seen, expected, outside })
}

/// Whether nothing is taken off or divided by.
fn is_identity(mean: &[f32], std: &[f32]) -> bool {
    mean.iter().all(|&mean| mean == 0.0) && std.iter().all(|&std| std == 1.0)
}

impl fmt::Display for OffScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([least, largest], [low, high]) = (self.seen, self.expected);
        let percent = 100.0 * self.outside;
        write!(f, "the pixels are floats from {least} to {largest}; expected are ")?;
        write!(f, "{low:.4} to {high:.4}")?;
        write!(f, " ({percent:.1} % are outside, where they may be cut off); ")?;
        f.write_str(if least < low {
            "if they are normalized already, calibrate with images like these; or give them as \
             they were before, and search with --mean and --std"
        } else if largest > high {
            "divide them by 255 if they are 0..255; or search with --raw if that is what the \
             network was trained on"
        } else {
            "multiply them by 255 if they are 0..1; or search without --raw if that is what the \
             network was trained on"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [f32; 4] = [0.0, 17.0, 200.0, 255.0];
    const UNIT: [f32; 4] = [0.0, 0.1, 0.7, 1.0];
    const NORMALIZED: [f32; 4] = [-2.1, -0.3, 0.4, 2.6];

    fn normalize() -> Preprocess {
        Preprocess::Normalize { mean: vec![0.5], std: vec![0.25] }
    }

    fn identity() -> Preprocess {
        Preprocess::Normalize { mean: vec![0.0], std: vec![1.0] }
    }

    #[test]
    fn pixels_on_the_scale_expected_are_fine() {
        for (pixels, preprocess, held) in [
            (UNIT, Preprocess::Unit, None),
            (UNIT, normalize(), None),
            (UNIT, normalize(), Some([-2.0, 2.0])),
            // Four bits, the brightest cut off.
            (UNIT, Preprocess::Unit, Some([0.0, 0.47])),
            (BYTES, Preprocess::Raw, None),
            (BYTES, Preprocess::Raw, Some([0.0, 240.0])),
            (UNIT, Preprocess::Raw, Some([0.0, 0.996])),
            // A quantized network that came with a signed input.
            (NORMALIZED, Preprocess::Unit, Some([-4.0, 4.0])),
            ([0.0; 4], Preprocess::Raw, Some([0.0, 255.0])),
            // Normalized already, as what is calibrated on.
            (NORMALIZED, Preprocess::Unit, None),
            (NORMALIZED, Preprocess::Raw, None),
            (NORMALIZED, identity(), None),
            (NORMALIZED, identity(), Some([-1.5, 1.5])),
        ] {
            assert_eq!(
                off_scale(&pixels, &preprocess, held),
                None,
                "{pixels:?} {preprocess:?} {held:?}"
            );
        }
    }

    #[test]
    fn pixels_on_another_scale_are_told_with_both_ranges_and_what_to_do() {
        for (pixels, preprocess, held, parts) in [
            (
                BYTES,
                Preprocess::Unit,
                None,
                ["0 to 255", "0.0000 to 1.0000", "75.0 %", "divide them by 255"],
            ),
            (
                BYTES,
                Preprocess::Unit,
                Some([0.0, 0.996]),
                ["0 to 255", "0.0000 to 1.0000", "75.0 %", "--raw"],
            ),
            (BYTES, normalize(), None, ["0 to 255", "0.0000 to 1.0000", "75.0 %", "divide"]),
            (
                UNIT,
                Preprocess::Raw,
                Some([0.0, 255.0]),
                ["0 to 1", "0.0000 to 255", "0.0 %", "multiply"],
            ),
            (
                NORMALIZED,
                Preprocess::Unit,
                Some([0.0, 1.0]),
                ["-2.", "0.0000 to 1.0000", "75.0 %", "--mean"],
            ),
            (
                NORMALIZED,
                Preprocess::Raw,
                Some([0.0, 250.0]),
                ["-2.", "0.0000 to 255", "50.0 %", "--mean"],
            ),
            (
                NORMALIZED,
                identity(),
                Some([0.0, 4.0]),
                ["-2.", "0.0000 to 8.0000", "50.0 %", "calibrate"],
            ),
            (NORMALIZED, normalize(), None, ["-2.", "0.0000 to 1.0000", "75.0 %", "--mean"]),
        ] {
            let told = off_scale(&pixels, &preprocess, held).unwrap().to_string();
            for part in parts {
                assert!(told.contains(part), "{part} is missing in: {told}");
            }
        }
        // One pixel of many.
        let mut dark = vec![0.5; 1000];
        dark.push(128.0);
        assert!(off_scale(&dark, &Preprocess::Unit, None).is_some());
        *dark.last_mut().unwrap() = 1.02;
        assert_eq!(off_scale(&dark, &Preprocess::Unit, None), None);
    }
}
