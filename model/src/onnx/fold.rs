//! Operators on constants: the shape arithmetic that exporters leave in a graph.

use super::constant::{Constant, Data, Int};
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
        "Clip" => clipped(first, optional(inputs, 1), optional(inputs, 2)),
        "Shape" => {
            let dims: Vec<Int> = first.shape.iter().map(|&d| Int::Known(d as i64)).collect();
            part_of_shape(node, &dims)
        }
        "ConstantOfShape" => filled(node, first, budget),
        "Reshape" => reshape(first, &required(inputs, 1)?.known_ints()?),
        "Squeeze" | "Unsqueeze" => {
            let axes = match optional(inputs, 1) {
                Some(axes) => Some(axes.known_ints()?),
                None => node.ints_of("axes").map(<[i64]>::to_vec),
            };
            resized(node, first, axes)
        }
        "Transpose" => transpose(node, first),
        "Gather" => gather(node, first, required(inputs, 1)?, budget),
        "Slice" => slice(first, inputs),
        "Concat" => concat(node, inputs, budget),
        "Add" | "Sub" | "Mul" | "Div" => integers(node, first, required(inputs, 1)?),
        _ => Err(Problem::new(
            "all its inputs are constants",
            "compute it when exporting (constant folding)",
        )),
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
    let to_float = matches!(node.int_or("to", 0)?, 1 | 10 | 11 | 16);
    let to_int = matches!(node.int_or("to", 0)?, 6 | 7);
    let data = match &input.data {
        Data::Floats(_) | Data::Scaled(..) if to_float => input.data.clone(),
        Data::Ints(_) if to_int => input.data.clone(),
        Data::Ints(_) if to_float => {
            Data::Floats(input.known_ints()?.iter().map(|&i| i as f32).collect())
        }
        Data::Floats(data) if to_int => {
            Data::Ints(data.iter().map(|&x| Int::Known(x as i64)).collect())
        }
        Data::Floats(_) | Data::Ints(_) | Data::Bytes(_) | Data::Scaled(..) => {
            return Err(Problem::new("it casts to an unsupported type", "use float or int64"));
        }
    };
    Ok(Constant { shape: input.shape.clone(), data })
}

fn filled(node: &NodeProto, shape: &Constant, budget: usize) -> Result<Constant, Problem> {
    let shape: Option<Vec<usize>> =
        shape.known_ints()?.iter().map(|&d| usize::try_from(d).ok()).collect();
    let shape = shape.ok_or_else(|| Problem::malformed("a negative length"))?;
    let len = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= budget);
    let len = len
        .ok_or_else(|| Problem::new("it makes a huge constant", "store it in the file instead"))?;
    let value = node.tensor_of("value")?.unwrap_or_else(|| Constant::floats(vec![1], vec![0.0]));
    let fits = value.len() == 1;
    fits.then(|| value.pick(shape, &vec![0; len]))
        .ok_or_else(|| Problem::malformed("its value is not one number"))
}

fn reshape(input: &Constant, target: &[i64]) -> Result<Constant, Problem> {
    let shape = reshaped(input, target)
        .ok_or_else(|| Problem::malformed(format!("it makes {target:?} of {:?}", input.shape)))?;
    Ok(Constant { shape, data: input.data.clone() })
}

fn reshaped(input: &Constant, target: &[i64]) -> Option<Vec<usize>> {
    let mut shape = Vec::with_capacity(target.len());
    for (i, &d) in target.iter().enumerate() {
        let kept = input.shape.get(i).copied().filter(|_| d == 0);
        shape.push(kept.or_else(|| usize::try_from(if d == -1 { 1 } else { d }).ok())?);
    }
    let known = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))?;
    // -1 has counted as 1 so far: `known` is the product of all other lengths.
    if let Some(inferred) = target.iter().position(|&d| d == -1) {
        shape[inferred] = input.len().checked_div(known)?;
    }
    let elements = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
    (elements == Some(input.len())).then_some(shape)
}

/// Squeeze or Unsqueeze; without axes, Squeeze removes all axes of length 1.
fn resized(
    node: &NodeProto,
    input: &Constant,
    axes: Option<Vec<i64>>,
) -> Result<Constant, Problem> {
    let mut shape = input.shape.clone();
    if node.op_type == "Squeeze" {
        let rank = shape.len();
        let axes: Option<Vec<usize>> =
            axes.map(|axes| axes.iter().map(|&a| axis_of(a, rank)).collect()).transpose()?;
        let mut axis = 0;
        shape.retain(|&d| {
            let chosen = axes.as_ref().is_none_or(|axes| axes.contains(&axis));
            axis += 1;
            !(chosen && d == 1)
        });
    } else {
        let axes = axes.unwrap_or_default();
        let rank = shape.len() + axes.len();
        let mut axes: Vec<usize> =
            axes.iter().map(|&a| axis_of(a, rank)).collect::<Result<_, _>>()?;
        axes.sort_unstable();
        for axis in axes {
            shape.insert(axis.min(shape.len()), 1);
        }
    }
    Ok(Constant { shape, data: input.data.clone() })
}

fn transpose(node: &NodeProto, input: &Constant) -> Result<Constant, Problem> {
    let rank = input.shape.len();
    let order: Vec<usize> = match node.ints_of("perm") {
        Some(perm) => perm.iter().map(|&a| axis_of(a, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted != (0..rank).collect::<Vec<_>>() {
        return Err(Problem::malformed(format!("perm {order:?} for {rank} axes")));
    }
    // Along each axis of the result, in its order, the offsets of its elements in the input;
    // `positions` adds them up.
    let strides = strides(&input.shape);
    let axes: Vec<Vec<usize>> =
        order.iter().map(|&a| (0..input.shape[a]).map(|i| i * strides[a]).collect()).collect();
    Ok(input.pick(order.iter().map(|&a| input.shape[a]).collect(), &positions(&axes)))
}

fn gather(
    node: &NodeProto,
    input: &Constant,
    indices: &Constant,
    budget: usize,
) -> Result<Constant, Problem> {
    let axis = axis_of(node.int_or("axis", 0)?, input.shape.len())?;
    let length = input.shape[axis];
    let chosen: Vec<usize> =
        indices.known_ints()?.iter().map(|&i| axis_of(i, length)).collect::<Result<_, _>>()?;
    let others = input.len() / length.max(1);
    if others.checked_mul(chosen.len()).is_none_or(|n| n > budget) {
        return Err(Problem::new("it makes a huge constant", "store it in the file instead"));
    }
    let strides = strides(&input.shape);
    let axes: Vec<Vec<usize>> = (0..input.shape.len())
        .map(|a| match a == axis {
            true => chosen.iter().map(|i| i * strides[a]).collect(),
            false => (0..input.shape[a]).map(|i| i * strides[a]).collect(),
        })
        .collect();
    let shape = [&input.shape[..axis], &indices.shape, &input.shape[axis + 1..]].concat();
    Ok(input.pick(shape, &positions(&axes)))
}

fn slice(input: &Constant, inputs: &[Option<&Constant>]) -> Result<Constant, Problem> {
    let mut parts = [const { None }; 4];
    for (at, part) in parts.iter_mut().enumerate() {
        *part = optional(inputs, at + 1).map(Constant::known_ints).transpose()?;
    }
    let [Some(starts), Some(ends), axes, steps] = parts else {
        return Err(Problem::malformed("no starts or ends"));
    };
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [&ends, &axes, &steps].iter().any(|part| part.len() != starts.len()) {
        return Err(Problem::malformed("starts, ends, axes and steps differ in length"));
    }
    let mut chosen: Vec<Vec<usize>> = input.shape.iter().map(|&d| (0..d).collect()).collect();
    for (i, &axis) in axes.iter().enumerate() {
        let axis = axis_of(axis, input.shape.len())?;
        chosen[axis] = range(input.shape[axis], starts[i], ends[i], steps[i])?;
    }
    let strides = strides(&input.shape);
    let shape = chosen.iter().map(Vec::len).collect();
    for (axis, stride) in chosen.iter_mut().zip(strides) {
        axis.iter_mut().for_each(|i| *i *= stride);
    }
    Ok(input.pick(shape, &positions(&chosen)))
}

/// The indices of a slice, in order; the step may be negative.
fn range(length: usize, start: i64, end: i64, step: i64) -> Result<Vec<usize>, Problem> {
    let n = length as i64;
    let (start, end) = (from_start(start, n), from_start(end, n));
    let stride = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
    match step {
        0 => Err(Problem::malformed("its step is 0")),
        1.. => {
            let (start, end) = (start.clamp(0, n), end.clamp(0, n));
            Ok((start as usize..end as usize).step_by(stride).collect())
        }
        // Backwards, from `start` down to `end`, which is left out and may be -1, before the first.
        ..0 => {
            let (start, end) = (start.clamp(-1, n - 1), end.clamp(-1, n - 1));
            Ok((end + 1..=start).rev().step_by(stride).map(|i| i as usize).collect())
        }
    }
}

fn concat(
    node: &NodeProto,
    inputs: &[Option<&Constant>],
    budget: usize,
) -> Result<Constant, Problem> {
    let parts: Vec<&Constant> = inputs.iter().copied().flatten().collect();
    if node.int_or("axis", 0)? != 0 || parts.iter().any(|part| part.shape.len() != 1) {
        return Err(Problem::new(
            "it joins constants of several axes",
            "store the result in the file instead",
        ));
    }
    let len: usize = parts.iter().map(|part| part.len()).sum();
    if len > budget {
        return Err(Problem::new("it makes a huge constant", "store it in the file instead"));
    }
    let floats: Result<Vec<&[f32]>, _> = parts.iter().map(|part| part.as_floats()).collect();
    let data = match floats {
        Ok(floats) => Data::Floats(floats.concat()),
        Err(_) => {
            let ints: Vec<&[Int]> =
                parts.iter().map(|part| part.as_ints()).collect::<Result<_, _>>()?;
            Data::Ints(ints.concat())
        }
    };
    Ok(Constant { shape: vec![len], data })
}

/// Arithmetic of integers of the same shape, or with a single one.
fn integers(node: &NodeProto, a: &Constant, b: &Constant) -> Result<Constant, Problem> {
    let (left, right) = (a.known_ints()?, b.known_ints()?);
    let shape = if a.len() >= b.len() { a.shape.clone() } else { b.shape.clone() };
    let len = left.len().max(right.len());
    let fit = [left.len(), right.len()].iter().all(|&n| n == len || n == 1);
    if !fit || left.is_empty() || right.is_empty() {
        return Err(Problem::new(
            "it broadcasts constants",
            "compute it when exporting (constant folding)",
        ));
    }
    let results: Option<Vec<i64>> = (0..len)
        .map(|i| {
            // A single one goes with all of the other side.
            let (x, y) = (left[i.min(left.len() - 1)], right[i.min(right.len() - 1)]);
            match node.op_type.as_str() {
                "Add" => x.checked_add(y),
                "Sub" => x.checked_sub(y),
                "Mul" => x.checked_mul(y),
                _ => x.checked_div(y),
            }
        })
        .collect();
    let results = results.ok_or_else(|| Problem::malformed("its result overflows"))?;
    Ok(Constant::ints(shape, results))
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
