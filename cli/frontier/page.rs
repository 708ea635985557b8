//! The report: one file of HTML that needs nothing else.

use std::fmt::Write;

use super::{Frontier, Point, drawing};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:960px;margin:2em auto;padding:0 1em}\
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #e4e4e4}td:first-child,th:first-child{text-align:left}\
svg{max-width:100%;height:auto}summary{cursor:pointer;margin:.4em 0}.note{color:#555}";

/// The frontier, the bits of every layer over what it moves, the sensitivities, and all numbers.
pub(super) fn write(frontier: &Frontier) -> String {
    let name = escape(&frontier.network);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}: precision frontier</title>\
         <style>{STYLE}</style></head><body>\n<h1>{name}</h1>\n<p class=\"note\">Accuracies on {} images; the float network has {:.2} %.</p>\n",
        frontier.images,
        100.0 * frontier.float_accuracy
    );
    page.push_str(&drawing::frontier(frontier));
    page.push_str("<h2>Networks</h2>\n<table><tr><th>network</th><th>MB</th><th>seconds</th><th>accuracy, %</th><th>expected loss, nats</th></tr>\n");
    for point in frontier.points.iter().chain(&frontier.uniform) {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{:.2}</td><td>{:.2}</td><td>{:.2}</td><td>{:.4}</td></tr>",
            escape(&point.name),
            point.predicted_bits as f64 / 8e6,
            point.predicted_seconds,
            100.0 * point.accuracy,
            point.expected_loss
        );
    }
    page.push_str("</table>\n<h2>Bits of every layer, over what it moves</h2>\n");
    for (at, point) in frontier.points.iter().enumerate() {
        let open = if at == frontier.points.len() / 2 { " open" } else { "" };
        let _ = write!(
            page,
            "<details{open}><summary>{}: {:.2} MB, {:.2} %</summary>\n{}</details>\n",
            escape(&point.name),
            point.predicted_bits as f64 / 8e6,
            100.0 * point.accuracy,
            bars(point)
        );
    }
    sensitivities(&mut page, frontier);
    page.push_str("</body></html>\n");
    page
}

/// Widths of weights and activations as bars, above; the bytes of every layer's step, below.
fn bars(point: &Point) -> String {
    let count = point.layers.len().max(1) as f64;
    let (width, height, base) = (860.0, 230.0, 118.0);
    let pitch = (width - 50.0) / count;
    let most = point.layers.iter().map(|layer| layer.comm_bits).max().unwrap_or(1).max(1) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" font-family=\"system-ui,sans-serif\" font-size=\"10\">\n"
    );
    for bits in [2, 4, 6, 8] {
        let y = base - 12.0 * f64::from(bits);
        let _ = writeln!(
            svg,
            "<line x1=\"40\" x2=\"{width}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#eee\"/><text x=\"34\" y=\"{}\" text-anchor=\"end\">{bits} bit</text>",
            y + 3.0
        );
    }
    for (at, layer) in point.layers.iter().enumerate() {
        let x = 44.0 + pitch * at as f64;
        let bar = pitch * 0.36;
        for (shift, bits, colour) in
            [(0.0, layer.weight_bits, "#1f5fa8"), (bar, layer.activation_bits, "#6aa84f")]
        {
            let tall = 12.0 * f64::from(bits);
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall}\" fill=\"{colour}\"><title>{}: {bits} bits</title></rect>",
                x + shift,
                base - tall,
                bar * 0.92,
                escape(&layer.name)
            );
        }
        let tall = 84.0 * layer.comm_bits as f64 / most;
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" fill=\"#c2571a\"><title>{}: {:.3} MB, {}</title></rect>",
            base + 12.0,
            bar * 1.92,
            escape(&layer.name),
            layer.comm_bits as f64 / 8e6,
            escape(&layer.protocol)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"44\" y=\"{}\">blue: weights; green: the activations that they read; orange, downwards: megabytes of the layer's products, {:.2} at most</text></svg>",
        height - 4.0,
        most / 8e6
    );
    svg
}

/// Losses at four bits, by all measures side by side.
fn sensitivities(page: &mut String, frontier: &Frontier) {
    const AT: usize = 2;
    page.push_str("<h2>Sensitivities: nats lost at 4 bits</h2>\n<table><tr><th>layer</th>");
    for what in ["weights", "activations read"] {
        for name in frontier.sensitivities.keys() {
            let _ = write!(page, "<th>{what}, {name}</th>");
        }
    }
    page.push_str("</tr>\n");
    for (at, (name, site)) in frontier.layers.iter().enumerate() {
        let _ = write!(page, "<tr><td>{}</td>", escape(name));
        let weights = frontier.sensitivities.values().map(|found| found.weights[at][AT]);
        for loss in weights.chain(frontier.sensitivities.values().map(|found| found.sites[*site][AT])) {
            let _ = write!(page, "<td>{loss:.2e}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

/// Names come from files: none of them is markup.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
