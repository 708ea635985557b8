//! A private inference, both parties in this process: `cargo run --release --example in_process`.

use pq::{Images, Model, SearchOptions, search};

fn main() -> pq::Result<()> {
    let model = Model::open("assets/digits.onnx")?;
    let calibration = Images::open("assets/digits-calib-images-idx3-ubyte", &model)?;
    let options = SearchOptions { budget_bits: Some(20_000_000), ..Default::default() };
    let network = search(&model, &calibration.take(128), &options)?.network;

    let digits = network.images("assets/digits-test-images-idx3-ubyte")?.take(10);
    let inference = network.infer_locally(&digits)?;
    for answer in &inference.answers {
        println!("a {}", answer.label);
    }
    println!("{} bytes, and the server saw no image", inference.bytes());
    Ok(())
}
