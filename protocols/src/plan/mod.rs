//! The plan: ordered, fused steps with every width and protocol decided. Public; both parties hold
//! it.
//!
//! Layout of a wire: `[channels][images][rows][columns]`, so that a linear layer's output is its
//! matrix product.

mod assumptions;
mod check;
mod codec;
mod kind;
mod operators;
mod reveal;
mod shape;
mod step;
mod wire;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::linear::Layer;
use crate::ot::Source;

pub use assumptions::Assumption;
pub use check::{MAX_ELEMENTS, MAX_NAME};
pub use codec::{Answer, InputSpec, Logits, OutputSpec, Preprocess, integer};
pub use kind::{CORRELATIONS, Kind};
pub(crate) use operators::pooling_ring;
pub use shape::{Gather, View, Window};
pub use step::{Op, Step, Term};
pub use wire::{Wire, WireId};

pub use crate::linear::{Algorithm, Protocol};
pub use crate::load::{Load, Reveal};

/// The version of the plan format that this build reads and writes.
pub const FORMAT: u32 = 4;

/// What two parties run. Holds no secret: shapes, widths, shifts, scales and protocol choices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The version of this format.
    pub format: u32,
    /// The network's name.
    pub name: String,
    /// How the client turns pixels into integers.
    pub input: InputSpec,
    /// How the client reads the logits.
    pub output: OutputSpec,
    /// Where correlated transfers come from.
    pub transfers: Source,
    /// Whether weight trees are planted anew for every inference, layer by layer, and transfers
    /// made for one step at a time, so that no party holds more of either than a step needs: for
    /// large networks and short sessions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub streamed: bool,
    /// All wires.
    pub wires: Vec<Wire>,
    /// All steps, in the order of execution.
    pub steps: Vec<Step>,
    /// Digest of the salted weights, in hexadecimal: binds the plan to one weight file and reveals
    /// nothing of it.
    pub weights: String,
}

impl Plan {
    /// Reads a plan from JSON and checks it whole.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the field.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        // Other formats have other fields: what is wrong with them is their format.
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        if let Ok(Versioned { format }) = serde_json::from_slice(json) {
            check::check_format(format)?;
        }
        let plan: Self = serde_json::from_slice(json)
            .map_err(|source| Error::invalid("plan", "the JSON that `pq search` writes", source))?;
        plan.check()?;
        Ok(plan)
    }

    /// The plan as JSON, in the one form that is hashed.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("invariant: a plan is always JSON")
    }

    /// The hash that the handshake compares.
    pub fn hash(&self) -> [u8; 32] {
        blake3::hash(&self.to_json()).into()
    }

    /// The wire that the client's input becomes.
    pub fn input_wire(&self) -> &Wire {
        let output = self
            .steps
            .iter()
            .find_map(|step| if let Op::Input { output } = step.op { Some(output) } else { None });
        &self.wires[output.expect("invariant: a checked plan has an input")]
    }

    /// The wire that is revealed: of the logits, or of the label.
    pub fn output_wire(&self) -> &Wire {
        let input = self
            .steps
            .iter()
            .find_map(|step| if let Op::Output { input } = step.op { Some(input) } else { None });
        &self.wires[input.expect("invariant: a checked plan has an output")]
    }

    /// All linear layers with their step's name and index.
    pub fn layers(&self) -> impl Iterator<Item = (usize, &str, Layer)> {
        let steps = self.steps.iter().enumerate();
        steps.filter_map(|(index, step)| Some((index, step.name.as_str(), step.op.layer()?)))
    }

    /// The step after which each wire is not read any more.
    pub(crate) fn last_uses(&self) -> Vec<usize> {
        let mut last = vec![0; self.wires.len()];
        for (index, step) in self.steps.iter().enumerate() {
            for wire in step.op.inputs().into_iter().chain(step.op.output()) {
                last[wire] = index;
            }
        }
        last
    }

    /// By wire: whether the client's share is known before the input is. So it is of the input,
    /// which is masked, of what is masked anew, and of what linear layers and local steps make of
    /// such.
    pub fn known(&self) -> Vec<bool> {
        let mut known = vec![false; self.wires.len()];
        for step in &self.steps {
            match &step.op {
                Op::Input { output } => known[*output] = true,
                Op::Linear { input, output, .. }
                | Op::View { input, output, .. }
                | Op::SumPool { input, output, .. } => known[*output] = known[*input],
                Op::Requant { output, remask, .. }
                | Op::MaxPool { output, remask, .. }
                | Op::Lookup { output, remask, .. } => known[*output] = *remask,
                Op::Argmax { .. } | Op::Output { .. } => {}
            }
        }
        known
    }

    /// Whether the choices of a requantization are made before the input is known: its client's
    /// share is. Not where the plan is streamed: its transfers would have to be kept until then.
    pub(crate) fn asks_early(&self, op: &Op) -> bool {
        let known = self.known();
        !self.streamed && op.inputs().into_iter().all(|wire| known[wire])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_of_another_format_is_refused_as_that_and_says_what_to_do() {
        for old in
            [r#"{"format": 3, "input": {"preprocess": {"normalise": {}}}}"#, r#"{"format": 99}"#]
        {
            let message = Plan::from_json(old.as_bytes()).unwrap_err().to_string();
            for part in ["plan: format", "expected 4", "search the network again"] {
                assert!(message.contains(part), "{message}");
            }
        }
    }
}
