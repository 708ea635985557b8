//! Arithmetic of constants, element by element, broadcast to each other.

use super::super::constant::{Constant, Data, Grid, Int};
use super::super::error::Problem;
use super::super::proto::NodeProto;
use super::{optional, positions, required, strides};

pub(super) fn evaluate(
    node: &NodeProto,
    inputs: &[Option<&Constant>],
    budget: usize,
) -> Result<Constant, Problem> {
    let first = required(inputs, 0)?;
    match node.op_type.as_str() {
        "Where" => {
            return choice(first, required(inputs, 1)?, required(inputs, 2)?, budget);
        }
        "ReduceProd" => return product(node, first, optional(inputs, 1)),
        "Neg" | "Abs" | "Sqrt" | "Reciprocal" | "Exp" | "Floor" | "Ceil" | "Not" | "Relu"
        | "Sigmoid" | "Tanh" => return of_one(node, first),
        _ => {}
    }
    let rest = inputs[1..].iter().flatten();
    rest.copied().try_fold(first.clone(), |left, right| of_two(node, &left, right, budget))
}

fn not_computed() -> Problem {
    let advice = "compute it when exporting (constant folding)";
    Problem::new("all its inputs are constants", advice)
}

fn of_one(node: &NodeProto, input: &Constant) -> Result<Constant, Problem> {
    let shape = input.shape.clone();
    if let Ok(ints) = input.known_ints() {
        let of: fn(i64) -> i64 = match node.op_type.as_str() {
            "Neg" => i64::wrapping_neg,
            "Abs" => i64::wrapping_abs,
            "Not" => |x| i64::from(x == 0),
            "Floor" | "Ceil" => |x| x,
            _ => return Err(not_computed()),
        };
        return Ok(Constant::ints(shape, ints.into_iter().map(of).collect()));
    }
    let of: fn(f32) -> f32 = match node.op_type.as_str() {
        "Neg" => |x| -x,
        "Abs" => f32::abs,
        "Sqrt" => f32::sqrt,
        "Reciprocal" => f32::recip,
        "Exp" => f32::exp,
        "Floor" => f32::floor,
        "Ceil" => f32::ceil,
        "Relu" => |x| x.max(0.0),
        "Tanh" => f32::tanh,
        "Sigmoid" => |x| 1.0 / (1.0 + (-x).exp()),
        _ => return Err(not_computed()),
    };
    Ok(Constant::floats(shape, input.as_floats()?.iter().map(|&x| of(x)).collect()))
}

fn of_two(
    node: &NodeProto,
    left: &Constant,
    right: &Constant,
    budget: usize,
) -> Result<Constant, Problem> {
    let op = node.op_type.as_str();
    if let (Data::Scaled(_, grid), Ok(factors)) = (&left.data, right.as_floats()) {
        return rescaled(op, left, grid, (right, factors), budget);
    }
    let (shape, [a, b]) = broadcast(left, right, budget)?;
    if let (Ok(x), Ok(y)) = (left.as_floats(), right.as_floats()) {
        let pairs = a.iter().zip(&b).map(|(&i, &j)| (x[i], y[j]));
        if let Some(truth) = truth::<f32>(op) {
            let values = pairs.map(|(x, y)| i64::from(truth(x, y))).collect();
            return Ok(Constant::ints(shape, values));
        }
        let of = of_floats(op).ok_or_else(not_computed)?;
        return Ok(Constant::floats(shape, pairs.map(|(x, y)| of(x, y)).collect()));
    }
    let (x, y) = (left.as_ints()?, right.as_ints()?);
    let results: Result<Vec<Int>, Problem> =
        a.iter().zip(&b).map(|(&i, &j)| of_ints(op, x[i], y[j])).collect();
    Ok(Constant { shape, data: Data::Ints(results?) })
}

/// Quantized weights times constants, which their scales take in.
fn rescaled(
    op: &str,
    weights: &Constant,
    grid: &Grid,
    (right, factors): (&Constant, &[f32]),
    budget: usize,
) -> Result<Constant, Problem> {
    let (shape, [a, b]) = broadcast(weights, right, budget)?;
    let of = of_floats(op).ok_or_else(not_computed)?;
    let floats = weights.as_floats()?;
    let data = a.iter().zip(&b).map(|(&i, &j)| of(floats[i], factors[j])).collect();
    let keeps = matches!(op, "Mul" | "Div") && shape == weights.shape;
    if !keeps || grid.scales.len() != grid.values.len() {
        return Ok(Constant::floats(shape, data));
    }
    let scales = b.iter().enumerate().map(|(at, &j)| of(grid.scales[at], factors[j]));
    // A scale is positive: what is not is floats from here on.
    let scales: Vec<f32> = scales.collect();
    if scales.iter().any(|scale| !(scale.is_finite() && *scale > 0.0)) {
        return Ok(Constant::floats(shape, data));
    }
    let grid = Grid { scales, ..grid.clone() };
    Ok(Constant { shape, data: Data::Scaled(data, grid) })
}

fn of_floats(op: &str) -> Option<fn(f32, f32) -> f32> {
    Some(match op {
        "Add" | "Sum" => |x, y| x + y,
        "Sub" => |x, y| x - y,
        "Mul" => |x, y| x * y,
        "Div" => |x, y| x / y,
        "Pow" => f32::powf,
        "Max" => f32::max,
        "Min" => f32::min,
        _ => return None,
    })
}

fn truth<T: PartialOrd>(op: &str) -> Option<fn(T, T) -> bool> {
    Some(match op {
        "Equal" => |x, y| x == y,
        "Less" => |x, y| x < y,
        "Greater" => |x, y| x > y,
        _ => return None,
    })
}

fn of_ints(op: &str, x: Int, y: Int) -> Result<Int, Problem> {
    let (x, y) = match (op, x, y) {
        // The number of images is not known, but it is what it is.
        ("Mul" | "Div", Int::Batch, Int::Known(1)) | ("Mul", Int::Known(1), Int::Batch) => {
            return Ok(Int::Batch);
        }
        ("Add" | "Sub", Int::Batch, Int::Known(0)) => return Ok(Int::Batch),
        ("Equal", Int::Batch, Int::Known(-1..=0)) => return Ok(Int::Known(0)),
        (_, Int::Known(x), Int::Known(y)) => (x, y),
        _ => {
            let advice = "write the model so that images of a batch do not mix";
            return Err(Problem::new("it depends on the number of images", advice));
        }
    };
    if let Some(truth) = truth::<i64>(op) {
        return Ok(Int::Known(i64::from(truth(x, y))));
    }
    let result = match op {
        "Add" | "Sum" => x.checked_add(y),
        "Sub" => x.checked_sub(y),
        "Mul" => x.checked_mul(y),
        "Div" => x.checked_div(y),
        "Max" => Some(x.max(y)),
        "Min" => Some(x.min(y)),
        "And" => Some(i64::from(x != 0 && y != 0)),
        "Or" => Some(i64::from(x != 0 || y != 0)),
        "Pow" => u32::try_from(y).ok().and_then(|y| x.checked_pow(y)),
        _ => return Err(not_computed()),
    };
    result.map(Int::Known).ok_or_else(|| Problem::malformed("its result overflows"))
}

/// The elements of `yes` where the condition holds, of `no` elsewhere.
fn choice(
    condition: &Constant,
    yes: &Constant,
    no: &Constant,
    budget: usize,
) -> Result<Constant, Problem> {
    let (shape, [a, b]) = broadcast(yes, no, budget)?;
    let (yes, no) = (yes.pick(shape.clone(), &a), no.pick(shape.clone(), &b));
    let (whole, [which, at]) = broadcast(condition, &yes, budget)?;
    let holds = condition.known_ints()?;
    let (yes, no) = (yes.pick(whole.clone(), &at), no.pick(whole.clone(), &at));
    let chosen = which.iter().enumerate();
    if let (Ok(yes), Ok(no)) = (yes.as_floats(), no.as_floats()) {
        let data = chosen.map(|(at, &i)| if holds[i] != 0 { yes[at] } else { no[at] });
        return Ok(Constant::floats(whole, data.collect()));
    }
    let (yes, no) = (yes.as_ints()?, no.as_ints()?);
    let data = chosen.map(|(at, &i)| if holds[i] != 0 { yes[at] } else { no[at] }).collect();
    Ok(Constant { shape: whole, data: Data::Ints(data) })
}

/// The product of all elements of a list of integers.
fn product(
    node: &NodeProto,
    input: &Constant,
    axes: Option<&Constant>,
) -> Result<Constant, Problem> {
    let axes = match axes {
        Some(axes) => axes.known_ints()?,
        None => node.ints_of("axes").unwrap_or_default().to_vec(),
    };
    if input.shape.len() > 1 || axes.iter().any(|&axis| axis != 0 && axis != -1) {
        return Err(not_computed());
    }
    let ints = input.known_ints()?;
    let product = ints.iter().try_fold(1i64, |product, &i| product.checked_mul(i));
    let product = product.ok_or_else(|| Problem::malformed("its result overflows"))?;
    let keeps = node.int_or("keepdims", 1)? != 0;
    Ok(Constant::ints(if keeps { vec![1; input.shape.len()] } else { vec![] }, vec![product]))
}

/// The shape of both together, and for each of its elements the place in either.
fn broadcast(
    left: &Constant,
    right: &Constant,
    budget: usize,
) -> Result<(Vec<usize>, [Vec<usize>; 2]), Problem> {
    let rank = left.shape.len().max(right.shape.len());
    let [a, b] =
        [left, right].map(|side| [vec![1; rank - side.shape.len()], side.shape.clone()].concat());
    let mut shape = Vec::with_capacity(rank);
    for (&a, &b) in a.iter().zip(&b) {
        if a != b && a != 1 && b != 1 {
            let reason = format!("its operands are {:?} and {:?}", left.shape, right.shape);
            return Err(Problem::malformed(reason));
        }
        shape.push(if a == 1 { b } else { a });
    }
    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if elements.is_none_or(|n| n > budget) {
        return Err(Problem::new("it makes a huge constant", "store it in the file instead"));
    }
    let places = [a, b].map(|own| {
        let strides = strides(&own);
        let axes: Vec<Vec<usize>> = shape
            .iter()
            .enumerate()
            .map(|(axis, &length)| {
                (0..length).map(|i| if own[axis] == 1 { 0 } else { i * strides[axis] }).collect()
            })
            .collect();
        positions(&axes)
    });
    Ok((shape, places))
}
