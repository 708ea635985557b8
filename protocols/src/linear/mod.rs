//! Linear layers: the server's weights times the client's share of the activations.

mod choice;
mod geometry;
mod hint;
mod im2col;
mod keys;
mod layer;
mod leaves;
mod local;
mod products;
mod protocol;
mod vole;
mod vole_of_activations;
mod weights;
pub mod winograd;

#[cfg(test)]
mod testing;

pub use choice::{Algorithm, Protocol, Protocols};
pub use geometry::Geometry;
pub(crate) use geometry::windows;
pub use hint::{Beside, Hint, Secrets, SecretsNeeded};
pub(crate) use im2col::im2col_row;
pub(crate) use keys::Keys;
pub use layer::Layer;
pub use local::multiply;
pub use products::{ClientHeld, Products};
pub(crate) use protocol::Work;
pub use protocol::{Detail, LayerMemory, LayerSeconds, State};
pub use weights::{LayerWeights, accumulators};
