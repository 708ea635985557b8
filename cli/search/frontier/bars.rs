//! The widths of every layer as bars, over the bytes of its products, as SVG.

use std::fmt::Write;

use super::Point;
use crate::page::escape;

const WIDTH: f64 = 900.0;
/// Of the column of labels.
const LEFT: f64 = 56.0;
/// Where bars stand: widths upwards, bytes downwards.
const BASE: f64 = 130.0;
/// Of a bit.
const BIT: f64 = 13.0;
/// Between the two, and the most of the second.
const GAP: f64 = 8.0;
const BYTES: f64 = 84.0;
/// Of the names, which are cut to so many letters.
const NAMES: f64 = 130.0;
const LETTERS: usize = 20;
const HEIGHT: f64 = BASE + GAP + BYTES + NAMES;
const WEIGHTS: &str = "#1f5fa8";
const VALUES: &str = "#6aa84f";
const PRODUCTS: &str = "#c2571a";

/// One network.
pub(super) fn bars(point: &Point) -> String {
    let pitch = ((WIDTH - LEFT) / point.layers.len().max(1) as f64).min(80.0);
    let most = point.layers.iter().map(|layer| layer.comm_bits).max().unwrap_or(1).max(1) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
        width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"system-ui,sans-serif\" font-size=\"11\">\n"
    );
    for bits in [2, 4, 6, 8] {
        line(&mut svg, BASE - BIT * f64::from(bits), &format!("{bits} bit"));
    }
    for part in [0.5, 1.0] {
        line(&mut svg, BASE + GAP + BYTES * part, &format!("{:.2} MB", part * most / 8e6));
    }
    for (at, layer) in point.layers.iter().enumerate() {
        let (x, bar) = (LEFT + 2.0 + pitch * at as f64, pitch * 0.4);
        let name = escape(&layer.name);
        for (x, bits, color) in
            [(x, layer.weight_bits, WEIGHTS), (x + bar, layer.activation_bits, VALUES)]
        {
            let (tall, middle) = (BIT * f64::from(bits), x + bar / 2.0);
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall}\" \
                fill=\"{color}\"><title>{name}: {bits} bits</title></rect>\
                 <text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\" \
                 font-size=\"10\">{bits}</text>",
                BASE - tall,
                bar - 1.0,
                BASE - tall - 3.0
            );
        }
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{:.1}\" \
            fill=\"{PRODUCTS}\"><title>{name}: {:.3} MB, {}</title></rect>",
            BASE + GAP,
            2.0 * bar - 1.0,
            BYTES * layer.comm_bits as f64 / most,
            layer.comm_bits as f64 / 8e6,
            escape(&layer.protocol)
        );
        let _ = writeln!(
            svg,
            "<text transform=\"translate({:.1} {}) rotate(-60)\" text-anchor=\"end\">{}</text>",
            x + bar + 4.0,
            BASE + GAP + BYTES + 14.0,
            escape(&short(&layer.name))
        );
    }
    legend(&mut svg);
    svg.push_str("</svg>\n");
    svg
}

/// A line across, with what it stands for.
fn line(svg: &mut String, y: f64, label: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#e4e4e4\"/>\
         <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{label}</text>",
        LEFT - 6.0,
        y + 4.0
    );
}

fn legend(svg: &mut String) {
    let entries = [
        (WEIGHTS, "bits of the weights"),
        (VALUES, "bits of the values that they multiply"),
        (PRODUCTS, "megabytes of the products"),
    ];
    let mut x = LEFT;
    for (color, text) in entries {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"1\" width=\"10\" height=\"10\" fill=\"{color}\"/><text x=\"{}\" \
            y=\"10\">{text}</text>",
            x + 15.0
        );
        x += 40.0 + 6.2 * text.len() as f64;
    }
}

/// The end of a name, which tells layers apart.
fn short(name: &str) -> String {
    let letters = name.chars().count();
    if letters <= LETTERS {
        return name.to_owned();
    }
    std::iter::once('…').chain(name.chars().skip(letters + 1 - LETTERS)).collect()
}
