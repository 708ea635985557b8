//! From pixels to the network's input.

use serde::{Deserialize, Serialize};

/// How the bytes of an image become the network's input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Preprocess {
    /// `x / 255`.
    #[default]
    Unit,
    /// The bytes as floats, 0..255.
    Raw,
    /// `(x / 255 - mean) / std`, for each channel.
    Normalise {
        /// One per channel, on the scale 0..1.
        mean: Vec<f32>,
        /// One per channel, on the scale 0..1; positive.
        std: Vec<f32>,
    },
}

/// A [`Preprocess`] that does not fit the images.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PreprocessError {
    /// Not one number for each channel.
    #[error("{field} has {found} numbers, but the images have {expected} channels: give one for each")]
    Channels {
        /// `mean` or `std`.
        field: &'static str,
        /// The number of channels.
        expected: usize,
        /// How many numbers there are.
        found: usize,
    },
    /// A number that cannot be.
    #[error("{field} of channel {channel} is {found}; it has to be finite, and std above 0")]
    Number {
        /// `mean` or `std`.
        field: &'static str,
        /// The channel.
        channel: usize,
        /// The number.
        found: f32,
    },
}

impl Preprocess {
    /// Verifies that this can be applied to images with so many channels.
    ///
    /// # Errors
    /// A wrong count of numbers, or a number that is no mean or standard deviation.
    pub fn check(&self, channels: usize) -> Result<(), PreprocessError> {
        let Self::Normalise { mean, std } = self else {
            return Ok(());
        };
        for (field, numbers) in [("mean", mean), ("std", std)] {
            if numbers.len() != channels {
                return Err(PreprocessError::Channels { field, expected: channels, found: numbers.len() });
            }
            let wrong = |x: &f32| !x.is_finite() || (field == "std" && *x <= 0.0);
            if let Some(channel) = numbers.iter().position(wrong) {
                return Err(PreprocessError::Number { field, channel, found: numbers[channel] });
            }
        }
        Ok(())
    }

    /// The smallest and the largest input that a byte can become, in each channel.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn range(&self, channels: usize) -> Result<Vec<(f32, f32)>, PreprocessError> {
        self.check(channels)?;
        let top = 255.0 / self.byte_divisor();
        let mut ends = vec![[0.0, top]; channels].concat();
        self.normalise(&mut ends, channels, 2);
        Ok(ends.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }

    pub(super) fn byte_divisor(&self) -> f32 {
        match self {
            Self::Raw => 1.0,
            Self::Unit | Self::Normalise { .. } => 255.0,
        }
    }

    /// Applies mean and std to pixels `[N, channels, plane]` on the scale 0..1.
    pub(super) fn normalise(&self, data: &mut [f32], channels: usize, plane: usize) {
        let Self::Normalise { mean, std } = self else {
            return;
        };
        for (i, pixels) in data.chunks_exact_mut(plane).enumerate() {
            let channel = i % channels;
            for x in pixels {
                *x = (*x - mean[channel]) / std[channel];
            }
        }
    }
}
