//! Small graphs before and after one pass, as text.

use protocols::linear::Geometry;
use protocols::plan::Preprocess;

use super::{Pass, rewrite};
use crate::testing::random_input;
use crate::{Builder, Error, Graph, Kernel, LayerWeights, Linear, Weights, WireId, eval};

/// A graph whose node `acc` is a linear layer of 2x4x4 accumulators; `rest` is what follows before
/// the output.
pub(super) fn network(rest: impl FnOnce(&mut Builder, WireId) -> Result<WireId, Error>) -> Graph {
    let mut builder = Graph::builder("small", Preprocess::Raw);
    let build = |builder: &mut Builder| {
        let x = builder.input("x", [2, 4, 4], 4, false, 1.0)?;
        let layer = &weights().layers["acc"];
        let (geometry, kernel, range) = (geometry(), Kernel::Spatial, builder.wire(x).range);
        let linear = Linear {
            input: x,
            geometry,
            kernel,
            weight_bits: 4,
            shifts: Vec::new(),
            range,
            scale: 0.5,
        };
        let linear = linear.bounded("acc", layer, range)?;
        let acc = builder.linear("acc", linear)?;
        let last = rest(builder, acc)?;
        builder.output("out", last)
    };
    build(&mut builder).unwrap();
    builder.finish().unwrap()
}

/// The lines of the nodes behind `acc`, without their wires, after one pass; the integers are the
/// same.
pub(super) fn after(graph: &Graph, pass: impl Pass + 'static) -> Vec<String> {
    let rewritten = rewrite(graph, &[Box::new(pass)]).unwrap();
    let input = random_input(graph, 3, 7);
    assert_eq!(
        eval(graph, &weights(), &input),
        eval(&rewritten, &weights(), &input),
        "{graph}{rewritten}"
    );
    let text = rewritten.to_string();
    text.lines().skip(2).filter_map(|line| Some(line.split_once(" : ")?.0.to_owned())).collect()
}

fn geometry() -> Geometry {
    Geometry { in_h: 4, in_w: 4, ..Geometry::dense(2, 2) }
}

fn weights() -> Weights {
    let layer = LayerWeights { weights: vec![3, -5, -2, 7], bias: vec![-4, 9] };
    Weights { layers: [("acc".to_owned(), layer)].into(), ..Weights::default() }
}
