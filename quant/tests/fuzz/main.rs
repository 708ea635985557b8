//! Random networks, from ONNX to integers of 8 bits: each is imported, quantized and evaluated, and
//! its logits are held to onnxruntime's on the float network.
//!
//! `PQ_FUZZ_GRAPHS` says how many, `PQ_FUZZ_SEED` where they start, `PQ_FUZZ_KEEP` a folder to
//! write them to. A table of relative errors is printed; graphs beyond the bound with their
//! operators and seeds.

#![allow(clippy::unwrap_used)]

mod grammar;

use std::path::Path;

use grammar::{Random, network};
use model::float::{self, Edit};
use model::onnx::proto::ModelProto;
use model::{Model, Preprocess, ReferenceRuntime, Tensor, ValueId, import};
use prost::Message;
use quant::search::{Images, SearchOptions, Uniform, search};

/// Upper ends of the table's rows.
const ROWS: [f64; 6] = [0.01, 0.03, 0.1, 0.3, 1.0, f64::INFINITY];
/// Images that are calibrated on.
const CALIBRATION: usize = 24;
/// The spread of what rounding to 8 bits moves, of the largest value: a step of 1/128 over the
/// square root of 12.
const NOISE: f32 = 0.002_26;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn images(seed: u64, count: usize, [c, h, w]: [usize; 3]) -> Tensor {
    Tensor::new([count, c, h, w], Random::new(seed).noise(count * c * h * w)).unwrap()
}

/// The distance over the spread of what is expected, over the images.
fn distance(found: &[f32], expected: &[f32], images: usize) -> f64 {
    let classes = expected.len() / images;
    let means: Vec<f64> = (0..classes)
        .map(|class| {
            let values = expected.iter().skip(class).step_by(classes);
            values.map(|&v| f64::from(v)).sum::<f64>() / images as f64
        })
        .collect();
    let square = |a: f64, b: f64| (a - b) * (a - b);
    let errors = found.iter().zip(expected).map(|(&a, &b)| square(a.into(), b.into()));
    let spread = expected.iter().enumerate().map(|(at, &v)| square(v.into(), means[at % classes]));
    // Logits that are the same for all images are held to themselves.
    let least = expected.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() * 1e-4;
    (errors.sum::<f64>() / spread.sum::<f64>().max(least).max(1e-12)).sqrt()
}

/// The distance over the better half of the images: values beyond those of the calibration images
/// are cut off, in some images, which is no fault.
fn distance_of_half(found: &[f32], expected: &[f32], images: usize) -> f64 {
    let classes = expected.len() / images;
    let pairs = found.chunks(classes).zip(expected.chunks(classes));
    let mut pairs: Vec<(&[f32], &[f32])> = pairs.collect();
    let error = |(found, expected): &(&[f32], &[f32])| {
        found.iter().zip(*expected).map(|(a, b)| (a - b).powi(2)).sum::<f32>()
    };
    pairs.sort_by(|a, b| error(a).total_cmp(&error(b)));
    pairs.truncate(images / 2);
    let (found, expected): (Vec<&[f32]>, Vec<&[f32]>) = pairs.into_iter().unzip();
    distance(&found.concat(), &expected.concat(), images / 2)
}

/// What a network of random operators came to.
struct Outcome {
    /// Of the integers.
    error: f64,
    /// Of floats with noise on every value, as of rounding.
    noisy: f64,
}

/// How far noise on every value in turn, as large as that of rounding, moves the logits in all:
/// what a network itself makes of rounding.
fn noisy(model: &Model, batch: &Tensor, seed: u64) -> f64 {
    let kept = float::activations(model, batch).unwrap();
    let logits = &kept.value(model.output).unwrap().data;
    let each = (0..model.nodes.len()).map(|value| {
        let id = ValueId(value);
        let mut tensor = kept.value(id).unwrap().clone();
        let noise = Random::new(seed ^ value as u64).noise(tensor.data.len());
        let largest = tensor.data.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        tensor.data.iter_mut().zip(noise).for_each(|(v, noise)| *v += largest * NOISE * noise);
        let moved =
            float::reevaluate(model, &kept, &[Edit::Value { id, tensor: &tensor }]).unwrap();
        distance(&moved.data, logits, batch.images()).powi(2)
    });
    each.sum::<f64>().sqrt()
}

fn runtime_logits(runtime: &ReferenceRuntime, bytes: &[u8], batch: &Tensor) -> Vec<f32> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    runtime.run(file.path(), batch).unwrap().data
}

/// The first node of a network that is imported as another.
fn first_other(runtime: &ReferenceRuntime, bytes: &[u8], batch: &Tensor) -> String {
    let whole = ModelProto::decode(bytes).unwrap();
    let nodes = whole.graph.as_ref().unwrap().node.clone();
    for (at, node) in nodes.iter().enumerate() {
        let mut part = whole.clone();
        let graph = part.graph.as_mut().unwrap();
        graph.node.truncate(at + 1);
        graph.output[0].name.clone_from(&node.output[0]);
        let bytes = part.encode_to_vec();
        let Ok(model) = import(&bytes) else { continue };
        let ours = float::evaluate(&model, batch).unwrap().data;
        if distance(&ours, &runtime_logits(runtime, &bytes, batch), batch.images()) > 1e-3 {
            return format!("{at}, {node:?}, as {:?}", model.nodes);
        }
    }
    "none alone".into()
}

/// Takes a network all the way; what is refused on the way, in words.
fn taken(seed: u64, runtime: Option<&ReferenceRuntime>) -> (String, Result<Outcome, String>) {
    let (bytes, shape, operators) = network(seed);
    if let Some(folder) = std::env::var_os("PQ_FUZZ_KEEP") {
        std::fs::write(Path::new(&folder).join(format!("{seed}.onnx")), &bytes).unwrap();
    }
    let model = match import(&bytes) {
        Ok(model) => model,
        Err(error) => return (operators, Err(error.to_string())),
    };
    let calibration = images(seed ^ 1, CALIBRATION, shape);
    let batch = images(seed ^ 2, 8, shape);
    let ours = float::evaluate(&model, &batch).unwrap().data;
    let expected = match runtime {
        Some(runtime) => {
            let theirs = runtime_logits(runtime, &bytes, &batch);
            if distance(&ours, &theirs, batch.images()) > 1e-3 {
                let at = first_other(runtime, &bytes, &batch);
                return (operators, Err(format!("another network from node {at} on")));
            }
            theirs
        }
        None => ours.clone(),
    };
    let options = SearchOptions {
        fixed: Some(Uniform { weight_bits: 8, activation_bits: 8 }),
        ..SearchOptions::default()
    };
    let channels = shape[0];
    let plain = Preprocess::Normalize { mean: vec![0.0; channels], std: vec![1.0; channels] };
    let given = Images { batch: &calibration, labels: None, held_back: None };
    let found = match search(&model, &plain, &given, &options, &mut |_| {}) {
        Ok(found) => found,
        Err(error) => return (operators, Err(format!("search: {error}"))),
    };
    let input = found.plan.encode(&batch.data).unwrap();
    let result = fusion::ideal(&found.plan, &found.weights, &input).unwrap();
    let answers = found.plan.decode(&result, batch.images()).into_iter();
    let logits: Vec<f32> =
        answers.flat_map(|answer| answer.logits.unwrap().values).map(|v| v as f32).collect();
    let outcome = Outcome {
        error: distance_of_half(&logits, &expected, batch.images()),
        noisy: noisy(&model, &batch, seed ^ 3),
    };
    (operators, Ok(outcome))
}

#[test]
fn random_networks_say_what_onnxruntime_says() {
    let runtime = match ReferenceRuntime::find(None) {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            assert!(std::env::var_os("PQ_REQUIRE_ORT").is_none(), "{error}");
            println!("skipped: onnxruntime ({error})");
            None
        }
    };
    let default = if cfg!(debug_assertions) { 40 } else { 200 };
    let (graphs, start) = (setting("PQ_FUZZ_GRAPHS", default), setting("PQ_FUZZ_SEED", 0));
    let mut rows = [0; ROWS.len()];
    let (mut wrong, mut worst) = (Vec::new(), (0.0, 0));
    for seed in start..start + graphs {
        println!("seed {seed}");
        let (operators, outcome) = taken(seed, runtime.as_ref());
        match outcome {
            Ok(Outcome { error, noisy }) => {
                rows[ROWS.iter().position(|&end| error < end).unwrap_or(ROWS.len() - 1)] += 1;
                let ratio = error / (0.03 + 5.0 * noisy);
                worst = if ratio > worst.0 { (ratio, seed) } else { worst };
                // Scales are powers of two apart, so that steps are up to twice as large; weights
                // are rounded, too.
                if ratio.is_nan() || ratio >= 1.0 {
                    wrong.push(format!(
                        "{seed}: error {error:.3}, of noise {noisy:.4}: {operators}"
                    ));
                }
            }
            Err(reason) => wrong.push(format!("{seed}: refused: {reason}: {operators}")),
        }
    }
    println!("{graphs} networks from seed {start}, relative errors of the logits:");
    for (end, count) in ROWS.iter().zip(rows) {
        println!("below {end:>5}  {count}");
    }
    println!("nearest to the bound: seed {}, at {:.2} of it", worst.1, worst.0);
    assert!(wrong.is_empty(), "{} networks:\n{}", wrong.len(), wrong.join("\n"));
}
