//! What the trees of a linear layer take of a party's memory.

use super::layout::{self, Class};
use super::{Trees, columns};
use crate::bits::word_bits;
use crate::linear::Layer;
use crate::linear::protocol::LayerMemory;
use crate::{Block, Role};

const BLOCK: u64 = Block::BYTES as u64;
/// Bytes of the largest frame.
const FRAME: u64 = 1 << 20;

pub(super) fn of(layer: &Layer, classes: &[Class], role: Role, images: usize) -> LayerMemory {
    let columns = columns(layer, images);
    LayerMemory {
        state: state(classes, role),
        preparing: match role {
            Role::Server => 0,
            // Its OTs, until all is said.
            Role::Client => Trees::cost(classes).client_cots * BLOCK,
        },
        running: running(layer, classes, role, images),
        frames: frames(classes, columns),
    }
}

/// The server's trees have a block a level and the puncture point, the client's a block.
fn state(classes: &[Class], role: Role) -> u64 {
    classes
        .iter()
        .map(|class| match role {
            Role::Server => class.trees() as u64 * (u64::from(class.depth()) * BLOCK + 4),
            Role::Client => class.trees() as u64 * BLOCK,
        })
        .sum()
}

/// Frames of the stream of the products.
fn frames(classes: &[Class], columns: usize) -> u64 {
    layout::chunks(classes, columns)
        .iter()
        .map(|parts| {
            let len = layout::message_len(&layout::trees_by_ring(classes, parts), columns);
            (len as u64).div_ceil(FRAME)
        })
        .sum()
}

/// Accumulators, and what is at work on one message.
fn running(layer: &Layer, classes: &[Class], role: Role, images: usize) -> u64 {
    let products = layer.products();
    let g = &products.geometry;
    let columns = images * g.positions();
    let widest = classes.iter().map(|class| class.ring).max().unwrap_or(layer.ring);
    let (word, lanes) = (u64::from(word_bits(widest) / 8), 128 / word_bits(widest) as usize);
    let width = columns.next_multiple_of(lanes) as u64;
    // The message is made or received whole, and queued in frames or received in them.
    let chunks = layout::chunks(classes, columns);
    let each = chunks.iter().map(|parts| {
        let rows: u64 = parts.iter().map(|part| part.rows.len() as u64).sum();
        let matrix = if role == Role::Client { rows * width * word } else { 0 };
        let leaves: u64 = parts.iter().map(|part| leaves(classes, part)).sum();
        let message = layout::message_len(&layout::trees_by_ring(classes, parts), columns) as u64;
        matrix + 2 * message + leaves * BLOCK
    });
    let chunk = each.max().unwrap_or(0);
    let input: usize = g.in_shape().iter().product();
    let input = if role == Role::Client { (input * images) as u64 * word } else { 0 };
    width * g.out_channels as u64 * word + input + chunk
}

/// The leaves of the trees of a part.
fn leaves(classes: &[Class], part: &layout::Part) -> u64 {
    classes[part.classes.clone()]
        .iter()
        .map(|class| (class.trees_of(&part.rows).len() as u64) << class.depth())
        .sum()
}
