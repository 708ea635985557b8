//! Which method imports a node, by its operator and by how its inputs are known.

use super::{Entry, Importer, Value};
use crate::model::Op;
use crate::onnx::constant::Int;
use crate::onnx::error::Problem;
use crate::onnx::fold;
use crate::onnx::inputs::Inputs;
use crate::onnx::name;
use crate::onnx::operators::{is_known, unsupported};
use crate::onnx::proto::NodeProto;
use crate::onnx::qdq::import::Pending;
use crate::onnx::qdq::qonnx::is_qonnx;

impl Importer {
    /// What a node's results are: the first of them, or all.
    pub(super) fn node(&mut self, node: &NodeProto) -> Result<Vec<Entry>, Problem> {
        let foreign = !node.domain.is_empty() && node.domain != "ai.onnx";
        if foreign && !is_qonnx(node) {
            return Err(unsupported(node));
        }
        let inputs: Vec<Option<Entry>> =
            node.input.iter().map(|name| self.entry(name)).collect::<Result<_, _>>()?;
        if !is_known(&node.op_type) {
            return Err(unsupported(node));
        }
        let inputs = Inputs(inputs);
        if inputs.any_unknown() {
            return Ok(vec![Entry::Unknown]);
        }
        if node.op_type == "Split" && inputs.is_value(0) {
            return Ok(self.split(node, &inputs)?.into_iter().map(Entry::Value).collect());
        }
        self.first(node, &inputs).map(|entry| vec![entry])
    }

    /// What a node's first result is.
    fn first(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Entry, Problem> {
        match node.op_type.as_str() {
            "Constant" => {
                let constant = node.constant()?;
                self.spend(constant.len())?;
                Ok(constant.into())
            }
            "Identity" if inputs.is_value(0) => Ok(Entry::Value(inputs.value(0)?)),
            "Cast" if inputs.is_value(0) => self.cast(node, inputs.value(0)?).map(Entry::Value),
            "Dropout" if inputs.is_value(0) => self.dropout(inputs).map(Entry::Value),
            "Softmax" | "LogSoftmax" if inputs.is_value(0) => {
                self.softmax(node, inputs.value(0)?).map(Entry::Value)
            }
            "Shape" if inputs.is_value(0) => self.shape_of(node, &inputs.value(0)?),
            "Quant" | "BipolarQuant" => self.qonnx(node, inputs),
            "QuantizeLinear" if inputs.is_value(0) => self.quantize(node, inputs),
            "Identity" if let Some(pending) = inputs.quantized() => Ok(Entry::Quantized(pending)),
            "Clip" if let Some(pending) = inputs.quantized() => self.narrow(inputs, pending),
            "DequantizeLinear" if let Some(pending) = inputs.quantized() => {
                self.dequantize(node, inputs, pending).map(Entry::Value)
            }
            "Reshape" | "Flatten" | "Transpose" | "Squeeze" | "Unsqueeze"
                if let Some(pending) = inputs.quantized() =>
            {
                let value = self.seen_otherwise(node, inputs, &pending.value)?;
                Ok(Entry::Quantized(Pending { value, ..pending }))
            }
            _ if inputs.all_constant() => {
                let constants = inputs.constants()?;
                let budget = self.budget;
                let result = fold::evaluate(node, &constants, budget)?;
                self.spend(result.len())?;
                Ok(result.into())
            }
            _ => self.operation(node, inputs).map(Entry::Value),
        }
    }

    fn operation(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        match node.op_type.as_str() {
            "Conv" => self.convolution(node, inputs),
            "ConvTranspose" => self.transposed_convolution(node, inputs),
            "Gemm" => self.gemm(node, inputs),
            "MatMul" => self.matmul(node, inputs),
            "BatchNormalization" => self.batch_norm(node, inputs),
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(node, inputs),
            "Sum" | "Mean" => self.sum(node, inputs),
            "Neg" => self.negated(node, &inputs.value(0)?),
            "Max" | "Min" => self.bounded(node, inputs),
            "Relu" => self.push(node, Op::Relu { max: None }, &[&inputs.value(0)?]),
            "Clip" => self.clip(node, inputs),
            "PRelu" => self.prelu(node, inputs),
            "Pow" => self.power(node, inputs),
            "Sigmoid" | "Tanh" | "HardSigmoid" | "HardSwish" | "Swish" | "Gelu" | "LeakyRelu"
            | "Elu" | "Softplus" => self.function(node, &inputs.value(0)?),
            "MaxPool" => self.max_pool(node, &inputs.value(0)?),
            "AveragePool" => self.average_pool(node, &inputs.value(0)?),
            "GlobalAveragePool" => self.global_pool(node, &inputs.value(0)?, Op::AvgPool),
            "GlobalMaxPool" => self.global_pool(node, &inputs.value(0)?, Op::MaxPool),
            "ReduceMean" => self.reduce_mean(node, inputs),
            "Flatten" | "Reshape" | "Transpose" | "Squeeze" | "Unsqueeze" => {
                self.seen_otherwise(node, inputs, &inputs.value(0)?)
            }
            "Concat" => self.concat(node, inputs),
            "Pad" => self.pad(node, inputs),
            "RequantShift" => self.requant_shift(node, inputs),
            "Slice" => self.slice(node, inputs),
            "Gather" => self.gather(node, inputs),
            _ => Err(unsupported(node)),
        }
    }

    fn entry(&self, name: &str) -> Result<Option<Entry>, Problem> {
        if name.is_empty() {
            return Ok(None);
        }
        self.entries.get(name).cloned().map(Some).ok_or_else(|| {
            let shown = name::shown(name);
            Problem::malformed(format!("no node computes its input {shown:?}"))
        })
    }

    fn shape_of(&self, node: &NodeProto, value: &Value) -> Result<Entry, Problem> {
        let mut dims = vec![Int::Batch];
        dims.extend(value.layout.lengths().into_iter().map(|d| Int::Known(d as i64)));
        fold::part_of_shape(node, &dims).map(Entry::from)
    }
}
