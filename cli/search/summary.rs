//! What a search found, as JSON and as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use protocols::plan::Plan;
use quant::data::OffScale;
use quant::search::{Fidelity, Found, LayerReport, Sensitivity};
use serde::Serialize;

use crate::console::Console;
use crate::layers;
use crate::table::Table;
use crate::training::Training;
use crate::units;

/// How images become integers.
#[derive(Serialize)]
pub(crate) struct Input {
    signed: bool,
    bits: u8,
    /// The least and the largest preprocessed value that is not cut off.
    range: [f64; 2],
}

impl Input {
    fn of(plan: &Plan) -> Self {
        let wire = plan.input_wire();
        let (low, high) = wire.range();
        let range = [low, high].map(|integer| integer as f64 * plan.input.scale);
        Self { signed: wire.signed(), bits: wire.bits, range }
    }
}

/// What was found, as `search.json` has it.
#[derive(Serialize)]
pub(crate) struct Summary {
    pub(super) layers: Vec<LayerReport>,
    pub(crate) predicted_bits: u64,
    pub(crate) setup_bits: u64,
    pub(super) predicted_seconds: f64,
    pub(crate) budget_bits: Option<u64>,
    /// Null where nothing was searched.
    pub(super) expected_loss: Option<f64>,
    /// The integers beside the float network.
    pub(super) fidelity: Fidelity,
    pub(super) input: Input,
    /// Of the calibration images.
    pub(super) off_scale: Option<OffScale>,
    /// Where integers were trained: how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) training: Option<Training>,
    /// With --explain, by measure.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) sensitivities: BTreeMap<&'static str, Sensitivity>,
    /// With --explain: the activation quantizer that each layer reads.
    #[serde(rename = "sites", skip_serializing_if = "Vec::is_empty")]
    pub(super) activations: Vec<usize>,
}

impl Summary {
    pub(crate) fn new(found: &Found) -> Self {
        Self {
            layers: found.layers.clone(),
            predicted_bits: found.predicted_bits,
            setup_bits: found.setup_bits,
            predicted_seconds: found.predicted_seconds,
            budget_bits: found.budget_bits,
            expected_loss: found.expected_loss,
            fidelity: found.fidelity,
            input: Input::of(&found.plan),
            off_scale: None,
            training: None,
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
        let (Fidelity { images, agreement, loss, error, held_back }, input) =
            (self.fidelity, &self.input);
        let which = if held_back { "other" } else { "calibration" };
        let sign = if input.signed { "signed" } else { "unsigned" };
        let [low, high] = input.range;
        let _ = writeln!(text, "input          {sign}, {} bits, {low:.4} to {high:.4}", input.bits);
        let agreement = 100.0 * agreement;
        let _ = writeln!(
            text,
            "agreement      {agreement:.2} % of {images} {which} images, with the float network"
        );
        let _ = writeln!(text, "measured loss  {} nats", units::loss(loss));
        let _ = writeln!(text, "logits' error  {} of their spread", units::loss(error));
        if let Some(expected) = self.expected_loss {
            let _ = writeln!(text, "expected loss  {} nats", units::loss(expected));
        }
        if let Some(training) = &self.training {
            let _ = writeln!(text, "\n{}", training.text());
        }
        if !self.sensitivities.is_empty() {
            let _ = write!(text, "\n{}", self.explained());
        }
        text
    }

    /// Warns where the integers are far from the float network.
    pub(crate) fn warn(&self, console: &Console) {
        let Fidelity { images, agreement, error, held_back, .. } = self.fidelity;
        let which = if held_back { "other" } else { "calibration" };
        if !self.fidelity.is_poor() {
            return;
        }
        let other = 100.0 * (1.0 - agreement);
        console.warn(format_args!(
            "the quantized network is far from the float network: {other:.2} % of {images} \
             {which} images get another class, and logits are off by {error:.3} of their \
             spread; give more bits, such as --fixed w8a8 or a larger budget, or calibrate with \
             images of the network's task"
        ));
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
