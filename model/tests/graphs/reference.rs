//! ONNX by the letter: each operator as its page of the specification defines it, one element at a
//! time, in f64.

use std::collections::HashMap;

use model::onnx::proto::{GraphProto, NodeProto, TensorProto};

#[derive(Clone, Debug)]
pub(crate) struct Array {
    pub(crate) dims: Vec<usize>,
    pub(crate) data: Vec<f64>,
}

impl Array {
    fn fill(dims: Vec<usize>, element: impl Fn(&[usize]) -> f64) -> Self {
        let mut data = Vec::new();
        for mut flat in 0..dims.iter().product() {
            let mut index = vec![0; dims.len()];
            for (i, d) in dims.iter().enumerate().rev() {
                index[i] = flat % d;
                flat /= d;
            }
            data.push(element(&index));
        }
        Self { dims, data }
    }

    /// The element, zero outside.
    fn at(&self, index: &[isize]) -> Option<f64> {
        let mut flat = 0;
        for (&i, &d) in index.iter().zip(&self.dims) {
            flat = flat * d + usize::try_from(i).ok().filter(|&i| i < d)?;
        }
        Some(self.data[flat])
    }

    /// The element of this array broadcast to more or longer axes.
    fn broadcast(&self, index: &[usize]) -> f64 {
        let aligned = &index[index.len() - self.dims.len()..];
        let index: Vec<isize> = aligned
            .iter()
            .zip(&self.dims)
            .map(|(&i, &d)| if d == 1 { 0 } else { i as isize })
            .collect();
        self.at(&index).unwrap()
    }

    fn constant(tensor: &TensorProto) -> Self {
        let raw = &tensor.raw_data;
        let data = match tensor.data_type {
            1 => raw.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect(),
            7 => raw.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b) as f64).collect(),
            other => panic!("type {other}"),
        };
        Self { dims: tensor.dims.iter().map(|&d| d as usize).collect(), data }
    }
}

/// The output of a graph.
pub(crate) fn run(graph: &GraphProto, input: Array) -> Array {
    let mut values: HashMap<&str, Array> =
        graph.initializer.iter().map(|t| (t.name.as_str(), Array::constant(t))).collect();
    values.insert(&graph.input[0].name, input);
    for node in &graph.node {
        let inputs: Vec<&Array> =
            node.input.iter().filter_map(|name| values.get(name.as_str())).collect();
        let output = operator(node, &inputs);
        values.insert(&node.output[0], output);
    }
    values.remove(graph.output[0].name.as_str()).unwrap()
}

fn ints(node: &NodeProto, name: &str, default: &[i64]) -> Vec<isize> {
    let found = node.attribute.iter().find(|a| a.name == name);
    found.map_or(default, |a| &a.ints).iter().map(|&i| i as isize).collect()
}

fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    node.attribute.iter().find(|a| a.name == name).and_then(|a| a.i).unwrap_or(default)
}

fn float(node: &NodeProto, name: &str, default: f32) -> f64 {
    node.attribute.iter().find(|a| a.name == name).and_then(|a| a.f).unwrap_or(default).into()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / 2f64.sqrt()))
}

fn gelu_tanh(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
}

/// The error function, by Simpson's rule.
fn erf(x: f64) -> f64 {
    let (steps, density) = (1000, |t: f64| (-t * t).exp());
    let h = x / f64::from(steps);
    let weight = |i: i32| if i == 0 || i == steps { 1.0 } else { f64::from(2 + 2 * (i % 2)) };
    let sum: f64 = (0..=steps).map(|i| weight(i) * density(f64::from(i) * h)).sum();
    sum * h / 3.0 * 2.0 / std::f64::consts::PI.sqrt()
}

fn operator(node: &NodeProto, inputs: &[&Array]) -> Array {
    let x = inputs[0];
    match node.op_type.as_str() {
        "Identity" | "Dropout" => x.clone(),
        "Add" | "Sub" | "Mul" | "Div" | "Pow" => arithmetic(&node.op_type, x, inputs[1]),
        "BatchNormalization" => batch_norm(node, inputs),
        "Conv" => conv(node, inputs),
        "Gemm" | "MatMul" => gemm(node, inputs),
        "Flatten" => {
            Array { dims: vec![x.dims[0], x.dims[1..].iter().product()], data: x.data.clone() }
        }
        "MaxPool" | "AveragePool" => pool(node, x),
        "GlobalAveragePool" => mean(x, true),
        "ReduceMean" => mean(x, int(node, "keepdims", 1) != 0),
        "Pad" => pad(x, &inputs[1].data),
        "Slice" => slice(x, inputs),
        _ => {
            let function = function(node, inputs);
            Array { dims: x.dims.clone(), data: x.data.iter().map(|&x| function(x)).collect() }
        }
    }
}

/// What is computed of each element by itself.
fn function(node: &NodeProto, inputs: &[&Array]) -> Box<dyn Fn(f64) -> f64> {
    let parameter = |name, default| float(node, name, default);
    match node.op_type.as_str() {
        "Relu" => Box::new(|x| x.max(0.0)),
        "Sigmoid" => Box::new(sigmoid),
        "Tanh" => Box::new(f64::tanh),
        "Cast" if matches!(int(node, "to", 1), 6 | 7) => Box::new(f64::trunc),
        "Cast" => Box::new(|x| x),
        "Softplus" => Box::new(|x| (1.0 + x.exp()).ln()),
        "Erf" => Box::new(erf),
        "HardSigmoid" => {
            let (alpha, beta) = (parameter("alpha", 0.2), parameter("beta", 0.5));
            Box::new(move |x| (alpha * x + beta).clamp(0.0, 1.0))
        }
        "HardSwish" => Box::new(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        "LeakyRelu" => {
            let alpha = parameter("alpha", 0.01);
            Box::new(move |x| if x < 0.0 { alpha * x } else { x })
        }
        "Elu" => {
            let alpha = parameter("alpha", 1.0);
            Box::new(move |x| if x < 0.0 { alpha * (x.exp() - 1.0) } else { x })
        }
        "Gelu" if node.attribute.is_empty() => Box::new(gelu),
        "Gelu" => Box::new(gelu_tanh),
        "Clip" => {
            let bound = |i: usize, name, default| {
                inputs.get(i).map_or_else(|| parameter(name, default), |array| array.data[0])
            };
            let (min, max) = (bound(1, "min", f32::MIN), bound(2, "max", f32::MAX));
            Box::new(move |x| x.max(min).min(max))
        }
        other => panic!("no reference for {other}"),
    }
}

/// What is computed of two arrays, broadcast to the axes of the one that has more.
fn arithmetic(op: &str, a: &Array, b: &Array) -> Array {
    let dims = if b.dims.len() > a.dims.len() { &b.dims } else { &a.dims };
    Array::fill(dims.clone(), |i| {
        let (a, b) = (a.broadcast(i), b.broadcast(i));
        match op {
            "Add" => a + b,
            "Sub" => a - b,
            "Mul" => a * b,
            "Div" => a / b,
            _ => a.powf(b),
        }
    })
}

fn batch_norm(node: &NodeProto, inputs: &[&Array]) -> Array {
    Array::fill(inputs[0].dims.clone(), |i| {
        let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|p| inputs[p].data[i[1]]);
        let deviation = (variance + float(node, "epsilon", 1e-5)).sqrt();
        (inputs[0].broadcast(i) - mean) / deviation * gamma + beta
    })
}

/// Zeros around an array: the numbers before all axes, then those behind.
fn pad(x: &Array, pads: &[f64]) -> Array {
    let rank = x.dims.len();
    let dims = (0..rank).map(|i| (x.dims[i] as f64 + pads[i] + pads[i + rank]) as usize).collect();
    Array::fill(dims, |i| {
        let source: Vec<isize> = (0..rank).map(|a| i[a] as isize - pads[a] as isize).collect();
        x.at(&source).unwrap_or(0.0)
    })
}

/// The padding of a layer, by `pads` or `auto_pad`.
fn pads(node: &NodeProto, x: &Array, reach: [isize; 2], stride: &[isize]) -> Vec<isize> {
    let auto = node.attribute.iter().find(|a| a.name == "auto_pad").and_then(|a| a.s.clone());
    let auto = String::from_utf8(auto.unwrap_or_default()).unwrap();
    if !auto.starts_with("SAME") {
        return ints(node, "pads", &[0; 4]);
    }
    let mut pads = vec![0; 4];
    for axis in 0..2 {
        let input = x.dims[axis + 2] as isize;
        let output = (input + stride[axis] - 1) / stride[axis];
        let total = ((output - 1) * stride[axis] + reach[axis] - input).max(0);
        pads[axis] = if auto == "SAME_UPPER" { total / 2 } else { (total + 1) / 2 };
        pads[axis + 2] = total - pads[axis];
    }
    pads
}

fn conv(node: &NodeProto, inputs: &[&Array]) -> Array {
    let (x, w) = (inputs[0], inputs[1]);
    let stride = ints(node, "strides", &[1, 1]);
    let dilation = ints(node, "dilations", &[1, 1]);
    let groups = int(node, "group", 1) as usize;
    let reach = [0, 1].map(|a| (w.dims[a + 2] as isize - 1) * dilation[a] + 1);
    let pads = pads(node, x, reach, &stride);
    let out =
        |a: usize| (x.dims[a + 2] as isize + pads[a] + pads[a + 2] - reach[a]) / stride[a] + 1;
    Array::fill(vec![x.dims[0], w.dims[0], out(0) as usize, out(1) as usize], |i| {
        let group = i[1] / (w.dims[0] / groups);
        let taps = Array::fill(w.dims[1..].to_vec(), |t| {
            let row = i[2] as isize * stride[0] + t[1] as isize * dilation[0] - pads[0];
            let column = i[3] as isize * stride[1] + t[2] as isize * dilation[1] - pads[1];
            let channel = group * w.dims[1] + t[0];
            let pixel = x.at(&[i[0] as isize, channel as isize, row, column]).unwrap_or(0.0);
            pixel * w.broadcast(&[i[1], t[0], t[1], t[2]])
        });
        taps.data.iter().sum::<f64>() + inputs.get(2).map_or(0.0, |bias| bias.data[i[1]])
    })
}

fn gemm(node: &NodeProto, inputs: &[&Array]) -> Array {
    let (x, w) = (inputs[0], inputs[1]);
    let transposed = int(node, "transB", 0) != 0;
    let outputs = w.dims[usize::from(!transposed)];
    Array::fill(vec![x.dims[0], outputs], |i| {
        let products = (0..x.dims[1]).map(|k| {
            let weight = if transposed { w.broadcast(&[i[1], k]) } else { w.broadcast(&[k, i[1]]) };
            x.broadcast(&[i[0], k]) * weight
        });
        let bias = inputs.get(2).map_or(0.0, |bias| bias.broadcast(i));
        products.sum::<f64>() * float(node, "alpha", 1.0) + bias * float(node, "beta", 1.0)
    })
}

fn pool(node: &NodeProto, x: &Array) -> Array {
    let kernel = ints(node, "kernel_shape", &[]);
    let stride = ints(node, "strides", &[1, 1]);
    let apart = ints(node, "dilations", &[1, 1]);
    let span = [0, 1].map(|a| (kernel[a] - 1) * apart[a] + 1);
    let pads = pads(node, x, span, &stride);
    let ceil = int(node, "ceil_mode", 0) != 0;
    let out = |a: usize| {
        let input = x.dims[a + 2] as isize;
        let room = input + pads[a] + pads[a + 2] - span[a];
        let steps = if ceil { (room + stride[a] - 1) / stride[a] } else { room / stride[a] };
        // A window may not start in the padding at the end.
        let out = steps + 1;
        if ceil && (out - 1) * stride[a] >= input + pads[a] { out - 1 } else { out }
    };
    Array::fill(vec![x.dims[0], x.dims[1], out(0) as usize, out(1) as usize], |i| {
        let mut inside = Vec::new();
        for t in 0..kernel[0] * kernel[1] {
            let row = i[2] as isize * stride[0] + t / kernel[1] * apart[0] - pads[0];
            let column = i[3] as isize * stride[1] + t % kernel[1] * apart[1] - pads[1];
            inside.extend(x.at(&[i[0] as isize, i[1] as isize, row, column]));
        }
        if node.op_type == "MaxPool" {
            inside.into_iter().fold(f64::NEG_INFINITY, f64::max)
        } else {
            inside.iter().sum::<f64>() / (kernel[0] * kernel[1]) as f64
        }
    })
}

fn mean(x: &Array, keep: bool) -> Array {
    let plane = x.dims[2] * x.dims[3];
    let means = x.data.chunks(plane).map(|p| p.iter().sum::<f64>() / plane as f64).collect();
    let mut dims = vec![x.dims[0], x.dims[1]];
    dims.extend(if keep { vec![1, 1] } else { vec![] });
    Array { dims, data: means }
}

fn slice(x: &Array, inputs: &[&Array]) -> Array {
    let mut chosen: Vec<Vec<isize>> = x.dims.iter().map(|&d| (0..d as isize).collect()).collect();
    for (i, &axis) in inputs[3].data.iter().enumerate() {
        let axis = if axis < 0.0 { axis + x.dims.len() as f64 } else { axis } as usize;
        let length = x.dims[axis] as f64;
        let [start, end] = [1, 2].map(|p| {
            let bound: f64 = inputs[p].data[i];
            (if bound < 0.0 { bound + length } else { bound }).clamp(0.0, length) as isize
        });
        let step = inputs.get(4).map_or(1, |steps| steps.data[i] as usize);
        chosen[axis] = (start..end).step_by(step).collect();
    }
    let dims = chosen.iter().map(Vec::len).collect();
    Array::fill(dims, |i| {
        let source: Vec<isize> = i.iter().zip(&chosen).map(|(&i, chosen)| chosen[i]).collect();
        x.at(&source).unwrap()
    })
}
