//! The report: one file of HTML that needs nothing else.

use std::fmt::Write;

use protocols::printable::Printable;

use super::bars::bars;
use super::{Frontier, drawing};

const STYLE: &str = include_str!("style.css");

/// The frontier, the bits of every layer over what it moves, the sensitivities, and all numbers.
pub(super) fn write(frontier: &Frontier) -> String {
    let name = escape(&frontier.network);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}: \
        precision frontier</title>\
         <style>{STYLE}</style></head><body>\n<h1>{name}</h1>\n<p class=\"note\">Accuracies on {} \
         images, standard error about \
         {:.2} points; the float network has {:.2} %. Bits of one inference are exact: what a \
         private run moves, offline and \
         online, both directions. Loss and agreement compare with the float network on the \
         calibration images. The curve has the networks that lose less than every cheaper one: \
         take the first one that is accurate enough, from its folder in points/.</p>\n",
        frontier.images,
        100.0 * frontier.standard_error(),
        100.0 * frontier.float_accuracy
    );
    page.push_str(&drawing::frontier(frontier));
    networks(&mut page, frontier);
    page.push_str("<h2>Bits of every layer, over what it moves</h2>\n");
    for (at, point) in frontier.points.iter().enumerate() {
        let open = if at == frontier.points.len() / 2 { " open" } else { "" };
        let _ = write!(
            page,
            "<details{open}><summary>{}: {:.2} MB, {:.2} %</summary>\n{}</details>\n",
            escape(&point.name),
            megabytes(point.predicted_bits),
            100.0 * point.accuracy,
            bars(point)
        );
    }
    sensitivities(&mut page, frontier);
    page.push_str("</body></html>\n");
    page
}

/// All networks with their numbers.
fn networks(page: &mut String, frontier: &Frontier) {
    page.push_str(
        "<h2>Networks</h2>\n<table><thead><tr><th>network</th><th>bits of one \
        inference</th><th>MB</th><th>seconds, predicted</th>\
         <th>accuracy, %</th><th>loss, nats</th><th>agreement, %</th></tr></thead>\n",
    );
    for points in [&frontier.points, &frontier.uniform] {
        page.push_str("<tbody>");
        for point in points {
            let _ = writeln!(
                page,
                "<tr><td>{}</td><td>{}</td><td>{:.2}</td><td>{:.2}</td><td>{:.2}</td>\
             <td>{}</td><td>{:.2}</td></tr>",
                escape(&point.name),
                crate::units::count(point.predicted_bits),
                megabytes(point.predicted_bits),
                point.predicted_seconds,
                100.0 * point.accuracy,
                crate::units::loss(point.fidelity.loss),
                100.0 * point.fidelity.agreement
            );
        }
        page.push_str("</tbody>\n");
    }
    page.push_str("</table>\n");
}

/// Losses at four bits, by all measures side by side; the darker, the more of what the column's
/// most sensitive layer loses.
fn sensitivities(page: &mut String, frontier: &Frontier) {
    // Widths are listed from 2 on: index 2 is 4 bits.
    const AT: usize = 2;
    let mut rows: Vec<(&str, Vec<f64>)> = Vec::new();
    for (at, (name, activation)) in frontier.layers.iter().enumerate() {
        let weights = frontier.sensitivities.values().map(|found| found.weights[at][AT]);
        let values =
            frontier.sensitivities.values().map(|found| found.activations[*activation][AT]);
        rows.push((name, weights.chain(values).collect()));
    }
    let count = frontier.sensitivities.len();
    let _ = write!(
        page,
        "<h2>Sensitivities: nats lost at 4 bits</h2>\n<table><thead><tr><th></th><th \
        colspan=\"{count}\">weights</th>\
         <th colspan=\"{count}\">activations that they multiply</th></tr>\n<tr><th>layer</th>"
    );
    for name in frontier.sensitivities.keys().chain(frontier.sensitivities.keys()) {
        let _ = write!(page, "<th>{name}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>");
    let most: Vec<f64> = (0..2 * count)
        .map(|column| {
            rows.iter().map(|(_, losses)| losses[column]).fold(f64::MIN_POSITIVE, f64::max)
        })
        .collect();
    for (name, losses) in &rows {
        let _ = write!(page, "<tr><td>{}</td>", escape(name));
        for (loss, most) in losses.iter().zip(&most) {
            let shade = 0.55 * (loss / most).max(0.0).sqrt();
            let _ =
                write!(page, "<td style=\"background:rgba(31,95,168,{shade:.2})\">{loss:.1e}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table>\n");
}

fn megabytes(bits: u64) -> f64 {
    bits as f64 / 8e6
}

/// Names come from files: none of them is markup, and none hides or reorders what stands beside it.
/// Control characters have no place in XML, not even as references.
pub(super) fn escape(text: &str) -> String {
    let text = Printable(text).to_string();
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
