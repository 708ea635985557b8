//! Between batches, `[channels][images][rows][columns]`, and single images, `[channels][rows][columns]`.

use crate::Error;

/// The images of a batch; an image has `shape`.
pub(crate) fn images(shape: [usize; 3], batch: &[i64]) -> Result<Vec<Vec<i64>>, Error> {
    let expected: usize = shape.iter().product();
    if !batch.len().is_multiple_of(expected) {
        return Err(Error::InputLength { expected, found: batch.len() });
    }
    let (count, plane) = (batch.len() / expected, shape[1] * shape[2]);
    let image = |index: usize| {
        let planes = (0..shape[0]).map(move |channel| (channel * count + index) * plane);
        planes.flat_map(|start| batch[start..start + plane].iter().copied()).collect()
    };
    Ok((0..count).map(image).collect())
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
        let split = images([2, 1, 3], &values).unwrap();
        assert_eq!(split[1], [3, 4, 5, 15, 16, 17]);
        assert_eq!(batch(2, &split), values);
        assert!(images([2, 1, 3], &values[1..]).is_err());
    }
}
