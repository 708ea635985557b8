//! Which digits of which weights share a tree: the public layout of a linear layer's trees.
//!
//! A tree holds digits of `d` bits of the weights of up to `k / d` output channels for the *same*
//! input row, so that one correction of that row serves all of them. A weight is cut into the
//! digits whose trees' corrections have the fewest bits: where many channels share trees, into
//! single bits, as higher ones need shorter rings; a tree's work does not depend on what its levels
//! stand for. Trees of one [`Class`] have one depth and one ring. What travels in one message is a
//! list of [`Part`]s: rows of the classes of one group, then of the next.

use std::cell::OnceCell;
use std::ops::Range;

use crate::Bits;
use crate::linear::Geometry;

/// Trees of one depth and ring: for every input row of the group and every bundle of output
/// channels one tree.
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

    /// The trees of some rows.
    pub(super) const fn trees_of(&self, rows: &Range<usize>) -> Range<usize> {
        rows.start * self.bundles.len()..rows.end * self.bundles.len()
    }

    /// Quads of trees after which the bundles are the same again.
    pub(super) const fn period(&self) -> usize {
        let bundles = self.bundles.len();
        match bundles % 4 {
            0 => bundles / 4,
            2 => bundles / 2,
            _ => bundles,
        }
    }

    /// The puncture of every tree: the digits of its weights, the first channel's in the lowest
    /// bits.
    pub(super) fn punctures(&self, weights: &[i8]) -> Vec<u32> {
        // Digits are cut out of two's complement: the cast to 32 bits extends the sign of a weight.
        let mask = (1 << self.width) - 1;
        let trees =
            (0..self.rows).flat_map(|row| self.bundles.iter().map(move |bundle| (row, bundle)));
        trees
            .map(|(row, bundle)| {
                let digits = bundle.iter().enumerate();
                digits.fold(0, |puncture, (at, &channel)| {
                    let digit = (weights[channel * self.rows + row] as u32 >> self.low) & mask;
                    puncture | digit << (at as u32 * self.width)
                })
            })
            .collect()
    }
}

/// Input rows of classes of one group, which share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The classes, by their numbers.
    pub classes: Range<usize>,
    /// Of the group's input rows.
    pub rows: Range<usize>,
}

/// Leaves of one chunk, 256 KiB: they fit the second-level cache.
const LEAVES: usize = 1 << 14;
/// Corrections of one chunk for every leaf: a few megabytes in a message at the most.
const CORRECTIONS: usize = 1 << 6;

/// All parts of some classes, those together that travel in one message: rows of all classes of one
/// group, as many as there is room for, so that a row of the input is only once looked up. Classes
/// of a group are behind each other.
pub(super) fn chunks<'a>(
    classes: impl IntoIterator<Item = &'a Class>,
    columns: usize,
) -> Vec<Vec<Part>> {
    let classes: Vec<&Class> = classes.into_iter().collect();
    let (mut chunks, mut chunk, mut room) = (Vec::new(), Vec::new(), LEAVES);
    let mut first = 0;
    // `room` is what the chunk that is being filled still takes, in leaves; `first` is the number
    // of the group's first class.
    let groups = classes.chunk_by(|a, b| a.group == b.group);
    // Where a single row is too much, its classes are on their own.
    for group in groups
        .flat_map(|group| group.chunks(if leaves_of_row(group) > LEAVES { 1 } else { group.len() }))
    {
        let trees: usize = group.iter().map(|class| class.bundles.len()).sum();
        // A row of the input counts as its leaves in all classes, or as its corrections at
        // [`CORRECTIONS`] to a leaf where these are more.
        let (a_row, rows) =
            (leaves_of_row(group).max(trees * columns / CORRECTIONS).max(1), group[0].rows);
        let mut row = 0;
        // Rows before `row` are in a chunk. An empty chunk takes a row of any size, so every second
        // turn at the latest moves on.
        while row < rows {
            let fits = if chunk.is_empty() { (room / a_row).max(1) } else { room / a_row };
            let rows = row..rows.min(row + fits);
            if rows.is_empty() {
                chunks.push(std::mem::take(&mut chunk));
                room = LEAVES;
                continue;
            }
            room = room.saturating_sub(rows.len() * a_row);
            row = rows.end;
            chunk.push(Part { classes: first..first + group.len(), rows });
        }
        first += group.len();
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

/// Leaves of one row of the input in all these classes.
fn leaves_of_row(classes: &[&Class]) -> usize {
    classes.iter().map(|class| class.bundles.len() << class.depth()).sum()
}

/// Columns of a strip: eight, so that a strip of a message ends with a whole byte whatever the
/// ring.
pub(super) const STRIP: usize = 8;

/// The trees of some parts, by ring.
pub(super) fn trees_by_ring(classes: &[Class], parts: &[Part]) -> Vec<(Bits, usize)> {
    parts
        .iter()
        .flat_map(|part| {
            let rows = part.rows.clone();
            let classes = classes[part.classes.clone()].iter();
            classes.map(move |class| (class.ring, class.trees_of(&rows).len()))
        })
        .collect()
}

/// Bytes of the corrections of trees, given by their rings and numbers: strip by strip, and tree by
/// tree in a strip.
pub(super) fn message_len(trees: &[(Bits, usize)], columns: usize) -> usize {
    columns / STRIP * strip_len(trees, STRIP) + strip_len(trees, columns % STRIP)
}

/// Bytes of one strip of so many columns, likewise.
fn strip_len(trees: &[(Bits, usize)], columns: usize) -> usize {
    trees.iter().map(|(ring, trees)| ring.packed_len(trees * columns)).sum()
}

/// All classes of a layer, with trees of at most `k` levels. `weight_bits` is the width of a
/// group's weights; `shifts` has one entry for each output channel, or none.
///
/// # Panics
/// Where weights have more than 8 bits, or a shift or a digit leaves no ring: plans are checked
/// before.
pub(super) fn classes(
    geometry: &Geometry,
    weight_bits: impl Fn(usize) -> u32,
    shifts: &[u8],
    ring: Bits,
    k: u32,
) -> Vec<Class> {
    let per_group = geometry.out_channels / geometry.groups;
    let mut classes = Vec::new();
    let ways: [OnceCell<Vec<Vec<u32>>>; 9] = Default::default();
    for group in 0..geometry.groups {
        let weight_bits = weight_bits(group);
        let ways = ways[weight_bits as usize].get_or_init(|| cuts(weight_bits, k));
        let mut channels: Vec<usize> = (group * per_group..(group + 1) * per_group).collect();
        // Channels of one shift have products in one ring, so they may share trees. The sort is
        // stable, and both parties have the same layout.
        channels.sort_by_key(|&channel| shift(shifts, channel));
        for alike in channels.chunk_by(|&a, &b| shift(shifts, a) == shift(shifts, b)) {
            let ring = ring.get() - shift(shifts, alike[0]);
            let mut low = 0;
            for &width in cut(ways, k, alike.len(), ring) {
                let together = (k / width) as usize;
                // Channels that do not fill a bundle are a class of their own, of one shallower
                // tree a row.
                let whole = alike.len() - alike.len() % together;
                for bundles in
                    [&alike[..whole], &alike[whole..]].into_iter().filter(|part| !part.is_empty())
                {
                    let size = bundles.len().min(together);
                    classes.push(Class {
                        group,
                        bundles: bundles.chunks(size).map(<[usize]>::to_vec).collect(),
                        low,
                        width,
                        top: low + width == weight_bits,
                        ring: Bits::of(ring - low),
                        rows: geometry.fan_in(),
                    });
                }
                low += width;
            }
        }
    }
    classes
}

/// The shift of an output channel; zero where there are none.
fn shift(shifts: &[u8], channel: usize) -> u32 {
    shifts.get(channel).map_or(0, |&e| u32::from(e))
}

/// Of all ways to cut the weights of so many channels, the one whose trees' corrections have the
/// fewest bits.
fn cut(ways: &[Vec<u32>], k: u32, channels: usize, ring: u32) -> &[u32] {
    ways.iter()
        .min_by_key(|digits| (correction_bits(digits, k, channels, ring), digits.len()))
        .map_or(&[], Vec::as_slice)
}

/// Bits of the corrections of one row's trees, where the weights are cut into these digits.
fn correction_bits(digits: &[u32], k: u32, channels: usize, ring: u32) -> u64 {
    let (mut bits, mut low) = (0, 0);
    for width in digits {
        // The digit's products are in the ring of `ring - low` bits.
        bits += channels.div_ceil((k / width) as usize) as u64 * u64::from(ring - low);
        low += width;
    }
    bits
}

/// All ways to cut a weight into digits, the lowest first: none of more than `widest` bits and none
/// wider than the one before.
fn cuts(bits: u32, widest: u32) -> Vec<Vec<u32>> {
    if bits == 0 {
        return vec![Vec::new()];
    }
    let first = (1..=widest.min(bits)).rev();
    first
        .flat_map(|first| {
            cuts(bits - first, first).into_iter().map(move |rest| [vec![first], rest].concat())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn digits_of_several_weights_share_trees() {
        // With channels enough, single bits: the higher ones need shorter rings.
        assert_eq!(cut(&cuts(4, 8), 8, 16, 14), [1; 4]);
        assert_eq!(cut(&cuts(3, 1), 1, 16, 14), [1; 3]);
        // Two trees for three whole weights, or for three times two bits; four for three single
        // ones.
        assert_eq!(cut(&cuts(4, 8), 8, 3, 14), [2, 2]);
        // One channel alone: no tree is shared.
        assert_eq!(cut(&cuts(6, 8), 8, 1, 14), [6]);
        assert_eq!(cut(&cuts(6, 4), 4, 1, 14), [4, 2]);
    }

    proptest! {
        #[test]
        fn every_bit_of_every_weight_is_in_exactly_one_digit(
            channels in 1usize..9,
            weight_bits in 2u32..=8,
            k in 1u8..=8,
            shifts in prop::collection::vec(0u8..3, 9),
        ) {
            let geometry = Geometry::dense(3, channels);
            let shifts = &shifts[..channels];
            let classes =
                classes(&geometry, |_| weight_bits, shifts, Bits::of(20), u32::from(k));
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

        #[test]
        fn every_row_of_every_class_is_in_exactly_one_part(
            groups in prop::collection::vec((1usize..40, 1usize..300), 1..5),
            columns in 1usize..3000,
            k in 1u8..=8,
        ) {
            let each = groups.iter().enumerate().map(|(group, &(channels, rows))| {
                let geometry = Geometry::dense(rows, channels);
                let mut classes =
                    classes(&geometry, |_| 4, &[], Bits::of(20), u32::from(k));
                classes.iter_mut().for_each(|class| class.group = group);
                classes
            });
            let classes: Vec<Class> = each.flatten().collect();
            let mut next = vec![0; classes.len()];
            for chunk in chunks(&classes, columns) {
                prop_assert!(!chunk.is_empty());
                let numbered = || {
                    chunk
                        .iter()
                        .flat_map(|part| part.classes.clone().map(move |class| (class, &part.rows)))
                };
                for (class, rows) in numbered() {
                    prop_assert_eq!(rows.start, next[class]);
                    prop_assert!(!rows.is_empty());
                    next[class] = rows.end;
                }
                let of_one_group = chunk.iter().all(|part| {
                    classes[part.classes.clone()].windows(2).all(|two| two[0].group == two[1].group)
                });
                prop_assert!(of_one_group);
                let parts = || numbered().map(|(class, rows)| (&classes[class], rows));
                let leaves: usize =
                    parts().map(|(class, rows)| class.trees_of(rows).len() << class.depth()).sum();
                let one_row = parts().all(|(class, rows)| {
                    rows.len() == 1 && class.group == parts().next().unwrap().0.group
                });
                prop_assert!(leaves <= LEAVES || one_row);
            }
            prop_assert!(next.iter().zip(&classes).all(|(&next, class)| next == class.rows));
        }

        #[test]
        fn no_cut_moves_more_than_whole_trees_of_one_weight(
            weight_bits in 2u32..=8, k in 1u32..=8, channels in 1usize..40, ring in 10u32..60) {
            let bits = |together: &dyn Fn(u32) -> u32, digits: &[u32]| {
                let lows = digits.iter().scan(0, |low, width| {
                    *low += width;
                    Some(*low - width)
                });
                let trees =
                    digits.iter().map(|&width| channels.div_ceil(together(width) as usize) as u32);
                trees.zip(lows).map(|(trees, low)| trees * (ring - low)).sum::<u32>()
            };
            let ways = cuts(weight_bits, k);
            let digits = cut(&ways, k, channels, ring);
            prop_assert_eq!(digits.iter().sum::<u32>(), weight_bits);
            prop_assert!(digits.iter().all(|&width| width <= k));
            let step = k.min(weight_bits);
            let plain: Vec<u32> = (0..weight_bits)
                .step_by(step as usize)
                .map(|low| step.min(weight_bits - low))
                .collect();
            let whole = |width: u32| if weight_bits <= k { k / width } else { 1 };
            prop_assert!(bits(&|width| k / width, digits) <= bits(&whole, &plain));
        }
    }
}
