//! From graph to plan: simplification, then one step a node, with the ring of every wire decided.

mod options;
mod rings;
mod rooms;

use std::collections::BTreeSet;

use protocols::Bits;
use protocols::plan::{
    self, FORMAT, InputSpec, OutputSpec, Plan, Protocol, Step, Term, WireId as PlanWire,
};
use protocols::steps;

pub use options::Options;
pub use rooms::{Rooms, rooms};

use crate::pass::{legalizing, rewrite, simplifying_without};
use crate::{Error, Graph, Interval, Linear, Lookup, Node, Op, WireId};

/// The plan of a graph: passes, then lowering. The law: `ideal(plan, x) == eval(graph, x)`.
///
/// Steps have their nodes' names; linear nodes keep theirs, so that weights are found by them.
pub fn fuse(graph: &Graph, options: &Options) -> Result<Plan, Error> {
    let graph = legal(graph, &options.without)?;
    let rings = rings::rings(&graph, options)?;
    let mut lowering = Lowering::new(&graph, options, rings);
    for id in 0..graph.nodes().len() {
        lowering.node(id)?;
    }
    options.check_names(&lowering.steps)?;
    Ok(Plan {
        format: FORMAT,
        name: graph.name().to_owned(),
        input: InputSpec {
            preprocess: graph.preprocess().clone(),
            scale: graph.wire(graph.input()).scale,
        },
        output: OutputSpec { scale: graph.wire(graph.output()).scale },
        extension: options.extension,
        streamed: options.streamed,
        wires: lowering.wires,
        steps: lowering.steps,
        weights: options.weights.clone(),
        hints: None,
    })
}

/// The graph that is lowered, simplified by all passes but for those left out.
fn legal(graph: &Graph, without: &BTreeSet<String>) -> Result<Graph, Error> {
    let graph = rewrite(graph, &simplifying_without(without)?)?;
    rewrite(&graph, &legalizing())
}

/// What a requantization sums: the terms of the sum that it reads, or the wire itself.
fn terms(graph: &Graph, input: WireId) -> Vec<Term> {
    match &graph.node(input).op {
        Op::Add { terms } => terms.clone(),
        Op::Input { .. }
        | Op::Linear(_)
        | Op::Relu { .. }
        | Op::Requant { .. }
        | Op::Lookup(_)
        | Op::Product { .. }
        | Op::MaxPool { .. }
        | Op::SumPool { .. }
        | Op::View { .. }
        | Op::Reorder { .. }
        | Op::Concat { .. }
        | Op::Output { .. } => vec![Term { wire: input, shift: 0 }],
    }
}

/// By node: whether a linear layer reads it, itself or through local steps. Such a wire is
/// re-shared where it is made.
fn multiplied(graph: &Graph) -> Vec<bool> {
    let mut multiplied = vec![false; graph.nodes().len()];
    for (id, node) in graph.nodes().iter().enumerate().rev() {
        match &node.op {
            Op::Linear(Linear { input, .. }) => multiplied[*input] = true,
            Op::SumPool { .. } | Op::View { .. } | Op::Reorder { .. } | Op::Concat { .. } => {
                let through = multiplied[id];
                node.op.inputs().into_iter().for_each(|input| multiplied[input] |= through);
            }
            Op::Input { .. }
            | Op::Add { .. }
            | Op::Relu { .. }
            | Op::Requant { .. }
            | Op::Lookup(_)
            | Op::Product { .. }
            | Op::MaxPool { .. }
            | Op::Output { .. } => {}
        }
    }
    multiplied
}

struct Lowering<'a> {
    graph: &'a Graph,
    options: &'a Options,
    rings: rings::Rings,
    wires: Vec<plan::Wire>,
    steps: Vec<Step>,
    /// The plan's wire of each node; sums and the output have none.
    places: Vec<Option<PlanWire>>,
    /// By node: whether a linear layer reads it, itself or a slice or sum of it.
    multiplied: Vec<bool>,
}

impl<'a> Lowering<'a> {
    fn new(graph: &'a Graph, options: &'a Options, rings: rings::Rings) -> Self {
        let places = vec![None; graph.nodes().len()];
        let multiplied = multiplied(graph);
        Self { graph, options, rings, wires: Vec::new(), steps: Vec::new(), places, multiplied }
    }

    fn node(&mut self, id: WireId) -> Result<(), Error> {
        let graph = self.graph;
        let node = graph.node(id);
        let op = match &node.op {
            Op::Add { .. } => return Ok(()),
            Op::Relu { .. } => return Err(lowering(node, "a ReLU that no requantization took in")),
            Op::Input { .. } => plan::Op::Input(steps::Input { output: self.wire(id) }),
            Op::Linear(linear) => self.linear(id, linear)?,
            Op::Requant { input, shift, linearized, .. } => {
                self.requant(id, *input, *shift, linearized.clone())?
            }
            Op::Lookup(lookup) => {
                let input = self.place(node, lookup.input)?;
                let table = table(lookup, graph.wire(lookup.input));
                plan::Op::Lookup(steps::Lookup {
                    input,
                    output: self.wire(id),
                    table,
                    reshare: self.multiplied[id],
                })
            }
            Op::MaxPool { input, window } => {
                let (input, digit) = (self.place(node, *input)?, self.options.digit(&node.name));
                let (output, reshare) = (self.wire(id), self.multiplied[id]);
                plan::Op::MaxPool(steps::MaxPool { input, output, window: *window, digit, reshare })
            }
            Op::SumPool { input, window } => {
                let input = self.place(node, *input)?;
                plan::Op::SumPool(steps::SumPool { input, output: self.wire(id), window: *window })
            }
            Op::View { input, view } => {
                let input = self.place(node, *input)?;
                plan::Op::View(steps::Slice { input, output: self.wire(id), view: *view })
            }
            Op::Reorder { input, order } => {
                let input = self.place(node, *input)?;
                plan::Op::Reorder(steps::Reorder { input, output: self.wire(id), order: *order })
            }
            Op::Concat { inputs } => {
                let inputs = inputs.iter().map(|&input| self.place(node, input));
                let inputs = inputs.collect::<Result<_, _>>()?;
                plan::Op::Concat(steps::Concat { inputs, output: self.wire(id) })
            }
            Op::Product { input, gate } => self.product(id, *input, *gate)?,
            Op::Output { input } => {
                plan::Op::Output(steps::Output { input: self.place(node, *input)? })
            }
        };
        self.steps.push(Step { name: node.name.clone(), op });
        Ok(())
    }

    fn linear(&mut self, id: WireId, linear: &Linear) -> Result<plan::Op, Error> {
        let node = self.graph.node(id);
        let input = self.place(node, linear.input)?;
        let step = steps::Linear {
            input,
            output: self.wire(id),
            geometry: linear.geometry,
            weight_bits: linear.weight_bits,
            shifts: linear.shifts.clone(),
            ring: self.rings.wire[id],
            algorithm: self.options.algorithm(&node.name, linear),
            protocol: self.protocol(&node.name),
        };
        if let Some(carry) = step.carry() {
            let wire = &mut self.wires[step.output];
            (wire.ring, wire.carry) = (ring(&node.name, wire.ring.get() + 1)?, Some(carry));
        }
        Ok(plan::Op::Linear(step))
    }

    fn requant(
        &mut self,
        id: WireId,
        input: WireId,
        shift: u8,
        linearized: Option<steps::Linearized>,
    ) -> Result<plan::Op, Error> {
        let node = self.graph.node(id);
        let terms = terms(self.graph, input)
            .into_iter()
            .map(|term| Ok(Term { wire: self.place(node, term.wire)?, ..term }))
            .collect::<Result<_, Error>>()?;
        let (output, ring) = (self.wire(id), self.rings.sum[id]);
        let (and_depth, form) = (self.options.and_depth(&node.name), self.options.form(&node.name));
        Ok(plan::Op::Requant(steps::Requant {
            terms,
            output,
            ring,
            shift,
            and_depth,
            form,
            reshare: self.multiplied[id],
            linearized,
        }))
    }

    /// Of two wires of one shape, that of fewer bits is the gate: all of its bits are asked for.
    fn product(&mut self, id: WireId, input: WireId, gate: WireId) -> Result<plan::Op, Error> {
        let (node, graph) = (self.graph.node(id), self.graph);
        let swapped = graph.wire(input).shape == graph.wire(gate).shape
            && graph.wire(input).bits < graph.wire(gate).bits;
        let (input, gate) = if swapped { (gate, input) } else { (input, gate) };
        let (input, gate) = (self.place(node, input)?, self.place(node, gate)?);
        let (output, digit) = (self.wire(id), self.options.digit(&node.name));
        let reshare = self.multiplied[id];
        Ok(plan::Op::Product(steps::Product { input, gate, output, digit, reshare }))
    }

    fn wire(&mut self, id: WireId) -> PlanWire {
        let (wire, ring) = (self.graph.wire(id), self.rings.wire[id]);
        // Only accumulators live in less than their own width, where the sum that takes them in
        // needs less.
        let bits = wire.bits.min(ring.get() as u8);
        let low = if bits < wire.bits { plan::Wire::least(bits, wire.signed()) } else { wire.low };
        let (shape, carry) = (wire.shape, None);
        self.wires.push(plan::Wire { shape, bits, low, ring, carry });
        self.places[id] = Some(self.wires.len() - 1);
        self.wires.len() - 1
    }

    fn place(&self, node: &Node, input: WireId) -> Result<PlanWire, Error> {
        self.places[input].ok_or_else(|| lowering(node, "it reads a sum that nothing requantizes"))
    }

    fn protocol(&self, name: &str) -> Protocol {
        self.options.protocols.get(name).copied().unwrap_or(self.options.protocol)
    }
}

/// The results of all elements of the ring of a wire's width.
fn table(lookup: &Lookup, wire: &crate::Wire) -> Vec<i64> {
    let Interval { lo, hi } = wire.declared();
    // In the order of ring elements: 0 to the largest, then the negative values from the least on.
    (0..=hi).chain(lo..0).map(|value| lookup.of(value)).collect()
}

fn lowering(node: &Node, why: &'static str) -> Error {
    Error::Lowering { node: node.name.clone(), why }
}

/// A ring, or the error that it is too wide.
fn ring(step: &str, bits: u32) -> Result<Bits, Error> {
    Bits::new(bits).ok_or_else(|| Error::Ring { step: step.to_owned(), limit: 64, bits })
}

#[cfg(test)]
mod tests;
