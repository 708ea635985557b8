//! The plan: ordered, fused steps with every width and protocol decided. Public; both parties hold
//! it.
//!
//! Layout of a wire: `[channels][images][rows][columns]`, so that a linear layer's output is its
//! matrix product.

mod assumptions;
mod check;
mod codec;
mod cost;
mod load;
mod memory;
mod reveal;
mod shape;

use serde::{Deserialize, Serialize};

use crate::linear::{Geometry, Layer};
use crate::ops::Form;
use crate::ot::Source;
use crate::{Bits, Error};

pub use assumptions::Assumption;
pub use check::{MAX_ELEMENTS, MAX_NAME};
pub use codec::{Answer, Logits, integer};
pub use cost::CORRELATIONS;
pub(crate) use cost::pooling_ring;
pub use cost::{Kind, StepCost};
pub use load::Load;
pub use memory::PROCESS;
pub use reveal::Reveal;
pub use shape::Gather;

/// The version of the plan format that this build reads and writes.
pub const FORMAT: u32 = 4;

/// Index of a wire in [`Plan::wires`].
pub type WireId = usize;

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
}

impl Plan {
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
}

impl Op {
    /// The layer of a linear step.
    pub fn layer(&self) -> Option<Layer> {
        let Self::Linear { geometry, weight_bits, shifts, ring, algorithm, protocol, .. } = self
        else {
            return None;
        };
        Some(Layer {
            geometry: *geometry,
            weight_bits: u32::from(*weight_bits),
            shifts: shifts.clone(),
            ring: *ring,
            algorithm: *algorithm,
            protocol: *protocol,
        })
    }

    /// The wires that it reads.
    pub fn inputs(&self) -> Vec<WireId> {
        match self {
            Self::Input { .. } => Vec::new(),
            Self::Requant { terms, .. } => terms.iter().map(|term| term.wire).collect(),
            Self::Linear { input, .. }
            | Self::SumPool { input, .. }
            | Self::MaxPool { input, .. }
            | Self::Lookup { input, .. }
            | Self::View { input, .. }
            | Self::Argmax { input, .. }
            | Self::Output { input } => vec![*input],
        }
    }

    /// The wire that it writes.
    pub const fn output(&self) -> Option<WireId> {
        match self {
            Self::Input { output }
            | Self::Linear { output, .. }
            | Self::Requant { output, .. }
            | Self::SumPool { output, .. }
            | Self::MaxPool { output, .. }
            | Self::Lookup { output, .. }
            | Self::View { output, .. }
            | Self::Argmax { output, .. } => Some(*output),
            Self::Output { .. } => None,
        }
    }
}

/// An integer tensor in shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wire {
    /// `[channels, rows, columns]` of one image.
    pub shape: [usize; 3],
    /// Width of the values.
    pub bits: u8,
    /// Whether the values are two's complement.
    pub signed: bool,
    /// The ring that the shares lie in.
    pub ring: Bits,
}

impl Wire {
    /// Elements of one image.
    pub const fn elements(&self) -> usize {
        self.shape[0] * self.shape[1] * self.shape[2]
    }

    /// The smallest and the largest value that the width allows.
    pub const fn range(&self) -> (i64, i64) {
        if self.signed {
            (-1 << (self.bits - 1), (1 << (self.bits - 1)) - 1)
        } else {
            (0, (1 << self.bits) - 1)
        }
    }
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// A unique name, from the network's own node names.
    pub name: String,
    /// What it does.
    pub op: Op,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// The client shares the input: the wire's mask is drawn offline, the masked input is one
    /// message.
    Input {
        /// The wire.
        output: WireId,
    },
    /// A linear layer times the server's weights, plus the server's bias.
    Linear {
        /// The activations; their wire's ring is at least `ring`.
        input: WireId,
        /// The accumulators, in `ring`.
        output: WireId,
        /// The convolution.
        geometry: Geometry,
        /// Width of the weights, two's complement, 2 to 8.
        weight_bits: u8,
        /// Left shift of each output channel's products, before the bias; one entry for each
        /// channel, or none. In Winograd's domain one for each position and channel, or none.
        shifts: Vec<u8>,
        /// The accumulators' ring.
        ring: Bits,
        /// How the convolution becomes products.
        algorithm: Algorithm,
        /// How the products are computed.
        protocol: Protocol,
    },
    /// `clamp(floor((sum of terms << shift + 2^(k-1)) / 2^k), lo, hi)`: requantization, ReLU,
    /// saturation, residual and change of ring in one.
    Requant {
        /// What is summed.
        terms: Vec<Term>,
        /// The result.
        output: WireId,
        /// The ring of the sum.
        ring: Bits,
        /// `k`: bits dropped.
        shift: u8,
        /// Levels of ANDs of the carry network, or as few more as it takes.
        levels: u8,
        /// Few bits or few rounds.
        form: Form,
        /// Whether the client's share of the result becomes a mask that it knows before the input:
        /// where a linear layer reads it.
        remask: bool,
    },
    /// The sum over windows: average pooling whose divisor went into the wire's scale.
    SumPool {
        /// The wire pooled.
        input: WireId,
        /// The sums, in the same ring.
        output: WireId,
        /// The windows; padding counts as zero.
        window: Window,
    },
    /// The maximum over windows, in the ring of `bits + 1`, then a change of ring.
    MaxPool {
        /// The wire pooled, in `Z_{bits + 1}`.
        input: WireId,
        /// The maxima.
        output: WireId,
        /// The windows; padding is never the maximum.
        window: Window,
        /// Widest digit of the carry chain.
        digit: u8,
        /// As for [`Op::Requant`].
        remask: bool,
    },
    /// Any function of one narrow value: an activation that is no ReLU.
    Lookup {
        /// The values, of 1 to 8 bits.
        input: WireId,
        /// The results.
        output: WireId,
        /// The result of every element of `Z_{bits}`, from 0 on: those of negative values are the
        /// upper half.
        table: Vec<i64>,
        /// As for [`Op::Requant`].
        remask: bool,
    },
    /// A strided slice with zero padding: local.
    View {
        /// The wire sliced.
        input: WireId,
        /// The slice, in the same ring.
        output: WireId,
        /// Which part.
        view: View,
    },
    /// The index of the largest value, the first of equals: what is revealed instead of the logits.
    /// The last but the output.
    Argmax {
        /// The logits, a vector.
        input: WireId,
        /// The index, in the least ring that holds all of them.
        output: WireId,
        /// Widest digit of the carry chains.
        digit: u8,
    },
    /// The server reveals the logits, or the label, to the client.
    Output {
        /// The wire revealed.
        input: WireId,
    },
}

/// A summand of a requantization: a wire, shifted left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// The wire.
    pub wire: WireId,
    /// Its left shift.
    pub shift: u8,
}

/// How a convolution becomes products: see [`crate::linear::winograd`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// As it is defined.
    #[default]
    Direct,
    /// Winograd's F(2x2, 3x3), equal to direct integer for integer, for weights of at most 4 bits.
    WinogradExact,
    /// Winograd's F(2x2, 3x3) with weights that are given in its domain.
    Winograd,
}

/// How a linear layer is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Protocol {
    /// Punctured trees of `2^k` leaves.
    Vole {
        /// Digits of one tree together: 1 to 8 bits.
        k: u8,
    },
    /// Bitwise correlated transfers.
    Cot,
    /// Trees of `2^k` leaves that are punctured at the digits of the client's mask, made anew for
    /// every inference.
    VoleOfMask {
        /// Bits of a digit, 1 to 8.
        k: u8,
    },
}

impl Protocol {
    /// Every protocol.
    pub fn all() -> impl Iterator<Item = Self> {
        let of_weights = (2..=8).map(|k| Self::Vole { k });
        let of_mask = (1..=8).map(|k| Self::VoleOfMask { k });
        std::iter::once(Self::Cot).chain(of_weights).chain(of_mask)
    }
}

/// Pooling windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Rows and columns of a window.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Padding: top, left, bottom, right.
    pub pad: [usize; 4],
}

/// A strided slice with zero padding, by axis: channels, rows, columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// First element taken.
    pub start: [usize; 3],
    /// Step between elements taken.
    pub stride: [usize; 3],
    /// Elements taken.
    pub len: [usize; 3],
    /// Zeros before.
    pub before: [usize; 3],
    /// Zeros after.
    pub after: [usize; 3],
}

/// How the client turns pixels into the integers of the first wire: `clamp(round(value / scale))`,
/// halves to even.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// What a pixel of 0..255 is turned into first.
    pub preprocess: Preprocess,
    /// The real value of one integer step.
    pub scale: f64,
}

/// What a pixel of 0..255 is turned into.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Preprocess {
    /// `x / 255`.
    #[default]
    Unit,
    /// `x`.
    Raw,
    /// `(x / 255 - mean) / std`, by channel.
    Normalize {
        /// Mean of each channel.
        mean: Vec<f32>,
        /// Standard deviation of each channel.
        std: Vec<f32>,
    },
}

/// How the client reads the logits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// The real value of one integer step.
    pub scale: f64,
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
