//! What a search found.

use model::Model;
use protocols::hints::ServerHints;
use protocols::plan::{Hints, Load, Plan};
use protocols::weights::Weights;

use super::Fidelity;
use crate::quantize::{ActivationQuantizers, BitWidths, widths};

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// What two parties run.
    pub plan: Plan,
    /// What the server alone holds.
    pub weights: Weights,
    /// Every linear layer.
    pub layers: Vec<LayerReport>,
    /// Bits of one inference, offline and online.
    pub predicted_bits: u64,
    /// Bits of set-up, once per session, for a client that has the hints.
    pub setup_bits: u64,
    /// Seconds of one inference, by the model of work and of the connection.
    pub predicted_seconds: f64,
    /// The budget, if one was given.
    pub budget_bits: Option<u64>,
    /// The divergence of the logits from the float network's that the widths were chosen by, in
    /// nats: a sum of what each costs alone. None where nothing was searched.
    pub expected_loss: Option<f64>,
    /// What the integers say of the calibration images, beside the float network.
    pub fidelity: Fidelity,
}

impl Found {
    /// Makes the hints of the network, which its plan names from here on; none where no layer has
    /// any.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn make_hints(&mut self) -> Result<Option<ServerHints>, protocols::Error> {
        let (plan, hints) = ServerHints::make(&self.plan, &self.weights)?;
        self.setup_bits = plan.session_cost(Load::one(1).with(Hints::Known)).bits();
        self.plan = plan;
        Ok(hints)
    }
}

/// One layer of what a search found.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LayerReport {
    /// The layer's name.
    pub name: String,
    /// Width of its weights.
    pub weight_bits: u8,
    /// Width of the activations that it reads, before any average.
    pub activation_bits: u8,
    /// Its protocol.
    pub protocol: String,
    /// Bits that its step moves in one inference.
    pub comm_bits: u64,
}

impl LayerReport {
    /// Layers by name, with the widths of their weights and activations, and with what their steps
    /// move.
    pub fn all(widths: impl Iterator<Item = (String, u8, u8)>, plan: &Plan) -> Vec<Self> {
        let steps = plan.step_costs(1);
        widths
            .map(|(name, weight_bits, activation_bits)| {
                let step = steps.iter().find(|step| step.name == name);
                Self {
                    weight_bits,
                    activation_bits,
                    protocol: step.map_or_else(String::new, |step| step.protocol.clone()),
                    comm_bits: step
                        .map_or(0, |step| step.cost.offline.bits() + step.cost.online.bits()),
                    name,
                }
            })
            .collect()
    }
}

/// Every layer with its widths, and with what its step moves.
pub(super) fn report(
    model: &Model,
    activations: &ActivationQuantizers,
    bit_widths: &BitWidths,
    plan: &Plan,
) -> Vec<LayerReport> {
    LayerReport::all(widths(model, activations, bit_widths), plan)
}
