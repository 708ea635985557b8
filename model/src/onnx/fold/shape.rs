//! Constants in other shapes, parts of them, and several as one.

use super::super::constant::{Constant, Data, Int};
use super::super::error::Problem;
use super::super::proto::NodeProto;
use super::super::views::bounds;
use super::{axis_of, from_start, optional, positions, required, strides};

pub(super) fn evaluate(
    node: &NodeProto,
    inputs: &[Option<&Constant>],
    budget: usize,
) -> Result<Constant, Problem> {
    let first = required(inputs, 0)?;
    match node.op_type.as_str() {
        "ConstantOfShape" => filled(node, first, budget),
        "Expand" => expand(first, &required(inputs, 1)?.known_ints()?, budget),
        "Tile" => tile(first, &required(inputs, 1)?.known_ints()?, budget),
        "Range" => range_of(first, required(inputs, 1)?, required(inputs, 2)?, budget),
        "Concat" => concat(node, inputs, budget),
        "Gather" => gather(node, first, required(inputs, 1)?, budget),
        "Slice" => slice(node, first, inputs),
        "Transpose" => transpose(node, first),
        "Reshape" => reshape(first, &required(inputs, 1)?.known_ints()?),
        "Flatten" => {
            let axis = from_start(node.int_or("axis", 1)?, first.shape.len() as i64);
            let axis = usize::try_from(axis).ok().filter(|&axis| axis <= first.shape.len());
            let axis = axis.ok_or_else(|| Problem::malformed("its axis does not exist"))?;
            let (outer, inner) = first.shape.split_at(axis);
            let shape = vec![outer.iter().product(), inner.iter().product()];
            Ok(Constant { shape, data: first.data.clone() })
        }
        _ => {
            let axes = match optional(inputs, 1) {
                Some(axes) => Some(axes.known_ints()?),
                None => node.ints_of("axes").map(<[i64]>::to_vec),
            };
            resized(node, first, axes)
        }
    }
}

/// A shape of constants to be made, and its number of elements.
fn sized(lengths: &[i64], budget: usize) -> Result<(Vec<usize>, usize), Problem> {
    let shape: Option<Vec<usize>> = lengths.iter().map(|&d| usize::try_from(d).ok()).collect();
    let shape = shape.ok_or_else(|| Problem::malformed("a negative length"))?;
    let len = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= budget);
    Ok((shape, len.ok_or_else(huge)?))
}

fn huge() -> Problem {
    Problem::new("it makes a huge constant", "store it in the file instead")
}

fn expand(input: &Constant, target: &[i64], budget: usize) -> Result<Constant, Problem> {
    let rank = target.len().max(input.shape.len());
    let own: Vec<i64> = input.shape.iter().map(|&d| d as i64).collect();
    let [own, wanted] =
        [own, target.to_vec()].map(|axes| [vec![1; rank - axes.len()], axes].concat());
    // Either side may be 1.
    let lengths: Vec<i64> =
        own.iter().zip(&wanted).map(|(&a, &b)| if b == 1 { a } else { b }).collect();
    let fits = own.iter().zip(&lengths).all(|(&a, &b)| a == b || a == 1);
    if !fits {
        return Err(Problem::malformed(format!("it makes {target:?} of {:?}", input.shape)));
    }
    let (shape, _) = sized(&lengths, budget)?;
    Ok(repeated(input, &own, shape))
}

fn tile(input: &Constant, repeats: &[i64], budget: usize) -> Result<Constant, Problem> {
    if repeats.len() != input.shape.len() {
        return Err(Problem::malformed("it has another number of repeats than of axes"));
    }
    let own: Vec<i64> = input.shape.iter().map(|&d| d as i64).collect();
    let lengths: Option<Vec<i64>> =
        own.iter().zip(repeats).map(|(&d, &times)| d.checked_mul(times)).collect();
    let (shape, _) = sized(&lengths.ok_or_else(huge)?, budget)?;
    Ok(repeated(input, &own, shape))
}

/// A constant of this shape whose axes repeat those of the input, of lengths `own`.
fn repeated(input: &Constant, own: &[i64], shape: Vec<usize>) -> Constant {
    let own: Vec<usize> = own.iter().map(|&d| d as usize).collect();
    let strides = strides(&own);
    let axes: Vec<Vec<usize>> = shape
        .iter()
        .enumerate()
        .map(|(axis, &length)| (0..length).map(|i| i % own[axis] * strides[axis]).collect())
        .collect();
    input.pick(shape, &positions(&axes))
}

fn single(constant: &Constant) -> Result<i64, Problem> {
    match constant.known_ints()?[..] {
        [one] => Ok(one),
        _ => Err(Problem::malformed("a bound that is no single number")),
    }
}

/// Integers from a start to a limit, which is left out.
fn range_of(
    start: &Constant,
    limit: &Constant,
    step: &Constant,
    budget: usize,
) -> Result<Constant, Problem> {
    let (start, limit, step) = (single(start)?, single(limit)?, single(step)?);
    let count = i128::from(limit) - i128::from(start);
    let count = match i128::from(step) {
        0 => return Err(Problem::malformed("its step is 0")),
        step if (count > 0) == (step > 0) => (count.abs() + step.abs() - 1) / step.abs(),
        _ => 0,
    };
    let count = usize::try_from(count).ok().filter(|&count| count <= budget).ok_or_else(huge)?;
    let values = (0..count as i64).map(|i| start.wrapping_add(i.wrapping_mul(step)));
    Ok(Constant::ints(vec![count], values.collect()))
}

fn filled(node: &NodeProto, shape: &Constant, budget: usize) -> Result<Constant, Problem> {
    let (shape, len) = sized(&shape.known_ints()?, budget)?;
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
        return Err(huge());
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

fn slice(
    node: &NodeProto,
    input: &Constant,
    inputs: &[Option<&Constant>],
) -> Result<Constant, Problem> {
    let [starts, ends, axes, steps] =
        bounds(node, |at| optional(inputs, at).map(|given| given.known_ints()).transpose())?;
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
    let first = parts[0];
    let axis = axis_of(node.int_or("axis", 0)?, first.shape.len())?;
    let (outer, inner) = (&first.shape[..axis], &first.shape[axis + 1..]);
    let alike = parts.iter().all(|part| {
        part.shape.len() == first.shape.len()
            && part.shape[..axis] == *outer
            && part.shape[axis + 1..] == *inner
    });
    if !alike {
        return Err(Problem::malformed("its operands have different axes"));
    }
    let len = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(part.len()));
    len.filter(|&len| len <= budget).ok_or_else(huge)?;
    let mut shape = first.shape.clone();
    shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
    // Of every part, so many elements in a row, for each index of the axes before.
    let rows = outer.iter().product::<usize>();
    let floats: Result<Vec<&[f32]>, _> = parts.iter().map(|part| part.as_floats()).collect();
    let data = match floats {
        Ok(floats) => Data::Floats(interleaved(rows, &floats)),
        Err(_) => {
            let ints: Vec<&[Int]> =
                parts.iter().map(|part| part.as_ints()).collect::<Result<_, _>>()?;
            Data::Ints(interleaved(rows, &ints))
        }
    };
    Ok(Constant { shape, data })
}

fn interleaved<T: Copy>(rows: usize, parts: &[&[T]]) -> Vec<T> {
    let of_rows = (0..rows).flat_map(|row| {
        parts.iter().flat_map(move |part| {
            let length = part.len() / rows;
            part[row * length..(row + 1) * length].iter().copied()
        })
    });
    of_rows.collect()
}
