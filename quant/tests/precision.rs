//! Sensitivities, careful rounding and reconstruction, on the small network of digits.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use model::softmax::{self, log_softmax};
use quant::quantize::{BitWidths, Quantizer, Ranges, Reconstruction};
use quant::search::{Measure, Sensitivity};
use quant::{Dataset, Model, Preprocess, Tensor, import_file};

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets").join(name)
}

fn digits(images: usize) -> (Model, Tensor) {
    let model = import_file(&asset("digits.onnx")).unwrap();
    let data =
        Dataset::open(&asset("digits-calib-images-idx3-ubyte"), None, model.interface()).unwrap();
    let batch = data.batch(0..images.min(data.len()), &Preprocess::Unit).unwrap();
    (model, batch)
}

/// Ranks, for a correlation that asks for order only.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for (rank, at) in order.into_iter().enumerate() {
        ranks[at] = rank as f64;
    }
    ranks
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let sum =
        |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    sum(&a, &b) / (sum(&a, &a) * sum(&b, &b)).sqrt()
}

#[test]
fn measures_of_sensitivity_agree_on_the_order() {
    let (model, batch) = digits(64);
    let quantizer = Quantizer::new(&model, &Preprocess::Unit, &batch, Ranges::Mse).unwrap();
    let found = Measure::ALL.map(|measure| {
        let sensitivity =
            Sensitivity::measure(measure, &model, &quantizer, &batch, &mut |_| {}).unwrap();
        [sensitivity.weights, sensitivity.activations].concat().concat()
    });
    for (measure, prices) in Measure::ALL.iter().zip(&found) {
        let agreement = correlation(&found[0], prices);
        println!("{}: {agreement:.3}", measure.name());
        assert!(agreement > 0.85, "{}: {agreement}", measure.name());
    }
    // Where errors are small the Fisher information is the divergence: at the widest widths, in
    // sum.
    let sum = |prices: &[f64]| prices.chunks_exact(7).map(|widths| widths[4]).sum::<f64>();
    let ratio = sum(&found[1]) / sum(&found[0]);
    assert!((0.3..3.0).contains(&ratio), "{ratio}");
}

/// The mean divergence of an integer network's classes from the float network's.
fn divergence(
    model: &Model,
    batch: &Tensor,
    graph: &fusion::Graph,
    weights: &protocols::weights::Weights,
) -> f64 {
    let options = fusion::Options { weights: weights.digest(), ..fusion::Options::default() };
    let plan = fusion::fuse(graph, &options).unwrap();
    let step = plan.input.scale;
    let images = batch.images();
    let (low, high) = plan.input_wire().range();
    let integers: Vec<i64> = batch
        .data
        .iter()
        .map(|&v| ((f64::from(v) / step).round() as i64).clamp(low, high))
        .collect();
    let logits = fusion::ideal(&plan, weights, &integers).unwrap();
    let reference = quant::float::evaluate(model, batch).unwrap();
    let classes = logits.len() / images;
    let one = |image: usize| -> f64 {
        let found: Vec<f64> = (0..classes)
            .map(|class| logits[class * images + image] as f64 * plan.output.scale)
            .collect();
        softmax::divergence(&log_softmax(reference.image(image)), &log_softmax(&found))
    };
    (0..images).map(one).sum::<f64>() / images as f64
}

#[test]
fn careful_rounding_and_reconstruction_come_closer_to_the_float_network() {
    let (model, batch) = digits(128);
    let quantizer = Quantizer::new(&model, &Preprocess::Unit, &batch, Ranges::Mse).unwrap();
    let activations = quantizer.activations();
    let narrow = BitWidths {
        weight_bits: vec![3; activations.layers.len()],
        activation_bits: vec![3; activations.quantizers.len()],
    };
    let loss = |(graph, weights)| divergence(&model, &batch, &graph, &weights);
    let alone = loss(quantizer.quantize(&narrow).unwrap());
    let finish = |steps: Option<usize>| {
        let reconstruction = steps.map(|steps| Reconstruction { steps, seed: 1 });
        quantizer.finish(&narrow, &batch, reconstruction.as_ref(), &mut |_, _, _| {}).unwrap()
    };
    let (careful, learned) = (loss(finish(None)), loss(finish(Some(60))));
    println!("{alone} alone, {careful} in sequence, {learned} reconstructed");
    assert!(careful < alone && learned < 0.7 * careful, "{alone}, {careful}, {learned}");
    let (once, again) = (finish(Some(3)).1, finish(Some(3)).1);
    assert!(once.layers == again.layers, "the same weights every time");
    assert!(once.salt != again.salt && once.digest() != again.digest(), "and another digest");
}
