//! Add, Sub, Mul and Div: of two values, or of a value and a constant per channel; a value times
//! itself.

use super::constant::Constant;
use super::error::Problem;
use super::importer::{Importer, Inputs, Value};
use super::proto::NodeProto;
use crate::model::{Function, Op};

impl Importer {
    pub(super) fn arithmetic(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Value, Problem> {
        if inputs.is_value(0) && inputs.is_value(1) {
            return self.addition(node, inputs.value(0)?, inputs.value(1)?);
        }
        let constant_first = inputs.is_value(1);
        let (value, constant) = if constant_first { (1, 0) } else { (0, 1) };
        let value = inputs.value(value)?;
        let numbers = self.per_channel(value, inputs.constant(constant)?)?;
        let ones = vec![1.0; numbers.len()];
        let zeros = vec![0.0; numbers.len()];
        match (node.op_type.as_str(), constant_first) {
            ("Add", _) => self.affine(node, value, ones, numbers),
            ("Sub", false) => self.affine(node, value, ones, numbers.iter().map(|x| -x).collect()),
            ("Sub", true) => self.affine(node, value, vec![-1.0; numbers.len()], numbers),
            ("Mul", _) => self.affine(node, value, numbers, zeros),
            ("Div", false) => {
                let divided =
                    self.affine(node, value, numbers.iter().map(|x| 1.0 / x).collect(), zeros)?;
                if numbers.windows(2).all(|pair| pair[0] == pair[1]) && numbers[0] > 0.0 {
                    self.divisors.insert(divided.id, numbers[0]);
                }
                Ok(divided)
            }
            _ => Err(Problem::new("it divides by a value", "divide by constants only")),
        }
    }

    fn addition(&mut self, node: &NodeProto, a: Value, b: Value) -> Result<Value, Problem> {
        if node.op_type == "Mul" && a == b {
            return self.push(node, Op::Function(Function::Square), &[a]);
        }
        if node.op_type != "Add" {
            let reason = "both operands depend on the network's input";
            return Err(Problem::new(reason, "only additions of two values are supported"));
        }
        if a.flat != b.flat {
            return Err(Problem::new("it adds a flat vector to an image", "flatten both or none"));
        }
        self.push(node, Op::Add, &[a, b])
    }

    /// The constant as one number for each channel of the value.
    fn per_channel(&mut self, value: Value, constant: &Constant) -> Result<Vec<f32>, Problem> {
        let [channels, h, w] = self.shape(value);
        let numbers = constant.as_floats()?;
        if let [one] = numbers {
            self.spend(channels)?;
            return Ok(vec![*one; channels]);
        }
        let rank = if value.flat { 2 } else { 4 };
        let mut aligned = vec![1; rank];
        let fits = constant.shape.len() <= rank && (!value.flat || h * w == 1);
        if fits {
            aligned[rank - constant.shape.len()..].copy_from_slice(&constant.shape);
        }
        let per_channel =
            aligned.iter().enumerate().all(|(axis, &n)| n == if axis == 1 { channels } else { 1 });
        if fits && per_channel {
            self.spend(channels)?;
            return Ok(numbers.to_vec());
        }
        Err(Problem::new(
            format!(
                "its constant has shape {:?}, its other operand is {:?} per image",
                constant.shape,
                [channels, h, w]
            ),
            "only constants per channel are supported",
        ))
    }
}
