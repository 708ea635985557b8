//! Integers that were lowered for a device: what is imported lies half a step around them.

use model::onnx::proto::{GraphProto, NodeProto, TensorProto};
use model::{Tensor, float, import};

use super::{bytes, graph, node};

const MUL: [f32; 2] = [37.0, -21.0];
const ADD: [f32; 2] = [500.0, 9000.0];

/// The node with each attribute as an integer, or as the tensors that Deeploy's files have.
fn shift(tensors: bool, signed: bool) -> NodeProto {
    let attributes = [("div", 256), ("n_levels_out", 128), ("signed", signed.into())];
    attributes.into_iter().fold(
        node("RequantShift", &["x", "mul", "add"], "y"),
        |node, (name, n)| match tensors {
            true => node.tensor(name, TensorProto::floats("", &[], &[n as f32])),
            false => node.int(name, n),
        },
    )
}

fn network(node: NodeProto) -> GraphProto {
    let constants = vec![
        TensorProto::floats("mul", &[1, 2, 1, 1], &MUL),
        TensorProto::floats("add", &[1, 2, 1, 1], &ADD),
    ];
    graph(&[2, 4, 4], constants, vec![node])
}

#[test]
fn it_is_read_as_what_it_rounds() {
    let integers: Vec<f32> = (0..96).map(|at| ((at * 37) % 1201) as f32 - 400.0).collect();
    let batch = Tensor::new([3, 2, 4, 4], integers.clone()).unwrap();
    for (tensors, signed) in [(false, false), (true, false), (false, true), (true, true)] {
        let model = import(&bytes(13, network(shift(tensors, signed)))).unwrap();
        let found = float::evaluate(&model, &batch).unwrap();
        let (low, high) = if signed { (-64.0, 63.0) } else { (0.0, 127.0) };
        let (mut inside, mut off) = (0, 0.0);
        for (at, (&found, &x)) in found.data.iter().zip(&integers).enumerate() {
            let channel = at / 16 % 2;
            let exact = (x * MUL[channel] + ADD[channel]) / 256.0;
            let device = exact.floor().clamp(low, high);
            assert!((found - device).abs() <= 0.5 + 1e-4, "{x}: {found} for {device}");
            if device > low && device < high {
                inside += 1;
                off += found - device;
            }
        }
        assert!(inside > 30, "{inside}");
        assert!((off / inside as f32).abs() < 0.1, "{off} of {inside}: no half step on average");
    }
}
