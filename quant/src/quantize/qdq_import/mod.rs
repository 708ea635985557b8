//! A network that came quantized, as one whose every rescaling is a shift.
//!
//! Its widths are kept, and so are its integers wherever scales allow it. In order of the network,
//! the accumulators of the first layer that leads to a group of tied activation quantizers decide
//! the group's mantissa, if the layer's channels agree on one: its weights stay as they are, and
//! the activation quantizers of the group move to the nearest power of two of it. Weights whose
//! scales do not meet their group's then are rounded again, each channel to the finest power of two
//! that holds it. Quantizers of values that stay accumulators here are not needed, and left out.

mod change;
mod fitting;
mod given;

use fusion::{Graph, Interval};
use model::onnx::{Quantized, Unsupported};
use model::{Preprocess, ValueId};
use protocols::weights::Weights;

use super::activation_quantizers::{ActivationQuantizers, InputQuantizer, QuantizerId};
use super::emit::Emit;
use super::round::QuantizedWeights;
use super::scales::Scales;
use super::{BitWidths, QuantizeError, Target, conv, widths};
pub use change::{QdqChange, QdqChangeKind};
use fitting::{Fitting, TOLERANCE, off};
use given::{QdqActivation, QdqQuantizers};

/// A network of integers that was imported from a quantized one.
#[derive(Debug)]
pub struct QdqImport {
    /// The integer network.
    pub graph: Graph,
    /// Its weights.
    pub weights: Weights,
    /// Widths of every layer's weights, and of the values that it reads.
    pub layers: Vec<(String, u8, u8)>,
    /// What is not as the file has it.
    pub changes: Vec<QdqChange>,
}

/// Why a quantized network is not imported.
#[derive(Debug, thiserror::Error)]
pub enum QdqImportError {
    /// Nodes that are not quantized as they have to be: all of them.
    #[error("{}", .0.iter().map(Unsupported::to_string).collect::<Vec<_>>().join("\n"))]
    Unsupported(Vec<Unsupported>),
    /// The integer network cannot be represented.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
}

/// Makes a quantized network one of integers.
///
/// # Errors
/// Values or weights that have to be quantized are not, or too wide; or the integer network cannot
/// be represented.
pub fn import_qdq(
    quantized: &Quantized,
    preprocess: &Preprocess,
) -> Result<QdqImport, QdqImportError> {
    let signed = quantized.values.get(&ValueId::INPUT).is_some_and(|quantizer| quantizer.low < 0);
    let input = InputQuantizer { signed, mantissa: None };
    let activations = ActivationQuantizers::of(&quantized.model, input);
    let given =
        QdqQuantizers::read(quantized, &activations).map_err(QdqImportError::Unsupported)?;
    let mut solving = Solving {
        given: &given,
        quantized,
        activations: &activations,
        mantissas: vec![None; activations.groups],
        changes: Vec::new(),
    };
    // In the order of the network: each layer decides its target's mantissa from its input's, which
    // is decided by then or is the activation quantizer's own. The others follow, when all groups
    // are.
    let layers: Vec<QuantizedWeights> =
        (0..activations.layers.len()).map(|layer| solving.layer(layer)).collect();
    let scales = Scales {
        activations: (0..activations.quantizers.len())
            .map(|activation| solving.activation(activation))
            .collect(),
        lows: given.activations.iter().map(QdqActivation::least).collect(),
        layers: layers.iter().map(|layer| layer.log_scale).collect(),
        below: vec![0; activations.quantizers.len()],
    };
    let changes = solving.changes;
    let bit_widths = BitWidths {
        weight_bits: given.layers.iter().map(|layer| layer.bits).collect(),
        activation_bits: given.activations.iter().map(|activation| activation.bits).collect(),
    };
    let rounded: Vec<&QuantizedWeights> = layers.iter().collect();
    let emit = Emit {
        model: &quantized.model,
        activations: &activations,
        scales: &scales,
        rounded: &rounded,
        bit_widths: &bit_widths,
    };
    let (graph, weights) = emit.run(preprocess)?;
    let layers = widths(&quantized.model, &activations, &bit_widths).collect();
    Ok(QdqImport { graph, weights, layers, changes })
}

/// Mantissas, layer by layer.
struct Solving<'a> {
    given: &'a QdqQuantizers,
    quantized: &'a Quantized,
    activations: &'a ActivationQuantizers,
    /// By group: the base-two logarithm of its scales, up to whole numbers.
    mantissas: Vec<Option<f64>>,
    changes: Vec<QdqChange>,
}

impl Solving<'_> {
    /// A layer's integers, its group's mantissa decided.
    fn layer(&mut self, index: usize) -> QuantizedWeights {
        let (layer, given) = (&self.activations.layers[index], &self.given.layers[index]);
        let input = self.mantissa(layer.input) + layer.input_offset;
        let first = given.log_scales.iter().flatten().next().copied().unwrap_or(0.0);
        let agreed = given.log_scales.iter().flatten().all(|&log| off(log - first) < TOLERANCE);
        // Scales of accumulators are `s_x s_w`. If all channels' are one number times powers of
        // two, that number is the group's and no weight changes; else the activation quantizer's
        // own scale is kept, and the weights give way.
        let target = match layer.target {
            _ if agreed => input + first,
            Target::Quantizer(activation) => self.given.activations[activation].log_scale,
            Target::Logits => input + first,
        };
        let target = *self.mantissas[layer.target_group].get_or_insert(target);
        let log_scale = target - input;
        let conv = conv(&self.quantized.model, layer.node);
        let name = &self.quantized.model.nodes[layer.node].name;
        let (rounded, change) = Fitting { conv, given, log_scale }.run();
        self.changes.extend(change.map(|change| QdqChange { node: name.clone(), ..change }));
        rounded
    }

    /// The mantissa of an activation quantizer's group: the activation quantizer's own, where no
    /// layer has decided it.
    fn mantissa(&mut self, activation: QuantizerId) -> f64 {
        let own = self.given.activations[activation].log_scale;
        *self.mantissas[self.activations.quantizers[activation].group].get_or_insert(own)
    }

    /// The base-two logarithm of an activation quantizer's scale.
    fn activation(&mut self, index: QuantizerId) -> f64 {
        let (mantissa, given, activation) = (
            self.mantissa(index),
            &self.given.activations[index],
            &self.activations.quantizers[index],
        );
        // The nearest in octaves: a scale changes by a factor of `sqrt(2)` at most.
        let used = mantissa + (given.log_scale - mantissa).round();
        if (used - given.log_scale).abs() > TOLERANCE {
            let (found, used) = (given.log_scale.exp2(), used.exp2());
            self.changes.push(QdqChange::new(
                &activation.name,
                QdqChangeKind::ScaleOfValues,
                found,
                used,
            ));
        }
        let range = Interval::from(given.least(), given.bits);
        let most = range.hi as f64 * given.log_scale.exp2();
        if range.lo != given.low {
            let [found, used] = [(given.low, given.log_scale), (range.lo, used)]
                .map(|(integer, scale)| integer as f64 * scale.exp2());
            self.changes.push(QdqChange::new(
                &activation.name,
                QdqChangeKind::LeastValue,
                found,
                used,
            ));
        }
        // The file cuts off at its largest integer, or at the ReLU before that; here the width's
        // largest is the only place.
        let whole = activation.max.map_or(f64::INFINITY, f64::from);
        let found = whole.min(given.high as f64 * given.log_scale.exp2());
        if (most / found).log2().abs() > TOLERANCE {
            let moved = (used - given.log_scale).exp2();
            self.changes.push(QdqChange::new(
                &activation.name,
                QdqChangeKind::LargestValue,
                found,
                most * moved,
            ));
        }
        used
    }
}
