//! The integer network: every wire has shape, width, sign, scale and interval. It holds no weights.

mod bounds;
mod builder;
mod display;
mod infer;

use protocols::linear::{Geometry, winograd};
use protocols::plan::{Algorithm, Order, Preprocess, Term, View, Window};
use protocols::steps::Linearized;

pub use builder::Builder;

use crate::Interval;

/// Index of a wire, and of the node that makes it: every node makes one.
pub type WireId = usize;

/// An integer tensor, `[channels, rows, columns]` an image; batches are
/// `[channels][images][rows][columns]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wire {
    /// `[channels, rows, columns]`.
    pub shape: [usize; 3],
    /// Width of the values.
    pub bits: u8,
    /// The least value of that width, zero or below: all are the `2^bits` integers from it on.
    pub low: i64,
    /// The real value of one integer step.
    pub scale: f64,
    /// Interval of the values: exact for accumulators (also where sliced and sum-pooled), otherwise
    /// all that `bits` hold.
    pub range: Interval,
}

impl Wire {
    /// Elements of one image.
    pub const fn elements(&self) -> usize {
        self.shape[0] * self.shape[1] * self.shape[2]
    }

    /// Whether values can be negative.
    pub const fn signed(&self) -> bool {
        self.low < 0
    }

    /// All that the width holds.
    pub const fn declared(&self) -> Interval {
        Interval::from(self.low, self.bits)
    }
}

/// A linear layer: `acc[c] = (W x)[c] << shifts[c] + bias[c]`, signed. Its weights go by the node's
/// name.
///
/// A fully connected layer over a wire that is not 1x1 is a convolution whose kernel is as large as
/// the image: its weights are in the order of the flattened wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// The activations.
    pub input: WireId,
    /// The convolution.
    pub geometry: Geometry,
    /// What the weights are.
    pub kernel: Kernel,
    /// Width of the weights, two's complement, 2 to 8.
    pub weight_bits: u8,
    /// Left shift of each output channel's products, before the bias; one for each channel, or
    /// none. In Winograd's domain one for each position and channel, or none.
    pub shifts: Vec<u8>,
    /// Interval of the accumulators, from the weights: see [`Linear::bounded`].
    pub range: Interval,
    /// The real value of one step of the accumulators.
    pub scale: f64,
}

/// What the weights of a linear layer are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// The convolution's own, `[K, C / groups, kernel rows, kernel columns]`.
    #[default]
    Spatial,
    /// The `U` of Winograd's F(2x2, 3x3), `[16, K, C / groups]`, which defines the layer: see
    /// [`protocols::linear::winograd`].
    Winograd,
}

impl Kernel {
    /// The way of computing that defines the layer.
    pub const fn algorithm(self) -> Algorithm {
        match self {
            Self::Spatial => Algorithm::Direct,
            Self::Winograd => Algorithm::Winograd,
        }
    }
}

impl Linear {
    /// Number of weights.
    pub const fn weights(&self) -> usize {
        let g = &self.geometry;
        match self.kernel {
            Kernel::Spatial => g.weights(),
            Kernel::Winograd => winograd::products(g).weights(),
        }
    }

    /// Number of shifts, where there are any.
    pub const fn channels(&self) -> usize {
        match self.kernel {
            Kernel::Spatial => self.geometry.out_channels,
            Kernel::Winograd => winograd::products(&self.geometry).out_channels,
        }
    }
}

/// A function of one value: `table[x - first]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Lookup {
    /// The wire, of at most 8 bits.
    pub input: WireId,
    /// The value that the table starts with.
    pub first: i64,
    /// The results of all values that the wire can have, at least.
    pub table: Vec<i64>,
    /// Width of the results.
    pub bits: u8,
    /// The least that a result can be, zero or below.
    pub low: i64,
    /// The real value of one step of the results.
    pub scale: f64,
}

impl Lookup {
    /// The result for a value within the table.
    pub(crate) fn of(&self, value: i64) -> i64 {
        self.table[(value - self.first) as usize]
    }
}

/// What a node computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The network's input.
    Input {
        /// `[channels, rows, columns]`.
        shape: [usize; 3],
        /// Width of the values.
        bits: u8,
        /// The least value, zero or below.
        low: i64,
        /// The real value of one integer step.
        scale: f64,
    },
    /// A linear layer: exact accumulators.
    Linear(Linear),
    /// The exact sum of wires, each shifted left.
    Add {
        /// What is summed: all of one shape, and of one scale once shifted.
        terms: Vec<Term>,
    },
    /// `max(x, 0)`.
    Relu {
        /// The wire.
        input: WireId,
    },
    /// `clamp(floor((x + 2^(k-1)) / 2^k), lo, hi)`, without rounding constant at `k = 0`; `hi` is
    /// `lo + 2^bits - 1`. Behind a ReLU of some elements, each has bounds of its own.
    Requant {
        /// The wire.
        input: WireId,
        /// `k`: bits dropped.
        shift: u8,
        /// Width of the result.
        bits: u8,
        /// `lo`: zero or below.
        low: i64,
        /// Elements that are not cut off at zero, where others are: see [`Linearized`].
        linearized: Option<Linearized>,
    },
    /// Any function of one narrow value, by its table.
    Lookup(Lookup),
    /// The exact product of two wires, whose scale is the product of theirs.
    Product {
        /// The wire.
        input: WireId,
        /// What it is multiplied by, of at most 16 bits: a wire of its shape, or `[channels, 1,
        /// 1]`.
        gate: WireId,
    },
    /// The maximum over windows.
    MaxPool {
        /// The wire.
        input: WireId,
        /// The windows; padding is never the maximum.
        window: Window,
    },
    /// The sum over windows. Its scale is that of the average: `scale / (rows * columns of the
    /// window)`.
    SumPool {
        /// The wire.
        input: WireId,
        /// The windows; padding counts as zero.
        window: Window,
    },
    /// A strided slice with zero padding.
    View {
        /// The wire.
        input: WireId,
        /// Which part.
        view: View,
    },
    /// The same elements in another order and shape.
    Reorder {
        /// The wire.
        input: WireId,
        /// Which order.
        order: Order,
    },
    /// Channels of wires of one scale, one after the other.
    Concat {
        /// The wires.
        inputs: Vec<WireId>,
    },
    /// The network's output.
    Output {
        /// The logits.
        input: WireId,
    },
}

impl Op {
    /// The wires read, in order.
    pub fn inputs(&self) -> Vec<WireId> {
        match self {
            Self::Input { .. } => Vec::new(),
            Self::Linear(linear) => vec![linear.input],
            Self::Lookup(lookup) => vec![lookup.input],
            Self::Add { terms } => terms.iter().map(|term| term.wire).collect(),
            Self::Concat { inputs } => inputs.clone(),
            Self::Product { input, gate } => vec![*input, *gate],
            Self::Relu { input }
            | Self::Requant { input, .. }
            | Self::MaxPool { input, .. }
            | Self::SumPool { input, .. }
            | Self::View { input, .. }
            | Self::Reorder { input, .. }
            | Self::Output { input } => vec![*input],
        }
    }

    /// The same computation on other wires.
    #[must_use]
    pub fn map_inputs(mut self, f: impl Fn(WireId) -> WireId) -> Self {
        match &mut self {
            Self::Input { .. } => {}
            Self::Linear(linear) => linear.input = f(linear.input),
            Self::Lookup(lookup) => lookup.input = f(lookup.input),
            Self::Add { terms } => terms.iter_mut().for_each(|term| term.wire = f(term.wire)),
            Self::Concat { inputs } => inputs.iter_mut().for_each(|input| *input = f(*input)),
            Self::Product { input, gate } => (*input, *gate) = (f(*input), f(*gate)),
            Self::Relu { input }
            | Self::Requant { input, .. }
            | Self::MaxPool { input, .. }
            | Self::SumPool { input, .. }
            | Self::View { input, .. }
            | Self::Reorder { input, .. }
            | Self::Output { input } => *input = f(*input),
        }
        self
    }
}

/// A node and the wire that it makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// A unique name.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The result; an output's is the wire that it reads.
    pub wire: Wire,
}

/// An integer network in topological order. `Display` prints it, one line a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    name: String,
    preprocess: Preprocess,
    nodes: Vec<Node>,
    input: WireId,
    output: WireId,
}

impl Graph {
    /// A graph without nodes yet.
    pub fn builder(name: impl Into<String>, preprocess: Preprocess) -> Builder {
        Builder::new(name.into(), preprocess)
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a pixel is turned into before it is divided by the input's scale.
    pub const fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// All nodes, in topological order; [`WireId`] is the index.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node that makes a wire.
    ///
    /// # Panics
    /// Where the wire is not of this graph.
    pub fn node(&self, id: WireId) -> &Node {
        &self.nodes[id]
    }

    /// A wire.
    ///
    /// # Panics
    /// Where the wire is not of this graph.
    pub fn wire(&self, id: WireId) -> &Wire {
        &self.nodes[id].wire
    }

    /// The input node.
    pub const fn input(&self) -> WireId {
        self.input
    }

    /// The output node.
    pub const fn output(&self) -> WireId {
        self.output
    }

    /// The node of a name.
    pub fn find(&self, name: &str) -> Option<WireId> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// The nodes that read a wire, in order.
    pub fn consumers(&self, id: WireId) -> Vec<WireId> {
        (id..self.nodes.len()).filter(|&node| self.nodes[node].op.inputs().contains(&id)).collect()
    }

    /// Multiplications of all linear layers for one image.
    pub fn macs(&self) -> u64 {
        let macs = self.nodes.iter().map(|node| match &node.op {
            Op::Linear(linear) => linear.geometry.macs(),
            Op::Input { .. }
            | Op::Add { .. }
            | Op::Relu { .. }
            | Op::Requant { .. }
            | Op::Lookup(_)
            | Op::Product { .. }
            | Op::MaxPool { .. }
            | Op::SumPool { .. }
            | Op::View { .. }
            | Op::Reorder { .. }
            | Op::Concat { .. }
            | Op::Output { .. } => 0,
        });
        macs.sum()
    }
}
