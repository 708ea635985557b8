//! How a training went, as JSON, as text and as a page.

use std::fmt::Write;

use quant::tune::{Learner, Point};
use serde::Serialize;

use super::drawing::drawing;
use crate::page::{END, begin, escape};
use crate::table::Table;
use crate::units::{self, percent};

/// A training that is done.
#[derive(Clone, Serialize)]
pub(crate) struct Training {
    pub(crate) steps: u64,
    /// The mean loss of the last batches, in nats.
    pub(crate) loss: f64,
    /// Images that nothing was learned from: the curve's agreements and accuracies are theirs.
    held_back: usize,
    curve: Vec<Point>,
}

impl Training {
    pub(crate) fn of(learner: &dyn Learner) -> Self {
        let at = learner.progress();
        let (held_back, curve) = (learner.held_back(), learner.curve().to_vec());
        Self { steps: at.step, loss: at.loss, held_back, curve }
    }

    /// Its loss, and what it says of images that were held back, before and after, where any are.
    pub(crate) fn text(&self) -> String {
        let [steps, loss] = [self.steps.to_string(), units::loss(self.loss)];
        let mut text = format!("loss after {steps} steps {loss} nats");
        let (Some(first), Some(last)) = (self.curve.first(), self.curve.last()) else {
            return text;
        };
        if let (Some(before), Some(after)) = (first.agreement, last.agreement) {
            let (count, ways) = (units::count(self.held_back as u64), [before, after].map(percent));
            let _ = write!(
                text,
                "\nof {count} images held back, the teacher's answers: {}, now {}",
                ways[0], ways[1]
            );
        }
        if let (Some(before), Some(after)) = (first.accuracy, last.accuracy) {
            let _ = write!(text, "; right answers: {}, now {}", percent(before), percent(after));
        }
        text
    }

    /// The curve of the training of a network, as a file of HTML.
    pub(crate) fn page(&self, network: &str) -> String {
        let mut page = begin(network, "training");
        let (steps, count) = (units::count(self.steps), units::count(self.held_back as u64));
        let _ = writeln!(
            page,
            "<p class=\"note\">{steps} batches were learned from. The loss is a mean of the last \
             batches, in nats. Agreement with the teacher and accuracy are of {count} images that \
             nothing was learned from.</p>"
        );
        if self.curve.is_empty() {
            page.push_str(END);
            return page;
        }
        // Two drawings: nats and per cent have no scale in common.
        let losses: Vec<_> = self.curve.iter().map(|at| (at.step, at.loss)).collect();
        let _ = writeln!(page, "{}", drawing("loss, nats", self.steps, &[("loss", losses)]));
        let parts = [("agreement", of(&self.curve, |at| at.agreement))];
        let rights = [("accuracy", of(&self.curve, |at| at.accuracy))];
        let series: Vec<_> =
            parts.into_iter().chain(rights).filter(|(_, points)| !points.is_empty()).collect();
        if !series.is_empty() {
            let _ = writeln!(page, "{}", drawing("images held back, %", self.steps, &series));
        }
        // A line at a time: the ends of lines are no part of names.
        let table = self.table().to_string();
        let lines: Vec<String> = table.lines().map(escape).collect();
        let _ = writeln!(page, "<pre>{}</pre>", lines.join("\n"));
        page.push_str(END);
        page
    }

    fn table(&self) -> Table {
        let mut table = Table::new(0, &["step", "loss", "agreement", "accuracy"]);
        for Point { step, loss, agreement, accuracy } in &self.curve {
            let [agreement, accuracy] =
                [agreement, accuracy].map(|part| part.map(percent).unwrap_or_default());
            table.row(vec![units::count(*step), units::loss(*loss), agreement, accuracy]);
        }
        table
    }
}

/// Per cent by steps, where there are any.
fn of(curve: &[Point], part: impl Fn(&Point) -> Option<f64>) -> Vec<(u64, f64)> {
    curve.iter().filter_map(|at| Some((at.step, 100.0 * part(at)?))).collect()
}
