//! The float network, normalized: what quantization reads.

mod check;
mod function;

pub use check::ModelError;
pub(crate) use check::{MAX_AXIS, check_shape};
pub use function::Function;
pub use protocols::steps::{Axis, Mask, Order, View, Window};

use serde::{Deserialize, Serialize};

use protocols::linear::Geometry;

use crate::data::Interface;

/// A tensor that flows through a [`Model`]: 0 is the input, `i + 1` is the output of node `i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ValueId(pub usize);

impl ValueId {
    /// The network's input.
    pub const INPUT: Self = Self(0);

    /// The index of the node that computes this value, `None` for the input.
    #[must_use]
    pub fn producer(self) -> Option<usize> {
        self.0.checked_sub(1)
    }
}

/// A float network for one image; the batch axis is implied.
///
/// Shapes are `[C, H, W]`; a flat vector of length C is `[C, 1, 1]`. Flattening is no operation: a
/// fully connected layer that follows it is a convolution whose kernel covers the whole `[C, H,
/// W]`, and an output that was flattened keeps its shape, with its elements in the order C, H, W.
///
/// Invariants, held by the importer and verified by [`Model::check`]:
/// - node `i` computes `ValueId(i + 1)` from values below it: nodes are in topological order;
/// - every shape is what the operation makes of its inputs' shapes, and no axis is empty;
/// - weights and biases have the lengths that their geometry says, and are finite;
/// - the padding of a pooling is less than its kernel;
/// - what a concatenation joins is neither the input nor a ReLU that is cut off, whose scales are
///   given, nor one of some elements, which are rounded in their own way: a view of it stands in,
///   which has a scale of its own;
/// - batch normalization is folded, and every value but the output has a consumer.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The network's name, as the file gives it.
    pub name: String,
    /// The shape of the input, `[C, H, W]`.
    pub input: [usize; 3],
    /// The operations, in topological order.
    pub nodes: Vec<Node>,
    /// The logits.
    pub output: ValueId,
}

/// One operation of a [`Model`].
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The name in the imported file, or one derived from it. Unique within the model.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Its operands: two for [`Op::Add`] and [`Op::Mul`], any number for [`Op::Concat`], else one.
    pub inputs: Vec<ValueId>,
    /// Its result.
    pub output: ValueId,
    /// The shape of the result, `[C, H, W]`.
    pub shape: [usize; 3],
}

/// What a [`Node`] computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A convolution or a fully connected layer.
    Conv(Conv),
    /// `min(max(x, 0), max)`, without the upper bound if `max` is `None`.
    Relu {
        /// The upper bound: finite, above 0.
        max: Option<f32>,
    },
    /// `max(x, 0)` of the elements that the mask holds; the others stay as they are.
    PartRelu(Mask),
    /// A function of every element.
    Function(Function),
    /// The sum of two values of the same shape.
    Add,
    /// The product of a value and another: of its shape, or `[C, 1, 1]`, one for each channel.
    Mul,
    /// The largest element of each window; padding is never the largest.
    MaxPool(Window),
    /// The mean of each window, always over all of its elements: padding counts as zeros.
    AvgPool(Window),
    /// A choice of elements and of zeros.
    View(View),
    /// The same elements in another order and shape.
    Reorder(Order),
    /// The channels of values of the same rows and columns, one after the other.
    Concat,
}

/// A convolution: cross-correlation, as in every framework.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Its shape.
    pub geometry: Geometry,
    /// `[out_channels, in_channels / groups, kernel_h, kernel_w]`, row-major.
    pub weight: Vec<f32>,
    /// One per output channel.
    pub bias: Vec<f32>,
}

impl Op {
    /// The convolution or fully connected layer, if it is one.
    #[must_use]
    pub const fn conv(&self) -> Option<&Conv> {
        if let Self::Conv(conv) = self { Some(conv) } else { None }
    }

    /// The same, to change it.
    #[must_use]
    pub const fn conv_mut(&mut self) -> Option<&mut Conv> {
        if let Self::Conv(conv) = self { Some(conv) } else { None }
    }

    /// The operation's name for reports: `conv`, `fc`, `relu`, `relu-c`, `part-relu`, `add`, `mul`,
    /// `max-pool`, `avg-pool`, `view`, `reorder`, `concat` or the function's.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Conv(conv) if conv.is_fully_connected() => "fc",
            Self::Conv(_) => "conv",
            Self::Relu { max: None } => "relu",
            Self::Relu { max: Some(_) } => "relu-c",
            Self::PartRelu(_) => "part-relu",
            Self::Function(function) => function.kind(),
            Self::Add => "add",
            Self::Mul => "mul",
            Self::MaxPool(_) => "max-pool",
            Self::AvgPool(_) => "avg-pool",
            Self::View(_) => "view",
            Self::Reorder(_) => "reorder",
            Self::Concat => "concat",
        }
    }
}

impl Conv {
    /// Whether the kernel sees the whole unpadded input at once, through one group.
    #[must_use]
    pub fn is_fully_connected(&self) -> bool {
        let g = &self.geometry;
        let padding = g.pad_top + g.pad_left + g.pad_bottom + g.pad_right;
        g.kernel_h == g.in_h && g.kernel_w == g.in_w && padding == 0 && g.groups == 1
    }

    /// The number of weights, biases apart, of one output channel.
    #[must_use]
    pub fn fan_in(&self) -> usize {
        let g = &self.geometry;
        g.in_channels / g.groups.max(1) * g.kernel_h * g.kernel_w
    }
}

impl Node {
    /// Multiplications for one image; those of an average are none.
    #[must_use]
    pub fn macs(&self) -> u64 {
        match &self.op {
            Op::Conv(conv) => conv.geometry.macs(),
            Op::Relu { .. }
            | Op::PartRelu(_)
            | Op::Function(_)
            | Op::Add
            | Op::Mul
            | Op::MaxPool(_)
            | Op::AvgPool(_)
            | Op::View(_)
            | Op::Reorder(_)
            | Op::Concat => 0,
        }
    }

    /// ReLU evaluations for one image.
    #[must_use]
    pub fn relus(&self) -> u64 {
        match &self.op {
            Op::Relu { .. } => self.elements() as u64,
            Op::PartRelu(mask) => mask.count() as u64,
            Op::Conv(_)
            | Op::Function(_)
            | Op::Add
            | Op::Mul
            | Op::MaxPool(_)
            | Op::AvgPool(_)
            | Op::View(_)
            | Op::Reorder(_)
            | Op::Concat => 0,
        }
    }

    /// Weights and biases.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        match &self.op {
            Op::Conv(conv) => (conv.weight.len() + conv.bias.len()) as u64,
            Op::Relu { .. }
            | Op::PartRelu(_)
            | Op::Function(_)
            | Op::Add
            | Op::Mul
            | Op::MaxPool(_)
            | Op::AvgPool(_)
            | Op::View(_)
            | Op::Reorder(_)
            | Op::Concat => 0,
        }
    }

    /// Elements of the result for one image.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Model {
    /// The shape of a value, `[C, H, W]`.
    ///
    /// # Panics
    /// If the model has no such value.
    #[must_use]
    pub fn shape(&self, value: ValueId) -> [usize; 3] {
        match value.producer() {
            None => self.input,
            Some(node) => self.nodes[node].shape,
        }
    }

    /// The number of logits.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.shape(self.output).iter().product()
    }

    /// What images and labels for this network are held to.
    #[must_use]
    pub fn interface(&self) -> Interface {
        Interface { input: self.input, classes: self.classes() }
    }

    /// The indices of the nodes that read a value, in order; a node that reads it twice counts
    /// once.
    #[must_use]
    pub fn consumers(&self, value: ValueId) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&i| self.nodes[i].inputs.contains(&value)).collect()
    }

    /// The indices of the convolutions and fully connected layers, in order.
    pub fn layers(&self) -> impl Iterator<Item = (usize, &Conv)> {
        self.nodes.iter().enumerate().filter_map(|(i, node)| Some((i, node.op.conv()?)))
    }

    /// Multiplications for one image.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.nodes.iter().map(Node::macs).sum()
    }

    /// ReLU evaluations for one image.
    #[must_use]
    pub fn relus(&self) -> u64 {
        self.nodes.iter().map(Node::relus).sum()
    }

    /// Weights and biases, batch normalization folded in.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.nodes.iter().map(Node::parameters).sum()
    }
}
