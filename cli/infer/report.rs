//! The result of `pq infer`, as JSON and as text.

use std::fmt::Write;

use quant::data::OffScale;
use serde::{Deserialize, Serialize};

use super::memory::Memory;
use crate::context::App;
use crate::exit::{Code, Failure, Outcome};
use crate::ledger::Ledger;
use crate::logits;
use crate::units;

/// What a party knows after a run: the server knows the ledger only.
#[derive(Serialize, Deserialize)]
pub(crate) struct Inference {
    /// The class of every image.
    pub(crate) predictions: Option<Vec<usize>>,
    /// `[images][classes]`; null where the label alone is revealed.
    pub(crate) logits: Option<Vec<Vec<f64>>>,
    /// `[images][classes]`.
    pub(crate) logits_int: Option<Vec<Vec<i64>>>,
    /// The labels of the images, where they are known.
    pub(crate) labels: Option<Vec<usize>>,
    /// Whether the result equals that of the plaintext network, if that was asked for.
    pub(crate) verified: Option<bool>,
    /// Where the images are floats that are far from what the plan's integers hold.
    pub(crate) off_scale: Option<OffScale>,
    #[serde(flatten)]
    pub(crate) ledger: Ledger,
    /// Bytes of keep-alive frames, in both directions: outside the ledger.
    pub(crate) keep_alive_bytes: u64,
    /// Of this process: of both parties where it is both.
    pub(crate) memory: Memory,
    /// The index of the first image in its file.
    #[serde(skip)]
    pub(crate) first: usize,
    #[serde(skip)]
    pub(crate) class_names: Option<Vec<String>>,
}

impl Inference {
    /// What the server knows.
    pub(super) const fn of_server(ledger: Ledger, keep_alive_bytes: u64, memory: Memory) -> Self {
        Self {
            predictions: None,
            logits: None,
            logits_int: None,
            labels: None,
            verified: None,
            off_scale: None,
            ledger,
            keep_alive_bytes,
            memory,
            first: 0,
            class_names: None,
        }
    }

    /// Prints it; a result that is not the plaintext one is a failure.
    pub(super) fn print(&self, app: &App) -> Outcome<()> {
        if let Some(off_scale) = &self.off_scale {
            app.console.warn(format_args!("--input: {off_scale}"));
        }
        if self.verified != Some(false) {
            return app.console.result(self, Self::text);
        }
        let message =
            "verification failed: the private result differs from that of the plaintext network";
        app.console.failed_result(self, Self::text, Failure::new(Code::Unverified, message))
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let names = self.class_names.as_deref();
        for (image, &prediction) in self.predictions.iter().flatten().enumerate() {
            let label = self.labels.as_ref().and_then(|labels| labels.get(image));
            let label = label.map(|&label| format!(", label {}", logits::name(label, names)));
            let _ = writeln!(text, "image {}{}", self.first + image, label.unwrap_or_default());
            match self.logits.as_ref().and_then(|logits| logits.get(image)) {
                Some(logits) => text += &logits::top(logits, names),
                None => text += &format!("    {}\n", logits::name(prediction, names)),
            }
        }
        text += "\n";
        text += &self.ledger_text();
        text
    }

    /// The ledger, and whether the result was verified.
    pub(crate) fn ledger_text(&self) -> String {
        let verdict = match self.verified {
            Some(true) => "verified: equal to the plaintext network, integer for integer\n",
            Some(false) => "NOT VERIFIED: different from the plaintext network\n",
            None => "",
        };
        let alive = match self.keep_alive_bytes {
            0 => String::new(),
            bytes => format!("keep-alive frames, outside the ledger: {}\n", units::bytes(bytes)),
        };
        self.ledger.measured_text() + &alive + &self.memory.text() + verdict
    }
}
