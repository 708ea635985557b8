//! The integer reference semantics: what a graph means. Two parties must arrive at these integers
//! exactly.

mod conv;
mod dot;
mod packed;
mod pooling;

use pooling::Image;
use protocols::plan::Term;
use protocols::steps::Linearized;
use rayon::prelude::*;

pub(crate) use conv::Layer;
pub(crate) use pooling::{max_pool, sum_pool};

use crate::{Error, Graph, Op, Weights, WireId, layout};

/// The output of a network for a batch, `[channels][images][rows][columns]`, in and out.
pub fn eval(graph: &Graph, weights: &Weights, input: &[i64]) -> Result<Vec<i64>, Error> {
    Evaluator::new(graph, weights)?.run(input)
}

/// All wires of a network for a batch, by [`WireId`].
pub fn eval_wires(graph: &Graph, weights: &Weights, input: &[i64]) -> Result<Vec<Vec<i64>>, Error> {
    Evaluator::new(graph, weights)?.trace(input)
}

/// A network with its weights, checked against each other and packed: for repeated evaluation.
#[derive(Debug)]
pub struct Evaluator<'a> {
    graph: &'a Graph,
    layers: Vec<Option<Layer>>,
    last_use: Vec<WireId>,
}

impl<'a> Evaluator<'a> {
    /// Checks that every linear node has weights of its shape and width, whose accumulators stay
    /// within its wire's interval: no value can leave a wire's interval after that.
    pub fn new(graph: &'a Graph, weights: &Weights) -> Result<Self, Error> {
        let layers = (0..graph.nodes().len()).map(|id| prepare(graph, id, weights));
        let layers = layers.collect::<Result<_, _>>()?;
        // A wire that nobody reads is its own last use: it is never dropped by a reader, and the
        // output is one.
        let mut last_use: Vec<WireId> = (0..graph.nodes().len()).collect();
        for (id, node) in graph.nodes().iter().enumerate() {
            node.op.inputs().into_iter().for_each(|input| last_use[input] = id);
        }
        Ok(Self { graph, layers, last_use })
    }

    /// The output for a batch.
    pub fn run(&self, input: &[i64]) -> Result<Vec<i64>, Error> {
        let output = self.graph.output();
        let outputs =
            self.map_images(input, |image| self.image(image, false).swap_remove(output))?;
        Ok(layout::batch(self.graph.wire(output).shape[0], &outputs))
    }

    /// All wires for a batch, by [`WireId`].
    pub fn trace(&self, input: &[i64]) -> Result<Vec<Vec<i64>>, Error> {
        let mut traces = self.map_images(input, |image| self.image(image, true))?;
        let mut wires = Vec::with_capacity(self.graph.nodes().len());
        for (id, node) in self.graph.nodes().iter().enumerate() {
            let images: Vec<Vec<i64>> =
                traces.iter_mut().map(|wires| std::mem::take(&mut wires[id])).collect();
            wires.push(layout::batch(node.wire.shape[0], &images));
        }
        Ok(wires)
    }

    /// A function of every image of a batch, on all cores.
    fn map_images<T: Send>(
        &self,
        input: &[i64],
        f: impl Fn(Vec<i64>) -> T + Sync,
    ) -> Result<Vec<T>, Error> {
        let wire = self.graph.wire(self.graph.input());
        if let Some(&found) = input.iter().find(|&&value| !wire.range.holds(value)) {
            return Err(Error::InputRange { expected: wire.range, found });
        }
        let count = layout::count(wire.shape, input)?;
        Ok((0..count)
            .into_par_iter()
            .map(|index| f(layout::image(wire.shape, input, count, index)))
            .collect())
    }

    /// All wires of one image; unless `keep`, those that no later node reads are empty.
    fn image(&self, input: Vec<i64>, keep: bool) -> Vec<Vec<i64>> {
        let mut wires: Vec<Vec<i64>> = Vec::with_capacity(self.layers.len());
        let mut input = Some(input);
        for (id, node) in self.graph.nodes().iter().enumerate() {
            let image = if id == self.graph.input() { input.take() } else { None };
            let values = image.unwrap_or_else(|| self.node(id, &node.op, &wires));
            debug_assert!(
                values.iter().all(|&value| node.wire.range.holds(value)),
                "invariant: the values of '{}' are within {}",
                node.name,
                node.wire.range
            );
            wires.push(values);
            for source in node.op.inputs() {
                if !keep && self.last_use[source] == id {
                    wires[source] = Vec::new();
                }
            }
        }
        wires
    }

    /// A wire of one image.
    fn wire<'w>(&self, id: WireId, wires: &'w [Vec<i64>]) -> Image<'w> {
        (self.graph.wire(id).shape, &wires[id])
    }

    fn node(&self, id: WireId, op: &Op, wires: &[Vec<i64>]) -> Vec<i64> {
        match op {
            Op::Input { .. } => unreachable!("invariant: the caller holds the input"),
            Op::Linear(linear) => match &self.layers[id] {
                Some(layer) => layer.run(&wires[linear.input]),
                None => unreachable!("invariant: a linear node has a layer"),
            },
            Op::Add { terms } => add(terms, wires),
            Op::Relu { input } => wires[*input].iter().map(|&value| value.max(0)).collect(),
            Op::Requant { input, shift, linearized: Some(linearized), bits, .. } => {
                partly(&wires[*input], *shift, *bits, linearized)
            }
            Op::Requant { input, shift, .. } => {
                requant(&wires[*input], *shift, self.graph.wire(id).range)
            }
            Op::Lookup(lookup) => {
                wires[lookup.input].iter().map(|&value| lookup.of(value)).collect()
            }
            Op::MaxPool { input, window } => max_pool(self.wire(*input, wires), window),
            Op::SumPool { input, window } => sum_pool(self.wire(*input, wires), window),
            Op::View { input, view } => view.of(self.graph.wire(*input).shape, 1, &wires[*input]),
            Op::Reorder { input, order } => {
                order.of(self.graph.wire(*input).shape, 1, &wires[*input])
            }
            Op::Concat { inputs } => {
                inputs.iter().flat_map(|input| &wires[*input]).copied().collect()
            }
            Op::Product { input, gate } => product(&wires[*input], &wires[*gate]),
            Op::Output { input } => wires[*input].clone(),
        }
    }
}

/// Values times gates, each of which is one of as many values as there are for it.
pub(crate) fn product(values: &[i64], gates: &[i64]) -> Vec<i64> {
    let each = values.len() / gates.len().max(1);
    let pairs = values.chunks(each.max(1)).zip(gates);
    pairs.flat_map(|(values, gate)| values.iter().map(|x| x.wrapping_mul(*gate))).collect()
}

fn add(terms: &[Term], wires: &[Vec<i64>]) -> Vec<i64> {
    let mut sum = vec![0; wires[terms[0].wire].len()];
    for term in terms {
        sum.iter_mut().zip(&wires[term.wire]).for_each(|(sum, &value)| *sum += value << term.shift);
    }
    sum
}

/// `clamp(floor((x + 2^(k-1)) / 2^k))`, no rounding constant at `k = 0`.
fn requant(values: &[i64], shift: u8, range: crate::Interval) -> Vec<i64> {
    let half = (1i64 << shift) >> 1;
    values.iter().map(|&value| ((value + half) >> shift).clamp(range.lo, range.hi)).collect()
}

/// The same behind a ReLU of some elements: each is clamped to its own `2^(bits-1)` values.
fn partly(values: &[i64], shift: u8, bits: u8, linearized: &Linearized) -> Vec<i64> {
    // Of a wire of 5 bits each element has 16 values.
    let (half, top) = ((1i64 << shift) >> 1, (1i64 << (bits - 1)) - 1);
    let each = values.iter().zip(linearized.kept.iter());
    each.map(|(&value, kept)| {
        let floor = if kept { 0 } else { -i64::from(linearized.below) };
        ((value + half) >> shift).clamp(floor, floor + top)
    })
    .collect()
}

/// A linear node's layer; of others none.
fn prepare(graph: &Graph, id: WireId, weights: &Weights) -> Result<Option<Layer>, Error> {
    let node = graph.node(id);
    let linear = match &node.op {
        Op::Linear(linear) => linear,
        Op::Input { .. }
        | Op::Add { .. }
        | Op::Relu { .. }
        | Op::Requant { .. }
        | Op::MaxPool { .. }
        | Op::Lookup(_)
        | Op::Product { .. }
        | Op::SumPool { .. }
        | Op::View { .. }
        | Op::Reorder { .. }
        | Op::Concat { .. }
        | Op::Output { .. } => return Ok(None),
    };
    let name = node.name.clone();
    let Some(layer) = weights.layers.get(&name) else {
        return Err(Error::MissingWeights { node: name });
    };
    let input = graph.wire(linear.input).range;
    let found = linear.accumulators(&node.name, layer, input)?;
    if !linear.range.contains(found) {
        return Err(Error::Accumulator { node: name, declared: linear.range, found });
    }
    let most = (1i64 << (linear.weight_bits - 1)) - 1;
    if let Some(&wide) =
        layer.weights.iter().find(|&&w| i64::from(w) > most || i64::from(w) < -most - 1)
    {
        let (expected, found) = (most, i64::from(wide));
        return Err(Error::Weights { node: name, what: "a weight's magnitude", expected, found });
    }
    Ok(Some(Layer::new(linear.kernel, linear.geometry, &linear.shifts, layer)))
}
