//! Channels that are narrowed beside each other.

use rayon::prelude::*;

use super::super::hessian::{Group, Slope};
use super::channel::Channel;
use super::prices::Prices;
use super::room::Room;

/// Channels with the weights that they were rounded from, all of one group.
pub(super) type Block<'a> = [(&'a Group, (&'a [f32], Channel))];

/// Of every channel, `d` and `H d`; the latter in one product.
fn slopes(block: &Block<'_>) -> (Vec<f64>, Vec<f64>) {
    let group = block[0].0;
    let changes: Vec<f64> =
        block.iter().flat_map(|(_, (floats, channel))| Group::change(floats, channel)).collect();
    let slopes = group.times(&changes);
    (changes, slopes)
}

/// The sum of `d H d^T`.
pub(super) fn error(block: &Block<'_>) -> f64 {
    let (changes, slopes) = slopes(block);
    slopes.iter().zip(&changes).map(|(slope, d)| slope * d).sum()
}

/// All of the channels within a ring.
pub(super) fn narrowed(
    block: &Block<'_>,
    room: &Room,
    ring: u32,
    most: f64,
) -> Option<Vec<Channel>> {
    if block.iter().all(|(_, (_, channel))| room.ring(channel) <= ring) {
        return Some(block.iter().map(|(_, (_, channel))| channel.clone()).collect());
    }
    let (_, slopes) = slopes(block);
    let each = block.par_iter().zip(slopes.par_chunks_exact(block[0].0.rows));
    each.map(|((group, (_, channel)), slope)| {
        if room.ring(channel) <= ring {
            return Some(channel.clone());
        }
        group.narrowed(slope.to_vec(), channel.clone(), room, ring, most)
    })
    .collect()
}

impl Group {
    /// `d`: what rounding has changed.
    fn change(floats: &[f32], channel: &Channel) -> Vec<f64> {
        let pairs = floats.iter().zip(&channel.weights);
        pairs.map(|(&w, &q)| f64::from(q) * channel.scale - f64::from(w)).collect()
    }

    /// Moves integers toward zero until the channel fits a ring, those first by which the error
    /// grows least for what they save; `None` where it grows by more than `most`. `slope` is `H d`.
    fn narrowed(
        &self,
        slope: Vec<f64>,
        mut channel: Channel,
        room: &Room,
        ring: u32,
        most: f64,
    ) -> Option<Channel> {
        let (low, high) = room.input;
        // A ring of `l` bits holds sums below `2^(l-1)`: that end is checked first, then the lower
        // one.
        let half = f64::from(ring - 1).exp2();
        let (mut slope, mut prices) = (Slope::new(slope), None::<Prices>);
        // Every round takes one off one magnitude, so it ends: the channel fits, the error is too
        // large, or no weight is left that would help.
        while room.ring(&channel) > ring {
            // What a step of a positive and of a negative weight takes off the end that is too far
            // out.
            let saved = if room.interval(&channel).1 >= half { (high, -low) } else { (-low, high) };
            let known = prices.take().filter(|prices| prices.saved == saved);
            let prices = prices.insert(known.unwrap_or_else(|| Prices::of(self, &channel, saved)));
            let at = prices.least(&slope.values)?;
            channel.growth += Prices::growth(self, &channel, self.slope(&slope, at), at);
            let step = channel.shrink(at);
            channel.bias -= step * self.mean[at];
            if channel.growth > most {
                return None;
            }
            if channel.weights[at] == 0 {
                prices.exhaust(at);
            }
            // `H d` follows by one row, `H` being symmetric: no product is made anew.
            self.step(&mut slope, at, step);
        }
        Some(channel)
    }
}
