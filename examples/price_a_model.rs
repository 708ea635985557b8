//! What a model would cost at several widths, before anything is quantized with care:
//! `cargo run --release --example price_a_model`.

use pq::{Images, Model, SearchOptions, Uniform, search};

fn main() -> pq::Result<()> {
    let model = Model::open("assets/digits.onnx")?;
    let images = Images::open("assets/digits-calib-images-idx3-ubyte", &model)?.take(64);
    println!("widths   one inference      set-up, once");
    for bits in [2, 4, 8] {
        let fixed = Some(Uniform { weight_bits: bits, activation_bits: bits });
        let found = search(&model, &images, &SearchOptions { fixed, ..Default::default() })?;
        let [inference, setup] =
            [found.predicted_bits, found.setup_bits].map(|bits| bits as f64 / 8e6);
        println!("w{bits}a{bits}     {inference:7.3} MB        {setup:7.3} MB");
    }
    Ok(())
}
