//! The linear layers of a network that was found or taken over, as text.

use std::fmt::Write;

use protocols::plan::Plan;
use protocols::printable::Printable;
use quant::search::LayerReport;

use crate::table::Table;
use crate::units;

/// A plan's name, its layers with widths and protocols, and what one inference moves.
pub(crate) fn text(plan: &Plan, layers: &[LayerReport], predicted_bits: u64) -> String {
    let mut table =
        Table::new(1, &["layer", "weights", "activations", "protocol", "communication"]);
    for layer in layers {
        table.row(vec![
            layer.name.clone(),
            layer.weight_bits.to_string(),
            layer.activation_bits.to_string(),
            layer.protocol.clone(),
            units::bits(layer.comm_bits),
        ]);
    }
    let mut text = format!("{}\n\n{table}\n", Printable(&plan.name));
    let _ = writeln!(text, "one inference  {}", exact(predicted_bits));
    text
}

/// Bits for people, and to the bit.
pub(crate) fn exact(bits: u64) -> String {
    format!("{} ({} bits)", units::bits(bits), units::count(bits))
}
