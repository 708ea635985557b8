//! Curves over the steps of a training, as SVG.

use std::fmt::Write;

use crate::page::short;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 260.0;
/// Left, right, top, bottom.
const MARGIN: [f64; 4] = [64.0, 96.0, 16.0, 44.0];
const COLORS: [&str; 2] = ["#1f5fa8", "#c2571a"];
/// The height of a line of text.
const LINE: f64 = 14.0;
/// Lines of the grid, at most.
const LINES: f64 = 7.0;

/// Values by steps, each list with its name.
type Series = (&'static str, Vec<(u64, f64)>);

/// Scales from steps and values to the drawing.
struct Axes {
    steps: u64,
    low: f64,
    high: f64,
}

impl Axes {
    fn of(steps: u64, series: &[Series]) -> Self {
        let values = series.iter().flat_map(|(_, points)| points).map(|(_, value)| *value);
        let [low, high] = values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
            [value.min(low), value.max(high)]
        });
        // A flat curve has some room, too.
        let room = (0.05 * (high - low)).max(1e-3 * high.abs().max(1e-3));
        Self { steps, low: low - room, high: high + room }
    }

    fn x(&self, step: u64) -> f64 {
        let [left, right, ..] = MARGIN;
        left + step as f64 / self.steps.max(1) as f64 * (WIDTH - left - right)
    }

    fn y(&self, value: f64) -> f64 {
        let [.., top, bottom] = MARGIN;
        let part = (value - self.low) / (self.high - self.low);
        HEIGHT - bottom - part * (HEIGHT - top - bottom)
    }

    fn grid(&self, svg: &mut String) {
        let [left, right, _, bottom] = MARGIN;
        // Lines at round numbers, the first above the lower end.
        let step = grid_step(self.high - self.low);
        let mut line = (self.low / step).ceil() * step;
        while line <= self.high {
            let (y, end) = (self.y(line), WIDTH - right);
            let _ = writeln!(
                svg,
                "<line x1=\"{left}\" x2=\"{end}\" y1=\"{y:.1}\" y2=\"{y:.1}\" \
                 stroke=\"#e4e4e4\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                y + 4.0,
                short(line)
            );
            line += step;
        }
        for at in [0, self.steps] {
            let (x, y) = (self.x(at), HEIGHT - bottom + 18.0);
            let _ =
                writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{at}</text>");
        }
    }

    /// A line through the points, with its name at the end, which is below that of the line before
    /// where the two would be one over the other. Where the name is.
    fn curve(
        &self,
        svg: &mut String,
        (name, points): &Series,
        color: &str,
        before: Option<f64>,
    ) -> Option<f64> {
        let places = points.iter().map(|&(at, value)| (self.x(at), self.y(value)));
        let line: Vec<String> = places.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"/>",
            line.join(" ")
        );
        // At its end there is room: the drawing's right margin.
        let &(at, value) = points.last()?;
        let (x, y) = (self.x(at) + 8.0, self.y(value) + 4.0);
        let y = before.filter(|before| (y - before).abs() < LINE).map_or(y, |before| before + LINE);
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{color}\">{name}</text>");
        Some(y)
    }
}

/// Lists of values over so many steps; `title` says what they are.
pub(super) fn drawing(title: &str, steps: u64, series: &[Series]) -> String {
    let mut svg = format!(
        "<div class=\"wide\"><svg xmlns=\"http://www.w3.org/2000/svg\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" role=\"img\">\n\
         <title>{title}</title>\n"
    );
    let axes = Axes::of(steps, series);
    axes.grid(&mut svg);
    let middle = f64::midpoint(MARGIN[0], WIDTH - MARGIN[1]);
    let _ = writeln!(
        svg,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{title}, by steps</text>",
        HEIGHT - 8.0
    );
    let mut before = None;
    for (series, color) in series.iter().zip(COLORS) {
        before = axes.curve(&mut svg, series, color, before);
    }
    svg.push_str("</svg></div>");
    svg
}

/// The distance of two lines: 1, 2 or 5 of a decimal place.
fn grid_step(span: f64) -> f64 {
    let place = 10f64.powf((span / LINES).log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|digit| digit * place);
    steps.into_iter().find(|step| span / step <= LINES).unwrap_or(10.0 * place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_and_grids_stay_within_the_drawing() {
        let fall: Vec<(u64, f64)> = (0..=20).map(|at| (at * 50, 3.0 / (at + 1) as f64)).collect();
        for points in [fall, vec![(0, 91.5)], vec![(0, 2.0), (1000, 2.0)]] {
            let svg = drawing("loss, nats", 1000, &[("loss", points.clone())]);
            let line = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
            let places: Vec<f64> =
                line.split([' ', ',']).map(|number| number.parse().unwrap()).collect();
            assert_eq!(places.len(), 2 * points.len());
            for place in places.chunks_exact(2) {
                assert!((0.0..=WIDTH).contains(&place[0]) && (0.0..=HEIGHT).contains(&place[1]));
            }
            assert!((1..=LINES as usize + 1).contains(&svg.matches("<line").count()), "{svg}");
        }
    }

    #[test]
    fn names_of_equal_curves_are_below_each_other() {
        let points = vec![(0, 90.0), (10, 91.0)];
        let svg = drawing("per cent", 10, &[("one", points.clone()), ("other", points)]);
        let at = |name: &str| {
            let text = svg.lines().find(|line| line.ends_with(&format!(">{name}</text>"))).unwrap();
            let y = text.split(" y=\"").nth(1).unwrap().split('"').next().unwrap();
            y.parse::<f64>().unwrap()
        };
        assert_eq!(at("other") - at("one"), LINE);
    }

    #[test]
    fn numbers_of_the_grid_are_short() {
        assert_eq!([0.1 + 0.2, 90.0, -0.000_01, 0.05].map(short), ["0.3", "90", "0", "0.05"]);
        assert_eq!([6.0, 0.6, 70.0, 8.0].map(grid_step), [1.0, 0.1, 10.0, 2.0]);
    }
}
