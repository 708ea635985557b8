//! Quantized constants: weights and biases.

use super::super::constant::{Constant, Data, Grid, Int};
use super::super::error::Problem;
use super::super::fold::axis_of;
use super::super::proto::NodeProto;

/// Integers times their scale, after the zero point is taken off.
pub(in super::super) fn dequantized(
    node: &NodeProto,
    ints: &Constant,
    inputs: &[Option<&Constant>],
) -> Result<Constant, Problem> {
    let scales = scales(node, ints, inputs)?;
    let zeros = match inputs.get(2).copied().flatten() {
        Some(zeros) => zeros_of(zeros, scales.count())?,
        None => vec![0; scales.count()],
    };
    let data = match &ints.data {
        Data::Ints(values) => Data::Floats(
            values
                .iter()
                .enumerate()
                .map(|(at, value)| match value {
                    Int::Known(value) if zeros[scales.place(at)] == 0 => {
                        Ok(*value as f32 * scales.of(at))
                    }
                    Int::Known(_) => {
                        Err(Problem::malformed("a zero point of 32-bit integers that is not 0"))
                    }
                    Int::Batch => Err(Problem::malformed("it dequantizes the number of images")),
                })
                .collect::<Result<_, _>>()?,
        ),
        Data::Bytes(grid) => {
            let values: Vec<i16> = grid
                .values
                .iter()
                .enumerate()
                .map(|(at, value)| value - zeros[scales.place(at)])
                .collect();
            let floats = values
                .iter()
                .enumerate()
                .map(|(at, &value)| f32::from(value) * scales.of(at))
                .collect();
            let least = zeros.iter().min().copied().unwrap_or(0);
            let most = zeros.iter().max().copied().unwrap_or(0);
            let scales = (0..values.len()).map(|at| scales.of(at)).collect();
            Data::Scaled(
                floats,
                Grid { values, low: grid.low - most, high: grid.high - least, scales },
            )
        }
        Data::Floats(_) | Data::Scaled(..) => {
            return Err(Problem::malformed("it dequantizes floats"));
        }
    };
    Ok(Constant { shape: ints.shape.clone(), data })
}

/// Floats in steps of their scale, halves to even.
pub(in super::super) fn quantized(
    node: &NodeProto,
    floats: &Constant,
    inputs: &[Option<&Constant>],
) -> Result<Constant, Problem> {
    let scales = scales(node, floats, inputs)?;
    let (zeros, low, high) = match inputs.get(2).copied().flatten() {
        Some(zeros) => {
            let grid = zeros.as_bytes()?;
            (zeros_of(zeros, scales.count())?, grid.low, grid.high)
        }
        None => (vec![0; scales.count()], 0, 255),
    };
    let values = floats
        .as_floats()?
        .iter()
        .enumerate()
        .map(|(at, x)| {
            let steps =
                (x / scales.of(at)).round_ties_even() as i32 + i32::from(zeros[scales.place(at)]);
            steps.clamp(low.into(), high.into()) as i16
        })
        .collect();
    Ok(Constant {
        shape: floats.shape.clone(),
        data: Data::Bytes(Grid { values, low, high, scales: Vec::new() }),
    })
}

/// Integers of 8 bits within bounds of their own type.
pub(in super::super) fn clipped(
    ints: &Constant,
    low: Option<&Constant>,
    high: Option<&Constant>,
) -> Result<Constant, Problem> {
    let grid = ints.as_bytes()?;
    let low = low.map_or(Ok(grid.low), byte)?.max(grid.low);
    let high = high.map_or(Ok(grid.high), byte)?.min(grid.high);
    if low > high {
        return Err(Problem::malformed(format!("its bounds are {low} and {high}")));
    }
    let values = grid.values.iter().map(|&value| value.clamp(low, high)).collect();
    Ok(Constant {
        shape: ints.shape.clone(),
        data: Data::Bytes(Grid { values, low, high, scales: Vec::new() }),
    })
}

/// The only element of a tensor of 8-bit integers.
pub(super) fn byte(constant: &Constant) -> Result<i16, Problem> {
    match constant.as_bytes()?.values[..] {
        [value] => Ok(value),
        ref more => Err(Problem::malformed(format!("{} elements instead of one", more.len()))),
    }
}

/// Which scale each element has.
struct Scales<'a> {
    scales: &'a [f32],
    /// Elements from one scale to the next.
    inner: usize,
}

impl Scales<'_> {
    fn count(&self) -> usize {
        self.scales.len()
    }

    fn place(&self, at: usize) -> usize {
        at / self.inner % self.scales.len()
    }

    fn of(&self, at: usize) -> f32 {
        self.scales[self.place(at)]
    }
}

fn scales<'a>(
    node: &NodeProto,
    operand: &Constant,
    inputs: &[Option<&'a Constant>],
) -> Result<Scales<'a>, Problem> {
    if node.int_or("block_size", 0)? != 0 {
        return Err(Problem::new(
            "its scales are those of blocks",
            "quantize by tensor or by channel",
        ));
    }
    let constant =
        inputs.get(1).copied().flatten().ok_or_else(|| Problem::malformed("no scale"))?;
    let scales = constant.as_floats()?;
    if let Some(odd) = scales.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
        return Err(Problem::malformed(format!("a scale is {odd}")));
    }
    if scales.len() == 1 {
        return Ok(Scales { scales, inner: operand.len().max(1) });
    }
    let axis = axis_of(node.int_or("axis", 1)?, operand.shape.len())?;
    if operand.shape[axis] != scales.len() || scales.is_empty() {
        let reason = format!("{} scales for the axis {axis} of {:?}", scales.len(), operand.shape);
        return Err(Problem::malformed(reason));
    }
    Ok(Scales { scales, inner: operand.shape[axis + 1..].iter().product::<usize>().max(1) })
}

/// One zero point for each scale.
fn zeros_of(constant: &Constant, count: usize) -> Result<Vec<i16>, Problem> {
    let zeros = match &constant.data {
        // Of biases: any other than 0 is refused where it is used.
        Data::Ints(values) => {
            values.iter().map(|value| i16::from(*value != Int::Known(0))).collect()
        }
        Data::Bytes(grid) => grid.values.clone(),
        Data::Floats(_) | Data::Scaled(..) => {
            return Err(Problem::malformed("a zero point that is a float"));
        }
    };
    match zeros[..] {
        [one] => Ok(vec![one; count]),
        _ if zeros.len() == count => Ok(zeros),
        _ => Err(Problem::malformed(format!("{} zero points for {count} scales", zeros.len()))),
    }
}
