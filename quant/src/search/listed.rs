//! Widths that are listed by the names of layers: those of another network.

use model::Model;
use serde::Deserialize;

use super::LayerReport;
use crate::quantize::{ActivationQuantizers, BitWidths};

/// The widths of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LayerWidths {
    /// The layer's name.
    pub name: String,
    /// Width of its weights, 2 to 8.
    pub weight_bits: u8,
    /// Width of the activations that it reads, before any average, 2 to 8.
    pub activation_bits: u8,
}

impl From<&LayerReport> for LayerWidths {
    fn from(report: &LayerReport) -> Self {
        let LayerReport { name, weight_bits, activation_bits, .. } = report;
        Self { name: name.clone(), weight_bits: *weight_bits, activation_bits: *activation_bits }
    }
}

/// Widths that a network cannot have.
#[derive(Debug, thiserror::Error)]
pub enum WidthsError {
    /// A layer has none.
    #[error("widths of layers: expected those of {layer}, found none")]
    Missing {
        /// The layer.
        layer: String,
    },
    /// There is no such layer.
    #[error("widths of layers: found {layer}, expected some of {known}")]
    Unknown {
        /// What was given.
        layer: String,
        /// The layers that there are.
        known: String,
    },
    /// One width is none.
    #[error("widths of {layer}: expected 2 to 8 bits, found w{weight_bits}a{activation_bits}")]
    Bits {
        /// The layer.
        layer: String,
        /// Of its weights.
        weight_bits: u8,
        /// Of its activations.
        activation_bits: u8,
    },
    /// Two layers read the same activations at different widths.
    #[error(
        "activations of {layer}: expected {expected} bits, as {other} has them, found {found}: \
         both layers read the same ones"
    )]
    Differ {
        /// The layer.
        layer: String,
        /// The layer before.
        other: String,
        /// Its width.
        expected: u8,
        /// The layer's.
        found: u8,
    },
}

/// The widths of a network whose layers have these. Activations that no layer reads are as wide as
/// the widest that one reads.
pub(super) fn listed(
    model: &Model,
    activations: &ActivationQuantizers,
    widths: &[LayerWidths],
) -> Result<BitWidths, WidthsError> {
    let layers = activations.layers.iter();
    let names: Vec<&String> = layers.map(|layer| &model.nodes[layer.node].name).collect();
    // A name that is told twice has the widths that are told first.
    if let Some(unknown) = widths.iter().find(|given| !names.contains(&&given.name)) {
        let known: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        return Err(WidthsError::Unknown { layer: unknown.name.clone(), known: known.join(", ") });
    }
    let widest = widths.iter().map(|given| given.activation_bits).max().unwrap_or(8);
    let mut bit_widths = BitWidths {
        weight_bits: Vec::with_capacity(names.len()),
        activation_bits: vec![widest; activations.quantizers.len()],
    };
    // By activation quantizer, the layer that has given its width.
    let mut givers: Vec<Option<usize>> = vec![None; activations.quantizers.len()];
    for (layer, &name) in names.iter().enumerate() {
        let given = widths.iter().find(|given| given.name == *name);
        let given = given.ok_or_else(|| WidthsError::Missing { layer: name.clone() })?;
        let LayerWidths { name: layer_name, weight_bits, activation_bits } = given;
        if ![weight_bits, activation_bits].into_iter().all(|bits| (2..=8).contains(bits)) {
            return Err(WidthsError::Bits {
                layer: layer_name.clone(),
                weight_bits: *weight_bits,
                activation_bits: *activation_bits,
            });
        }
        let read = activations.layers[layer].input;
        let expected = bit_widths.activation_bits[read];
        if let Some(other) = givers[read].filter(|_| expected != *activation_bits) {
            let (other, found) = (names[other].clone(), *activation_bits);
            return Err(WidthsError::Differ { layer: layer_name.clone(), other, expected, found });
        }
        givers[read] = Some(layer);
        bit_widths.activation_bits[read] = *activation_bits;
        bit_widths.weight_bits.push(*weight_bits);
    }
    Ok(bit_widths)
}

#[cfg(test)]
mod tests {
    use model::{Dataset, Node, Op, Preprocess, ValueId};

    use super::*;
    use crate::quantize::{Quantizer, Ranges, widths};
    use crate::testing::residual_network;

    #[test]
    fn widths_of_a_network_are_those_that_its_layers_are_told_with() {
        let mut model = residual_network();
        // A second layer that reads what the last one does.
        let Op::Conv(last) = model.nodes[11].op.clone() else { unreachable!() };
        let [read, given] = [model.nodes[11].inputs[0], model.output];
        let node = |name: &str, op: Op, inputs: Vec<ValueId>, output: usize| {
            let shape = [5, 1, 1];
            Node { name: name.into(), op, inputs, output: ValueId(output), shape }
        };
        model.nodes.push(node("twin", Op::Conv(last), vec![read], given.0 + 1));
        let both = vec![given, ValueId(given.0 + 1)];
        model.nodes.push(node("both", Op::Add, both, given.0 + 2));
        model.output = ValueId(given.0 + 2);
        model.check().unwrap();
        let images = Dataset::noise(16, [3, 8, 8], 5).batch(0..16, &Preprocess::Unit).unwrap();
        let quantizer = Quantizer::new(&model, &Preprocess::Unit, &images, Ranges::Mse).unwrap();
        let activations = quantizer.activations();
        let mut chosen = BitWidths {
            weight_bits: (0..activations.layers.len()).map(|at| 2 + at as u8 % 7).collect(),
            activation_bits: vec![8; activations.quantizers.len()],
        };
        for layer in &activations.layers {
            chosen.activation_bits[layer.input] = 8 - layer.input as u8 % 7;
        }
        let told: Vec<LayerWidths> = widths(&model, activations, &chosen)
            .map(|(name, weight_bits, activation_bits)| LayerWidths {
                name,
                weight_bits,
                activation_bits,
            })
            .collect();
        assert_eq!(listed(&model, activations, &told).unwrap(), chosen);
        // In any order; but all of them, none else, of 2 to 8 bits.
        let reversed: Vec<LayerWidths> = told.iter().rev().cloned().collect();
        assert_eq!(listed(&model, activations, &reversed).unwrap(), chosen);
        let refused =
            |widths: &[LayerWidths]| listed(&model, activations, widths).unwrap_err().to_string();
        let first = &told[0].name;
        assert!(refused(&told[1..]).contains(&format!("expected those of {first}, found none")));
        let mut other = told.clone();
        other[0].name = "nowhere".into();
        let error = refused(&other);
        assert!(error.contains(&format!("found nowhere, expected some of {first}")), "{error}");
        let mut other = told.clone();
        other[0].weight_bits = 9;
        assert!(refused(&other).contains("expected 2 to 8 bits, found w9a"));
        // Two layers that read the same activations.
        let pairs = activations.layers.iter().enumerate().flat_map(|(at, layer)| {
            let after = activations.layers.iter().enumerate().skip(at + 1);
            after.filter(move |(_, other)| other.input == layer.input).map(move |(b, _)| (at, b))
        });
        let pairs: Vec<(usize, usize)> = pairs.collect();
        let (one, two) = pairs[0];
        let mut other = told.clone();
        other[two].activation_bits = if other[one].activation_bits == 8 { 7 } else { 8 };
        assert!(refused(&other).contains("both layers read the same ones"));
    }
}
