//! The ring `Z_(2^q)[X] / (X^2048 + 1)`: exact products, small secrets, and parameters that are
//! hard to break.
//!
//! No crate has what is needed here, one transform of one length: those that are fast bring a whole
//! encryption stack, or a licence without a grant of patents.

mod parameters;
mod sample;
mod transform;

pub(crate) use parameters::{Modulus, NOISE_MARGIN, deviation_bound};
pub(crate) use sample::{public, small};
pub(crate) use transform::{Polynomial, SmallPolynomial, Transform};

pub(crate) use crate::kernels::DEGREE;
