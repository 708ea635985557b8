//! Linear layers.

mod geometry;

pub use geometry::Geometry;
