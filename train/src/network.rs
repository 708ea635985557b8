//! What is differentiated: a network whose layers have shapes and no weights.

use model::{Function, Geometry, Model, Order, View, Window};

/// A network in topological order: value 0 is the input, value `i + 1` is the result of node `i`.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The shape of the input, `[C, H, W]`.
    pub input: [usize; 3],
    /// The operations.
    pub nodes: Vec<Node>,
    /// The value that the loss reads.
    pub output: usize,
}

/// One operation of a [`Network`].
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// The values that it reads, all of them below its own.
    pub inputs: Vec<usize>,
    /// The shape of its result, `[C, H, W]`.
    pub shape: [usize; 3],
}

/// What a [`Node`] computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A convolution or a fully connected layer.
    Linear(Geometry),
    /// Winograd's F(2x2, 3x3), whatever its weights in the domain are: `[16, K, C / groups]`. The
    /// geometry is that of a 3x3 convolution of stride 1.
    Winograd(Geometry),
    /// `min(max(x, 0), max)`, without the upper bound if `max` is `None`.
    Relu {
        /// The upper bound.
        max: Option<f32>,
    },
    /// `x` where it is positive, elsewhere `x` times the slope of the element.
    PRelu {
        /// The slopes to begin with, `[C, H, W]` row-major.
        slopes: Vec<f32>,
        /// Whether they have gradients: then [`crate::Trainer::set`] gives others.
        learned: bool,
    },
    /// The sum of values, each times its factor.
    Add {
        /// One for each value that is read.
        factors: Vec<f64>,
    },
    /// The product of two values: of one shape, or of a value and `[C, 1, 1]`.
    Product,
    /// A rounding, that gradients pass straight through.
    Round(Rounding),
    /// The same, to as many integers from the element's own least one on.
    RoundEach {
        /// How, and to how many integers: those from `low` to `high`.
        rounding: Rounding,
        /// The least integer of each element, `[C, H, W]` row-major.
        floors: Vec<f32>,
    },
    /// The largest element of each window.
    MaxPool(Window),
    /// The sum of each window times a factor; padding counts as zeros.
    SumPool {
        /// The windows.
        window: Window,
        /// 1 for sums, `1 / area` for averages.
        factor: f64,
    },
    /// A choice of elements and of zeros.
    View(View),
    /// The same elements in another order and shape.
    Reorder(Order),
    /// The channels of values, one after the other.
    Concat,
    /// A function of every element.
    Function(Function),
    /// A function of every element, all of them integers.
    Table(Table),
}

/// `clamp(floor(x factor + 1/2), low, high)`.
///
/// Its gradient is `factor` where `low - 1/2 <= x factor < high + 1/2`, and zero beyond. That is
/// the clamp's, with the rounding taken for the identity (the straight-through estimator: Bengio,
/// Leonard, Courville 2013).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounding {
    /// Steps of the result in one of `x`: `2^-k` where `k` bits are dropped.
    pub factor: f64,
    /// The least integer, not above zero.
    pub low: f64,
    /// The greatest integer, not below zero.
    pub high: f64,
}

/// `values[x - first]` of an integer `x`; the gradient is half the difference of its neighbors.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The integer that the table starts with.
    pub first: i64,
    /// The results, at least one.
    pub values: Vec<f64>,
}

impl Table {
    /// The result for an integer; the ends stand for what is beyond them.
    pub(crate) fn at(&self, x: f64) -> f64 {
        self.values[self.index(x, 0)]
    }

    /// The gradient at an integer.
    pub(crate) fn slope(&self, x: f64) -> f64 {
        // At the ends there is one neighbor alone, and the other is the integer itself.
        let [before, after] = [self.index(x, -1), self.index(x, 1)];
        (self.values[after] - self.values[before]) / (after - before).max(1) as f64
    }

    fn index(&self, x: f64, by: i64) -> usize {
        (x as i64 - self.first + by).clamp(0, self.values.len() as i64 - 1) as usize
    }
}

impl Network {
    /// The shape of a value, `[C, H, W]`.
    ///
    /// # Panics
    /// Where there is no such value.
    pub fn shape(&self, value: usize) -> [usize; 3] {
        if value == 0 { self.input } else { self.nodes[value - 1].shape }
    }

    /// The nodes that are layers, with their shapes.
    pub fn layers(&self) -> impl Iterator<Item = (usize, &Geometry)> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter_map(|(index, node)| Some((index, node.op.layer()?)))
    }
}

impl Op {
    /// The geometry of a layer.
    pub(crate) const fn layer(&self) -> Option<&Geometry> {
        match self {
            Self::Linear(geometry) | Self::Winograd(geometry) => Some(geometry),
            Self::Relu { .. }
            | Self::PRelu { .. }
            | Self::Add { .. }
            | Self::Product
            | Self::Round(_)
            | Self::RoundEach { .. }
            | Self::MaxPool(_)
            | Self::SumPool { .. }
            | Self::View(_)
            | Self::Reorder(_)
            | Self::Concat
            | Self::Function(_)
            | Self::Table(_) => None,
        }
    }
}

impl From<&Model> for Network {
    fn from(model: &Model) -> Self {
        let nodes = model.nodes.iter().map(|node| Node {
            op: Op::from(&node.op),
            inputs: node.inputs.iter().map(|value| value.0).collect(),
            shape: node.shape,
        });
        Self { input: model.input, nodes: nodes.collect(), output: model.output.0 }
    }
}

impl From<&model::Op> for Op {
    fn from(op: &model::Op) -> Self {
        match op {
            model::Op::Conv(conv) => Self::Linear(conv.geometry),
            model::Op::Relu { max } => Self::Relu { max: *max },
            model::Op::PartRelu(mask) => {
                let slopes = mask.iter().map(|held| if held { 0.0 } else { 1.0 });
                Self::PRelu { slopes: slopes.collect(), learned: false }
            }
            model::Op::Function(function) => Self::Function(*function),
            model::Op::Add => Self::Add { factors: vec![1.0; 2] },
            model::Op::Mul => Self::Product,
            model::Op::MaxPool(window) => Self::MaxPool(*window),
            model::Op::AvgPool(window) => {
                Self::SumPool { window: *window, factor: 1.0 / window.len() as f64 }
            }
            model::Op::View(view) => Self::View(*view),
            model::Op::Reorder(order) => Self::Reorder(*order),
            model::Op::Concat => Self::Concat,
        }
    }
}
