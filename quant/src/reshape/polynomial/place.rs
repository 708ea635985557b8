//! Nodes that something else can stand in the place of, and what that is.

use model::{Node, Op};
use serde::{Deserialize, Serialize};

/// What can stand in the place of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replacement {
    /// For ReLUs: a polynomial of degree two for each channel.
    Polynomial,
    /// For a maximum pooling.
    Average,
    /// For an average pooling.
    Maximum,
}

impl Replacement {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Polynomial => "polynomial",
            Self::Average => "average",
            Self::Maximum => "maximum",
        }
    }
}

/// A node that something else can stand in the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) becomes: Replacement,
    /// ReLUs, or what a pooling's windows read.
    pub(super) elements: usize,
    /// What it gives.
    pub(super) outputs: usize,
}

impl Place {
    pub(super) fn of(node: &Node) -> Option<Self> {
        let outputs = node.elements();
        let (becomes, each) = match &node.op {
            Op::Relu { .. } => (Replacement::Polynomial, 1),
            Op::MaxPool(window) => (Replacement::Average, window.len()),
            // That of a whole channel counts, too: its price tells that it stays.
            Op::AvgPool(window) => (Replacement::Maximum, window.len()),
            // One of some elements has a mask that no polynomial has.
            Op::Conv(_) | Op::PartRelu(_) | Op::Function(_) | Op::Add | Op::Mul => return None,
            Op::View(_) | Op::Reorder(_) | Op::Concat => return None,
        };
        Some(Self { becomes, elements: outputs * each, outputs })
    }
}
