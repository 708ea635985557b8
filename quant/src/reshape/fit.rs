//! The convolution that stands for a block best: least squares of what the block and what is added
//! to it make, on the inputs that the changed network has there.

use model::float::activations_of;
use model::float::conv::fill_columns;
use model::{Conv, Geometry, Model, Tensor};

use super::ReshapeError;
use super::block::Block;
use super::surgery::{Change, Changed};
use crate::quantize::{Cross, first_images};

/// How much weights are held near zero, in parts of the inputs' mean variance.
const RIDGE: f64 = 1e-3;
/// Elements of a value of all images together, at most: 256 MB of floats.
const ELEMENTS: usize = 1 << 26;

/// Convolutions of these shapes, each the best that stands for a block. `changes` are those of the
/// blocks before it.
pub(super) fn fit(
    model: &Model,
    changes: &[(&Block, Change)],
    block: &Block,
    geometries: &[Geometry],
    images: &Tensor,
) -> Result<Vec<Conv>, ReshapeError> {
    let largest = [block.entry, block.exit(model)]
        .map(|value| model.shape(value).iter().product::<usize>())
        .into_iter()
        .fold(1, usize::max);
    let images = bounded(images, largest);
    // What is lost in the blocks before is made up for here, as far as a convolution can.
    let wanted = targets(model, changes, block, &images)?;
    let changed = Changed::of(model, changes);
    let entry = changed.place(block.entry);
    let given = activations_of(&changed.model, &images, &[entry])?;
    let given = given.value(entry).expect("invariant: the entry is kept");
    Ok(geometries.iter().map(|&geometry| solved(geometry, given, &wanted)).collect())
}

/// As many of the images as values of so many elements are held of.
pub(super) fn bounded(images: &Tensor, elements: usize) -> Tensor {
    first_images(images, images.images().min((ELEMENTS / elements.max(1)).max(1)))
}

/// The elements of a channel, image by image.
pub(super) fn channel(values: &Tensor, at: usize) -> impl Iterator<Item = f32> + Clone {
    let [_, rows, columns] = values.image_shape();
    let plane = rows * columns;
    let images = (0..values.images()).map(|image| values.image(image));
    images.flat_map(move |image| &image[at * plane..][..plane]).copied()
}

/// What the convolution shall make: what the first network has behind the sum, less what is added
/// in the changed one.
fn targets(
    model: &Model,
    changes: &[(&Block, Change)],
    block: &Block,
    images: &Tensor,
) -> Result<Tensor, ReshapeError> {
    let exit = block.exit(model);
    let wanted = activations_of(model, images, &[exit])?;
    let mut wanted = wanted.value(exit).cloned().expect("invariant: the exit is kept");
    if let Some((_, added)) = block.sum {
        let changed = Changed::of(model, changes);
        let added = changed.place(added);
        let found = activations_of(&changed.model, images, &[added])?;
        let found = found.value(added).expect("invariant: the operand is kept");
        wanted.data.iter_mut().zip(&found.data).for_each(|(wanted, found)| *wanted -= found);
    }
    Ok(wanted)
}

fn solved(geometry: Geometry, given: &Tensor, wanted: &Tensor) -> Conv {
    let rows = geometry.fan_in();
    let sizes = [rows, geometry.out_channels, geometry.positions(), given.images()];
    let (weight, bias) = Cross::solution(
        sizes,
        |image, columns| {
            fill_columns(&geometry, geometry.in_channels, given.image(image), columns);
        },
        |image| wanted.image(image),
        RIDGE,
    );
    Conv { geometry, weight, bias }
}
