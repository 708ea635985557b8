//! Random small networks whose ReLUs are of some elements.

use protocols::steps::{Linearized, Mask};

use super::Generator;
use crate::{Error, Graph, Weights, WireId};

/// A small network and its weights, from a seed, as [`super::random_network`] makes them; about
/// half of its activations are ReLUs of some elements.
///
/// # Panics
/// Where the network does not check: the generator is at fault.
pub fn random_linearized_network(seed: u64) -> (Graph, Weights) {
    match (Generator { linearizes: true, ..Generator::new(seed) }).network() {
        Ok(network) => network,
        Err(error) => panic!("invariant: random networks are valid (seed {seed}): {error}"),
    }
}

impl Generator {
    /// A requantization behind a ReLU of some elements, perhaps of none or of all.
    pub(super) fn linearized(&mut self, input: WireId) -> Result<WireId, Error> {
        let wire = *self.builder.wire(input);
        let bits = self.up_to(2, 6) as u8;
        let shift = wire.bits.saturating_sub(bits + self.up_to(0, 3) as u8);
        let (kept, out_of) = (self.up_to(0, 4), 4);
        let elements = (0..wire.elements()).map(|_| self.up_to(1, out_of) <= kept).collect();
        let below = self.up_to(0, 1 << (bits - 1)) as u32;
        let linearized = Linearized { kept: Mask::new(elements), below };
        let name = self.name("linearized");
        self.builder.linearized(name, input, (shift, bits), linearized)
    }
}
