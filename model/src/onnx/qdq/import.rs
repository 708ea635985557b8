//! Reading QuantizeLinear and DequantizeLinear around values: they compute nothing here, but note
//! how a value is quantized.

use std::collections::hash_map::Entry as Place;

use super::super::error::Problem;
use super::super::importer::{Entry, Importer, Value};
use super::super::inputs::Inputs;
use super::super::proto::NodeProto;
use super::Quantizer;
use super::constant::byte;
use crate::model::{Conv, Op, ValueId};

/// A value between QuantizeLinear and DequantizeLinear.
#[derive(Clone, Debug)]
pub(in super::super) struct Pending {
    pub(in super::super) value: Value,
    pub(in super::super) scale: f32,
    pub(in super::super) zero: i16,
    /// The least integer, by its type and a Clip; the zero point is not taken off.
    pub(in super::super) low: i16,
    pub(in super::super) high: i16,
}

impl Importer {
    pub(in super::super) fn quantize(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Entry, Problem> {
        let value = inputs.value(0)?;
        let scale = one_scale(inputs)?;
        let (zero, low, high) = match inputs.optional(2)? {
            Some(zero) => (byte(zero)?, zero.as_bytes()?.low, zero.as_bytes()?.high),
            None => (0, 0, 255),
        };
        if node.int_or("block_size", 0)? != 0 {
            return Err(Problem::new(
                "its scales are those of blocks",
                "quantize values by tensor",
            ));
        }
        Ok(Entry::Quantized(Pending { value, scale, zero, low, high }))
    }

    /// A Clip of quantized values.
    pub(in super::super) fn narrow(
        &mut self,
        inputs: &Inputs,
        pending: Pending,
    ) -> Result<Entry, Problem> {
        let low = inputs.optional(1)?.map(|constant| byte(constant)).transpose()?;
        let high = inputs.optional(2)?.map(|constant| byte(constant)).transpose()?;
        let low = low.map_or(pending.low, |low| low.max(pending.low));
        let high = high.map_or(pending.high, |high| high.min(pending.high));
        if low >= high {
            return Err(Problem::malformed(format!("its bounds are {low} and {high}")));
        }
        Ok(Entry::Quantized(Pending { low, high, ..pending }))
    }

    pub(in super::super) fn dequantize(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
        pending: Pending,
    ) -> Result<Value, Problem> {
        // Every reader of a value may have a DequantizeLinear of its own.
        if let Some(value) = self.dequantized.get(&node.input[0]) {
            return Ok(value.clone());
        }
        let zero = inputs.optional(2)?.map_or(Ok(0), |zero| byte(zero))?;
        let scale = one_scale(inputs)?;
        if (zero, scale) != (pending.zero, pending.scale) {
            return Err(Problem::new(
                format!(
                    "its scale and zero point are {scale} and {zero}, those of its QuantizeLinear \
                     {} and {}",
                    pending.scale, pending.zero
                ),
                "use the same for both",
            ));
        }
        let quantizer = Quantizer {
            scale: pending.scale.into(),
            low: (pending.low - zero).into(),
            high: (pending.high - zero).into(),
        };
        let value = self.noted(node, pending.value, quantizer)?;
        self.dequantized.insert(node.input[0].clone(), value.clone());
        Ok(value)
    }

    /// Notes how a value is quantized. Where no integer is negative, a ReLU may have been left to
    /// the quantizer.
    pub(super) fn noted(
        &mut self,
        node: &NodeProto,
        value: Value,
        quantizer: Quantizer,
    ) -> Result<Value, Problem> {
        if let Some(divisor) = self.divisor(value.id) {
            // An input that is divided first has the scale of both; the layers that read it take
            // the division over.
            let quantizer = Quantizer { scale: quantizer.scale * f64::from(divisor), ..quantizer };
            self.quantizers.entry(ValueId::INPUT).or_insert(quantizer);
            self.entered.insert(value.id);
            return Ok(value);
        }
        let id = self.without_offset(value.id, quantizer.scale / 2.0);
        let mut value = Value { id, ..value };
        if quantizer.low == 0 && id != ValueId::INPUT && !self.non_negative[id.0] {
            value = self.push(node, Op::Relu { max: None }, &[&value])?;
        }
        // Choosing elements commutes with rounding them: what they are chosen from is quantized
        // likewise.
        let mut id = value.id;
        while let Place::Vacant(vacant) = self.quantizers.entry(id) {
            vacant.insert(quantizer);
            let chosen = id.producer().filter(|&at| {
                matches!(self.nodes[at].op, Op::View(_) | Op::Reorder(_) | Op::MaxPool(_))
            });
            let Some(at) = chosen else { break };
            id = self.nodes[at].inputs[0];
        }
        Ok(value)
    }

    /// What the input was divided by to give this value, if that is all that was done to it.
    fn divisor(&self, id: ValueId) -> Option<f32> {
        let divide = &self.nodes[id.producer()?];
        self.divisors.get(&id).copied().filter(|_| divide.inputs[0] == ValueId::INPUT)
    }

    /// The operand of a linear layer, and what its weights are multiplied by.
    pub(in super::super) fn operand(&self, value: Value) -> (Value, Option<f32>) {
        match self.divisor(value.id).filter(|_| self.entered.contains(&value.id)) {
            Some(divisor) => (Value { id: ValueId::INPUT, ..value }, Some(1.0 / divisor)),
            None => (value, None),
        }
    }

    /// The value without a constant less than half a step that was added to it alone: that is how
    /// halves are rounded, and no part of the network.
    fn without_offset(&mut self, id: ValueId, half: f64) -> ValueId {
        if let Some(before) = self.before_offset(id, half) {
            return before;
        }
        if let Some(at) = id.producer().filter(|&at| matches!(self.nodes[at].op, Op::Relu { .. }))
            && let Some(before) = self.before_offset(self.nodes[at].inputs[0], half)
        {
            self.nodes[at].inputs[0] = before;
        }
        id
    }

    /// What a constant less than half a step is added to, where the value is such a sum.
    fn before_offset(&self, id: ValueId, half: f64) -> Option<ValueId> {
        let node = &self.nodes[id.producer()?];
        let Op::Conv(Conv { geometry, weight, bias }) = &node.op else { return None };
        let identity = geometry.groups == geometry.out_channels && weight.iter().all(|&w| w == 1.0);
        let alone = weight.len() == bias.len() && bias.windows(2).all(|pair| pair[0] == pair[1]);
        let small = bias.iter().all(|&b| f64::from(b.abs()) < half);
        // That of a layer is part of its bias.
        let layer =
            node.inputs[0].producer().is_some_and(|at| matches!(self.nodes[at].op, Op::Conv(_)));
        (identity && alone && small && !layer).then(|| node.inputs[0])
    }
}

/// The only scale of a value.
fn one_scale(inputs: &Inputs) -> Result<f32, Problem> {
    let scale = inputs.constant(1)?;
    match scale.as_floats()? {
        [scale] if scale.is_finite() && *scale > 0.0 => Ok(*scale),
        [scale] => Err(Problem::malformed(format!("its scale is {scale}"))),
        more => Err(Problem::new(
            format!("it quantizes values with {} scales", more.len()),
            "quantize values by tensor, and weights alone by channel",
        )),
    }
}
