//! Functions of one value, other than ReLU.

/// A function that is applied to every element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `min(max(alpha x + beta, 0), 1)`.
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Value at zero.
        beta: f32,
    },
    /// `x min(max(x / 6 + 1 / 2, 0), 1)`.
    HardSwish,
    /// `x / (1 + exp(-x))`, also called swish.
    Silu,
    /// `x (1 + erf(x / sqrt(2))) / 2`.
    Gelu,
    /// `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`.
    GeluTanh,
    /// `x` where it is positive, `alpha x` elsewhere.
    LeakyRelu {
        /// Slope below zero.
        alpha: f32,
    },
    /// `x` where it is positive, `alpha (exp(x) - 1)` elsewhere.
    Elu {
        /// Minus the limit.
        alpha: f32,
    },
    /// `log(1 + exp(x))`.
    Softplus,
    /// `x^2`: networks with polynomial activations.
    Square,
    /// `min(max(x, low), high)`: hard tanh, or one limit alone, the other being that of floats.
    Clip {
        /// The lower limit.
        low: f32,
        /// The upper limit, above it.
        high: f32,
    },
    /// `x` without its fraction: 1.7 becomes 1, -1.7 becomes -1.
    Truncate,
}

/// Half the distance over which slopes are taken.
const STEP: f64 = 1e-4;
/// Parts that an interval is looked at in.
const PARTS: usize = 1 << 10;

impl Function {
    /// Its name for reports.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::HardSigmoid { .. } => "hard-sigmoid",
            Self::HardSwish => "hard-swish",
            Self::Silu => "silu",
            Self::Gelu | Self::GeluTanh => "gelu",
            Self::LeakyRelu { .. } => "leaky-relu",
            Self::Elu { .. } => "elu",
            Self::Softplus => "softplus",
            Self::Square => "square",
            Self::Clip { .. } => "clip",
            Self::Truncate => "truncate",
        }
    }

    /// Its value.
    #[must_use]
    pub fn at(&self, x: f64) -> f64 {
        match *self {
            Self::Sigmoid => sigmoid(x),
            Self::Tanh => x.tanh(),
            Self::HardSigmoid { alpha, beta } => {
                (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0)
            }
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::Silu => x * sigmoid(x),
            Self::Gelu => x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)) / 2.0,
            Self::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                x * (1.0 + inner.tanh()) / 2.0
            }
            Self::LeakyRelu { alpha } => {
                if x >= 0.0 {
                    x
                } else {
                    f64::from(alpha) * x
                }
            }
            Self::Elu { alpha } => {
                if x >= 0.0 {
                    x
                } else {
                    f64::from(alpha) * x.exp_m1()
                }
            }
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Self::Square => x * x,
            Self::Clip { low, high } => x.max(low.into()).min(high.into()),
            Self::Truncate => x.trunc(),
        }
    }

    /// Its slope, but for a square as a central difference: what gradients need, also at kinks.
    /// That of steps is the one of the line through them.
    #[must_use]
    pub fn slope(&self, x: f64) -> f64 {
        if *self == Self::Truncate {
            return 1.0;
        }
        if *self == Self::Square {
            return 2.0 * x;
        }
        (self.at(x + STEP) - self.at(x - STEP)) / (2.0 * STEP)
    }

    /// The part of an interval outside of which it stays within `tolerance` of its value at the
    /// part's end, in 1024ths of the interval: of HardSwish from -9 to 4, for example, -3 to 4.
    #[must_use]
    pub fn varies(&self, (least, largest): (f64, f64), tolerance: f64) -> (f64, f64) {
        let at = |part: usize| least + (largest - least) * part as f64 / PARTS as f64;
        // The last part, from an end on, up to which no two values are further apart.
        let settled = |parts: &mut dyn Iterator<Item = usize>| {
            let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
            let within = parts.take_while(|&part| {
                let value = self.at(at(part));
                (low, high) = (low.min(value), high.max(value));
                high - low <= tolerance
            });
            within.last().map_or(0.0, at)
        };
        let (from, to) = (settled(&mut (0..=PARTS)), settled(&mut (0..=PARTS).rev()));
        // A constant varies nowhere.
        if from <= to { (from, to) } else { (least, largest) }
    }

    /// Whether it is negative anywhere.
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        match self {
            Self::Sigmoid | Self::HardSigmoid { .. } | Self::Softplus | Self::Square => false,
            Self::Clip { low, .. } => *low < 0.0,
            Self::Tanh
            | Self::HardSwish
            | Self::Silu
            | Self::Gelu
            | Self::GeluTanh
            | Self::LeakyRelu { .. }
            | Self::Elu { .. }
            | Self::Truncate => true,
        }
    }

    /// Whether its parameters are finite.
    pub(super) const fn is_finite(&self) -> bool {
        match self {
            Self::HardSigmoid { alpha, beta } => alpha.is_finite() && beta.is_finite(),
            Self::LeakyRelu { alpha } | Self::Elu { alpha } => alpha.is_finite(),
            Self::Clip { low, high } => low.is_finite() && high.is_finite() && *low < *high,
            Self::Sigmoid
            | Self::Tanh
            | Self::HardSwish
            | Self::Silu
            | Self::Gelu
            | Self::GeluTanh
            | Self::Softplus
            | Self::Square
            | Self::Truncate => true,
        }
    }
}

/// The error function, by the series of positive terms `2 / sqrt(pi) exp(-x^2) sum of 2^n x^(2n+1)
/// / (2n+1)!!` (Abramowitz and Stegun, 7.1.6); beyond 6 it is 1 to the last bit.
fn erf(x: f64) -> f64 {
    if x.abs() >= 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-17 * sum.abs() {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values to nine digits, from tables.
    #[test]
    fn functions_have_the_values_of_tables() {
        for (function, x, expected) in [
            (Function::Sigmoid, 1.0, 0.731_058_579),
            (Function::Tanh, -0.5, -0.462_117_157),
            (Function::HardSigmoid { alpha: 0.25, beta: 0.5 }, 1.0, 0.75),
            (Function::HardSwish, 1.5, 1.125),
            (Function::HardSwish, -4.0, 0.0),
            (Function::Silu, -1.0, -0.268_941_421),
            (Function::Gelu, 1.0, 0.841_344_746),
            (Function::GeluTanh, 1.0, 0.841_191_991),
            (Function::LeakyRelu { alpha: 0.125 }, -2.0, -0.25),
            (Function::Elu { alpha: 2.0 }, -1.0, -1.264_241_118),
            (Function::Softplus, 1.0, 1.313_261_688),
            (Function::Square, -1.5, 2.25),
            (Function::Clip { low: -0.5, high: 2.0 }, -1.5, -0.5),
            (Function::Clip { low: -0.5, high: 2.0 }, 1.5, 1.5),
            (Function::Clip { low: 0.25, high: f32::MAX }, 1e9, 1e9),
            (Function::Truncate, -1.7, -1.0),
        ] {
            let found = function.at(x);
            assert!((found - expected).abs() < 1e-9, "{function:?} at {x}: {found}");
        }
        for (x, expected) in
            [(0.1, 0.112_462_916), (2.0, 0.995_322_265), (-3.0, -0.999_977_910), (9.0, 1.0)]
        {
            assert!((erf(x) - expected).abs() < 1e-9, "erf({x}) = {}", erf(x));
        }
    }

    #[test]
    fn only_signed_functions_are_negative_anywhere() {
        for function in [
            Function::Sigmoid,
            Function::Tanh,
            Function::HardSigmoid { alpha: 0.2, beta: 0.5 },
            Function::HardSwish,
            Function::Silu,
            Function::Gelu,
            Function::GeluTanh,
            Function::LeakyRelu { alpha: 0.01 },
            Function::Elu { alpha: 1.0 },
            Function::Softplus,
            Function::Square,
            Function::Clip { low: -1.0, high: 1.0 },
            Function::Clip { low: 0.5, high: 2.0 },
            Function::Truncate,
        ] {
            let negative = (-100..100).any(|x| function.at(f64::from(x) / 10.0) < 0.0);
            assert_eq!(negative, function.is_signed(), "{function:?}");
        }
    }

    #[test]
    fn beyond_where_a_function_varies_it_stays_what_it_is() {
        let part = |function: Function, tolerance| function.varies((-9.0, 4.0), tolerance);
        let near = |(a, b): (f64, f64), (c, d): (f64, f64)| {
            assert!((a - c).abs() < 0.02 && (b - d).abs() < 0.02, "{a} to {b}, not {c} to {d}");
        };
        near(part(Function::HardSwish, 1e-9), (-3.0, 4.0));
        near(part(Function::HardSigmoid { alpha: 0.5, beta: 0.5 }, 1e-9), (-1.0, 1.0));
        near(part(Function::Clip { low: -0.5, high: 2.0 }, 0.0), (-0.5, 2.0));
        near(part(Function::LeakyRelu { alpha: 0.1 }, 1e-3), (-9.0, 4.0));
        near(part(Function::Clip { low: 5.0, high: 6.0 }, 0.0), (-9.0, 4.0));
        let (from, to) = part(Function::Silu, 0.01);
        assert!(from > -7.0 && (to - 4.0).abs() < 0.02, "{from} to {to}");
        for x in [-9.0, -8.0, from] {
            assert!((Function::Silu.at(x) - Function::Silu.at(from)).abs() <= 0.01);
        }
    }

    #[test]
    fn slopes_are_those_of_formulas() {
        for x in [-3.0, -0.7, 0.0, 0.2, 2.5] {
            let sigmoid = Function::Sigmoid.at(x);
            assert!((Function::Sigmoid.slope(x) - sigmoid * (1.0 - sigmoid)).abs() < 1e-7);
            assert!((Function::Tanh.slope(x) - (1.0 - x.tanh().powi(2))).abs() < 1e-7);
            assert_eq!(Function::Square.slope(x), 2.0 * x);
        }
    }
}
