//! Linear layers: the server's weights times the client's share of the activations.

mod choice;
mod geometry;
mod im2col;
mod kernel;
mod keys;
mod layer;
mod layout;
mod local;
mod mask;
mod memory;
mod trees;
mod vole;
pub mod winograd;

#[cfg(test)]
mod testing;

pub use choice::{Algorithm, Protocol};
pub use geometry::{Geometry, windows};
pub(crate) use im2col::im2col_row;
pub(crate) use keys::Keys;
pub use layer::{Layer, Planted};
pub use local::multiply;
pub use vole::{ClientHeld, Products, products_cost};
