//! Steps of gradients of a network, one batch of noise: `step MODEL.onnx [IMAGES]`.
//!
//! Each line of the standard input asks for so many steps; each is answered by the loss of the last
//! one. `train/benches/trainer.py` measures this process beside PyTorch.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::PathBuf;

use model::{Dataset, Preprocess};
use train::{Network, Trainer};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path: PathBuf = arguments.next().ok_or("expected a network, an ONNX file")?.into();
    let images = arguments.next().map_or(Ok(64), |images| images.parse())?;
    let model = model::import_file(&path)?;
    let mut trainer: Trainer<f32> = Trainer::new(&Network::from(&model), images);
    for (node, conv) in model.layers() {
        trainer.set(node, &conv.weight, &conv.bias);
    }
    let data = Dataset::noise(images, model.input, 0).batch(0..images, &Preprocess::Unit)?;
    for line in std::io::stdin().lock().lines() {
        let mut loss = 0.0;
        for _ in 0..line?.trim().parse::<usize>()? {
            loss = trainer.step(&data.data, |image, logits, gradient| {
                gradient.fill(0.0);
                train::loss::cross_entropy(logits, image % logits.len(), 1.0, gradient)
            });
        }
        writeln!(std::io::stdout(), "{loss}")?;
    }
    Ok(())
}
