//! Curves over the steps of a training, as SVG.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 260.0;
/// Left, right, top, bottom.
const MARGIN: [f64; 4] = [64.0, 96.0, 16.0, 44.0];
const COLORS: [&str; 2] = ["#1f5fa8", "#c2571a"];
/// Lines of the grid, at most.
const LINES: f64 = 7.0;

/// Values by steps, each list with its name.
type Series = (&'static str, Vec<(u64, f64)>);

/// Lists of values over so many steps; `title` says what they are.
pub(super) fn drawing(title: &str, steps: u64, series: &[Series]) -> String {
    let [left, right, top, bottom] = MARGIN;
    let values = || series.iter().flat_map(|(_, points)| points).map(|(_, value)| *value);
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max);
    // A flat curve has some room, too.
    let room = (0.05 * (high - low)).max(1e-3 * high.abs().max(1e-3));
    let (low, high) = (low - room, high + room);
    let x = |step: u64| left + step as f64 / steps.max(1) as f64 * (WIDTH - left - right);
    let y = |value: f64| HEIGHT - bottom - (value - low) / (high - low) * (HEIGHT - top - bottom);
    let mut svg = format!(
        "<div class=\"wide\"><svg xmlns=\"http://www.w3.org/2000/svg\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" role=\"img\">\n\
         <title>{title}</title>\n"
    );
    let step = grid_step(high - low);
    let mut line = (low / step).ceil() * step;
    while line <= high {
        let _ = writeln!(
            svg,
            "<line x1=\"{left}\" x2=\"{}\" y1=\"{1:.1}\" y2=\"{1:.1}\" stroke=\"#e4e4e4\"/>\
             <text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{4}</text>",
            WIDTH - right,
            y(line),
            left - 8.0,
            y(line) + 4.0,
            short(line)
        );
        line += step;
    }
    for at in [0, steps] {
        let (x, y) = (x(at), HEIGHT - bottom + 18.0);
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{at}</text>");
    }
    let middle = f64::midpoint(left, WIDTH - right);
    let _ = writeln!(
        svg,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{title}, by steps</text>",
        HEIGHT - 8.0
    );
    for ((name, points), color) in series.iter().zip(COLORS) {
        let places: Vec<String> =
            points.iter().map(|&(at, value)| format!("{:.1},{:.1}", x(at), y(value))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"/>",
            places.join(" ")
        );
        let Some(&(at, value)) = points.last() else { continue };
        let (x, y) = (x(at) + 8.0, y(value) + 4.0);
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{color}\">{name}</text>");
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

/// A number of the grid, without what binary fractions add.
fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.to_owned() }
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
    fn numbers_of_the_grid_are_short() {
        assert_eq!([0.1 + 0.2, 90.0, -0.000_01, 0.05].map(short), ["0.3", "90", "0", "0.05"]);
        assert_eq!([6.0, 0.6, 70.0, 8.0].map(grid_step), [1.0, 0.1, 10.0, 2.0]);
    }
}
