//! From pixels to the network's input.

pub use protocols::plan::{Preprocess, integer};

/// A [`Preprocess`] that does not fit the images.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PreprocessError {
    /// Not one number for each channel.
    #[error(
        "{field} has {found} numbers, but the images have {expected} channels: give one for each"
    )]
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

/// Verifies that it can be applied to images with so many channels.
///
/// # Errors
/// A wrong count of numbers, or a number that is no mean or standard deviation.
pub(super) fn check(preprocess: &Preprocess, channels: usize) -> Result<(), PreprocessError> {
    let Preprocess::Normalize { mean, std } = preprocess else {
        return Ok(());
    };
    for (field, numbers) in [("mean", mean), ("std", std)] {
        if numbers.len() != channels {
            return Err(PreprocessError::Channels {
                field,
                expected: channels,
                found: numbers.len(),
            });
        }
        if let Some(channel) =
            numbers.iter().position(|x| !x.is_finite() || (field == "std" && *x <= 0.0))
        {
            return Err(PreprocessError::Number { field, channel, found: numbers[channel] });
        }
    }
    Ok(())
}
