//! Which digits of which weights share a tree: the public layout of a linear layer's trees.
//!
//! A tree holds one digit of one weight, or whole weights of up to `g = k / w` output channels for the *same* input row,
//! so that one correction of that row serves all of them. Trees of one [`Class`] have one depth and one ring.

use super::Geometry;
use crate::Bits;
use crate::plan::Protocol;

/// Trees of one depth and ring: for every input row of the group and every bundle of output channels one tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Class {
    /// The group of the convolution.
    pub group: usize,
    /// Output channels of each bundle; all bundles are equally long.
    pub bundles: Vec<Vec<usize>>,
    /// The lowest weight bit of the digit.
    pub low: u32,
    /// Bits of a digit.
    pub width: u32,
    /// Whether this is the weights' top digit, which is signed.
    pub top: bool,
    /// The ring of the digit's products: `l`, less the channel's shift, less `low`.
    pub ring: Bits,
    /// Input rows: trees are numbered `row * bundles + bundle`.
    pub rows: usize,
}

impl Class {
    /// Levels of a tree.
    pub(super) fn depth(&self) -> u32 {
        self.width * self.bundles[0].len() as u32
    }

    /// Number of trees.
    pub(super) const fn trees(&self) -> usize {
        self.rows * self.bundles.len()
    }

    /// Trees of one chunk: leaves of all of them fit the second-level cache, and their corrections a few messages.
    pub(super) fn chunk(&self, columns: usize) -> usize {
        (LEAVES >> self.depth()).min(CORRECTIONS / columns.max(1)).max(1)
    }

    /// The hole of every tree: the digits of its weights, the first channel's in the lowest bits.
    pub(super) fn holes(&self, weights: &[i8]) -> Vec<u32> {
        let mask = (1 << self.width) - 1;
        let digit =
            |row: usize, channel: usize| (weights[channel * self.rows + row] as u32 >> self.low) & mask;
        let trees = (0..self.rows).flat_map(|row| self.bundles.iter().map(move |bundle| (row, bundle)));
        trees
            .map(|(row, bundle)| {
                let digits = bundle.iter().enumerate();
                digits.fold(0, |hole, (at, &channel)| hole | digit(row, channel) << (at as u32 * self.width))
            })
            .collect()
    }
}

/// Blocks of leaves in one chunk: 128 KiB.
const LEAVES: usize = 1 << 13;
/// Corrections in one chunk.
const CORRECTIONS: usize = 1 << 20;

/// All classes of a layer; none where the weights are not the puncture points. `weight_bits` is the width of a group's weights;
/// `shifts` has one entry for each output channel, or none.
///
/// # Panics
/// Where a shift or a digit leaves no ring: plans are checked before.
pub(super) fn classes(
    geometry: &Geometry,
    weight_bits: impl Fn(usize) -> u32,
    shifts: &[u8],
    ring: Bits,
    protocol: Protocol,
) -> Vec<Class> {
    if matches!(protocol, Protocol::VoleOfMask { .. }) {
        return Vec::new();
    }
    let k = digit_bits(protocol);
    let per_group = geometry.out_channels / geometry.groups;
    let shift = |channel: usize| shifts.get(channel).map_or(0, |&e| u32::from(e));
    let mut classes = Vec::new();
    for group in 0..geometry.groups {
        let weight_bits = weight_bits(group);
        let together = bundle(weight_bits, protocol) as usize;
        let mut channels: Vec<usize> = (group * per_group..(group + 1) * per_group).collect();
        channels.sort_by_key(|&channel| shift(channel));
        for alike in channels.chunk_by(|&a, &b| shift(a) == shift(b)) {
            let whole = alike.len() - alike.len() % together;
            for bundles in [&alike[..whole], &alike[whole..]].into_iter().filter(|part| !part.is_empty()) {
                let size = bundles.len().min(together);
                let bundles: Vec<Vec<usize>> = bundles.chunks(size).map(<[usize]>::to_vec).collect();
                for (low, width) in cut(weight_bits, k) {
                    classes.push(Class {
                        group,
                        bundles: bundles.clone(),
                        low,
                        width,
                        top: low + width == weight_bits,
                        ring: Bits::of(ring.get() - shift(alike[0]) - low),
                        rows: geometry.fan_in(),
                    });
                }
            }
        }
    }
    classes
}

/// Digits of one weight: lowest bit and width of each.
fn cut(weight_bits: u32, k: u32) -> impl Iterator<Item = (u32, u32)> {
    let step = k.min(weight_bits);
    (0..weight_bits).step_by(step as usize).map(move |low| (low, step.min(weight_bits - low)))
}

/// Weights of one tree, at the most.
pub(super) const fn bundle(weight_bits: u32, protocol: Protocol) -> u32 {
    match protocol {
        Protocol::Vole { k } if k as u32 >= weight_bits => k as u32 / weight_bits,
        Protocol::Vole { .. } | Protocol::Cot | Protocol::VoleOfMask { .. } => 1,
    }
}

/// Bits of all digits of a tree together. Bitwise correlated transfers are trees of depth one.
pub(super) const fn digit_bits(protocol: Protocol) -> u32 {
    match protocol {
        Protocol::Vole { k } | Protocol::VoleOfMask { k } => k as u32,
        Protocol::Cot => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_bit_of_every_weight_is_in_exactly_one_digit(
            channels in 1usize..9, weight_bits in 2u32..=8, k in 1u8..=8, shifts in prop::collection::vec(0u8..3, 9)) {
            let geometry = Geometry::dense(3, channels);
            let shifts = &shifts[..channels];
            let classes = classes(&geometry, |_| weight_bits, shifts, Bits::of(20), Protocol::Vole { k });
            for (channel, &shift) in shifts.iter().enumerate() {
                let mut bits = 0u32;
                for class in &classes {
                    let found = class.bundles.iter().flatten().filter(|&&c| c == channel).count();
                    prop_assert!(found <= 1);
                    if found == 1 {
                        let digit = ((1 << class.width) - 1) << class.low;
                        prop_assert_eq!(bits & digit, 0);
                        bits |= digit;
                        prop_assert_eq!(class.top, class.low + class.width == weight_bits);
                        prop_assert_eq!(class.ring.get(), 20 - u32::from(shift) - class.low);
                    }
                }
                prop_assert_eq!(bits, (1 << weight_bits) - 1);
            }
            prop_assert!(classes.iter().all(|class| class.depth() <= u32::from(k)));
        }
    }
}
