//! A linear layer's public description.

use std::borrow::Cow;
use std::ops::Deref;

use zeroize::Zeroizing;

use super::{Algorithm, Geometry, Protocol, winograd};
use crate::bits::word_bits;
use crate::{Bits, Role};

/// Bytes of a share's element.
const ELEMENT: u64 = 8;

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
    /// Its number in its plan: layers of one plan have different ones.
    pub number: usize,
}

impl Layer {
    /// The ring of its result's shares: twice the layer's where they keep a carry.
    pub(crate) fn share_ring(&self) -> Bits {
        Bits::of(self.ring.get() + u32::from(self.protocol.carries()))
    }

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
        let most = self.shifts.iter().max().map_or(0, |&e| u32::from(e));
        let room = most + self.weight_bits + self.widening();
        if room > self.ring.get() {
            return Err(format!(
                "a ring of at least {room} bits for the largest shift and the weights, found {}",
                self.ring
            ));
        }
        self.protocol.body().check(self)
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

    /// Bytes of what the products are made of and of what they are, also in the domain of a
    /// transform.
    pub(super) fn operand_bytes(&self, role: Role, images: usize) -> u64 {
        let g = &self.products().geometry;
        let given = match role {
            Role::Server => 0,
            Role::Client => {
                let input: usize = self.geometry.in_shape().iter().product();
                input * images + self.transformed(images)
            }
        };
        let result = g.out_channels * images * g.positions();
        let outputs = self.geometry.out_channels * self.geometry.positions() * images;
        let transformed = match self.algorithm {
            Algorithm::Direct => 0,
            Algorithm::WinogradExact | Algorithm::Winograd => outputs,
        };
        ELEMENT * (given + result + transformed) as u64
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
