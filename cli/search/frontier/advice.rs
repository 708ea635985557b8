//! Which network of a frontier to take.

use protocols::printable::Printable;

use super::{Frontier, Point};

/// What an accuracy may fall behind that of the float network, where the test cannot tell more.
const WITHIN: f64 = 0.01;

impl Frontier {
    /// The cheapest network that is as accurate as the float one, but for what the images can tell
    /// or a point; where there is none, the most accurate.
    pub(super) fn taken(&self) -> Option<&Point> {
        let least = self.float_accuracy - WITHIN.max(self.standard_error());
        // Points are in order of price: the first that is close is the cheapest one.
        let close = self.points.iter().find(|point| point.accuracy >= least);
        close.or_else(|| self.points.iter().max_by(|a, b| a.accuracy.total_cmp(&b.accuracy)))
    }

    /// The same as a sentence.
    pub(super) fn advice(&self) -> String {
        let Some(point) = self.taken() else { return "No network was found.".into() };
        // In per cent, as accuracies are printed.
        let points = 100.0 * (self.float_accuracy - point.accuracy);
        let than = match points {
            0.0.. => format!("{points:.2} points below the float network"),
            _ => format!("{:.2} points above the float network", -points),
        };
        let name = Printable(&point.name);
        let close = points <= 100.0 * WITHIN.max(self.standard_error());
        let why =
            if close { "the cheapest that is close" } else { "the most accurate; none is close" };
        format!("Take {name}: {why}, {than}. Its folder is {}.", Printable(&point.folder))
    }
}
