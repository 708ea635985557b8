//! Networks of operators on integers, as onnxruntime's quantizer writes them, and of QONNX: read as
//! the same integers as the format QDQ has.

#![allow(clippy::unwrap_used)]

use model::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use model::onnx::{import_quantized, survey};
use model::{Preprocess, ReferenceRuntime, Tensor, import};
use prost::Message;
use quant::quantize::{QdqImport, import_qdq};

fn noise(seed: usize, len: usize) -> Vec<f32> {
    let mut state = seed as u64 ^ 0x9e37_79b9;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto::new(op, output, inputs, &[output])
}

/// A node of onnxruntime's own domain.
fn foreign(domain: &str, node: NodeProto) -> NodeProto {
    NodeProto { domain: domain.into(), ..node }
}

/// The scale of a value, and its zero point.
fn scaled(name: &str, scale: f32, zero: i16, signed: bool) -> [TensorProto; 2] {
    [
        TensorProto::floats(&format!("{name}.s"), &[], &[scale]),
        TensorProto::byte(&format!("{name}.z"), zero, signed),
    ]
}

/// Weights of a layer as int8, their scales by channel, and a bias.
fn layer(name: &str, dims: &[i64], axis: usize) -> Vec<TensorProto> {
    let len = dims.iter().product::<i64>() as usize;
    let bytes: Vec<i8> = noise(len, len).iter().map(|x| (x * 127.0) as i8).collect();
    let channels = dims[axis];
    let scales: Vec<f32> = (0..channels).map(|c| 2f32.powi(-7 - (c % 2) as i32)).collect();
    let bias: Vec<i32> = (0..channels as i32).map(|c| 40 * c - 70).collect();
    vec![
        TensorProto::int8s(&format!("{name}.w"), dims, &bytes),
        TensorProto::floats(&format!("{name}.ws"), &[channels], &scales),
        TensorProto::int8s(&format!("{name}.wz"), &[channels], &vec![0; channels as usize]),
        TensorProto::int32s(&format!("{name}.b"), &[channels], &bias),
    ]
}

/// A network in the format QOperator, and the same in QDQ.
fn networks() -> [Vec<u8>; 2] {
    let mut constants = Vec::new();
    constants.extend(scaled("x", 1.0 / 64.0, 128, false));
    constants.extend(scaled("a", 1.0 / 16.0, 0, false));
    constants.extend(scaled("d", 1.0 / 8.0, 0, false));
    constants.extend(scaled("y", 1.0 / 4.0, 128, false));
    constants.extend(layer("one", &[4, 2, 3, 3], 0));
    constants.extend(layer("two", &[4, 4, 1, 1], 0));
    constants.extend(layer("fc", &[5, 4], 0));
    for (name, scale) in [("one", 1.0 / 64.0), ("two", 1.0 / 16.0), ("fc", 1.0 / 8.0)] {
        let channels = if name == "fc" { 5 } else { 4 };
        let scales: Vec<f32> = (0..channels).map(|c| scale * 2f32.powi(-7 - c % 2)).collect();
        let dims = [i64::from(channels)];
        constants.push(TensorProto::floats(&format!("{name}.bs"), &dims, &scales));
    }
    [of_integers(), of_floats()].map(|nodes| file(constants.clone(), nodes))
}

/// The names of a value's scale and zero point.
fn names(name: &str) -> [String; 2] {
    ["s", "z"].map(|part| format!("{name}.{part}"))
}

fn pool(from: &str, to: &str) -> NodeProto {
    node("MaxPool", &[from], to).ints("kernel_shape", &[2; 2])
}

fn pads(node: NodeProto) -> NodeProto {
    node.ints("pads", &[1; 4])
}

fn microsoft(node: NodeProto) -> NodeProto {
    foreign("com.microsoft", node)
}

fn of_integers() -> Vec<NodeProto> {
    let ([xs, xz], [a_s, az], [ds, dz], [ys, yz]) =
        (names("x"), names("a"), names("d"), names("y"));
    vec![
        node("QuantizeLinear", &["x", &xs, &xz], "qx"),
        pads(node(
            "QLinearConv",
            &["qx", &xs, &xz, "one.w", "one.ws", "one.wz", &a_s, &az, "one.b"],
            "qa",
        )),
        pool("qa", "qm"),
        node(
            "QLinearConv",
            &["qm", &a_s, &az, "two.w", "two.ws", "two.wz", &ds, &dz, "two.b"],
            "qc",
        ),
        microsoft(node("QLinearAdd", &["qc", &ds, &dz, "qm", &a_s, &az, &ds, &dz], "qd")),
        microsoft(
            node("QLinearGlobalAveragePool", &["qd", &ds, &dz, &ds, &dz], "qp")
                .int("channels_last", 0),
        ),
        node("Flatten", &["qp"], "qf"),
        microsoft(
            node("QGemm", &["qf", &ds, &dz, "fc.w", "fc.ws", "fc.wz", "fc.b", &ys, &yz], "qy")
                .int("transB", 1)
                .float("alpha", 1.0),
        ),
        node("DequantizeLinear", &["qy", &ys, &yz], "y"),
    ]
}

/// A value through its quantizer.
fn quantize(from: &str, [scale, zero]: &[String; 2], to: &str) -> [NodeProto; 2] {
    let stored = format!("{to}.q");
    [
        node("QuantizeLinear", &[from, scale, zero], &stored),
        node("DequantizeLinear", &[&stored, scale, zero], to),
    ]
}

/// A layer's weights and its bias in floats.
fn weights(name: &str) -> [NodeProto; 2] {
    [("w", "ws"), ("b", "bs")].map(|(part, scale)| {
        let inputs = [format!("{name}.{part}"), format!("{name}.{scale}")];
        let inputs = inputs.each_ref().map(String::as_str);
        node("DequantizeLinear", &inputs, &format!("{name}.f{part}")).int("axis", 0)
    })
}

fn of_floats() -> Vec<NodeProto> {
    let mut floats = Vec::new();
    floats.extend(["one", "two", "fc"].into_iter().flat_map(weights));
    floats.extend(quantize("x", &names("x"), "fx"));
    floats.push(pads(node("Conv", &["fx", "one.fw", "one.fb"], "c1")));
    floats.extend(quantize("c1", &names("a"), "fa"));
    floats.push(pool("fa", "m"));
    floats.extend(quantize("m", &names("a"), "fm"));
    floats.push(node("Conv", &["fm", "two.fw", "two.fb"], "c2"));
    floats.extend(quantize("c2", &names("d"), "fc2"));
    floats.push(node("Add", &["fc2", "fm"], "s"));
    floats.extend(quantize("s", &names("d"), "fs"));
    floats.push(node("GlobalAveragePool", &["fs"], "p"));
    floats.extend(quantize("p", &names("d"), "fp"));
    floats.push(node("Flatten", &["fp"], "f"));
    floats.push(node("Gemm", &["f", "fc.fw", "fc.fb"], "g").int("transB", 1));
    floats.extend(quantize("g", &names("y"), "y"));
    floats
}

fn file(initializer: Vec<TensorProto>, node: Vec<NodeProto>) -> Vec<u8> {
    let graph = GraphProto {
        name: "integers".into(),
        input: vec![ValueInfoProto::batch("x", &[2, 6, 6])],
        output: vec![ValueInfoProto::batch("y", &[5])],
        initializer,
        node,
        ..GraphProto::default()
    };
    let mut model = ModelProto::new(13, graph);
    let mut foreign = model.opset_import[0].clone();
    foreign.domain = "com.microsoft".into();
    foreign.version = 1;
    model.opset_import.push(foreign);
    model.encode_to_vec()
}

/// The logits of an imported network.
fn logits(imported: &QdqImport, batch: &Tensor) -> Vec<f64> {
    let digest = imported.weights.digest();
    let options = fusion::Options { weights: digest, ..fusion::Options::default() };
    let plan = fusion::fuse(&imported.graph, &options).unwrap();
    let input = plan.encode(&batch.data).unwrap();
    let result = fusion::ideal(&plan, &imported.weights, &input).unwrap();
    let answers = plan.decode(&result, batch.images()).into_iter();
    answers.flat_map(|answer| answer.logits.unwrap().values).collect()
}

#[test]
fn operators_on_integers_are_read_as_the_format_qdq() {
    let preprocess = Preprocess::Normalize { mean: vec![0.0; 2], std: vec![1.0; 2] };
    let [integers, floats] = networks()
        .map(|bytes| import_qdq(&import_quantized(&bytes).unwrap(), &preprocess).unwrap());
    assert_eq!(integers.changes, []);
    let weights = |imported: &QdqImport| {
        let layers = imported.weights.layers.values();
        layers.map(|layer| (layer.weights.clone(), layer.bias.clone())).collect::<Vec<_>>()
    };
    assert_eq!(integers.layers.len(), 3);
    let mut sorted = [weights(&integers), weights(&floats)];
    sorted.iter_mut().for_each(|layers| layers.sort_by_key(|(weights, _)| weights.len()));
    assert_eq!(sorted[0], sorted[1]);
    let batch = Tensor::new([8, 2, 6, 6], noise(5, 8 * 72)).unwrap();
    let ours = logits(&integers, &batch);
    assert_eq!(ours, logits(&floats, &batch));
    let runtime = match ReferenceRuntime::find(None) {
        Ok(runtime) => runtime,
        Err(error) => {
            assert!(std::env::var_os("PQ_REQUIRE_ORT").is_none(), "{error}");
            println!("skipped: onnxruntime ({error})");
            return;
        }
    };
    let stored = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(stored.path(), &networks()[0]).unwrap();
    let theirs = runtime.run(stored.path(), &batch).unwrap().data;
    // Halves are rounded otherwise, and the average is not rounded here: within a step of 1/4.
    let away = ours.iter().zip(&theirs).map(|(a, &b)| (a - f64::from(b)).abs()).fold(0.0, f64::max);
    assert!(away <= 0.5, "{away}: {ours:?} {theirs:?}");
    assert!(theirs.iter().any(|v| v.abs() > 2.0), "{theirs:?}");
}

#[test]
fn scales_of_each_image_are_refused_by_name() {
    let constants = vec![TensorProto::int8s("w", &[4, 2, 1, 1], &[3; 8])];
    let nodes = vec![
        NodeProto::new("DynamicQuantizeLinear", "d", &["x"], &["q", "s", "z"]),
        node("ConvInteger", &["q", "w", "z"], "c"),
        node("Cast", &["c"], "f").int("to", 1),
        node("Mul", &["f", "s"], "y"),
    ];
    let report = survey(&file(constants, nodes)).unwrap();
    let found: Vec<String> = report.unsupported.iter().map(ToString::to_string).collect();
    let named = |op: &str| {
        found.iter().any(|text| text.contains(op) && text.contains("quantize statically"))
    };
    assert!(named("DynamicQuantizeLinear") && named("ConvInteger"), "{found:?}");
}

/// A network of QONNX: weights of four bits by channel, values of four bits, signs of weights.
fn qonnx(change: impl Fn(&mut GraphProto)) -> Vec<u8> {
    let number = |name: &str, value: f32| TensorProto::floats(name, &[], &[value]);
    let scales = [0.125, 0.25, 0.125, 0.25];
    let constants = vec![
        TensorProto::floats("w", &[4, 2, 3, 3], &noise(1, 72)),
        TensorProto::floats("w.s", &[4, 1, 1, 1], &scales),
        TensorProto::floats("v", &[144, 5], &noise(2, 720)),
        number("v.s", 0.0625),
        number("x.s", 0.125),
        number("a.s", 0.25),
        number("zero", 0.0),
        number("four", 4.0),
        number("eight", 8.0),
    ];
    let quant = |from: &str, scale: &str, bits: &str, signed: i64, to: &str| {
        let node = node("Quant", &[from, scale, "zero", bits], to).int("signed", signed);
        foreign("qonnx.custom_op.general", node.int("narrow", 0).string("rounding_mode", "ROUND"))
    };
    let nodes = vec![
        quant("x", "x.s", "eight", 1, "fx"),
        quant("w", "w.s", "four", 1, "fw"),
        node("Conv", &["fx", "fw"], "c").ints("pads", &[1; 4]),
        node("Relu", &["c"], "r"),
        quant("r", "a.s", "four", 0, "a"),
        node("Flatten", &["a"], "f"),
        foreign("qonnx.custom_op.general", node("BipolarQuant", &["v", "v.s"], "fv")),
        node("MatMul", &["f", "fv"], "y"),
    ];
    let mut model = ModelProto::decode(&file(constants, nodes)[..]).unwrap();
    change(model.graph.as_mut().unwrap());
    model.encode_to_vec()
}

/// `x` in steps of a scale, within bounds.
fn steps(x: f32, scale: f32, [low, high]: [f32; 2]) -> f32 {
    (x / scale).round_ties_even().clamp(low, high)
}

#[test]
fn networks_of_qonnx_have_the_integers_that_they_say() {
    let quantized = import_quantized(&qonnx(|_| ())).unwrap();
    let preprocess = Preprocess::Normalize { mean: vec![0.0; 2], std: vec![1.0; 2] };
    let imported = import_qdq(&quantized, &preprocess).unwrap();
    assert_eq!(imported.changes, []);
    let widths: Vec<_> = imported.layers.iter().map(|(_, w, a)| (*w, *a)).collect();
    assert_eq!(widths, [(4, 8), (2, 4)]);
    let scale = |at: usize| if (at / 18).is_multiple_of(2) { 0.125 } else { 0.25 };
    let kernels = noise(1, 72);
    let kernels: Vec<f32> =
        kernels.iter().enumerate().map(|(at, &w)| steps(w, scale(at), [-8.0, 7.0])).collect();
    let signs: Vec<f32> =
        noise(2, 720).iter().map(|&v| if v >= 0.0 { 1.0 } else { -1.0 }).collect();
    let found: Vec<&Vec<i8>> =
        imported.weights.layers.values().map(|layer| &layer.weights).collect();
    let expected: Vec<i8> = kernels.iter().map(|&w| w as i8).collect();
    assert!(found.contains(&&expected), "{found:?}");
    let batch = Tensor::new([4, 2, 6, 6], noise(3, 288)).unwrap();
    let ours = logits(&imported, &batch);
    for image in 0..4 {
        let x: Vec<f32> =
            batch.image(image).iter().map(|&x| steps(x, 0.125, [-128.0, 127.0]) * 0.125).collect();
        let mut logits = [0.0f32; 5];
        for at in 0..144 {
            let (k, y, column): (usize, usize, usize) = (at / 36, at / 6 % 6, at % 6);
            let mut sum = 0.0_f32;
            for tap in 0..18 {
                let (c, dy, dx) = (tap / 9, tap / 3 % 3, tap % 3);
                let (row, line) = ((y + dy).wrapping_sub(1), (column + dx).wrapping_sub(1));
                if row < 6 && line < 6 {
                    sum += kernels[k * 18 + tap] * scale(k * 18) * x[c * 36 + row * 6 + line];
                }
            }
            // Halves go up in a plan, to even in QONNX.
            let value = (sum.max(0.0) / 0.25 + 0.5).floor().min(15.0) * 0.25;
            for class in 0..5 {
                logits[class] += value * signs[at * 5 + class] * 0.0625;
            }
        }
        for class in 0..5 {
            let found = ours[image * 5 + class];
            assert!((found - f64::from(logits[class])).abs() < 1e-4, "{found} {logits:?}");
        }
    }
}

#[test]
fn what_qonnx_says_and_pq_does_not_is_refused_with_the_reason() {
    let attribute = |graph: &mut GraphProto, output: &str, change: &dyn Fn(&mut AttributeProto)| {
        let node = graph.node.iter_mut().find(|node| node.output[0] == output).unwrap();
        node.attribute.iter_mut().for_each(change);
    };
    let constant = |graph: &mut GraphProto, name: &str, value: f32| {
        graph.initializer.retain(|tensor| tensor.name != name);
        graph.initializer.push(TensorProto::floats(name, &[], &[value]));
    };
    let floor = |attribute: &mut AttributeProto| {
        if attribute.name == "rounding_mode" {
            attribute.s = Some(b"FLOOR".to_vec());
        }
    };
    // What is changed, and what the reason says.
    type Case<'a> = (&'a dyn Fn(&mut GraphProto), &'a str);
    let cases: [Case<'_>; 5] = [
        (&|graph| attribute(graph, "a", &floor), "FLOOR"),
        (&|graph| constant(graph, "eight", 16.0), "16 bits"),
        (&|graph| constant(graph, "four", 3.5), "3.5 bits"),
        (&|graph| constant(graph, "a.s", -1.0), "scale is -1"),
        (&|graph| graph.node[4].op_type = "BipolarQuant".into(), "signs of values"),
    ];
    for (change, reason) in cases {
        let error = import(&qonnx(change)).unwrap_err().to_string();
        assert!(error.contains(reason), "{error} for {reason}");
    }
}
