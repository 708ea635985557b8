//! Sums of products of layers with one channel a group: lanes meet one by one, by sixteen weights a
//! tap. Where others take a square of weights, this is a sixteenth of the work.
//!
//! The sweeps are those of [`crate::kernels`]; only their weights lie otherwise. As in
//! `elements.rs`, `pulp` compiles each loop for the widest instructions that the processor has.

use pulp::{Arch, NullaryFnOnce};

use crate::kernels::{Element, LANES, Sweep, lanes, lanes_mut};

/// Pixels that are done at once: the sums of each stay in registers, and hide each other's latency.
const PIXELS: usize = 4;

/// For every pixel and lane `k`, the sum over taps of `input[k] * weights[k]`, to which `bias[k]`
/// is added; without biases, it is added to what the output holds.
///
/// # Panics
/// Where the sweep leaves a slice.
pub(crate) fn products<T: Element>(
    sweep: &Sweep,
    input: &[T],
    weights: &[T],
    bias: Option<&[T; LANES]>,
    output: &mut [T],
) {
    Arch::new().dispatch(Products { sweep, input, weights, bias, output });
}

/// Adds, for every tap and lane `k`, the sum over pixels of `input[k] * cotangent[k]` to `sums[k]`.
///
/// # Panics
/// Where the sweep leaves a slice.
pub(crate) fn weight_sums<T: Element>(sweep: &Sweep, input: &[T], cotangent: &[T], sums: &mut [T]) {
    Arch::new().dispatch(WeightSums { sweep, input, cotangent, sums });
}

struct Products<'a, T> {
    sweep: &'a Sweep,
    input: &'a [T],
    weights: &'a [T],
    bias: Option<&'a [T; LANES]>,
    output: &'a mut [T],
}

impl<T: Element> NullaryFnOnce for Products<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        let [rows, columns] = self.sweep.size;
        let whole = columns - columns % PIXELS;
        for y in 0..rows {
            for x in (0..whole).step_by(PIXELS) {
                self.pixels::<PIXELS>(y, x);
            }
            for x in whole..columns {
                self.pixels::<1>(y, x);
            }
        }
    }
}

impl<T: Element> Products<'_, T> {
    /// Pixels of a row from one on.
    #[inline(always)]
    fn pixels<const P: usize>(&mut self, y: usize, x: usize) {
        let Sweep { input, output, taps, .. } = self.sweep;
        let (from, to) = (input.at(y, x), output.at(y, x));
        let results = &mut self.output[to..];
        // By indices of a known number: loops over chunks are not unrolled, and sums are memory.
        let mut sums = [[T::zero(); LANES]; P];
        for (p, sums) in sums.iter_mut().enumerate() {
            *sums = *self.bias.unwrap_or_else(|| lanes(&results[p * output.column..]));
        }
        for tap in taps {
            let weights = lanes(&self.weights[tap.weights..]);
            let values = &self.input[from + tap.input..];
            for (p, sums) in sums.iter_mut().enumerate() {
                add_products(sums, lanes(&values[p * input.column..]), weights);
            }
        }
        for (p, sums) in sums.iter().enumerate() {
            *lanes_mut(&mut results[p * output.column..]) = *sums;
        }
    }
}

struct WeightSums<'a, T> {
    sweep: &'a Sweep,
    input: &'a [T],
    cotangent: &'a [T],
    sums: &'a mut [T],
}

impl<T: Element> NullaryFnOnce for WeightSums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Sweep { size: [rows, columns], input: from, output: to, taps } = self.sweep;
        for tap in taps {
            let mut found = [[T::zero(); LANES]; PIXELS];
            for y in 0..*rows {
                let values = &self.input[from.at(y, 0) + tap.input..];
                let others = &self.cotangent[to.at(y, 0)..];
                row_sums(*columns, [values, others], [from.column, to.column], &mut found);
            }
            // Whichever pixels they are of, they are of one weight a lane.
            let sums = lanes_mut(&mut self.sums[tap.weights..]);
            for found in &found {
                sums.iter_mut().zip(found).for_each(|(sum, &found)| *sum += found);
            }
        }
    }
}

/// Adds what the pixels of a row make: one list of sums has every fourth of them.
#[inline(always)]
fn row_sums<T: Element>(
    columns: usize,
    [values, others]: [&[T]; 2],
    steps: [usize; 2],
    sums: &mut [[T; LANES]; PIXELS],
) {
    // A copy, for registers: others may look at what is behind a reference.
    let mut found = *sums;
    let whole = columns - columns % PIXELS;
    for x in (0..whole).step_by(PIXELS) {
        let (values, others) = (&values[x * steps[0]..], &others[x * steps[1]..]);
        for (p, found) in found.iter_mut().enumerate() {
            let pixels = [lanes(&values[p * steps[0]..]), lanes(&others[p * steps[1]..])];
            add_products(found, pixels[0], pixels[1]);
        }
    }
    *sums = found;
    for x in whole..columns {
        let pixels = [lanes(&values[x * steps[0]..]), lanes(&others[x * steps[1]..])];
        add_products(&mut sums[0], pixels[0], pixels[1]);
    }
}

#[inline(always)]
fn add_products<T: Element>(sums: &mut [T; LANES], one: &[T; LANES], other: &[T; LANES]) {
    for ((sum, &one), &other) in sums.iter_mut().zip(one).zip(other) {
        *sum += one * other;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::{Grid, Number, Tap};

    /// Integers of -8 to 8, whose sums are exact in any order.
    fn integers(len: usize, step: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * step) % 17) as f32 - 8.0).collect()
    }

    /// Squares of weights with these on their diagonals, sixteen for each tap.
    fn squares(weights: &[f32]) -> Vec<f32> {
        let mut squares = vec![0.0; weights.len() * LANES];
        for (at, &weight) in weights.iter().enumerate() {
            squares[at / LANES * LANES * LANES + at % LANES * (LANES + 1)] = weight;
        }
        squares
    }

    prop_compose! {
        /// A sweep with taps at any place, and the same one over squares of weights.
        fn sweeps()(
            size in [0usize..4, 0usize..14],
            steps in [1usize..3, 1usize..3],
            places in prop::collection::vec(0usize..50, 0..10),
        ) -> [Sweep; 2] {
            let grid = |step: usize, start: usize| {
                Grid { start, row: (size[1] * step + 1) * LANES, column: step * LANES }
            };
            [LANES, LANES * LANES].map(|each| {
                let taps = places.iter().enumerate().map(|(at, &input)| {
                    Tap { input, weights: at * each, channels: LANES }
                });
                let (input, output) = (grid(steps[0], 5), grid(steps[1], 3));
                Sweep { size, input, output, taps: taps.collect() }
            })
        }
    }

    /// Elements behind the last that a sweep reaches.
    const LEN: usize = 5 * 30 * LANES;

    proptest! {
        #[test]
        fn lanes_meet_as_diagonals_of_squares_do([one, square] in sweeps(), add: bool) {
            let (input, weights) = (integers(LEN, 7), integers(10 * LANES, 5));
            let mut found = integers(LEN, 3);
            let mut expected = found.clone();
            let bias: [f32; LANES] = std::array::from_fn(|k| k as f32 - 4.0);
            let bias = (!add).then_some(&bias);
            products(&one, &input, &weights, bias, &mut found);
            f32::products(&square, &input, &squares(&weights), bias, &mut expected);
            prop_assert_eq!(&found, &expected);
            let mut sums = weights.clone();
            let mut expected = squares(&weights);
            weight_sums(&one, &input, &found, &mut sums);
            f32::weight_sums(&square, &input, &found, &mut expected);
            let diagonal = (0..sums.len())
                .map(|at| expected[at / LANES * LANES * LANES + at % LANES * (LANES + 1)]);
            prop_assert!(sums.iter().copied().eq(diagonal));
        }
    }
}
