//! Layers with weights, and activations.

use super::attributes::size;
use super::constant::Constant;
use super::error::Problem;
use super::importer::{Importer, Inputs, Value};
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
        let [in_channels, in_h, in_w] = self.image(input)?;
        let weight = inputs.constant(1)?.clone();
        let [out_channels, _, kernel_h, kernel_w] = weight.shape[..] else {
            let reason = format!("its weights have {} axes", weight.shape.len());
            return Err(Problem::new(reason, "only two-dimensional convolutions are supported"));
        };
        let kernel = node.sizes("kernel_shape", [kernel_h, kernel_w])?;
        if kernel != [kernel_h, kernel_w] {
            return Err(Problem::malformed(format!(
                "kernel_shape {kernel:?} for weights {:?}",
                weight.shape
            )));
        }
        let [stride_h, stride_w] = node.sizes("strides", [1, 1])?;
        let [dilation_h, dilation_w] = node.sizes("dilations", [1, 1])?;
        let reach = [reach(kernel_h, dilation_h), reach(kernel_w, dilation_w)];
        let [pad_top, pad_left, pad_bottom, pad_right] =
            padding(node, [in_h, in_w], reach, [stride_h, stride_w])?;
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
        let output =
            self.push(node, Op::Conv(Conv { geometry, weight: floats, bias }), &[input])?;
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
        self.linear(node, inputs.value(0)?, inputs.constant(1)?, transposed, alpha, bias)
    }

    pub(super) fn matmul(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        self.linear(node, inputs.value(0)?, inputs.constant(1)?, false, 1.0, None)
    }

    /// A fully connected layer: a convolution whose kernel is the whole input.
    fn linear(
        &mut self,
        node: &NodeProto,
        input: Value,
        weight: &Constant,
        transposed: bool,
        scale: f32,
        bias: Option<Vec<f32>>,
    ) -> Result<Value, Problem> {
        if !input.flat {
            return Err(Problem::new("it is applied to an image", "flatten the image before it"));
        }
        let [c, h, w] = self.shape(input);
        let (outputs, inputs) = match weight.shape[..] {
            [m, k] if transposed => (m, k),
            [k, m] => (m, k),
            _ => {
                let reason = format!("its weights have {} axes", weight.shape.len());
                return Err(Problem::new(reason, "only matrices are supported"));
            }
        };
        if inputs != c * h * w {
            let reason =
                format!("its weights are for {inputs} inputs, but there are {}", c * h * w);
            return Err(Problem::malformed(reason));
        }
        self.spend(weight.len().saturating_add(outputs))?;
        let source = weight.as_floats()?;
        let (input, factor) = self.operand(input);
        let scale = scale * factor.unwrap_or(1.0);
        // Where weight `(m, k)` is in the file: rows of outputs if transposed, else rows of inputs.
        // The integers of quantized weights are put in the same order.
        let places: Vec<usize> = (0..outputs)
            .flat_map(|m| {
                (0..inputs).map(move |k| if transposed { m * inputs + k } else { k * outputs + m })
            })
            .collect();
        let rows = places.iter().map(|&at| source[at] * scale).collect();
        let bias = match bias {
            None => vec![0.0; outputs],
            Some(bias) if bias.len() == 1 => vec![bias[0]; outputs],
            Some(bias) => bias,
        };
        let geometry = Geometry { out_channels: outputs, ..whole(c, h, w) };
        let output = self.push(node, Op::Conv(Conv { geometry, weight: rows, bias }), &[input])?;
        if let Some(grid) = weight.grid() {
            self.spend(weight.len())?;
            self.grids.insert(output.id, grid.pick(&places));
        }
        Ok(output)
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
        self.affine(node, inputs.value(0)?, scale, shift)
    }

    /// `x * scale + shift` for each channel: a convolution of its own, which `simplify` folds into
    /// the one before it.
    pub(super) fn affine(
        &mut self,
        node: &NodeProto,
        input: Value,
        scale: Vec<f32>,
        shift: Vec<f32>,
    ) -> Result<Value, Problem> {
        let [c, h, w] = self.shape(input);
        if scale.len() != c {
            return Err(Problem::new(
                format!("it has parameters for {} channels, but there are {c}", scale.len()),
                "apply it to the image, before the Flatten",
            ));
        }
        self.spend(c.saturating_mul(2))?;
        let geometry = Geometry { in_h: h, in_w: w, out_channels: c, groups: c, ..whole(c, 1, 1) };
        self.push(node, Op::Conv(Conv { geometry, weight: scale, bias: shift }), &[input])
    }

    pub(super) fn relu(
        &mut self,
        node: &NodeProto,
        input: Value,
        max: Option<f32>,
    ) -> Result<Value, Problem> {
        self.push(node, Op::Relu { max }, &[input])
    }

    pub(super) fn clip(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        let (min, max) = (bound(node, inputs, 1, "min")?, bound(node, inputs, 2, "max")?);
        // Both limits of float mean that there is none.
        let max = max.filter(|&max| max < f32::MAX);
        if min == Some(0.0) {
            return self.relu(node, inputs.value(0)?, max);
        }
        let min = min.map_or("none".into(), |min| min.to_string());
        Err(Problem::new(
            format!("its lower bound is {min}"),
            "only a lower bound of 0 is supported (ReLU, ReLU6)",
        ))
    }
}

/// A bound of a Clip node: an input since operator set 11, an attribute before.
fn bound(node: &NodeProto, inputs: &Inputs, i: usize, name: &str) -> Result<Option<f32>, Problem> {
    match inputs.optional(i)? {
        Some(constant) => constant.scalar().map(Some),
        None => node.float_of(name),
    }
}

/// A convolution whose kernel is its whole input, with one output.
fn whole(c: usize, h: usize, w: usize) -> Geometry {
    Geometry {
        in_channels: c,
        in_h: h,
        in_w: w,
        out_channels: 1,
        kernel_h: h,
        kernel_w: w,
        stride_h: 1,
        stride_w: 1,
        dilation_h: 1,
        dilation_w: 1,
        pad_top: 0,
        pad_left: 0,
        pad_bottom: 0,
        pad_right: 0,
        groups: 1,
    }
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
) -> Result<[usize; 4], Problem> {
    let upper = match node.string_or("auto_pad", "NOTSET")? {
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
