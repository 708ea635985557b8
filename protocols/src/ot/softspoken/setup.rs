//! Base OTs and trees, once per session, for both directions.

use std::fmt;

use rand::RngExt;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::batch::{Received, Sent, SoftSpoken};
use crate::ot::{Series, base, fresh_keys, pprf};
use crate::{Block, Cost, Domain, Error, Operator, Session};

/// Bits of `Δ`, and base OTs in each direction.
const LAMBDA: usize = 128;

/// `k`: levels of a tree of the extension, 1 to 8. An OT costs `ceil(128 / k) - 1` bits, and
/// `2^k ceil(128 / k)` bits of AES: the deeper, the fewer bytes and the more work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct TreeDepth(u8);

impl TreeDepth {
    /// The deepest.
    pub const MAX: Self = Self(8);

    /// A depth, or `None` where it is not within 1..=8.
    pub const fn new(levels: u8) -> Option<Self> {
        if levels >= 1 && levels <= Self::MAX.0 { Some(Self(levels)) } else { None }
    }

    /// Every depth, shallow ones first.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=Self::MAX.0).map(Self)
    }

    /// The number of levels.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Trees in one direction.
    pub const fn trees(self) -> usize {
        LAMBDA.div_ceil(self.0 as usize)
    }

    /// The bits of `Δ` that belong to each tree, and the base OTs that it takes.
    pub(super) fn digits(self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let width = self.0 as usize;
        (0..LAMBDA).step_by(width).map(move |start| start..LAMBDA.min(start + width))
    }

    /// The bit of `Δ` that each base OT is about: within a tree, the most significant first.
    fn in_tree_order(self) -> impl Iterator<Item = usize> {
        self.digits().flat_map(Iterator::rev)
    }
}

impl From<TreeDepth> for u8 {
    fn from(depth: TreeDepth) -> Self {
        depth.0
    }
}

impl TryFrom<u8> for TreeDepth {
    type Error = String;

    fn try_from(levels: u8) -> Result<Self, String> {
        Self::new(levels).ok_or_else(|| format!("a tree has 1 to 8 levels, found {levels}"))
    }
}

impl fmt::Display for TreeDepth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Sets the extension up in both directions and draws each party's `Δ`. Once per session.
///
/// **Cost:** in each direction 32 and 4096 bytes for the base OTs, then `32 (128 - N)` bytes
/// for the `N` trees: three rounds, or two where `k = 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Depth of the trees.
    pub depth: TreeDepth,
}

impl Operator for Setup {
    type Input = ();
    type Output = ();

    const NAME: &'static str = "SoftSpoken setup";

    fn ideal(&self, (): &()) {}

    fn cost(&self) -> Cost {
        let corrections: usize =
            self.depth.digits().map(|levels| pprf::corrections(levels.len())).sum();
        base::cost(LAMBDA).then(Cost::exchange(corrections * Block::BYTES))
    }

    async fn run(&self, session: &mut Session, (): ()) -> Result<(), Error> {
        if session.pools.left() != (0, 0) {
            return Err(Error::invalid(
                "the pools at set-up",
                "empty",
                "transfers under another correlation",
            ));
        }
        let delta = Zeroizing::new(Block(session.rng().random::<u128>() | 1));
        // The tree's base OTs take the side that the point is not on.
        let bits = Zeroizing::new(
            self.depth.in_tree_order().map(|bit| (delta.0 >> bit) as u64 & 1).collect::<Vec<_>>(),
        );
        let sides = Zeroizing::new(bits.iter().map(|bit| 1 - bit).collect::<Vec<u64>>());
        // Of each pair, the peer has the key of the side on which its own point is not. Base
        // OTs are tree by tree, so a digit's range of bits of `Δ` names its OTs too.
        let ots = base::both_ways(session, &sides).await?;

        // A key for every tree, as everywhere.
        let (own, peer) = fresh_keys(session, Domain::Tree);
        let (own, peer) = (Series::new(&own), Series::new(&peer));
        let mut message = Vec::new();
        let mut owned = Vec::new();
        for (tree, levels) in self.depth.digits().enumerate() {
            // This party owns the trees that the peer's `Δ` punctures: those of the OTs that
            // it will receive.
            let (leaves, corrections) = pprf::grow(&own.hash(tree), &ots.pairs[levels]);
            message.extend(corrections);
            owned.push(leaves);
        }
        let peer_message = Block::unpack(&session.channel.exchange(&Block::pack(&message)).await?);
        let mut corrections = peer_message.as_slice();
        let mut known = Vec::new();
        for (tree, levels) in self.depth.digits().enumerate() {
            let (ours, rest) = corrections.split_at(pprf::corrections(levels.len()));
            let (bits, chosen) = (&bits[levels.clone()], &ots.chosen[levels]);
            // Of the peer's trees it knows all leaves but number `Δ_i`, laid out relative to it:
            // leaf y in slot `y xor Δ_i`.
            known.push(pprf::puncture(&peer.hash(tree), bits, chosen, ours));
            corrections = rest;
        }
        session.pools.set_delta(*delta);
        session.softspoken = Some(SoftSpoken {
            depth: self.depth,
            sent: Sent::new(self.depth, *delta, &known),
            received: Received::new(self.depth, &owned),
        });
        Ok(())
    }
}
