//! Sums and differences of values, and arithmetic of a value and a constant; a value times itself.

use super::constant::Constant;
use super::error::Problem;
use super::importer::{Importer, Value};
use super::inputs::Inputs;
use super::proto::NodeProto;
use crate::model::{Function, Op};

impl Importer {
    pub(super) fn arithmetic(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Value, Problem> {
        if inputs.is_value(0) && inputs.is_value(1) {
            return self.of_two(node, &inputs.value(0)?, &inputs.value(1)?);
        }
        let constant_first = inputs.is_value(1);
        let (value, constant) = if constant_first { (1, 0) } else { (0, 1) };
        let (value, numbers) =
            self.spread(node, &inputs.value(value)?, inputs.constant(constant)?)?;
        let ones = vec![1.0; numbers.len()];
        let zeros = vec![0.0; numbers.len()];
        match (node.op_type.as_str(), constant_first) {
            ("Add", _) => self.affine(node, &value, ones, numbers),
            ("Sub", false) => self.affine(node, &value, ones, numbers.iter().map(|x| -x).collect()),
            ("Sub", true) => self.affine(node, &value, vec![-1.0; numbers.len()], numbers),
            ("Mul", _) => self.affine(node, &value, numbers, zeros),
            ("Div", false) => {
                let inverse = numbers.iter().map(|x| 1.0 / x).collect();
                let divided = self.affine(node, &value, inverse, zeros)?;
                if numbers.windows(2).all(|pair| pair[0] == pair[1]) && numbers[0] > 0.0 {
                    self.divisors.insert(divided.id, numbers[0]);
                }
                Ok(divided)
            }
            _ => Err(Problem::new("it divides by a value", "divide by constants only")),
        }
    }

    fn of_two(&mut self, node: &NodeProto, a: &Value, b: &Value) -> Result<Value, Problem> {
        match node.op_type.as_str() {
            "Mul" if a == b => self.push(node, Op::Function(Function::Square), &[a]),
            "Add" => self.added(node, a, b),
            "Sub" => {
                let negated = self.negated(node, b)?;
                self.added(node, a, &negated)
            }
            "Mul" => self.multiplied(node, a, b),
            _ => Err(Problem::new("it divides by a value", "divide by constants only")),
        }
    }

    /// The sum or the mean of values and constants.
    pub(super) fn sum(&mut self, node: &NodeProto, inputs: &Inputs) -> Result<Value, Problem> {
        let mut sum: Option<Value> = None;
        for at in (0..inputs.len()).filter(|&at| inputs.is_value(at)) {
            let value = inputs.value(at)?;
            sum = Some(match sum {
                Some(sum) => self.added(node, &sum, &value)?,
                None => value,
            });
        }
        let mut sum = sum.ok_or_else(|| Problem::malformed("it has no operand"))?;
        for at in (0..inputs.len()).filter(|&at| !inputs.is_value(at)) {
            let (value, numbers) = self.spread(node, &sum, inputs.constant(at)?)?;
            sum = self.affine(node, &value, vec![1.0; numbers.len()], numbers)?;
        }
        if node.op_type == "Mean" {
            let channels = self.shape(&sum)[0];
            let share = vec![1.0 / inputs.len() as f32; channels];
            return self.affine(node, &sum, share, vec![0.0; channels]);
        }
        Ok(sum)
    }

    pub(super) fn negated(&mut self, node: &NodeProto, value: &Value) -> Result<Value, Problem> {
        let channels = self.shape(value)[0];
        self.affine(node, value, vec![-1.0; channels], vec![0.0; channels])
    }

    fn added(&mut self, node: &NodeProto, a: &Value, b: &Value) -> Result<Value, Problem> {
        let (first, second) = (a.layout.lengths(), b.layout.lengths());
        if first != second {
            return Err(Problem::new(
                format!("its operands are {first:?} and {second:?} per image"),
                "only values of one shape are added",
            ));
        }
        if a.layout == b.layout && self.shape(a) == self.shape(b) {
            return self.push(node, Op::Add, &[a, b]);
        }
        let shape = match first[..] {
            [c, h, w] => [c, h, w],
            _ => [first.iter().product(), 1, 1],
        };
        let all: Vec<usize> = (0..first.len()).collect();
        let a = self.arranged(node, a, &all, shape)?;
        let b = self.arranged(node, b, &all, shape)?;
        self.push(node, Op::Add, &[&a, &b])
    }

    /// The product of two values, one of which may be repeated along axes of length 1.
    fn multiplied(&mut self, node: &NodeProto, a: &Value, b: &Value) -> Result<Value, Problem> {
        let (first, second) = (a.layout.lengths(), b.layout.lengths());
        if a.layout == b.layout && self.shape(a) == self.shape(b) {
            return self.push(node, Op::Mul, &[a, b]);
        }
        let ((value, lengths), (gate, own)) = match repeats(&second, &first) {
            true => ((a, first), (b, second)),
            false => ((b, second), (a, first)),
        };
        if !repeats(&own, &lengths) {
            return Err(Problem::new(
                format!("its operands are {own:?} and {lengths:?} per image"),
                "one of two values may be repeated along axes of length 1, not both",
            ));
        }
        // The axes that the gate has become channels, all others their elements.
        let (told, others): (Vec<usize>, Vec<usize>) =
            (0..lengths.len()).partition(|&at| own[at] == lengths[at]);
        let channels = told.iter().map(|&at| lengths[at]).product();
        // What follows is mostly a layer or a pooling of images: they stay such.
        let shape = match others[..] {
            [rows, columns] => [channels, lengths[rows], lengths[columns]],
            _ => [channels, 1, others.iter().map(|&at| lengths[at]).product()],
        };
        let order = [told, others].concat();
        let value = self.arranged(node, value, &order, shape)?;
        let gate = self.arranged(node, gate, &order, [channels, 1, 1])?;
        self.push(node, Op::Mul, &[&value, &gate])
    }

    /// The constant as one number for each channel that is stored of the value. Where it tells
    /// more elements apart, each becomes a channel.
    pub(super) fn spread(
        &mut self,
        node: &NodeProto,
        value: &Value,
        constant: &Constant,
    ) -> Result<(Value, Vec<f32>), Problem> {
        let (numbers, lengths) = (constant.as_floats()?, value.layout.lengths());
        let [c, h, w] = self.shape(value);
        if let [one] = numbers {
            self.spend(c)?;
            return Ok((value.clone(), vec![*one; c]));
        }
        let aligned = aligned(constant, &lengths)?;
        let told: Vec<usize> = (0..lengths.len()).filter(|&axis| aligned[axis] > 1).collect();
        let by_channel = told.iter().all(|&axis| value.layout.is_beyond(axis, h * w));
        let (value, unit) = match by_channel {
            true => (value.clone(), h * w),
            false => (self.as_channels(node, value)?, 1),
        };
        // The first element of each channel tells which number of the constant is its own: all axes
        // that the constant tells apart lie beyond `unit` elements.
        let channels = self.shape(&value)[0];
        self.spend(channels)?;
        let number = |channel: usize| {
            let at = told
                .iter()
                .fold(0, |at, &axis| at * aligned[axis] + value.layout.index(axis, channel * unit));
            numbers[at]
        };
        let numbers = (0..channels).map(number).collect();
        Ok((value, numbers))
    }

    /// The constant as one number for each element that is stored of the value.
    pub(super) fn of_elements(
        &mut self,
        value: &Value,
        constant: &Constant,
    ) -> Result<Vec<f32>, Problem> {
        let (numbers, lengths) = (constant.as_floats()?, value.layout.lengths());
        let aligned = aligned(constant, &lengths)?;
        let elements: usize = self.shape(value).iter().product();
        self.spend(elements)?;
        // Axes of length 1 are repeated: what an element's index is along them does not matter.
        let told: Vec<(usize, usize)> =
            aligned.iter().copied().enumerate().filter(|&(_, length)| length > 1).collect();
        let places = (0..elements).map(|element| {
            told.iter().fold(0, |at, &(axis, n)| at * n + value.layout.index(axis, element))
        });
        Ok(places.map(|at| numbers[at]).collect())
    }

    /// The value with every element as a channel.
    fn as_channels(&mut self, node: &NodeProto, value: &Value) -> Result<Value, Problem> {
        let shape = self.shape(value);
        let order = crate::model::Order::reshape([shape.iter().product(), 1, 1]);
        if order.is_identity(shape) {
            return Ok(value.clone());
        }
        self.push(node, Op::Reorder(order), &[value])
    }
}

/// The lengths of a constant's axes, one for each of a value's; 1 where it is repeated.
fn aligned(constant: &Constant, lengths: &[usize]) -> Result<Vec<usize>, Problem> {
    let leading = constant.shape.len().saturating_sub(lengths.len());
    // An axis of the batch, or more before it, are of length 1.
    let (more, shape) = constant.shape.split_at(leading);
    let mut aligned = vec![1; lengths.len() - shape.len()];
    aligned.extend(shape);
    let fits = aligned.iter().zip(lengths).all(|(&n, &length)| n == 1 || n == length);
    if !fits || leading > 1 || more.iter().any(|&n| n != 1) {
        return Err(Problem::new(
            format!(
                "its constant has shape {:?}, its other operand is {lengths:?} per image",
                constant.shape
            ),
            "only constants that do not enlarge the other operand are supported",
        ));
    }
    Ok(aligned)
}

/// Whether a value of axes `own` is one of axes `lengths` once those of length 1 are repeated.
fn repeats(own: &[usize], lengths: &[usize]) -> bool {
    own.len() == lengths.len() && own.iter().zip(lengths).all(|(&n, &length)| n == 1 || n == length)
}
