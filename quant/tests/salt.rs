//! The salt of weights: random, and not what a network, a seed or a file say.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use protocols::weights::Weights;
use quant::model::Op;
use quant::onnx::import_quantized;
use quant::qdq::export_quantized;
use quant::quantize::{BitWidths, Quantizer, Ranges, import_qdq};
use quant::{Dataset, Preprocess, import_file};

/// What anybody who has the float network can compute of it and a seed.
fn guess(model: &quant::Model, seed: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("pq 1 weights salt");
    hasher.update(&seed.to_le_bytes());
    for node in &model.nodes {
        if let Op::Conv(conv) = &node.op {
            for value in conv.weight.iter().chain(&conv.bias) {
                hasher.update(&value.to_le_bytes());
            }
        }
    }
    hasher.finalize().into()
}

/// Whether the plan's digest says that a guess of weights and salt is right.
fn confirmed(digest: &str, weights: &Weights, salt: [u8; 32]) -> bool {
    Weights { salt: salt.into(), layers: weights.layers.clone() }.digest() == digest
}

#[test]
fn a_plan_does_not_confirm_a_guessed_network() {
    let asset = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets").join(name);
    let model = import_file(&asset("digits.onnx")).unwrap();
    let data =
        Dataset::open(&asset("digits-calib-images-idx3-ubyte"), None, model.interface()).unwrap();
    let batch = data.batch(0..16, &Preprocess::Unit).unwrap();
    let quantizer = Quantizer::new(&model, &Preprocess::Unit, &batch, Ranges::Mse).unwrap();
    let activations = quantizer.activations();
    let widths = BitWidths {
        weight_bits: vec![4; activations.layers.len()],
        activation_bits: vec![4; activations.quantizers.len()],
    };
    let (graph, once) = quantizer.quantize(&widths).unwrap();
    let again = quantizer.quantize(&widths).unwrap().1;
    let options = fusion::Options { weights: once.digest(), ..fusion::Options::default() };
    let plan = fusion::fuse(&graph, &options).unwrap();
    assert!(once.layers == again.layers, "the weights depend on the arguments alone");
    assert_ne!(*once.salt, *again.salt);
    assert_ne!(plan.weights, again.digest());
    assert!(confirmed(&plan.weights, &again, *once.salt), "who has the salt can tell");
    for salt in (0..100).map(|seed| guess(&model, seed)).chain([[0; 32]]) {
        assert!(!confirmed(&plan.weights, &once, salt));
    }
    let file = export_quantized(&plan, &once).unwrap().bytes;
    let imported =
        || import_qdq(&import_quantized(&file).unwrap(), &Preprocess::Unit).unwrap().weights;
    let (once, again) = (imported(), imported());
    assert!(once.layers == again.layers && once.digest() != again.digest());
    let of_file = blake3::derive_key("pq 1 weights salt of a quantized file", &file);
    assert!(!confirmed(&once.digest(), &once, of_file));
}
