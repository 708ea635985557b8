//! What the file says of scales and widths, or what it lacks.

use fusion::Interval;
use model::onnx::{Integers, Quantized, Quantizer, Unsupported};
use model::{Op, ValueId};

use super::super::activation_quantizers::{ActivationQuantizer, ActivationQuantizers};
use super::super::{LayerQuantizers, conv};

/// What the file says about all that has to be quantized.
pub(super) struct QdqQuantizers {
    pub(super) activations: Vec<QdqActivation>,
    pub(super) layers: Vec<QdqLayer>,
}

pub(super) struct QdqActivation {
    pub(super) bits: u8,
    pub(super) log_scale: f64,
    /// The least integer in the file, or zero where nothing is negative.
    pub(super) low: i64,
    /// The largest integer in the file.
    pub(super) high: i64,
}

pub(super) struct QdqLayer {
    pub(super) bits: u8,
    /// Base-two logarithms of the channels' scales; none for channels whose weights are all zero.
    pub(super) log_scales: Vec<Option<f64>>,
    /// What the file says they are.
    pub(super) stated: Vec<f64>,
}

impl QdqQuantizers {
    pub(super) fn read(
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
    pub(super) fn read(
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
    pub(super) const fn least(&self) -> i64 {
        if self.low == 0 { 0 } else { self.high + 1 - (1 << self.bits) }
    }
}

impl QdqLayer {
    pub(super) fn read(
        quantized: &Quantized,
        layer: &LayerQuantizers,
    ) -> Result<Self, Unsupported> {
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

/// The width of signed integers that holds an interval.
fn width(low: i16, high: i16) -> u8 {
    Interval { lo: low.into(), hi: high.into() }.bits(true).max(2)
}
