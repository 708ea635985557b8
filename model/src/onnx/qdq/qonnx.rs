//! Quant and BipolarQuant of QONNX: quantization to any width, and the floats that it stands for,
//! in one node (Pappalardo et al.: QONNX, 2022, section V).

use super::super::constant::{Constant, Data, Grid};
use super::super::error::Problem;
use super::super::importer::{Entry, Importer};
use super::super::inputs::Inputs;
use super::super::proto::NodeProto;
use super::Quantizer;

/// Domains that have the operators, by the programs that write them.
const DOMAINS: [&str; 3] = ["qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas"];
/// The widest integers of weights that are kept as such, and the widest of values.
const MAX_BITS: i32 = 8;

/// Whether a node is one of them.
pub(in super::super) fn is_qonnx(node: &NodeProto) -> bool {
    DOMAINS.contains(&node.domain.as_str())
        && matches!(node.op_type.as_str(), "Quant" | "BipolarQuant")
}

/// How a node quantizes.
struct Quantization {
    bits: i32,
    low: f64,
    high: f64,
    round: fn(f64) -> f64,
}

impl Importer {
    pub(in super::super) fn qonnx(
        &mut self,
        node: &NodeProto,
        inputs: &Inputs,
    ) -> Result<Entry, Problem> {
        // Signs have neither a zero point nor a width.
        let signs = node.op_type == "BipolarQuant";
        let quantization = if signs { signs_alone() } else { quantization(node, inputs)? };
        if !inputs.is_value(0) {
            let floats = inputs.constant(0)?;
            self.spend(floats.len().saturating_mul(2))?;
            return quantized(floats, inputs, &quantization, signs).map(Entry::from);
        }
        let (bits, rounding) = (quantization.bits, node.string_or("rounding_mode", "ROUND")?);
        // Plans round values to the nearest step, and no other way.
        let nearest = matches!(rounding, "ROUND" | "HALF_EVEN");
        if signs || bits > MAX_BITS || !nearest {
            let reason = match signs {
                true => "it takes the signs of values".to_owned(),
                false => format!("it quantizes values to {bits} bits, rounding mode {rounding}"),
            };
            let advice = "quantize values to 2 to 8 bits, with the rounding mode ROUND";
            return Err(Problem::new(reason, advice));
        }
        let (scale, zero) = (one(inputs, 1)?, one(inputs, 2)?);
        if !(scale.is_finite() && scale > 0.0) || zero.fract() != 0.0 {
            let reason = format!("its scale is {scale}, its zero point {zero}");
            return Err(Problem::malformed(reason));
        }
        let [low, high] =
            [quantization.low, quantization.high].map(|end| (end - f64::from(zero)) as i64);
        let value = inputs.value(0)?;
        let value = self.noted(node, value, Quantizer { scale: scale.into(), low, high })?;
        Ok(Entry::Value(value))
    }
}

/// The only element of a constant operand.
fn one(inputs: &Inputs, at: usize) -> Result<f32, Problem> {
    match inputs.constant(at)?.as_floats()? {
        [number] => Ok(*number),
        more => Err(Problem::new(
            format!("it quantizes values with {} scales", more.len()),
            "quantize values by tensor, and weights alone by channel",
        )),
    }
}

fn signs_alone() -> Quantization {
    // Two bits hold -1 and 1.
    Quantization { bits: 2, low: -1.0, high: 1.0, round: sign }
}

/// The sign of a number of steps: that of zero is positive.
fn sign(steps: f64) -> f64 {
    if steps >= 0.0 { 1.0 } else { -1.0 }
}

fn quantization(node: &NodeProto, inputs: &Inputs) -> Result<Quantization, Problem> {
    let bits = one(inputs, 3)?;
    if bits.fract() != 0.0 || !(1.0..=32.0).contains(&bits) {
        let reason = format!("it quantizes to {bits} bits");
        return Err(Problem::new(reason, "use whole numbers of bits, 2 to 8 for values"));
    }
    let signed = node.int_or("signed", 1)? != 0;
    let narrow = f64::from(i8::from(node.int_or("narrow", 0)? != 0));
    let steps = f64::from(bits).exp2();
    // Narrow ranges of a sign have as many steps on both sides of zero, others lack the last.
    let (low, high) = if signed {
        (narrow - steps / 2.0, steps / 2.0 - 1.0)
    } else {
        (0.0, steps - 1.0 - narrow)
    };
    let round: fn(f64) -> f64 = match node.string_or("rounding_mode", "ROUND")? {
        "ROUND" | "HALF_EVEN" => f64::round_ties_even,
        "CEIL" => f64::ceil,
        "FLOOR" => f64::floor,
        "ROUND_TO_ZERO" | "DOWN" => f64::trunc,
        other => {
            let reason = format!("its rounding_mode is {other:?}");
            return Err(Problem::new(reason, "use ROUND, CEIL, FLOOR or ROUND_TO_ZERO"));
        }
    };
    Ok(Quantization { bits: bits as i32, low, high, round })
}

/// Constants, quantized, and their integers where these are narrow.
fn quantized(
    constant: &Constant,
    inputs: &Inputs,
    quantization: &Quantization,
    signs: bool,
) -> Result<Constant, Problem> {
    let floats = constant.as_floats()?;
    let scales = spread(inputs.constant(1)?, constant)?;
    let zeros = match signs {
        true => vec![0.0; floats.len()],
        false => spread(inputs.constant(2)?, constant)?,
    };
    if scales.iter().any(|scale| !(scale.is_finite() && *scale > 0.0)) {
        return Err(Problem::malformed("a scale is not a positive number"));
    }
    let steps = floats.iter().zip(&scales).enumerate().map(|(at, (&x, &scale))| {
        let step = (quantization.round)(f64::from(x) / f64::from(scale) + f64::from(zeros[at]));
        step.clamp(quantization.low, quantization.high) - f64::from(zeros[at])
    });
    let steps: Vec<f64> = steps.collect();
    let values = steps.iter().zip(&scales).map(|(step, scale)| (step * f64::from(*scale)) as f32);
    let values: Vec<f32> = values.collect();
    // Integers that fit no byte stay floats, as biases do.
    let whole = zeros.iter().all(|zero| zero.fract() == 0.0 && zero.abs() <= 255.0);
    if quantization.bits > MAX_BITS || !whole {
        return Ok(Constant::floats(constant.shape.clone(), values));
    }
    let most = zeros.iter().copied().fold(f32::MIN, f32::max);
    let least = zeros.iter().copied().fold(f32::MAX, f32::min);
    let grid = Grid {
        values: steps.iter().map(|&step| step as i16).collect(),
        low: (quantization.low - f64::from(most)) as i16,
        high: (quantization.high - f64::from(least)) as i16,
        scales,
    };
    Ok(Constant { shape: constant.shape.clone(), data: Data::Scaled(values, grid) })
}

/// One number for every element of a constant, of a constant that is broadcast to it.
fn spread(numbers: &Constant, to: &Constant) -> Result<Vec<f32>, Problem> {
    let floats = numbers.as_floats()?;
    let leading = to.shape.len().checked_sub(numbers.shape.len());
    let mut shape = vec![1; leading.unwrap_or(0)];
    shape.extend(&numbers.shape);
    let fits = shape.len() == to.shape.len()
        && shape.iter().zip(&to.shape).all(|(&n, &length)| n == 1 || n == length);
    if let [one] = floats {
        return Ok(vec![*one; to.len()]);
    }
    if !fits {
        let reason = format!("scales {:?} of weights {:?}", numbers.shape, to.shape);
        return Err(Problem::malformed(reason));
    }
    Ok((0..to.len()).map(|at| floats[place(at, &shape, &to.shape)]).collect())
}

/// Where the element `at` of a tensor is in one that is broadcast to it.
fn place(mut at: usize, shape: &[usize], to: &[usize]) -> usize {
    let (mut place, mut stride) = (0, 1);
    // The last axis is the fastest in both; axes of length one do not move.
    for (&n, &length) in shape.iter().zip(to).rev() {
        place += (at % length % n) * stride;
        at /= length;
        stride *= n;
    }
    place
}
