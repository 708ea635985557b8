//! Quantized networks in ONNX: what is written means, integer for integer, what the plan means, and
//! is read as the same integers; what others write is taken over as far as shifts allow.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use prost::Message;
use protocols::plan::Plan;
use protocols::weights::Weights;
use quant::data::integer;
use quant::onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use quant::onnx::{Quantized, import_quantized};
use quant::qdq::export_quantized;
use quant::quantize::{BitWidths, QdqChangeKind, QdqImport, Quantizer, Ranges, import_qdq};
use quant::{Model, Preprocess, ReferenceRuntime, Tensor, float, import};

#[path = "../../model/tests/support/mod.rs"]
mod support;
use support::reference_runtime;

/// Numbers between -1 and 1 that look random.
fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed ^ 0x9e37_79b9;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn node(op: &str, input: &[&str], output: &str) -> NodeProto {
    NodeProto::new(op, output, input, &[output])
}

/// A small network with all that real ones have: residuals of both kinds, views, both poolings, a
/// gate of each channel, a signed value between linear layers, and a fully connected layer.
fn network(seed: u64) -> Model {
    let weights = |name: &str, dims: &[i64]| {
        let len = dims.iter().product::<i64>() as usize;
        let values = noise(seed.wrapping_add(name.len() as u64 * 77 + len as u64), len);
        TensorProto::floats(name, dims, &values)
    };
    let conv = |input, kernel, output| node("Conv", &[input, kernel, "b"], output);
    let same = |input, kernel, output| conv(input, kernel, output).ints("pads", &[1; 4]);
    let pool = |op, input, output| {
        node(op, &[input], output).ints("kernel_shape", &[2; 2]).ints("strides", &[2; 2])
    };
    let nodes = vec![
        same("x", "stem", "c0"),
        node("Relu", &["c0"], "r0"),
        same("r0", "first", "c1"),
        node("Relu", &["c1"], "r1"),
        same("r1", "second.", "c2"),
        node("Add", &["c2", "r0"], "a2"),
        node("Relu", &["a2"], "r2"),
        node("GlobalMaxPool", &["r2"], "p2"),
        conv("p2", "excite", "e2"),
        node("Relu", &["e2"], "g2"),
        node("Mul", &["r2", "g2"], "s2"),
        pool("MaxPool", "s2", "m2"),
        // A shortcut that takes every second pixel, beside a linear bottleneck.
        node("Slice", &["m2", "starts", "ends", "axes", "steps"], "s3"),
        node("Conv", &["m2", "narrow"], "c3"),
        same("c3", "third..", "c4").ints("strides", &[2; 2]),
        node("Add", &["s3", "c4"], "a4"),
        node("Clip", &["a4", "zero", "six"], "r4"),
        pool("AveragePool", "r4", "p4"),
        node("Flatten", &["p4"], "f"),
        node("Gemm", &["f", "matrix"], "y").int("transB", 1),
    ];
    let ints = |name: &str, data: &[i64]| TensorProto::ints(name, &[data.len() as i64], data);
    let initializer = vec![
        weights("stem", &[4, 3, 3, 3]),
        weights("first", &[4, 4, 3, 3]),
        weights("second.", &[4, 4, 3, 3]),
        weights("excite", &[4, 4, 1, 1]),
        weights("narrow", &[4, 4, 1, 1]),
        weights("third..", &[4, 4, 3, 3]),
        weights("matrix", &[5, 4]),
        weights("b", &[4]),
        TensorProto::floats("zero", &[], &[0.0]),
        TensorProto::floats("six", &[], &[2.5]),
        ints("starts", &[0, 0]),
        ints("ends", &[i64::MAX, i64::MAX]),
        ints("axes", &[2, 3]),
        ints("steps", &[2, 2]),
    ];
    let graph = GraphProto {
        name: "small".into(),
        input: vec![ValueInfoProto::batch("x", &[3, 8, 8])],
        output: vec![ValueInfoProto::batch("y", &[5])],
        initializer,
        node: nodes,
        ..GraphProto::default()
    };
    import(&ModelProto::new(13, graph).encode_to_vec()).unwrap()
}

/// A network at some widths, and its float one.
struct Case {
    plan: Plan,
    weights: Weights,
    batch: Tensor,
}

fn case(seed: u64, signed: bool, widths: &[u8]) -> Case {
    let model = network(seed);
    let preprocess = if signed {
        Preprocess::Normalize { mean: vec![0.5; 3], std: vec![0.3; 3] }
    } else {
        Preprocess::Unit
    };
    // Pixels, so that widths below eight bits meet halves.
    let pixel = |x: f32| ((x + 1.0) * 127.9).floor() / 255.0;
    let value = |x: f32| if signed { (pixel(x) - 0.5) / 0.3 } else { pixel(x) };
    let data = noise(seed ^ 1, 12 * 3 * 8 * 8).into_iter().map(value).collect();
    let batch = Tensor::new([12, 3, 8, 8], data).unwrap();
    let quantizer = Quantizer::new(&model, &preprocess, &batch, Ranges::Mse).unwrap();
    let (layers, activations) =
        (quantizer.activations().layers.len(), quantizer.activations().quantizers.len());
    let mut widths = widths.iter().copied().cycle();
    let bit_widths = BitWidths {
        weight_bits: widths.by_ref().take(layers).collect(),
        activation_bits: widths.take(activations).collect(),
    };
    let (graph, weights) = quantizer.quantize(&bit_widths).unwrap();
    Case { plan: planned(&graph, &weights), weights, batch }
}

fn planned(graph: &fusion::Graph, weights: &Weights) -> Plan {
    let options = fusion::Options { weights: weights.digest(), ..fusion::Options::default() };
    let plan = fusion::fuse(graph, &options).unwrap();
    weights.check(&plan).unwrap();
    plan
}

/// The integers of a plan's logits, `[N][classes]`.
fn integers(plan: &Plan, weights: &Weights, batch: &Tensor) -> Vec<i64> {
    let [n, c, h, w] = batch.shape;
    let range = plan.input_wire().range();
    let at = |i: usize| batch.data[(i / (h * w) % n * c + i / (h * w * n)) * h * w + i % (h * w)];
    let input: Vec<i64> =
        (0..batch.data.len()).map(|i| integer(at(i), plan.input.scale, range)).collect();
    let logits = fusion::ideal(plan, weights, &input).unwrap();
    let classes = logits.len() / n;
    (0..n * classes).map(|i| logits[i % classes * n + i / classes]).collect()
}

/// What onnxruntime makes of a file, in steps of the logits.
fn judged(
    reference_runtime: &ReferenceRuntime,
    onnx: &[u8],
    batch: &Tensor,
    step: f64,
) -> Vec<i64> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, onnx).unwrap();
    let logits = reference_runtime.run(file.path(), batch).unwrap();
    let steps = logits.data.iter().map(|&x| f64::from(x) / step);
    steps
        .map(|steps| {
            assert!(
                (steps - steps.round()).abs() < 1e-3 * steps.abs().max(1.0),
                "{steps} is no integer"
            );
            steps.round() as i64
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 12 } else { 64 }))]

    #[test]
    fn onnxruntime_computes_the_integers_of_the_plan(
        seed in any::<u64>(),
        signed in any::<bool>(),
        widths in prop::collection::vec(2..=8_u8, 5..20),
    ) {
        let Some(reference_runtime) = reference_runtime() else { return Ok(()) };
        let Case { plan, weights, batch } = case(seed, signed, &widths);
        let exported = export_quantized(&plan, &weights).unwrap();
        // Single precision holds 24 bits: where a sum has more, the export says so.
        prop_assume!(exported.wide.is_empty());
        let expected = integers(&plan, &weights, &batch);
        let theirs = judged(&reference_runtime, &exported.bytes, &batch, plan.output.scale);
        prop_assert_eq!(theirs, expected);
    }

    #[test]
    fn what_is_exported_is_imported_with_the_same_integers(
        seed in any::<u64>(),
        signed in any::<bool>(),
        widths in prop::collection::vec(2..=8_u8, 5..20),
    ) {
        let Case { plan, weights, batch } = case(seed, signed, &widths);
        let quantized =
            import_quantized(&export_quantized(&plan, &weights).unwrap().bytes).unwrap();
        let QdqImport { graph, weights: again, layers, changes } =
            import_qdq(&quantized, &plan.input.preprocess).unwrap();
        prop_assert_eq!(changes, []);
        prop_assert_eq!(&again.layers, &weights.layers);
        for (_, name, layer) in plan.layers() {
            let found = layers.iter().find(|(other, ..)| other == name).unwrap();
            prop_assert_eq!(u32::from(found.1), layer.weight_bits, "{}", name);
        }
        let read = planned(&graph, &again);
        prop_assert_eq!(integers(&read, &again, &batch), integers(&plan, &weights, &batch));
        prop_assert!((read.output.scale / plan.output.scale - 1.0).abs() < 1e-6);
    }
}

/// Who wrote a quantized network.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Writer {
    /// QuantizeLinear and DequantizeLinear of float weights, by channel; values in int8.
    Pytorch,
    /// Clips behind QuantizeLinear, for four bits.
    Brevitas,
    /// No ReLU before uint8 whose zero point is 0, a zero point in the middle for what is signed,
    /// biases in int32, and a DequantizeLinear for every reader.
    Onnxruntime,
}

/// A network of three layers and a residual, quantized by some writer, with scales times `odd`
/// where nothing else says that they are powers of two.
struct Written {
    writer: Writer,
    odd: f32,
    graph: GraphProto,
}

impl Written {
    fn file(writer: Writer, odd: f32) -> Vec<u8> {
        let graph = GraphProto {
            name: "written".into(),
            input: vec![ValueInfoProto::batch("x", &[2, 6, 6])],
            output: vec![ValueInfoProto::batch("y", &[5])],
            ..GraphProto::default()
        };
        let mut written = Self { writer, odd, graph };
        written.value("x", "qx", 1.0 / 64.0, true, odd);
        written.layer("one", "qx", "c1", &[4, 2, 3, 3], "Conv");
        written.relu("c1", "q1", 1.0 / 16.0, odd);
        written.layer("two", "q1", "c2", &[4, 4, 3, 3], "Conv");
        // The branch is quantized on its own, too.
        written.value("c2", "q2", 1.0 / 8.0, true, odd);
        written.push(node("Add", &["q2", "q1"], "a2"));
        written.relu("a2", "q3", 1.0 / 8.0, odd);
        written.push(node("GlobalAveragePool", &["q3"], "p"));
        written.value("p", "qp", 1.0 / 8.0, false, odd);
        written.push(node("Flatten", &["qp"], "f"));
        written.layer("three", "f", "y", &[5, 4], "Gemm");
        ModelProto::new(13, written.graph).encode_to_vec()
    }

    fn push(&mut self, node: NodeProto) {
        self.graph.node.push(node);
    }

    fn constant(&mut self, tensor: TensorProto) -> String {
        let name = tensor.name.clone();
        self.graph.initializer.push(tensor);
        name
    }

    fn bits(&self) -> u32 {
        if self.writer == Writer::Brevitas { 4 } else { 8 }
    }

    fn value(&mut self, from: &str, to: &str, scale: f32, signed: bool, odd: f32) {
        let in_bytes =
            signed && self.writer != Writer::Onnxruntime || self.writer == Writer::Pytorch;
        let middle = if signed && !in_bytes { 128 } else { 0 };
        let scale = scale * odd * (8 - self.bits()).pow(2).max(1) as f32;
        let scale = self.constant(TensorProto::floats(&format!("{to}.scale"), &[], &[scale]));
        let zero = self.constant(TensorProto::byte(&format!("{to}.zero"), middle, in_bytes));
        let stored = format!("{to}.stored");
        self.push(node("QuantizeLinear", &[from, &scale, &zero], &stored));
        let stored = self.clip(&stored, in_bytes);
        self.push(node("DequantizeLinear", &[&stored, &scale, &zero], to));
    }

    fn clip(&mut self, stored: &str, signed: bool) -> String {
        if self.writer != Writer::Brevitas {
            return stored.to_owned();
        }
        let (low, high) = if signed { (-8, 7) } else { (0, 15) };
        let low = self.constant(TensorProto::byte(&format!("{stored}.low"), low, signed));
        let high = self.constant(TensorProto::byte(&format!("{stored}.high"), high, signed));
        let clipped = format!("{stored}.clipped");
        self.push(node("Clip", &[stored, &low, &high], &clipped));
        clipped
    }

    fn relu(&mut self, from: &str, to: &str, scale: f32, odd: f32) {
        if self.writer == Writer::Onnxruntime {
            return self.value(from, to, scale, false, odd);
        }
        let positive = format!("{to}.positive");
        self.push(node("Relu", &[from], &positive));
        self.value(&positive, to, scale, false, odd);
    }

    fn layer(&mut self, name: &str, from: &str, to: &str, dims: &[i64], op: &str) {
        let len = dims.iter().product::<i64>() as usize;
        let half = 1 << (self.bits() - 1);
        let integers: Vec<i8> = noise(len as u64, len)
            .iter()
            .map(|x| (x * half as f32).floor().clamp(-128.0, 127.0) as i8)
            .collect();
        let channels = dims[0] as usize;
        let scales: Vec<f32> =
            (0..channels).map(|c| self.odd / half as f32 / 2f32.powi((c % 2) as i32)).collect();
        let scale =
            self.constant(TensorProto::floats(&format!("{name}.scale"), &dims[..1], &scales));
        let weight = format!("{name}.weight");
        let integral = if self.writer == Writer::Pytorch {
            let real: Vec<f32> = integers
                .iter()
                .enumerate()
                .map(|(at, &w)| f32::from(w) * scales[at * channels / len])
                .collect();
            let float = self.constant(TensorProto::floats(&format!("{name}.float"), dims, &real));
            let zeros =
                TensorProto::int8s(&format!("{name}.zeros"), &dims[..1], &vec![0; channels]);
            let zeros = self.constant(zeros);
            let stored = format!("{name}.stored");
            self.push(node("QuantizeLinear", &[&float, &scale, &zeros], &stored).int("axis", 0));
            stored
        } else {
            let stored =
                self.constant(TensorProto::int8s(&format!("{name}.stored"), dims, &integers));
            self.clip(&stored, true)
        };
        self.push(node("DequantizeLinear", &[&integral, &scale], &weight).int("axis", 0));
        let bias: Vec<i32> = (0..channels as i32).map(|c| 31 * c - 50).collect();
        let bias = self.constant(TensorProto::int32s(&format!("{name}.steps"), &dims[..1], &bias));
        let real = format!("{name}.bias");
        self.push(node("DequantizeLinear", &[&bias, &scale], &real).int("axis", 0));
        let last = node(op, &[from, &weight, &real], to);
        self.push(if op == "Conv" { last.ints("pads", &[1; 4]) } else { last.int("transB", 1) });
    }
}

fn images(model: &Model, count: usize) -> Tensor {
    let [c, h, w] = model.input;
    Tensor::new([count, c, h, w], noise(5, count * c * h * w)).unwrap()
}

/// The norm of the difference of two sets of logits, over that of the first.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut a.iter().copied())
}

/// The logits of the network that is imported, and those of the file in real numbers, its
/// quantizers left out.
fn logits(quantized: &Quantized, imported: &QdqImport, batch: &Tensor) -> (Vec<f64>, Vec<f64>) {
    let plan = planned(&imported.graph, &imported.weights);
    let ours = integers(&plan, &imported.weights, batch);
    let real = float::evaluate(&quantized.model, batch).unwrap();
    let ours = ours.iter().map(|&steps| steps as f64 * plan.output.scale).collect();
    (ours, real.data.iter().map(|&x| x.into()).collect())
}

#[test]
fn networks_of_every_writer_keep_their_integers_where_scales_are_powers_of_two() {
    for writer in [Writer::Pytorch, Writer::Brevitas, Writer::Onnxruntime] {
        let bytes = Written::file(writer, 1.0);
        let quantized = import_quantized(&bytes).unwrap();
        let imported = import_qdq(&quantized, &Preprocess::Unit).unwrap();
        assert_eq!(imported.changes, [], "{writer:?}");
        let stored = |node: &str| {
            let at = quantized.model.nodes.iter().position(|n| n.name == node).unwrap();
            quantized.weights[&at].values.clone()
        };
        for (node, layer) in &imported.weights.layers {
            let found: Vec<i16> = layer.weights.iter().map(|&w| w.into()).collect();
            assert_eq!(found, stored(node), "{writer:?}, {node}");
        }
        let widths = if writer == Writer::Brevitas { (4, 4) } else { (8, 8) };
        assert_eq!((imported.layers[0].1, imported.layers[0].2), widths, "{writer:?}");
        let batch = images(&quantized.model, 16);
        let (ours, real) = logits(&quantized, &imported, &batch);
        let away = distance(&real, &ours);
        println!("{writer:?}: {away}");
        assert!(away < if writer == Writer::Brevitas { 0.6 } else { 0.1 }, "{writer:?}: {away}");
    }
}

#[test]
fn zero_points_are_kept_wherever_they_are() {
    let graph = GraphProto {
        name: "shifted".into(),
        input: vec![ValueInfoProto::batch("x", &[2, 6, 6])],
        output: vec![ValueInfoProto::batch("y", &[5])],
        ..GraphProto::default()
    };
    let mut written = Written { writer: Writer::Onnxruntime, odd: 1.0, graph };
    written.value("x", "qx", 1.0 / 64.0, true, 1.0);
    written.layer("one", "qx", "c1", &[4, 2, 3, 3], "Conv");
    written.value("c1", "q1", 1.0 / 16.0, true, 1.0);
    written.layer("two", "q1", "c2", &[4, 4, 3, 3], "Conv");
    written.value("c2", "q2", 1.0 / 8.0, true, 1.0);
    written.push(node("Flatten", &["q2"], "f"));
    written.layer("three", "f", "y", &[5, 144], "Gemm");
    let points = [("qx", 113), ("q1", 60), ("q2", 200)];
    for (value, point) in points {
        let name = format!("{value}.zero");
        let zero = written.graph.initializer.iter_mut().find(|tensor| tensor.name == name).unwrap();
        *zero = TensorProto::byte(&name, point, false);
    }
    let bytes = ModelProto::new(13, written.graph).encode_to_vec();
    let quantized = import_quantized(&bytes).unwrap();
    let imported = import_qdq(&quantized, &Preprocess::Unit).unwrap();
    assert_eq!(imported.changes, []);
    let plan = planned(&imported.graph, &imported.weights);
    let lows: Vec<i64> = plan.wires.iter().filter(|w| w.bits == 8).map(|w| w.low).collect();
    assert_eq!(lows, points.map(|(_, point)| -i64::from(point)));
    let Some(reference_runtime) = reference_runtime() else { return };
    let batch = images(&quantized.model, 16);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, &bytes).unwrap();
    let theirs = reference_runtime.run(file.path(), &batch).unwrap();
    let theirs: Vec<f64> = theirs.data.iter().map(|&x| x.into()).collect();
    let (ours, _) = logits(&quantized, &imported, &batch);
    // They round halves to even: one in hundreds is another.
    let away = distance(&theirs, &ours);
    assert!(away < 0.01, "{away}");
}

#[test]
fn other_scales_are_rounded_and_said_to_be() {
    for writer in [Writer::Pytorch, Writer::Brevitas, Writer::Onnxruntime] {
        for odd in [1.1, 1.31] {
            let quantized = import_quantized(&Written::file(writer, odd)).unwrap();
            let imported = import_qdq(&quantized, &Preprocess::Unit).unwrap();
            let moved =
                |what| imported.changes.iter().filter(move |change| change.what == what).count();
            assert!(moved(QdqChangeKind::ScaleOfValues) > 0, "{writer:?}: {:?}", imported.changes);
            assert!(
                imported.changes.iter().all(|change| change.by != 0.0 && change.by.abs() < 0.5)
            );
            let batch = images(&quantized.model, 16);
            let (ours, real) = logits(&quantized, &imported, &batch);
            let away = distance(&real, &ours);
            println!("{writer:?} times {odd}: {away}");
            assert!(
                away < if writer == Writer::Brevitas { 0.6 } else { 0.1 },
                "{writer:?}: {away}"
            );
        }
    }
}

/// What is wrong with a file of a changed graph.
fn problem(change: impl Fn(&mut GraphProto)) -> String {
    let mut file = ModelProto::decode(&Written::file(Writer::Onnxruntime, 1.0)[..]).unwrap();
    change(file.graph.as_mut().unwrap());
    match import_quantized(&file.encode_to_vec()) {
        Err(error) => error.to_string(),
        Ok(quantized) => import_qdq(&quantized, &Preprocess::Unit).unwrap_err().to_string(),
    }
}

#[test]
fn what_is_not_quantized_as_it_has_to_be_is_named() {
    let rewire = |graph: &mut GraphProto, from: &str, to: &str| {
        for input in
            graph.node.iter_mut().flat_map(|node| &mut node.input).filter(|input| *input == from)
        {
            *input = to.to_owned();
        }
        graph.node.retain(|node| !node.output[0].starts_with(from));
    };
    let tensor = |graph: &mut GraphProto, name: &str, tensor: TensorProto| {
        graph.initializer.retain(|other| other.name != name);
        graph.initializer.push(tensor);
    };
    let input = problem(|graph| rewire(graph, "qx", "x"));
    assert!(input.contains("\"input\"") && input.contains("not quantized"), "{input}");
    let value = problem(|graph| rewire(graph, "q1", "c1"));
    assert!(value.contains("\"c1\""), "{value}");
    let weights = problem(|graph| {
        rewire(graph, "two.weight", "float");
        graph.initializer.push(TensorProto::floats("float", &[4, 4, 3, 3], &noise(1, 144)));
    });
    assert!(
        weights.contains("\"c2\"") && weights.contains("weights are not quantized"),
        "{weights}"
    );
    let apart = problem(|graph| {
        graph.initializer.push(TensorProto::floats("other", &[], &[0.3]));
        let node = graph.node.iter_mut().find(|node| node.output[0] == "q3").unwrap();
        node.input[1] = "other".into();
    });
    assert!(
        apart.contains("\"q3\"") && apart.contains("0.3") && apart.contains("0.125"),
        "{apart}"
    );
    let wide = problem(|graph| {
        let values = [&[0, 250][..], &[9; 70]].concat();
        let raw_data = values.to_vec();
        let bytes = TensorProto {
            raw_data,
            data_type: 2,
            dims: vec![4, 2, 3, 3],
            ..TensorProto::default()
        };
        tensor(graph, "one.stored", TensorProto { name: "one.stored".into(), ..bytes });
    });
    assert!(wide.contains("\"c1\"") && wide.contains("9 bits"), "{wide}");
    let between = problem(|graph| {
        let node = graph.node.iter_mut().find(|node| node.output[0] == "p").unwrap();
        node.input[0] = "q3.stored".into();
    });
    assert!(between.contains("\"p\"") && between.contains("is quantized"), "{between}");
    for (name, dims, scales) in
        [("q1.scale", vec![2], vec![0.1, 0.2]), ("q1.scale", vec![], vec![-1.0])]
    {
        let odd = problem(|graph| tensor(graph, name, TensorProto::floats(name, &dims, &scales)));
        assert!(odd.contains("\"q1.stored\""), "{odd}");
    }
    let scale = problem(|graph| {
        tensor(graph, "two.scale", TensorProto::floats("two.scale", &[3], &[1.0; 3]))
    });
    assert!(scale.contains("two.weight") && scale.contains("3 scales"), "{scale}");
}
