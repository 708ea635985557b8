//! A plan run in the clear, every value in its ring: what two parties arrive at, also where a ring
//! is too small.

use std::collections::BTreeMap;

use protocols::Bits;
use protocols::plan::{Algorithm, Op, Plan, Term, Window, Wire, WireId};
use protocols::steps::{
    Argmax, Concat, Input, Linear, Lookup, MaxPool, Output, Product, Reorder, Requant, Slice,
    SumPool,
};
use rayon::prelude::*;

use crate::eval::{Layer, max_pool, product, sum_pool};
use crate::{Error, Kernel, Weights, layout};

/// The output of a plan for a batch, logits or labels, `[channels][images][rows][columns]`, in and
/// out, computed modulo the rings, as the protocols compute it: too small a ring wraps here as it
/// does there.
///
/// A plan that [`crate::fuse`] has made is assumed; one from elsewhere must have been validated.
pub fn ideal(plan: &Plan, weights: &Weights, input: &[i64]) -> Result<Vec<i64>, Error> {
    let shape = |find: fn(&Op) -> Option<WireId>| {
        let wires: Vec<WireId> = plan.steps.iter().filter_map(|step| find(&step.op)).collect();
        match wires[..] {
            [wire] => Ok(plan.wires[wire].shape),
            _ => Err(Error::Count {
                graph: plan.name.clone(),
                what: "input or output",
                found: wires.len(),
            }),
        }
    };
    let from = shape(|op| if let Op::Input(Input { output }) = op { Some(*output) } else { None })?;
    let to = shape(|op| if let Op::Output(Output { input }) = op { Some(*input) } else { None })?;
    let count = layout::count(from, input)?;
    let layers = layers(plan, weights);
    let image = |index| Run::new(plan, &layers).image(&layout::image(from, input, count, index));
    let outputs = (0..count).into_par_iter().map(image);
    Ok(layout::batch(to[0], &outputs.collect::<Result<Vec<_>, _>>()?))
}

/// Every layer ready to run, by step.
fn layers<'a>(plan: &'a Plan, weights: &Weights) -> BTreeMap<&'a str, Layer> {
    let layers = plan.steps.iter().filter_map(|step| {
        let Op::Linear(Linear { geometry, shifts, algorithm, .. }) = &step.op else { return None };
        let kernel = match algorithm {
            Algorithm::Direct | Algorithm::WinogradExact => Kernel::Spatial,
            Algorithm::Winograd => Kernel::Winograd,
        };
        let layer = Layer::new(kernel, *geometry, shifts, weights.layers.get(&step.name)?);
        Some((step.name.as_str(), layer))
    });
    layers.collect()
}

/// One image's wires: two's complement readings of ring elements.
struct Run<'a> {
    plan: &'a Plan,
    layers: &'a BTreeMap<&'a str, Layer>,
    wires: Vec<Vec<i64>>,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, layers: &'a BTreeMap<&'a str, Layer>) -> Self {
        Self { plan, layers, wires: vec![Vec::new(); plan.wires.len()] }
    }

    fn image(mut self, image: &[i64]) -> Result<Vec<i64>, Error> {
        let mut logits = Vec::new();
        for step in &self.plan.steps {
            match &step.op {
                Op::Input(Input { output }) => self.put(*output, image.to_vec()),
                Op::Linear(Linear { input, output, ring, .. }) => {
                    let x = self.reduced(&step.name, *input, *ring)?;
                    let layer = self.layers.get(step.name.as_str());
                    let layer =
                        layer.ok_or_else(|| Error::MissingWeights { node: step.name.clone() })?;
                    self.put(*output, layer.run(&x));
                }
                Op::Requant(step_of @ Requant { terms, output, ring, .. }) => {
                    let sum = self.sum(&step.name, terms, *ring)?;
                    let wire = &self.plan.wires[*output];
                    self.put(*output, requant(&sum, wire, step_of));
                }
                Op::Lookup(Lookup { input, output, table, .. }) => {
                    // The table is indexed by the ring element of the wire's own width: a value of
                    // -1 at 4 bits is entry 15.
                    let ring = Bits::of(u32::from(self.plan.wires[*input].bits));
                    let entry = |&value: &i64| table[ring.encode(value) as usize];
                    let found = self.wires[*input].iter().map(entry).collect();
                    self.put(*output, found);
                }
                Op::Argmax(Argmax { input, output, .. }) => {
                    let ring = Bits::of(u32::from(self.plan.wires[*input].bits) + 1);
                    let values = self.reduced(&step.name, *input, ring)?;
                    let most = values.iter().max();
                    // Of equal logits the first gives the label.
                    let label = values.iter().position(|value| Some(value) == most).unwrap_or(0);
                    // Its ring has no room for a sign.
                    self.wires[*output] = vec![label as i64];
                }
                Op::SumPool(SumPool { input, output, window }) => {
                    self.put(*output, sum_pool(self.of(*input), window));
                }
                Op::MaxPool(MaxPool { input, output, window, .. }) => {
                    self.max_pool(&step.name, *input, *output, window)?
                }
                Op::View(Slice { input, output, view }) => {
                    self.put(*output, view.of(self.shape(*input), 1, &self.wires[*input]));
                }
                Op::Reorder(Reorder { input, output, order }) => {
                    self.put(*output, order.of(self.shape(*input), 1, &self.wires[*input]));
                }
                Op::Concat(Concat { inputs, output }) => {
                    let parts = inputs.iter().flat_map(|input| &self.wires[*input]);
                    let joined = parts.copied().collect();
                    self.put(*output, joined);
                }
                Op::Product(Product { input, gate, output, .. }) => {
                    self.put(*output, product(&self.wires[*input], &self.wires[*gate]));
                }
                Op::Output(Output { input }) => logits = self.wires[*input].clone(),
            }
        }
        Ok(logits)
    }

    fn put(&mut self, wire: WireId, values: Vec<i64>) {
        self.wires[wire] = reading(self.plan.wires[wire].ring, values);
    }

    fn shape(&self, wire: WireId) -> [usize; 3] {
        self.plan.wires[wire].shape
    }

    fn of(&self, wire: WireId) -> ([usize; 3], &[i64]) {
        (self.shape(wire), &self.wires[wire])
    }

    /// A wire in a smaller ring; shares cannot be read in a larger one.
    fn reduced(&self, step: &str, wire: WireId, ring: Bits) -> Result<Vec<i64>, Error> {
        let limit = self.plan.wires[wire].ring;
        if ring > limit {
            return Err(Error::Ring {
                step: step.to_owned(),
                limit: limit.get(),
                bits: ring.get(),
            });
        }
        Ok(reading(ring, self.wires[wire].clone()))
    }

    fn sum(&self, step: &str, terms: &[Term], ring: Bits) -> Result<Vec<i64>, Error> {
        let mut sum = vec![0i64; self.wires[terms[0].wire].len()];
        for term in terms {
            // A term that is shifted out of the ring altogether adds nothing.
            let Some(narrow) = Bits::new(ring.get().saturating_sub(term.shift.into())) else {
                continue;
            };
            // Of a term shifted left by `j`, the lower `ring - j` bits fill the ring.
            let values = self.reduced(step, term.wire, narrow)?;
            sum.iter_mut()
                .zip(values)
                .for_each(|(sum, value)| *sum = sum.wrapping_add(value << term.shift));
        }
        Ok(sum)
    }

    fn max_pool(
        &mut self,
        step: &str,
        input: WireId,
        output: WireId,
        window: &Window,
    ) -> Result<(), Error> {
        let narrow = Bits::of(u32::from(self.plan.wires[input].bits) + 1);
        let values = self.reduced(step, input, narrow)?;
        self.put(output, max_pool((self.shape(input), &values), window));
        Ok(())
    }
}

fn reading(ring: Bits, mut values: Vec<i64>) -> Vec<i64> {
    values.iter_mut().for_each(|value| *value = ring.decode(*value as u64));
    values
}

/// The fused operator: unsigned saturation of the offset sum, in its ring, whatever its range.
fn requant(sum: &[i64], wire: &Wire, step: &Requant) -> Vec<i64> {
    let Requant { ring, shift, linearized, .. } = step;
    let half = (1i64 << shift) >> 1;
    // Less the least result every interval becomes `0..2^a`, so that one kind of saturation serves
    // all; it is added again at the end.
    let one = |value: i64, offset: i64, top: i64| {
        let raised = value.wrapping_add(half.wrapping_add(offset << shift));
        (ring.decode(raised as u64) >> shift).clamp(0, top) - offset
    };
    if let Some(linearized) = linearized {
        // Kept elements have no offset, all others that of how far they reach below zero.
        let top = (1i64 << (wire.bits - 1)) - 1;
        let below = i64::from(linearized.below);
        let each = sum.iter().zip(linearized.kept.iter());
        return each.map(|(&sum, kept)| one(sum, if kept { 0 } else { below }, top)).collect();
    }
    sum.iter().map(|&sum| one(sum, -wire.low, (1i64 << wire.bits) - 1)).collect()
}
