//! The report: one file of HTML that needs nothing else.

use std::fmt::Write;

use super::bars::bars;
use super::{Frontier, drawing};
use crate::page::{self, escape};

/// The frontier, the bits of every layer over what it moves, the sensitivities, and all numbers.
pub(super) fn write(frontier: &Frontier) -> String {
    let mut page = page::begin(&frontier.network, "precision frontier");
    let _ = writeln!(
        page,
        "<p class=\"note\">Accuracies on {} \
         images, standard error about \
         {:.2} points; the float network has {:.2} %. Bits of one inference are exact: what a \
         private run moves, offline and \
         online, both directions. Loss and agreement compare with the float network on images \
         behind those of calibration, where there are 64 more, else on these. The curve has the \
         networks that lose less than every cheaper one.</p>",
        frontier.images,
        100.0 * frontier.standard_error(),
        100.0 * frontier.float_accuracy
    );
    taken(&mut page, frontier);
    let _ = writeln!(page, "<div class=\"wide\">{}</div>", drawing::frontier(frontier));
    networks(&mut page, frontier);
    page.push_str("<h2>Bits of every layer, over what it moves</h2>\n");
    for (at, point) in frontier.points.iter().enumerate() {
        let open = if at == frontier.points.len() / 2 { " open" } else { "" };
        let name = escape(&point.name);
        let _ = write!(
            page,
            "<details{open} id=\"{name}\"><summary>{name}: {:.2} MB, {:.2} %</summary>\n\
             <div class=\"wide\">{}</div></details>\n",
            megabytes(point.predicted_bits),
            100.0 * point.accuracy,
            bars(point)
        );
    }
    sensitivities(&mut page, frontier);
    let _ = writeln!(page, "<p class=\"note\">{}</p>", escape(&frontier.provenance.text()));
    page.push_str(page::END);
    page
}

/// Which network to take, and how to run it from the folder that holds this page.
fn taken(page: &mut String, frontier: &Frontier) {
    let _ = writeln!(page, "<p><strong>{}</strong></p>", escape(&frontier.advice()));
    let Some(point) = frontier.taken() else { return };
    let net = escape(&point.folder);
    let _ = writeln!(
        page,
        "<pre>pq cost {net} --why\n\
         pq infer --role server --plan {net}/plan.json --weights {net}/weights.safetensors \
         --listen 127.0.0.1:7000\n\
         pq infer --role client --plan {net}/plan.json --connect 127.0.0.1:7000 \
         --input IMAGES</pre>"
    );
}

/// All networks with their numbers.
fn networks(page: &mut String, frontier: &Frontier) {
    page.push_str(
        "<h2>Networks</h2>\n<div class=\"wide\"><table><thead><tr><th>network</th><th>bits of \
         one inference</th><th>MB</th><th>offline</th><th>online</th><th>rounds</th>\
         <th>seconds, predicted</th><th>set-up</th><th>hints, once</th><th>accuracy, %</th>\
         <th>loss, nats</th><th>agreement, %</th></tr></thead>\n",
    );
    for points in [&frontier.points, &frontier.uniform] {
        page.push_str("<tbody>");
        for point in points {
            let _ = writeln!(
                page,
                "<tr><td><a href=\"{}/plan.json\">{}</a></td><td>{}</td><td>{:.2}</td>\
                 <td>{:.2}</td><td>{:.2}</td><td>{}</td><td>{:.2}</td><td>{:.2}</td><td>{:.2}</td>\
                 <td>{:.2}</td><td>{}</td><td>{:.2}</td></tr>",
                escape(&point.folder),
                escape(&point.name),
                crate::units::count(point.predicted_bits),
                megabytes(point.predicted_bits),
                megabytes(point.offline_bits),
                megabytes(point.predicted_bits - point.offline_bits),
                point.rounds,
                point.predicted_seconds,
                megabytes(point.setup_bits),
                megabytes(point.hints_bits),
                100.0 * point.accuracy,
                crate::units::loss(point.fidelity.loss),
                100.0 * point.fidelity.agreement
            );
        }
        page.push_str("</tbody>\n");
    }
    page.push_str("</table></div>\n<p class=\"note\">Megabytes but where said.</p>\n");
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
        "<h2>Sensitivities: nats lost at 4 bits</h2>\n<div class=\"wide\"><table><thead><tr>\
         <th></th><th colspan=\"{count}\">weights</th>\
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
    page.push_str("</tbody></table></div>\n");
}

fn megabytes(bits: u64) -> f64 {
    bits as f64 / 8e6
}
