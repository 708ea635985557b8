//! Between batches, `[channels][images][rows][columns]`, and single images,
//! `[channels][rows][columns]`.

use crate::Error;

/// The number of images of a batch; an image has `shape`.
pub(crate) fn count(shape: [usize; 3], batch: &[i64]) -> Result<usize, Error> {
    let expected: usize = shape.iter().product();
    let error = Error::InputLength { expected, found: batch.len() };
    if batch.len().is_multiple_of(expected) { Ok(batch.len() / expected) } else { Err(error) }
}

/// Image `index` of a batch of `count`.
pub(crate) fn image(shape: [usize; 3], batch: &[i64], count: usize, index: usize) -> Vec<i64> {
    let plane = shape[1] * shape[2];
    let planes = (0..shape[0]).map(|channel| (channel * count + index) * plane);
    planes.flat_map(|start| batch[start..start + plane].iter().copied()).collect()
}

/// The batch of images of `channels` channels.
pub(crate) fn batch(channels: usize, images: &[Vec<i64>]) -> Vec<i64> {
    let Some(first) = images.first() else { return Vec::new() };
    let plane = first.len() / channels;
    let planes = (0..channels).flat_map(|channel| {
        images.iter().flat_map(move |image| &image[channel * plane..(channel + 1) * plane])
    });
    planes.copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batching_undoes_taking_images() {
        let values: Vec<i64> = (0..24).collect();
        let shape = [2, 1, 3];
        let split: Vec<_> = (0..4).map(|index| image(shape, &values, 4, index)).collect();
        assert_eq!(split[1], [3, 4, 5, 15, 16, 17]);
        assert_eq!(batch(2, &split), values);
        assert_eq!(count(shape, &values), Ok(4));
        assert!(count(shape, &values[1..]).is_err());
    }
}
