//! What a linear layer takes of a party's memory, from its public description.

use super::layer::Layer;
use super::{Algorithm, Protocol, layout, products_cost};
use crate::bits::word_bits;
use crate::{Bits, Block, Role};

const BLOCK: u64 = Block::BYTES as u64;
/// Bytes of a share's element.
const ELEMENT: u64 = 8;

impl Layer {
    /// Bytes of this party's trees, which are kept as long as they are used: the server's have a
    /// block a level and the hole, the client's a block.
    pub(crate) fn tree_bytes(&self, role: Role) -> u64 {
        let of_class = |class: &layout::Class| match role {
            Role::Server => class.trees() as u64 * (u64::from(class.depth()) * BLOCK + 4),
            Role::Client => class.trees() as u64 * BLOCK,
        };
        self.classes().iter().map(of_class).sum()
    }

    /// Bytes that planting takes besides: the client's transfers, until all is said.
    pub(crate) fn planting_bytes(&self, role: Role) -> u64 {
        match role {
            Role::Server => 0,
            Role::Client => self.setup_cost().client_cots * BLOCK,
        }
    }

    /// Bytes that the offline products take at the same time, the result included, the trees not.
    pub(crate) fn product_bytes(&self, role: Role, images: usize) -> u64 {
        let products = self.products();
        let (g, outputs) =
            (&products.geometry, self.geometry.out_channels * self.geometry.positions());
        let given = match role {
            Role::Server => 0,
            Role::Client => {
                let x: usize = self.geometry.in_shape().iter().product();
                ELEMENT * (x * images) as u64 + ELEMENT * self.transformed(images) as u64
            }
        };
        let columns = images * g.positions();
        let result = ELEMENT * (g.out_channels * columns) as u64;
        let result = match self.algorithm {
            Algorithm::Direct => result,
            Algorithm::WinogradExact | Algorithm::Winograd => {
                result + ELEMENT * (outputs * images) as u64
            }
        };
        let kernel = match self.protocol {
            Protocol::Vole { .. } | Protocol::Cot => self.kernel_bytes(role, images),
            // A copy of the transfers, and the choices.
            Protocol::VoleOfMask { .. } => {
                products_cost(self, images).server_cots * (BLOCK + 1) + CHUNK
            }
        };
        given + result + kernel
    }

    /// Frames of the stream of the offline products.
    pub(crate) fn product_frames(&self, images: usize) -> u64 {
        if matches!(self.protocol, Protocol::VoleOfMask { .. }) {
            return 0;
        }
        let columns = images * self.products().geometry.positions();
        let classes = self.classes();
        let chunks = layout::chunks(&classes, columns);
        let len = |parts: &Vec<layout::Part>| {
            let trees = parts.iter().flat_map(|part| {
                classes[part.classes.clone()]
                    .iter()
                    .map(|class| (class.ring, class.trees_of(&part.rows).len()))
            });
            layout::message_len(&trees.collect::<Vec<_>>(), columns)
        };
        chunks.iter().map(|parts| (len(parts) as u64).div_ceil(1 << 20)).sum()
    }

    /// Accumulators, and what is at work on one message.
    fn kernel_bytes(&self, role: Role, images: usize) -> u64 {
        let (products, classes) = (self.products(), self.classes());
        let g = &products.geometry;
        let columns = images * g.positions();
        let widest = classes.iter().map(|class| class.ring).max().unwrap_or(self.ring);
        let (word, lanes) = (u64::from(word_bits(widest) / 8), 128 / word_bits(widest) as usize);
        let width = columns.next_multiple_of(lanes) as u64;
        // The message is made or received whole, and queued in frames or received in them.
        let chunk = |parts: &Vec<layout::Part>| {
            let rows: u64 = parts.iter().map(|part| part.rows.len() as u64).sum();
            let matrix = if role == Role::Client { rows * width * word } else { 0 };
            let parts = parts.iter().flat_map(|part| {
                classes[part.classes.clone()]
                    .iter()
                    .map(|class| (class, class.trees_of(&part.rows).len()))
            });
            let (leaves, trees): (Vec<u64>, Vec<(Bits, usize)>) = parts
                .map(|(class, trees)| {
                    ((trees as u64 * BLOCK) << class.depth(), (class.ring, trees))
                })
                .unzip();
            matrix + 2 * layout::message_len(&trees, columns) as u64 + leaves.iter().sum::<u64>()
        };
        let chunk = layout::chunks(&classes, columns).iter().map(chunk).max().unwrap_or(0);
        let input: usize = g.in_shape().iter().product();
        let input = if role == Role::Client { (input * images) as u64 * word } else { 0 };
        width * g.out_channels as u64 * word + input + chunk
    }

    /// Bytes that the product with a party's own share takes, the results included.
    pub(crate) fn local_bytes(&self, images: usize) -> u64 {
        let word = u64::from(word_bits(self.ring) / 8);
        let input: usize = self.geometry.in_shape().iter().product();
        let outputs = self.geometry.out_channels * self.geometry.positions();
        let transformed = match self.algorithm {
            Algorithm::Direct | Algorithm::WinogradExact => 0,
            Algorithm::Winograd => ELEMENT * self.transformed(images) as u64,
        };
        word * (input * images) as u64
            + (2 * ELEMENT + word) * (outputs * images) as u64
            + transformed
    }
}

/// What is at work on one message of [`super::mask`]: leaves, their expansions and the message.
const CHUNK: u64 = 4 << 20;
