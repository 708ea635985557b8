//! A network that came quantized, as one whose every rescaling is a shift.
//!
//! Its widths are kept, and so are its integers wherever scales allow it. In order of the network,
//! the accumulators of the first layer that leads to a group of tied activation quantizers decide
//! the group's mantissa, if the layer's channels agree on one: its weights stay as they are, and
//! the activation quantizers of the group move to the nearest power of two of it. Weights whose
//! scales do not meet their group's then are rounded again, each channel to the finest power of two
//! that holds it. Quantizers of values that stay accumulators here are not needed, and left out.

use fusion::{Graph, Interval};
use model::onnx::{Integers, Quantized, Quantizer, Unsupported};
use model::{Conv, Op, Preprocess, ValueId};
use protocols::weights::Weights;
use serde::Serialize;

use super::activation_quantizers::{
    ActivationQuantizer, ActivationQuantizers, InputQuantizer, QuantizerId,
};
use super::emit::Emit;
use super::round::{QuantizedWeights, limits};
use super::scales::Scales;
use super::{BitWidths, LayerQuantizers, QuantizeError, conv, widths};

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

/// Something that is not as the file has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QdqChange {
    /// The node that computes the value, or that has the weights.
    pub node: String,
    /// What was changed.
    pub what: QdqChangeKind,
    /// What the file has: a scale, or the least or the largest value.
    pub found: f64,
    /// What is taken instead.
    pub used: f64,
    /// By how much it changed: of all but weights, `used / found - 1`; of weights, the
    /// norm of their change over their own.
    pub by: f64,
}

/// What was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QdqChangeKind {
    /// The scale of a value, to the nearest power of two of what its accumulators have.
    ScaleOfValues,
    /// The least value, below which it is cut off.
    LeastValue,
    /// The largest value, beyond which it is cut off.
    LargestValue,
    /// Integers and scales of weights.
    Weights,
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

/// How far base-two logarithms of scales may be from a shift and still count as one: two hundredths
/// of a percent.
const TOLERANCE: f64 = 3e-4;
/// The most that exponents of a layer's channels differ; each bit of difference is a bit of the
/// accumulators.
const SPREAD: i32 = 8;
/// The same for channels whose weights are all zero.
const IDLE_SPREAD: i32 = 3;

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

/// What the file says about all that has to be quantized.
struct QdqQuantizers {
    activations: Vec<QdqActivation>,
    layers: Vec<QdqLayer>,
}

struct QdqActivation {
    bits: u8,
    log_scale: f64,
    /// The least integer in the file, or zero where nothing is negative.
    low: i64,
    /// The largest integer in the file.
    high: i64,
}

struct QdqLayer {
    bits: u8,
    /// Base-two logarithms of the channels' scales; none for channels whose weights are all zero.
    log_scales: Vec<Option<f64>>,
    /// What the file says they are.
    stated: Vec<f64>,
}

impl QdqQuantizers {
    fn read(
        quantized: &Quantized,
        activations: &ActivationQuantizers,
    ) -> Result<Self, Vec<Unsupported>> {
        fn keep<T>(problems: &mut Vec<Unsupported>, found: Result<T, Unsupported>) -> Option<T> {
            found.map_err(|problem| problems.push(problem)).ok()
        }
        let mut problems = Vec::new();
        let given = activations.quantizers.iter().enumerate().map(|(id, activation)| {
            let members: Vec<ValueId> = activations.members(id).collect();
            QdqActivation::read(quantized, activation, &members)
        });
        let given: Vec<_> = given.filter_map(|found| keep(&mut problems, found)).collect();
        let layers = activations.layers.iter().map(|layer| QdqLayer::read(quantized, layer));
        let layers: Vec<_> = layers.filter_map(|found| keep(&mut problems, found)).collect();
        if activations.layers.is_empty() {
            problems.push(unsupported(
                quantized,
                None,
                "it has no linear layers",
                "there is nothing to run privately",
            ));
        }
        if problems.is_empty() { Ok(Self { activations: given, layers }) } else { Err(problems) }
    }
}

impl QdqActivation {
    fn read(
        quantized: &Quantized,
        activation: &ActivationQuantizer,
        members: &[ValueId],
    ) -> Result<Self, Unsupported> {
        let node = activation.value.producer().map(|node| &quantized.model.nodes[node]);
        if activation.kept.is_some() {
            let (reason, advice) = (
                "a ReLU of some elements has steps of its own below zero",
                "import the network before it was quantized, and quantize it with pq search",
            );
            return Err(unsupported(quantized, activation.value.producer(), reason, advice));
        }
        // A ReLU of a quantized value is as quantized as that.
        let before = node
            .filter(|node| matches!(node.op, Op::Relu { .. }))
            .and_then(|node| quantized.values.get(&node.inputs[0]));
        // What is joined has one scale here: the largest of its parts', if it says none itself.
        let found = quantized.values.get(&activation.value).or(before).or_else(|| {
            let parts = members.iter().filter_map(|value| quantized.values.get(value));
            parts.max_by(|a, b| a.scale.total_cmp(&b.scale))
        });
        let Some(&Quantizer { scale, low, high }) = found else {
            return Err(unsupported(
                quantized,
                activation.value.producer(),
                "its values are not quantized, and a layer reads them",
                "put QuantizeLinear and DequantizeLinear behind it",
            ));
        };
        // Zero is among the integers, and not alone: what is negative may have none above it.
        let below = activation.signed && low < 0;
        if low > 0 || high < i64::from(!below) {
            let reason =
                format!("its integers are those from {low} to {high}, zero point taken off");
            return Err(unsupported(
                quantized,
                activation.value.producer(),
                &reason,
                "quantize with a zero point inside",
            ));
        }
        let low = if activation.signed { low } else { 0 };
        // As many integers as the file has, wherever they begin.
        let bits = Interval { lo: 0, hi: high - low }.bits(false);
        Ok(Self { bits, log_scale: scale.log2(), low, high })
    }

    /// The least integer of the width. Of a number of integers that is no power of two the largest
    /// one stays what it is; where nothing is negative the least one does.
    const fn least(&self) -> i64 {
        if self.low == 0 { 0 } else { self.high + 1 - (1 << self.bits) }
    }
}

impl QdqLayer {
    fn read(quantized: &Quantized, layer: &LayerQuantizers) -> Result<Self, Unsupported> {
        let conv = conv(&quantized.model, layer.node);
        // A quantized layer that one of floats took in leaves integers that are not all of its
        // weights.
        let integers = quantized.weights.get(&layer.node);
        let integers = integers.filter(|integers| integers.values.len() == conv.weight.len());
        let Some(Integers { values, low, high, scales }) = integers else {
            return Err(unsupported(
                quantized,
                Some(layer.node),
                "its weights are not quantized",
                "store them as int8 behind DequantizeLinear; fold scalings such as batch \
                 normalization into layers first",
            ));
        };
        // A zero point may leave more room than the weights need.
        let (least, most) = values.iter().fold((0, 0), |(a, b), &w| (a.min(w), b.max(w)));
        let bits = Some(width(*low, *high))
            .filter(|&bits| bits <= 8)
            .unwrap_or_else(|| width(least, most));
        if bits > 8 {
            let reason = format!(
                "its weights are from {least} to {most}, zero point taken off: {bits} bits"
            );
            return Err(unsupported(
                quantized,
                Some(layer.node),
                &reason,
                "quantize weights symmetrically to int8",
            ));
        }
        let channels =
            conv.weight.chunks_exact(conv.fan_in()).zip(values.chunks_exact(conv.fan_in()));
        let stated =
            scales.iter().step_by(conv.fan_in()).map(|&scale| f64::from(scale).log2()).collect();
        let log_scales = channels.map(|(real, integers)| {
            // The scale is what the largest integer was multiplied by: that quotient is rounded
            // least. The weights in the model may be those of the file times a factor that was
            // folded in.
            let at = (0..integers.len()).max_by_key(|&at| integers[at].unsigned_abs())?;
            let scale = f64::from(real[at]).abs() / f64::from(integers[at]).abs();
            Some(scale.log2()).filter(|log| log.is_finite())
        });
        Ok(Self { bits, log_scales: log_scales.collect(), stated })
    }
}

fn unsupported(
    quantized: &Quantized,
    node: Option<usize>,
    reason: &str,
    advice: &str,
) -> Unsupported {
    let node = node.map(|node| &quantized.model.nodes[node]);
    Unsupported {
        node: node.map_or("input", |node| &node.name).into(),
        operator: node.map_or("input", |node| node.op.kind()).into(),
        reason: reason.into(),
        advice: advice.into(),
    }
}

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
            super::Target::Quantizer(activation) => self.given.activations[activation].log_scale,
            super::Target::Logits => input + first,
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
            self.changes.push(change(&activation.name, QdqChangeKind::ScaleOfValues, found, used));
        }
        let range = Interval::from(given.least(), given.bits);
        let most = range.hi as f64 * given.log_scale.exp2();
        if range.lo != given.low {
            let [found, used] = [(given.low, given.log_scale), (range.lo, used)]
                .map(|(integer, scale)| integer as f64 * scale.exp2());
            self.changes.push(change(&activation.name, QdqChangeKind::LeastValue, found, used));
        }
        // The file cuts off at its largest integer, or at the ReLU before that; here the width's
        // largest is the only place.
        let whole = activation.max.map_or(f64::INFINITY, f64::from);
        let found = whole.min(given.high as f64 * given.log_scale.exp2());
        if (most / found).log2().abs() > TOLERANCE {
            let moved = (used - given.log_scale).exp2();
            self.changes.push(change(
                &activation.name,
                QdqChangeKind::LargestValue,
                found,
                most * moved,
            ));
        }
        used
    }
}

/// A layer's weights, under scales that are powers of two of one real number.
struct Fitting<'a> {
    conv: &'a Conv,
    given: &'a QdqLayer,
    log_scale: f64,
}

impl Fitting<'_> {
    fn run(&self) -> (QuantizedWeights, Option<QdqChange>) {
        let (conv, n) = (self.conv, self.conv.fan_in());
        let channels: Vec<&[f32]> = conv.weight.chunks_exact(n).collect();
        let exponents: Vec<Option<i32>> = channels
            .iter()
            .zip(&self.given.log_scales)
            .map(|(weights, log)| self.exponent(weights, *log))
            .collect();
        let least = exponents.iter().flatten().min().copied().unwrap_or(0);
        let exponents: Vec<i32> = exponents
            .iter()
            .zip(&self.given.stated)
            .map(|(exponent, &stated)| match exponent {
                Some(exponent) => (*exponent).min(least + SPREAD),
                // A channel of zeros has a bias nevertheless, in steps that its scale may say.
                None => {
                    ((self.log_scale - stated).round() as i32).clamp(least, least + IDLE_SPREAD)
                }
            })
            .collect();
        let (low, high) = limits(self.given.bits);
        let mut weights = Vec::with_capacity(conv.weight.len());
        let (mut change, mut norm) = (0.0, 0.0);
        for (channel, &exponent) in channels.iter().zip(&exponents) {
            let scale = (self.log_scale - f64::from(exponent)).exp2();
            for &real in *channel {
                let integer = (f64::from(real) / scale).round().clamp(low, high);
                weights.push(integer as i8);
                change += (integer * scale - f64::from(real)).powi(2);
                norm += f64::from(real).powi(2);
            }
        }
        let coarsest =
            self.given.log_scales.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        let by = (change / norm.max(f64::MIN_POSITIVE)).sqrt();
        let used = (self.log_scale - f64::from(least)).exp2();
        let change = QdqChange {
            node: String::new(),
            what: QdqChangeKind::Weights,
            found: coarsest.exp2(),
            used,
            by,
        };
        let bias = conv.bias.iter().map(|&b| f64::from(b)).collect();
        (
            QuantizedWeights { weights, exponents, log_scale: self.log_scale, bias },
            Some(change).filter(|_| by > TOLERANCE),
        )
    }

    /// The exponent of a channel: that of its own scale, if there is one and it holds all weights;
    /// else the finest that does.
    fn exponent(&self, weights: &[f32], log: Option<f64>) -> Option<i32> {
        let log = log?;
        let (low, high) = limits(self.given.bits);
        let (least, most) =
            weights.iter().fold((0f64, 0f64), |(a, b), &w| (a.min(w.into()), b.max(w.into())));
        // A channel whose own scale is a power of two from `log_scale` keeps its integers, if they
        // are within the width: half of a step beyond still rounds into it.
        let exact = self.log_scale - log;
        let steps = log.exp2();
        if off(exact) < TOLERANCE && least / steps > low - 0.5 && most / steps < high + 0.5 {
            return Some(exact.round() as i32);
        }
        // The coarsest demand of both ends: steps that `high` takes to `most` and `low` to `least`.
        // The small term keeps a logarithm that is whole, but for rounding, from falling to the one
        // below.
        let reach = (most / high).max(least / low);
        Some((self.log_scale - reach.log2() + 1e-6).floor() as i32)
    }
}

/// How far a number is from a whole one.
fn off(x: f64) -> f64 {
    (x - x.round()).abs()
}

/// The width of signed integers that holds an interval.
fn width(low: i16, high: i16) -> u8 {
    Interval { lo: low.into(), hi: high.into() }.bits(true).max(2)
}

fn change(node: &str, what: QdqChangeKind, found: f64, used: f64) -> QdqChange {
    QdqChange { node: node.to_owned(), what, found, used, by: used / found - 1.0 }
}
