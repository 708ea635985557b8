//! The operators that are imported, and what to do instead of those that are not.

use super::error::Problem;
use super::proto::NodeProto;

/// An operator of ONNX that is imported, and in which forms; on constants alone, all that fold.
pub struct Operator {
    /// Its name.
    pub name: &'static str,
    /// Which forms of it.
    pub forms: &'static str,
}

macro_rules! operators {
    ($($name:literal: $forms:literal,)*) => {
        &[$(Operator { name: $name, forms: $forms }),*]
    };
}

/// All operators that are imported, by name.
pub const OPERATORS: &[Operator] = operators! {
    "Abs": "of constants",
    "Add": "of two values of one shape, or a value and a constant",
    "And": "of constants",
    "AveragePool": "one or two dimensions, with or without counted padding, `ceil_mode`, dilations",
    "BatchNormalization": "in inference mode",
    "BipolarQuant": "of QONNX, of constants",
    "Cast": "of values between float types, and to int32 and int64; of constants also to others",
    "Ceil": "of constants",
    "Clip": "any constant bounds",
    "Concat": "of values along any axis but the batch; of constants",
    "Constant": "floats, integers and booleans",
    "ConstantOfShape": "of constants",
    "Conv": "one or two dimensions; strides, dilations, groups, any padding",
    "ConvTranspose": "one or two dimensions; strides, dilations, groups, `pads`, `output_padding`",
    "DequantizeLinear": "of constants by tensor or channel; of values with QuantizeLinear",
    "Div": "of a value by a constant; of constants",
    "Dropout": "left out: it does nothing in inference",
    "Elu": "any `alpha`",
    "Equal": "of constants",
    "Erf": "as a part of GELU",
    "Exp": "of constants",
    "Expand": "of constants",
    "Flatten": "from axis 1",
    "Floor": "of constants",
    "Gather": "of values with constant indices along any axis but the batch; of constants",
    "Gelu": "exact and `tanh`",
    "Gemm": "of a value and constant weights, `transB`, `alpha`, `beta`",
    "GlobalAveragePool": "all",
    "GlobalMaxPool": "all",
    "Greater": "of constants",
    "HardSigmoid": "any `alpha`, `beta`",
    "HardSwish": "all",
    "Identity": "all",
    "LeakyRelu": "any `alpha`",
    "Less": "of constants",
    "LogSoftmax": "at the end, where it is left out",
    "MatMul": "of a value and a constant matrix",
    "Max": "of a value and one constant number; of constants",
    "MaxPool": "one or two dimensions, `ceil_mode`, any padding; dense",
    "Mean": "of values of one shape",
    "Min": "of a value and one constant number; of constants",
    "Mul": "of two values, one of them repeated along axes of length 1; of a value and a constant",
    "Neg": "all",
    "Not": "of constants",
    "Or": "of constants",
    "PRelu": "a slope per tensor, channel or element; of 0 and 1, a ReLU of some elements",
    "Pad": "with zeros",
    "Pow": "the square of a value; of constants",
    "QGemm": "of onnxruntime, as QLinearConv",
    "QLinearAdd": "of onnxruntime, as QLinearConv",
    "QLinearAveragePool": "of onnxruntime, as QLinearConv; channels first",
    "QLinearConcat": "of onnxruntime, as QLinearConv",
    "QLinearConv": "read as the operator on floats between DequantizeLinear and QuantizeLinear",
    "QLinearGlobalAveragePool": "of onnxruntime, as QLinearConv; channels first",
    "QLinearLeakyRelu": "of onnxruntime, as QLinearConv",
    "QLinearMatMul": "as QLinearConv",
    "QLinearSigmoid": "of onnxruntime, as QLinearConv",
    "Quant": "of QONNX: of values by tensor to 2 to 8 bits, mode `ROUND`; of constants",
    "QuantizeLinear": "of values by tensor; of constants",
    "Range": "of constants",
    "Reciprocal": "of constants",
    "ReduceMean": "over rows, columns or both",
    "ReduceProd": "of constants",
    "Relu": "all",
    "RequantShift": "of NEMO and Deeploy, as what it rounds: `mul`, `add` by tensor or channel",
    "Reshape": "any that keeps images apart",
    "Shape": "all but the number of images is known",
    "Sigmoid": "all",
    "Slice": "of values with positive steps; of constants",
    "Softmax": "at the end, where it is left out",
    "Softplus": "all",
    "Split": "of values along any axis but the batch",
    "Sqrt": "of constants",
    "Squeeze": "any axes but the batch",
    "Sub": "of two values of one shape, or a value and a constant",
    "Sum": "of values of one shape and constants",
    "Swish": "`alpha` of 1",
    "Tanh": "all",
    "Tile": "of constants",
    "Transpose": "any that keeps the batch first",
    "Unsqueeze": "any axes but the batch",
    "Where": "of constants",
};

/// Whether an operator is imported in any form.
pub(super) fn is_known(operator: &str) -> bool {
    OPERATORS.iter().any(|known| known.name == operator)
}

/// Whether a result has the shape of the first operand: what comes behind can be looked at even
/// where the operator is not supported.
pub(super) fn keeps_shape(operator: &str) -> bool {
    const KEEP: &[&str] = &[
        "Celu",
        "Cos",
        "Erf",
        "Exp",
        "GroupNormalization",
        "InstanceNormalization",
        "LRN",
        "LayerNormalization",
        "Log",
        "LogSoftmax",
        "LpNormalization",
        "Mish",
        "MeanVarianceNormalization",
        "RMSNormalization",
        "Round",
        "Selu",
        "Shrink",
        "Sign",
        "Sin",
        "Softmax",
        "Softsign",
        "Sqrt",
        "ThresholdedRelu",
    ];
    KEEP.contains(&operator) || is_known(operator) && !changes_shape(operator)
}

fn changes_shape(operator: &str) -> bool {
    const CHANGE: &[&str] = &[
        "AveragePool",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Conv",
        "ConvTranspose",
        "Expand",
        "Flatten",
        "Gather",
        "Gemm",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "MatMul",
        "MaxPool",
        "Pad",
        "Range",
        "ReduceMean",
        "ReduceProd",
        "Reshape",
        "Shape",
        "Slice",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    ];
    CHANGE.contains(&operator)
}

/// An operator that is not supported, and what to do instead.
pub(super) fn unsupported(node: &NodeProto) -> Problem {
    let advice = match node.op_type.as_str() {
        "Softmax" | "LogSoftmax" => "only at the end of a network is it left out: train without it",
        "Selu" | "Mish" | "Erf" | "Celu" | "Softsign" | "ThresholdedRelu" => {
            "train the network with ReLU, SiLU, GELU, hard-swish or another supported activation \
             instead"
        }
        "InstanceNormalization"
        | "LayerNormalization"
        | "GroupNormalization"
        | "LRN"
        | "RMSNormalization"
        | "LpNormalization"
        | "MeanVarianceNormalization" => {
            "its statistics are those of each image: train the network with batch normalization \
             instead"
        }
        "Attention" | "MultiHeadAttention" | "Einsum" => {
            "it multiplies values by each other: train a convolutional network instead"
        }
        "Resize" | "Upsample" => {
            "networks that enlarge images are not supported: pq runs classifiers"
        }
        "LSTM" | "GRU" | "RNN" | "Loop" | "Scan" | "If" => {
            "graphs with loops or branches are not supported: export a network without them"
        }
        "QuantizeLinear" | "DequantizeLinear" => {
            "quantize values, and dequantize what was quantized"
        }
        "ConvInteger" | "MatMulInteger" | "DynamicQuantizeLinear" => {
            "its scales are those of each image: quantize statically (quantize_static of \
             onnxruntime), or give the network before it was quantized"
        }
        "RequantizedConv" | "RequantizedGemm" => {
            "its integers were lowered for a device (PULP, DORY, Deeploy), and say no scales: give \
             the network as it was before, in floats or with QuantizeLinear and DequantizeLinear"
        }
        op if op.starts_with("QLinear") || op == "QGemm" => {
            "quantize statically, in the format QDQ (QuantizeLinear and DequantizeLinear)"
        }
        _ => {
            "replace it by supported layers (convolution, fully connected, ReLU, addition, \
             pooling) and train again"
        }
    };
    Problem::new("the operator is not supported", advice)
}
