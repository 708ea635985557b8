//! Layers with weights.

use std::rc::Rc;

use super::attributes::size;
use super::constant::Constant;
use super::error::Problem;
use super::importer::{Importer, Value};
use super::inputs::Inputs;
use super::proto::NodeProto;
use crate::model::{Conv, Op};
use protocols::linear::Geometry;

impl Importer {
    pub(super) fn convolution(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Value, Problem> {
        let (input, factor) = self.operand(inputs.value(0)?);
        let line = input.layout.rank() == 2;
        let input = self.image(node, &input)?;
        let [in_channels, in_h, in_w] = self.shape(&input);
        let weight = Rc::clone(inputs.constant(1)?);
        let (out_channels, [kernel_h, kernel_w]) = kernel(node, &weight, line)?;
        let [stride_h, stride_w] = node.extents("strides", [1, 1], line)?;
        let [dilation_h, dilation_w] = node.extents("dilations", [1, 1], line)?;
        let reach = [reach(kernel_h, dilation_h), reach(kernel_w, dilation_w)];
        let [pad_top, pad_left, pad_bottom, pad_right] =
            padding(node, [in_h, in_w], reach, [stride_h, stride_w], line)?;
        let geometry = Geometry {
            in_channels,
            in_h,
            in_w,
            out_channels,
            kernel_h,
            kernel_w,
            stride_h,
            stride_w,
            dilation_h,
            dilation_w,
            pad_top,
            pad_left,
            pad_bottom,
            pad_right,
            groups: size("group", node.int_or("group", 1)?)?,
        };
        self.spend(weight.len().saturating_add(out_channels))?;
        let bias = match inputs.optional(2)? {
            Some(bias) => bias.as_floats()?.to_vec(),
            None => vec![0.0; out_channels],
        };
        let mut floats = weight.as_floats()?.to_vec();
        floats.iter_mut().for_each(|w| *w *= factor.unwrap_or(1.0));
        let conv = Op::Conv(Conv { geometry, weight: floats, bias });
        let output = self.push_as(node, conv, &input, |shape| seen(shape, line))?;
        if let Some(grid) = weight.grid() {
            self.spend(weight.len())?;
            self.grids.insert(output.id, grid.clone());
        }
        Ok(output)
    }

    pub(super) fn gemm(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        if node.int_or("transA", 0)? != 0 {
            return Err(Problem::new("transA is set", "images of a batch must not mix"));
        }
        let alpha = node.float_or("alpha", 1.0)?;
        let beta = node.float_or("beta", 1.0)?;
        let transposed = node.int_or("transB", 0)? != 0;
        let bias = match inputs.optional(2)? {
            Some(c) => Some(c.as_floats()?.iter().map(|x| x * beta).collect()),
            None => None,
        };
        self.linear(node, inputs, transposed, alpha, bias)
    }

    pub(super) fn matmul(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        if inputs.is_value(1) {
            let reason = match inputs.is_value(0) {
                true => "it multiplies two values, as attention does",
                false => "its second operand is a value",
            };
            let advice = "only products of a value and constant weights are supported";
            return Err(Problem::new(reason, advice));
        }
        self.linear(node, inputs, false, 1.0, None)
    }

    /// A fully connected layer over the last axis: of a vector, a convolution whose kernel is the
    /// whole input as it is stored; else one of 1x1 over that axis.
    fn linear(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
        transposed: bool,
        scale: f32,
        bias: Option<Vec<f32>>,
    ) -> Result<Value, Problem> {
        let (input, weight) = (inputs.value(0)?, inputs.constant(1)?);
        let lengths = input.layout.lengths();
        let (outputs, length) = matrix(weight, transposed, lengths.last().copied())?;
        self.spend(weight.len().saturating_add(outputs))?;
        let (input, factor) = self.operand(input);
        let scale = scale * factor.unwrap_or(1.0);
        let vector = lengths.len() == 1;
        let input = if vector { input } else { self.last_axis_first(node, &input)? };
        let [c, h, w] = self.shape(&input);
        // By place in what is stored, which element of the last axis it is: a transposed image that
        // is flattened needs its weights in another order, and no element moved.
        let order = match vector {
            true => inverse(&input.layout.places()),
            false => (0..length).collect(),
        };
        // Where weight `(m, k)` is in the file: rows of outputs if transposed, else rows of inputs.
        // The integers of quantized weights are put in the same order.
        let [row, column] = if transposed { [length, 1] } else { [1, outputs] };
        let places: Vec<usize> =
            (0..outputs).flat_map(|m| order.iter().map(move |&k| m * row + k * column)).collect();
        let source = weight.as_floats()?;
        let rows = places.iter().map(|&at| source[at] * scale).collect();
        let bias = match bias {
            None => vec![0.0; outputs],
            Some(bias) if bias.len() == 1 => vec![bias[0]; outputs],
            Some(bias) => bias,
        };
        let geometry = match vector {
            true => Geometry { out_channels: outputs, ..whole(c, h, w) },
            false => Geometry { out_channels: outputs, in_h: h, in_w: w, ..whole(c, 1, 1) },
        };
        let conv = Op::Conv(Conv { geometry, weight: rows, bias });
        let output = self.push_as(node, conv, &input, |_| {
            let mut seen = vec![outputs];
            seen.extend(&lengths[..lengths.len() - 1]);
            seen
        })?;
        if let Some(grid) = weight.grid() {
            self.spend(weight.len())?;
            self.grids.insert(output.id, grid.pick(&places));
        }
        // The axis of outputs goes last again.
        let mut back: Vec<usize> = (1..lengths.len()).collect();
        back.push(0);
        Ok(Value { layout: Rc::new(output.layout.transposed(&back)), ..output })
    }

    /// The value stored with its last axis as channels.
    fn last_axis_first(&mut self, node: &NodeProto, input: &Value) -> Result<Value, Problem> {
        let lengths = input.layout.lengths();
        let (last, rest) = lengths.split_last().unwrap_or((&1, &[]));
        let mut order = vec![rest.len()];
        order.extend(0..rest.len());
        let shape = match rest {
            [h, w] => [*last, *h, *w],
            _ => [*last, 1, rest.iter().product()],
        };
        self.arranged(node, input, &order, shape)
    }

    pub(super) fn batch_norm(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Value, Problem> {
        if node.int_or("training_mode", 0)? != 0 {
            return Err(Problem::new(
                "it is in training mode",
                "export the network after model.eval()",
            ));
        }
        let epsilon = f64::from(node.float_or("epsilon", 1e-5)?);
        let parts =
            [inputs.constant(1)?, inputs.constant(2)?, inputs.constant(3)?, inputs.constant(4)?];
        let [gamma, beta, mean, variance] = parts.map(|part| part.as_floats());
        let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
        let channels = gamma.len();
        if [beta, mean, variance].iter().any(|part| part.len() != channels) {
            return Err(Problem::malformed("its parameters have different lengths"));
        }
        let mut scale = Vec::with_capacity(channels);
        let mut shift = Vec::with_capacity(channels);
        for c in 0..channels {
            // `gamma (x - mean) / sqrt(variance + epsilon) + beta` as `factor x + shift`, in double
            // precision: small variances make large factors.
            let factor = f64::from(gamma[c]) / (f64::from(variance[c]) + epsilon).sqrt();
            scale.push(factor as f32);
            shift.push((f64::from(beta[c]) - f64::from(mean[c]) * factor) as f32);
        }
        let input = inputs.value(0)?;
        // Parameters are those of the first axis behind the batch.
        let mut axes = vec![1; input.layout.rank()];
        if axes.is_empty() || channels != input.layout.lengths()[0] {
            let reason = format!("it has parameters for {channels} channels");
            return Err(Problem::malformed(reason));
        }
        axes[0] = channels;
        let [scale, shift] = [scale, shift].map(|part| Constant::floats(axes.clone(), part));
        let (value, scale) = self.spread(node, &input, &scale)?;
        let (value, shift) = self.spread(node, &value, &shift)?;
        self.affine(node, &value, scale, shift)
    }

    /// `x * scale + shift` for each channel: a convolution of its own, which `simplify` folds into
    /// the one before it.
    pub(super) fn affine(
        &mut self,
        node: &NodeProto,
        input: &Value,
        scale: Vec<f32>,
        shift: Vec<f32>,
    ) -> Result<Value, Problem> {
        let [c, h, w] = self.shape(input);
        self.spend(c.saturating_mul(2))?;
        let geometry = Geometry { in_h: h, in_w: w, out_channels: c, groups: c, ..whole(c, 1, 1) };
        self.push(node, Op::Conv(Conv { geometry, weight: scale, bias: shift }), &[input])
    }
}

/// The output channels of a convolution's weights, and the rows and columns of its kernel.
fn kernel(node: &NodeProto, weight: &Constant, line: bool) -> Result<(usize, [usize; 2]), Problem> {
    let (outputs, kernel) = match weight.shape[..] {
        [outputs, _, rows, columns] if !line => (outputs, [rows, columns]),
        [outputs, _, length] if line => (outputs, [1, length]),
        _ => {
            let reason = format!("its weights have {} axes", weight.shape.len());
            return Err(Problem::new(reason, "only one and two dimensions are supported"));
        }
    };
    let said = node.extents("kernel_shape", kernel, line)?;
    if said != kernel {
        let reason = format!("kernel_shape {said:?} for weights {:?}", weight.shape);
        return Err(Problem::malformed(reason));
    }
    Ok((outputs, kernel))
}

/// The axes of an image, or of a line.
pub(super) fn seen([c, h, w]: [usize; 3], line: bool) -> Vec<usize> {
    if line { vec![c, w] } else { vec![c, h, w] }
}

/// The outputs and the inputs of a matrix of weights, for so many inputs.
fn matrix(
    weight: &Constant,
    transposed: bool,
    inputs: Option<usize>,
) -> Result<(usize, usize), Problem> {
    let (outputs, length) = match weight.shape[..] {
        [m, k] if transposed => (m, k),
        [k, m] => (m, k),
        _ => {
            let reason = format!("its weights have {} axes", weight.shape.len());
            return Err(Problem::new(reason, "only matrices are supported"));
        }
    };
    if inputs != Some(length) {
        let found = inputs.unwrap_or(0);
        let reason = format!("its weights are for {length} inputs, but there are {found}");
        return Err(Problem::malformed(reason));
    }
    Ok((outputs, length))
}

/// The index of every place of a permutation.
fn inverse(places: &[usize]) -> Vec<usize> {
    let mut indices = vec![0; places.len()];
    places.iter().enumerate().for_each(|(index, &place)| indices[place] = index);
    indices
}

/// A convolution whose kernel is its whole input, with one output.
fn whole(c: usize, h: usize, w: usize) -> Geometry {
    Geometry { in_h: h, in_w: w, kernel_h: h, kernel_w: w, ..Geometry::dense(c, 1) }
}

/// How many elements a kernel spans.
pub(super) fn reach(kernel: usize, dilation: usize) -> usize {
    kernel.saturating_sub(1).saturating_mul(dilation).saturating_add(1)
}

/// Top, left, bottom, right, whichever way the node says it.
pub(super) fn padding(
    node: &NodeProto,
    input: [usize; 2],
    reach: [usize; 2],
    stride: [usize; 2],
    line: bool,
) -> Result<[usize; 4], Problem> {
    let upper = match node.string_or("auto_pad", "NOTSET")? {
        "NOTSET" if line => {
            let [before, after] = node.sizes("pads", [0; 2])?;
            return Ok([0, before, 0, after]);
        }
        "NOTSET" => return node.sizes("pads", [0; 4]),
        "VALID" => return Ok([0; 4]),
        "SAME_UPPER" => true,
        "SAME_LOWER" => false,
        other => return Err(Problem::malformed(format!("auto_pad is {other:?}"))),
    };
    let mut pads = [0; 4];
    for axis in 0..2 {
        if stride[axis] == 0 {
            return Err(Problem::malformed("a stride is 0"));
        }
        // SAME: as many windows as strides begin in the input. 224 at a stride of 2 and a kernel of
        // 3: 112 windows span 225, so 1 is padded, behind for SAME_UPPER.
        let windows = input[axis].div_ceil(stride[axis]);
        let total =
            ((windows - 1) * stride[axis]).saturating_add(reach[axis]).saturating_sub(input[axis]);
        let (less, more) = (total / 2, total - total / 2);
        (pads[axis], pads[axis + 2]) = if upper { (less, more) } else { (more, less) };
    }
    Ok(pads)
}
