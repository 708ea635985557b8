//! Scales for the wires of a plan, which itself knows those of its ends only.

use protocols::plan::{Plan, WireId};
use protocols::steps::{Input, Product, Requant};

/// How far two ways to a scale may differ, relative to each other.
const TOLERANCE: f64 = 1e-6;

/// The scale of every wire, or the step whose operands no scales suit.
///
/// A requantization ties its terms to its result by powers of two, a view or a maximum its input,
/// an average its input up to the area of its windows. Weights are free: no scale crosses a linear
/// layer. A product has the scale of its factors together, unless something else decides it. Of all
/// else that is tied together, the first value that is stored has scale one, and so has the input.
pub(super) fn of(plan: &Plan) -> Result<Vec<f64>, &str> {
    let mut ties = Ties { wires: (0..plan.wires.len()).map(|wire| (wire, 1.0)).collect() };
    for step in &plan.steps {
        let tied = step.op.ties().iter().all(|tie| ties.tie(tie.wire, tie.to, tie.ratio));
        if !tied {
            return Err(&step.name);
        }
    }
    let mut unit = vec![None; plan.wires.len()];
    for step in &plan.steps {
        if let Some(Product { input, gate, output, .. }) = step.op.get() {
            // Factors are written before, so their units are known by now.
            let (root, ratio) = ties.root(*output);
            let [a, b] = [*input, *gate].map(|wire| {
                let (root, ratio) = ties.root(wire);
                ratio * unit[root].unwrap_or(1.0)
            });
            unit[root].get_or_insert(a * b / ratio);
        }
        let input = step.op.get::<Input>().map(|input| input.output);
        let stored = input.or_else(|| step.op.get::<Requant>().map(|requant| requant.output));
        if let Some(output) = stored {
            let (root, ratio) = ties.root(output);
            unit[root].get_or_insert(1.0 / ratio);
        }
    }
    let scale = |wire| {
        let (root, ratio) = ties.root(wire);
        ratio * unit[root].unwrap_or(1.0)
    };
    Ok((0..plan.wires.len()).map(scale).collect())
}

/// By wire: another that it is tied to, and its scale over that one's; itself, if none.
struct Ties {
    wires: Vec<(WireId, f64)>,
}

impl Ties {
    /// Notes that the scale of `a` is `ratio` times that of `b`; false where it is known to be
    /// another.
    fn tie(&mut self, a: WireId, b: WireId, ratio: f64) -> bool {
        let ((root_a, of_a), (root_b, of_b)) = (self.root(a), self.root(b));
        let ratio = ratio * of_b / of_a;
        if root_a == root_b {
            return (ratio - 1.0).abs() <= TOLERANCE;
        }
        self.wires[root_a] = (root_b, ratio);
        true
    }

    fn root(&self, mut wire: WireId) -> (WireId, f64) {
        let mut ratio = 1.0;
        while self.wires[wire].0 != wire {
            ratio *= self.wires[wire].1;
            wire = self.wires[wire].0;
        }
        (wire, ratio)
    }
}
