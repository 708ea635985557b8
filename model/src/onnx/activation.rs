//! Activations.

use super::constant::{Data, Int};
use super::error::Problem;
use super::importer::{Importer, Value};
use super::inputs::Inputs;
use super::proto::NodeProto;
use crate::model::{Function, Mask, Op};

impl Importer {
    pub(super) fn function(&mut self, node: &NodeProto, input: &Value) -> Result<Value, Problem> {
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
            6 | 7 => self.push(node, Op::Function(Function::Truncate), &[&input]),
            other => Err(Problem::new(
                format!(
                    "it casts to {}, in which values beyond its range change",
                    super::constant::kind(other)
                ),
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
            return self.push(node, Op::Function(Function::Square), &[&inputs.value(0)?]);
        }
        Err(Problem::new("its exponent is not 2", "only squares are supported"))
    }

    pub(super) fn clip(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        let (min, max) = (bound(node, inputs, 1, "min")?, bound(node, inputs, 2, "max")?);
        self.clipped(node, &inputs.value(0)?, min, max)
    }

    /// The larger or the smaller of a value and a number.
    pub(super) fn bounded(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        let (value, bound) = match (inputs.len(), inputs.is_value(0)) {
            (2, true) => (inputs.value(0)?, inputs.constant(1)),
            (2, false) => (inputs.value(1)?, inputs.constant(0)),
            _ => return Err(two_values()),
        };
        let bound = bound.map_err(|_| two_values())?.scalar()?;
        let (min, max) =
            if node.op_type == "Max" { (bound, None) } else { (f32::MIN, Some(bound)) };
        self.clipped(node, &value, Some(min), max)
    }

    pub(super) fn clipped(
        &mut self,
        node: &NodeProto,
        value: &Value,
        min: Option<f32>,
        max: Option<f32>,
    ) -> Result<Value, Problem> {
        // Both limits of float mean that there is none.
        let max = max.filter(|&max| max < f32::MAX);
        let min = min.filter(|&min| min > f32::MIN);
        match (min, max) {
            (None, None) => Ok(value.clone()),
            (Some(0.0), None) => self.push(node, Op::Relu { max }, &[value]),
            (Some(0.0), Some(most)) if most > 0.0 => self.push(node, Op::Relu { max }, &[value]),
            (low, high) => {
                let (low, high) = (low.unwrap_or(f32::MIN), high.unwrap_or(f32::MAX));
                if low >= high {
                    let reason = format!("its bounds are {low} and {high}");
                    return Err(Problem::new(reason, "give it bounds that leave room"));
                }
                self.push(node, Op::Function(Function::Clip { low, high }), &[value])
            }
        }
    }

    /// `x` where it is positive, `slope x` elsewhere. Of one slope it is one function; of 0 and 1,
    /// a ReLU of some elements; of several, `relu(x) - slope relu(-x)`.
    pub(super) fn prelu(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        let (value, slope) = (inputs.value(0)?, inputs.constant(1)?);
        let slopes = slope.as_floats()?;
        if let Some(&alpha) = slopes.first().filter(|first| slopes.iter().all(|s| s == *first)) {
            let op = match alpha {
                0.0 => Op::Relu { max: None },
                1.0 => return Ok(value),
                alpha => Op::Function(Function::LeakyRelu { alpha }),
            };
            return self.push(node, op, &[&value]);
        }
        // It has no table and no second ReLU: some elements pass, and that is public.
        if slopes.iter().all(|&slope| slope == 0.0 || slope == 1.0) {
            let slopes = self.of_elements(&value, slope)?;
            let mask = Mask::new(slopes.into_iter().map(|slope| slope == 0.0).collect());
            return self.push(node, Op::PartRelu(mask), &[&value]);
        }
        // Both ReLUs are of the same value: where it is positive the second is zero, and the other
        // way round.
        let (value, numbers) = self.spread(node, &value, slope)?;
        let (ones, zeros) = (vec![-1.0; numbers.len()], vec![0.0; numbers.len()]);
        let positive = self.push(node, Op::Relu { max: None }, &[&value])?;
        let negated = self.affine(node, &value, ones, zeros.clone())?;
        let negative = self.push(node, Op::Relu { max: None }, &[&negated])?;
        let scaled = self.affine(node, &negative, numbers.iter().map(|s| -s).collect(), zeros)?;
        self.push(node, Op::Add, &[&positive, &scaled])
    }
}

fn two_values() -> Problem {
    let reason = "it compares values with each other";
    Problem::new(reason, "only a value and one constant number are supported")
}

/// A bound of a Clip node: an input since operator set 11, an attribute before.
fn bound(node: &NodeProto, inputs: &Inputs, i: usize, name: &str) -> Result<Option<f32>, Problem> {
    match inputs.optional(i)? {
        Some(constant) => constant.scalar().map(Some),
        None => node.float_of(name),
    }
}
