//! Which network of a frontier to take.

use protocols::printable::Printable;

use super::{Frontier, Point};

/// What an accuracy may fall behind that of the float network, where the test cannot tell more.
const WITHIN: f64 = 0.01;

impl Frontier {
    /// The cheapest network that is as accurate as the float one, but for what the images can tell
    /// or a point; where there is none, the most accurate.
    pub(super) fn taken(&self) -> Option<&Point> {
        // Points are in order of price: the first that is close is the cheapest one.
        let close = self.points.iter().find(|point| self.is_close(point));
        close.or_else(|| self.points.iter().max_by(|a, b| a.accuracy.total_cmp(&b.accuracy)))
    }

    fn is_close(&self, point: &Point) -> bool {
        point.accuracy >= self.float_accuracy - WITHIN.max(self.standard_error())
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
        let why = match self.is_close(point) {
            true => "the cheapest that is close",
            false => "the most accurate; none is close",
        };
        format!("Take {name}: {why}, {than}. Its folder is {}.", Printable(&point.folder))
    }
}
