//! What a network has become, as JSON and as text.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use pq::{BlockReport, ReshapePrice, Saving};
use quant::Model;
use quant::reshape::Reshaper;
use serde::Serialize;

use crate::table::Table;
use crate::training::{Training, written};
use crate::units;

/// What `pq reshape` prints.
#[derive(Serialize)]
pub(super) struct Summary {
    file: PathBuf,
    bytes: usize,
    /// What the blocks' savings are of: bits or seconds.
    save: &'static str,
    /// The same.
    #[serde(skip)]
    saving: Saving,
    blocks: Vec<BlockReport>,
    before: Network,
    after: Network,
    /// The divergence of the new network's answers from the first one's before any training, in
    /// nats.
    loss: f64,
    training: Training,
}

/// A network, and what it costs.
#[derive(Serialize)]
pub(super) struct Network {
    /// Of the images of --test; null without.
    accuracy: Option<f64>,
    #[serde(flatten)]
    price: ReshapePrice,
    macs: u64,
    relus: u64,
    parameters: u64,
}

/// Lines of a training, behind a divergence before.
pub(super) fn behind(before: f64, training: &Training) -> String {
    format!("divergence before training {} nats; {}", units::loss(before), training.text())
}

impl Summary {
    pub(super) fn new(
        (file, bytes): (&Path, usize),
        saving: Saving,
        model: &Model,
        (reshaper, training): (&Reshaper<'_>, Training),
        [before, after]: [Option<f64>; 2],
    ) -> Self {
        let prices = reshaper.prices();
        Self {
            file: file.to_owned(),
            bytes,
            save: match saving {
                Saving::Bits => "bits",
                Saving::Seconds => "seconds",
            },
            saving,
            blocks: reshaper.blocks().to_vec(),
            before: Network::new(model, before, prices[0]),
            after: Network::new(reshaper.model(), after, prices[1]),
            loss: reshaper.loss(),
            training,
        }
    }

    /// The same as text.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n", self.alternatives());
        let _ = writeln!(text, "{}", networks(&self.before, &self.after));
        let _ = writeln!(text, "{}", behind(self.loss, &self.training));
        let _ = writeln!(text, "{}", written(&self.file, self.bytes));
        text
    }

    /// What can stand for each block, and what does.
    fn alternatives(&self) -> Table {
        let saved = format!("{} saved", self.save);
        let mut table = Table::new(3, &["block", "to", "by", "loss", &saved, ""]);
        for BlockReport { layers: [first, last], alternatives, chosen } in &self.blocks {
            for (at, found) in alternatives.iter().enumerate() {
                let by =
                    found.kernel.map_or("nothing".into(), |kernel| format!("{kernel}x{kernel}"));
                table.row(vec![
                    first.clone(),
                    last.clone(),
                    by,
                    units::loss(found.loss),
                    self.saving.told(found.saved),
                    if *chosen == Some(at) { "chosen".into() } else { String::new() },
                ]);
            }
        }
        table
    }
}

/// A network before and after.
pub(super) fn networks(before: &Network, after: &Network) -> Table {
    let head = ["", "accuracy", "bytes", "rounds", "time", "nonlinear steps", "MACs", "ReLUs"];
    let mut table = Table::new(1, &head);
    for (name, network) in [("before", before), ("after", after)] {
        let accuracy = network.accuracy.map(units::percent);
        let price = &network.price;
        table.row(vec![
            name.into(),
            accuracy.unwrap_or_default(),
            units::bytes(network.bytes()),
            price.rounds.to_string(),
            units::seconds(price.seconds),
            price.nonlinear_steps.to_string(),
            units::count(network.macs),
            units::count(network.relus),
        ]);
    }
    table
}

impl Network {
    pub(super) fn new(model: &Model, accuracy: Option<f64>, price: ReshapePrice) -> Self {
        let (macs, relus, parameters) = (model.macs(), model.relus(), model.parameters());
        Self { accuracy, price, macs, relus, parameters }
    }

    /// Of one inference.
    pub(super) const fn bytes(&self) -> u64 {
        self.price.bits.div_ceil(8)
    }
}
