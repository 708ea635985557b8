//! Why a network cannot be quantized.

use model::float::FloatError;

use super::TooLarge;

/// Why a network cannot be quantized.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The calibration images do not fit the network.
    #[error(transparent)]
    Float(#[from] FloatError),
    /// The integer network cannot be represented.
    #[error(transparent)]
    Graph(#[from] fusion::Error),
    /// The network is too large for the memory that it may take.
    #[error(transparent)]
    Memory(#[from] TooLarge),
    /// Two scales that must meet are too far apart.
    #[error(
        "node {node}: scales differ by 2^{ratio}, which no shift can make up for; check the \
         calibration images"
    )]
    Scales {
        /// The node.
        node: String,
        /// The base-two logarithm of the ratio.
        ratio: i32,
    },
    /// The calibration images say nothing.
    #[error("no calibration image: at least one is needed")]
    NoImages,
    /// The system has no random bytes for the weights' salt.
    #[error(transparent)]
    Salt(#[from] protocols::Error),
    /// The calibration images say nothing about the network's values.
    #[error(
        "all {images} calibration images are one and the same color, {value} in every pixel of \
         channel 0: no range of values can be told from them; name images like those of the \
         network's task with --calib"
    )]
    Blank {
        /// The number of images.
        images: usize,
        /// The value, preprocessed.
        value: f32,
    },
    /// A value of the network that is no number on the calibration images.
    #[error(
        "node {node}: its values on the calibration images are not finite; look for huge weights \
         before it, or another scale of the images"
    )]
    NotFinite {
        /// The node; `input` for the images themselves.
        node: String,
    },
}
