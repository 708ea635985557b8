//! The invariants of a [`Model`].

use std::collections::HashSet;

use super::{Conv, Model, Node, Op, ValueId, View, Window};
use protocols::linear::Geometry;
use protocols::plan::MAX_ELEMENTS;

/// No axis, kernel, stride or padding is longer: sums of a few of them never overflow.
pub(crate) const MAX_AXIS: usize = 1 << 20;

/// No weight or bias is further from zero: beyond it, sums in single precision are no longer finite
/// or tell nothing apart.
pub(crate) const MAX_PARAMETER: f32 = 1e12;

/// A [`Model`] that does not hold its invariants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {node:?}: {what}: expected {expected}, found {found}")]
pub struct ModelError {
    /// The node at fault; `input` or `output` for the network's ends.
    pub node: String,
    /// What is wrong.
    pub what: &'static str,
    /// What the invariant says.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Model {
    /// Verifies the invariants that [`Model`] documents, but for unused values.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn check(&self) -> Result<(), ModelError> {
        check_shape("input", self.input)?;
        let mut names = HashSet::new();
        for (i, node) in self.nodes.iter().enumerate() {
            require(&node.name, "output", ValueId(i + 1), node.output)?;
            require(&node.name, "name is used once", true, names.insert(&node.name))?;
            let later = node.inputs.iter().any(|input| input.0 > i);
            require(&node.name, "operands come later", false, later)?;
            let shapes: Vec<_> = node.inputs.iter().map(|&input| self.shape(input)).collect();
            node.check(&shapes)?;
            let free = !matches!(node.op, Op::Concat)
                || node.inputs.iter().all(|&input| self.has_free_scale(input));
            require(&node.name, "operands have scales that are free", true, free)?;
        }
        require("output", "is a value", true, self.output.0 <= self.nodes.len())
    }

    /// Whether nothing outside of the network gives the scale of a value's integers.
    pub(crate) fn has_free_scale(&self, value: ValueId) -> bool {
        let producer = value.producer().map(|node| &self.nodes[node].op);
        producer.is_some_and(|op| !matches!(op, Op::Relu { max: Some(_) } | Op::PartRelu(_)))
    }
}

impl Node {
    /// Verifies the node for operands of these shapes.
    fn check(&self, inputs: &[[usize; 3]]) -> Result<(), ModelError> {
        let shape = self.op.output_shape(&self.name, inputs)?;
        require(&self.name, "shape", shape, self.shape)?;
        check_shape(&self.name, shape)
    }
}

impl Op {
    /// The shape of the result for operands of these shapes.
    ///
    /// # Errors
    /// The operation does not fit its operands, or is not consistent in itself; `name` is the
    /// node's, for the message.
    pub fn output_shape(
        &self,
        name: &str,
        inputs: &[[usize; 3]],
    ) -> Result<[usize; 3], ModelError> {
        let operands = match self {
            Self::Add | Self::Mul => 2,
            // Any number, but at least one.
            Self::Concat => inputs.len().max(1),
            Self::Conv(_)
            | Self::Relu { .. }
            | Self::PartRelu(_)
            | Self::Function(_)
            | Self::MaxPool(_)
            | Self::AvgPool(_)
            | Self::View(_)
            | Self::Reorder(_) => 1,
        };
        require(name, "operands", operands, inputs.len())?;
        let input = inputs[0];
        match self {
            Self::Conv(conv) => conv.check(name, input),
            Self::Relu { max } => {
                let sane = max.is_none_or(|max| max.is_finite() && max > 0.0);
                require(name, "upper bound is finite and positive", true, sane)?;
                Ok(input)
            }
            Self::PartRelu(mask) => {
                let elements: usize = input.iter().product();
                require(name, "elements of the mask", elements, mask.len())?;
                Ok(input)
            }
            Self::Function(function) => {
                require(name, "parameters are finite", true, function.is_finite())?;
                Ok(input)
            }
            Self::Add => {
                require(name, "shape of the second operand", input, inputs[1])?;
                Ok(input)
            }
            Self::Mul => check_gate(name, input, inputs[1]),
            Self::MaxPool(window) | Self::AvgPool(window) => check_window(name, window, input),
            Self::View(view) => check_view(name, view, input),
            Self::Reorder(order) => {
                require(name, "order is of its input's axes", true, order.fits(input))?;
                Ok(order.shape)
            }
            Self::Concat => check_concat(name, inputs),
        }
    }
}

impl Conv {
    fn check(&self, name: &str, input: [usize; 3]) -> Result<[usize; 3], ModelError> {
        let g = &self.geometry;
        require(name, "input shape", [g.in_channels, g.in_h, g.in_w], input)?;
        check_geometry(name, g)?;
        let weights = self.fan_in().saturating_mul(g.out_channels);
        require(name, "number of weights", weights, self.weight.len())?;
        require(name, "number of biases", g.out_channels, self.bias.len())?;
        check_parameters(name, "weight", &self.weight)?;
        check_parameters(name, "bias", &self.bias)?;
        Ok([g.out_channels, g.out_h(), g.out_w()])
    }
}

/// Verifies that weights or biases are numbers that a network can be computed with.
fn check_parameters(name: &str, what: &'static str, values: &[f32]) -> Result<(), ModelError> {
    // NaN is not within the limit either.
    let mut sane = values.iter().map(|x| x.abs() <= MAX_PARAMETER);
    let Some(at) = sane.position(|sane| !sane) else { return Ok(()) };
    Err(ModelError {
        node: name.to_owned(),
        what,
        expected: format!("numbers within {MAX_PARAMETER:e} of zero"),
        found: format!("{:e} at position {at}", values[at]),
    })
}

fn check_geometry(name: &str, g: &Geometry) -> Result<(), ModelError> {
    g.check().map_err(|expected| ModelError {
        node: name.to_owned(),
        what: "geometry",
        expected,
        found: "another".to_owned(),
    })
}

/// Verifies that a gate is one number for each element, or for each channel.
fn check_gate(name: &str, input: [usize; 3], gate: [usize; 3]) -> Result<[usize; 3], ModelError> {
    if gate != input {
        require(name, "shape of the second operand", [input[0], 1, 1], gate)?;
    }
    Ok(input)
}

fn check_window(
    name: &str,
    window: &Window,
    [c, h, w]: [usize; 3],
) -> Result<[usize; 3], ModelError> {
    let Window { kernel, stride, pad } = window;
    check_extents(name, [*kernel, *stride].as_flattened(), pad)?;
    let [top, left, bottom, right] = *pad;
    let smaller = top.max(bottom) < kernel[0] && left.max(right) < kernel[1];
    require(name, "padding is less than the kernel", true, smaller)?;
    let [h, w] = window.out([h, w]);
    Ok([c, h, w])
}

fn check_view(name: &str, view: &View, input: [usize; 3]) -> Result<[usize; 3], ModelError> {
    for (axis, n) in view.axes.iter().zip(input) {
        check_extents(name, &[axis.stride], &[axis.start, axis.length, axis.before, axis.after])?;
        require(name, "view is inside its input", true, axis.fits(n))?;
    }
    Ok(view.out_shape())
}

fn check_concat(name: &str, inputs: &[[usize; 3]]) -> Result<[usize; 3], ModelError> {
    let [mut channels, h, w] = inputs[0];
    for &[more, rows, columns] in &inputs[1..] {
        require(name, "rows and columns of an operand", [h, w], [rows, columns])?;
        channels = channels.saturating_add(more);
    }
    Ok([channels, h, w])
}

fn check_extents(name: &str, positive: &[usize], any: &[usize]) -> Result<(), ModelError> {
    let sane =
        positive.iter().all(|n| (1..=MAX_AXIS).contains(n)) && any.iter().all(|&n| n <= MAX_AXIS);
    require(name, "kernel, strides, groups and pads are in range", true, sane)
}

pub(crate) fn check_shape(name: &str, shape: [usize; 3]) -> Result<(), ModelError> {
    let axes = shape.iter().all(|n| (1..=MAX_AXIS).contains(n));
    let elements = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
    let sane = axes && elements.is_some_and(|n| n <= MAX_ELEMENTS);
    if sane {
        return Ok(());
    }
    Err(ModelError {
        node: name.into(),
        what: "shape",
        expected: format!("1..={MAX_AXIS} along each axis and at most {MAX_ELEMENTS} elements"),
        found: format!("{shape:?}"),
    })
}

fn require<T: Copy + PartialEq + std::fmt::Debug>(
    node: &str,
    what: &'static str,
    expected: T,
    found: T,
) -> Result<(), ModelError> {
    if expected == found {
        return Ok(());
    }
    Err(ModelError {
        node: node.into(),
        what,
        expected: format!("{expected:?}"),
        found: format!("{found:?}"),
    })
}
