//! Training: gradients of float networks and of integer ones, in batches, on all cores.
//!
//! A [`Network`] is what is differentiated: linear layers, ReLUs, sums, pooling, roundings. Its
//! values lie in blocks of sixteen channels with the padding around them ([`layout`]). So one
//! kernel ([`kernels`]) convolves forward, backward and for the weights.
//!
//! A [`Trainer`] takes a batch through it in strips of images. Strips and sums have a fixed order:
//! no result depends on the number of cores.
//!
//! Around it: weights to begin with ([`random_start`]), [`Adam`], losses ([`loss`]), and the order
//! and augmentation of images ([`Images`]).

mod adam;
mod convolution;
mod depthwise;
mod elements;
mod images;
pub mod kernels;
mod layer;
pub mod layout;
pub mod loss;
mod network;
mod product;
mod start;
mod steps;
mod strip;
mod trainer;
mod windows;
mod winograd;

pub use adam::{Adam, rate};
pub use images::{Augmentation, Images, Mixture, Order};
pub use kernels::Number;
pub use network::{Network, Node, Op, Rounding, Table};
pub use start::random_start;
pub use trainer::{Parameters, Trainer};
