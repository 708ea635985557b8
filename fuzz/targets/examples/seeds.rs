//! Writes the seeds of the fuzz corpus that are made by hand: `cargo run -p pq-fuzz-targets
//! --example seeds`.

use std::error::Error;
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{GrayImage, ImageFormat, RgbImage};
use pq_fuzz_targets::{network, wire};
use prost::Message;
use protocols::Role;
use protocols::plan::{Op, Plan};
use protocols::steps::{Argmax, Lookup, Output};
use quant::onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use zip::write::SimpleFileOptions;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    onnx()?;
    quantized()?;
    plans()?;
    weights()?;
    conversations()?;
    images()
}

fn seed(target: &str, name: &str, content: impl AsRef<[u8]>) -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(format!("seed_{name}")), content)?)
}

/// A constant of so many integers.
fn integers(name: &str, data: &[i64]) -> TensorProto {
    TensorProto::ints(name, &[data.len() as i64], data)
}

/// A constant of eighths.
fn eighths(name: &str, dims: &[i64]) -> TensorProto {
    let count = dims.iter().product::<i64>() as usize;
    TensorProto::floats(name, dims, &(0..count).map(|i| i as f32 / 8.0 - 1.0).collect::<Vec<_>>())
}

/// All constants that the nodes read.
fn constants() -> Vec<TensorProto> {
    vec![
        eighths("kernel", &[3, 2, 3, 3]),
        eighths("depthwise", &[2, 1, 2, 2]),
        eighths("bias", &[3]),
        eighths("matrix", &[4, 32]),
        eighths("scale", &[2]),
        eighths("shift", &[2]),
        eighths("mean", &[2]),
        TensorProto::floats("variance", &[2], &[1.0, 2.0]),
        TensorProto::floats("zero", &[], &[0.0]),
        TensorProto::floats("six", &[], &[6.0]),
        integers("lengths", &[0, -1]),
        integers("pads", &[0, 1, 0, 0, 0, 1, 1, 1]),
        integers("starts", &[0, 0]),
        integers("ends", &[i64::MAX, -1]),
        integers("axes", &[2, 3]),
        integers("steps", &[2, 1]),
    ]
}

fn onnx() -> Outcome {
    let node = |op: &str, input: &[&str]| NodeProto::new(op, op, input, &["y"]);
    let pool = |op| node(op, &["x"]).ints("kernel_shape", &[2, 2]).ints("strides", &[2, 2]);
    let batch_norm = ["x", "scale", "shift", "mean", "variance"];
    let nodes = [
        node("Conv", &["x", "kernel", "bias"]).ints("pads", &[1, 1, 0, 0]).ints("strides", &[2, 2]),
        node("Conv", &["x", "depthwise"]).int("group", 2).ints("dilations", &[2, 1]),
        node("BatchNormalization", &batch_norm).float("epsilon", 1e-3),
        node("Relu", &["x"]),
        node("Clip", &["x", "zero", "six"]),
        node("Add", &["x", "x"]),
        pool("MaxPool"),
        pool("AveragePool").int("count_include_pad", 1),
        node("GlobalAveragePool", &["x"]),
        node("Gemm", &["x", "matrix"]).int("transB", 1).float("alpha", 0.5),
        node("MatMul", &["x", "matrix"]),
        node("Flatten", &["x"]).int("axis", 1),
        node("Reshape", &["x", "lengths"]),
        node("Identity", &["x"]),
        node("Constant", &[]).tensor("value", integers("", &[1, 2])),
        node("Pad", &["x", "pads"]).string("mode", "constant"),
        node("Slice", &["x", "starts", "ends", "axes", "steps"]),
        node("Softmax", &["x"]),
    ];
    let constants = constants();
    for node in nodes.into_iter().chain(activations()) {
        let name = node.op_type.to_lowercase();
        let used = constants.iter().filter(|constant| node.input.contains(&constant.name));
        let graph = GraphProto {
            name: name.clone(),
            initializer: used.cloned().collect(),
            input: vec![ValueInfoProto::batch("x", &[2, 4, 4])],
            output: vec![ValueInfoProto { name: "y".into(), ..ValueInfoProto::batch("y", &[]) }],
            node: vec![node],
            ..GraphProto::default()
        };
        seed("onnx_import", &name, ModelProto::new(13, graph).encode_to_vec())?;
    }
    Ok(())
}

/// The network up to its sum: an export holds no function but ReLU.
fn without_functions() -> Plan {
    let mut plan = network::plan().clone();
    plan.steps
        .retain(|step| !matches!(step.op, Op::Lookup(Lookup { .. }) | Op::Argmax(Argmax { .. })));
    plan.wires.truncate(8);
    if let Some(Op::Output(Output { input })) = plan.steps.last_mut().map(|step| &mut step.op) {
        *input = 7;
    }
    plan
}

/// Quantized networks: our own form, and what others write.
fn quantized() -> Outcome {
    let exported = quant::qdq::export_quantized(&without_functions(), network::weights())?;
    seed("onnx_import", "quantized_by_pq", exported.bytes)?;
    let node =
        |op: &str, input: &[&str], output: &str| NodeProto::new(op, output, input, &[output]);
    let float = |name: &str, data: &[f32]| TensorProto::floats(name, &[data.len() as i64], data);
    let scalar = |name: &str, value: f32| TensorProto::floats(name, &[], &[value]);
    let constants = vec![
        scalar("step", 0.125),
        TensorProto::byte("middle", 120, false),
        TensorProto::byte("zero", 0, false),
        TensorProto::byte("low", -8, true),
        TensorProto::byte("high", 7, true),
        TensorProto::int8s("integers", &[3, 2, 1, 1], &[1, -2, 3, -4, 5, -8]),
        TensorProto::floats("floats", &[3, 2, 1, 1], &[0.1, -0.2, 0.3, -0.4, 0.5, -0.8]),
        float("steps", &[0.1, 0.2, 0.0625]),
        TensorProto::int32s("bias", &[3], &[10, -20, 30]),
    ];
    let head = [
        node("QuantizeLinear", &["x", "step", "middle"], "x8"),
        node("DequantizeLinear", &["x8", "step", "middle"], "xf"),
        node("DequantizeLinear", &["bias", "steps"], "b").int("axis", 0),
    ];
    let tail = [
        node("Conv", &["xf", "w", "b"], "c"),
        node("QuantizeLinear", &["c", "step", "zero"], "c8"),
        node("DequantizeLinear", &["c8", "step", "zero"], "cf"),
        node("Conv", &["cf", "w2"], "y"),
    ];
    let integers = [
        node("Clip", &["integers", "low", "high"], "w8"),
        node("DequantizeLinear", &["w8", "steps"], "w").int("axis", 0),
    ];
    let floats = [
        node("QuantizeLinear", &["floats", "steps"], "w8").int("axis", 0),
        node("DequantizeLinear", &["w8", "steps"], "w").int("axis", 0),
    ];
    let second = [
        node("Transpose", &["w8"], "w8t").ints("perm", &[1, 0, 2, 3]),
        node("DequantizeLinear", &["w8t", "step"], "w2"),
    ];
    for (name, weights) in [("integers", integers), ("floats", floats)] {
        let graph = GraphProto {
            name: name.into(),
            initializer: constants.clone(),
            input: vec![ValueInfoProto::batch("x", &[2, 4, 4])],
            output: vec![ValueInfoProto::batch("y", &[])],
            node: [&head[..], &weights, &second, &tail].concat(),
            ..GraphProto::default()
        };
        seed(
            "onnx_import",
            &format!("quantized_{name}"),
            ModelProto::new(13, graph).encode_to_vec(),
        )?;
    }
    Ok(())
}

fn activations() -> [NodeProto; 4] {
    let node = |op: &str| NodeProto::new(op, op, &["x"], &["y"]);
    [
        node("Sigmoid"),
        node("HardSigmoid").float("alpha", 0.25).float("beta", 0.5),
        node("Gelu").string("approximate", "tanh"),
        node("Elu").float("alpha", f32::NAN),
    ]
}

fn plans() -> Outcome {
    let plan = network::plan();
    let json = String::from_utf8(plan.to_json())?;
    let compact: String = json.lines().map(str::trim_start).collect();
    seed("plan", "pretty", &json)?;
    let changes = [
        ("same", "", ""),
        ("deep", "\"softspoken\": 2", "\"softspoken\": 8"),
        ("ferret", "\"softspoken\": 2", "\"ferret\": 10"),
        ("ferret_of_no_set", "\"softspoken\": 2", "\"ferret\": 9"),
        ("wide_trees", "{\"vole\": {\"k\": 4}}", "{\"vole\": {\"k\": 8}}"),
        ("bitwise", "{\"vole\": {\"k\": 4}}", "\"cot\""),
        ("raw", "\"preprocess\": \"unit\"", "\"preprocess\": \"raw\""),
        ("normalized", "\"unit\"", "{\"normalize\": {\"mean\": [0.5],\"std\": [0.25]}}"),
        ("zero_scale", "\"scale\": 0.5", "\"scale\": 0.0"),
        ("huge_wire", "\"shape\": [1,4,4]", "\"shape\": [16777216,16777216,16777216]"),
        ("many_channels", "\"out_channels\": 2", "\"out_channels\": 16777216"),
        ("no_stride", "\"stride\": [2,2]", "\"stride\": [0,2]"),
        ("huge_pad", "\"pad_top\": 0", "\"pad_top\": 18446744073709551615"),
        ("deep_network", "\"and_depth\": 2", "\"and_depth\": 200"),
        ("wide_digit", "\"digit\": 2", "\"digit\": 9"),
        ("no_wire", "\"output\": 7", "\"output\": 70"),
        ("tight_pool", "\"ring\": 10}", "\"ring\": 2}"),
        ("short_table", "\"table\": [0,", "\"table\": ["),
        ("wide_entry", "\"table\": [0,", "\"table\": [99,"),
        ("wide_lookup", "\"input\": 7", "\"input\": 6"),
        ("label_of_an_image", "\"input\": 8", "\"input\": 1"),
        ("wide_shift", "\"shift\": 2", "\"shift\": 200"),
    ];
    for (name, from, to) in changes {
        seed("plan", name, compact.replacen(from, to, 1))?;
    }
    let hint =
        "{\"hint\": {\"outputs\": 1,\"noise\": 14,\"cut\": 2,\"draws\": true,\"carry\": false}}";
    let hinted = compact.replacen("{\"vole\": {\"k\": 4}}", hint, 1);
    seed("plan", "hint", &hinted)?;
    let digest = format!("\"hints\": \"{}\",\"weights\"", "0".repeat(64));
    let named = hinted.replacen("\"weights\"", &digest, 1);
    Plan::from_json(named.as_bytes())?;
    seed("plan", "hint_in_a_file", &named)
}

fn weights() -> Outcome {
    let weights = network::weights();
    let file = weights.to_safetensors();
    seed("weights", "same", &file)?;
    seed("weights", "empty", b"")?;
    for cut in [4, 8, 60, file.len() - 1] {
        seed("weights", &format!("cut_{cut}"), &file[..cut])?;
    }
    let mut other = weights.clone();
    for (name, value) in [("too_wide", 2), ("another", 1)] {
        if let Some(layer) = other.layers.get_mut("conv") {
            layer.weights[0] = -value;
        }
        seed("weights", name, other.to_safetensors())?;
    }
    other.layers.remove("fc");
    seed("weights", "missing", other.to_safetensors())?;
    for (name, from, to) in
        [("type", "\"I8\"", "\"U8\""), ("salt", "\"salt\"", "\"malt\""), ("shape", "[8]", "[9]")]
    {
        let header =
            String::from_utf8_lossy(&file[8..]).find('}').map_or(file.len(), |_| file.len());
        let mut changed = file[..header].to_vec();
        if let Some(at) = changed.windows(from.len()).position(|window| window == from.as_bytes()) {
            changed.splice(at..at + from.len(), to.bytes());
        }
        seed("weights", &format!("other_{name}"), changed)?;
    }
    let mut long = file.clone();
    long[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    seed("weights", "long_header", long)
}

fn conversations() -> Outcome {
    for (target, peer) in [("wire_server", Role::Client), ("wire_client", Role::Server)] {
        let honest = wire::transcript(peer, network::plan());
        let frames = wire::frames(honest);
        let raw = |mode: u8, bytes: &[u8]| [&[mode], bytes].concat();
        let (hello, met) = (frames[0].end, frames[wire::HANDSHAKE - 1].end);
        let offer = &honest[met..frames[wire::HANDSHAKE].end];
        seed(target, "nothing", b"")?;
        seed(target, "raw_greeting", raw(0, &honest[..hello]))?;
        seed(target, "raw_half_a_header", raw(0, &honest[..7]))?;
        seed(
            target,
            "raw_keep_alive",
            raw(0, &[0xd2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].repeat(40)),
        )?;
        seed(target, "raw_long_frame", raw(0, &[0xd1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 16, 0]))?;
        seed(target, "greeted_offer", raw(1, offer))?;
        seed(
            target,
            "greeted_no_point",
            raw(1, &[&offer[..offer.len() - 32], &[255; 32]].concat()),
        )?;
        seed(target, "honest", [2])?;
        // What is asked or answered: its start, version, kinds, name and numbers.
        for at in [0, 8, 12, 13, 14, 17, 45, 49, 60, 78, 82, 92] {
            seed(target, &format!("ask_{at:02}"), [2, 0, 0, 0, 12 + at, 0, 0x02])?;
        }
        let count = frames.len();
        for (nth, frame) in (0..count).step_by(count.div_ceil(20)).enumerate() {
            let [low, high] = (frame as u16).to_le_bytes();
            let at = if nth % 2 == 0 { 12 } else { (nth % 12) as u8 };
            seed(target, &format!("frame_{frame:03}"), [2, nth as u8 % 6, low, high, at, 0, 0x55])?;
        }
        seed(target, "ferret_honest", [0x82])?;
        // The frames of the bootstrap and of the first batch.
        for (nth, frame) in (wire::HANDSHAKE + 2
            ..wire::frames(wire::transcript(peer, network::ferret_plan())).len())
            .take(6)
            .enumerate()
        {
            seed(
                target,
                &format!("ferret_frame_{frame:03}"),
                [0x82, nth as u8, frame as u8, 0, 12, 0, 0x55],
            )?;
        }
    }
    Ok(())
}

fn images() -> Outcome {
    let packed = |bytes: &[u8]| -> Result<Vec<u8>, Box<dyn Error>> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes)?;
        Ok(encoder.finish()?)
    };
    let of = |network: u8, bytes: &[u8]| [&[network], bytes].concat();
    let idx = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8];
    seed("images", "idx", of(2, &idx))?;
    seed("images", "idx_packed", of(2, &packed(&idx)?))?;
    seed("images", "idx_labeled", [&[0x82, 4], &b"3\n4\n"[..], &idx].concat())?;
    seed(
        "images",
        "idx_with_idx_labels",
        [&[0x82, 10, 0, 0, 8, 1, 0, 0, 0, 2, 3, 4], &idx[..]].concat(),
    )?;
    seed("images", "idx_of_labels", of(2, &[0, 0, 8, 1, 0, 0, 0, 2, 3, 4]))?;
    seed(
        "images",
        "idx_too_long",
        of(2, &[0, 0, 8, 4, 255, 255, 255, 255, 255, 255, 255, 255, 1, 1, 1, 1, 1, 1, 1, 1]),
    )?;
    for (name, record) in [("cifar_10", 3073), ("cifar_100", 3074)] {
        seed("images", name, of(1, &packed(&vec![3; 2 * record])?))?;
    }
    for (name, descr, shape, bytes) in [
        ("bytes", "|u1", "(2, 1, 2, 2)", 8),
        ("floats", "<f4", "(1, 2, 2)", 16),
        ("doubles", "<f8", "(2, 2)", 32),
    ] {
        seed("images", &format!("npy_{name}"), of(2, &npy(descr, shape, bytes)))?;
    }
    seed("images", "npy_flat", of(3, &npy("<f4", "(2, 4)", 32)))?;
    seed("images", "npy_huge", of(3, &npy("<f8", "(18446744073709551615, 4)", 32)))?;
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (key, content) in [("x.npy", npy("|u1", "(2, 2, 2)", 8)), ("y.npy", npy("<i8", "(2,)", 16))]
    {
        archive.start_file(key, SimpleFileOptions::default())?;
        archive.write_all(&content)?;
    }
    seed("images", "npz", of(2, &archive.finish()?.into_inner()))?;
    for (name, format) in [("png", ImageFormat::Png), ("jpeg", ImageFormat::Jpeg)] {
        let (mut gray, mut color) = (Cursor::new(Vec::new()), Cursor::new(Vec::new()));
        GrayImage::new(2, 2).write_to(&mut gray, format)?;
        RgbImage::new(32, 32).write_to(&mut color, format)?;
        seed("images", &format!("{name}_gray"), of(2, gray.get_ref()))?;
        seed("images", &format!("{name}_color"), of(1, color.get_ref()))?;
    }
    seed("images", "text", of(0, b"1\n2\n3\n"))
}

fn npy(descr: &str, shape: &str, bytes: usize) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let start = [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..]].concat();
    [start, header.into_bytes(), vec![1; bytes]].concat()
}
