//! The integer network says what the float network says, for networks that are easily got wrong:
//! all in one plan, from ONNX to logits, judged by onnxruntime where there is one.

#![allow(clippy::unwrap_used)]

use model::onnx::proto::{
    GraphProto, ModelProto, NodeProto, TensorProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use model::{Preprocess, ReferenceRuntime, Tensor, float, import};
use prost::Message;
use protocols::steps::Lookup;
use quant::search::{Found, Images, SearchError, SearchOptions, Uniform, equalized, search};

/// Floats around zero that look random, of a spread of about one.
fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next() + next() + next()).collect()
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto::new(op, output, inputs, &[output])
}

fn pool(op: &str, input: &str, output: &str, [kernel, stride]: [i64; 2]) -> NodeProto {
    node(op, &[input], output).ints("kernel_shape", &[kernel; 2]).ints("strides", &[stride; 2])
}

/// A graph of `x`, whose constants are made as its nodes come.
struct Writer {
    graph: GraphProto,
    seed: u64,
}

impl Writer {
    fn new(input: [usize; 3], seed: u64) -> Self {
        let input = vec![ValueInfoProto::batch("x", &input)];
        Self { graph: GraphProto { name: "right".into(), input, ..GraphProto::default() }, seed }
    }

    fn tensor(mut self, name: &str, dims: &[i64], size: f32) -> Self {
        let len = dims.iter().product::<i64>() as usize;
        self.seed += 1;
        let values: Vec<f32> = noise(self.seed, len).iter().map(|v| v * size).collect();
        self.graph.initializer.push(TensorProto::floats(name, dims, &values));
        self
    }

    fn number(mut self, name: &str, value: f32) -> Self {
        self.graph.initializer.push(TensorProto::floats(name, &[], &[value]));
        self
    }

    fn node(mut self, node: NodeProto) -> Self {
        self.graph.node.push(node);
        self
    }

    /// A 3x3 convolution that keeps rows and columns, its biases shifted.
    fn conv(mut self, input: &str, output: &str, [from, to]: [i64; 2], bias: f32) -> Self {
        let [w, b] = ["w", "b"].map(|part| format!("{output}.{part}"));
        let size = (1.0 / (9.0 * from as f32)).sqrt();
        self = self.tensor(&w, &[to, from, 3, 3], size);
        self.seed += 1;
        let values = noise(self.seed, to as usize);
        let values: Vec<f32> = values.iter().map(|v| 0.3 * v + bias).collect();
        self.graph.initializer.push(TensorProto::floats(&b, &[to], &values));
        self.node(node("Conv", &[input, &w, &b], output).ints("pads", &[1; 4]))
    }

    /// Classes of a flattened value.
    fn classes(self, input: &str, [from, to]: [i64; 2]) -> Self {
        let size = (1.0 / from as f32).sqrt();
        let flat = self.node(node("Flatten", &[input], "flat"));
        let constants = flat.tensor("fc.w", &[to, from], size).tensor("fc.b", &[to], 0.1);
        constants.node(node("Gemm", &["flat", "fc.w", "fc.b"], "y").int("transB", 1))
    }

    fn bytes(mut self) -> Vec<u8> {
        let tensor_type = Some(TensorTypeProto { elem_type: 1, shape: None });
        let name = self.graph.node.last().unwrap().output[0].clone();
        self.graph.output = vec![ValueInfoProto { name, r#type: Some(TypeProto { tensor_type }) }];
        ModelProto::new(19, self.graph).encode_to_vec()
    }
}

/// What float images are taken as.
fn as_they_are() -> Preprocess {
    Preprocess::Normalize { mean: vec![0.0; 2], std: vec![1.0; 2] }
}

fn images(seed: u64, count: usize, shape: [usize; 3]) -> Tensor {
    let [c, h, w] = shape;
    Tensor { shape: [count, c, h, w], data: noise(seed, count * c * h * w) }
}

fn searched(
    bytes: &[u8],
    preprocess: &Preprocess,
    calibration: &Tensor,
    bits: u8,
) -> Result<Found, SearchError> {
    let options = SearchOptions {
        fixed: Some(Uniform { weight_bits: bits, activation_bits: bits }),
        ..SearchOptions::default()
    };
    let images = Images { batch: calibration, labels: None, held_back: None };
    search(&import(bytes).unwrap(), preprocess, &images, &options, &mut |_| {})
}

/// The logits of a batch by the integers of the plan.
fn integers(found: &Found, batch: &Tensor) -> Vec<f64> {
    let input = found.plan.encode(&batch.data).unwrap();
    let result = fusion::ideal(&found.plan, &found.weights, &input).unwrap();
    let answers = found.plan.decode(&result, batch.images()).into_iter();
    answers.flat_map(|answer| answer.logits.unwrap().values).collect()
}

/// The logits that they should be.
fn judged(bytes: &[u8], batch: &Tensor) -> Vec<f32> {
    let ours = float::evaluate(&import(bytes).unwrap(), batch).unwrap().data;
    let runtime = match ReferenceRuntime::find(None) {
        Ok(runtime) => runtime,
        Err(error) => {
            assert!(std::env::var_os("PQ_REQUIRE_ORT").is_none(), "{error}");
            println!("skipped: onnxruntime ({error})");
            return ours;
        }
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let found = runtime.open(file.path(), None).unwrap().run(batch).unwrap().data;
    assert!(distance(&ours, &found) < 1e-4, "the import is another network");
    found
}

/// The distance over the spread of what is expected.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    let mean = expected.iter().map(|&v| f64::from(v)).sum::<f64>() / expected.len() as f64;
    let pairs = found.iter().zip(expected);
    let squares: f64 = pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    let spread: f64 = expected.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum();
    (squares / spread.max(1e-30)).sqrt()
}

/// Calibrates on some images, and holds the logits of others to what they should be.
fn hold(what: &str, bytes: &[u8], preprocess: &Preprocess, calibration: &Tensor, most: f64) {
    let found = searched(bytes, preprocess, calibration, 8);
    let found = found.unwrap_or_else(|error| panic!("{what}: {error}"));
    let batch = images(991, 5, calibration.image_shape());
    let logits: Vec<f32> = integers(&found, &batch).iter().map(|&v| v as f32).collect();
    let error = distance(&logits, &judged(bytes, &batch));
    println!("{what}: relative error {error:.4}");
    assert!(error < most, "{what}: relative error {error:.4}, at most {most}");
}

fn held(what: &str, writer: Writer, shape: [usize; 3]) {
    hold(what, &writer.bytes(), &as_they_are(), &images(7, 24, shape), 0.06);
}

#[test]
fn averages_over_any_window_meet_any_value() {
    for window in [2, 3, 5] {
        let side = (9 - window) / 2 + 1;
        let features = 4 * side * side;
        let shape = [2, 9, 9];
        let start = || Writer::new(shape, 40 + window as u64).conv("x", "c", [2, 4], 0.0);
        let relu = || start().node(node("Relu", &["c"], "r"));
        let average =
            |writer: Writer, from: &str| writer.node(pool("AveragePool", from, "a", [window, 2]));
        let other = |writer: Writer| writer.node(pool("MaxPool", "r", "m", [window, 2]));
        let add = |writer: Writer| writer.node(node("Add", &["m", "a"], "s"));
        held(
            &format!("average {window} plus maximum"),
            add(other(average(relu(), "r"))).classes("s", [features, 5]),
            shape,
        );
        held(
            &format!("average {window} plus average of a layer"),
            average(relu().conv("r", "d", [4, 4], 0.0), "d")
                .node(pool("AveragePool", "r", "m", [window, 2]))
                .node(node("Add", &["m", "a"], "s"))
                .node(node("Relu", &["s"], "t"))
                .classes("t", [features, 5]),
            shape,
        );
        held(
            &format!("average {window} plus a layer of it, behind a ReLU"),
            average(relu(), "r")
                .conv("a", "d", [4, 4], 0.0)
                .node(node("Relu", &["a"], "e"))
                .node(node("Add", &["d", "e"], "s"))
                .classes("s", [features, 5]),
            shape,
        );
        held(
            &format!("average {window}, then a table"),
            average(start(), "c").node(node("Tanh", &["a"], "t")).classes("t", [features, 5]),
            shape,
        );
        held(
            &format!("average {window} of a maximum, then a table and a sum"),
            average(relu(), "r")
                .node(pool("MaxPool", "a", "b", [1, 1]))
                .node(node("HardSwish", &["b"], "t"))
                .node(node("Add", &["t", "a"], "s"))
                .classes("s", [features, 5]),
            shape,
        );
        held(
            &format!("logits that are averages {window} and more"),
            add(other(average(relu(), "r"))).node(node("Flatten", &["s"], "y")),
            shape,
        );
    }
}

#[test]
fn averages_of_elements_that_are_apart_are_those() {
    for (kernel, apart, side) in [(2, 3, 6), (3, 2, 5), (2, 4, 5)] {
        let shape = [2, 9, 9];
        let pool = pool("AveragePool", "r", "a", [kernel, 1]).ints("dilations", &[apart; 2]);
        let writer = Writer::new(shape, 3).conv("x", "c", [2, 4], 0.0);
        let writer = writer.node(node("Relu", &["c"], "r")).node(pool);
        held(&format!("{kernel} by {apart}"), writer.classes("a", [4 * side * side, 5]), shape);
    }
}

#[test]
fn relus_of_different_bounds_meet() {
    let shape = [2, 7, 6];
    for (first, second) in [(3.0, 1.0), (1.0, 0.7), (6.0, 2.5), (4.0, 1.0)] {
        let writer = Writer::new(shape, 11).number("lo", 0.0);
        let writer = writer.number("first", first).number("second", second);
        let clip = |bound: &str, from: &str, to: &str| node("Clip", &[from, "lo", bound], to);
        let writer = writer.conv("x", "c", [2, 4], 0.5).node(clip("first", "c", "r"));
        let writer = writer.conv("r", "d", [4, 4], 0.0).node(node("Add", &["d", "r"], "s"));
        held(
            &format!("{first} and {second}"),
            writer.node(clip("second", "s", "t")).classes("t", [168, 5]),
            shape,
        );
    }
}

#[test]
fn pixels_and_relus_that_are_cut_off_elsewhere_meet() {
    let shape = [2, 6, 6];
    let clip = node("Clip", &["c", "lo", "hi"], "r");
    let writer = Writer::new(shape, 12).number("lo", 0.0).number("hi", 0.3);
    let writer = writer.conv("x", "c", [2, 2], 0.3).node(clip).node(node("Add", &["x", "r"], "s"));
    let bytes = writer.classes("s", [72, 4]).bytes();
    let mut calibration = images(5, 24, shape);
    calibration.data.iter_mut().for_each(|v| *v = (v.abs() / 3.0).min(1.0));
    let found = searched(&bytes, &Preprocess::Unit, &calibration, 8).unwrap();
    let logits: Vec<f32> = integers(&found, &calibration).iter().map(|&v| v as f32).collect();
    let error = distance(&logits, &judged(&bytes, &calibration));
    assert!(error < 0.03, "{error}");
}

#[test]
fn branches_that_are_zero_on_the_calibration_images_do_not_hinder() {
    let shape = [2, 6, 5];
    for (what, bias, size) in [
        ("a ReLU that never fires", -40.0, 1.0),
        ("a layer of zeros", 0.0, 0.0),
        ("a layer of biases", 2.0, 0.0),
        ("weights that hardly count", 0.5, 1e-9),
        ("weights that count for nothing", 0.0, 1e-25),
    ] {
        for relu in [true, false] {
            let mut writer = Writer::new(shape, 21).conv("x", "c", [2, 4], 0.0);
            writer = writer.node(node("Relu", &["c"], "r")).tensor("w", &[4, 4, 3, 3], 0.1 * size);
            writer.graph.initializer.push(TensorProto::floats("b", &[4], &[bias; 4]));
            let layer = node("Conv", &["r", "w", "b"], "d").ints("pads", &[1; 4]);
            writer = writer.node(layer);
            if relu {
                writer = writer.node(node("Relu", &["d"], "e"));
            }
            let sum = node("Add", &["r", if relu { "e" } else { "d" }], "s");
            held(what, writer.node(sum).classes("s", [120, 5]), shape);
        }
    }
}

#[test]
fn logits_of_many_pixels_are_those_of_each_image() {
    for (side, more) in [(4, 1), (5, 3)] {
        let shape = [2, side, side + more];
        let writer = Writer::new(shape, side as u64).conv("x", "c", [2, 3], 0.0);
        held("logits", writer.node(node("Flatten", &["c"], "y")), shape);
    }
}

#[test]
fn few_calibration_images_or_equal_ones_leave_the_network_what_it_is() {
    let shape = [2, 6, 6];
    let convolutions = Writer::new(shape, 31).conv("x", "c", [2, 4], 0.0);
    let convolutions = convolutions.node(node("Relu", &["c"], "r")).classes("r", [144, 5]).bytes();
    let dense = Writer::new(shape, 32)
        .node(node("Flatten", &["x"], "f"))
        .tensor("w", &[72, 40], 0.1)
        .node(node("MatMul", &["f", "w"], "h"))
        .node(node("Relu", &["h"], "r"))
        .tensor("v", &[40, 5], 0.2)
        .node(node("MatMul", &["r", "v"], "y"))
        .bytes();
    for bytes in [&convolutions, &dense] {
        for count in [1, 2] {
            hold("few", bytes, &as_they_are(), &images(3, count, shape), 0.12);
        }
        let one = images(3, 1, shape);
        let same = Tensor { shape: [16, 2, 6, 6], data: one.data.repeat(16) };
        hold("equal", bytes, &as_they_are(), &same, 0.12);
    }
}

#[test]
fn the_sign_of_the_input_is_that_of_the_calibration_images() {
    let shape = [2, 6, 5];
    let writer = Writer::new(shape, 51).conv("x", "c", [2, 4], 0.0);
    let bytes = writer.node(node("Relu", &["c"], "r")).classes("r", [120, 5]).bytes();
    let signed = |preprocess: &Preprocess, batch: &Tensor| {
        searched(&bytes, preprocess, batch, 8).unwrap().plan.input_wire().signed()
    };
    let negative = images(6, 16, shape);
    let positive = Tensor { data: negative.data.iter().map(|v| v.abs()).collect(), ..negative };
    let centered = Preprocess::Normalize { mean: vec![0.5; 2], std: vec![0.2; 2] };
    for preprocess in [Preprocess::Unit, Preprocess::Raw, as_they_are()] {
        hold("negative pixels", &bytes, &preprocess, &images(6, 16, shape), 0.06);
        assert!(!signed(&preprocess, &positive), "{preprocess:?}");
    }
    // Black is negative there, whether an image has it or not.
    assert!(signed(&centered, &positive));
}

/// HardSwish gives -0.375 at the least, and tells nothing below -3 apart.
#[test]
fn integers_are_where_the_values_of_a_function_are() {
    let shape = [2, 6, 6];
    let writer = Writer::new(shape, 61).conv("x", "c", [2, 4], 0.0);
    let writer = writer.node(node("HardSwish", &["c"], "h")).conv("h", "d", [4, 4], 0.5);
    let bytes = writer.node(node("HardSwish", &["d"], "g")).classes("g", [144, 5]).bytes();
    let calibration = images(7, 24, shape);
    let found = searched(&bytes, &as_they_are(), &calibration, 8).unwrap();
    let wires = &found.plan.wires;
    let tables = found.plan.steps.iter().filter_map(|step| step.op.get::<Lookup>());
    let lows: Vec<[i64; 2]> =
        tables.map(|table| [table.input, table.output].map(|wire| wires[wire].low)).collect();
    println!("least integers of what is looked up, and of what is found: {lows:?}");
    assert_eq!(lows.len(), 2);
    // Two's complement begins at -128.
    assert!(lows.iter().all(|[_, found]| (-60..-2).contains(found)), "{lows:?}");
    hold("HardSwish", &bytes, &as_they_are(), &calibration, 0.03);
}

#[test]
fn images_that_say_nothing_are_blamed_and_not_the_network() {
    let shape = [2, 4, 4];
    let bytes = Writer::new(shape, 1).conv("x", "c", [2, 3], 0.0).classes("c", [48, 3]).bytes();
    let plain = |value: f32| Tensor { shape: [3, 2, 4, 4], data: vec![value; 96] };
    for value in [0.0, 1.0, -2.5] {
        let error = searched(&bytes, &as_they_are(), &plain(value), 8).unwrap_err().to_string();
        assert!(error.contains("calibration images are one and the same color"), "{error}");
    }
}

/// `x -> conv -> ReLU -> depthwise -> ReLU -> pointwise -> ReLU -> classes`, with channels that are
/// `2^spread` apart between layers: each layer takes back what the one before it has given.
fn separable(spread: f32) -> Vec<u8> {
    const CHANNELS: usize = 8;
    let level = |channel: usize, step: usize| {
        (spread * ((channel * step) % CHANNELS) as f32 / (CHANNELS - 1) as f32).round().exp2()
    };
    let mut writer = Writer::new([2, 8, 8], 77);
    let widths = [(3, 2, 1, 3), (5, 1, 3, 3), (7, CHANNELS, 5, 1)];
    for (layer, (step, fan_in, before, side)) in widths.into_iter().enumerate() {
        let len = CHANNELS * fan_in * side * side;
        let mut weights = noise(90 + layer as u64, len);
        let size = (0.7 / (fan_in * side * side) as f32).sqrt();
        for (at, weight) in weights.iter_mut().enumerate() {
            let (output, input) = (at / (fan_in * side * side), at / (side * side) % fan_in);
            let given = if layer == 1 { output } else { input };
            let taken = if layer == 0 { 1.0 } else { level(given, before) };
            *weight *= size * level(output, step) / taken;
        }
        let bias: Vec<f32> = (0..CHANNELS).map(|c| 0.2 * level(c, step)).collect();
        let dims = [CHANNELS as i64, fan_in as i64, side as i64, side as i64];
        let [w, b] = ["w", "b"].map(|part| format!("{part}{layer}"));
        writer.graph.initializer.push(TensorProto::floats(&w, &dims, &weights));
        writer.graph.initializer.push(TensorProto::floats(&b, &[CHANNELS as i64], &bias));
        let from = if layer == 0 { "x".into() } else { format!("r{}", layer - 1) };
        let conv = node("Conv", &[&from, &w, &b], &format!("c{layer}"));
        let groups = if layer == 1 { CHANNELS as i64 } else { 1 };
        let conv = conv.ints("pads", &[side as i64 / 2; 4]).int("group", groups);
        let relu = node("Relu", &[&format!("c{layer}")], &format!("r{layer}"));
        writer = writer.node(conv).node(relu);
    }
    let side = 8 * 8;
    let mut last = noise(99, 5 * CHANNELS * side);
    for (at, weight) in last.iter_mut().enumerate() {
        *weight *= 0.05 / level(at / side % CHANNELS, 7);
    }
    let dims = [5, (CHANNELS * side) as i64];
    writer.graph.initializer.push(TensorProto::floats("last", &dims, &last));
    let flat = writer.node(node("Flatten", &["r2"], "flat"));
    flat.node(node("Gemm", &["flat", "last"], "y").int("transB", 1)).bytes()
}

#[test]
fn channels_of_other_magnitudes_are_as_good_as_those_of_one() {
    let calibration = images(7, 24, [2, 8, 8]);
    for spread in [0.0, 5.0, 17.0] {
        let bytes = separable(spread);
        hold(&format!("2^{spread}"), &bytes, &as_they_are(), &calibration, 0.06);
        let model = import(&bytes).unwrap();
        let equal = equalized(&model, &calibration).unwrap();
        assert_eq!(matches!(equal, std::borrow::Cow::Owned(_)), spread > 6.0, "{spread}");
        let batch = images(5, 3, [2, 8, 8]);
        let [before, after] = [&model, &*equal].map(|m| float::evaluate(m, &batch).unwrap().data);
        assert_eq!(before, after, "{spread}: the float network has changed");
    }
}
