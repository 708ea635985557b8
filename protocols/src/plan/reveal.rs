//! What the client learns of an inference: the logits, or the label alone.

use super::{Op, Plan, Reveal, Step, Wire, WireId};
use crate::steps::{Argmax, Output, index_ring, pooling_ring};
use crate::{Bits, Error};

impl Plan {
    /// What the client learns.
    pub fn reveals(&self) -> Reveal {
        let label = self.steps.iter().any(|step| step.op.get::<Argmax>().is_some());
        if label { Reveal::Label } else { Reveal::Logits }
    }

    /// The smallest and the largest value that can be revealed: of a label, the last class.
    pub(crate) fn revealed_range(&self) -> (i64, i64) {
        let label = self.steps.iter().find_map(|step| step.op.get::<Argmax>());
        let values = label.map(|label| self.wires[label.input].elements());
        values.map_or_else(|| self.output_wire().range(), |values| (0, values as i64 - 1))
    }

    /// The same network, revealing this. For a label, the logits get a ring in which their
    /// differences fit, one bit wider than their own, and a step that finds the index of the
    /// largest replaces their reveal. Who holds the same plan makes the same of it.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the logits are no vector, or their ring cannot be wider; or where
    /// logits are asked of a plan that reveals a label.
    pub fn revealing(&self, reveal: Reveal) -> Result<Self, Error> {
        match (self.reveals(), reveal) {
            (Reveal::Logits, Reveal::Logits) | (Reveal::Label, Reveal::Label) => {
                return Ok(self.clone());
            }
            (Reveal::Label, Reveal::Logits) => {
                return Err(Error::invalid(
                    "plan: reveal",
                    "a plan that reveals logits",
                    "one of a label",
                ));
            }
            (Reveal::Logits, Reveal::Label) => {}
        }
        let mut plan = self.clone();
        let last = plan.steps.last().and_then(|step| step.op.get::<Output>());
        let input = last.expect("invariant: a checked plan ends with its output").input;
        let logits = plan.wires[input];
        plan.widen(input, pooling_ring(logits.bits));
        let bits = index_ring(logits.elements());
        let (width, carry) = (bits.get() as u8, None);
        let label = Wire { shape: [1; 3], bits: width, low: 0, ring: bits, carry };
        plan.wires.push(label);
        let output = plan.wires.len() - 1;
        let label = Op::Argmax(Argmax { input, output, digit: 1 });
        let least = plan.variants(&label).into_iter().min_by_key(|op| plan.online_bits(op));
        let op = least.unwrap_or(label);
        let mut name = "label".to_owned();
        while plan.steps.iter().any(|step| step.name == name) {
            name += ".";
        }
        let at = plan.steps.len() - 1;
        plan.steps.insert(at, Step { name, op });
        let last = plan.steps.last_mut().and_then(|step| step.op.get_mut::<Output>());
        last.expect("invariant: the output is still the last step").input = output;
        plan.check()?;
        Ok(plan)
    }

    /// Gives a wire a ring of so many bits at least, and those that it is made of by local and
    /// linear steps.
    fn widen(&mut self, wire: WireId, ring: Bits) {
        let mut due = vec![(wire, ring)];
        while let Some((wire, ring)) = due.pop() {
            // A wire is followed only where its ring grows, so this ends.
            if self.wires[wire].ring >= ring {
                continue;
            }
            self.wires[wire].ring = ring;
            for step in &mut self.steps {
                let touches = step.op.output() == Some(wire) || step.op.inputs().contains(&wire);
                if touches {
                    due.extend(step.op.step_mut().widen(wire, ring).into_iter().map(|w| (w, ring)));
                }
            }
        }
    }

    /// Bits that a step moves online for one image, with those of its OTs.
    fn online_bits(&self, op: &Op) -> u64 {
        let cost = self.step_cost(op, 1).online;
        cost.bits() + (cost.consumed() as f64 * self.extension.bits()).ceil() as u64
    }
}
