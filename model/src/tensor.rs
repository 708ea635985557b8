//! Batches of float images.

/// A dense batch in row-major order N, C, H, W.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Images, channels, rows, columns.
    pub shape: [usize; 4],
    /// The elements; as many as `shape` says.
    pub data: Vec<f32>,
}

impl Tensor {
    /// A batch of zeros.
    #[must_use]
    pub fn zeros(shape: [usize; 4]) -> Self {
        Self { shape, data: vec![0.0; shape.iter().product()] }
    }

    /// A batch from its elements, or `None` if their number is not the product of `shape`.
    #[must_use]
    pub fn new(shape: [usize; 4], data: Vec<f32>) -> Option<Self> {
        let elements = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))?;
        (elements == data.len()).then_some(Self { shape, data })
    }

    /// The number of images.
    #[must_use]
    pub fn images(&self) -> usize {
        self.shape[0]
    }

    /// The shape of one image, `[C, H, W]`.
    #[must_use]
    pub fn image_shape(&self) -> [usize; 3] {
        [self.shape[1], self.shape[2], self.shape[3]]
    }

    /// The number of elements of one image.
    #[must_use]
    pub fn image_len(&self) -> usize {
        self.image_shape().iter().product()
    }

    /// The elements of image `n`, in the order C, H, W.
    ///
    /// # Panics
    /// If there is no image `n`.
    #[must_use]
    pub fn image(&self, n: usize) -> &[f32] {
        let len = self.image_len();
        &self.data[n * len..(n + 1) * len]
    }

    /// For every image, the index of its largest element: the predicted class, if these are logits.
    ///
    /// The first of equals wins; an image without elements gives 0.
    #[must_use]
    pub fn argmax(&self) -> Vec<usize> {
        (0..self.images())
            .map(|n| {
                let row = self.image(n);
                let mut best = 0;
                for (class, &value) in row.iter().enumerate() {
                    if value > row[best] {
                        best = class;
                    }
                }
                best
            })
            .collect()
    }

    /// The fraction of images whose [`argmax`](Self::argmax) is their label, 0..1; 0 of no images
    /// is 0.
    #[must_use]
    pub fn accuracy(&self, labels: &[usize]) -> f64 {
        let hits = self.argmax().iter().zip(labels).filter(|(a, b)| a == b).count();
        hits as f64 / self.images().max(1) as f64
    }
}
