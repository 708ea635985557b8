//! Seconds that a core takes for the work of the protocols, fitted to the steps of whole inferences
//! by two processes on a current server with two cores. They shape choices, never results. They
//! count what the benches of kernels do not see: fresh pages, and copies to and from sockets.

/// Predicted seconds of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seconds {
    /// Before the input is known.
    pub offline: f64,
    /// From the input on.
    pub online: f64,
}

/// Expanding a leaf into one block of columns and adding it up.
pub(crate) const LEAF_BLOCK: f64 = 0.58e-9;
/// Making a leaf out of its tree.
pub(crate) const LEAF: f64 = 4e-9;
/// Packing, sending and applying one correction.
pub(crate) const CORRECTION: f64 = 1.5e-9;
/// An element of a transform of Winograd's, from its share to a buffer and on.
pub(crate) const TRANSFORMED: f64 = 22e-9;
/// The same as [`CORRECTION`] where the digits of an activation's mask are the puncture points:
/// each finds its weight and its output on its own.
pub(crate) const MASK_CORRECTION: f64 = 18e-9;
/// One correlated OT of SoftSpoken, whatever the depth.
pub(crate) const TRANSFER: f64 = 10e-9;
/// One correlated OT of Ferret, by parameter set: the larger the secret, the further away its
/// cache.
pub(crate) const FERRET: [f64; 5] = [22e-9, 22e-9, 22e-9, 26e-9, 41e-9];
/// One block of the extension's streams.
pub(crate) const STREAM_BLOCK: f64 = 0.55e-9;
/// Making pads of one OT: hashing it, and packing what is kept.
pub(crate) const PAD: f64 = 4e-9;
/// Using one OT's pads in an operator on shares: its part of all messages.
pub(crate) const USE: f64 = 9e-9;
/// One bit of a gate times a factor, in both directions: two pads of a stream, two corrections.
pub(crate) const SCALED: f64 = 12e-9;
/// An entry of a table that is looked up: rotating, masking and packing it.
pub(crate) const ENTRY: f64 = 4e-9;
/// One multiplication by a weight in the clear.
pub(crate) const MAC: f64 = 0.2e-9;
/// One product of transformed polynomials of hints, and what is done with it.
pub(crate) const TRANSFORM: f64 = 12e-6;
/// One multiplication of a weight with a coefficient.
pub(crate) const POLYNOMIAL_MAC: f64 = 0.045e-9;
/// Fetching a weight for its coefficients.
pub(crate) const WEIGHT: f64 = 2e-9;
/// Encrypting and packing a coefficient.
pub(crate) const COEFFICIENT: f64 = 15e-9;
/// From an output's share with noise to an exact one: an OT, and passes over all of them.
pub(crate) const ROUNDING: f64 = 25e-9;
