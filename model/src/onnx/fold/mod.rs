//! Operators on constants: the shape arithmetic that exporters leave in a graph, and weights that
//! it computes from others.

mod arithmetic;
mod shape;

use super::constant::{Constant, Data, Int, kind};
use super::error::Problem;
use super::proto::NodeProto;
use super::qdq::constant::{clipped, dequantized, quantized};

/// No constant that is computed from others has more axes.
const MAX_RANK: usize = 8;

/// The result of a node whose operands are constants, of at most `budget` elements.
pub(super) fn evaluate(
    node: &NodeProto,
    inputs: &[Option<&Constant>],
    budget: usize,
) -> Result<Constant, Problem> {
    let first = required(inputs, 0)?;
    if inputs.iter().flatten().any(|input| input.shape.len() > MAX_RANK) {
        return Err(Problem::new(
            format!("a constant has more than {MAX_RANK} axes"),
            "reshape it when exporting",
        ));
    }
    match node.op_type.as_str() {
        "Identity" | "Dropout" => Ok(first.clone()),
        "Cast" => cast(node, first),
        "QuantizeLinear" => quantized(node, first, inputs),
        "DequantizeLinear" => dequantized(node, first, inputs),
        "Clip" if matches!(first.data, Data::Bytes(_)) => {
            clipped(first, optional(inputs, 1), optional(inputs, 2))
        }
        "Shape" => {
            let dims: Vec<Int> = first.shape.iter().map(|&d| Int::Known(d as i64)).collect();
            part_of_shape(node, &dims)
        }
        "ConstantOfShape" | "Expand" | "Tile" | "Range" | "Concat" | "Gather" | "Slice"
        | "Transpose" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => {
            shape::evaluate(node, inputs, budget)
        }
        _ => arithmetic::evaluate(node, inputs, budget),
    }
}

fn optional<'c>(inputs: &[Option<&'c Constant>], i: usize) -> Option<&'c Constant> {
    inputs.get(i).copied().flatten()
}

fn required<'c>(inputs: &[Option<&'c Constant>], i: usize) -> Result<&'c Constant, Problem> {
    optional(inputs, i).ok_or_else(|| Problem::malformed(format!("input {i} is missing")))
}

/// An index that counts from the end where it is negative, counted from the start.
pub(super) const fn from_start(i: i64, length: i64) -> i64 {
    if i < 0 { i.saturating_add(length) } else { i }
}

/// The part of a shape that a Shape node asks for: all of it, before operator set 15.
pub(super) fn part_of_shape(node: &NodeProto, dims: &[Int]) -> Result<Constant, Problem> {
    let rank = dims.len() as i64;
    let start = from_start(node.int_or("start", 0)?, rank).clamp(0, rank) as usize;
    let end = from_start(node.int_or("end", rank)?, rank).clamp(0, rank) as usize;
    let dims = dims[start..end.max(start)].to_vec();
    Ok(Constant { shape: vec![dims.len()], data: Data::Ints(dims) })
}

fn cast(node: &NodeProto, input: &Constant) -> Result<Constant, Problem> {
    let to = node.int_or("to", 0)?;
    let shape = input.shape.clone();
    let data = match (&input.data, to) {
        (Data::Floats(_) | Data::Scaled(..), 1 | 10 | 11 | 16) => input.data.clone(),
        (Data::Ints(_), 4..=7 | 12 | 13) => input.data.clone(),
        (Data::Ints(_), 1 | 10 | 11 | 16) => {
            Data::Floats(input.known_ints()?.iter().map(|&i| i as f32).collect())
        }
        (Data::Ints(_), 9) => {
            let truth = input.known_ints()?.into_iter().map(|i| Int::Known(i64::from(i != 0)));
            Data::Ints(truth.collect())
        }
        (Data::Floats(data), 4..=7 | 12 | 13) => {
            Data::Ints(data.iter().map(|&x| Int::Known(x as i64)).collect())
        }
        (Data::Floats(data), 9) => {
            Data::Ints(data.iter().map(|&x| Int::Known(i64::from(x != 0.0))).collect())
        }
        (Data::Bytes(grid), 1 | 10 | 11 | 16) => {
            Data::Floats(grid.values.iter().map(|&x| x.into()).collect())
        }
        (Data::Bytes(grid), 4..=7 | 12 | 13) => {
            Data::Ints(grid.values.iter().map(|&x| Int::Known(x.into())).collect())
        }
        (Data::Floats(_) | Data::Ints(_) | Data::Bytes(_) | Data::Scaled(..), _) => {
            let reason = format!("it casts a constant to {}", kind(to));
            return Err(Problem::new(reason, "use float or int64"));
        }
    };
    Ok(Constant { shape, data })
}

pub(super) fn axis_of(i: i64, length: usize) -> Result<usize, Problem> {
    usize::try_from(from_start(i, length as i64))
        .ok()
        .filter(|&i| i < length)
        .ok_or_else(|| Problem::malformed(format!("{i} is not in 0..{length}")))
}

/// The distance between neighbors along each axis.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// All sums of one offset of each axis, the last axis fastest.
fn positions(axes: &[Vec<usize>]) -> Vec<usize> {
    axes.iter().fold(vec![0], |outer, axis| {
        outer.iter().flat_map(|&base| axis.iter().map(move |offset| base + offset)).collect()
    })
}
