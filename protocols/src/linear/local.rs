//! The product of weights and a value held by one party, over `Z_{2^64}`, and so over every ring.

use rayon::prelude::*;

use super::layer::Layer;
use super::{Algorithm, im2col_row, winograd};
use crate::bits::{Word, with_word};

/// `W x` with each channel shifted left as the layer says, `[channel][image][position]`, reduced
/// into the layer's ring.
pub fn multiply(layer: &Layer, weights: &[i8], images: usize, x: &[u64]) -> Vec<u64> {
    match layer.algorithm {
        // The same integers, with less to transform.
        Algorithm::Direct | Algorithm::WinogradExact => {
            with_word!(layer.ring, multiply_words::<_>(layer, weights, images, x))
        }
        Algorithm::Winograd => {
            let (g, products) = (&layer.geometry, layer.products());
            let x = winograd::transform_input(g, images, x);
            let out =
                winograd::transform_output(g, images, &multiply(&products, weights, images, &x));
            out.into_iter().map(|value| layer.ring.reduce(value)).collect()
        }
    }
}

fn multiply_words<W: Word>(layer: &Layer, weights: &[i8], images: usize, x: &[u64]) -> Vec<u64> {
    let g = &layer.geometry;
    let (columns, fan_in, per_group) =
        (images * g.positions(), g.fan_in(), g.out_channels / g.groups);
    let x: Vec<W> = x.iter().map(|&v| W::truncate(v)).collect();
    let mut out = vec![0; g.out_channels * columns];
    let together = per_group.div_ceil(rayon::current_num_threads()).max(1);
    for (group, out) in out.chunks_mut((per_group * columns).max(1)).enumerate() {
        out.par_chunks_mut((together * columns).max(1)).enumerate().for_each(|(part, out)| {
            let first = group * per_group + part * together;
            let mut sums = vec![W::zero(); out.len()];
            let mut row = vec![W::zero(); columns];
            for r in 0..fan_in {
                im2col_row(g, images, group, r, &x, &mut row);
                for (channel, sums) in sums.chunks_exact_mut(columns).enumerate() {
                    let weight =
                        W::truncate(i64::from(weights[(first + channel) * fan_in + r]) as u64);
                    for (sum, value) in sums.iter_mut().zip(&row) {
                        *sum = sum.wrapping_add(&value.wrapping_mul(&weight));
                    }
                }
            }
            for (at, (slot, sum)) in out.iter_mut().zip(&sums).enumerate() {
                let value: u64 = (*sum).into();
                *slot = layer.ring.reduce(value << layer.shift(first + at / columns));
            }
        });
    }
    out
}
