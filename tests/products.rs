//! Products of two values: squeeze and excitation, from ONNX to two parties.

use std::fs;
use std::time::Duration;

use protocols::linear::Geometry;
use protocols::plan::Plan;
use quant::model::{Conv, Function, Model, Node, Op, ValueId, Window};
use quant::{Dataset, Preprocess, float, import, onnx};

use crate::search::{asset, search_args};
use crate::support::{Server, finished, json, pq, run};

/// A network under construction, of random weights.
struct Building {
    model: Model,
    state: u32,
}

impl Building {
    fn random(&mut self, len: usize, size: f32) -> Vec<f32> {
        let next = |_| {
            self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            size * ((self.state >> 8) as f32 / (1 << 23) as f32 - 1.0)
        };
        (0..len).map(next).collect()
    }

    fn push(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let shapes: Vec<_> = inputs.iter().map(|&input| self.model.shape(input)).collect();
        let name = format!("{}{}", op.kind(), self.model.nodes.len());
        let shape = op.output_shape(&name, &shapes).unwrap();
        let output = ValueId(self.model.nodes.len() + 1);
        self.model.nodes.push(Node { name, op, inputs: inputs.to_vec(), output, shape });
        output
    }

    fn conv(&mut self, input: ValueId, out_channels: usize, kernel: usize) -> ValueId {
        let [in_channels, in_h, in_w] = self.model.shape(input);
        let geometry = Geometry::same_size([in_channels, out_channels], [in_h, in_w], kernel);
        let size = (6.0 / (in_channels * kernel * kernel) as f32).sqrt();
        let weight = self.random(geometry.weights(), size);
        let bias = self.random(out_channels, 0.3);
        self.push(Op::Conv(Conv { geometry, weight, bias }), &[input])
    }

    /// Channels times what an average of all makes of them.
    fn squeezed(&mut self, input: ValueId, gate: Function) -> ValueId {
        let [channels, rows, columns] = self.model.shape(input);
        let pooled = self.push(Op::AvgPool(Window::global([rows, columns])), &[input]);
        let narrow = self.conv(pooled, channels / 2, 1);
        let narrow = self.push(Op::Relu { max: None }, &[narrow]);
        let wide = self.conv(narrow, channels, 1);
        let gate = self.push(Op::Function(gate), &[wide]);
        self.push(Op::Mul, &[input, gate])
    }
}

/// Blocks of squeeze and excitation behind two activations, one with a residual, and a product of
/// two layers.
fn network() -> Model {
    let (nodes, input, output) = (Vec::new(), [1, 8, 8], ValueId::INPUT);
    let model = Model { name: "gated".into(), input, nodes, output };
    let mut net = Building { model, state: 3 };
    let first = net.conv(ValueId::INPUT, 6, 3);
    let first = net.push(Op::Function(Function::HardSwish), &[first]);
    let scaled = net.squeezed(first, Function::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 });
    let second = net.conv(scaled, 6, 3);
    let sum = net.push(Op::Add, &[second, first]);
    let second = net.push(Op::Relu { max: None }, &[sum]);
    let scaled = net.squeezed(second, Function::Sigmoid);
    let [left, right] = [1, 3].map(|kernel| net.conv(scaled, 4, kernel));
    let right = net.push(Op::Relu { max: None }, &[right]);
    let product = net.push(Op::Mul, &[left, right]);
    let pooled = net.push(Op::AvgPool(Window::global([8, 8])), &[product]);
    let logits = net.conv(pooled, 10, 1);
    Model { output: logits, ..net.model }
}

#[test]
fn a_network_of_gates_runs_privately_as_in_the_clear() {
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let (file, net) = (path("gated.onnx"), path("net"));
    let model = network();
    model.check().unwrap();
    let bytes = onnx::export(&model);
    fs::write(&file, &bytes).unwrap();
    let imported = import(&bytes).unwrap();
    assert_eq!(imported.nodes.len(), model.nodes.len());
    let images = asset("digits-test-images-idx3-ubyte");
    let data = Dataset::open(images.as_ref(), None, model.interface()).unwrap();
    let batch = data.batch(0..4, &Preprocess::Unit).unwrap();
    let expected = float::evaluate(&imported, &batch).unwrap();
    let calib = asset("digits-calib-images-idx3-ubyte");
    for (widths, most) in [("w8a8", 0.08), ("w4a5", 0.6)] {
        json(&run(&search_args(&file, &calib, &["--fixed", widths, "--out", &net])));
        let words = ["infer", "--local", &net, "--input", &images, "--index", "0..4"];
        let result = json(&run(&[&words[..], &["--verify", "--json"]].concat()));
        assert_eq!(result["verified"], true, "{widths}");
        let steps = result["steps"].as_array().unwrap().iter();
        let products =
            steps.filter(|step| step["protocol"].as_str().unwrap().starts_with("product"));
        assert_eq!(products.count(), 3);
        let logits: Vec<Vec<f64>> = serde_json::from_value(result["logits"].clone()).unwrap();
        let size = expected.data.iter().fold(0f32, |most, v| most.max(v.abs()));
        let apart = logits.concat().into_iter().zip(&expected.data);
        let error = apart.map(|(a, b)| (a - f64::from(*b)).abs()).fold(0.0, f64::max);
        println!("{widths}: largest error {error:.4} of {size:.4}");
        assert!(error < most * f64::from(size), "{widths}: {error} of {size}");
    }
    assert_eq!(two_processes(&net, &images), two_processes(&streamed(&net), &images));
}

/// The same network by a plan that keeps nothing.
fn streamed(net: &str) -> String {
    let file = format!("{net}/plan.json");
    let plan = Plan::from_json(&fs::read(&file).unwrap()).unwrap();
    assert!(!plan.streamed);
    fs::write(&file, Plan { streamed: true, ..plan }.to_json()).unwrap();
    net.to_owned()
}

/// The logits of the first images, from a client and a server on their own.
fn two_processes(net: &str, images: &str) -> Vec<Vec<i64>> {
    let (plan, weights) = (format!("{net}/plan.json"), format!("{net}/weights.safetensors"));
    let server = Server::start(&plan, &weights, &[]);
    let words = ["infer", "--role", "client", "--plan", &plan, "--input", images, "--json"];
    let more = ["--index", "0..2", "--connect", &server.address];
    let client = pq(&[&words[..], &more].concat()).spawn().unwrap();
    let result = json(&finished(client, Duration::from_secs(120)));
    server.stopped();
    serde_json::from_value(result["logits_int"].clone()).unwrap()
}
