//! What a plan's file of hints is made of, and where each layer is in it: public, the same at both
//! parties.

use std::ops::Range;

use zeroize::Zeroizing;

use super::HEADER;
use crate::lattice::DEGREE;
use crate::linear::Layer;
use crate::plan::{Hints, Plan, Reveal};
use crate::{Cost, Domain};

/// What is hashed before all else. It changes whenever anything that enters a hint does and is not
/// hashed by itself: the layout of polynomials, the public ones, the way secrets are drawn.
const CONTEXT: &str = "pq 2026-11-28 what hints are made of, 1";

/// The layers of a plan's file of hints.
pub(crate) struct Outline {
    parts: Vec<Part>,
    /// A hash of all that enters the hints but the seed; of the weights, their salted digest.
    pub(crate) recipe: [u8; 32],
}

/// One layer of a file.
pub(crate) struct Part {
    /// Its step's index.
    pub(crate) step: usize,
    /// The layer, with the ring that its hint is made for.
    pub(crate) layer: Layer,
    /// Where its hint is in the file.
    pub(crate) bytes: Range<usize>,
}

impl Outline {
    /// Of a plan, whether or not it names its hints yet.
    pub(crate) fn of(plan: &Plan) -> Self {
        // Of both plans of a network, that of the label has the wider rings; it is its own.
        let widest = plan.revealing(Reveal::Label).unwrap_or_else(|_| plan.clone());
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        let mut put = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        };
        put(&(DEGREE as u64).to_le_bytes());
        put(plan.weights.as_bytes());
        let (mut parts, mut at) = (Vec::new(), HEADER);
        for (step, name, layer) in widest.layers() {
            let Some(len) = layer.hint_len() else { continue };
            put(name.as_bytes());
            put(&description(&layer));
            parts.push(Part { step, layer, bytes: at..at + len });
            at += len;
        }
        Self { parts, recipe: hasher.finalize().into() }
    }

    /// Of the file that a plan names; without layers where it names none.
    pub(crate) fn named(plan: &Plan) -> Self {
        if plan.hints.is_some() {
            return Self::of(plan);
        }
        Self { parts: Vec::new(), recipe: [0; 32] }
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter()
    }

    /// The layer of a step, where the file has it.
    pub(crate) fn part(&self, step: usize) -> Option<&Part> {
        self.parts.iter().find(|part| part.step == step)
    }

    /// Bytes of the whole file.
    pub(crate) fn len(&self) -> usize {
        self.parts.last().map_or(HEADER, |part| part.bytes.end)
    }

    /// What the hints move in set-up: one message after the other, and none that is waited for.
    pub(crate) fn delivery_cost(&self, hints: Hints) -> Cost {
        let parts = self.parts().map(|part| part.cost(hints));
        let all: Cost = parts.sum();
        Cost { rounds: all.rounds.min(1), ..all }
    }

    /// What the state of a step's layer moves in set-up beside these.
    pub(crate) fn state_cost(&self, step: usize, layer: &Layer) -> Cost {
        if self.part(step).is_some() { Cost::ZERO } else { layer.setup_cost() }
    }

    /// The seed of a layer's secrets. Under another recipe it has nothing to do with this one.
    pub(super) fn seed(&self, seed: &[u8; 32], part: &Part) -> Zeroizing<[u8; 32]> {
        let number = (part.layer.number as u64).to_le_bytes();
        Zeroizing::new(Domain::Hint.bind(seed, &[&self.recipe, &number]))
    }
}

impl Part {
    /// What it moves in set-up.
    pub(crate) fn cost(&self, hints: Hints) -> Cost {
        match hints {
            Hints::Sent => self.layer.hint_cost(),
            Hints::Known => Cost::ZERO,
        }
    }
}

impl Plan {
    /// Bytes of the file of hints that the plan names, where it names one.
    pub fn hints_len(&self) -> Option<usize> {
        self.hints.as_ref().map(|_| Outline::of(self).len())
    }
}

/// Everything of a layer that enters its hint, and no other layer has the same bytes.
fn description(layer: &Layer) -> Vec<u8> {
    let Layer { geometry, weight_bits, shifts, ring, algorithm, protocol, number } = layer;
    serde_json::to_vec(&(geometry, weight_bits, shifts, ring, algorithm, protocol, number))
        .expect("invariant: a layer is always JSON")
}
