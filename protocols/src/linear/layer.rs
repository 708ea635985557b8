//! A linear layer's public description, and its planted trees.

use std::borrow::Cow;
use std::ops::Deref;

use zeroize::Zeroizing;

use super::layout::{self, Class};
use super::trees::Trees;
use super::{Algorithm, Geometry, Protocol, mask, winograd};
use crate::bits::word_bits;
use crate::{Bits, Cost, Error, Session};

/// The most output channels: pricing a layer lists them all.
const MAX_CHANNELS: usize = 1 << 16;
/// The most multiplications for one image, so that no price overflows.
const MAX_MACS: u64 = 1 << 40;

/// A linear layer `acc[c] = (W x)[c] 2^shift[c]` over `Z_{2^l}`: what both parties know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The convolution.
    pub geometry: Geometry,
    /// Width of the weights, two's complement.
    pub weight_bits: u32,
    /// Left shift of each output channel, or none; of each position and output channel where
    /// weights are given in Winograd's domain.
    pub shifts: Vec<u8>,
    /// The ring of the result, `Z_{2^l}`.
    pub ring: Bits,
    /// How the convolution becomes products, and what its weights are.
    pub algorithm: Algorithm,
    /// How the products are computed.
    pub protocol: Protocol,
}

impl Layer {
    /// What is wrong with the widths, if anything: every channel's shift and every digit must leave
    /// a ring.
    pub fn check(&self) -> Result<(), String> {
        self.geometry.check()?;
        if self.geometry.out_channels > MAX_CHANNELS || self.geometry.macs() > MAX_MACS {
            return Err(format!(
                "at most {MAX_CHANNELS} output channels and {MAX_MACS} multiplications, found {} \
                 and {}",
                self.geometry.out_channels,
                self.geometry.macs()
            ));
        }
        if !(2..=8).contains(&self.weight_bits) {
            return Err(format!("weights of 2 to 8 bits, found {}", self.weight_bits));
        }
        if !(1..=8).contains(&layout::digit_bits(self.protocol)) {
            return Err(format!("k within 1..=8, found {:?}", self.protocol));
        }
        let shifts = match self.algorithm {
            Algorithm::Direct => self.geometry.out_channels,
            Algorithm::WinogradExact => {
                winograd::check(&self.geometry)?;
                if self.weight_bits > 4 || self.ring.get() > 62 {
                    return Err(format!(
                        "weights of at most 4 bits and a ring of at most 62 for an exact Winograd \
                         layer, found {} and {}",
                        self.weight_bits, self.ring
                    ));
                }
                self.geometry.out_channels
            }
            Algorithm::Winograd => {
                winograd::check(&self.geometry)?;
                winograd::POSITIONS * self.geometry.out_channels
            }
        };
        if !self.shifts.is_empty() && self.shifts.len() != shifts {
            return Err(format!("{shifts} shifts or none, found {}", self.shifts.len()));
        }
        if matches!(self.protocol, Protocol::VoleOfMask { .. })
            && !mask::fits(&self.products().geometry)
        {
            return Err(format!(
                "image times kernel of up to 2^16 each way for {:?}",
                self.protocol
            ));
        }
        let most = self.shifts.iter().max().map_or(0, |&e| u32::from(e));
        let room = most + self.weight_bits + self.widening();
        if room > self.ring.get() {
            return Err(format!(
                "a ring of at least {room} bits for the largest shift and the weights, found {}",
                self.ring
            ));
        }
        Ok(())
    }

    /// Bits that the ring of the products has more than that of the result. The input needs no
    /// more: any representative modulo `2^l` gives four times the result modulo `2^(l+2)`.
    const fn widening(&self) -> u32 {
        match self.algorithm {
            Algorithm::WinogradExact => 2,
            Algorithm::Direct | Algorithm::Winograd => 0,
        }
    }

    /// Weights of one output channel: input channels of its group, times taps of the kernel or
    /// positions of the domain.
    const fn fan_in(&self) -> usize {
        match self.algorithm {
            Algorithm::Direct | Algorithm::WinogradExact => self.geometry.fan_in(),
            Algorithm::Winograd => {
                self.geometry.in_channels / self.geometry.groups * winograd::POSITIONS
            }
        }
    }

    /// Number of weights: `[channel][fan-in]`, or in Winograd's domain `[position][channel][input
    /// channel]`.
    pub const fn weights(&self) -> usize {
        self.geometry.out_channels * self.fan_in()
    }

    /// Multiplications in the clear, for one image.
    pub(crate) fn macs(&self) -> u64 {
        match self.algorithm {
            Algorithm::Direct | Algorithm::WinogradExact => self.geometry.macs(),
            Algorithm::Winograd => winograd::products(&self.geometry).macs(),
        }
    }

    /// The layer of the products that are computed with trees: itself, or Winograd's over tiles.
    pub(super) fn products(&self) -> Cow<'_, Self> {
        match self.algorithm {
            Algorithm::Direct => Cow::Borrowed(self),
            Algorithm::WinogradExact | Algorithm::Winograd => Cow::Owned(winograd::layer(self)),
        }
    }

    /// The weights of those products.
    pub(super) fn weights_of_products<'a>(&self, weights: &'a [i8]) -> WeightsOfProducts<'a> {
        match self.algorithm {
            Algorithm::Direct | Algorithm::Winograd => WeightsOfProducts::Given(weights),
            Algorithm::WinogradExact => {
                WeightsOfProducts::Derived(winograd::exact_weights(weights))
            }
        }
    }

    /// The left shift of an output channel.
    pub fn shift(&self, channel: usize) -> u32 {
        self.shifts.get(channel).map_or(0, |&e| u32::from(e))
    }

    /// Weights whose digits share a tree, at the most.
    pub fn group(&self) -> usize {
        self.classes().iter().map(|class| class.bundles[0].len()).max().unwrap_or(1)
    }

    /// Whether its trees serve all inferences of a session.
    pub(crate) const fn keeps_trees(&self) -> bool {
        !matches!(self.protocol, Protocol::VoleOfMask { .. })
    }

    /// What planting its trees costs, once per session.
    pub fn setup_cost(&self) -> Cost {
        Trees::cost(&self.classes())
    }

    /// How much there is to compute for the trees, for a batch of `images`.
    pub(crate) fn work(&self, images: usize) -> Work {
        let products = self.products();
        if let Protocol::VoleOfMask { k } = self.protocol {
            return mask::work(&products, images, k);
        }
        let (classes, columns) = (self.classes(), images * products.geometry.positions());
        let widest = classes.iter().map(|class| class.ring).max().unwrap_or(self.ring);
        let blocks = columns.div_ceil(128 / word_bits(widest) as usize);
        let trees: f64 = classes.iter().map(|class| class.trees() as f64).sum();
        let leaves: f64 = classes.iter().map(|class| (class.trees() << class.depth()) as f64).sum();
        Work { leaves, blocks: leaves * blocks as f64, corrections: trees * columns as f64 }
    }

    /// Elements that are transformed, of inputs and of results, for a batch.
    pub(crate) fn transformed(&self, images: usize) -> usize {
        match self.algorithm {
            Algorithm::Direct => 0,
            Algorithm::WinogradExact | Algorithm::Winograd => {
                let Geometry { in_channels, out_channels, .. } = self.geometry;
                let tiles = images * self.products().geometry.positions();
                winograd::POSITIONS * tiles * (in_channels + out_channels)
            }
        }
    }

    pub(super) fn classes(&self) -> Vec<Class> {
        let Self { geometry, shifts, ring, protocol, .. } = &*self.products();
        let bits = |group: usize| match self.algorithm {
            Algorithm::Direct | Algorithm::Winograd => self.weight_bits,
            Algorithm::WinogradExact => {
                winograd::exact_bits(self.weight_bits, group, geometry.groups)
            }
        };
        layout::classes(geometry, bits, shifts, *ring, *protocol)
    }
}

/// The weights of a layer's products: its own, or made of them, and wiped when they are dropped.
pub(super) enum WeightsOfProducts<'a> {
    Given(&'a [i8]),
    Derived(Zeroizing<Vec<i8>>),
}

impl Deref for WeightsOfProducts<'_> {
    type Target = [i8];

    fn deref(&self) -> &[i8] {
        match self {
            Self::Given(weights) => weights,
            Self::Derived(weights) => weights,
        }
    }
}

/// The size of a layer's trees.
#[derive(Default)]
pub(crate) struct Work {
    /// Leaves of all trees.
    pub leaves: f64,
    /// Blocks that they are expanded to.
    pub blocks: f64,
    /// Ring elements that cross the wire.
    pub corrections: f64,
}

/// A layer's trees, one party's half.
pub struct Planted {
    pub(super) classes: Vec<(Class, Trees)>,
}

impl Planted {
    /// Plants the trees of a layer. The server gives its weights, in the order of
    /// [`Layer::weights`], the client none.
    ///
    /// # Errors
    /// Where the peer is lost, violates the protocol, or the pool is dry.
    pub async fn plant(
        session: &mut Session,
        layer: &Layer,
        weights: Option<&[i8]>,
    ) -> Result<Self, Error> {
        let weights = weights.map(|weights| layer.weights_of_products(weights));
        let weights = weights.as_deref();
        session
            .hold("weight trees", layer.setup_cost(), async |session| {
                let classes = layer.classes();
                let trees = Trees::plant(session, &classes, weights).await?;
                let classes = classes.into_iter().zip(trees).collect();
                Ok(Self { classes })
            })
            .await
    }
}
