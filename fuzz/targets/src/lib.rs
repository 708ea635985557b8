//! What the fuzz targets do with their input: bytes from outside go into one entrance of the
//! library each, and nothing may panic, hang, or take more memory or time than the bytes are worth.
//!
//! The targets in `fuzz/fuzz_targets` call these functions, and so does the test that replays the
//! corpus.

pub mod network;
pub mod wire;

use std::path::Path;

use protocols::Role;
use protocols::plan::Plan;
use protocols::weights::Weights;
use quant::{Dataset, Interface};

/// An ONNX file. What is imported must pass the model's own check; what is quantized in it, too,
/// and becomes an integer network or an error.
pub fn onnx_import(data: &[u8]) {
    if let Ok(quantized) = quant::onnx::import_quantized(data)
        && let Ok(imported) = quant::quantize::import_qdq(&quantized, &quant::Preprocess::Unit)
    {
        let layers =
            imported.graph.nodes().iter().filter(|node| matches!(node.op, fusion::Op::Linear(_)));
        assert_eq!(layers.count(), imported.weights.layers.len(), "every layer has its weights");
    }
    if let Ok(report) = quant::onnx::survey(data)
        && let Some(model) = report.model
        && let Err(error) = model.check()
    {
        panic!("an imported model does not check: {error}");
    }
}

/// A plan file. What passes the plan's check must have a price, and mean the same when it is
/// written and read again.
pub fn plan(data: &[u8]) {
    let Ok(plan) = Plan::from_json(data) else { return };
    for images in [1, 64] {
        let phases = plan.cost(images);
        let lines = plan.step_costs(images);
        let online: u64 = lines.iter().map(|line| line.cost.online.bytes()).sum();
        assert_eq!(online, phases.online.bytes(), "the lines of a plan's price add up to it");
    }
    let again = Plan::from_json(&plan.to_json());
    assert!(
        again.is_ok_and(|again| again == plan && again.hash() == plan.hash()),
        "a plan is its own JSON"
    );
}

/// A file of weights, held against the small network's plan. What is read must be the same when it
/// is written and read.
pub fn weights(data: &[u8]) {
    let Ok(weights) = Weights::from_safetensors(data) else { return };
    let accepted = weights.check(network::plan()).is_ok();
    let again = Weights::from_safetensors(&weights.to_safetensors());
    assert!(again.is_ok_and(|again| again == weights), "weights are their own file");
    assert!(
        !accepted || weights.digest() == network::plan().weights,
        "accepted weights are those of the plan"
    );
}

/// The server's side of the wire; see [`wire`].
pub fn wire_server(data: &[u8]) {
    wire::run(Role::Server, data);
}

/// The client's side of the wire; see [`wire`].
pub fn wire_client(data: &[u8]) {
    wire::run(Role::Client, data);
}

/// A file of images, and perhaps one of labels.
///
/// The first byte says for which network; where its top bit is set, the second byte is the length
/// of the labels' file, which comes first.
pub fn images(data: &[u8]) {
    const INPUTS: [[usize; 3]; 4] = [[1, 28, 28], [3, 32, 32], [1, 2, 2], [4, 1, 1]];
    let Some((&first, mut rest)) = data.split_first() else { return };
    let mut labels = None;
    if first & 0x80 != 0
        && let Some((&len, after)) = rest.split_first()
    {
        let (file, images) = after.split_at(after.len().min(len.into()));
        (labels, rest) = (Some((Path::new("labels"), file)), images);
    }
    let input = INPUTS[usize::from(first) % INPUTS.len()];
    let network = Interface { input, classes: 100 };
    let Ok(images) = Dataset::from_bytes(Path::new("images"), rest, labels, network) else {
        return;
    };
    assert!(
        images.labels().is_none_or(|labels| labels.len() == images.len()),
        "one label for each image"
    );
    assert!(
        images.labels().is_none_or(|labels| labels.iter().all(|&label| label < 100)),
        "labels are classes"
    );
    let taken = images.len().min(2);
    let batch = images.batch(0..taken, &quant::Preprocess::Unit);
    assert!(batch.is_ok_and(|batch| batch.data.len() == taken * input.iter().product::<usize>()));
}
