//! Another activation than ReLU, run by both parties and held against the plaintext network:
//! `cargo run --release --example custom_activation`.
//!
//! A function of one value becomes a public table, which both parties look up obliviously. Here
//! GELU takes the place of every ReLU of a trained network, which was not trained for it.

use std::error::Error;
use std::path::Path;

use pq::{Images, Model, Network, SearchOptions, Uniform, search};
use protocols::plan::Op as Planned;
use quant::{Op, model::Function};

fn main() -> Result<(), Box<dyn Error>> {
    let relu = quant::import_file(Path::new("assets/digits.onnx"))?;
    let mut gelu = relu.clone();
    for node in &mut gelu.nodes {
        if matches!(node.op, Op::Relu { .. }) {
            node.op = Op::Function(Function::Gelu);
        }
    }
    let (relu, gelu) = (quantized(relu)?, quantized(gelu)?);

    let images = gelu.images("assets/digits-test-images-idx3-ubyte")?;
    let digits = images.take(10);
    let inference = gelu.infer_locally(&digits)?;
    let input = gelu.plan().encode(&digits.tensor()?.data)?;
    let plaintext = fusion::ideal(gelu.plan(), gelu.weights(), &input)?;
    assert_eq!(inference.answers, gelu.plan().decode(&plaintext, digits.len()));
    println!("{} private answers, equal to the plaintext network's", digits.len());

    println!("\nwhat GELU moves, for one image:");
    let plan = gelu.plan();
    for step in gelu.cost(1) {
        let planned = plan.steps.iter().find(|planned| planned.name == step.name);
        if planned.is_some_and(|planned| matches!(planned.op, Planned::Lookup { .. })) {
            let bits = step.cost.offline.bits() + step.cost.online.bits();
            println!("  {:18}{:14}{:6.1} kB", step.name, step.protocol, bits as f64 / 8e3);
        }
    }
    for (name, network) in [("ReLU", relu), ("GELU", gelu)] {
        let accuracy = 100.0 * network.accuracy(&images)?;
        println!("all of it with {name}: {:.1} kB, {accuracy:.0} % right", kilobytes(&network));
    }
    Ok(())
}

/// The network at 4 bits.
fn quantized(model: quant::Model) -> pq::Result<Network> {
    let model = Model::from(model);
    let images = Images::open("assets/digits-calib-images-idx3-ubyte", &model)?.take(64);
    let fixed = Some(Uniform { weight_bits: 4, activation_bits: 4 });
    let options = SearchOptions { fixed, ..SearchOptions::default() };
    Ok(search(&model, &images, &options)?.network)
}

/// What one private inference of one image moves.
fn kilobytes(network: &Network) -> f64 {
    let steps = network.cost(1).into_iter().map(|step| step.cost.offline + step.cost.online);
    steps.map(|cost| cost.bits()).sum::<u64>() as f64 / 8e3
}
