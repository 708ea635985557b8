//! A linear layer's public description, and its planted trees.

use super::Geometry;
use super::layout::{self, Class};
use super::mask;
use super::trees::Trees;
use super::word::word_bits;
use crate::plan::Protocol;
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
    /// Left shift of each output channel, or none.
    pub shifts: Vec<u8>,
    /// The ring of the result, `Z_{2^l}`.
    pub ring: Bits,
    /// How the products are computed.
    pub protocol: Protocol,
}

impl Layer {
    /// What is wrong with the widths, if anything: every channel's shift and every digit must leave a ring.
    pub fn check(&self) -> Result<(), String> {
        self.geometry.check()?;
        if self.geometry.out_channels > MAX_CHANNELS || self.geometry.macs() > MAX_MACS {
            return Err(format!(
                "at most {MAX_CHANNELS} output channels and {MAX_MACS} multiplications, found {} and {}",
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
        if matches!(self.protocol, Protocol::VoleOfMask { .. }) && !mask::fits(&self.geometry) {
            return Err(format!("image times kernel of up to 2^16 each way for {:?}", self.protocol));
        }
        if !self.shifts.is_empty() && self.shifts.len() != self.geometry.out_channels {
            return Err(format!(
                "{} channel shifts or none, found {}",
                self.geometry.out_channels,
                self.shifts.len()
            ));
        }
        let most = self.shifts.iter().max().map_or(0, |&e| u32::from(e));
        if most + self.weight_bits > self.ring.get() {
            return Err(format!(
                "a ring of more than {} bits for the largest shift and the weights, found {}",
                most + self.weight_bits - 1,
                self.ring
            ));
        }
        Ok(())
    }

    /// The left shift of an output channel.
    pub fn shift(&self, channel: usize) -> u32 {
        self.shifts.get(channel).map_or(0, |&e| u32::from(e))
    }

    /// Weights of one tree, at the most.
    pub const fn group(&self) -> u32 {
        layout::group(self.weight_bits, self.protocol)
    }

    /// Whether its trees serve all inferences of a session.
    pub(crate) const fn keeps_trees(&self) -> bool {
        !matches!(self.protocol, Protocol::VoleOfMask { .. })
    }

    /// What planting its trees costs, once per session.
    pub fn setup_cost(&self) -> Cost {
        self.classes().iter().map(Trees::cost).sum()
    }

    /// How much there is to compute for the trees, for a batch of `images`.
    pub(crate) fn work(&self, images: usize) -> Work {
        if let Protocol::VoleOfMask { k } = self.protocol {
            return mask::work(self, images, k);
        }
        let (classes, columns) = (self.classes(), images * self.geometry.positions());
        let widest = classes.iter().map(|class| class.ring).max().unwrap_or(self.ring);
        let blocks = columns.div_ceil(128 / word_bits(widest) as usize);
        let trees: f64 = classes.iter().map(|class| class.trees() as f64).sum();
        let leaves: f64 = classes.iter().map(|class| (class.trees() << class.depth()) as f64).sum();
        Work { leaves, blocks: leaves * blocks as f64, corrections: trees * columns as f64 }
    }

    pub(super) fn classes(&self) -> Vec<Class> {
        layout::classes(&self.geometry, self.weight_bits, &self.shifts, self.ring, self.protocol)
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
    /// Plants the trees of a layer. The server gives its weights, `[channel][fan-in]`, the client none.
    ///
    /// # Errors
    /// Where the peer is lost, violates the protocol, or the pool is dry.
    pub async fn plant(session: &mut Session, layer: &Layer, weights: Option<&[i8]>) -> Result<Self, Error> {
        session
            .hold("weight trees", layer.setup_cost(), async |session| {
                let mut classes = Vec::new();
                for class in layer.classes() {
                    session.channel.begin_part();
                    let trees = Trees::plant(session, &class, weights).await?;
                    classes.push((class, trees));
                }
                Ok(Self { classes })
            })
            .await
    }
}
