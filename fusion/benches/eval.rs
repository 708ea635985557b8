//! Images a second of the integer evaluation, on a network of the shape of ResNet-20.

use std::time::Instant;

use fusion::Evaluator;
use fusion::testing::{random_input, resnet20};

const IMAGES: usize = 256;

fn main() -> Result<(), fusion::Error> {
    let (graph, weights) = resnet20(1);
    let input = random_input(&graph, IMAGES, 1);
    let evaluator = Evaluator::new(&graph, &weights)?;
    for _ in 0..3 {
        let start = Instant::now();
        evaluator.run(&input)?;
        let seconds = start.elapsed().as_secs_f64();
        let rate = IMAGES as f64 / seconds;
        println!("{IMAGES} images of {} MACs in {seconds:.3} s: {rate:.0} images/s", graph.macs());
    }
    Ok(())
}
