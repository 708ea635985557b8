//! What a network with fewer ReLUs has become, as JSON and as text.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use fusion::relus::ReluSystem;
use quant::Model;
use quant::reshape::{Granularity, Linearizer, ReluReport, ReshapeError};
use serde::Serialize;

use super::summary::{Network, networks};
use crate::table::Table;
use crate::training::{Training, written};
use crate::units;

/// What `pq reshape --relus` prints.
#[derive(Serialize)]
pub(super) struct Summary {
    file: PathBuf,
    bytes: usize,
    by: Granularity,
    layers: Vec<ReluReport>,
    before: Network,
    after: Network,
    /// What the ReLUs alone take elsewhere.
    systems: Vec<System>,
    training: Training,
}

/// The ReLUs of both networks in a published system, in bytes of one inference.
#[derive(Serialize)]
struct System {
    name: &'static str,
    before: u64,
    after: u64,
}

impl Summary {
    pub(super) fn new(
        (file, bytes): (&Path, usize),
        by: Granularity,
        (model, changed): (&Model, &Model),
        (linearizer, training): (&Linearizer<'_>, Training),
        [before, after]: [Option<f64>; 2],
    ) -> Result<Self, ReshapeError> {
        let prices = linearizer.prices()?;
        let relus = [model, changed].map(Model::relus);
        let systems = ReluSystem::ALL.map(|system| {
            let [before, after] = relus.map(|relus| system.bytes(relus));
            System { name: system.name(), before, after }
        });
        Ok(Self {
            file: file.to_owned(),
            bytes,
            by,
            layers: linearizer.relus(),
            before: Network::new(model, before, prices[0]),
            after: Network::new(changed, after, prices[1]),
            systems: systems.into(),
            training,
        })
    }

    /// The same as text.
    pub(super) fn text(&self) -> String {
        let mut layers = Table::new(1, &["layer", "ReLUs", "kept", "of them"]);
        for ReluReport { layer, relus, kept } in &self.layers {
            let part = 100.0 * *kept as f64 / (*relus).max(1) as f64;
            let (relus, kept) = (units::count(*relus as u64), units::count(*kept as u64));
            layers.row(vec![layer.clone(), relus, kept, format!("{part:.0} %")]);
        }
        let mut text = format!("{layers}\n");
        let _ = writeln!(text, "{}", networks(&self.before, &self.after));
        let _ = writeln!(text, "{}", self.savings());
        let _ = writeln!(text, "{}", self.training.text());
        let _ = writeln!(text, "{}", written(&self.file, self.bytes));
        text
    }

    /// What the ReLUs take, before and after.
    fn savings(&self) -> Table {
        let mut table = Table::new(1, &["the ReLUs of one inference", "before", "after", "saved"]);
        for System { name, before, after } in &self.systems {
            let [before, after, saved] = [*before, *after, before - after].map(units::bytes);
            table.row(vec![format!("{name}, modeled"), before, after, saved]);
        }
        // Here ReLUs are not told apart from the requantizations that they are in: the difference
        // is that of whole inferences.
        let bytes = [self.before.bytes(), self.after.bytes()];
        let saved = bytes[0] as i64 - bytes[1] as i64;
        let sign = if saved < 0 { "-" } else { "" };
        let saved = format!("{sign}{}", units::bytes(saved.unsigned_abs()));
        let [before, after] = bytes.map(units::bytes);
        table.row(vec!["pq, all of an inference".into(), before, after, saved]);
        table
    }
}
