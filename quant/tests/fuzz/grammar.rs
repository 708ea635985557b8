//! Random networks of operators that are imported.

use model::onnx::proto::{
    GraphProto, ModelProto, NodeProto, TensorProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use prost::Message;

/// The operator set of the graphs.
const OPSET: i64 = 20;
/// The most rows or columns of a value.
const WIDEST: usize = 16;
/// The most channels of a value.
const DEEPEST: usize = 16;

/// Numbers that look random (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a limit.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// About normal, of a spread of one.
    fn normal(&mut self) -> f32 {
        let uniform = (0..6).map(|_| (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0);
        uniform.sum::<f32>() / 2f32.sqrt()
    }

    pub(crate) fn noise(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.normal()).collect()
    }
}

/// A graph under construction.
pub(crate) struct Grammar {
    random: Random,
    graph: GraphProto,
    /// Values so far, with their shapes of an image.
    values: Vec<(String, [usize; 3])>,
}

/// A random network: the file, the shape of its input, and its operators in order.
pub(crate) fn network(seed: u64) -> (Vec<u8>, [usize; 3], String) {
    let mut random = Random::new(seed);
    let shape = [1 + random.below(3), 5 + random.below(5), 5 + random.below(5)];
    let input = vec![ValueInfoProto::batch("x", &shape)];
    let graph = GraphProto { name: "fuzz".into(), input, ..GraphProto::default() };
    let mut grammar = Grammar { random, graph, values: vec![("x".into(), shape)] };
    for _ in 0..2 + grammar.random.below(9) {
        grammar.step();
    }
    grammar.classes();
    let operators: Vec<&str> = grammar.graph.node.iter().map(|node| &node.op_type[..]).collect();
    let operators = operators.join(" ");
    let tensor_type = Some(TensorTypeProto { elem_type: 1, shape: None });
    let r#type = Some(TypeProto { tensor_type });
    grammar.graph.output = vec![ValueInfoProto { name: "y".into(), r#type }];
    (ModelProto::new(OPSET, grammar.graph).encode_to_vec(), shape, operators)
}

impl Grammar {
    fn step(&mut self) {
        match self.random.below(20) {
            0..=3 => self.convolution(),
            4 => self.normalization(),
            5..=8 => self.activation(),
            9 | 10 => self.pool(),
            11 | 12 => self.of_two(),
            13 => self.concatenation(),
            14 => self.with_constant(),
            15 => self.slice_or_pad(),
            16 => self.gather(),
            17 => self.turned(),
            18 => self.split(),
            _ => self.transposed_convolution(),
        }
    }

    /// A value, mostly the last.
    fn value(&mut self) -> (String, [usize; 3]) {
        let last = self.values.len() - 1;
        let at = if self.random.below(4) == 0 { self.random.below(last + 1) } else { last };
        self.values[at].clone()
    }

    fn name(&self) -> String {
        format!("v{}", self.graph.node.len())
    }

    fn floats(&mut self, dims: &[usize], spread: f32, middle: f32) -> String {
        let name = format!("c{}", self.graph.initializer.len());
        let data = self.random.noise(dims.iter().product());
        let data: Vec<f32> = data.iter().map(|x| x * spread + middle).collect();
        let dims: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
        self.graph.initializer.push(TensorProto::floats(&name, &dims, &data));
        name
    }

    fn ints(&mut self, data: &[i64]) -> String {
        let name = format!("c{}", self.graph.initializer.len());
        self.graph.initializer.push(TensorProto::ints(&name, &[data.len() as i64], data));
        name
    }

    fn push(&mut self, node: NodeProto, shape: [usize; 3]) -> String {
        let name = node.output[0].clone();
        self.graph.node.push(node);
        self.values.push((name.clone(), shape));
        name
    }

    fn node(&self, op: &str, inputs: &[&str]) -> NodeProto {
        let name = self.name();
        NodeProto::new(op, &name, inputs, &[&name])
    }

    fn convolution(&mut self) {
        let (from, [c, h, w]) = self.value();
        let groups = self.random.of(&[1, 1, c]);
        let kernel = self.random.of(&[1, 3, 3, 5]).min(h).min(w);
        let [stride, dilation] = [self.random.of(&[1, 1, 2]), self.random.of(&[1, 1, 1, 2])];
        let pad = self.random.below(kernel);
        let reach = (kernel - 1) * dilation + 1;
        let (rows, columns) = (h + 2 * pad, w + 2 * pad);
        if rows < reach || columns < reach {
            return;
        }
        let outputs = groups * (1 + self.random.below(DEEPEST / groups).min(7));
        let fan_in = (c / groups * kernel * kernel) as f32;
        let kernels = self.floats(&[outputs, c / groups, kernel, kernel], fan_in.powf(-0.5), 0.0);
        let bias = self.floats(&[outputs], 0.2, 0.0);
        let node = self.node("Conv", &[&from, &kernels, &bias]);
        let node = node.int("group", groups as i64).ints("strides", &[stride as i64; 2]);
        let node = node.ints("pads", &[pad as i64; 4]).ints("dilations", &[dilation as i64; 2]);
        let shape = [outputs, (rows - reach) / stride + 1, (columns - reach) / stride + 1];
        self.push(node, shape);
    }

    fn transposed_convolution(&mut self) {
        let (from, [c, h, w]) = self.value();
        if 2 * h.max(w) > WIDEST {
            return;
        }
        let (outputs, kernel) = (1 + self.random.below(6), 2 + self.random.below(2));
        let fan_in = (c * kernel * kernel) as f32 / 4.0;
        let kernels = self.floats(&[c, outputs, kernel, kernel], fan_in.powf(-0.5), 0.0);
        let pad = kernel - 2;
        let node = self.node("ConvTranspose", &[&from, &kernels]).ints("strides", &[2, 2]);
        let node = node.ints("pads", &[0, 0, pad as i64, pad as i64]);
        self.push(node, [outputs, 2 * h, 2 * w]);
    }

    fn normalization(&mut self) {
        let (from, shape) = self.value();
        let [scale, shift, mean] = [(0.3, 1.0), (0.3, 0.0), (0.3, 0.0)]
            .map(|(spread, middle)| self.floats(&shape[..1], spread, middle));
        let variance = self.floats(&shape[..1], 0.05, 1.0);
        let inputs = [from.as_str(), &scale, &shift, &mean, &variance];
        self.push(self.node("BatchNormalization", &inputs), shape);
    }

    fn activation(&mut self) {
        let (from, shape) = self.value();
        let op = self.random.of(&[
            "Relu",
            "Relu",
            "Relu",
            "Clip",
            "Clip",
            "LeakyRelu",
            "Sigmoid",
            "Tanh",
            "HardSwish",
            "HardSigmoid",
            "Elu",
            "Softplus",
            "Gelu",
            "PRelu",
            "Neg",
        ]);
        let node = match op {
            "Clip" => {
                let high = self.random.of(&[0.7, 1.0, 3.0, 6.0]);
                let low = self.random.of(&[0.0, 0.0, -0.5]);
                let [low, high] = [low, high].map(|bound| self.floats(&[], 0.0, bound));
                self.node(op, &[&from, &low, &high])
            }
            "PRelu" => {
                let slopes = self.floats(&[shape[0], 1, 1], 0.1, 0.2);
                self.node(op, &[&from, &slopes])
            }
            _ => self.node(op, &[&from]),
        };
        self.push(node, shape);
    }

    fn pool(&mut self) {
        let (from, [c, h, w]) = self.value();
        let op = self.random.of(&["MaxPool", "AveragePool", "AveragePool"]);
        let kernel = self.random.of(&[2, 2, 3]);
        let [stride, pad] = [1 + self.random.below(2), self.random.below(2)];
        if h.min(w) < kernel {
            return;
        }
        let mut node = self.node(op, &[&from]).ints("kernel_shape", &[kernel as i64; 2]);
        node = node.ints("strides", &[stride as i64; 2]).ints("pads", &[pad as i64; 4]);
        if op == "AveragePool" {
            node = node.int("count_include_pad", self.random.below(2) as i64);
        }
        let length = |n: usize| (n + 2 * pad - kernel) / stride + 1;
        self.push(node, [c, length(h), length(w)]);
    }

    /// Two values of one shape, if there are, else one and a layer of it.
    fn of_two(&mut self) {
        let (first, shape) = self.value();
        let others = self.values.iter().filter(|(name, other)| *other == shape && *name != first);
        let others: Vec<String> = others.map(|(name, _)| name.clone()).collect();
        let second = match others.len() {
            0 => {
                let spread = (shape[0] as f32).powf(-0.5);
                let kernels = self.floats(&[shape[0], shape[0], 1, 1], spread, 0.0);
                self.push(self.node("Conv", &[&first, &kernels]), shape)
            }
            count => others[self.random.below(count)].clone(),
        };
        let op = self.random.of(&["Add", "Add", "Add", "Sub", "Sum", "Mean"]);
        self.push(self.node(op, &[&first, &second]), shape);
    }

    fn concatenation(&mut self) {
        let (first, shape) = self.value();
        let axis = self.random.below(3);
        let fits = |other: &[usize; 3]| (0..3).all(|at| at == axis || other[at] == shape[at]);
        let others = self.values.iter().filter(|(_, other)| fits(other)).cloned();
        let others: Vec<_> = others.collect();
        let (second, other) = others[self.random.below(others.len())].clone();
        let mut joined = shape;
        joined[axis] += other[axis];
        if joined[0] <= DEEPEST && joined[1].max(joined[2]) <= WIDEST {
            let node = self.node("Concat", &[&first, &second]).int("axis", axis as i64 + 1);
            self.push(node, joined);
        }
    }

    fn with_constant(&mut self) {
        let (from, shape) = self.value();
        let op = self.random.of(&["Add", "Sub", "Mul", "Div"]);
        let dims = self.random.of(&[[1, 1, 1], [shape[0], 1, 1], [1, 1, shape[2]]]);
        let spread = if op == "Div" { 0.1 } else { 0.4 };
        let constant = self.floats(&dims, spread, 1.0);
        self.push(self.node(op, &[&from, &constant]), shape);
    }

    fn slice_or_pad(&mut self) {
        let (from, mut shape) = self.value();
        let axis = self.random.below(3);
        if self.random.below(2) == 0 && shape[axis] > 2 {
            let (start, step) = (self.random.below(2), 1 + self.random.below(2));
            let parts = [start, shape[axis], axis + 1, step].map(|part| self.ints(&[part as i64]));
            let [start_at, end, axes, steps] = &parts;
            let node = self.node("Slice", &[&from, start_at, end, axes, steps]);
            shape[axis] = (shape[axis] - start).div_ceil(step);
            self.push(node, shape);
        } else if shape[1].max(shape[2]) + 2 <= WIDEST && shape[0] + 2 <= DEEPEST {
            let mut pads = [0; 8];
            (pads[axis + 1], pads[axis + 5]) =
                (self.random.below(2) as i64, self.random.below(2) as i64);
            shape[axis] += (pads[axis + 1] + pads[axis + 5]) as usize;
            let pads = self.ints(&pads);
            self.push(self.node("Pad", &[&from, &pads]), shape);
        }
    }

    fn gather(&mut self) {
        let (from, mut shape) = self.value();
        let axis = self.random.below(3);
        let count = 1 + self.random.below(shape[axis].min(6));
        let places: Vec<i64> = (0..count).map(|_| self.random.below(shape[axis]) as i64).collect();
        let indices = self.ints(&places);
        let node = self.node("Gather", &[&from, &indices]).int("axis", axis as i64 + 1);
        shape[axis] = count;
        self.push(node, shape);
    }

    /// Axes in another order, or channels shuffled.
    fn turned(&mut self) {
        let (from, [c, h, w]) = self.value();
        if c % 2 == 0 && self.random.below(2) == 0 {
            let [apart, whole] = [&[0, 2, c / 2, h, w][..], &[0, c, h, w]]
                .map(|dims| dims.iter().map(|&d| d as i64).collect::<Vec<_>>());
            let [apart, whole] = [self.ints(&apart), self.ints(&whole)];
            let names = ["apart", "turned"].map(|part| format!("{part}{}", self.name()));
            let [split, turned] = &names;
            let nodes = [
                NodeProto::new("Reshape", split, &[&from, &apart], &[split]),
                NodeProto::new("Transpose", turned, &[split], &[turned])
                    .ints("perm", &[0, 2, 1, 3, 4]),
            ];
            self.graph.node.extend(nodes);
            self.push(self.node("Reshape", &[turned, &whole]), [c, h, w]);
            return;
        }
        let order = self.random.of(&[[0, 2, 1], [1, 0, 2], [2, 0, 1]]);
        let shape = order.map(|axis| [c, h, w][axis]);
        if shape[0] <= DEEPEST {
            let perm = [0, order[0] as i64 + 1, order[1] as i64 + 1, order[2] as i64 + 1];
            self.push(self.node("Transpose", &[&from]).ints("perm", &perm), shape);
        }
    }

    fn split(&mut self) {
        let (from, [c, h, w]) = self.value();
        if c < 2 {
            return;
        }
        let first = 1 + self.random.below(c - 1);
        let sizes = self.ints(&[first as i64, (c - first) as i64]);
        let [a, b] = ["a", "b"].map(|half| format!("{}{half}", self.name()));
        let node = NodeProto::new("Split", &self.name(), &[&from, &sizes], &[&a, &b]);
        self.graph.node.push(node.int("axis", 1));
        self.values.extend([(a, [first, h, w]), (b, [c - first, h, w])]);
    }

    /// The classes, of the last value.
    fn classes(&mut self) {
        let (mut from, [c, h, w]) = self.values[self.values.len() - 1].clone();
        let mut features = c * h * w;
        if self.random.below(3) == 0 {
            from = self.push(self.node("GlobalAveragePool", &[&from]), [c, 1, 1]);
            features = c;
        }
        let flat = self.push(self.node("Flatten", &[&from]), [features, 1, 1]);
        let kernels = self.floats(&[features, 5], (features as f32).powf(-0.5), 0.0);
        let bias = self.floats(&[5], 0.1, 0.0);
        self.graph.node.push(NodeProto::new("Gemm", "y", &[&flat, &kernels, &bias], &["y"]));
    }
}
