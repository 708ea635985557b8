//! What the client learns of an inference: the logits, or the label alone.

use super::{Op, Plan, Reveal, Step, Wire, WireId, pooling_ring};
use crate::ops::Argmax;
use crate::{Bits, Error, Operator};

impl Plan {
    /// What the client learns.
    pub fn reveals(&self) -> Reveal {
        let label = self.steps.iter().any(|step| matches!(step.op, Op::Argmax { .. }));
        if label { Reveal::Label } else { Reveal::Logits }
    }

    /// The smallest and the largest value that can be revealed: of a label, the last class.
    pub(crate) fn revealed_range(&self) -> (i64, i64) {
        let values = self.steps.iter().find_map(|step| match &step.op {
            Op::Argmax { input, .. } => Some(self.wires[*input].elements()),
            Op::Input { .. }
            | Op::Linear { .. }
            | Op::Requant { .. }
            | Op::MaxPool { .. }
            | Op::SumPool { .. }
            | Op::Lookup { .. }
            | Op::View { .. }
            | Op::Output { .. } => None,
        });
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
        let Some(Op::Output { input }) = plan.steps.last().map(|step| step.op.clone()) else {
            unreachable!("invariant: a checked plan ends with its output")
        };
        let logits = plan.wires[input];
        plan.widen(input, pooling_ring(logits.bits));
        let bits = index_bits(logits.elements());
        let label = Wire { shape: [1; 3], bits: bits.get() as u8, signed: false, ring: bits };
        plan.wires.push(label);
        let output = plan.wires.len() - 1;
        let price = |digit: &u8| {
            let operator = plan.argmax(&Op::Argmax { input, output, digit: *digit }, 1);
            operator.map_or(0, |operator| {
                let cost = operator.cost();
                cost.bits()
                    + ((cost.server_cots + cost.client_cots) as f64 * plan.transfers.bits()).ceil()
                        as u64
            })
        };
        let digit = (1..=4).min_by_key(price).unwrap_or(1);
        let taken = |name: &str| plan.steps.iter().any(|step| step.name == name);
        let mut name = "label".to_owned();
        while taken(&name) {
            name += ".";
        }
        let at = plan.steps.len() - 1;
        plan.steps.insert(at, Step { name, op: Op::Argmax { input, output, digit } });
        if let Some(Step { op: Op::Output { input }, .. }) = plan.steps.last_mut() {
            *input = output;
        }
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
                match &mut step.op {
                    Op::Linear { input, output, ring: own, .. } if *output == wire => {
                        *own = ring;
                        due.push((*input, ring));
                    }
                    // They have one ring on both sides.
                    Op::View { input, output, .. } | Op::SumPool { input, output, .. }
                        if *output == wire || *input == wire =>
                    {
                        due.extend([(*input, ring), (*output, ring)]);
                    }
                    Op::Input { .. }
                    | Op::Linear { .. }
                    | Op::View { .. }
                    | Op::SumPool { .. }
                    | Op::Requant { .. }
                    | Op::MaxPool { .. }
                    | Op::Lookup { .. }
                    | Op::Argmax { .. }
                    | Op::Output { .. } => {}
                }
            }
        }
    }
}

/// The ring of an index of so many values.
pub(super) const fn index_bits(values: usize) -> Bits {
    let argmax = Argmax { groups: 1, values, ring: Bits::ONE, digit: 1 };
    argmax.index_ring()
}
