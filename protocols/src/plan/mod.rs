//! The plan: ordered, fused steps with every width and protocol decided. Public; both parties hold
//! it.
//!
//! Layout of a wire: `[channels][images][rows][columns]`, so that a linear layer's output is its
//! matrix product.

mod assumptions;
mod beside;
mod check;
mod codec;
mod reveal;

use serde::{Deserialize, Serialize};

use crate::linear::{Layer, SecretsNeeded};
use crate::ot::{OtExtend, OtExtension, OtSetup};
use crate::steps::{Context, Input, Linear, Masks, Output, Requant};
use crate::{Bits, Cost, Error, Phases};

pub use check::{MAX_ELEMENTS, MAX_NAME};
pub use codec::{Answer, InputSpec, Logits, OutputSpec, Preprocess, integer};

pub use crate::assumption::Assumption;
pub use crate::linear::{Algorithm, Protocol, Protocols};
pub use crate::load::{Hints, Load, Reveal};
pub use crate::steps::{
    Axis, CORRELATIONS, Gather, KEYS, Kind, Op, Order, Step, Term, Tie, View, Window, Wire, WireId,
};

/// The version of the plan format that this build reads and writes.
pub const FORMAT: u32 = 7;

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
    /// Where correlated OTs come from.
    pub extension: OtExtension,
    /// Whether weight trees are planted anew for every inference, layer by layer, and OTs
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
    /// Digest of the file of hints, in hexadecimal; none where no layer has a hint, or where hints
    /// are made anew for every session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hints: Option<String>,
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
        let input = self.steps.iter().find_map(|step| step.op.get::<Input>());
        &self.wires[input.expect("invariant: a checked plan has an input").output]
    }

    /// The wire that is revealed: of the logits, or of the label.
    pub fn output_wire(&self) -> &Wire {
        let output = self.steps.iter().find_map(|step| step.op.get::<Output>());
        &self.wires[output.expect("invariant: a checked plan has an output").input]
    }

    /// All linear layers with their step's name and index.
    pub fn layers(&self) -> impl Iterator<Item = (usize, &str, Layer)> {
        let steps = self.steps.iter().enumerate();
        steps.filter_map(|(index, step)| {
            let layer = step.op.get::<Linear>()?.layer();
            Some((index, step.name.as_str(), layer))
        })
    }

    /// Layers whose state is kept for the session, likewise.
    pub(crate) fn kept_layers(&self) -> impl Iterator<Item = (usize, &str, Layer)> {
        self.layers().filter(|(_, _, layer)| self.keeps(layer))
    }

    /// Whether a layer's state is kept for the session.
    pub(crate) fn keeps(&self, layer: &Layer) -> bool {
        layer.kept(self.streamed)
    }

    /// Whether any layer has a hint.
    pub fn has_hint_layers(&self) -> bool {
        self.layers().any(|(_, _, layer)| layer.has_hint())
    }

    /// The secrets that an inference draws for all layers that need any.
    pub(crate) fn secrets(&self) -> Option<SecretsNeeded> {
        self.layers().filter_map(|(_, _, layer)| layer.secrets()).reduce(SecretsNeeded::and)
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

    /// For each wire: is the client's share fixed before its input arrives? Yes for the input and
    /// every re-shared wire, and for whatever linear and local steps derive from those.
    pub fn known(&self) -> Vec<bool> {
        let mut known = vec![false; self.wires.len()];
        for step in &self.steps {
            if let Some(output) = step.op.output() {
                known[output] = step.op.step().known(&known);
            }
        }
        known
    }

    /// Who draws which masks, and what the client knows by them.
    pub(crate) fn masks(&self) -> Masks {
        let mut first_layer = vec![None; self.wires.len()];
        let (mut by_layer, mut read) =
            (vec![false; self.wires.len()], vec![false; self.wires.len()]);
        let mut drawn = vec![false; self.wires.len()];
        for step in &self.steps {
            if let Some(Linear { input, output, .. }) = step.op.get() {
                let draws = step.op.layer().is_some_and(|layer| layer.draws());
                if drawn[*input] && !read[*input] {
                    first_layer[*input] = Some(*output);
                    by_layer[*input] = draws;
                }
            }
            step.op.inputs().into_iter().for_each(|wire| read[wire] = true);
            if let Some(output) = step.op.output() {
                drawn[output] = step.op.step().draws_mask();
            }
        }
        let (known, carry_borne) = (self.known(), self.carry_borne());
        Masks { known, drawn, first_layer, by_layer, carry_borne }
    }

    /// For each wire: is it written by a linear layer and read by one requantization alone, which
    /// bears the layer's carry? Of one layer that a requantization reads, at the most.
    fn carry_borne(&self) -> Vec<bool> {
        let (mut borne, mut readers) = (vec![false; self.wires.len()], vec![0; self.wires.len()]);
        let mut shifts: Vec<Option<u8>> = vec![None; self.wires.len()];
        for step in &self.steps {
            step.op.inputs().into_iter().for_each(|wire| readers[wire] += 1);
            if let Some(layer) = step.op.get::<Linear>() {
                shifts[layer.output] = Some(layer.largest_shift());
            }
        }
        for requant in self.steps.iter().filter_map(|step| step.op.get::<Requant>()) {
            let mut alone = requant.terms.iter().filter(|term| readers[term.wire] == 1);
            // A layer's shift is there, so that of none, which is less, is no layer's.
            let term = alone.find(|term| {
                let shift = shifts[term.wire];
                shift.is_some() && shift <= requant.room(term)
            });
            if let Some(term) = term {
                borne[term.wire] = true;
            }
        }
        borne
    }

    /// What a step sees of the plan, given [`Plan::masks`].
    pub(crate) fn context<'a>(&'a self, masks: &'a Masks) -> Context<'a> {
        let Self { wires, streamed, .. } = self;
        let (reveals, revealed) = (self.reveals(), self.revealed_range());
        Context { wires, masks, streamed: *streamed, reveals, revealed }
    }

    /// The same step in every way that makes the same integers, over the plan's wires as they are.
    pub fn variants(&self, op: &Op) -> Vec<Op> {
        let mut variants = self.prices().variants(op);
        variants.retain(|op| {
            op.get::<Linear>().is_none_or(|step| step.carry() == self.wires[step.output].carry)
        });
        variants
    }

    /// The same network with the carry of every layer left in its shares where what reads it bears
    /// it: what requantizations are then.
    #[must_use]
    pub fn with_carries(&self) -> Self {
        let mut plan = self.clone();
        let borne = self.carry_borne();
        for layer in self.steps.iter().filter_map(|step| step.op.get::<Linear>()) {
            let wire = &mut plan.wires[layer.output];
            let free = borne[layer.output] && wire.carry.is_none();
            if let Some(ring) = Bits::new(wire.ring.get() + 1).filter(|_| free) {
                (wire.ring, wire.carry) = (ring, Some(layer.largest_shift()));
            }
        }
        plan
    }

    /// The set-up of the extension of OTs.
    pub(crate) const fn start(&self) -> OtSetup {
        OtSetup { extension: self.extension }
    }

    /// The extension that makes the OTs that some cost consumes.
    pub(crate) const fn supply(&self, cost: Cost) -> OtExtend {
        OtExtend {
            extension: self.extension,
            server: cost.server_cots as usize,
            client: cost.client_cots as usize,
        }
    }

    /// What a step moves, with the state of its layer where it belongs: in set-up, or offline where
    /// the plan is streamed and the state does not last.
    pub(crate) fn placed(&self, op: &Op, cost: Phases) -> Phases {
        if op.layer().is_none_or(|layer| self.keeps(&layer)) {
            return cost;
        }
        Phases { setup: Cost::ZERO, offline: cost.setup + cost.offline, ..cost }
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
            for part in ["plan: format", "expected 7", "search the network again"] {
                assert!(message.contains(part), "{message}");
            }
        }
    }
}
