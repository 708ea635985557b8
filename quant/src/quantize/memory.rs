//! What a search holds at a time, so that a large network takes fewer images rather than more
//! memory than there is.

use model::{Model, Op, Tensor};

use super::thin::is_thin;

/// Bytes that a search may take, and what of them a network takes however few the images.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    limit: u64,
    fixed: u64,
    /// The values of one image that are needed at the same time, as floats.
    image: u64,
}

/// A network that does not fit its limit, as an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a search of this network takes about {needed} bytes with one image at a time, and {limit} are \
     allowed: allow more, or search a smaller network"
)]
pub struct TooLarge {
    /// Bytes that are needed at least, by estimate.
    pub needed: u64,
    /// Bytes that are allowed.
    pub limit: u64,
}

/// Bytes of a float.
const FLOAT: u64 = 4;
/// Bytes of all weights: floats, floats of what they are rounded to, and integers.
const WEIGHT: u64 = 2 * FLOAT + 1;
/// Bytes of a weight of the layer in work: moved, with what errors add to it.
const WORKED: u64 = 2 * FLOAT;
/// Bytes of an entry of a layer's covariance: sums, what is damped, its factor, and a part of it.
const ENTRY: u64 = 28;
/// Bytes of an entry of samples that are kept.
const SAMPLE: u64 = 36;
/// Images whose samples may be kept.
const IMAGES: usize = 256;

impl Memory {
    /// The bytes that a search takes where nothing else is said.
    pub const DEFAULT: u64 = 6_000_000_000;

    /// Of a model and its calibration images.
    pub(super) fn of(model: &Model, batch: &Tensor, limit: u64) -> Self {
        let weights: u64 = model.layers().map(|(_, conv)| conv.weight.len() as u64).sum();
        let layers = model.layers().map(|(_, conv)| {
            let g = &conv.geometry;
            let (rows, samples) = (g.fan_in(), g.positions().saturating_mul(IMAGES));
            let samples = if is_thin(rows, samples) { samples } else { rows };
            let entry = if samples < rows { SAMPLE } else { ENTRY };
            let entries = (rows * g.groups) as u64 * samples as u64;
            entry * entries + WORKED * conv.weight.len() as u64
        });
        let fixed = WEIGHT * weights + layers.max().unwrap_or(0) + FLOAT * batch.data.len() as u64;
        Self { limit, fixed, image: FLOAT * live(model) }
    }

    /// How many images may be in work together, of `most`, each with so many copies of its values.
    ///
    /// # Errors
    /// Not even one.
    pub fn images(&self, most: usize, copies: u64) -> Result<usize, TooLarge> {
        let each = (self.image * copies).max(1);
        let room = self.limit.checked_sub(self.fixed).map_or(0, |rest| rest / each);
        match usize::try_from(room).unwrap_or(usize::MAX).min(most) {
            0 if most > 0 => Err(TooLarge { needed: self.fixed + each, limit: self.limit }),
            images => Ok(images),
        }
    }

    /// As [`Memory::images`], but at least one: who is over the limit is told before.
    pub(super) fn some_images(&self, most: usize, copies: u64) -> usize {
        self.images(most, copies).unwrap_or(most.min(1))
    }
}

/// The most elements of values that are needed at the same time.
fn live(model: &Model) -> u64 {
    let last: Vec<usize> = (0..=model.nodes.len())
        .map(|value| model.consumers(model::ValueId(value)).last().map_or(value, |&node| node + 1))
        .collect();
    let elements = |value: usize| model.shape(model::ValueId(value)).iter().product::<usize>();
    let mut most = 0;
    // Invariant: `held` is what all values up to this node's that are still read take.
    let mut held = elements(0);
    let mut leaving = vec![0; model.nodes.len() + 2];
    leaving[last[0]] += held;
    for (at, node) in model.nodes.iter().enumerate() {
        held += node.elements();
        // A convolution's columns are of one image a core, and so are not counted.
        let own = if let Op::Conv(_) = node.op { node.elements() } else { 0 };
        most = most.max(held + own);
        leaving[last[at + 1]] += node.elements();
        held -= leaving[at + 1];
    }
    most as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits() -> Model {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/digits.onnx");
        model::import_file(path.as_ref()).unwrap()
    }

    #[test]
    fn less_memory_means_fewer_images_and_then_an_error_that_says_how_much() {
        let model = digits();
        let [c, h, w] = model.input;
        let batch = Tensor { shape: [1, c, h, w], data: vec![0.0; c * h * w] };
        let whole = Memory::of(&model, &batch, Memory::DEFAULT);
        assert_eq!(whole.images(256, 3), Ok(256));
        let none = Memory::of(&model, &batch, 1).images(256, 3).unwrap_err();
        let one = Memory::of(&model, &batch, none.needed);
        assert_eq!(one.images(256, 3), Ok(1));
        let less = Memory::of(&model, &batch, none.needed - 1);
        assert_eq!(less.images(256, 3), Err(TooLarge { limit: none.needed - 1, ..none }));
        let more = Memory::of(&model, &batch, none.needed + 8 * 3 * whole.image);
        assert_eq!(more.images(256, 3), Ok(9));
    }

    #[test]
    fn what_is_live_is_at_least_every_layer_with_its_input() {
        let model = digits();
        let least = model.nodes.iter().map(|node| {
            let inputs = node.inputs.iter().map(|&input| model.shape(input));
            inputs.map(|shape| shape.iter().product::<usize>()).sum::<usize>() + node.elements()
        });
        let all: usize = model.nodes.iter().map(model::Node::elements).sum();
        let found = live(&model) as usize;
        assert!(found >= least.max().unwrap() && found < 2 * all, "{found}");
    }
}
