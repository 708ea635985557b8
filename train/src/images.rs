//! Which images a step sees, and how they are moved about: settled by a seed and the step alone.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// The order of images: every epoch has its own.
#[derive(Clone, Debug)]
pub struct Order {
    seed: u64,
    batch: usize,
    /// The epoch that `images` is the order of.
    epoch: Option<u64>,
    images: Vec<usize>,
}

/// Streams of the generator below this one are orders of epochs, those from here on are of steps.
const OF_STEPS: u64 = 1 << 40;
/// Those from here on are of mixtures of steps.
const OF_MIXTURES: u64 = 3 << 40;
/// Those from here on are of layers.
pub(crate) const OF_LAYERS: u64 = 1 << 41;

impl Order {
    /// Batches of so many of so many images.
    pub fn new(images: usize, batch: usize, seed: u64) -> Self {
        Self { seed, batch, epoch: None, images: (0..images).collect() }
    }

    /// The images of a step, counted from 0. Batches run on from one epoch into the next.
    pub fn batch(&mut self, step: u64) -> Vec<usize> {
        let (batch, count) = (self.batch as u64, self.images.len().max(1) as u64);
        (step * batch..(step + 1) * batch).map(|at| self.image(at / count, at % count)).collect()
    }

    fn image(&mut self, epoch: u64, at: u64) -> usize {
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            let mut random = generator(self.seed, epoch);
            // From the same start, whatever epochs came before: a resumed training has seen none.
            self.images.sort_unstable();
            // Fisher and Yates: each place gets one of those that are left.
            for place in (1..self.images.len()).rev() {
                self.images.swap(place, random.random_range(0..=place));
            }
        }
        self.images[at as usize]
    }
}

/// A shift and a mirroring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Augmentation {
    /// Rows and columns that the image is moved up and to the left; what comes in is blank.
    pub shift: [i32; 2],
    /// Whether left and right are exchanged.
    pub flip: bool,
}

/// How much of the next image of its batch each image of a step has in it; the last one has some
/// of the first. (Zhang, Cisse, Dauphin, Lopez-Paz: mixup, ICLR 2018.)
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    /// By image, from 0 up to the most that was asked for.
    pub parts: Vec<f32>,
}

impl Mixture {
    /// That of so many images of a step, evenly drawn.
    pub fn of_step((seed, step): (u64, u64), images: usize, most: f32) -> Self {
        let mut random = generator(seed, OF_MIXTURES + step);
        Self { parts: (0..images).map(|_| most * random.random::<f32>()).collect() }
    }

    /// Mixes images, one after the other.
    ///
    /// # Panics
    /// Where there are no images, or not as many.
    pub fn apply(&self, images: &mut [f32]) {
        let one = images.len() / self.parts.len();
        let first = images[..one].to_vec();
        for (at, part) in self.parts.iter().enumerate() {
            // The next image is not mixed yet, and the first one is kept.
            let (mixed, behind) = images[at * one..].split_at_mut(one);
            let next = if behind.is_empty() { &first } else { &behind[..one] };
            for (pixel, next) in mixed.iter_mut().zip(next) {
                *pixel += part * (next - *pixel);
            }
        }
    }
}

/// How images are augmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Images {
    /// The most rows and columns that an image is moved.
    pub crop: usize,
    /// Whether half of them are mirrored.
    pub flip: bool,
}

impl Images {
    /// What happens to each of so many images of a step.
    pub fn of_step(&self, seed: u64, step: u64, images: usize) -> Vec<Augmentation> {
        let mut random = generator(seed, OF_STEPS + step);
        let most = self.crop as i32;
        (0..images)
            .map(|_| Augmentation {
                shift: [random.random_range(-most..=most), random.random_range(-most..=most)],
                flip: random.random::<bool>() && self.flip,
            })
            .collect()
    }
}

impl Augmentation {
    /// Changes an image, `[C, H, W]`; `blank` is what an empty pixel is, by channel.
    ///
    /// # Panics
    /// Where lengths and shape are not of one image.
    pub fn apply(&self, shape: [usize; 3], blank: &[f32], image: &[f32], changed: &mut [f32]) {
        let [channels, rows, columns] = shape;
        let planes =
            image.chunks_exact(rows * columns).zip(changed.chunks_exact_mut(rows * columns));
        assert_eq!(channels, blank.len(), "invariant: a blank for each channel");
        for ((from, to), &blank) in planes.zip(blank) {
            for (at, pixel) in to.iter_mut().enumerate() {
                let (y, x) = (at / columns, at % columns);
                // From where the changed pixel comes: mirrored first, then moved.
                let x = if self.flip { columns - 1 - x } else { x };
                let y = y.checked_add_signed(self.shift[0] as isize).filter(|&y| y < rows);
                let x = x.checked_add_signed(self.shift[1] as isize).filter(|&x| x < columns);
                *pixel = y.zip(x).map_or(blank, |(y, x)| from[y * columns + x]);
            }
        }
    }
}

/// The numbers of a stream of a seed.
pub(crate) fn generator(seed: u64, stream: u64) -> ChaCha12Rng {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    random.set_stream(stream);
    random
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_has_every_image_once_in_its_own_order() {
        let mut order = Order::new(10, 4, 7);
        let seen: Vec<usize> = (0..5).flat_map(|step| order.batch(step)).collect();
        let (first, second) = seen.split_at(10);
        for epoch in [first, second] {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(first, second);
        // Whoever starts in the middle sees the same.
        assert_eq!(Order::new(10, 4, 7).batch(3), seen[12..16]);
        assert_ne!(Order::new(10, 4, 8).batch(0), seen[..4]);
    }

    #[test]
    fn images_are_moved_and_mirrored() {
        let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut changed = [0.0; 6];
        let moved = Augmentation { shift: [1, -1], flip: false };
        moved.apply([1, 2, 3], &[9.0], &image, &mut changed);
        assert_eq!(changed, [9.0, 4.0, 5.0, 9.0, 9.0, 9.0]);
        let mirrored = Augmentation { shift: [0, 0], flip: true };
        mirrored.apply([1, 2, 3], &[9.0], &image, &mut changed);
        assert_eq!(changed, [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
    }

    #[test]
    fn every_image_has_some_of_the_next_one_as_it_was_and_the_last_some_of_the_first() {
        let mixture = Mixture { parts: vec![0.25, 0.0, 0.5] };
        let mut images = [4.0, 8.0, 0.0, 16.0, 2.0, -2.0];
        mixture.apply(&mut images);
        assert_eq!(images, [3.0, 10.0, 0.0, 16.0, 3.0, 3.0]);
        let drawn = Mixture::of_step((3, 5), 1000, 0.5);
        assert_eq!(drawn, Mixture::of_step((3, 5), 1000, 0.5));
        assert_ne!(drawn, Mixture::of_step((3, 6), 1000, 0.5));
        assert!(drawn.parts.iter().all(|part| (0.0..=0.5).contains(part)));
        let mean = drawn.parts.iter().sum::<f32>() / 1000.0;
        assert!((mean - 0.25).abs() < 0.02, "{mean}");
        let mut alone = [1.0, 2.0];
        Mixture { parts: vec![0.7] }.apply(&mut alone);
        assert_eq!(alone, [1.0, 2.0]);
    }

    #[test]
    fn augmentations_are_those_of_the_step_and_stay_within_limits() {
        let images = Images { crop: 4, flip: true };
        let found = images.of_step(3, 5, 100);
        assert_eq!(found, images.of_step(3, 5, 100));
        assert_ne!(found, images.of_step(3, 6, 100));
        assert!(found.iter().all(|one| one.shift.iter().all(|by| by.abs() <= 4)));
        let flips = found.iter().filter(|one| one.flip).count();
        assert!((30..70).contains(&flips), "{flips}");
        let still = Images { crop: 0, flip: false }.of_step(3, 5, 9);
        assert_eq!(still, vec![Augmentation::default(); 9]);
    }
}
