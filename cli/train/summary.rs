//! What a network has become, as JSON and as text.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use quant::Model;
use quant::distill::DistillOptions;
use serde::Serialize;

use crate::table::Table;
use crate::training::{Training, written};
use crate::units;

/// What `pq train` prints.
#[derive(Serialize)]
pub(super) struct Summary {
    file: PathBuf,
    bytes: usize,
    /// What weights were at first, by its name.
    start: String,
    teacher: Network,
    before: Network,
    after: Network,
    training: Training,
}

/// A network, and what it is worth.
#[derive(Serialize)]
pub(super) struct Network {
    /// Of the images of --test; null without.
    accuracy: Option<f64>,
    macs: u64,
    relus: u64,
    parameters: u64,
}

impl Network {
    pub(super) fn new(model: &Model, accuracy: Option<f64>) -> Self {
        let (macs, relus, parameters) = (model.macs(), model.relus(), model.parameters());
        Self { accuracy, macs, relus, parameters }
    }
}

impl Summary {
    /// `networks` are the teacher, the network before and the network after.
    pub(super) fn new(
        (file, bytes): (&Path, usize),
        options: &DistillOptions,
        [teacher, before, after]: [Network; 3],
        training: Training,
    ) -> Self {
        Self {
            file: file.to_owned(),
            bytes,
            start: options.start.to_string(),
            teacher,
            before,
            after,
            training,
        }
    }

    /// The same as text.
    pub(super) fn text(&self) -> String {
        let mut table = Table::new(1, &["", "accuracy", "MACs", "ReLUs", "parameters"]);
        let networks = [("teacher", &self.teacher), ("before", &self.before)];
        for (name, network) in networks.into_iter().chain([("after", &self.after)]) {
            let accuracy = network.accuracy.map(units::percent);
            let counts = [network.macs, network.relus, network.parameters].map(units::count);
            let mut row = vec![name.into(), accuracy.unwrap_or_default()];
            row.extend(counts);
            table.row(row);
        }
        let mut text = format!("{table}\n");
        let _ = writeln!(text, "{}", self.training.text());
        let _ = writeln!(text, "{}", written(&self.file, self.bytes));
        text
    }
}
