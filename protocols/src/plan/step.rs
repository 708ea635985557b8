//! What a plan is made of: steps, with their operands and parameters.

use serde::{Deserialize, Serialize};

use super::{Algorithm, Kind, Protocol, View, Window, WireId};
use crate::Bits;
use crate::linear::{Geometry, Layer};
use crate::ops::Form;

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

    /// What the step is, for the report; a view is none, it is free.
    pub const fn kind(&self) -> Option<Kind> {
        match self {
            Self::Input { .. } | Self::Output { .. } => Some(Kind::Io),
            Self::Linear { .. } => Some(Kind::Linear),
            Self::Requant { .. } | Self::Lookup { .. } | Self::Argmax { .. } => {
                Some(Kind::Nonlinear)
            }
            Self::SumPool { .. } | Self::MaxPool { .. } => Some(Kind::Pool),
            Self::View { .. } => None,
        }
    }

    /// How the step is done, for the report.
    pub fn protocol(&self) -> String {
        match self {
            Self::Input { .. } => "share".into(),
            Self::Output { .. } => "reveal".into(),
            Self::Linear { algorithm, protocol, .. } => {
                format!("{}{}", algorithm.label(), protocol.label())
            }
            Self::Requant { levels, form: Form::Narrow, .. } => format!("narrow levels={levels}"),
            Self::Requant { levels, form: Form::Wide, .. } => format!("wide levels={levels}"),
            Self::SumPool { .. } => "sum".into(),
            Self::MaxPool { digit, .. } => format!("max digit={digit}"),
            Self::Lookup { table, .. } => format!("lookup of {}", table.len()),
            Self::Argmax { digit, .. } => format!("argmax digit={digit}"),
            Self::View { .. } => "local".into(),
        }
    }
}
