//! Activations other than ReLU.

use super::constant::{Data, Int};
use super::error::Problem;
use super::importer::{Importer, Inputs, Value};
use super::proto::NodeProto;
use crate::model::{Function, Op};

impl Importer {
    pub(super) fn function(&mut self, node: &NodeProto, input: Value) -> Result<Value, Problem> {
        let function = match node.op_type.as_str() {
            "Sigmoid" => Function::Sigmoid,
            "Tanh" => Function::Tanh,
            "HardSigmoid" => Function::HardSigmoid {
                alpha: node.float_or("alpha", 0.2)?,
                beta: node.float_or("beta", 0.5)?,
            },
            "HardSwish" => Function::HardSwish,
            "Swish" if (node.float_or("alpha", 1.0)? - 1.0).abs() < f32::EPSILON => Function::Silu,
            "Gelu" => match node.string_or("approximate", "none")? {
                "none" => Function::Gelu,
                "tanh" => Function::GeluTanh,
                other => return Err(Problem::malformed(format!("approximate is {other:?}"))),
            },
            "LeakyRelu" => Function::LeakyRelu { alpha: node.float_or("alpha", 0.01)? },
            "Elu" => Function::Elu { alpha: node.float_or("alpha", 1.0)? },
            "Softplus" => Function::Softplus,
            _ => {
                return Err(Problem::new(
                    "its parameters are not supported",
                    "use the default ones",
                ));
            }
        };
        self.push(node, Op::Function(function), &[input])
    }

    /// A change of type: none where both are floats, whose rounding quantization exceeds by far.
    /// Integers lose the fraction.
    pub(super) fn cast(&mut self, node: &NodeProto, input: Value) -> Result<Value, Problem> {
        match node.int_or("to", 0)? {
            // float, float16, double, bfloat16
            1 | 10 | 11 | 16 => Ok(input),
            // int32, int64
            6 | 7 => self.push(node, Op::Function(Function::Truncate), &[input]),
            other => Err(Problem::new(
                format!("it casts to type {other}, in which values beyond its range change"),
                "cast to float, int32 or int64",
            )),
        }
    }

    /// A power, of which squares are supported.
    pub(super) fn power(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        let exponent = inputs.constant(1)?;
        let square = match &exponent.data {
            Data::Floats(data) => data[..] == [2.0],
            Data::Ints(data) => data[..] == [Int::Known(2)],
            Data::Bytes(_) | Data::Scaled(..) => false,
        };
        if square {
            return self.push(node, Op::Function(Function::Square), &[inputs.value(0)?]);
        }
        Err(Problem::new("its exponent is not 2", "only squares are supported"))
    }
}
