//! Accuracy against megabytes, as SVG.

use std::fmt::Write;

use super::{Frontier, Point};
use crate::page::{escape, short};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
/// Left, right, top, bottom.
const MARGIN: [f64; 4] = [64.0, 24.0, 24.0, 52.0];
/// Of searched networks and of uniform widths.
const COLORS: [&str; 2] = ["#1f5fa8", "#c2571a"];

/// Scales from values to the drawing.
struct Axes {
    /// Logarithms of megabytes.
    x: [f64; 2],
    /// Per cent.
    y: [f64; 2],
}

/// The frontier, with uniform widths as baselines and the float network's accuracy as a line.
pub(super) fn frontier(frontier: &Frontier) -> String {
    let axes = Axes::of(frontier);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
        width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" role=\"img\">\n<rect \
         width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    axes.grid(&mut svg);
    let float = axes.y(100.0 * frontier.float_accuracy);
    let (left, right) = (MARGIN[0], WIDTH - MARGIN[1]);
    let _ = writeln!(
        svg,
        "<line x1=\"{left}\" x2=\"{right}\" y1=\"{float:.1}\" y2=\"{float:.1}\" stroke=\"#555\" \
        stroke-dasharray=\"5 4\"/>"
    );
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{:.1}\" fill=\"#555\">float</text>",
        left + 6.0,
        float - 5.0
    );
    for ((points, color), labeled) in
        [&frontier.points, &frontier.uniform].into_iter().zip(COLORS).zip([false, true])
    {
        axes.curve(&mut svg, points, color, labeled);
    }
    for (at, (text, color)) in ["searched widths", "one width"].iter().zip(COLORS).enumerate() {
        let (x, y) = (right - 130.0, HEIGHT - MARGIN[3] - 34.0 + 18.0 * at as f64);
        let _ = writeln!(
            svg,
            "<circle cx=\"{x}\" cy=\"{}\" r=\"4\" fill=\"{color}\"/><text x=\"{}\" \
            y=\"{y}\">{text}</text>",
            y - 4.0,
            x + 10.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn megabytes(point: &Point) -> f64 {
    (point.predicted_bits as f64 / 8e6).max(1e-6)
}

/// The least and the largest.
fn extent(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], v| [v.min(low), v.max(high)])
}

impl Axes {
    fn of(frontier: &Frontier) -> Self {
        let points = frontier.points.iter().chain(&frontier.uniform);
        let x = extent(points.clone().map(|point| megabytes(point).log10()));
        let accuracies = points.map(|point| point.accuracy).chain([frontier.float_accuracy]);
        let y = extent(accuracies.map(|accuracy| 100.0 * accuracy));
        // Networks that have broken down would flatten all that is of interest.
        let least = y[0].max(y[1] - 12.0);
        Self {
            x: [x[0] - 0.04, x[1] + 0.06],
            y: [least.floor() - 0.5, (y[1].ceil() + 0.5).min(100.2)],
        }
    }

    fn x(&self, megabytes: f64) -> f64 {
        let part = (megabytes.log10() - self.x[0]) / (self.x[1] - self.x[0]).max(1e-9);
        MARGIN[0] + part * (WIDTH - MARGIN[0] - MARGIN[1])
    }

    fn y(&self, percent: f64) -> f64 {
        let part = (percent.max(self.y[0]) - self.y[0]) / (self.y[1] - self.y[0]).max(1e-9);
        HEIGHT - MARGIN[3] - part * (HEIGHT - MARGIN[2] - MARGIN[3])
    }

    fn place(&self, point: &Point) -> (f64, f64) {
        (self.x(megabytes(point)), self.y(100.0 * point.accuracy))
    }

    fn grid(&self, svg: &mut String) {
        let (left, right, bottom) = (MARGIN[0], WIDTH - MARGIN[1], HEIGHT - MARGIN[3]);
        let span = self.y[1] - self.y[0];
        let step =
            [0.5, 1.0, 2.0, 5.0, 10.0].into_iter().find(|step| span / step <= 9.0).unwrap_or(20.0);
        let mut value = (self.y[0] / step).ceil() * step;
        while value <= self.y[1] {
            let y = self.y(value);
            let _ = writeln!(
                svg,
                "<line x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" \
                stroke=\"#e4e4e4\"/>"
            );
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                y + 4.0,
                short(value)
            );
            value += step;
        }
        for decade in -3..6 {
            for digit in [1.0, 2.0, 3.0, 5.0, 7.0] {
                let value = digit * 10f64.powi(decade);
                if !(self.x[0]..=self.x[1]).contains(&value.log10()) {
                    continue;
                }
                let x = self.x(value);
                let _ = writeln!(
                    svg,
                    "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{bottom}\" stroke=\"#eee\"/>",
                    MARGIN[2]
                );
                let _ = writeln!(
                    svg,
                    "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                    bottom + 18.0,
                    short(value)
                );
            }
        }
        let middle = f64::midpoint(left, right);
        let _ = writeln!(
            svg,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">megabytes of one inference, \
            offline and online</text>",
            HEIGHT - 12.0
        );
        let _ = writeln!(
            svg,
            "<text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">accuracy, \
            %</text>",
            HEIGHT / 2.0
        );
    }

    fn curve(&self, svg: &mut String, points: &[Point], color: &str, labeled: bool) {
        let places = points.iter().map(|point| self.place(point));
        let line: Vec<String> = places.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"/>",
            line.join(" ")
        );
        for point in points {
            let (x, y) = self.place(point);
            let title = format!(
                "{}: {:.2} MB, {:.2} %",
                escape(&point.name),
                megabytes(point),
                100.0 * point.accuracy
            );
            // Hollow where the true place is below the drawing.
            let fill = if 100.0 * point.accuracy < self.y[0] { "#fff" } else { color };
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{fill}\" \
                stroke=\"{color}\"><title>{title}</title></circle>"
            );
            if labeled {
                let _ = writeln!(
                    svg,
                    "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{color}\">{}</text>",
                    x + 6.0,
                    y + 14.0,
                    escape(&point.name)
                );
            }
        }
    }
}
