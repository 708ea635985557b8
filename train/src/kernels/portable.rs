//! The kernels in plain Rust: the twins that all others are held to.

use super::{Element, LANES, Sweep};

pub(super) fn products<T: Element>(
    sweep: &Sweep,
    input: &[T],
    weights: &[T],
    bias: Option<&[T; LANES]>,
    output: &mut [T],
) {
    let [rows, columns] = sweep.size;
    for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
        let (from, to) = (sweep.input.at(y, x), sweep.output.at(y, x));
        let output = &mut output[to..to + LANES];
        let mut sums = [T::zero(); LANES];
        sums.copy_from_slice(bias.map_or(&*output, |bias| bias));
        for tap in &sweep.taps {
            let input = &input[from + tap.input..][..tap.channels];
            let rows = weights[tap.weights..].chunks_exact(LANES);
            for (&value, weights) in input.iter().zip(rows) {
                for (sum, &weight) in sums.iter_mut().zip(weights) {
                    *sum += value * weight;
                }
            }
        }
        output.copy_from_slice(&sums);
    }
}

pub(super) fn weight_sums<T: Element>(sweep: &Sweep, input: &[T], cotangent: &[T], sums: &mut [T]) {
    let [rows, columns] = sweep.size;
    for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
        let (from, to) = (sweep.input.at(y, x), sweep.output.at(y, x));
        let cotangent = &cotangent[to..to + LANES];
        for tap in &sweep.taps {
            let input = &input[from + tap.input..][..tap.channels];
            let rows = sums[tap.weights..].chunks_exact_mut(LANES);
            for (&value, sums) in input.iter().zip(rows) {
                for (sum, &more) in sums.iter_mut().zip(cotangent) {
                    *sum += value * more;
                }
            }
        }
    }
}
