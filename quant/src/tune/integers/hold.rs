//! Accumulators that stay within their rings: what one inference moves is then what it was before
//! training. (Colbert, Pappalardo, Petri-Koenig: A2Q, ICCV 2023, normalizes weights for that; here
//! integers are projected, and only those of channels that have gone too far.)

use fusion::Interval;

use super::narrow::Reach;

/// How far below the border between two integers a latent is put.
const BESIDE: f32 = 1.0 / 1024.0;

/// A channel's weights, all times one factor, and its bias in steps of the accumulators.
pub(super) struct Channel<'c> {
    pub(super) latents: &'c mut [f32],
    pub(super) factor: f64,
    pub(super) bias: f64,
    /// The least and the largest integer.
    pub(super) limits: [f32; 2],
}

impl Channel<'_> {
    fn integer(&self, at: usize) -> f32 {
        let [low, high] = self.limits;
        super::layer::integer(self.latents[at], low, high)
    }

    /// How far the latent is from standing for the next integer toward zero.
    fn distance(&self, at: usize) -> f32 {
        let integer = self.integer(at);
        (self.latents[at] - integer) * integer.signum() + 0.5
    }

    /// Makes a latent stand for the next integer toward zero, as near as it can to what it was.
    fn shrink(&mut self, at: usize) {
        let integer = self.integer(at);
        self.latents[at] = integer - integer.signum() * (0.5 + BESIDE);
    }

    /// Moves integers toward zero until the channel's sums are within the room: those first that
    /// are nearest to it. A bias that is beyond the room alone is left there.
    pub(super) fn keep(&mut self, reach: &Reach, Interval { lo, hi }: Interval) {
        for (is_high, room) in [(true, hi as f64 - self.bias), (false, self.bias - lo as f64)] {
            let integers = (0..self.latents.len()).map(|at| self.integer(at));
            let sum: f64 = integers.map(|q| f64::from(q * reach.end(q, is_high))).sum();
            let mut excess = sum - room / self.factor;
            while excess > 0.0 {
                // Steps that take more away count as nearer.
                let weights = (0..self.latents.len()).filter_map(|at| {
                    let taken = reach.taken(self.integer(at), is_high);
                    (self.integer(at) != 0.0 && taken > 0.0)
                        .then(|| (self.distance(at) / taken, at))
                });
                let mut nearest: Vec<(f32, usize)> = weights.collect();
                if nearest.is_empty() {
                    break;
                }
                nearest.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                for (_, at) in nearest {
                    excess -= f64::from(reach.taken(self.integer(at), is_high));
                    self.shrink(at);
                    if excess <= 0.0 {
                        break;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The interval of a channel's sums.
    fn interval(reach: &Reach, channel: &Channel<'_>) -> (f64, f64) {
        let [high, low] = [true, false].map(|is_high| -> f64 {
            let integers = (0..channel.latents.len()).map(|at| channel.integer(at));
            integers.map(|q| f64::from(q * reach.end(q, is_high))).sum()
        });
        (channel.bias - low * channel.factor, channel.bias + high * channel.factor)
    }

    proptest! {
        #[test]
        fn channels_are_brought_within_their_room_and_no_further(
            mut latents in prop::collection::vec(-4.49f32..3.49, 1..40),
            bias in -300i64..300,
            shift in 0u8..3,
            below in 0i32..16,
            room in (-900i64..=-301, 300i64..900),
        ) {
            let reach = Reach { input: [-below as f32, (15 - below) as f32], share: 1.0 };
            let room = Interval { lo: room.0, hi: room.1 };
            let before = latents.clone();
            let limits = [-4.0, 3.0];
            let factor = f64::from(1u32 << shift);
            let of = |latents| Channel { latents, factor, bias: bias as f64, limits };
            let mut was = before.clone();
            let was = interval(&reach, &of(&mut was));
            let mut channel = of(&mut latents);
            channel.keep(&reach, room);
            let is = interval(&reach, &channel);
            prop_assert!(room.lo as f64 <= is.0 && is.1 <= room.hi as f64, "{is:?} {room}");
            let fits = room.lo as f64 <= was.0 && was.1 <= room.hi as f64;
            let moved = latents.iter().zip(&before).filter(|(a, b)| a != b).count();
            prop_assert_eq!(fits, moved == 0);
            // The last step was needed: what is free is less than a step of one weight.
            let free = (room.hi as f64 - is.1).min(is.0 - room.lo as f64);
            prop_assert!(fits || free < 15.0 * factor, "{is:?} {room}");
        }
    }

    #[test]
    fn the_nearest_to_zero_moves_and_a_bias_beyond_the_room_is_left() {
        let reach = Reach { input: [0.0, 15.0], share: 1.0 };
        let mut latents = [2.9, 1.6, -3.0, 0.7];
        let mut channel =
            Channel { latents: &mut latents, factor: 1.0, bias: 5.0, limits: [-4.0, 3.0] };
        // 15 * (3 + 2 + 1) + 5 is 95.
        channel.keep(&reach, Interval { lo: -64, hi: 94 });
        assert_eq!(latents, [2.9, 2.0 - 0.5 - BESIDE, -3.0, 0.7]);
        let mut latents = [2.9, -1.6];
        let mut channel =
            Channel { latents: &mut latents, factor: 1.0, bias: 70.0, limits: [-4.0, 3.0] };
        channel.keep(&reach, Interval { lo: -64, hi: 63 });
        assert!(latents[0] < 0.5 && latents[1] == -1.6, "{latents:?}");
    }
}
