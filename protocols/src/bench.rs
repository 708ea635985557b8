//! The hot loops, for the benchmarks alone: what is measured is not what is offered.

use std::hint::black_box;

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use crate::kernels::{Expansion, Quad};
use crate::lattice::{Modulus, Transform, public, small};
use crate::linear::{Keys, Layer, Products};
use crate::ot::Hash;
use crate::{Bits, Block, Error, Session, kernels};

/// Hashes every block in place, under the key `0`.
pub fn hash() -> impl Fn(&mut [Block]) {
    let hash = Hash::new(&[0; 32]);
    move |blocks| hash.apply(blocks)
}

/// Transposes 128 rows of 4096 bits.
pub fn transpose() -> impl FnMut() -> Block {
    let rows = vec![[Block(0x5555); kernels::ROW_BLOCKS]; 128];
    let mut output = vec![Block::ZERO; kernels::ROW_BITS];
    move || {
        if let Some(rows) = rows.first_chunk() {
            kernels::transpose(rows, &mut output);
        }
        output[7]
    }
}

/// Sums 4096 bits of the streams of a tree of `depth` levels.
pub fn streams(depth: usize) -> impl FnMut() -> Block {
    let leaves: Vec<Block> = (0..1 << depth).map(Block).collect();
    let streams = kernels::Streams::new(&leaves);
    let zeros = [Block::ZERO; kernels::ROW_BLOCKS];
    let (mut planes, mut partial, mut row) = (vec![zeros; depth], [zeros; _], 0);
    move || {
        row += 1;
        streams.sum(0, row, &mut planes, &mut partial)[0]
    }
}

/// Grows a level of trees, from `4 quads` nodes.
pub fn grow(quads: usize) -> impl FnMut() -> Block {
    let (hash, nodes) = (Hash::new(&[0; 32]), vec![Quad::ZERO; quads]);
    move || hash.grow(&nodes)[0].0[0]
}

/// Expands the leaves of `4 quads` trees into a block of 16-bit columns, and sums them up.
pub fn bit_sums(depth: usize, quads: usize) -> impl FnMut() {
    let hash = Hash::new(&[0; 32]);
    let (leaves, punctures) = (vec![Quad::ZERO; quads << depth], vec![0b11; quads * depth]);
    let (mut sums, mut slots) = (vec![Quad::ZERO; quads], vec![Quad::ZERO; 4 * depth]);
    move || {
        let of =
            Expansion { depth, trees: 4 * quads, leaves: &leaves, punctures: Some(&punctures) };
        hash.bit_sums::<u16>(of, &mut sums, &mut slots);
    }
}

/// Derives the next key of a linear layer's expansion.
pub fn key() -> impl FnMut() {
    let (keys, mut number) = (Keys::new(&[0; 32]), 0);
    move || {
        number += 1;
        black_box(keys.hash(0, number, 0));
    }
}

/// Grows one level of a tree of `half` nodes.
pub fn split(half: usize) -> impl FnMut() -> Block {
    let (hash, mut nodes) = (Hash::new(&[0; 32]), vec![Block(3); 2 * half]);
    move || hash.split(&mut nodes, 1, Block(5))
}

/// Multiplies by the sparse code, for `outputs` samples of a secret of that length.
pub fn code(secret: usize, outputs: usize) -> impl FnMut() -> Block {
    let (code, table) = (kernels::Code::new(Block(1)), vec![Block(3); secret]);
    let mut outputs = vec![Block::ZERO; outputs];
    let mut first = 0;
    move || {
        first += outputs.len();
        code.add(first, &table, &mut outputs, |_, _| ());
        outputs[7]
    }
}

/// Uses up whatever is in the pools, piece by piece, so that nothing is copied.
pub fn drain(session: &mut Session) {
    const PIECE: usize = 1 << 16;
    while session.pools.left() != (0, 0) {
        session.discard(PIECE);
    }
}

/// The products with a mask that the protocol draws.
///
/// # Errors
/// Those of [`Session::run`].
pub async fn draw(session: &mut Session, products: Products<'_>, ring: Bits) -> Result<(), Error> {
    products.draw(session, ring).await.map(|drawn| drop(black_box(drawn)))
}

/// What a planner asks of a layer.
pub fn price(layer: &Layer) -> (u64, f64) {
    (layer.cost(1).offline.client_bytes, layer.seconds(1).offline)
}

/// Transforms a polynomial modulo `2^27`.
pub fn transform() -> impl FnMut() {
    let modulus = Modulus::new(27).expect("a modulus");
    let values = public("bench", [0, 0]);
    move || {
        black_box(Transform::get().forward(modulus, values.iter().copied()));
    }
}

/// Multiplies a polynomial by a small one, both transformed.
pub fn polynomial_product() -> impl FnMut() {
    let modulus = Modulus::new(27).expect("a modulus");
    let a = Transform::get().forward(modulus, public("bench", [0, 0]));
    let b = Transform::get().small(&small(&mut ChaCha20Rng::seed_from_u64(1)));
    move || {
        black_box(Transform::get().product(&a, &b));
    }
}
