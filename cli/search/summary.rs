//! What a search found, as JSON and as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use protocols::plan::Plan;
use quant::data::OffScale;
use quant::search::{Found, LayerReport, Sensitivity};
use serde::Serialize;

use crate::layers;
use crate::table::Table;
use crate::units;

/// What was found, as `search.json` has it.
#[derive(Serialize)]
pub(crate) struct Summary {
    pub(super) layers: Vec<LayerReport>,
    pub(crate) predicted_bits: u64,
    pub(crate) setup_bits: u64,
    pub(super) predicted_seconds: f64,
    pub(crate) budget_bits: Option<u64>,
    pub(super) expected_loss: f64,
    /// Of the calibration images.
    pub(super) off_scale: Option<OffScale>,
    /// With --explain, by measure.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) sensitivities: BTreeMap<&'static str, Sensitivity>,
    /// With --explain: the activation quantizer that each layer reads.
    #[serde(rename = "sites", skip_serializing_if = "Vec::is_empty")]
    pub(super) activations: Vec<usize>,
}

impl Summary {
    pub(super) fn new(found: &Found) -> Self {
        Self {
            layers: found.layers.clone(),
            predicted_bits: found.predicted_bits,
            setup_bits: found.setup_bits,
            predicted_seconds: found.predicted_seconds,
            budget_bits: found.budget_bits,
            expected_loss: found.expected_loss,
            off_scale: None,
            sensitivities: BTreeMap::new(),
            activations: Vec::new(),
        }
    }

    /// What was found, as text.
    pub(crate) fn text(&self, plan: &Plan) -> String {
        let mut text = layers::text(plan, &self.layers, self.predicted_bits);
        if let Some(budget) = self.budget_bits {
            let _ = writeln!(text, "budget         {}", layers::exact(budget));
        }
        let _ = writeln!(text, "set-up, once   {}", layers::exact(self.setup_bits));
        let _ = writeln!(text, "predicted time {}", units::seconds(self.predicted_seconds));
        let _ = writeln!(text, "expected loss  {:.4}", self.expected_loss);
        if !self.sensitivities.is_empty() {
            let _ = write!(text, "\n{}", self.explained());
        }
        text
    }

    /// The losses of the bits chosen, by all measures side by side.
    fn explained(&self) -> String {
        let mut head = vec!["layer".to_owned()];
        for what in ["weights", "activations"] {
            head.extend(self.sensitivities.keys().map(|name| format!("{what}: {name}")));
        }
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        let mut table = Table::new(1, &head);
        for (at, (layer, &activation)) in self.layers.iter().zip(&self.activations).enumerate() {
            let [weight, value] =
                [layer.weight_bits, layer.activation_bits].map(|bits| usize::from(bits - 2));
            let weights = self.sensitivities.values().map(|found| found.weights[at][weight]);
            let values =
                self.sensitivities.values().map(|found| found.activations[activation][value]);
            let losses = weights.chain(values).map(|loss| format!("{loss:.2e}"));
            table.row(std::iter::once(layer.name.clone()).chain(losses).collect());
        }
        format!("nats lost by the widths above, by each measure\n\n{table}")
    }
}
