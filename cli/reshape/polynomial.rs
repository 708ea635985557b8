//! What a network with polynomials has become, as JSON and as text.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use quant::Model;
use quant::reshape::{PolynomialOptions, PolynomialPrices, PolynomialReport, Polynomials};
use serde::Serialize;

use super::summary::{Network, behind, networks};
use crate::table::Table;
use crate::training::{Training, written};
use crate::units;

/// What `pq reshape --polynomial` prints.
#[derive(Serialize)]
pub(super) struct Summary {
    file: PathBuf,
    bytes: usize,
    /// What polynomials were at first, by its name.
    start: String,
    /// Whose prices say what is saved.
    prices: String,
    /// The nodes that were looked at; poolings, too, where they were.
    relus: Vec<PolynomialReport>,
    /// How savings are told.
    #[serde(skip)]
    told: PolynomialPrices,
    before: Network,
    after: Network,
    /// The divergence of the new network's answers from the first one's before any training, in
    /// nats.
    loss: f64,
    training: Training,
}

impl Summary {
    pub(super) fn new(
        (file, bytes): (&Path, usize),
        options: &PolynomialOptions,
        model: &Model,
        (polynomials, training): (&Polynomials<'_>, Training),
        [before, after]: [Option<f64>; 2],
    ) -> Self {
        let prices = polynomials.prices();
        Self {
            file: file.to_owned(),
            bytes,
            start: options.start.to_string(),
            prices: options.saving.to_string(),
            relus: polynomials.relus().to_vec(),
            told: options.saving.clone(),
            before: Network::new(model, before, prices[0]),
            after: Network::new(polynomials.model(), after, prices[1]),
            loss: polynomials.loss(),
            training,
        }
    }

    /// The same as text.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n", self.nodes());
        let _ = writeln!(text, "{}", networks(&self.before, &self.after));
        let _ = writeln!(text, "{}", behind(self.loss, &self.training));
        // Whoever reads of savings below zero should read why beside them.
        let _ = writeln!(
            text,
            "here a ReLU is part of a requantization, and a square is a table behind one:\n\
            squares save where nothing has to be requantized"
        );
        let _ = writeln!(text, "{}", written(&self.file, self.bytes));
        text
    }

    /// What each node loses and saves alone, and which have become something else.
    fn nodes(&self) -> Table {
        let saved = format!("saved by {}", self.prices);
        let gated = self.relus.iter().any(|report| report.gate.is_some());
        let mut head = vec!["node", "as", "elements", "layers", "loss", &saved];
        head.extend(gated.then_some("gate"));
        head.push("");
        let mut table = Table::new(2, &head);
        for report in &self.relus {
            let PolynomialReport { name, becomes, elements, layers, loss, saved, gate, chosen } =
                report;
            let mut row = vec![
                name.clone(),
                becomes.name().into(),
                units::count(*elements as u64),
                layers.to_string(),
                units::loss(*loss),
                self.told.told(*saved),
            ];
            if gated {
                // What saves nothing has none.
                row.push(gate.map_or_else(String::new, |gate| format!("{gate:.3}")));
            }
            row.push(if *chosen { "chosen".into() } else { String::new() });
            table.row(row);
        }
        table
    }
}
